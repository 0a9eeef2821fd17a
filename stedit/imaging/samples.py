"""The values that a file stores, upright, in its own mode and depth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Values = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

# EXIF orientation -> what undoes it (Exif 3.0, tag 0x0112)
_TURNS: dict[int, Callable[[npt.NDArray[np.uint16]], npt.NDArray[np.uint16]]] = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).swapaxes(0, 1),
    8: np.rot90,
}

# mode -> the mode without alpha, palette and depth, whose numbers an ICC profile describes
COLOUR_MODES = {"1": "L", "L": "L", "LA": "L", "P": "RGB", "RGB": "RGB", "RGBA": "RGB", "CMYK": "CMYK"}


@dataclass(frozen=True, eq=False)
class Samples:
    """Upright pixels as their file stores them."""

    mode: str
    """A key of COLOUR_MODES."""
    values: Values
    """uint8, or uint16 of 16-bit files: (H, W) of one channel or indices into the palette, or (H, W, C)."""
    bits: int = 8
    """Bits a channel in the file; grey of 2 or 4 bits is spread over 0..255."""
    palette: npt.NDArray[np.uint8] | None = None
    """uint8 (N, 4), RGBA, N <= 256, of mode P."""
    key: tuple[int, ...] | None = None
    """The one grey or colour that stands for transparency."""

    def to_image(self) -> Image.Image:
        """As an image of Pillow: of this mode, or "I;16". Raises ValueError for 16 bits in several channels."""
        if self.mode == "1":
            return Image.fromarray(self.values).convert("1")  # 0 or 255, so nothing is dithered
        if self.mode == "P":
            image = Image.fromarray(self.values, "P")
            assert self.palette is not None
            image.putpalette(self.palette[:, :3].tobytes())
            return image
        if self.values.dtype == np.uint16 and self.values.ndim > 2:
            raise ValueError("Pillow has no image of 16 bits in several channels")
        return Image.fromarray(self.values, "CMYK") if self.mode == "CMYK" else Image.fromarray(self.values)


def samples_of(image: Image.Image, bits: int) -> Samples:
    """The samples of a loaded image in one of the modes that this tool reads; `bits` are those of the file."""
    key = _key(image)
    if image.mode.startswith("I"):
        return Samples("L", np.asarray(image).astype(np.uint16), 16, key=key)
    if image.mode == "P":
        return _palette_samples(image)
    mode = image.mode if image.mode in COLOUR_MODES else {"La": "LA", "RGBX": "RGB", "YCbCr": "RGB"}.get(image.mode)
    image = image if image.mode == mode else image.convert(mode or "RGBA")  # RGBa, PA
    values = np.array(image.convert("L") if image.mode == "1" else image)
    return Samples(image.mode, values, 1 if image.mode == "1" else min(bits, 8), key=key)


def sixteen_bit(data: bytes, orientation: int, high: Values) -> npt.NDArray[np.uint16] | None:
    """Decode a file of 16 bits a channel in RGB or RGBA, which Pillow reads as 8, upright.

    `high` is what Pillow read, (H, W, 3) or (H, W, 4), upright. None if the two do not agree: some variants of TIFF
    OpenCV reads in another way.
    """
    import cv2

    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # it writes to stderr what it cannot read
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    finally:
        cv2.utils.logging.setLogLevel(level)
    if decoded is None or decoded.dtype != np.uint16 or decoded.ndim != 3 or decoded.shape[2] != high.shape[2]:
        return None
    stored = cast("npt.NDArray[np.uint16]", decoded)
    cv2.cvtColor(stored, cv2.COLOR_BGR2RGB if stored.shape[2] == 3 else cv2.COLOR_BGRA2RGBA, dst=stored)
    for values in (_TURNS[orientation](stored), stored):
        if values.shape == high.shape and np.array_equal(values >> 8, high):
            return np.ascontiguousarray(values)
    return None


def _palette_samples(image: Image.Image) -> Samples:
    colours = np.array(image.getpalette("RGBA"), np.uint8).reshape(-1, 4)[:256]
    values = np.array(image)
    transparency = image.info.get("transparency")
    if isinstance(transparency, bytes):
        colours[: len(transparency), 3] = np.frombuffer(transparency[: len(colours)], np.uint8)
    elif isinstance(transparency, int) and transparency < len(colours):
        colours[transparency, 3] = 0
    missing = int(values.max(initial=0)) + 1 - len(colours)
    if missing > 0:  # damaged files point beyond their palette, to black
        colours = np.vstack([colours, np.tile(np.array([[0, 0, 0, 255]], np.uint8), (missing, 1))])
    return Samples("P", values, palette=colours)


def _key(image: Image.Image) -> tuple[int, ...] | None:
    transparency = image.info.get("transparency")
    if image.mode == "P" or transparency is None or isinstance(transparency, bytes):
        return None
    return tuple(transparency) if isinstance(transparency, tuple) else (int(transparency),)
