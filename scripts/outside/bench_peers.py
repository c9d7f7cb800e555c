"""The other ways to take people out of an object, as people do it today.

usage: bench_peers.py WAY INPUT OUTPUT SUBJECTS CODEC

All of them drop the rows and renumber the rest, where Lacuna blanks them: that is less to write.
"""

import shutil
import sys


def subjects(path):
    """The identifiers of the file, whose first line is a header."""
    with open(path) as file:
        return file.read().split()[1:]


def pyarrow(source, target, whom, codec):
    """A row group at a time, filtered and written, as amazon-s3-find-and-forget does."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    gone = pa.array(subjects(whom))
    old = pq.ParquetFile(source)
    with pq.ParquetWriter(target, old.schema_arrow, compression=codec) as out:
        for group in range(old.num_row_groups):
            table = old.read_row_group(group)
            out.write_table(table.filter(pc.invert(pc.is_in(table["user"], gone))))


def duckdb(source, target, whom, codec):
    """COPY of what is left."""
    import duckdb

    reader = {"parquet": f"read_parquet('{source}')",
              "csv": f"read_csv('{source}', header=true, delim=',', quote='\"', escape='\"')"}
    kind = source.rsplit(".", 1)[-1]
    options = "FORMAT csv, HEADER"
    if kind == "parquet":
        options = f"FORMAT parquet, COMPRESSION {codec}, ROW_GROUP_SIZE 524288"
    duckdb.execute("SET threads TO 2")
    duckdb.execute(f"""COPY (SELECT * FROM {reader[kind]} WHERE "user" NOT IN
        (SELECT "user" FROM read_csv('{whom}', header=true, columns={{'user': 'VARCHAR'}})))
        TO '{target}' ({options})""")


def table_of(folder):
    """A Delta table of the one file in the folder; takes no part in what is measured."""
    from deltalake import convert_to_deltalake

    convert_to_deltalake(folder)


def delta(table, _target, whom, codec):
    """DELETE on a Delta table of the same file."""
    from deltalake import DeltaTable, WriterProperties

    listed = ",".join(f"'{name}'" for name in subjects(whom))
    properties = WriterProperties(compression=codec.upper())
    told = DeltaTable(table).delete(f'"user" IN ({listed})', writer_properties=properties)
    if told["num_deleted_rows"] == 0:
        sys.exit("nothing was deleted")


def keep(source, target, whom):
    """Copies the lines of everybody else."""
    gone = {name.encode() for name in subjects(whom)}
    for line in source:
        if line.startswith(b"{"):
            start = line.index(b'"id":"') + 6
            name = line[start:line.index(b'"', start)]
        else:
            name = line.split(b",", 2)[1]
        if name not in gone:
            target.write(line)


def lines(source, target, whom, _codec):
    """A plain loop over the lines; `-` is standard input and output."""
    if source == "-":
        keep(sys.stdin.buffer, sys.stdout.buffer, whom)
        return
    with open(source, "rb") as old, open(target, "wb") as new:
        keep(old, new, whom)


def python(source, target, whom, _codec):
    """The same through Python's own gzip."""
    import gzip

    with gzip.open(source) as old, gzip.open(target, "wb", 6) as new:
        keep(old, new, whom)


def zlib_ng(source, target, whom, _codec):
    """The same through zlib-ng, whose level 6 costs what zlib-rs' does."""
    from zlib_ng import gzip_ng

    with gzip_ng.open(source) as old, gzip_ng.open(target, "wb", 6) as new:
        keep(old, new, whom)


def store():
    """The server that the environment names."""
    import os

    from pyarrow import fs

    return fs.S3FileSystem(
        access_key=os.environ["LACUNA_TEST_S3_ACCESS_KEY"],
        secret_key=os.environ["LACUNA_TEST_S3_SECRET_KEY"], region="us-east-1",
        endpoint_override=os.environ["LACUNA_TEST_S3_ENDPOINT"].removeprefix("http://"),
        scheme="http", allow_bucket_creation=True, allow_bucket_deletion=True)


def upload(source, target, _whom, _codec):
    """Makes a bucket and an object in it; both stand in `target`."""
    lake = store()
    lake.create_dir(target.split("/")[0])
    with open(source, "rb") as old, lake.open_output_stream(target) as new:
        shutil.copyfileobj(old, new, 8 << 20)


def remove(bucket, _target, _whom, _codec):
    """Removes a bucket with all that is in it."""
    store().delete_dir(bucket)


def rows_left(source, _target, _whom, _codec):
    """Prints how many rows name anybody."""
    import pyarrow.parquet as pq

    column = pq.read_table(source, columns=["user"])["user"]
    print(len(column) - column.null_count)


if __name__ == "__main__":
    WAYS = {"pyarrow": pyarrow, "duckdb": duckdb, "delta-rs": delta, "lines": lines,
            "python": python, "zlib-ng": zlib_ng, "upload": upload, "remove": remove,
            "rows_left": rows_left}
    if sys.argv[1] == "table":
        table_of(sys.argv[2])
    else:
        WAYS[sys.argv[1]](*sys.argv[2:6])
