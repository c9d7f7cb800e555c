"""Asks engines that prune by statistics, indexes and bloom filters for what is there."""

import datafusion
import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from agree_cells import Violation, panics_by_itself

VALUES = 3
COLUMNS = 4
COMPARE = {"=": pc.equal, "<=": pc.less_equal, ">=": pc.greater_equal}


class Engines:
    """The engines on one file. What an engine cannot do it raises an error for."""

    def __init__(self, path):
        self.path, self.schema = path, ds.dataset(path).schema
        self.session = duckdb.connect()
        self.session.execute("SET threads TO 1")
        config = datafusion.SessionConfig().with_target_partitions(1).set(
            "datafusion.execution.parquet.pushdown_filters", "true").set(
            "datafusion.execution.parquet.bloom_filter_on_read", "true").set(
            "datafusion.execution.parquet.schema_force_view_types", "false")
        self.context = datafusion.SessionContext(config)
        self.context.register_parquet("file", str(path))

    def duckdb(self, name, sign, value):
        """How many rows it finds."""
        quoted, query = '"' + name.replace('"', '""') + '"', "SELECT count(*) FROM read_parquet(?)"
        if sign.startswith("IS"):
            found = self.session.execute(f"{query} WHERE {quoted} {sign}", [str(self.path)])
        else:
            found = self.session.execute(f"{query} WHERE {quoted} {sign} ?",
                                         [str(self.path), value.as_py()])
        return found.fetchall()[0][0]

    def datafusion(self, name, sign, value):
        """How many rows it finds."""
        table = self.context.table("file")
        side = datafusion.col('"' + name.replace('"', '""') + '"')
        if sign.startswith("IS"):
            asked = side.is_null() if sign == "IS NULL" else ~side.is_null()
        else:
            item = datafusion.lit(value)
            asked = {"=": side == item, "<=": side <= item, ">=": side >= item}[sign]
        return table.filter(asked).count()

    def pyarrow(self, name, sign, value):
        """How many rows it finds."""
        if pa.types.is_fixed_size_binary(self.schema.field(name).type):
            raise NotImplementedError  # It ends the whole process on some files of arrow-rs.
        field = pc.field((name,))
        if sign.startswith("IS"):
            asked = field.is_null() if sign == "IS NULL" else ~field.is_null()
        else:
            asked = {"=": field == value, "<=": field <= value, ">=": field >= value}[sign]
        return ds.dataset(self.path).count_rows(filter=asked)

    def polars(self, name, sign, value):
        """How many rows it finds."""
        if "decimal256" in str(self.schema.field(name).type):
            raise NotImplementedError  # It filters some of them, and panics at others.
        column = pl.col(name) if not name.startswith("^") else None
        if sign.startswith("IS"):
            asked = column.is_null() if sign == "IS NULL" else column.is_not_null()
        else:
            item = pl.lit(value.as_py())
            asked = {"=": column == item, "<=": column <= item, ">=": column >= item}[sign]
        return pl.scan_parquet(self.path).filter(asked).select(pl.len()).collect().item()


NAMES = ("duckdb", "datafusion", "pyarrow", "polars")


def can_compare(kind):
    """Types whose values every engine here orders alike."""
    return pa.types.is_integer(kind) or pa.types.is_string(kind) or kind in (
        pa.date32(), pa.binary(), pa.decimal128(16, 3), pa.bool_())


def filters_find(chance, files, tables):
    """How many questions on the new file were answered rightly; each is a pair, old and new."""
    done, engines = 0, tuple(Engines(path) for path in files)
    after = tables[1]
    for name in after.column_names:
        for sign in ("IS NULL", "IS NOT NULL"):
            done += ask(engines, tables, (name, sign, None))
    wanted = [name for name, field in zip(after.column_names, after.schema)
              if can_compare(field.type)]
    for name in chance.sample(wanted, min(COLUMNS, len(wanted))):
        for value in some_values(chance, after[name]):
            for sign in COMPARE:
                done += ask(engines, tables, (name, sign, value))
    return done


def some_values(chance, column):
    """The least, the greatest and some other values."""
    distinct = pc.unique(column).drop_null()
    if len(distinct) == 0:
        return []
    ordered = distinct.take(pc.sort_indices(distinct))
    return [ordered[0], ordered[-1],
            *[ordered[chance.randrange(len(ordered))] for _ in range(VALUES)]]


def expected(table, question):
    """How many rows answer a question."""
    name, sign, value = question
    column = table[name]
    if sign.startswith("IS"):
        return column.null_count if sign == "IS NULL" else len(column) - column.null_count
    return pc.sum(COMPARE[sign](column, value)).as_py() or 0


def ask(engines, tables, question):
    """One question to every engine that answered it rightly before the erasure."""
    done, rows = 0, expected(tables[1], question)
    for engine in NAMES:
        found, error = answer(engines[1], engine, question)
        if found == rows:
            done += 1
            continue
        before, _ = answer(engines[0], engine, question)
        if before != expected(tables[0], question):
            continue
        if error and not reads(engines[0], engine, question[0]):
            continue
        if error and engine == "polars" and panics_by_itself(engines[1].path, question[0]):
            continue
        if not error and found == on_a_control(engines[1].path, engine, tables[1], question):
            continue
        if not error and counts_twice(engines[1], engine, question[0], len(tables[1])):
            continue
        about = f"{engine}: {question[0]} {question[1]}"
        if error:
            raise Violation(f"{about} cannot be answered any more: {error}")
        raise Violation(f"{about} finds {found} rows, not {rows}")
    return done


def on_a_control(path, engine, table, question):
    """How many rows an engine finds in the same row groups as pyarrow writes them.

    DuckDB 2.0 takes a row group of text whose bounds are equal for nulls alone where IS NULL is asked.
    """
    control, told = path.with_suffix(".control.parquet"), pq.read_metadata(path)
    try:
        with pq.ParquetWriter(control, table.schema, use_dictionary=False) as out:
            at = 0
            for group in range(told.num_row_groups):
                rows = told.row_group(group).num_rows
                out.write_table(table.slice(at, rows), row_group_size=max(rows, 1))
                at += rows
        found, _ = answer(Engines(control), engine, question)
        return found
    finally:
        control.unlink(missing_ok=True)


def counts_twice(engines, engine, name, rows):
    """Whether an engine finds more rows with and without a value than there are rows.

    No file can say that of itself. DuckDB 2.0 does it with small pages whose last or first row is null, also
    with what pyarrow writes.
    """
    counts = [answer(engines, engine, (name, sign, None))[0] for sign in ("IS NULL", "IS NOT NULL")]
    return None not in counts and sum(counts) > rows


def answer(engines, engine, question):
    """How many rows an engine finds, or why none."""
    try:
        return getattr(engines, engine)(*question), None
    except BaseException as error:  # A panic of an engine derives from that.
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        return None, type(error).__name__


def reads(engines, engine, name):
    """Whether an engine reads the values of a column; it may have answered by statistics alone."""
    def ask_for(name):
        if engine == "duckdb":
            return engines.session.execute(
                "SELECT max(cell::VARCHAR) FROM (SELECT \"" + name.replace('"', '""')
                + "\" AS cell FROM read_parquet(?))", [str(engines.path)]).fetchall()
        if engine == "datafusion":
            quoted = datafusion.col('"' + name.replace('"', '""') + '"')
            return engines.context.table("file").select(quoted).collect()
        if engine == "polars":
            return pl.read_parquet(engines.path, columns=[name])
        return ds.dataset(engines.path).to_table(columns={"cell": pc.field((name,))})

    try:
        ask_for(name)
    except BaseException as error:  # As above.
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        return False
    return True
