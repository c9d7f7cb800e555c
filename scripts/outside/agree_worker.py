"""Does the rounds that it is told the seeds of, and tells what came of each as a line of JSON.

usage: agree_worker.py PROGRAM FOLDER [--only=parquet|text] [--spark] [--prove] [--unerased]
"""

import collections
import json
import os
import pathlib
import sys
import tempfile
import traceback
import warnings

import agree_make
import agree_text
from agree_prove import prove
from agree_round import Round


def findings_of(done, options):
    """What a round found; an error of these scripts counts as well."""
    try:
        if "--unerased" in options:
            return done.unerased()
        findings = done.run()
        return prove(done) if "--prove" in options and not findings else findings
    except Exception:
        text = traceback.format_exc()
        return [*done.findings, {"finding": f"the script failed: {text}", "options": ""}]


def main():
    program, folder, options = sys.argv[1], pathlib.Path(sys.argv[2]), set(sys.argv[3:])
    warnings.filterwarnings("ignore")
    # What an engine prints is not an answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    kinds = [word.removeprefix("--only=") for word in options if word.startswith("--only=")]
    with tempfile.TemporaryDirectory(prefix="lacuna-agree-") as workshop:
        missing = agree_text.prepare(workshop)
        spark = agree_make.spark_in(workshop) if "--spark" in options else None
        for line in sys.stdin:
            totals = collections.Counter({("encoder not at hand", name): 1 for name in missing})
            done = Round(program, folder, line.strip(), totals, spark,
                         kinds or ["parquet", "text"])
            totals["round", "all"] += 1
            findings = findings_of(done, options)
            told = {"findings": findings, "totals": [[name, count] for name, count
                                                     in totals.items()]}
            print(json.dumps(told), file=answers, flush=True)


main()
