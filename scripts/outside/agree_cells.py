"""Compares what engines read from a file before and after, cell by cell."""

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq


class Violation(Exception):
    """What must not be."""


def plain(array):
    """An array as nested lists in which equal means the same bits."""
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    kind = array.type
    if pa.types.is_dictionary(kind):
        return plain(array.dictionary_decode())
    valid = array.is_valid().to_pylist()
    if pa.types.is_struct(kind):
        # Flattened, so that what lies below a null does not count.
        return [valid, *[plain(child) for child in array.flatten()]]
    if pa.types.is_map(kind) or is_list(kind):
        lengths = pc.list_value_length(as_list(array)).to_pylist()
        return [valid, lengths, plain(as_list(array).flatten())]
    if pa.types.is_floating(kind) or pa.types.is_temporal(kind):
        bits = {16: pa.int16(), 32: pa.int32(), 64: pa.int64()}[kind.bit_width]
        array = array.view(bits)
    return array.to_pylist()


def is_list(kind):
    """Lists of any make."""
    return (pa.types.is_list(kind) or pa.types.is_large_list(kind)
            or pa.types.is_fixed_size_list(kind))


def as_list(array):
    """A map is a list of structs."""
    if not pa.types.is_map(array.type):
        return array
    inner = pa.struct([pa.field("key", array.type.key_type, nullable=False),
                       pa.field("value", array.type.item_type)])
    return array.cast(pa.list_(pa.field("entries", inner, nullable=False)))


def is_empty(array):
    """Whether all of an array are its type's empty value."""
    if isinstance(array, pa.ChunkedArray):
        return all(is_empty(chunk) for chunk in array.chunks)
    if pa.types.is_struct(array.type):
        # What stands below a null is anything.
        array = array.filter(array.is_valid())
        return all(is_empty(array.field(at)) for at in range(array.type.num_fields))
    if pa.types.is_map(array.type) or is_list(array.type):
        return not any(pc.list_value_length(as_list(array)).to_pylist())
    return not any(any(value) if isinstance(value, bytes) else value for value in plain(array))


def read(path):
    """All of a file, each page's checksum held against it."""
    return pq.ParquetFile(path, page_checksum_verification=True).read()


def blanks(names, dataset):
    """The columns of which a blank row keeps nothing."""
    if dataset == "inner":
        return []
    if dataset == "redact":
        return [name for name in names if name in ("id", "secret", "other")]
    if dataset == "keep":
        return [name for name in names if name not in ("kept", "stays")]
    return list(names)


def compare_tables(before, after, gone, blanked):
    """Cell by cell; also that what is blank is blank."""
    if not before.schema.equals(after.schema, check_metadata=True):
        raise Violation("the schema differs")
    if before.num_rows != after.num_rows:
        raise Violation(f"{before.num_rows} rows before, {after.num_rows} after")
    kept = pa.array(sorted(set(range(before.num_rows)) - set(gone)), pa.int64())
    lost = pa.array(gone, pa.int64())
    for at, field in enumerate(before.schema):
        one, two = before.column(at), after.column(at)
        if plain(one.take(kept)) != plain(two.take(kept)):
            raise Violation(f"cells of {field.name} ({field.type}) differ outside the blanks")
        one, two = one.take(lost), two.take(lost)
        if not blanked and field.name == "user":
            check_inner(one, two)
        elif field.name not in blanked:
            if plain(one) != plain(two):
                raise Violation(f"cells of {field.name} are blanked and should be kept")
        elif field.nullable:
            if two.null_count != len(two):
                raise Violation(f"{len(two) - two.null_count} blanks of {field.name} hold values")
        elif not is_empty(two):
            raise Violation(f"blanks of {field.name} ({field.type}), required, are not empty")


def check_inner(one, two):
    """Of a group just two of its three fields are taken out."""
    one, two = (pa.concat_arrays(column.chunks) for column in (one, two))
    for name in ("id", "notes"):
        if two.field(name).null_count != len(two):
            raise Violation(f"blanks of user.{name} hold values")
    if plain(one.field("age")) != plain(two.field("age")) or two.null_count != one.null_count:
        raise Violation("a field beside the redacted ones changed")


def polars_agrees(old, new, gone):
    """Polars reads the same outside the blanks, if it reads the old file."""
    try:
        before = pl.read_parquet(old).to_arrow()
    except BaseException as error:  # A panic of it derives from that.
        return skipped(error)
    try:
        after = pl.read_parquet(new).to_arrow()
    except BaseException as error:  # As above.
        return panics_on(old, new, error)
    kept = pa.array(sorted(set(range(before.num_rows)) - set(gone)), pa.int64())
    for one, two in zip(before.columns, after.columns):
        if plain(one.take(kept)) != plain(two.take(kept)):
            raise Violation("Polars reads other cells outside the blanks")
    return 1


def panics_on(old, new, error):
    """Polars panics on the new file: whether that is a fault of its own, column by column."""
    if isinstance(error, (KeyboardInterrupt, SystemExit)):
        raise error
    for name in pl.read_parquet_schema(old):
        try:
            pl.read_parquet(new, columns=[name])
        except BaseException as inner:
            if not panics_by_itself(new, name):
                raise Violation(f"Polars does not read {name} any more") from inner
    return 0


def panics_by_itself(path, name):
    """Whether Polars 2.1 panics on a column whoever wrote it: where nulls stand in one that begins with a dictionary
    and goes on in DELTA_BYTE_ARRAY, as DataFusion writes the very same rows."""
    metadata = pq.ParquetFile(path).metadata
    leaves = [metadata.row_group(group).column(leaf) for group in range(metadata.num_row_groups)
              for leaf in range(metadata.num_columns)]
    return any(leaf.path_in_schema.split(".")[0] == name
               and {"RLE_DICTIONARY", "DELTA_BYTE_ARRAY"} <= set(leaf.encodings)
               for leaf in leaves)


def skipped(error):
    """An engine that cannot read what was there before says nothing of what came of it."""
    if isinstance(error, (KeyboardInterrupt, SystemExit, Violation)):
        raise error
    return 0


def duckdb_agrees(old, new, gone, names):
    """In how many columns DuckDB reads the same outside the blanks."""
    session, done = duckdb.connect(), 0
    session.execute("SET threads TO 1")
    session.register("gone", pa.table({"row": pa.array(gone, pa.int64())}))
    for name in names:
        quoted = '"' + name.replace('"', '""') + '"'
        one, two = (f"(SELECT file_row_number AS row, {quoted} AS cell FROM "
                    f"read_parquet('{path}', file_row_number=true))" for path in (old, new))
        try:
            session.execute(f"SELECT min(cell::VARCHAR) FROM {one}").fetchall()
        except duckdb.Error:
            continue
        [(differing,)] = session.execute(
            f"SELECT count(*) FROM {one} o JOIN {two} n USING (row) WHERE row NOT IN "
            "(SELECT row FROM gone) AND o.cell IS DISTINCT FROM n.cell").fetchall()
        if differing:
            raise Violation(f"DuckDB reads {differing} other cells of {name} outside the blanks")
        done += 1
    return done
