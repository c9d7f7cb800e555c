"""Damages what an erasure left, in every way that the checks are for, and sees whether it is told.

A check that cannot fail proves nothing: each damage here has to be a violation.
"""

import bz2
import collections
import gzip

import pyarrow as pa

import agree_text
from agree_cells import Violation, blanks, compare_tables, read
from agree_pages import Broken, File
from agree_structure import Flat, check_blooms, check_structure, check_traces

FLIPS = 6
PACK = {"gzip": gzip.compress, "bzip2": bz2.compress}


class Proof:
    """The damages that were tried on one round, and which were not noticed."""

    def __init__(self, done):
        self.done, self.missed, self.noticed = done, [], done.totals
        # What the checks count on damaged files is not what they were to be run on.
        done.totals = collections.Counter()

    def told(self, name, check):
        """Whether the check fails, as it has to."""
        try:
            check()
        except (Violation, Broken):
            self.noticed["damage noticed", name] += 1
            return True
        except Exception as error:  # An engine that cannot read it has noticed as well.
            self.noticed["damage noticed", f"{name}: {type(error).__name__}"] += 1
            return True
        return False

    def must(self, name, check):
        """A damage that no check may let pass."""
        if not self.told(name, check):
            self.missed.append({"finding": f"not noticed: {name}", "options": ""})

    def must_change(self, name, made, content):
        """The same, where the damage is to a file of the lake."""
        path = self.done.lake / made.dataset / made.name
        kept = path.read_bytes()
        path.write_bytes(content)
        try:
            self.must(f"{name} ({type(made).__name__})", lambda: self.done.check(made))
        finally:
            path.write_bytes(kept)


def prove(done):
    """What was not noticed."""
    proof = Proof(done)
    for made in done.files:
        new, old = ((base / made.dataset / made.name).read_bytes()
                    for base in (done.lake, done.old))
        if made.name in done.gaps:
            continue
        if isinstance(made, agree_text.Text):
            damage_text(proof, made, old, new)
        elif made.gone:
            damage_parquet(proof, made, old, new)
        else:
            proof.must_change("an untouched file with another byte", made, new + b"x")
    stray = done.lake / "lines" / "stray"
    stray.write_bytes(b"")
    proof.must("a stray file", done.check_listing)
    stray.unlink()
    return proof.missed


def damage_text(proof, made, old, new):
    """A compressed file of lines."""
    if old != new:
        proof.must_change("nothing erased", made, old)
    proof.must_change("a byte behind the end", made, new + b"x")
    proof.must_change("cut off", made, new[:-1])
    if made.codec in PACK and len(made.expected) > 2:
        middle = len(made.expected) // 2
        changed = bytearray(made.expected)
        changed[middle] ^= 1
        proof.must_change("another letter", made, PACK[made.codec](bytes(changed)))
    if made.traces:
        proof.must("a planted value in stored bytes",
                   lambda: agree_text.check_text(made, new + made.traces[0]))


def damage_parquet(proof, made, old, new):
    """A Parquet file."""
    proof.must_change("nothing erased", made, old)
    damage_cells(proof, made, proof.done.old / made.dataset / made.name)
    damage_bytes(proof, made, old, new)
    damage_bounds(proof, made, new)
    files, tables = [File(content) for content in (old, new)], [
        read(base / made.dataset / made.name) for base in (proof.done.old, proof.done.lake)]
    damage_filters(proof, files, tables)


def damage_cells(proof, made, old):
    """Cells as an engine would read them, were they wrong."""
    before = read(old)
    after = read(proof.done.lake / made.dataset / made.name)
    blanked = blanks(before.column_names, made.dataset)
    kept = sorted(set(range(before.num_rows)) - set(made.gone))
    for at, field in enumerate(before.schema):
        column, values = after.column(at), after.column(at).combine_chunks()
        for row in kept:
            if field.nullable and values[row].is_valid:
                damaged = after.set_column(at, field, without(column, row))
                proof.must("one row too many blanked", lambda damaged=damaged: compare_tables(
                    before, damaged, made.gone, blanked))
                break
        had = before.column(at).combine_chunks()
        for row in made.gone:
            if field.name in blanked and field.nullable and had[row].is_valid:
                damaged = after.set_column(at, field, pa.concat_arrays(
                    [values.slice(0, row), had.slice(row, 1), values.slice(row + 1)]))
                proof.must("one row too few blanked", lambda damaged=damaged: compare_tables(
                    before, damaged, made.gone, blanked))
                break


def without(column, row):
    """The column with a null in one row."""
    values = column.combine_chunks()
    return pa.concat_arrays([values.slice(0, row), pa.nulls(1, values.type),
                             values.slice(row + 1)])


def damage_bytes(proof, made, old, new):
    """Bytes of the file."""
    file, chance = File(new), proof.done.chance
    pages = [page for chunk in file.chunks for page in chunk.data_pages if page.body < page.end]
    # Some bits mean nothing, such as those that fill up the last byte of a page's levels, so that
    # this damage is counted only.
    for _ in range(FLIPS if pages else 0):
        page, damaged = chance.choice(pages), bytearray(new)
        damaged[chance.randrange(page.body, page.end)] ^= 1 << chance.randrange(8)
        path = proof.done.lake / made.dataset / made.name
        path.write_bytes(damaged)
        if not proof.told("a flipped bit", lambda: proof.done.check(made)):
            proof.noticed["damage noticed", "not: a flipped bit, which may mean nothing"] += 1
        path.write_bytes(new)
    was, seen = File(old), []
    for trace in made.traces[:50]:
        if any(trace in content for _, content in was.places()):
            seen.append(trace)
    if seen:
        footer = sorted(file.used)[-2][0]
        planted = new[:footer] + seen[0] + new[footer:]
        tables = [read(pa.BufferReader(content)) for content in (old, planted)]
        proof.must("a planted value that nothing refers to", lambda: check_traces(
            was, File(planted), seen[:1]))
        if seen[0] not in b"".join(content for _, content in was.unused()):
            proof.must("bytes that nothing refers to", lambda: check_structure(
                (was, File(planted)), tables, proof.done.totals))


def damage_bounds(proof, made, new):
    """Statistics that are no longer true: the greatest value is told to be the least."""
    file, table = File(new), read(pa.BufferReader(new))
    for chunk in file.chunks:
        name = chunk.path[0].decode()
        told = chunk.meta.get(12) or {}
        if len(chunk.path) > 1 or name not in table.column_names or told.get(5) is None:
            continue
        flat = Flat(file, chunk, table[name])
        low, high = told.get(6), told[5]
        if flat.decode is None or low is None or len(low) != len(high) or low == high:
            continue
        told[5] = low
        proof.must("a bound that leaves out values", flat.check_chunk)
        told[5] = high
        told[3] = told.get(3, 0) + 1
        proof.must("a null count that is not true", flat.check_chunk)
        return


def damage_filters(proof, files, tables):
    """A bloom filter as it was, and one that knows nothing."""
    for before, after in zip(*(file.chunks for file in files)):
        if before.bloom is None or len(before.path) > 1 or before.bloom == after.bloom:
            continue
        kept, after.bloom = after.bloom, bytes(len(after.bloom))
        if set(tables[1][before.path[0].decode()].to_pylist()) - {None}:
            proof.told("a bloom filter that knows nothing", lambda: check_blooms(files, tables))
        after.bloom = before.bloom
        proof.told("the old bloom filter", lambda: check_blooms(files, tables))
        after.bloom = kept
