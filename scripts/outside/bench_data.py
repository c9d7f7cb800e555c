"""Makes the objects that `scripts/bench erase` erases from.

usage: bench_data.py CASE ROWS FOLDER

Every person has five rows, at random places. Writes FOLDER/object.SUFFIX, and for each number of
subjects FOLDER/subjects-N.csv, whose people are the first N, and FOLDER/reach-N, the share of the
object up to the last of their rows.
"""

import pathlib
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

EACH = 5
GROUP = 524_288
COUNTS = [1, 100, 10_000]
PAGES = {
    "bytes": {"data_page_size": 1 << 20, "max_rows_per_page": 1 << 30},
    "rows": {"data_page_size": 1 << 30, "max_rows_per_page": 20_000},
    "chunk": {"data_page_size": 1 << 30, "max_rows_per_page": 1 << 30},
}


class Maker:
    """Columns of random rows, all from one seed."""

    def __init__(self, rows):
        self.rows, self.chance = rows, np.random.default_rng(2026)
        self.people = -(-rows // EACH)
        self.order = self.chance.permutation(np.repeat(np.arange(self.people), EACH))[:rows]
        names = [f"u-{at * 2654435761 % (1 << 48):012x}" for at in range(self.people)]
        self.names = pa.array(names)
        letters = np.array(list("etaoinshrdlucmfwypvbgk"))
        self.words = pa.array(["".join(self.chance.choice(letters, size))
                               for size in self.chance.integers(2, 11, 20_000)])
        self.devices = pa.array([f"device-{at:05}/{at % 17}.{at % 7}" for at in range(5_000)])
        self.places = pa.array([f"country-{at:03}" for at in range(200)])
        self.kinds = pa.array(["view", "click", "cart", "order", "return", "search", "login"])

    def some(self, values, rows):
        """Any of a few values, row by row."""
        return values.take(pa.array(self.chance.integers(0, len(values), rows)))

    def text(self, rows, words):
        """So many words a row."""
        return pc.binary_join_element_wise(*[self.some(self.words, rows) for _ in range(words)],
                                           " ")

    def random_bytes(self, rows, width):
        """Bytes that no codec makes smaller."""
        buffer = pa.py_buffer(self.chance.bytes(rows * width))
        return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), rows, [None, buffer])

    def tags(self, rows):
        """Lists of up to four words."""
        lengths = self.chance.integers(0, 5, rows)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), self.some(self.kinds, int(offsets[-1])))

    def table(self, first, rows):
        """The columns of some rows."""
        chance, seconds = self.chance, np.arange(first, first + rows) * 7 + 1_700_000_000
        micros = seconds * 1_000_000 + chance.integers(0, 1_000_000, rows)
        return pa.table({
            "row": pa.array(np.arange(first, first + rows)),
            "user": self.names.take(pa.array(self.order[first:first + rows])),
            "event": self.random_bytes(rows, 16),
            "session": pa.array(chance.integers(0, 1 << 62, rows)),
            "at": pa.array(micros, pa.timestamp("us", tz="UTC")),
            "received": pa.array(seconds * 1000 + 250, pa.timestamp("ms")),
            "price": pa.array(np.round(chance.gamma(2.0, 30.0, rows), 2)),
            "score": pa.array(chance.random(rows, np.float32)),
            "latitude": pa.array(chance.uniform(-90, 90, rows)),
            "quantity": pa.array(chance.integers(1, 9, rows).astype(np.int32)),
            "country": self.some(self.places, rows),
            "kind": self.some(self.kinds, rows),
            "device": self.some(self.devices, rows),
            "is_new": pa.array(chance.random(rows) < 0.2),
            "text": self.text(rows, 23),
            "tags": self.tags(rows),
        })


def write_parquet(maker, path, codec, pages):
    """A file of row groups as large as Parquet writers usually make them."""
    schema = maker.table(0, 0).schema
    with pq.ParquetWriter(path, schema, compression=codec, **PAGES[pages]) as out:
        for first in range(0, maker.rows, GROUP):
            out.write_table(maker.table(first, min(GROUP, maker.rows - first)))


def text_lines(maker, case):
    """Lines of JSON or CSV, some thousand at a time."""
    shape = ('{"row":%d,"user":{"id":"%s","rank":%d},"kind":"%s","country":"%s","device":"%s",'
             '"price":%.2f,"score":%.6f,"tags":["a","b",{"n":1}],"note":"%s","text":"%s"}\n')
    if case == "csv":
        shape = '%d,%s,%d,%s,%s,%s,%.2f,%.6f,"a, ""b""",%s,"%s"\n'
    for first in range(0, maker.rows, 20_000):
        rows = min(20_000, maker.rows - first)
        columns = [range(first, first + rows),
                   maker.names.take(pa.array(maker.order[first:first + rows])).to_pylist(),
                   maker.chance.integers(0, 99, rows).tolist(),
                   *[maker.some(values, rows).to_pylist()
                     for values in (maker.kinds, maker.places, maker.devices)],
                   maker.chance.gamma(2.0, 30.0, rows).tolist(),
                   maker.chance.random(rows).tolist(),
                   maker.text(rows, 12).to_pylist(), maker.text(rows, 40).to_pylist()]
        yield [shape % row for row in zip(*columns)]


def write_text(maker, path, case):
    """Writes the lines, and returns where each ends."""
    out = open(path, "wb")
    packer = None
    if case.endswith(".gz"):
        packer = subprocess.Popen(["gzip", "-6", "-n"], stdin=subprocess.PIPE, stdout=out)
        out = packer.stdin
    lengths = []
    if case == "csv":
        out.write(b"row,user,rank,kind,country,device,price,score,quoted,note,text\n")
    for lines in text_lines(maker, case):
        lengths.extend(map(len, lines))
        out.write("".join(lines).encode())
    out.close()
    if packer and packer.wait() != 0:
        sys.exit("gzip failed")
    return np.cumsum(lengths)


def main():
    case, rows, folder = sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[3])
    maker = Maker(rows)
    ends = np.arange(1, rows + 1)
    if case.startswith("parquet"):
        _, codec, pages = case.split("-")[:3]
        write_parquet(maker, folder / "object.parquet", codec, pages)
    else:
        ends = write_text(maker, folder / f"object.{case}", case)
    for count in COUNTS:
        some = min(count, maker.people // 2)
        subjects = "user\n" + "\n".join(maker.names[:some].to_pylist()) + "\n"
        (folder / f"subjects-{count}.csv").write_text(subjects)
        last = int(np.flatnonzero(maker.order < some).max())
        (folder / f"reach-{count}").write_text(str(ends[last] / ends[-1]))


main()
