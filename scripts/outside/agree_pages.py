"""Reads the structure of a Parquet file: footer, pages, indexes, filters. Knows no values.

Written from the format's specification, and shares no code with what it checks.
"""

import struct
import zlib
from dataclasses import dataclass, field

import pyarrow as pa
import xxhash

CODECS = {1: "snappy", 2: "gzip", 4: "brotli", 5: "lz4_hadoop", 6: "zstd", 7: "lz4_raw"}
DATA, INDEX, DICTIONARY, DATA_V2 = range(4)
SALT = (0x47B6137B, 0x44974D91, 0x8824AD5B, 0xA2B7289D,
        0x705495C7, 0x2DF1424B, 0x9EFC4947, 0x5C6BFB31)


class Broken(Exception):
    """The file is not as the format says."""


class Thrift:
    """The compact protocol; a struct becomes a dictionary by field number."""

    def __init__(self, data, at):
        self.data, self.at = data, at

    def varint(self):
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def zigzag(self):
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def struct(self):
        """All fields up to the stop."""
        fields, number = {}, 0
        while (head := self.data[self.at]) != 0:
            self.at += 1
            number = number + (head >> 4) if head >> 4 else self.zigzag()
            fields[number] = self.value(head & 15)
        self.at += 1
        return fields

    def value(self, kind):
        """A field of a struct, whose booleans stand in its type."""
        if kind in (1, 2):
            return kind == 1
        return self.element(kind)

    def element(self, kind):
        if kind in (1, 2, 3):
            self.at += 1
            return self.data[self.at - 1] == 1 if kind != 3 else self.data[self.at - 1]
        if kind in (4, 5, 6):
            return self.zigzag()
        if kind == 7:
            self.at += 8
            return struct.unpack("<d", self.data[self.at - 8:self.at])[0]
        if kind == 8:
            length = self.varint()
            self.at += length
            return bytes(self.data[self.at - length:self.at])
        if kind in (9, 10):
            head = self.data[self.at]
            self.at += 1
            length = head >> 4 if head >> 4 != 15 else self.varint()
            return [self.element(head & 15) for _ in range(length)]
        if kind == 12:
            return self.struct()
        raise Broken(f"thrift type {kind}")


@dataclass
class Page:
    """One page of a chunk."""

    start: int
    body: int
    end: int
    header: dict
    content: bytes
    levels: int

    @property
    def kind(self):
        return self.header[1]

    @property
    def values(self):
        return self.header.get({DATA: 5, DICTIONARY: 7, DATA_V2: 8}[self.kind], {}).get(1, 0)

    @property
    def encoding(self):
        place, at = {DATA: (5, 2), DICTIONARY: (7, 2), DATA_V2: (8, 4)}[self.kind]
        return self.header[place][at]


@dataclass
class Chunk:
    """One column chunk."""

    path: tuple
    group: int
    column: int
    rows: int
    meta: dict
    pages: list = field(default_factory=list)
    column_index: dict = None
    offset_index: dict = None
    bloom: tuple = None

    @property
    def data_pages(self):
        return [page for page in self.pages if page.kind in (DATA, DATA_V2)]


    def page_rows(self):
        """First row of each data page and the one behind its last; nothing where it is not told."""
        pages = self.data_pages
        if self.offset_index is not None:
            firsts = [item[3] for item in self.offset_index[1]]
        elif all(page.kind == DATA_V2 for page in pages) or len(self.path) == 1:
            firsts, at = [], 0
            for page in pages:
                firsts.append(at)
                at += page.header[8][3] if page.kind == DATA_V2 else page.values
        else:
            return [(None, None)] * len(pages)
        return list(zip(firsts, [*firsts[1:], self.rows]))


class File:
    """All of a file; `used` are the ranges that something refers to."""

    def __init__(self, data):
        self.data, self.used = data, [(0, 4), (len(data) - 8, len(data))]
        if data[:4] != b"PAR1" or data[-4:] != b"PAR1":
            raise Broken("no magic")
        length = struct.unpack("<I", data[-8:-4])[0]
        start = len(data) - 8 - length
        reader = Thrift(data, start)
        self.footer = reader.struct()
        if reader.at > len(data) - 8:
            raise Broken("the footer is longer than it says")
        # What stands between the end of the footer's struct and its length belongs to nothing.
        self.used.append((start, reader.at))
        self.chunks = [self.chunk(group, at, column)
                       for group, row_group in enumerate(self.footer.get(4, []))
                       for at, column in enumerate(row_group[1])]

    def chunk(self, group, at, column):
        meta = column[3]
        rows = self.footer[4][group][3]
        chunk = Chunk(tuple(meta[3]), group, at, rows, meta)
        start = meta[9]
        if 0 < meta.get(11, 0) < start:
            start = meta[11]
        end = start + meta[7]
        while start < end:
            page = self.page(start, CODECS.get(meta[4]))
            chunk.pages.append(page)
            start = page.end
        if start != end:
            raise Broken(f"{chunk.path}: pages end at {start}, the chunk at {end}")
        chunk.offset_index = self.index(column.get(4), column.get(5))
        chunk.column_index = self.index(column.get(6), column.get(7))
        if meta.get(14):
            chunk.bloom = self.filter(meta[14], meta.get(15))
        return chunk

    def page(self, start, codec):
        reader = Thrift(self.data, start)
        header = reader.struct()
        body, end = reader.at, reader.at + header[3]
        self.used.append((start, end))
        stored, levels = self.data[body:end], 0
        if len(stored) != header[3]:
            raise Broken("a page ends behind the file")
        if 4 in header and zlib.crc32(stored) != header[4] & 0xFFFFFFFF:
            raise Broken("a page's checksum is wrong")
        packed, size = stored, header[2]
        if header[1] == DATA_V2:
            levels = header[8].get(5, 0) + header[8].get(6, 0)
            packed, size = stored[levels:], size - levels
            codec = codec if header[8].get(7, True) else None
        content = stored[:levels] + unpack(packed, codec, size)
        if len(content) != header[2]:
            raise Broken("a page is not as long as it says")
        return Page(start, body, end, header, content, levels)

    def index(self, at, length):
        if not at:
            return None
        self.used.append((at, at + length))
        reader = Thrift(self.data, at)
        found = reader.struct()
        if reader.at != at + length:
            raise Broken("an index is not as long as the footer says")
        return found

    def filter(self, at, length):
        reader = Thrift(self.data, at)
        header = reader.struct()
        end = reader.at + header[1]
        if length and end != at + length:
            raise Broken("a bloom filter is not as long as the footer says")
        self.used.append((at, end))
        return self.data[reader.at:end]

    def unused(self):
        """Ranges that nothing refers to, with what they hold."""
        gaps, end = [], 0
        for start, stop in sorted(self.used):
            if start > end:
                gaps.append((end, bytes(self.data[end:start])))
            end = max(end, stop)
        return gaps

    def places(self):
        """Everything in which a value may lie, by name: the file as it is, and every page."""
        yield "the stored bytes", self.data
        for chunk in self.chunks:
            for at, page in enumerate(chunk.pages):
                name = f"page {at} of {b'.'.join(chunk.path).decode()}, row group {chunk.group}"
                yield name, page.content


def unpack(packed, codec, size):
    """The plain bytes of a page."""
    if codec is None or (size == 0 and not packed):
        return bytes(packed)
    if codec == "lz4_hadoop":
        return unpack_hadoop(packed, size)
    if codec == "gzip":
        unpacker = zlib.decompressobj(47)
        content = unpacker.decompress(packed) + unpacker.flush()
        if unpacker.unused_data:
            raise Broken("bytes behind a page's gzip stream")
        return content
    return pa.decompress(packed, size, codec, asbytes=True)


def unpack_hadoop(packed, size):
    """Blocks behind two lengths each; some writers leave them out."""
    content, at = b"", 0
    try:
        while at < len(packed):
            whole, part = struct.unpack(">II", packed[at:at + 8])
            content += pa.decompress(packed[at + 8:at + 8 + part], whole, "lz4_raw", asbytes=True)
            at += 8 + part
        return content
    except (struct.error, OSError, ValueError):
        return pa.decompress(packed, size, "lz4_raw", asbytes=True)


def in_bloom(bits, plain):
    """Whether a split-block filter may hold a value, given as PLAIN stores it."""
    hashed = xxhash.xxh64_intdigest(plain)
    block = ((hashed >> 32) * (len(bits) // 32)) >> 32
    words = struct.unpack_from("<8I", bits, block * 32)
    key = hashed & 0xFFFFFFFF
    return all(word >> (((key * salt) & 0xFFFFFFFF) >> 27) & 1 for word, salt in zip(words, SALT))
