"""Prints the rows of Parquet files as two independent engines read them, one JSON document a file.

usage: rows.py FILE...
Ends with a message on standard error where the engines disagree.
"""

import json
import sys

import duckdb
import pyarrow.parquet as pq


def plain(value):
    """A value as JSON holds it."""
    if isinstance(value, bytes):
        return "bytes:" + value.hex()
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


def by_pyarrow(path):
    table = pq.ParquetFile(path, page_checksum_verification=True).read()
    return [plain(row) for row in table.to_pylist()]


def by_duckdb(path):
    cursor = duckdb.execute("SELECT * FROM read_parquet(?)", [path])
    names = [column[0] for column in cursor.description]
    return [plain(dict(zip(names, row))) for row in cursor.fetchall()]


def nulls_by_filter(path):
    """How many rows each top-level column is null in, asked so that an engine prunes by statistics."""
    names = pq.read_schema(path).names
    count = 'SELECT count(*) FROM read_parquet(?) WHERE "{}" IS NULL'
    return {name: duckdb.execute(count.format(name), [path]).fetchone()[0] for name in names}


def main():
    for path in sys.argv[1:]:
        rows = by_pyarrow(path)
        if rows != by_duckdb(path):
            sys.exit(f"{path}: pyarrow and DuckDB read different rows")
        nulls = nulls_by_filter(path)
        for name, count in nulls.items():
            if count != sum(row[name] is None for row in rows):
                sys.exit(f"{path}: {name} IS NULL finds {count} rows")
        print(json.dumps(rows))


main()
