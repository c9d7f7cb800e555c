"""Compressed JSON lines and CSV from every encoder at hand, and what has to become of them."""

import bz2
import gzip
import hashlib
import json
import pathlib
import random
import shutil
import subprocess
import zlib
from dataclasses import dataclass, field

import zopfli.gzip
from isal import igzip
from zlib_ng import zlib_ng

from agree_cells import Violation

WORDS = ["erase", "lake", "row", "person", "block", "window", "page", "of", "the", "a"]
# Seconds that an encoder or reader may take.
LONGEST = 300
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
JAVA = """
import java.io.*; import java.nio.file.*; import java.security.*; import java.util.zip.*;
public class Agree {
  public static void main(String[] a) throws Exception {
    if (a[0].equals("pack")) {
      byte[] all = Files.readAllBytes(Path.of(a[1]));
      try (OutputStream o = new GZIPOutputStream(new FileOutputStream(a[2]), 512, true)) {
        int step = Integer.parseInt(a[3]);
        for (int at = 0; at < all.length; at += step) {
          o.write(all, at, Math.min(step, all.length - at));
          if (step < 100000) o.flush();
        }
      }
      return;
    }
    for (String path : new String(System.in.readAllBytes()).split("\\n")) {
      MessageDigest d = MessageDigest.getInstance("SHA-256");
      try (InputStream i = new GZIPInputStream(new FileInputStream(path))) {
        byte[] piece = new byte[65536];
        for (int n; (n = i.read(piece)) > 0; ) d.update(piece, 0, n);
      }
      StringBuilder s = new StringBuilder();
      for (byte b : d.digest()) s.append(String.format("%02x", b));
      System.out.println(s);
    }
  }
}
"""
NODE = """
const fs = require('fs'), zlib = require('zlib'), crypto = require('crypto');
const [, , mode, source, target, level] = process.argv;
if (mode === 'pack') {
  fs.writeFileSync(target, zlib.gzipSync(fs.readFileSync(source), {level: +level}));
} else {
  for (const path of fs.readFileSync(0, 'utf8').split('\\n')) {
    const text = zlib.gunzipSync(fs.readFileSync(path));
    console.log(crypto.createHash('sha256').update(text).digest('hex'));
  }
}
"""


@dataclass
class Text:
    """A compressed file of a lake, and what has to become of it."""

    dataset: str
    name: str
    writer: str
    codec: str
    expected: bytes
    rows: int
    traces: list = field(default_factory=list)
    kept: list = field(default_factory=list)


def random_text(chance, dataset, subjects):
    """Lines before and after, and what only the erased ones hold."""
    rows = chance.choice([1, 40, 500, 500, 4000, 12_000])
    people, width = chance.choice([8, 300, 3000]), chance.choice([5, 40, 40, 300])
    ending, before, after, traces = chance.choice(["\n", "\n", "\r\n"]), [], [], []
    if dataset == "records":
        before.append(f"row,user,text{ending}")
        after.append(before[0])
    makes = chance.choice(["words", "random", "same"])
    for row in range(rows):
        number = chance.randrange(people)
        is_gone = number in subjects
        trace = "".join(chance.choices("ABCDEFGHKLMNOP", k=16)) if is_gone else ""
        note = trace + some_text(chance, makes, chance.randrange(width))
        end = "" if row == rows - 1 and chance.random() < 0.3 else ending
        name = f"user-{number:04}"
        if dataset == "records":
            line = f'{row},{name},"{note} ""x"""'
            blank = ",,"
        else:
            line = json.dumps({"row": row, "user": {"id": name}, "text": note})
            blank = "{}" + " " * (len(line) - 2)
        before.append(line + end)
        after.append((blank if is_gone else line) + end)
        if is_gone:
            traces.append(trace.encode())
    return [[line.encode() for line in lines] for lines in (before, after)], traces


def some_text(chance, makes, length):
    """Text that compresses well, badly, or absurdly well."""
    if makes == "same":
        return "na" * length
    return " ".join(chance.choices(WORDS, k=length)) if makes == "words" else "".join(
        chance.choices(LETTERS, k=length))


def through(command, content):
    """What a filter makes of the content."""
    done = subprocess.run(command, input=content, capture_output=True, check=True, timeout=LONGEST)
    return done.stdout


def by_zlib(chance, content, library=zlib):
    """Every setting of the library, with flushes here and there."""
    packer = library.compressobj(chance.randrange(10), library.DEFLATED,
                                 16 + chance.choice([9, 10, 12, 15, 15, 15]),
                                 chance.randrange(1, 10), chance.randrange(5))
    if chance.random() < 0.5:
        return packer.compress(content) + packer.flush()
    packed, at = b"", 0
    while at < len(content):
        step = chance.choice([100, 5_000, 70_000])
        packed += packer.compress(content[at:at + step])
        packed += packer.flush(chance.choice([zlib.Z_NO_FLUSH, zlib.Z_PARTIAL_FLUSH, 5,
                                              zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH]))
        at += step
    return packed + packer.flush()


def with_header(chance, content):
    """A member with every optional field."""
    body = zlib.compressobj(6, zlib.DEFLATED, -15)
    packed = body.compress(content) + body.flush()
    head = b"\x1f\x8b\x08\x1e" + b"\1\2\3\4" + b"\0\3"
    head += b"\x06\0AB\x02\0xy" + b"file-name.json\0" + b"a comment\0"
    head += (zlib.crc32(head) & 0xFFFF).to_bytes(2, "little")
    del chance
    return head + packed + zlib.crc32(content).to_bytes(4, "little") + (
        len(content) & 0xFFFFFFFF).to_bytes(4, "little")


def bgzf(_chance, content):
    """Blocked gzip: every member tells its own length in an extra field."""
    packed = b""
    for at in range(0, len(content) + 1, 60_000):
        piece = content[at:at + 60_000]
        body = zlib.compressobj(6, zlib.DEFLATED, -15)
        inner = body.compress(piece) + body.flush()
        size = len(inner) + 25
        packed += (b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0" + size.to_bytes(2, "little")
                   + inner + zlib.crc32(piece).to_bytes(4, "little")
                   + len(piece).to_bytes(4, "little"))
    return packed


def tool(*words, levels=()):
    """A program that reads standard input and writes standard output."""
    return lambda chance, content: through(
        [*words, *([chance.choice(levels)] if levels else [])], content)


def outside_packer(kind):
    """Java or Node, by files."""
    def pack(chance, content):
        source, target = WORKSHOP / "in", WORKSHOP / "out"
        source.write_bytes(content)
        last = chance.choice(["1000", "1000000"]) if kind == "java" else chance.choice("169")
        runtime = ["java", "-cp", str(WORKSHOP), "Agree"] if kind == "java" else [
            "node", str(WORKSHOP / "agree.js")]
        subprocess.run([*runtime, "pack", source, target, last], check=True, capture_output=True,
                       stdin=subprocess.DEVNULL, timeout=LONGEST)
        return target.read_bytes()
    return pack


WORKSHOP = pathlib.Path("/nonexistent")
LEVELS = [f"-{level}" for level in range(1, 10)]
ENCODERS = {
    "gzip": {
        "zlib": by_zlib, "zlib again": by_zlib,
        "zlib-ng": lambda chance, content: by_zlib(chance, content, zlib_ng),
        "isal": lambda chance, content: igzip.compress(content, chance.randrange(4)),
        "gzip": tool("gzip", "-c", levels=LEVELS),
        "pigz": tool("pigz", "-c", "-p2", "-b128", levels=LEVELS),
        "pigz -i": tool("pigz", "-c", "-p2", "-i", levels=LEVELS),
        "igzip": tool("igzip", "-c", levels=["-0", "-1", "-2", "-3"]),
        "libdeflate": tool("libdeflate-gzip", "-c", levels=[*LEVELS, "-10", "-12"]),
        "zopfli": lambda chance, content: zopfli.gzip.compress(content, numiterations=1),
        "java": outside_packer("java"), "node": outside_packer("node"),
        "header": with_header, "bgzf": bgzf,
    },
    "bzip2": {"bzip2": tool("bzip2", "-c", levels=LEVELS),
              "bz2": lambda chance, content: bz2.compress(content, chance.randrange(1, 10))},
    "zstd": {"zstd": tool("zstd", "-c", "-q", levels=["-1", "-3", "-9", "-17", "--fast=3"]),
             "zstd, no check": tool("zstd", "-c", "-q", "--no-check"),
             "zstd, long": tool("zstd", "-c", "-q", "--long=24")},
    "lz4": {"lz4": tool("lz4", "-c", "-q", levels=["-1", "-9", "-BD", "-B4", "--no-frame-crc"])},
}
NEEDS = {"pigz": "pigz", "pigz -i": "pigz", "igzip": "igzip", "libdeflate": "libdeflate-gzip",
         "java": "javac", "node": "node", "zstd": "zstd", "zstd, no check": "zstd",
         "zstd, long": "zstd", "lz4": "lz4", "bzip2": "bzip2"}


def prepare(folder):
    """Makes ready what needs files; which encoders are missing here."""
    global WORKSHOP
    WORKSHOP = pathlib.Path(folder)
    (WORKSHOP / "Agree.java").write_text(JAVA)
    (WORKSHOP / "agree.js").write_text(NODE)
    if shutil.which("javac"):
        subprocess.run(["javac", "-d", str(WORKSHOP), str(WORKSHOP / "Agree.java")], check=True)
    missing = sorted(name for name, program in NEEDS.items() if not shutil.which(program))
    for encoders in ENCODERS.values():
        for name in missing:
            encoders.pop(name, None)
    return missing


def make_text(seed, lake, subjects):
    """Writes one random compressed file."""
    chance = random.Random(seed)
    dataset = chance.choice(["lines", "lines", "records"])
    codec = chance.choice(["gzip"] * 6 + ["bzip2", "zstd", "lz4"])
    (before, after), traces = random_text(chance, dataset, subjects)
    content = b"".join(before)
    pieces = [content]
    if chance.random() < 0.35:
        pieces, at = [], 0
        while at < len(content):
            step = chance.choice([0, 500, 20_000, 300_000])
            pieces.append(content[at:at + step])
            at += step
    packed, kept, at, names = b"", [], 0, []
    for piece in pieces:
        name = chance.choice(list(ENCODERS[codec]))
        slow = name in ("zopfli", "java", "node")
        if slow and (len(piece) > 400_000 or len(pieces) > 3 or chance.random() < 0.6):
            name = next(iter(ENCODERS[codec]))
        member = ENCODERS[codec][name](chance, piece)
        if is_kept(at, at + len(piece), before, after):
            kept.append(member)
        packed, at = packed + member, at + len(piece)
        names.append(name)
    made = Text(dataset, f"{seed.replace('/', '-')}.{codec}", "+".join(sorted(set(names))), codec,
                b"".join(after), len(after), traces, kept if len(pieces) > 1 else [])
    (lake / dataset / made.name).write_bytes(packed)
    return made


def is_kept(start, end, before, after):
    """Whether nothing changes between two places, line endings next to them included."""
    at = 0
    for old, new in zip(before, after):
        if old != new and at <= end and start <= at + len(old):
            return False
        at += len(old)
    return True


def unpack(stored, unpacker_of):
    """Every member or stream, and nothing behind the last."""
    content = b""
    while stored:
        unpacker = unpacker_of()
        content += unpacker.decompress(stored)
        if not unpacker.eof:
            raise Violation("a member or stream is cut off")
        stored = unpacker.unused_data
    return content


READERS = {
    "gzip": {"zlib": lambda stored: unpack(stored, lambda: zlib.decompressobj(31)),
             "python": gzip.decompress,
             "gzip": lambda stored: through(["gzip", "-dc"], stored),
             "igzip": lambda stored: through(["igzip", "-dc"], stored),
             "libdeflate": lambda stored: through(["libdeflate-gzip", "-dc"], stored)},
    "bzip2": {"bz2": lambda stored: unpack(stored, bz2.BZ2Decompressor),
              "bzip2": lambda stored: through(["bzip2", "-dc"], stored)},
    "zstd": {"zstd": lambda stored: through(["zstd", "-dc", "-q", "--long=27"], stored)},
    "lz4": {"lz4": lambda stored: through(["lz4", "-dc", "-q"], stored)},
}


def check_text(made, stored):
    """Every reader at hand reads what is expected."""
    for name, reader in READERS[made.codec].items():
        if NEEDS.get(name) and not shutil.which(NEEDS[name]):
            continue
        try:
            content = reader(stored)
        except (OSError, EOFError, zlib.error, subprocess.SubprocessError) as error:
            raise Violation(f"{name} cannot read it: {type(error).__name__}") from None
        if content != made.expected:
            at = next((at for at, (one, two) in enumerate(zip(content, made.expected))
                       if one != two), min(len(content), len(made.expected)))
            raise Violation(f"{name} reads other text from byte {at} on ({len(content)} bytes, "
                            f"{len(made.expected)} expected)")
    for trace in made.traces:
        if trace in stored:
            raise Violation("an erased value lies in the stored bytes")
    for member in made.kept:
        if member not in stored:
            raise Violation("a member, frame or stream without an erased row was changed")


def check_runtimes(files):
    """Java and Node read all gzip files of a round, in one process each."""
    runtimes = {"java": ["java", "-cp", str(WORKSHOP), "Agree", "read"],
                "node": ["node", str(WORKSHOP / "agree.js"), "read"]}
    files = [(made, path) for made, path in files if made.codec == "gzip"]
    done = 0
    for name, command in runtimes.items():
        if not files or not shutil.which(command[0]):
            continue
        listed = "\n".join(str(path) for _, path in files).encode()
        told = subprocess.run(command, input=listed, capture_output=True, timeout=LONGEST)
        digests = told.stdout.decode().split()
        for at, (made, path) in enumerate(files):
            wanted = hashlib.sha256(made.expected).hexdigest()
            if at >= len(digests) or digests[at] != wanted:
                raise Violation(f"{name} reads other text, or none, from {path.name} "
                                f"({made.writer}): {told.stderr[-200:]}")
            done += 1
    return done
