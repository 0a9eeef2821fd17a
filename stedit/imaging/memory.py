"""Images that a program holds, as arrays or as Pillow's: the same pixels that decoding a file of them gives."""

from __future__ import annotations

import io
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stedit.errors import ImageError, UsageError, describe_cause
from stedit.imaging.files import MAX_PIXELS, DecodedImage, decode_image, no_pillow_warnings
from stedit.imaging.limits import megapixels
from stedit.imaging.samples import Pixels

CHANNELS = (1, 3, 4)  # grey, RGB, RGBA

# modes of Pillow that PNG has not -> the one that holds the same
_PNG_MODES = {"La": "LA", "PA": "RGBA", "RGBa": "RGBA", "RGBX": "RGB", "YCbCr": "RGB", "HSV": "RGB", "LAB": "RGB"}
_PNG_MODES |= {mode: mode for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")}


def rgb_batch(images: NDArray[Any]) -> Pixels:
    """An image (H, W) or (H, W, C), or a batch (B, H, W, C) of them -> (B, H, W, 3).

    Args:
        images: uint8 sRGB, C of 1 (grey), 3 or 4 (RGBA, which is shown on white).

    Raises:
        UsageError: another type of numbers, or another layout; the sentence says how to get there.
    """
    if images.dtype != np.uint8:
        raise UsageError(f"images as arrays are uint8 from 0 to 255, and this one is {images.dtype}: {_advice(images)}")
    if images.ndim == 2:
        images = images[..., None]
    if images.ndim not in (3, 4) or images.shape[-1] not in CHANNELS or not images.size:
        turned = images.ndim in (3, 4) and images.shape[-3] in CHANNELS
        axes = (1, 2, 0) if images.ndim == 3 else (0, 2, 3, 1)
        advice = f"give images.transpose{axes}" if turned else "give grey, RGB or RGBA with at least one pixel"
        raise UsageError(f"images as arrays are (H, W, 3) or (B, H, W, 3), and this one is {images.shape}: {advice}")
    batch = images if images.ndim == 4 else images[None]
    if batch.shape[-1] == 4:
        alpha = batch[..., 3:].astype(np.float32) / 255
        batch = np.round(batch[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return cast("Pixels", np.repeat(batch, 3, axis=3) if batch.shape[-1] == 1 else batch)


def decode_array(image: NDArray[Any], name: str = "the image") -> DecodedImage:
    """One image as `rgb_batch` takes it, its transparency kept. Raises UsageError, ImageError."""
    if len(rgb_batch(image)) != 1:
        raise UsageError(f"one image is expected here, not {len(image)}: give them one by one")
    one = image[0] if image.ndim == 4 else image
    return decode_pillow(Image.fromarray(one[..., 0] if one.shape[2:] == (1,) else one), name)


def decode_pillow(image: Image.Image, name: str = "") -> DecodedImage:
    """An image of Pillow as its file would be read: upright, in sRGB, with what it says of itself.

    Args:
        image: of any mode that holds colours of 8 bits, or grey of 16.
        name: what errors call it; by default the file that it was opened from.

    Raises:
        ImageError: it is too large, damaged, or of another mode.
    """
    name = name or str(getattr(image, "filename", "")) or "the image"
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(f"{name} is larger than {megapixels(MAX_PIXELS)}: make it smaller first")
    if image.mode not in {*_PNG_MODES, "CMYK"}:
        raise ImageError(f"{name} has pixels of the mode {image.mode!r}: give image.convert('RGB')")
    file = io.BytesIO()
    try:
        with no_pillow_warnings():
            image.load()  # which turns some formats, and forgets that they were turned
            settings = {"icc_profile": image.info.get("icc_profile"), "exif": image.getexif()}
            if image.mode == "CMYK":  # which PNG has not
                image.save(file, "TIFF", **settings)
            else:
                mode = _PNG_MODES[image.mode]
                held = image if image.mode == mode else image.convert(mode)
                held.save(file, "PNG", compress_level=0, **settings)
    except Exception as error:  # Pillow meets damage with nearly every exception there is
        raise ImageError(f"{name} is damaged ({describe_cause(error)}): get a whole copy of it") from error
    file.seek(0)
    return decode_image(file, name=name)


def _advice(images: NDArray[Any]) -> str:
    """How to make uint8 of these numbers, by what they seem to be."""
    if images.dtype.kind == "f":
        if not np.isfinite(images).all():
            return "it holds numbers that are not finite, so look at what made it"
        if images.size and images.min() >= 0 and images.max() <= 1:
            return "from 0 to 1 it is (images * 255).round().astype('uint8')"
        if images.size and images.min() >= -1 and images.max() <= 1:
            return "from -1 to 1 it is ((images + 1) * 127.5).round().astype('uint8')"
    if images.dtype == np.bool_:
        return "give images.astype('uint8') * 255"
    if images.dtype == np.uint16:
        return "give (images // 257).astype('uint8')"
    return "give images.clip(0, 255).astype('uint8')"
