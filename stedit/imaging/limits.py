"""What a stranger's file may cost: refused here, before a decoder takes the time or the memory.

Pillow itself guards against pictures of too many pixels, texts that unpack without end and directories larger than
their file. What is left are, for the most part, loops in Python over something that a
file may hold by millions.
"""

from __future__ import annotations

import re
import struct

from PIL import Image

from stedit.imaging import jpeg

MAX_SIDE = 65_535  # what JPEG can hold; longer ones are found in no photograph
MAX_SCANS = 100  # of a progressive JPEG, each as long as decoding it whole; encoders write about 10
MAX_EXIF_SEGMENTS = 100  # of a JPEG, joined one by one; photographs have one
MAX_SLOW_PIXELS = 2_000_000  # of what Pillow decodes in Python, at about half a million a second
MAX_SLOW_BYTES = 12 * MAX_SLOW_PIXELS  # numbers as text take so many
MAX_CHUNKS = 100_000  # of a PNG
MAX_HEADER_BYTES = 2**16  # what stands before a header is complete, in formats that are searched byte by byte
MAX_COMMENT_BYTES = 2**16  # of a GIF, joined block by block
MAX_TIFF_NUMBERS = 1_000_000  # of one tag, such as where each strip is

_BYTE_TYPES = frozenset({1, 2, 6, 7})  # BYTE, ASCII, SBYTE, UNDEFINED (TIFF 6.0, section 2): kept as they are

# whitespace and comments end each of up to three numbers (netpbm, "PPM format specification")
_PPM_HEADER = re.compile(rb"P[1-6](?:(?:\s|#[^\r\n]*[\r\n])+\d{1,10}){2,3}\s")


def file_refusal(data: bytes) -> str:
    """Why the file is not to be opened, as the end of a sentence that begins with its name; "" if it may be."""
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg_refusal(data)
    if data.startswith(b"\x89PNG"):
        return _png_refusal(data)
    if data[:4] in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}:
        return _tiff_refusal(data)
    if data.startswith(b"GIF8"):
        return _gif_refusal(data)
    if re.match(rb"P[1-6]\s", data) and not _PPM_HEADER.match(data[:MAX_HEADER_BYTES]):
        return "is damaged (no size stands at its beginning): get a whole copy of it"
    return ""


def image_refusal(image: Image.Image, size: int, max_pixels: int) -> str:
    """Why what the header of a file of `size` bytes promises is not to be decoded, as in `file_refusal`."""
    width, height = image.size
    pixels = width * height
    if pixels > max_pixels:
        return f"has {width} x {height} pixels, larger than {megapixels(max_pixels)}: make it smaller first"
    if max(width, height) > MAX_SIDE:
        return f"has {width} x {height} pixels, a side longer than {MAX_SIDE:,}: crop it first"
    decoders = {tile[0] for tile in getattr(image, "tile", ())}
    if decoders & {"ppm", "ppm_plain", "bmp_rle"} and (pixels > MAX_SLOW_PIXELS or size > MAX_SLOW_BYTES):
        return (
            f"has {width} x {height} pixels in {size:,} bytes of a variant of {image.format} that is slow to decode: "
            "save it as PNG first"
        )
    return ""


def megapixels(pixels: int) -> str:
    """Such as "64 megapixels"."""
    return f"{pixels / 1e6:.3g} megapixels"


def _jpeg_refusal(data: bytes) -> str:
    structure = jpeg.structure_of(data, junk=MAX_HEADER_BYTES)
    if structure is None:
        return "is not a picture, or its beginning is damaged: give a PNG, JPEG or WebP"
    if structure.segments > jpeg.MAX_SEGMENTS or structure.exif_segments > MAX_EXIF_SEGMENTS:
        return "is a JPEG with more segments than a photograph has: save it anew first"
    if structure.scans > MAX_SCANS:
        return f"is a JPEG of {structure.scans:,} scans, more than {MAX_SCANS}: save it anew first"
    return ""


def _png_refusal(data: bytes) -> str:
    place, count = 8, 0
    while place < len(data) and count <= MAX_CHUNKS:
        length = int.from_bytes(data[place : place + 4], "big")
        place += 12 + length  # length, type and checksum around the data
        count += 1
    return f"is a PNG of more than {MAX_CHUNKS:,} chunks: save it anew first" if count > MAX_CHUNKS else ""


def _tiff_refusal(data: bytes) -> str:
    order = "<" if data[0] == ord("I") else ">"
    big = data[2 if order == "<" else 3] == ord("+")
    offset_form, count_form, entry_form = ("Q", "Q", "HHQQ") if big else ("I", "H", "HHII")
    try:
        (start,) = struct.unpack_from(order + offset_form, data, 8 if big else 4)
        (count,) = struct.unpack_from(order + count_form, data, start)
        start += struct.calcsize(order + count_form)
        if count > 0xFFFF:
            return f"is a TIFF of {count:,} tags: save it anew first"
        size = struct.calcsize(order + entry_form)
        for place in range(start, start + count * size, size):
            tag, kind, numbers, _ = struct.unpack_from(order + entry_form, data, place)
            if kind not in _BYTE_TYPES and numbers > MAX_TIFF_NUMBERS:
                return f"is a TIFF with {numbers:,} numbers under the tag {tag}: save it anew first"
    except (struct.error, OverflowError):  # a BigTIFF's offsets have 64 bits, and Python's have a sign
        return "is damaged (its directory lies beyond its end): get a whole copy of it"
    return ""


def _gif_refusal(data: bytes) -> str:
    """Walk the blocks before the second frame (GIF89a, section 12): Pillow joins their data bytewise."""
    place, frames = 13 + _gif_colours(data, 10), 0
    while data[place : place + 1] in {b"!", b","} and frames < 2:
        if data[place] == ord(","):
            frames += 1
            place += 11 + _gif_colours(data, place + 9)
            limit = len(data)
        else:
            place, limit = place + 2, MAX_COMMENT_BYTES
        start = place
        while place < len(data) and data[place]:
            place += 1 + data[place]
        if place - start > limit:
            return f"is a GIF with a comment of {place - start:,} bytes: save it anew first"
        place += 1
    return ""


def _gif_colours(data: bytes, place: int) -> int:
    """How many bytes of palette the flags at `place` announce."""
    flags = data[place] if place < len(data) else 0
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0
