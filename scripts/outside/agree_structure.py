"""Holds what a Parquet file says of itself against its pages and values."""

import struct

import pyarrow as pa
import pyarrow.compute as pc

from agree_cells import Violation, plain
from agree_pages import DATA_V2, DICTIONARY, in_bloom

PLAIN, PLAIN_DICTIONARY = 0, 2
# Above what strangers get, the share of erased values that a filter may know by chance.
MARGIN = 0.4
ORDERED = {1: "<i", 2: "<q", 4: "<f", 5: "<d"}


def check_structure(files, tables, totals):
    """All of it, of the old file and the new one; what the old one told wrongly is not asked."""
    old, new = files
    check_gaps(old, new)
    if len(old.chunks) != len(new.chunks):
        raise Violation("another number of column chunks")
    names = [{(name.encode(),): table.column(at) for at, name in enumerate(table.column_names)}
             for table in tables]
    for before, after in zip(old.chunks, new.chunks):
        same_kind(before, after)
        for check in (check_sizes, check_offset_index):
            if holds(check, before):
                check(after)
        columns = [flat.get(after.path) for flat in names]
        if columns[1] is not None and not pa.types.is_nested(columns[1].type):
            check_values((old, before, columns[0]), (new, after, columns[1]))
    totals["parquet", "column indexes dropped"] += sum(
        before.column_index is not None and after.column_index is None
        for before, after in zip(old.chunks, new.chunks))
    for group in new.footer.get(4, []):
        metas = [column[3] for column in group[1]]
        equal("a row group's size", group[2], sum(meta[6] for meta in metas))
        if 6 in group:
            equal("a row group's compressed size", group[6], sum(meta[7] for meta in metas))
    for what in (1, 3, 6):
        equal(f"field {what} of the footer", old.footer.get(what), new.footer.get(what))
    equal("key-value metadata", old.footer.get(5), new.footer.get(5))
    equal("the schema", old.footer.get(2), new.footer.get(2))


def equal(what, one, two):
    """Both the same."""
    if one != two:
        raise Violation(f"{what}: {one!r} and {two!r}"[:300])


def check_gaps(old, new):
    """Nothing lies about that nothing refers to, unless it did so before."""
    before = b"\0".join(content for _, content in old.unused())
    for start, content in new.unused():
        if content.strip(b"\0") and content not in before:
            raise Violation(f"{len(content)} bytes at {start} belong to nothing")


def same_kind(before, after):
    """What an erasure keeps of a chunk."""
    name = before.path
    equal("a path", before.path, after.path)
    for what in (1, 4):
        equal(f"type or codec of {name}", before.meta[what], after.meta[what])
    for what in ("offset_index", "bloom"):
        if (getattr(before, what) is None) != (getattr(after, what) is None):
            raise Violation(f"{name}: the {what} came or went")
    had, has = ({page.header[1] for page in chunk.data_pages} for chunk in (before, after))
    if not has <= had:
        raise Violation(f"{name}: data pages of another version")
    if any(4 in page.header for page in before.data_pages) and not all(
            4 in page.header for page in after.data_pages):
        raise Violation(f"{name}: a page lost its checksum")
    if not {page.encoding for page in after.data_pages} <= {
            page.encoding for page in before.data_pages} | {PLAIN, 8}:
        raise Violation(f"{name}: encodings {[page.encoding for page in after.data_pages][:9]}")


def check_sizes(chunk):
    """Sums and lists of the chunk's metadata are those of its pages."""
    name = chunk.path
    equal(f"{name}: values", chunk.meta[5], sum(page.values for page in chunk.data_pages))
    equal(f"{name}: uncompressed size", chunk.meta[6],
          sum(page.header[2] + page.body - page.start for page in chunk.pages))
    used = {page.encoding for page in chunk.pages if page.kind != DICTIONARY}
    missing = used - set(chunk.meta[2])
    if missing and not (missing == {8} and PLAIN_DICTIONARY in chunk.meta[2]):
        raise Violation(f"{name}: encodings {missing} are not listed")
    if 13 in chunk.meta:
        counts = {}
        for page in chunk.pages:
            key = (page.kind, page.encoding)
            counts[key] = counts.get(key, 0) + 1
        told = {}
        for item in chunk.meta[13]:
            told[(item.get(1, 0), item.get(2, 0))] = item.get(3, 0)
        equal(f"{name}: encoding statistics", {k: v for k, v in told.items() if v}, counts)
    if chunk.data_pages and chunk.data_pages[0].kind == DATA_V2:
        equal(f"{name}: rows", chunk.rows, sum(page.header[8][3] for page in chunk.data_pages))
    if chunk.pages and chunk.pages[0].kind == DICTIONARY and chunk.data_pages:
        equal(f"{name}: the first data page", chunk.meta[9], chunk.data_pages[0].start)


def check_offset_index(chunk):
    """The offset index leads to the pages."""
    if chunk.offset_index is None:
        return
    places = [(item[1], item[2]) for item in chunk.offset_index[1]]
    pages = [(page.start, page.end - page.start) for page in chunk.data_pages]
    equal(f"{chunk.path}: the offset index", places, pages)
    rows = [item[3] for item in chunk.offset_index[1]]
    if rows and (rows[0] != 0 or rows != sorted(rows) or rows[-1] > chunk.rows):
        raise Violation(f"{chunk.path}: first rows {rows[:9]}")


def holds(check, *arguments):
    """Whether what was there before passes a check: writers have bugs as well."""
    try:
        check(*arguments)
    except Violation:
        return False
    return True


class Flat:
    """A chunk of a flat column, with its values and those of its pages."""

    def __init__(self, file, chunk, column):
        first = sum(group[3] for group in file.footer[4][:chunk.group])
        self.chunk, self.values = chunk, column.slice(first, chunk.rows)
        self.name, self.decode = str(chunk.path), decoder(chunk, column.type)
        self.starts, at = [], 0
        for page in chunk.data_pages:
            self.starts.append(at)
            at += page.values
        self.rows_told = at
        self.pages = [self.values.slice(start, page.values)
                      for start, page in zip(self.starts, chunk.data_pages)]

    def check_rows(self):
        """Pages have as many rows as the chunk, and begin where the offset index says."""
        equal(f"{self.name}: rows of its pages", self.rows_told, self.chunk.rows)
        if self.chunk.offset_index is not None:
            told = [item[3] for item in self.chunk.offset_index[1]]
            equal(f"{self.name}: first rows", told, self.starts)

    def check_chunk(self):
        """The statistics of all of it."""
        check_statistics(self.name, self.chunk.meta.get(12), self.values, self.decode)

    def check_pages(self):
        """The statistics of each page."""
        for page, held in zip(self.chunk.data_pages, self.pages):
            place, at = (8, 8) if page.kind == DATA_V2 else (5, 5)
            inner = page.header[place]
            check_statistics(f"a page of {self.name}", inner.get(at), held, self.decode)
            if page.kind == DATA_V2:
                equal(f"{self.name}: nulls of a page", inner[2], held.null_count)

    def check_index(self):
        """The column index."""
        check_column_index(self.chunk, self.pages, self.decode)

    def check_levels(self):
        """The size statistics."""
        check_histogram(self.chunk, self.values)


def check_values(before, after):
    """Statistics of a flat column: chunk, pages, column index."""
    old, new = Flat(*before), Flat(*after)
    check_lost_bounds(old, new)
    for name in ("check_rows", "check_chunk", "check_pages", "check_index", "check_levels"):
        if holds(getattr(old, name)):
            getattr(new, name)()


def check_lost_bounds(old, new):
    """No bound is a value that went: some writers put those of the chunk in every page's header."""
    if new.decode is None:
        return
    lost = set(listed(old.values)) - set(listed(new.values))
    places = [("the chunk", new.chunk.meta.get(12) or {})]
    for page in new.chunk.data_pages:
        inner = page.header[8 if page.kind == DATA_V2 else 5]
        places.append(("a page", inner.get(8 if page.kind == DATA_V2 else 5) or {}))
    index = new.chunk.column_index or {2: [], 3: []}
    places += [("the column index", {6: low, 5: high})
               for low, high in zip(index[2], index[3]) if low or high]
    for place, told in places:
        for side in (1, 2, 5, 6):
            if told.get(side) and new.decode(told[side]) in lost:
                raise Violation(f"{new.name}: a bound of {place} is a value that was erased")


def listed(values):
    """The values as bounds are compared."""
    values = values.drop_null()
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        values = values.cast(pa.large_binary())
    return values.to_pylist()


def decoder(chunk, kind):
    """How bounds of the column are read, or none where their order is not the values' here."""
    physical = chunk.meta[1]
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return lambda bound: bound
    if pa.types.is_binary(kind) and physical == 6:
        return lambda bound: bound
    if pa.types.is_integer(kind) and physical in (1, 2):
        form = ORDERED[physical]
        form = form.upper() if pa.types.is_unsigned_integer(kind) else form
        return lambda bound: struct.unpack(form, bound)[0]
    if kind in (pa.float32(), pa.float64()):
        return lambda bound: struct.unpack(ORDERED[physical], bound)[0]
    return None


def bounds_of(values):
    """The least and the greatest value as bounds are ordered; none where all are null or NaN."""
    if pa.types.is_floating(values.type):
        values = values.filter(pc.invert(pc.is_nan(values)))
    values = values.drop_null()
    if len(values) == 0:
        return None
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        values = values.cast(pa.large_binary())
    if pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type):
        listed = values.to_pylist()
        return min(listed), max(listed)
    found = pc.min_max(values).as_py()
    return found["min"], found["max"]


def check_statistics(name, told, values, decode):
    """Null count and bounds."""
    if not told:
        return
    if 3 in told:
        equal(f"{name}: null count", told[3], values.null_count)
    if 4 in told:
        equal(f"{name}: distinct count", told[4], pc.count_distinct(values).as_py())
    if decode is None:
        return
    found = bounds_of(values)
    for low, high in ((6, 5), (2, 1)):
        if low not in told or high not in told:
            continue
        if found is None:
            if not pa.types.is_floating(values.type):
                raise Violation(f"{name}: bounds of no values")
            continue
        if low == 2 and isinstance(found[0], bytes):
            continue  # The deprecated bounds of text follow no order that a reader knows.
        check_bounds(name, (decode(told[low]), decode(told[high])), found)
        if told.get(8 if low == 6 else None) is True:
            equal(f"{name}: the exact least", decode(told[low]), found[0])
        if told.get(7 if low == 6 else None) is True:
            equal(f"{name}: the exact greatest", decode(told[high]), found[1])


def check_bounds(name, told, found):
    """Bounds hold all values."""
    if not (told[0] <= found[0] and found[1] <= told[1]):
        raise Violation(f"{name}: bounds leave out a value that is there")


def check_column_index(chunk, pages, decode):
    """Null pages, null counts, bounds and their order."""
    index = chunk.column_index
    if index is None:
        return
    name = f"the column index of {chunk.path}"
    equal(f"{name}: pages", len(index[1]), len(pages))
    held = [page.null_count < len(page) for page in pages]
    equal(f"{name}: null pages", [not flag for flag in index[1]], held)
    if 5 in index:
        equal(f"{name}: null counts", index[5], [page.null_count for page in pages])
    if decode is None:
        return
    listed = []
    for at, page in enumerate(pages):
        if index[1][at]:
            equal(f"{name}: bounds of a null page", (index[2][at], index[3][at]), (b"", b""))
        elif (found := bounds_of(page)) is not None:
            told = decode(index[2][at]), decode(index[3][at])
            check_bounds(name, told, found)
            listed.append(told)
    order = index.get(4, 0)
    if order and any(value != value for pair in listed for value in pair):
        return
    for side in (0, 1) if order else ():
        row = [pair[side] for pair in listed]
        if row != sorted(row, reverse=order == 2):
            raise Violation(f"{name}: its order is told wrongly")


def check_histogram(chunk, values):
    """Size statistics of a flat column."""
    sizes = chunk.meta.get(16) or {}
    if sizes.get(3) and len(sizes[3]) == 2:
        equal(f"{chunk.path}: levels", sizes[3],
              [values.null_count, len(values) - values.null_count])
    if 1 in sizes and (pa.types.is_string(values.type) or pa.types.is_binary(values.type)):
        length = pc.sum(pc.binary_length(values)).as_py() or 0
        equal(f"{chunk.path}: bytes of its values", sizes[1], length)


def check_traces(old, new, traces):
    """Nothing planted is left anywhere; how many were to be seen before."""
    seen, before = [], [content for _, content in old.places()]
    for trace in traces:
        if any(trace in content for content in before):
            seen.append(trace)
    for place, content in new.places():
        for trace in seen:
            if trace in content:
                raise Violation(f"an erased value is left in {place}")
    return len(seen)


def check_blooms(files, tables):
    """Filters know every value that is there, and no longer those that went, but by chance."""
    asked = 0
    for before, after in zip(*(file.chunks for file in files)):
        name = before.path[0].decode()
        if before.bloom is None or len(before.path) > 1 or name not in tables[0].column_names:
            continue
        first = sum(group[3] for group in files[0].footer[4][:before.group])
        if pa.types.is_nested(tables[0][name].type) or pa.types.is_floating(tables[0][name].type):
            continue
        had, has = ({plain_bytes(before.meta[1], value)
                     for value in plain(table[name].slice(first, before.rows))} - {None}
                    for table in tables)
        if not all(in_bloom(before.bloom, value) for value in had):
            continue  # Values that this file stores otherwise than is assumed here.
        for value in has:
            asked += 1
            if not in_bloom(after.bloom, value):
                raise Violation(f"the bloom filter of {name} does not know a value that is there")
        lost = had - has
        known = sum(in_bloom(after.bloom, value) for value in lost)
        if len(lost) >= 8 and known / len(lost) > chance_of(after.bloom) + MARGIN:
            raise Violation(f"the bloom filter of {name} still knows {known} of {len(lost)} "
                            "erased values")
        asked += len(lost)
    return asked


def chance_of(bits):
    """How often a filter takes for known what nobody ever told it: often, where it is too small."""
    strangers = [b"stranger %d" % at for at in range(400)]
    return sum(in_bloom(bits, value) for value in strangers) / len(strangers)


def plain_bytes(physical, value):
    """A value as a PLAIN page stores it."""
    if physical in ORDERED and isinstance(value, (int, float)):
        low, high = (-(2**31), 2**31) if physical == 1 else (-(2**63), 2**63)
        if isinstance(value, int) and not low <= value < high:
            return None
        return struct.pack(ORDERED[physical], value)
    if physical == 6:
        return value.encode() if isinstance(value, str) else value
    return None
