"""`scripts/bench scan`: finding and grouping the identifiers of one object.

For each case the script makes one object from a seed, then lets every program find and group the
identifiers in it, in turn, round after round: `lacuna index --full` (which also writes its
index), DuckDB and Polars (which group and count in memory), and for JSON lines a plain Python
loop. It prints the median CPU seconds (user and system), the peak memory, and the ratio of each
program's CPU seconds to Lacuna's, and writes all figures to target/bench/results.json. A ratio
says more than a time: the programs of one round share whatever else the machine was doing.
"""

import argparse
import json
import statistics
import subprocess

from workshop import ROOT, WORK, Home, built, commit, dataset, measured, python

MAKE = r"""
import random, sys
import pyarrow as pa, pyarrow.parquet as pq
case, rows, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
seed = random.Random(2018)
people = max(1, rows // 3)
filler = "".join(seed.choice("abcdefghijklmnopqrstuvwxyz \\u00e9,") for _ in range(700)).replace("\\", "")
def user(): return f"u-{seed.randrange(people):012x}"
def jsonl(row):
    return ('{"row":%d,"kind":"click","tags":["a","b",{"id":1}],"user":{"id":"%s","name":"x"},'
            '"score":%d.5,"text":"%s","note":"a \\"quoted\\" word"}\n' % (row, user(), row % 100, filler))
def csv(row):
    return '%d,click,%s,"a, ""quoted"" word",%d.5,%s\n' % (row, user(), row % 100, filler.replace(",", ";"))
if case.startswith("parquet"):
    if case.endswith("dictionary"):
        few = [f"u-{at:012x}" for at in range(20_000)]
        ids = pa.array([few[seed.randrange(20_000)] for _ in range(rows)])
    else:
        ids = pa.array([user() for _ in range(rows)])
    table = pa.table({"id": ids, "row": pa.array(range(rows))})
    pq.write_table(table, path, row_group_size=1 << 20, use_dictionary=case.endswith("dictionary"))
else:
    codec = {"gz": "gzip", "zst": "zstd"}.get(case.split(".")[-1])
    raw = pa.OSFile(path, "wb")
    out = pa.CompressedOutputStream(raw, codec) if codec else raw
    if case == "csv":
        out.write(b"row,kind,user,note,score,text\n")
    line = csv if case == "csv" else jsonl
    for first in range(0, rows, 10_000):
        out.write("".join(line(row) for row in range(first, min(rows, first + 10_000))).encode())
    out.close()
"""

DUCKDB = r"""
import duckdb, sys
case, path = sys.argv[1:]
duckdb.execute("SET threads TO 2")
if case.startswith("parquet"):
    source, column = f"read_parquet('{path}')", "id"
elif case == "csv":
    source, column = f"read_csv('{path}', header=true, delim=',', quote='\"', escape='\"')", '"user"'
else:
    source = f"read_json('{path}', format='newline_delimited', columns={{'user': 'STRUCT(id VARCHAR)'}})"
    column = '"user".id'
query = f"SELECT count(*), sum(n) FROM (SELECT {column} AS id, count(*) AS n FROM {source} GROUP BY 1)"
print(duckdb.execute(query).fetchall())
"""

POLARS = r"""
import polars as pl, sys
case, path = sys.argv[1:]
if case.startswith("parquet"):
    frame, column = pl.scan_parquet(path), pl.col("id")
elif case == "csv":
    frame, column = pl.scan_csv(path), pl.col("user")
else:
    schema = pl.Schema({"user": pl.Struct({"id": pl.String})})
    frame = pl.scan_ndjson(path, schema=schema)
    column = pl.col("user").struct.field("id")
print(frame.select(column.alias("id")).group_by("id").agg(pl.len().alias("n"))
      .select(pl.len().alias("ids"), pl.col("n").sum().alias("rows")).collect())
"""

PYTHON = r"""
import gzip, json, sys
case, path = sys.argv[1:]
opened = gzip.open(path, "rb") if case.endswith("gz") else open(path, "rb")
rows = {}
for row, line in enumerate(opened):
    rows.setdefault(json.loads(line)["user"]["id"], []).append(row)
print(len(rows))
"""

FIELDS = {"csv": "user", "parquet-random": "id", "parquet-dictionary": "id"}
SUFFIX = {"parquet-random": "parquet", "parquet-dictionary": "parquet", "jsonl": "json",
          "jsonl.gz": "json.gz", "jsonl.zst": "json.zst", "csv": "csv"}
ROWS = {"parquet-random": 1, "parquet-dictionary": 20}


def lacuna(case, lake, program):
    """The command that indexes the case's object."""
    field = FIELDS.get(case, "user.id")
    home = Home(program, WORK / case / "home", dataset("bench", lake, [field]))
    return home.command("index", "--full", "--quiet")


def bench(case, rows, rounds, program):
    """All programs on one case."""
    interpreter = python()
    lake = WORK / case / "lake"
    lake.mkdir(parents=True, exist_ok=True)
    path = lake / f"object.{SUFFIX[case]}"
    rows *= ROWS.get(case, 1)
    made = WORK / case / "rows"
    if not path.exists() or not made.exists() or made.read_text() != str(rows):
        subprocess.run([interpreter, "-c", MAKE, case, str(rows), str(path)], check=True)
        made.write_text(str(rows))
    programs = {"lacuna": lacuna(case, lake, program)}
    peers = {"duckdb": DUCKDB, "polars": POLARS}
    if case in ("jsonl", "jsonl.gz"):
        peers["python"] = PYTHON
    for name, script in peers.items():
        programs[name] = [interpreter, "-c", script, case, str(path)]
    for command in programs.values():
        measured(command)
    runs = {name: [] for name in programs}
    for _ in range(rounds):
        for name, command in programs.items():
            runs[name].append(measured(command))
    return report(case, rows, path.stat().st_size, runs)


def report(case, rows, size, runs):
    """Prints and returns the figures of a case."""
    print(f"\n{case}: {rows:,} rows, {size / 1e6:,.0f} MB", flush=True)
    figures = {}
    for name, measures in runs.items():
        cpu = statistics.median(run["cpu_seconds"] for run in measures)
        ratio = statistics.median(other["cpu_seconds"] / own["cpu_seconds"]
                                  for other, own in zip(measures, runs["lacuna"]))
        peak = max(run["peak_mib"] for run in measures)
        figures[name] = {"cpu_seconds": cpu, "peak_mib": peak, "ratio": ratio}
        print(f"  {name:8} {cpu:8.3f} CPU s  {size / 1e6 / cpu:8.0f} MB per CPU s  "
              f"{peak:7.0f} MiB  {ratio:6.2f} x")
    return {"case": case, "rows": rows, "size_bytes": size, "programs": figures}


def main(words):
    """The command line."""
    parser = argparse.ArgumentParser("scripts/bench scan", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("case", nargs="*", default=list(SUFFIX))
    arguments = parser.parse_args(words)
    program = built()
    results = [bench(case, arguments.rows, arguments.rounds, program) for case in arguments.case]
    written = WORK / "results.json"
    written.write_text(json.dumps({"commit": commit(), "cases": results}, indent=2))
    print(f"\nwritten to {written.relative_to(ROOT)}")
