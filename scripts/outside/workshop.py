"""What the scripts that measure and judge Lacuna from outside have in common.

It knows the built program by its command line only, and shares no code with it.
"""

import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import time
import venv

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
OUTSIDE = ROOT / "scripts" / "outside"
WORK = ROOT / "target" / "bench"
# The same for everybody who runs a script: figures and findings depend on the versions.
PACKAGES = ["duckdb==2.0.0", "polars==2.1.0", "pyarrow==26.0.1", "numpy==2.4.6",
            "deltalake==1.6.6", "datafusion==55.0.0", "isal==1.9.1", "zlib-ng==1.1.0",
            "zopfli==0.4.3", "xxhash==4.1.0"]
# Large, and only asked for by name; it needs a Java.
SPARK = "pyspark==4.3.0"


def python(more=()):
    """The interpreter that has the peers, and what else is asked for."""
    home = WORK / "venv"
    done = home / "done"
    there = done.read_text().split() if done.exists() else []
    missing = [package for package in [*PACKAGES, *more] if package not in there]
    if missing:
        if not (home / "bin/pip").exists():
            venv.create(home, with_pip=True)
        subprocess.run([home / "bin/pip", "install", "--quiet", *missing], check=True)
        done.write_text("\n".join([*there, *missing]))
    return str(home / "bin/python")


def built(given=None):
    """The path of the program: the one given, or the one that it builds."""
    if given:
        return str(pathlib.Path(given).resolve())
    command = ["cargo", "build", "--release", "--locked", "--quiet"]
    subprocess.run(command, cwd=ROOT, check=True)
    return str(ROOT / "target/release/lacuna")


def commit():
    """Which commit the figures are of."""
    command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    return subprocess.run(command, cwd=ROOT, text=True, capture_output=True).stdout.strip()


def measured(command, **options):
    """What one run took, as the system accounts for it; ends the script where it fails."""
    started = time.monotonic()
    options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, **options}
    child = subprocess.Popen(command, **options)
    errors = child.stderr.read().decode(errors="replace")
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"{' '.join(map(str, command[:4]))}: {errors}")
    return {
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "wall_seconds": time.monotonic() - started,
        # A child begins as a copy of this process, whose own peak is the least that shows.
        "peak_mib": used.ru_maxrss / 1024,
    }


def own_peak_mib():
    """Below this a measured peak says nothing."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Home:
    """A folder with a configuration, an index and a ledger."""

    def __init__(self, program, folder, datasets, more=""):
        self.program, self.folder, self.environment = program, folder, dict(os.environ)
        shutil.rmtree(folder, ignore_errors=True)
        self.run("init", str(folder), is_outside=True)
        head = ('[metastore]\nurl = "file:.lacuna/index"\n[ledger]\nlocation = ".lacuna/ledger"\n'
                '[identity]\nkey_file = ".lacuna/digest.key"\n')
        (folder / "lacuna.toml").write_text(head + more + datasets)

    def command(self, *words):
        """What runs the program here."""
        return [self.program, "--config", str(self.folder / "lacuna.toml"), *map(str, words)]

    def attempt(self, *words):
        """Exit code, document, and messages of a command."""
        done = subprocess.run([*self.command(*words), "--json", "--quiet"], capture_output=True,
                              env=self.environment, stdin=subprocess.DEVNULL)
        document = json.loads(done.stdout) if done.stdout.strip() else None
        return done.returncode, document, done.stderr.decode(errors="replace")

    def run(self, *words, is_outside=False):
        """The document of a command that has to end well."""
        if is_outside:
            subprocess.run([self.program, "--quiet", *words], check=True,
                           stdout=subprocess.DEVNULL)
            return None
        code, document, messages = self.attempt(*words)
        if code != 0:
            sys.exit(f"lacuna {words[0]} ended with {code}: {messages}")
        return document

    def approved(self, subjects):
        """The id of an approved plan for the subjects of a file."""
        plan = self.run("plan", "--subjects", subjects, "--request", "outside")["plan_id"]
        self.run("approve", plan, "--by", "script", "--confirm", plan[:8])
        return plan

    def efforts(self):
        """What the journal says that each rewrite took, by the object's key."""
        found = []
        for path in sorted((self.folder / ".lacuna/ledger/journal").rglob("*.json")):
            step = json.loads(path.read_text()).get("step", {})
            if step.get("step") == "rewritten" and step.get("effort"):
                found.append((step["object"]["key"], step["effort"]))
        return found


def dataset(name, location, fields, namespace="user", kind="string", more=""):
    """The configuration of one dataset."""
    text = f'[[dataset]]\nname = "{name}"\nlocation = "{location}"\n'
    for field in fields:
        text += (f'[[dataset.identifier]]\nnamespace = "{namespace}"\n'
                 f"field = {json.dumps(field)}\ntype = \"{kind}\"\n")
    return text + more
