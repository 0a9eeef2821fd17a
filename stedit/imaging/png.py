"""The chunks of a PNG: what stands beside the pixels, taken out before decoding and put back after encoding.

PNG specification, third edition, sections 5 and 11.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_PIXELS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_ANIMATION = frozenset({b"acTL", b"fcTL", b"fdAT"})
_AFTER_PALETTE = frozenset({b"tRNS", b"bKGD", b"hIST"})
_OF_SAMPLES = frozenset({b"tRNS", b"bKGD", b"hIST", b"sBIT"})  # mean nothing where pixels are of another mode or depth
MAX_CHUNK_BYTES = 2**24  # of all that is no pixels, and of a profile when it is unpacked


class Chunk(NamedTuple):
    """One chunk without its length and checksum."""

    name: bytes
    data: bytes


def split(png: bytes) -> tuple[bytes, list[Chunk], bool]:
    """Part a PNG into one with nothing but its first picture, all other chunks, and whether it is animated.

    A chunk whose checksum is wrong is left out, and so is what goes beyond MAX_CHUNK_BYTES in all. What is no chunk
    stays, for the decoder to refuse.
    """
    view, bare = memoryview(png), [memoryview(SIGNATURE)]
    others, frames, place, room = list[Chunk](), 0, len(SIGNATURE), MAX_CHUNK_BYTES
    while place < len(png):
        length, name = int.from_bytes(png[place : place + 4], "big"), png[place + 4 : place + 8]
        end = place + 12 + length
        if end > len(png):
            bare.append(view[place:])  # cut off
            break
        if name in _PIXELS:
            bare.append(view[place:end])
        elif name in _ANIMATION:
            if name == b"acTL" and length == 8:
                frames = int.from_bytes(png[place + 8 : place + 12], "big")
        elif length <= room and int.from_bytes(png[end - 4 : end], "big") == zlib.crc32(png[place + 4 : end - 4]):
            others.append(Chunk(name, png[place + 8 : end - 4]))
            room -= length
        if name == b"IEND":
            break
        place = end
    return b"".join(bare), others, frames > 1


def header(png: bytes) -> tuple[int, int]:
    """Bits per channel and colour type; (0, 0) if there is no header."""
    return (png[24], png[25]) if len(png) > 25 and png[12:16] == b"IHDR" else (0, 0)


def join(png: bytes, chunks: list[Chunk]) -> bytes:
    """Put `chunks` into a bare PNG, in the order that the specification asks for."""
    before = [_pack(chunk) for chunk in chunks if chunk.name not in _AFTER_PALETTE]
    after = [_pack(chunk) for chunk in chunks if chunk.name in _AFTER_PALETTE]
    view, header_end = memoryview(png), len(SIGNATURE) + 25
    pixels = header_end
    while png[pixels + 4 : pixels + 8] not in {b"IDAT", b""}:
        pixels += 12 + int.from_bytes(png[pixels : pixels + 4], "big")
    return b"".join([view[:header_end], *before, view[header_end:pixels], *after, view[pixels:]])


def of_other_samples(chunks: tuple[Chunk, ...]) -> list[Chunk]:
    """The chunks that still hold where pixels have changed mode or depth."""
    return [chunk for chunk in chunks if chunk.name not in _OF_SAMPLES]


def unpack(data: bytes, limit: int) -> bytes | None:
    """Decompress at most `limit` bytes; None if there are more, or the data are damaged."""
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(data, limit + 1)
    except zlib.error:
        return None
    return text if len(text) <= limit else None


def _pack(chunk: Chunk) -> bytes:
    body = chunk.name + chunk.data
    return struct.pack(">I", len(chunk.data)) + body + struct.pack(">I", zlib.crc32(body))
