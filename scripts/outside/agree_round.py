"""One round: a lake of random files, two erasures, and every file held against what it was."""

import random
import shutil

import agree_make
import agree_text
from agree_cells import Violation, blanks, compare_tables, duckdb_agrees, polars_agrees, read
from agree_filters import filters_find
from agree_pages import DATA_V2, DICTIONARY, Broken, File
from agree_structure import check_blooms, check_structure, check_traces
from workshop import Home, dataset

PARQUET, TEXT, TRACES = 8, 5, 120
# The same people in every round; the second two are erased by the index that the first left.
FIRST, SECOND = (0, 1), (2, 3)


class Round:
    """Makes the lake, erases, checks; what was done is counted in `totals`."""

    def __init__(self, program, folder, seed, totals, spark=None, kinds=("parquet", "text")):
        self.program, self.folder, self.seed, self.totals = program, folder, seed, totals
        self.chance, self.spark, self.kinds = random.Random(seed), spark, kinds
        self.lake, self.old = folder / "lake", folder / "old"
        self.files, self.findings, self.gaps, self.home = [], [], {}, None
        self.changed_pages = {}

    def run(self):
        """All of it; the findings."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.make()
        shutil.copytree(self.lake, self.old)
        self.home = Home(self.program, self.folder / "home", self.configuration())
        self.index()
        if self.gaps.get(""):
            return self.findings
        for whom in (FIRST, SECOND):
            self.erase(whom)
        for made in self.files:
            self.guarded(made, lambda made=made: self.check(made))
        self.guarded(None, self.check_lake)
        return self.findings

    def unerased(self):
        """The same without an erasure: what an engine makes of the old files alone."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.make()
        shutil.copytree(self.lake, self.old)
        for made in self.files:
            if isinstance(made, agree_make.Made) and made.gone:
                made.gone, made.traces = [], []
                paths = (base / made.dataset / made.name for base in (self.old, self.lake))
                self.guarded(made, lambda made=made, paths=paths: self.check_parquet(made, *paths))
        return self.findings

    def configuration(self):
        """Every dataset of this round."""
        parts = [dataset(name, self.lake / name, fields, kind, kind, more)
                 for name, fields, kind, more in agree_make.datasets()]
        parts.append(dataset("lines", self.lake / "lines", ["user.id"], "string"))
        parts.append(dataset("records", self.lake / "records", ["user"], "string"))
        return "".join(parts)

    def make(self):
        """Random files, and one that nobody erases from."""
        for name in [*agree_make.KIND, "lines", "records"]:
            (self.lake / name).mkdir(parents=True)
        subjects = set(FIRST + SECOND)
        for at in range(PARQUET if "parquet" in self.kinds else 0):
            made, refused = agree_make.make(f"{self.seed}/p{at}", self.lake, subjects, self.spark)
            if made:
                self.files.append(made)
            else:
                self.totals["not written", refused] += 1
        for at in range(TEXT if "text" in self.kinds else 0):
            self.files.append(agree_text.make_text(f"{self.seed}/t{at}", self.lake, subjects))

    def index(self):
        """Indexes, and takes note of what could not be read."""
        code, told, messages = self.home.attempt("index")
        if code != 0:
            self.find(None, f"index ended with {code}: {messages.strip()[:300]}")
            self.gaps[""] = True
            return
        for part in told["datasets"]:
            for gap in part["coverage"]["gaps"]:
                self.gaps[gap["key"].rsplit("/", 1)[-1]] = gap["reason"]

    def erase(self, whom):
        """One approved plan for some people."""
        names = sorted({agree_make.subject(name, number) for name in agree_make.KIND
                        for number in whom})
        listed = self.folder / "subjects.csv"
        listed.write_text("subject\n" + "\n".join(names) + "\n")
        code, plan, messages = self.home.attempt("plan", "--subjects", listed, "--request", "r")
        if code != 0:
            self.find(None, f"plan ended with {code}: {messages.strip()[:300]}")
            return
        plan = plan["plan_id"]
        self.home.run("approve", plan, "--by", "agree", "--confirm", plan[:8])
        deep = ["--deep"] if self.chance.random() < 0.2 else []
        code, told, messages = self.home.attempt("erase", plan, *deep)
        if code != 0:
            failed = [f"{item['object']}: {item['detail']}"
                      for item in (told or {}).get("failed", [])]
            self.find(None, f"erase {deep} ended with {code}: {failed or messages.strip()[:400]}")
        code, _, messages = self.home.attempt("verify", plan)
        if code != 0:
            self.find(None, f"verify ended with {code}: {messages.strip()[:300]}")

    def guarded(self, made, check):
        """A check that fails is a finding, whatever it raises: the old file passed it."""
        try:
            check()
        except (Violation, Broken) as error:
            self.find(made, str(error))
        except Exception as error:  # An engine that cannot read what Lacuna wrote.
            self.find(made, f"{type(error).__name__}: {str(error)[:300]}")

    def find(self, made, text):
        """Takes note of a violation."""
        about = f"{made.dataset}/{made.name} by {made.writer}: " if made else ""
        options = getattr(made, "options", "") if made else ""
        self.findings.append({"seed": self.seed, "finding": about + text, "options": options})

    def check(self, made):
        """One file."""
        new, old = (base / made.dataset / made.name for base in (self.lake, self.old))
        if made.name in self.gaps:
            self.totals["gap", f"{made.writer}: {self.gaps[made.name]}"] += 1
            if new.read_bytes() != old.read_bytes():
                raise Violation("what could not be read was changed")
            return
        for writer in made.writer.split("+"):
            self.totals["file", writer] += 1
        if isinstance(made, agree_text.Text):
            agree_text.check_text(made, new.read_bytes())
            self.totals["text", "rows read back"] += made.rows
        elif made.gone:
            self.check_parquet(made, old, new)
        elif new.read_bytes() != old.read_bytes():
            raise Violation("nobody was erased from it, and it changed")
        else:
            self.totals["parquet", "untouched files"] += 1

    def check_parquet(self, made, old, new):
        """Everything that is known of a Parquet file."""
        before = read(old)
        after = read(new)
        files = [File(path.read_bytes()) for path in (old, new)]
        blanked = blanks(before.column_names, made.dataset)
        compare_tables(before, after, made.gone, blanked)
        self.totals["parquet", "blanked rows"] += len(made.gone)
        self.totals["parquet", "cells"] += before.num_rows * before.num_columns
        check_structure(files, (before, after), self.totals)
        check_copied(*files, made.gone)
        kept, self.changed_pages[made.name] = copied_pages(*files, made.gone)
        self.totals["parquet", "pages without an erased row, copied"] += kept
        self.totals["parquet", "pages without an erased row, changed"] += (
            self.changed_pages[made.name])
        traces = made.traces
        if len(traces) > TRACES:
            traces = self.chance.sample(traces, TRACES)
        self.totals["parquet", "traces looked for"] += check_traces(*files, traces)
        self.totals["parquet", "bloom questions"] += check_blooms(files, (before, after))
        self.totals["parquet", "DuckDB columns"] += duckdb_agrees(
            old, new, made.gone, before.column_names)
        self.totals["parquet", "Polars files"] += polars_agrees(old, new, made.gone)
        self.totals["parquet", "filters"] += filters_find(
            self.chance, (old, new), (before, after))

    def check_lake(self):
        """No file came or went, other runtimes read the gzip files, and nobody is found again."""
        self.check_listing()
        self.check_again()

    def check_listing(self):
        """The lake has the files that it had."""
        listed = [sorted(path.relative_to(base) for path in base.rglob("*"))
                  for base in (self.lake, self.old)]
        if listed[0] != listed[1]:
            raise Violation(f"files came or went: {set(listed[0]) ^ set(listed[1])}")

    def check_again(self):
        """Other runtimes, and a second index."""
        texts = [(made, self.lake / made.dataset / made.name) for made in self.files
                 if isinstance(made, agree_text.Text) and made.name not in self.gaps]
        self.totals["text", "read by Java and Node"] += agree_text.check_runtimes(texts)
        ways = {}
        for key, effort in self.home.efforts():
            because = f" ({effort['because']})" if effort.get("because") else ""
            self.totals["way", effort.get("way", "?") + because] += 1
            ways.setdefault(key.rsplit("/", 1)[-1], set()).add(effort.get("way"))
        for name, changed in self.changed_pages.items():
            if changed and ways.get(name) == {"pages"}:
                raise Violation(f"{name}: {changed} pages without an erased row were changed")
        code, _, messages = self.home.attempt("index", "--full")
        if code != 0:
            raise Violation(f"the second index ended with {code}: {messages[:200]}")
        names = sorted({agree_make.subject(name, number) for name in agree_make.KIND
                        for number in FIRST + SECOND})
        code, found, messages = self.home.attempt("find", *names)
        if code != 0 or found:
            raise Violation(f"an erased subject is found again: {code}, {str(found)[:200]}")


def but_statistics(page):
    """A page header without what it tells of lowest and highest values: of an erased one it may not."""
    place, at = (8, 8) if page.kind == DATA_V2 else (5, 5)
    inner = {key: value for key, value in page.header.get(place, {}).items() if key != at}
    return {**page.header, place: inner}


def stored(file, pages):
    """Data pages as they are stored, and what their headers say but for statistics."""
    return [(bytes(file.data[page.body:page.end]), but_statistics(page)) for page in pages]


def check_copied(old, new, gone):
    """Data pages of row groups without an erased row are the same. Their dictionary may have lost
    an entry that nobody refers to: then it has as many as before."""
    first, touched = 0, set()
    for group, told in enumerate(old.footer.get(4, [])):
        if any(first <= row < first + told[3] for row in gone):
            touched.add(group)
        first += told[3]
    for before, after in zip(old.chunks, new.chunks):
        if before.group in touched:
            continue
        if stored(old, before.data_pages) != stored(new, after.data_pages):
            raise Violation(f"{before.path}: a chunk without an erased row was changed")
        entries = [[page.values for page in chunk.pages if page.kind == DICTIONARY]
                   for chunk in (before, after)]
        if entries[0] != entries[1]:
            raise Violation(f"{before.path}: a dictionary has {entries[1]} entries, not {entries[0]}")


def copied_pages(old, new, gone):
    """How many data pages without an erased row are the same, and how many are not."""
    copied = changed = 0
    starts, at = [], 0
    for group in old.footer.get(4, []):
        starts.append(at)
        at += group[3]
    for before, after in zip(old.chunks, new.chunks):
        held = stored(new, after.data_pages)
        for page, (first, end) in zip(before.data_pages, before.page_rows()):
            at = starts[before.group]
            if first is None or any(at + first <= row < at + end for row in gone):
                continue
            same = stored(old, [page])[0] in held
            copied, changed = copied + same, changed + (not same)
    return copied, changed
