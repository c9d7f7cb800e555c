"""The command line of `scripts/agree`: hands rounds to a worker, and outlives it.

An engine that meets a file it cannot read may end its whole process. Then the round is done again
without an erasure, old file against old file: where the engine ends there too, it is to blame.
"""

import argparse
import collections
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time

from workshop import OUTSIDE, ROOT, built

WORK = ROOT / "target" / "agree"
# Two runs may stand side by side.
ROUND = WORK / f"round-{os.getpid()}"
# Seconds that a round may take; an engine that waits for itself is ended like one that fails.
PATIENCE = 1200


class Worker:
    """A process that does rounds in order and tells what came of each."""

    def __init__(self, program, options):
        command = [sys.executable, "-B", str(OUTSIDE / "agree_worker.py"), program, str(ROUND)]
        # What engines print while they fail is many pages long.
        environment = {**os.environ, "RUST_BACKTRACE": "0", "PYTHONFAULTHANDLER": "0"}
        with open(WORK / "engines.log", "ab") as log:
            self.process = subprocess.Popen([*command, *options], text=True, env=environment,
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=log)

    def round(self, seed):
        """What came of a round; nothing where the process ended."""
        try:
            print(seed, file=self.process.stdin, flush=True)
        except BrokenPipeError:
            return None
        clock = threading.Timer(PATIENCE, self.process.kill)
        clock.start()
        line = self.process.stdout.readline()
        clock.cancel()
        return json.loads(line) if line.endswith("\n") else None

    def end(self):
        """Lets it end by itself."""
        self.process.stdin.close()
        return self.process.wait()


class Run:
    """All rounds of a call."""

    def __init__(self, arguments):
        self.arguments, self.totals, self.findings = arguments, collections.Counter(), 0
        self.program, self.options = built(arguments.program), []
        for name in ("only", "spark", "prove"):
            value = getattr(arguments, name)
            if value:
                self.options.append(f"--{name}" if value is True else f"--{name}={value}")
        self.worker = Worker(self.program, self.options)

    def seeds(self):
        """The seeds of the rounds: N/0, N/1, …; a seed with a slash is a round's own."""
        given, at, started = self.arguments.seed, 0, time.monotonic()
        if "/" in given:
            yield given
            return
        while self.arguments.rounds is None or at < self.arguments.rounds:
            if at and time.monotonic() - started > self.arguments.seconds:
                return
            yield f"{given}/{at}"
            at += 1

    def round(self, seed):
        """One round, and what is to be said of it."""
        told = self.worker.round(seed)
        if told is None:
            code = self.worker.end()
            self.worker = Worker(self.program, self.options)
            told = self.blame(seed, code)
        for name, count in told["totals"]:
            self.totals[tuple(name)] += count
        self.findings += len(told["findings"])
        for finding in told["findings"]:
            print(f"VIOLATION (seed {seed}) {finding['finding']}", flush=True)
            if finding["options"]:
                print(f"  written with {finding['options']}", flush=True)
        if told["findings"]:
            keep(seed, told["findings"])

    def blame(self, seed, code):
        """A worker ended in mid-round: because of the new files, or of the old ones?"""
        same = Worker(self.program, [*self.options, "--unerased"])
        alone = same.round(seed)
        if alone is None or same.end() != 0:
            return {"findings": [], "totals": [[["round", "ended by an engine, old files"], 1]]}
        text = f"a process that reads the new files ends with {code}, on the old ones it does not"
        return {"findings": [{"finding": text, "options": ""}], "totals": []}


def keep(seed, findings):
    """Saves a round with findings for a closer look."""
    target = WORK / "findings" / seed.replace("/", "-")
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(ROUND, target)
    (target / "findings.json").write_text(json.dumps(findings, indent=2))


def totals_of(counts):
    """The totals as lines."""
    groups = collections.defaultdict(list)
    for (group, name), count in sorted(counts.items()):
        groups[group].append(f"{name}: {count:,}")
    return "\n".join(f"{group}\n  " + "\n  ".join(lines) for group, lines in groups.items())


def main():
    parser = argparse.ArgumentParser("scripts/agree")
    parser.add_argument("--seed", default="1", help="a number, or NUMBER/ROUND for one round")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--only", choices=["parquet", "text"])
    parser.add_argument("--spark", action="store_true", help="with files written by Spark")
    parser.add_argument("--program", help="a built lacuna, instead of building one")
    parser.add_argument("--prove", action="store_true", help="damage results on purpose")
    run, started = Run(parser.parse_args()), time.monotonic()
    for seed in run.seeds():
        run.round(seed)
    run.worker.end()
    print(totals_of(run.totals))
    print(f"{run.findings} violations of seed {run.arguments.seed} "
          f"in {time.monotonic() - started:.0f} s")
    shutil.rmtree(ROUND, ignore_errors=True)
    sys.exit(1 if run.findings else 0)


if __name__ == "__main__":
    pathlib.Path(WORK).mkdir(parents=True, exist_ok=True)
    main()
