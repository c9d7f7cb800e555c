"""`scripts/bench erase`: taking subjects out of one large object.

For each case one object is made from a seed, in which every person has five rows. Lacuna indexes
a fresh copy of it, plans and approves, which is not timed; then `lacuna erase` is, which rewrites
the object in place, verifies it and brings its index up to date. The peers read the same object
and write a new one: pyarrow a row group at a time (what amazon-s3-find-and-forget does), DuckDB
by COPY, delta-rs by DeltaTable.delete on a Delta table of the very file, `cp` as the floor; for
text a Python loop over the lines, between decompressing and compressing where the object is
compressed. All peers drop the rows and renumber the rest, Lacuna blanks them. Programs take
turns; printed are medians of CPU seconds (user and system) and of the time that passed, the
highest peak memory, the median ratio of CPU seconds to Lacuna's, and the goals beside. Objects
are in the page cache. What a peer's interpreter takes to start counts as well. With --s3 the
object lies on a SeaweedFS, and bytes and requests are counted by a proxy between the two. All
figures go to target/bench/erase.json or erase-s3.json.
"""

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import statistics
import subprocess

from bench_s3 import measure_s3, server
from workshop import (OUTSIDE, ROOT, WORK, Home, built, commit, dataset, measured, own_peak_mib,
                      python)

PARQUET = [f"parquet-{codec}-{pages}"
           for codec in ("snappy", "zstd") for pages in ("bytes", "rows", "chunk")]
# The second half of a name says what a page is: 1 MiB, 20,000 rows, or all of a column chunk.
CASES = [*PARQUET, "parquet-snappy-bytes-redact", "jsonl", "jsonl.gz", "csv"]
# Rows that make an object of about a megabyte.
ROWS_PER_MB = {"parquet": 4150, "jsonl": 1960, "jsonl.gz": 1960, "csv": 2300}
REDACT = '[dataset.erase]\naction = "redact"\nfields = ["user", "session", "text"]\n'
FLUSHED = 'cp --reflink=never "$0" "$1" && sync "$1"'
RECOMPRESS = '{0} -dc "$0" | "$2" "$3" lines - - "$4" none | {0} {1} >"$1"'


class Case:
    """One object, and what is erased from it."""

    def __init__(self, name, size):
        self.name, self.folder = name, WORK / "erase" / name
        self.kind = name.split("-")[0]
        self.suffix = "parquet" if self.kind == "parquet" else name
        self.codec = name.split("-")[1] if self.kind == "parquet" else "none"
        self.object = self.folder / "made" / f"object.{self.suffix}"
        wanted = size or (868 if self.kind == "parquet" else 1000)
        self.rows = ROWS_PER_MB[self.kind] * wanted

    def make(self):
        """Makes the object where it is not there."""
        made = self.folder / "made"
        done = made / "rows"
        if done.exists() and done.read_text() == str(self.rows):
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        made.mkdir(parents=True)
        script = str(OUTSIDE / "bench_data.py")
        subprocess.run([python(), script, self.name, str(self.rows), str(made)], check=True)
        done.write_text(str(self.rows))

    def subjects(self, count):
        """The file that names so many people."""
        return str(self.object.with_name(f"subjects-{count}.csv"))

    def reach(self, count):
        """The share of the object up to the last of their rows."""
        return float(self.object.with_name(f"reach-{count}").read_text())

    def dataset(self, location):
        """The configuration of the dataset."""
        field = "user.id" if self.kind.startswith("jsonl") else "user"
        more = REDACT if self.name.endswith("-redact") else ""
        return dataset("bench", location, [field], more=more)


def peer(way, source, target, whom, codec="none"):
    """The command of another way."""
    script = str(OUTSIDE / "bench_peers.py")
    return [python(), script, way, str(source), str(target), whom, codec]


def delta_table(case):
    """A new Delta table whose one file is the object itself; not timed."""
    folder = case.folder / "delta"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    os.link(case.object, folder / "object.parquet")
    script = str(OUTSIDE / "bench_peers.py")
    subprocess.run([python(), script, "table", str(folder)], check=True)
    return folder


def peers(case, count):
    """What each peer runs, by name; made anew every round."""
    old, new, whom = case.object, case.folder / f"new.{case.suffix}", case.subjects(count)
    ways = {"cp": lambda: ["cp", "--reflink=never", old, new],
            "cp, flushed": lambda: ["sh", "-c", FLUSHED, old, new]}
    if case.kind == "parquet":
        for way in ("pyarrow", "duckdb"):
            ways[way] = lambda way=way: peer(way, old, new, whom, case.codec)
        ways["delta-rs"] = lambda: peer("delta-rs", delta_table(case), "-", whom, case.codec)
    elif case.kind == "jsonl.gz":
        ways["igzip -d"] = lambda: ["igzip", "-dc", old]
        for way in ("python", "zlib-ng"):
            ways[way] = lambda way=way: peer(way, old, new, whom)
        script = str(OUTSIDE / "bench_peers.py")
        for tool, level in (("gzip", "-6"), ("igzip", "-3")):
            pipe = RECOMPRESS.format(tool, level)
            ways[f"{tool} {level}"] = lambda pipe=pipe: ["bash", "-o", "pipefail", "-c", pipe,
                                                          old, new, python(), script, whom]
    else:
        ways["python"] = lambda: peer("lines", old, new, whom)
    if case.kind == "csv":
        ways["duckdb"] = lambda: peer("duckdb", old, new, whom)
    return ways


def lacuna(case, count, program):
    """One erasure of a fresh copy, with all that goes before it left out of the figures."""
    folder, lake = case.folder / "home", case.folder / "lake"
    shutil.rmtree(lake, ignore_errors=True)
    lake.mkdir()
    shutil.copyfile(case.object, lake / case.object.name)
    home = Home(program, folder, case.dataset(lake))
    indexing = measured(home.command("index", "--quiet"))
    plan = home.approved(case.subjects(count))
    figures = measured(home.command("erase", plan, "--quiet"))
    figures |= {"effort": effort_of(home),
                "index_cpu_seconds": indexing["cpu_seconds"]}
    check_rows(case, lake / case.object.name, case.subjects(count))
    return figures


def effort_of(home):
    """What the program itself says that its one rewrite took."""
    efforts = home.efforts()
    return efforts[-1][1] if efforts else None


def check_rows(case, new, whom):
    """An erasure that erased nothing would be the fastest."""
    if case.kind != "parquet":
        return
    told = subprocess.run(peer("rows_left", new, "-", whom), check=True, capture_output=True)
    erased = case.rows - int(told.stdout)
    people = len(pathlib.Path(whom).read_text().split()) - 1
    if erased not in range(people * 5 - 4, people * 5 + 1):
        raise SystemExit(f"{case.name}: {erased} rows of {people} people are erased")


def measure(case, count, rounds, program):
    """All programs in turn."""
    runs = {}
    for _ in range(rounds):
        runs.setdefault("lacuna", []).append(lacuna(case, count, program))
        for name, command in peers(case, count).items():
            runs.setdefault(name, []).append(measured(command()))
            for made in case.folder.glob("new.*"):
                made.unlink()
    result = figures_of(case, count, runs)
    show(result)
    return result


def figures_of(case, count, runs):
    """Medians, ratios and goals."""
    figures = {}
    for name, measures in runs.items():
        ratios = [other["cpu_seconds"] / max(own["cpu_seconds"], 1e-6)
                  for other, own in zip(measures, runs["lacuna"])]
        waits = [other["wall_seconds"] / own["wall_seconds"]
                 for other, own in zip(measures, runs["lacuna"])]
        figures[name] = {
            "cpu_seconds": statistics.median(run["cpu_seconds"] for run in measures),
            "wall_seconds": statistics.median(run["wall_seconds"] for run in measures),
            "peak_mib": max(run["peak_mib"] for run in measures),
            "cpu_ratio": statistics.median(ratios), "wall_ratio": statistics.median(waits)}
    last = runs["lacuna"][-1]
    return {"case": case.name, "rows": case.rows, "size_bytes": case.object.stat().st_size,
            "subjects": count, "effort": last["effort"],
            "index_cpu_seconds": last["index_cpu_seconds"], "programs": figures,
            "goals": goals(case, count, figures)}


def goals(case, count, figures):
    """What is wanted of this case: text, what was measured, the limit, whether it is met."""
    own, wanted = figures["lacuna"], []

    def at_least(name, factor):
        ratio = figures[name]["cpu_ratio"]
        wanted.append((f"{name}: at least {factor}x its CPU", ratio, ratio >= factor))

    def at_most(text, value, limit):
        wanted.append((f"{text}: at most {limit:.3g}", value, value <= limit))

    few = count == 1
    if case.kind == "parquet":
        for name, factor in (("pyarrow", 20), ("duckdb", 15), ("delta-rs", 15)):
            at_least(name, factor if few else (3 if count >= 10_000 else 4))
    if case.kind == "jsonl.gz":
        floor = figures["igzip -d"]["cpu_seconds"] * case.reach(count)
        text = "CPU to that of the fastest decompression up to the last row"
        at_most(text, own["cpu_seconds"] / floor, 1.5)
        at_least("zlib-ng", 10)
    if few and case.kind != "jsonl.gz":
        at_most("CPU to that of cp", own["cpu_seconds"] / figures["cp"]["cpu_seconds"], 1.5)
        at_most("wall to that of cp, flushed",
                own["wall_seconds"] / figures["cp, flushed"]["wall_seconds"], 1.5)
    at_most("MiB resident", own["peak_mib"], 64 if few else 256)
    return [{"goal": text, "measured": value, "is_met": met} for text, value, met in wanted]


def show(result):
    """Prints the figures of a case."""
    print(f"\n{result['case']}: {result['size_bytes'] / 1e6:,.0f} MB, {result['rows']:,} rows, "
          f"{result['subjects']:,} subjects; {told(result['effort'])}")
    for name, run in result["programs"].items():
        print(f"  {name:12} {run['cpu_seconds']:8.3f} CPU s {run['wall_seconds']:8.3f} s "
              f"{run['peak_mib']:7.0f} MiB {run['cpu_ratio']:8.2f} x CPU "
              f"{run['wall_ratio']:8.2f} x wall")
    show_goals(result["goals"])


def show_goals(wanted):
    """Prints what was to be reached."""
    for goal in wanted:
        mark = "met   " if goal["is_met"] else "MISSED"
        print(f"  {mark} {goal['goal']} (measured {goal['measured']:.3g})", flush=True)


def told(effort):
    """An effort in words."""
    if not effort:
        return "no effort noted"
    way = effort.get("way", "?") + (f" ({effort['because']})" if effort.get("because") else "")
    return f"{way}, " + ", ".join(f"{key} {value:,}" for key, value in effort.items()
                                  if isinstance(value, int))


def main(words):
    """The command line."""
    parser = argparse.ArgumentParser("scripts/bench erase", description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, help="MB an object [868 for Parquet, else 1000]")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--subjects", default="1,100,10000", help="of 1, 100, 10000")
    parser.add_argument("--s3", action="store_true", help="count bytes and requests on a server")
    parser.add_argument("--keep", action="store_true", help="do not remove the objects made")
    parser.add_argument("--program", help="a built lacuna, instead of building one")
    parser.add_argument("case", nargs="*", metavar="CASE", help=", ".join(CASES))
    arguments = parser.parse_args(words)
    if set(arguments.case) - set(CASES):
        parser.error(f"cases are {', '.join(CASES)}")
    chosen = arguments.case or (["parquet-snappy-bytes", "parquet-snappy-bytes-redact"]
                                if arguments.s3 else CASES)
    counts = [int(count) for count in arguments.subjects.split(",")]
    program = built(arguments.program)
    cases = [Case(name, arguments.size) for name in chosen]
    with server() if arguments.s3 else contextlib.nullcontext() as environment:
        results = [result for case in cases
                   for result in bench(case, counts, arguments, program, environment)]
    written = WORK / ("erase-s3.json" if arguments.s3 else "erase.json")
    written.write_text(json.dumps({"commit": commit(), "least_peak_mib": own_peak_mib(),
                                   "cases": results}, indent=2))
    print(f"\nwritten to {written.relative_to(ROOT)}")


def bench(case, counts, arguments, program, environment):
    """A case with every number of subjects."""
    case.make()
    for count in counts:
        if arguments.s3:
            yield measure_s3(case, count, program, environment)
        else:
            yield measure(case, count, arguments.rounds, program)
    if not arguments.keep:
        shutil.rmtree(case.folder)
