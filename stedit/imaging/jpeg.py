"""The structure of a JPEG file, and how to write another one of the same quality (ITU-T T.81, annex B)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import JpegImagePlugin
from PIL.JpegImagePlugin import JpegImageFile

MAX_SEGMENTS = 4_000  # profiles and depth maps take some hundreds

END = b"\xff\xd9"  # EOI

# A marker inside compressed data; 0xff00 is a byte 0xff, 0xffd0 to 0xffd7 are restarts.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)

_BARE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a segment
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}

# The luminance table of quality 50 (T.81, table K.1).
_LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)


@dataclass(frozen=True)
class Structure:
    """What a walk over the markers of a JPEG finds."""

    segments: int
    exif_segments: int
    scans: int
    complete: bool
    """All coefficients of all components have been sent to the last bit: no scan is missing."""
    ended: bool
    """The end marker is there."""


def structure_of(data: bytes, *, junk: int) -> Structure | None:
    """Walk to the end of the first picture in `data`, or over one segment more than MAX_SEGMENTS.

    None if no scan begins after at most `junk` stray bytes at a time.
    """
    place, segments, exif_segments, scans, ended = 2, 0, 0, 0, False
    pending: dict[int, int] = {}  # component -> bit set of its 64 coefficients that are not there to the last bit
    while True:
        found = _MARKER.search(data, place)
        if not found:
            break
        if not scans and found.start() - place > junk:
            return None
        marker, place = data[found.start() + 1], found.end()
        if marker == END[1]:
            ended = True
            break
        if marker in _BARE:
            continue
        length = int.from_bytes(data[place : place + 2], "big")
        segment = data[place + 2 : place + length]
        segments += 1
        exif_segments += marker == 0xE1 and segment.startswith(b"Exif")
        if segments > MAX_SEGMENTS:
            break
        if marker in _FRAMES and not pending:
            pending = dict.fromkeys(segment[6::3], 2**64 - 1)  # after precision, height, width and count
        if marker == 0xDA:
            scans += 1
            _finish(pending, segment)
        place += max(length, 2)
    if not scans and segments <= MAX_SEGMENTS:
        return None
    return Structure(segments, exif_segments, scans, bool(pending) and not any(pending.values()), ended)


def _finish(pending: dict[int, int], scan: bytes) -> None:
    """Note which coefficients a scan header (T.81, B.2.3) brings to the last bit."""
    count = scan[0] if scan else 0
    tail = scan[1 + 2 * count : 4 + 2 * count]  # first and last coefficient, and the bits: high before, low after
    if len(tail) < 3 or tail[2] & 15:
        return
    first, last = tail[0], min(tail[1] or 63 * (tail[0] == 0), 63)
    if tail[1] == 0:  # the constant coefficient alone
        last = 0
    done = (2 ** (last + 1) - 1) & ~(2**first - 1)
    for component in scan[1 : 1 + 2 * count : 2]:
        if component in pending:
            pending[component] &= ~done


def estimated_quality(tables: dict[int, list[int]]) -> int:
    """The quality in 1..100 at which libjpeg's table of luminance is as coarse as the file's first table."""
    table = np.array(tables[min(tables)], np.float64)
    if table.size != 64:
        raise ValueError(f"a quantisation table has 64 numbers, not {table.size}")
    qualities = np.arange(1, 101)
    scale = np.where(qualities < 50, 5000 // qualities, 200 - 2 * qualities)  # jcparam.c, jpeg_quality_scaling
    candidates = np.clip((_LUMINANCE.reshape(-1) * scale[:, None] + 50) // 100, 1, 255)
    return int(qualities[np.abs(candidates.sum(axis=1) - table.sum()).argmin()])


def subsampling_of(image: JpegImageFile) -> tuple[int, bool]:
    """Pillow's number of the chroma subsampling (0 none, 1 4:2:2, 2 4:2:0), and whether it is the file's own.

    Where Pillow cannot write the file's own, it is the next finer one.
    """
    if image.layers != 3:
        return 0, True
    sampling = JpegImagePlugin.get_sampling(image)
    if sampling >= 0:
        return sampling, True
    factors = [(layer[1], layer[2]) for layer in image.layer]
    wide = factors[0][0] >= 2 * max(factors[1][0], factors[2][0], 1)
    return (1 if wide else 0), False


def tables_of(image: JpegImageFile) -> list[list[int]] | None:
    """The quantisation tables by component, as Pillow takes them; None if they are unusable."""
    tables = [image.quantization.get(layer[3]) for layer in image.layer]
    if not tables or any(table is None or len(table) != 64 or min(table) < 1 or max(table) > 255 for table in tables):
        return None
    usable = [table for table in tables if table is not None]
    while len(usable) > 1 and usable[-1] == usable[-2]:  # the last table goes for the components that remain
        usable.pop()
    return usable


def encoder_options(image: JpegImageFile) -> dict[str, Any]:
    """What makes Pillow write a JPEG of the same quality: the very tables, subsampling, progression, colour model.

    "resampled" is there, and True, if Pillow cannot write the subsampling.
    """
    subsampling, own = subsampling_of(image)
    options: dict[str, Any] = {"subsampling": subsampling, "optimize": True}
    if not own:
        options["resampled"] = True
    if (tables := tables_of(image)) is not None:
        options["qtables"] = tables
    else:
        options["quality"] = estimated_quality(image.quantization) if image.quantization else 95
    if image.info.get("progressive"):
        options["progressive"] = True
    if image.layers == 3 and image.info.get("adobe_transform") == 0:
        options["keep_rgb"] = True  # stored as RGB, not as YCbCr
    return options
