"""Writes Parquet files of every make, and compares what became of them with other engines.

    parquet_check.py generate FOLDER     writes NAME.parquet, each with an identifier column `id`
    parquet_check.py check FOLDER        compares NAME.parquet with NAME.blanked.parquet, whose
                                         blanked rows NAME.rows lists as JSON
"""

import datetime
import decimal
import json
import pathlib
import random
import sys

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 3000


def table(seed):
    chance = random.Random(seed)
    def some(make, missing=0.1):
        return [None if chance.random() < missing else make() for _ in range(ROWS)]
    def text():
        return "".join(chance.choice("abcdefgh") for _ in range(chance.randrange(12)))
    day = datetime.date(2020, 1, 1)
    instant = datetime.datetime(2021, 5, 6, 7, 8, 9, 123456)
    columns = {
        "id": pa.array([f"u{n % 100}" for n in range(ROWS)], pa.string()),
        "i8": pa.array(some(lambda: chance.randrange(-128, 128)), pa.int8()),
        "u32": pa.array(some(lambda: chance.randrange(2**32)), pa.uint32()),
        "i64": pa.array(some(lambda: chance.randrange(-(2**63), 2**63)), pa.int64()),
        "few": pa.array(some(lambda: chance.randrange(5)), pa.int32()),
        "f32": pa.array(some(chance.random), pa.float32()),
        "f64": pa.array(some(lambda: chance.choice([1.5, -0.0, float("inf"), 2.0**60])),
                        pa.float64()),
        "yes": pa.array(some(lambda: chance.random() < 0.5), pa.bool_()),
        "text": pa.array(some(text), pa.string()),
        "bytes": pa.array(some(lambda: chance.randbytes(9)), pa.binary()),
        "fixed": pa.array(some(lambda: chance.randbytes(16)), pa.binary(16)),
        "day": pa.array(some(lambda: day + datetime.timedelta(chance.randrange(9999))),
                        pa.date32()),
        "when": pa.array(some(lambda: instant + datetime.timedelta(chance.randrange(99))),
                         pa.timestamp("us", tz="UTC")),
        "ns": pa.array(some(lambda: chance.randrange(2**60)), pa.timestamp("ns")),
        "d9": pa.array(some(lambda: decimal.Decimal(chance.randrange(10**9)).scaleb(-2)),
                       pa.decimal128(11, 2)),
        "d40": pa.array(some(lambda: decimal.Decimal(chance.randrange(10**40))),
                        pa.decimal256(50, 0)),
        "list": pa.array(some(lambda: some_list(chance)), pa.list_(pa.int64())),
        "deep": pa.array(some(lambda: [some_list(chance) for _ in range(chance.randrange(3))]),
                         pa.list_(pa.list_(pa.int64()))),
        "map": pa.array(some(lambda: [(text(), chance.randrange(9)) for _ in range(2)]),
                        pa.map_(pa.string(), pa.int32())),
        "struct": pa.array(some(lambda: {"a": text(), "b": {"c": some_list(chance)}}),
                           pa.struct([("a", pa.string()),
                                      ("b", pa.struct([("c", pa.list_(pa.int64()))]))])),
        "null": pa.array([None] * ROWS, pa.null()),
    }
    result = pa.table(columns)
    must = result.column("i64").fill_null(7)
    return result.append_column(pa.field("must", pa.int64(), nullable=False), must)


def some_list(chance):
    return [None if chance.random() < 0.1 else chance.randrange(100)
            for _ in range(chance.randrange(4))]


MAKES = {
    "plain": dict(use_dictionary=False, compression="none"),
    "snappy": dict(compression="snappy"),
    "gzip_v2": dict(compression="gzip", data_page_version="2.0"),
    "zstd_small_pages": dict(compression="zstd", data_page_size=512, row_group_size=700),
    "brotli_index": dict(compression="brotli", write_page_index=True, data_page_size=2048),
    "lz4_v2_index": dict(compression="lz4", data_page_version="2.0", write_page_index=True,
                         row_group_size=1000),
    "checksums": dict(write_page_checksum=True, write_page_index=True, data_page_size=1024),
    "checksums_v2": dict(write_page_checksum=True, data_page_version="2.0"),
    "fallback": dict(dictionary_pagesize_limit=300, data_page_size=1024),
    "no_statistics": dict(write_statistics=False),
    "int96": dict(use_deprecated_int96_timestamps=True),
    "version1": dict(version="1.0", coerce_timestamps="us", allow_truncated_timestamps=True),
    "sorted": dict(sorting_columns=[pq.SortingColumn(1)], row_group_size=1000),
    "encodings": dict(use_dictionary=False, write_page_index=True, column_encoding={
        "i64": "DELTA_BINARY_PACKED", "few": "BYTE_STREAM_SPLIT", "text": "DELTA_BYTE_ARRAY",
        "bytes": "DELTA_LENGTH_BYTE_ARRAY", "f32": "BYTE_STREAM_SPLIT", "yes": "RLE",
        "fixed": "DELTA_BYTE_ARRAY", "must": "DELTA_BINARY_PACKED"}),
    "bloom": dict(bloom_filter_options={"id": {"ndv": 3000, "fpp": 0.01}, "i64": True}),
}


def generate(folder):
    for seed, (name, options) in enumerate(MAKES.items()):
        data = table(seed).replace_schema_metadata({"note": name})
        try:
            pq.write_table(data, folder / f"{name}.parquet", **options)
        except TypeError as error:
            print(f"not written: {name}: {error}", file=sys.stderr)


def check(folder):
    count = 0
    for new in sorted(folder.glob("*.blanked.parquet")):
        name = new.name.removesuffix(".blanked.parquet")
        old = folder / f"{name}.parquet"
        rows = set(json.loads((folder / f"{name}.rows").read_text()))
        compare_pyarrow(name, old, new, rows)
        compare_duckdb(name, old, new, rows)
        compare_metadata(name, old, new)
        count += 1
    assert count >= 14, count
    print(f"{count} files agree")


def compare_pyarrow(name, old, new, rows):
    before, after = pq.read_table(old), pq.read_table(new)
    assert before.schema.equals(after.schema, check_metadata=True), name
    for column in before.column_names:
        for row, (one, two) in enumerate(zip(before[column], after[column], strict=True)):
            if row in rows:
                blank = 0 if column == "must" else None
                assert two.as_py() == blank, (name, column, row)
            else:
                assert one.equals(two) or str(one) == str(two), (name, column, row)
    pq.ParquetFile(new, page_checksum_verification=True).read()


def compare_duckdb(name, old, new, rows):
    session = duckdb.connect()
    session.execute("create table gone as select unnest(?::bigint[]) as row", [sorted(rows)])
    def scan(path):
        read = f"read_parquet('{path}', file_row_number=true)"
        return f"(select file_row_number as row, * from {read})"
    columns = [column for column in pq.read_schema(new).names]
    for column in columns:
        quoted = f'"{column}"'
        differing = session.execute(
            f"select count(*) from {scan(old)} o join {scan(new)} n using (row) where row not in "
            f"(select row from gone) and o.{quoted} is distinct from n.{quoted}").fetchone()[0]
        assert differing == 0, (name, column, differing)
        nulls = session.execute(
            f"select count(*) from {scan(new)} where {quoted} is null").fetchone()
        expected = session.execute(
            f"select count(*) from {scan(old)} where {quoted} is null "
            "or row in (select row from gone)").fetchone()
        if column != "must":
            assert nulls == expected, (name, column, nulls, expected)
    # What an engine prunes by: every value that is left is found by a filter on it.
    for column in ["id", "i64", "few", "text", "must"]:
        values = session.execute(
            f"select distinct {column} from {scan(new)} where {column} is not null "
            f"order by 1").fetchall()
        for (value,) in values[:: max(1, len(values) // 15)]:
            found = session.execute(
                f"select count(*) from read_parquet('{new}') where {column} = ?",
                [value]).fetchone()
            expected = session.execute(
                f"select count(*) from {scan(old)} where {column} = ? and row not in "
                "(select row from gone)", [value]).fetchone()[0]
            blanks = len(rows) if column == "must" and value == 0 else 0
            assert found[0] == expected + blanks, (name, column)


def compare_metadata(name, old, new):
    before, after = pq.ParquetFile(old).metadata, pq.ParquetFile(new).metadata
    assert before.created_by == after.created_by and before.metadata == after.metadata, name
    assert before.num_row_groups == after.num_row_groups, name
    for group in range(before.num_row_groups):
        one, two = before.row_group(group), after.row_group(group)
        assert one.num_rows == two.num_rows
        assert two.total_byte_size == sum(
            two.column(at).total_uncompressed_size for at in range(two.num_columns)), name
        for at in range(before.num_columns):
            a, b = one.column(at), two.column(at)
            for what in ["physical_type", "path_in_schema", "compression", "has_dictionary_page",
                         "has_offset_index", "has_column_index", "is_stats_set"]:
                left, right = getattr(a, what), getattr(b, what)
                assert left == right, (name, a.path_in_schema, what, left, right)
            drop = {"PLAIN_DICTIONARY"}
            left, right = set(a.encodings) - drop, set(b.encodings) - drop
            assert right <= left | {"RLE_DICTIONARY", "RLE", "PLAIN"}, (name, at, left, right)
            assert left - right <= {"BIT_PACKED", "RLE", "PLAIN"}, (name, at, left, right)


if __name__ == "__main__":
    {"generate": generate, "check": check}[sys.argv[1]](pathlib.Path(sys.argv[2]))
