"""Random Parquet files as pyarrow, DuckDB, Polars, DataFusion (arrow-rs) and Spark write them."""

import json
import pathlib
import random
import uuid
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from agree_cells import read
from agree_types import COMMON, LEAVES, random_columns

# By dataset: what a subject's value looks like in a file.
SHAPES = {
    "string": lambda number: f"user-{number:04}",
    "integer": lambda number: number * 7 + 1_000_000,
    "uuid": lambda number: str(uuid.UUID(int=(number + 1) << 90)),
}
KIND = {"plain": "string", "number": "integer", "uuid": "uuid", "struct": "string",
        "devices": "string", "redact": "string", "keep": "string", "inner": "string"}
FIELDS = {"struct": ["user.id"], "devices": ["devices[*].owner"], "inner": ["user.id"]}


@dataclass
class Made:
    """A file of a lake, and what has to become of it."""

    dataset: str
    name: str
    writer: str
    options: str
    gone: list = field(default_factory=list)
    traces: list = field(default_factory=list)


def subject(dataset, number):
    """A person as the command line names one."""
    kind = KIND[dataset]
    return f"{kind}={SHAPES[kind](number)}"


def datasets():
    """Name, fields, namespace and the erase section of every dataset."""
    more = {"redact": '[dataset.erase]\naction = "redact"\nfields = ["id", "secret", "other"]\n',
            "keep": '[dataset.erase]\nkeep = ["kept", "stays"]\n',
            "inner": '[dataset.erase]\naction = "redact"\nfields = ["user.id", "user.notes"]\n'}
    return [(name, FIELDS.get(name, ["id"]), kind, more.get(name, ""))
            for name, kind in KIND.items()]


def identifiers(chance, dataset, people, rows, writer):
    """The identifier column, and per row the person in it."""
    where = chance.choice(["anywhere", "runs", "rare"])
    who = [chance.randrange(people) for _ in range(rows)]
    if where == "runs":
        who.sort()
    elif where == "rare":
        who = [number if chance.random() < 0.05 else people + number for number in who]
    who = [number if chance.random() < 0.97 else None for number in who]
    shape = SHAPES[KIND[dataset]]
    values = [None if number is None else shape(number) for number in who]
    if dataset == "inner":
        values = [None if value is None else
                  {"id": value, "age": number, "notes": [str(number)] * 2}
                  for number, value in enumerate(values)]
        kind = pa.struct([("id", pa.string()), ("age", pa.int32()),
                          ("notes", pa.list_(pa.string()))])
        return who, pa.field("user", kind), pa.array(values, kind)
    if dataset == "struct":
        values = [None if value is None and chance.random() < 0.5 else {"id": value, "age": 7}
                  for value in values]
        kind = pa.struct([("id", pa.string()), ("age", pa.int8())])
        return who, pa.field("user", kind), pa.array(values, kind)
    if dataset == "devices":
        values = [[{"owner": "nobody"}] * chance.randrange(3) + [{"owner": value}]
                  if value else chance.choice([None, []]) for value in values]
        kind = pa.list_(pa.struct([("owner", pa.string())]))
        return who, pa.field("devices", kind), pa.array(values, kind)
    # DuckDB and Polars write them as byte arrays that nothing tells from text.
    if dataset == "uuid" and chance.random() < 0.5 and writer not in ("duckdb", "polars"):
        values = [None if value is None else uuid.UUID(value).bytes for value in values]
        return who, pa.field("id", pa.binary(16)), pa.array(values, pa.binary(16))
    kind = chance.choice([pa.int32(), pa.int64(), pa.uint64(), pa.string(), pa.decimal128(18, 0)]
                         if dataset == "number" else [pa.string()])
    if kind == pa.string():
        values = [None if value is None else str(value) for value in values]
    return who, pa.field("id", kind), pa.array(values, kind)


def table(chance, dataset, leaves, depth, subjects, writer):
    """A table, the rows that hold one of the subjects, and their traces."""
    rows = chance.choice([1, 2, 50, 700, 700, 3000])
    people = chance.choice([4, 40, 40, 400])
    who, identifier, values = identifiers(chance, dataset, people, rows, writer)
    gone = {row for row, number in enumerate(who) if number in subjects}
    fields, arrays, traces = random_columns(chance, rows, gone, leaves, depth)
    names = {"redact": ["secret", "other"], "keep": ["kept", "stays"]}.get(dataset, [])
    for at, name in enumerate(names[:len(fields)]):
        traces[name] = traces.pop(fields[at].name)
        fields[at] = fields[at].with_name(name)
    if dataset == "inner":
        traces = {}
    elif dataset == "redact":
        traces = {name: found for name, found in traces.items() if name in names}
    elif dataset == "keep":
        traces = {name: found for name, found in traces.items() if name not in names}
    at = chance.randrange(len(fields) + 1)
    fields.insert(at, identifier)
    arrays.insert(at, values)
    made = pa.table(arrays, schema=pa.schema(fields))
    return made, sorted(gone), [trace for found in traces.values() for trace in found]


def by_pyarrow(chance, data, path):
    """Every option of the writer."""
    flat = [item.name for item in data.schema if not pa.types.is_nested(item.type)]
    options = {
        "compression": chance.choice(["none", "snappy", "gzip", "brotli", "lz4", "zstd"]),
        "data_page_version": chance.choice(["1.0", "2.0"]),
        "data_page_size": chance.choice([1, 64, 700, 1 << 20]),
        "write_batch_size": chance.choice([1, 7, 64, 1024]),
        "row_group_size": chance.choice([1 << 20, 500, 100, 37]),
        "write_statistics": chance.random() < 0.85,
        "write_page_index": chance.random() < 0.5,
        "write_page_checksum": chance.random() < 0.4,
        "max_rows_per_page": chance.choice([20_000, 100, 11]),
        "dictionary_pagesize_limit": chance.choice([1 << 20, 1 << 20, 200, 1]),
        "store_decimal_as_integer": chance.random() < 0.3,
        "use_compliant_nested_type": chance.random() < 0.8,
    }
    options["use_dictionary"] = chance.choice([True, False, flat])
    if options["use_dictionary"] is False and chance.random() < 0.7:
        options["column_encoding"] = {
            item.name: chance.choice(encodings_of(item.type, options)) for item in data.schema
            if item.name in flat and "." not in item.name}
    if chance.random() < 0.3:
        wanted = [item.name for item in data.schema
                  if item.name in flat and "." not in item.name and has_bloom(item.type)]
        options["bloom_filter_options"] = {
            name: {"ndv": chance.choice([50, 5000]), "fpp": chance.choice([0.3, 0.01])}
            for name in wanted}
    if chance.random() < 0.15:
        options |= {"use_deprecated_int96_timestamps": True}
    if chance.random() < 0.2:
        options["sorting_columns"] = [pq.SortingColumn(0)]
    pq.write_table(data, path, **options)
    return json.dumps(options, default=str)


def encodings_of(kind, options):
    """What the writer takes for a type."""
    if pa.types.is_boolean(kind):
        return ["PLAIN", "RLE"]
    if pa.types.is_dictionary(kind) or pa.types.is_null(kind) or pa.types.is_nested(kind):
        return ["PLAIN"]
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return ["PLAIN", "DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"]
    if pa.types.is_floating(kind):
        return ["PLAIN", "BYTE_STREAM_SPLIT"]
    if pa.types.is_integer(kind) or pa.types.is_date(kind) or pa.types.is_time(kind):
        return ["PLAIN", "DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT"]
    if pa.types.is_fixed_size_binary(kind) and kind.byte_width:
        return ["PLAIN", "BYTE_STREAM_SPLIT", "DELTA_BYTE_ARRAY"]
    if pa.types.is_decimal(kind) and not options["store_decimal_as_integer"]:
        return ["PLAIN", "BYTE_STREAM_SPLIT", "DELTA_BYTE_ARRAY"]
    return ["PLAIN"]


def has_bloom(kind):
    """Booleans have no filter, and what this writer gives none."""
    return (pa.types.is_integer(kind) and kind.bit_width >= 32) or pa.types.is_string(kind)


def by_duckdb(chance, data, path):
    """COPY with its options."""
    import duckdb

    options = {"FORMAT": "parquet",
               "COMPRESSION": chance.choice(["uncompressed", "snappy", "gzip", "zstd", "brotli",
                                             "lz4", "lz4_raw"]),
               "ROW_GROUP_SIZE": chance.choice([2048, 122_880]),
               "PARQUET_VERSION": chance.choice(["V1", "V2"]),
               "DICTIONARY_SIZE_LIMIT": chance.choice([1, 10, 100_000]),
               "WRITE_BLOOM_FILTER": chance.choice(["true", "false"])}
    listed = ", ".join(f"{name} {value}" for name, value in options.items())
    session = duckdb.connect()
    session.register("source", data)
    session.execute(f"COPY (SELECT * FROM source) TO '{path}' ({listed})")
    return listed


def by_polars(chance, data, path):
    """Polars' own writer."""
    import polars as pl

    options = {"compression": chance.choice(["uncompressed", "snappy", "gzip", "brotli", "zstd",
                                             "lz4"]),
               "statistics": chance.choice([True, False, "full"]),
               "row_group_size": chance.choice([None, 500, 100]),
               "data_page_size": chance.choice([None, 300])}
    pl.from_arrow(data).write_parquet(path, **options)
    return json.dumps(options)


def by_datafusion(chance, data, path):
    """The writer of arrow-rs, which Lacuna's own crate is: the one that it knows best."""
    import datafusion

    options = {"compression": chance.choice(["uncompressed", "snappy", "gzip(6)", "brotli(3)",
                                             "lz4", "zstd(3)", "lz4_raw"]),
               "writer_version": chance.choice(["1.0", "2.0"]),
               "data_pagesize_limit": chance.choice([1 << 20, 200]),
               "write_batch_size": chance.choice([1024, 10]),
               "dictionary_enabled": chance.random() < 0.6,
               "dictionary_page_size_limit": chance.choice([1 << 20, 100]),
               "statistics_enabled": chance.choice(["none", "chunk", "page", "page"]),
               "max_row_group_size": chance.choice([1 << 20, 500, 64]),
               "data_page_row_count_limit": chance.choice([20_000, 50]),
               "column_index_truncate_length": chance.choice([None, 64, 4]),
               "statistics_truncate_length": chance.choice([None, 64, 4]),
               "bloom_filter_on_write": chance.random() < 0.4,
               "allow_single_file_parallelism": False}
    if options["bloom_filter_on_write"]:
        options["bloom_filter_ndv"] = chance.choice([50, 1000])
    frame = datafusion.SessionContext().from_arrow(data)
    frame.write_parquet_with_options(str(path), datafusion.ParquetWriterOptions(**options))
    return json.dumps(options)


class Spark:
    """Parquet as Java writes it; one session for a whole run, since it takes long to start."""

    def __init__(self, folder):
        from pyspark.sql import SparkSession

        self.folder = folder
        builder = SparkSession.builder.master("local[1]").appName("agree")
        for name, value in {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false",
                            "spark.driver.bindAddress": "127.0.0.1",
                            "spark.driver.host": "127.0.0.1",
                            "spark.driver.memory": "1g",
                            "spark.sql.session.timeZone": "UTC",
                            "spark.sql.caseSensitive": "true",
                            "spark.sql.parquet.inferTimestampNTZ.enabled": "true"}.items():
            builder = builder.config(name, value)
        self.session = builder.getOrCreate()
        self.session.sparkContext.setLogLevel("ERROR")

    def __call__(self, chance, data, path):
        """Java's writer, both versions of it."""
        source, target = self.folder / "spark.in.parquet", self.folder / "spark.out"
        pq.write_table(data, source)
        options = {"compression": chance.choice(["none", "snappy", "gzip", "zstd", "lz4_raw",
                                                 "lz4"]),
                   "parquet.writer.version": chance.choice(["v1", "v2"]),
                   "parquet.page.size": chance.choice([1 << 20, 200]),
                   "parquet.page.row.count.limit": chance.choice([20_000, 30]),
                   "parquet.block.size": chance.choice([128 << 20, 4096]),
                   "parquet.enable.dictionary": chance.choice(["true", "false"]),
                   "parquet.dictionary.page.size": chance.choice([1 << 20, 100]),
                   "parquet.page.write-checksum.enabled": chance.choice(["true", "false"]),
                   "parquet.bloom.filter.enabled": chance.choice(["true", "false", "false"])}
        writer = self.session.read.parquet(str(source)).coalesce(1).write.mode("overwrite")
        for name, value in options.items():
            writer = writer.option(name, value)
        writer.parquet(str(target))
        [part] = target.glob("part-*")
        part.rename(path)
        return json.dumps(options)


def spark_in(folder):
    """A session of Spark."""
    return Spark(pathlib.Path(folder))


WRITERS = {"pyarrow": (by_pyarrow, LEAVES, 3), "pyarrow-common": (by_pyarrow, COMMON, 1),
           "duckdb": (by_duckdb, COMMON + [pa.uint32(), pa.uint8(), pa.time64("us")], 2),
           "polars": (by_polars, COMMON + [pa.uint16(), pa.time64("ns"), pa.timestamp("ns")], 2),
           "datafusion": (by_datafusion, LEAVES, 2)}
ODDS = ["pyarrow"] * 5 + ["pyarrow-common"] * 2 + ["duckdb"] * 2 + ["polars"] * 2 + [
    "datafusion"] * 3


def make(seed, lake, subjects, spark=None):
    """Writes one random file; which of its rows have to go, or why there is no such file.

    What pyarrow cannot read back says nothing of what comes of it later.
    """
    chance = random.Random(seed)
    dataset = chance.choice(list(KIND))
    writer = chance.choice(ODDS + ["spark"] * 3 if spark else ODDS)
    write, leaves, depth = WRITERS.get(writer, (spark, COMMON, 1))
    data, gone, traces = table(chance, dataset, leaves, depth, subjects, writer)
    path = pathlib.Path(lake) / dataset / f"{seed.replace('/', '-')}-{writer}.parquet"
    try:
        options = write(chance, data, path)
        read(path)
    except BaseException as error:  # A panic of a writer derives from that.
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        path.unlink(missing_ok=True)
        return None, f"{writer}: {str(error).strip().splitlines()[0][:90]}"
    return Made(dataset, path.name, writer, options, gone, traces), None
