"""Compresses and decompresses with readers and writers that share no code with Lacuna.

usage: codecs.py compress|decompress CODEC INPUT OUTPUT
Python's own bz2 (libbz2), and pyarrow's lz4 (liblz4). bz2 is written in two streams.
"""

import bz2
import sys

import pyarrow as pa


def compress(codec, content):
    if codec == "bzip2":
        half = len(content) // 2
        return bz2.compress(content[:half], 3) + bz2.compress(content[half:])
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


def decompress(codec, stored):
    if codec == "bzip2":
        return bz2.decompress(stored)
    with pa.CompressedInputStream(pa.py_buffer(stored), codec) as stream:
        return stream.read()


def main():
    action, codec, source, target = sys.argv[1:]
    with open(source, "rb") as file:
        content = file.read()
    work = {"compress": compress, "decompress": decompress}[action]
    with open(target, "wb") as file:
        file.write(work(codec, content))


main()
