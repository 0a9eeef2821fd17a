"""Decode any picture into uint8 sRGB pixels, and write pixels back; strangers' files give one sentence, never a crash.

`read_picture` undoes everything that makes two files of one scene differ as arrays: EXIF rotation, ICC profile,
16 bits, CMYK, palette, transparency. Pixels are always uint8 (H, W, 3) sRGB in [0, 255].
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from stedit.errors import ImageError, OutputError, cause
from stedit.storage.atomic import write_file

Pixels = npt.NDArray[np.uint8]

MAX_PIXELS = 64_000_000
MAX_FILE_BYTES = 2**28

WRITABLE_FORMATS = {"png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "webp": "WEBP"}

# Pillow can open more, but some of it starts other programs (EPS) or is rarely fuzzed. The common ones come first
# because Pillow loads all its plugins on meeting the first name that is not among them.
_READABLE_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "PPM", "WEBP", "TIFF", "AVIF")

# Pillow mode -> the mode without alpha, palette and extra depth, whose numbers an ICC profile of the file describes.
_COLOUR_MODES = {
    **dict.fromkeys(("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L"), "L"),
    **dict.fromkeys(("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "YCbCr"), "RGB"),
    "CMYK": "CMYK",
}

# Colour space of an ICC profile -> modes that it can describe.
_PROFILE_MODES = {"RGB ": ("RGB", "L"), "GRAY": ("L",), "CMYK": ("CMYK",)}

_UPRIGHT = {  # EXIF orientation -> what undoes it (Exif 3.0, tag 0x0112)
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture."""

    pixels: Pixels
    """uint8 (H, W, 3) sRGB, upright; transparent places show white."""
    alpha: Pixels | None = None
    """uint8 (H, W), 255 where opaque; None if all of it is opaque."""
    notes: tuple[str, ...] = ()
    """What a person should know about the reading, such as "several frames: only the first is used"."""


def read_picture(source: str | Path | BinaryIO, *, name: str | None = None) -> Picture:
    """Decode a picture file, or a binary stream such as `sys.stdin.buffer`; `name` is what errors call it.

    At most MAX_FILE_BYTES are read, and no pixel is decoded if the header claims more than MAX_PIXELS.
    Raises ImageError.
    """
    if isinstance(source, str | Path):
        name = name or str(source)
        data = _read_file(Path(source), name)
    else:
        name = name or "standard input"
        data = _read_stream(source, name)
    if not data:
        raise ImageError(f"{name} is empty: give a picture")
    return _decode(data, name)


def read_image(path: str | Path) -> Pixels:
    """The pixels of `read_picture`: uint8 (H, W, 3) sRGB. Raises ImageError."""
    return read_picture(path).pixels


def write_image(path: str | Path, pixels: Pixels, *, quality: int = 95) -> None:
    """Write uint8 (H, W, 3) sRGB `pixels` to a .png, .jpg, .jpeg or .webp file.

    `quality` in 1..100 is for JPEG and WebP. The same pixels give the same bytes, and the file appears whole or not
    at all. Raises OutputError.
    """
    path = Path(path)
    if path.suffix.lower().removeprefix(".") not in WRITABLE_FORMATS:
        raise OutputError(f"cannot write {path}: end its name in .png, .jpg or .webp")
    write_file(path, encode_image(pixels, path.suffix.removeprefix("."), quality=quality))


def encode_image(pixels: Pixels, kind: str, *, quality: int = 95) -> bytes:
    """Encode uint8 (H, W, 3) sRGB `pixels` as `kind`: "png", "jpg", "jpeg" or "webp". Raises OutputError."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise TypeError(f"expected uint8 (H, W, 3), got {pixels.dtype} {pixels.shape}")
    if kind.lower() not in WRITABLE_FORMATS:
        raise OutputError(f"cannot write the format {kind!r}: choose png, jpg or webp")
    encoded = io.BytesIO()
    try:
        # subsampling 0 keeps full colour resolution: at 128 px, halving it smears lips and irises. PNG ignores both.
        Image.fromarray(pixels).save(encoded, WRITABLE_FORMATS[kind.lower()], quality=quality, subsampling=0)
    except (OSError, ValueError) as error:  # such as JPEG's limit of 65,535 px a side
        height, width = pixels.shape[:2]
        raise OutputError(f"cannot encode {width} x {height} px as {kind} ({cause(error)}): try png") from error
    return encoded.getvalue()


def fit_picture(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Centre-crop uint8 (H, W, 3) to the aspect of `size` (height, width), then Lanczos-resize to it.

    A picture of that size comes back as it is.
    """
    height, width = pixels.shape[:2]
    if (height, width) == size:
        return pixels
    scale = min(height / size[0], width / size[1])  # source pixels per result pixel
    crop_height, crop_width = size[0] * scale, size[1] * scale
    top, left = (height - crop_height) / 2, (width - crop_width) / 2
    box = (left, top, min(left + crop_width, width), min(top + crop_height, height))  # min: float rounding
    return np.array(Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.LANCZOS, box=box))


def _read_file(path: Path, name: str) -> bytes:
    if path.is_dir():
        raise ImageError(f"{name} is a folder: give a picture file")
    try:
        with path.open("rb") as file:
            return _read_stream(file, name)
    except FileNotFoundError:
        raise ImageError(f"{name} does not exist: check the spelling") from None
    except OSError as error:
        raise ImageError(f"cannot read {name}: {cause(error)}") from error


def _read_stream(stream: BinaryIO, name: str) -> bytes:
    try:
        data = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ImageError(f"cannot read {name}: {cause(error)}") from error
    if len(data) > MAX_FILE_BYTES:
        raise ImageError(f"{name} is larger than {MAX_FILE_BYTES // 2**20} MB: give a smaller picture")
    return data


def _decode(data: bytes, name: str) -> Picture:
    with _no_pillow_warnings():
        image = _open(data, name)
        try:
            return _normalise(image)
        except Exception as error:  # Pillow's decoders meet damage with nearly every exception there is
            raise ImageError(f"{name} is damaged or incomplete ({cause(error)}): get a whole copy of it") from error


def _open(data: bytes, name: str) -> Image.Image:
    """Read the header only, and refuse what is no picture or too large a one."""
    too_large = f"larger than {MAX_PIXELS // 1_000_000} megapixels: make it smaller first"
    try:
        image = Image.open(io.BytesIO(data), formats=_READABLE_FORMATS)
    except Image.DecompressionBombError:
        raise ImageError(f"{name} is {too_large}") from None
    except UnidentifiedImageError:
        if data[4:8] == b"ftyp" and data[8:12] != b"avif":  # ISO 14496-12, section 4.3
            raise ImageError(f"{name} is a HEIC photo or a video: convert it to JPEG or PNG first") from None
        raise ImageError(f"{name} is not a picture, or its beginning is damaged: give a PNG, JPEG or WebP") from None
    except Exception as error:  # as in _decode
        raise ImageError(f"{name} is damaged ({cause(error)}): get a whole copy of it") from error
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(f"{name} has {image.width} x {image.height} pixels, {too_large}")
    # Only PPM puts 16-bit values into 32-bit pixels; the brightness that others mean by theirs is anybody's guess.
    if image.mode not in _COLOUR_MODES or (image.mode == "I" and image.format != "PPM"):
        raise ImageError(f"{name} holds pixels of the kind {image.mode!r}: save it as 8 or 16-bit grey, RGB or CMYK")
    return image


def _normalise(image: Image.Image) -> Picture:
    notes = []
    # The further pictures of a JPEG (MPO) are previews or depth maps, of no interest to anybody here.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        notes.append("several frames: only the first is used")
    image.load()
    profile: bytes | None = image.info.get("icc_profile")
    image = _eight_bit(_upright(image))

    alpha = None
    if image.has_transparency_data:
        alpha = image.convert("RGBA").getchannel("A")
        if alpha.getextrema() == (255, 255):
            alpha = None
    image = image.convert(_COLOUR_MODES[image.mode])
    if profile:
        image, note = _to_srgb(image, profile)
        notes += note
    image = image.convert("RGB")
    if alpha is not None:
        image = Image.composite(image, Image.new("RGB", image.size, "white"), alpha)
        notes.append("transparent: shown on white")
    return Picture(np.array(image), None if alpha is None else np.array(alpha), tuple(notes))


def _eight_bit(image: Image.Image) -> Image.Image:
    """Keep the high byte of 16-bit grey, as Pillow itself does for 16-bit colour."""
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001 - whatever is wrong with the EXIF block, the pixels are sound
        return image
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _to_srgb(image: Image.Image, profile: bytes) -> tuple[Image.Image, list[str]]:
    """Convert L, RGB or CMYK by its ICC profile; a profile that cannot be used is ignored with a note."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if ImageCms.getProfileDescription(source).startswith("sRGB"):
            return image, []  # converting would only add rounding errors
        if image.mode in _PROFILE_MODES.get(source.profile.xcolor_space, ()):
            if source.profile.xcolor_space == "RGB ":
                image = image.convert("RGB")
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            assert converted is not None  # it is None only when converting in place
            return converted, []
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        pass
    return image, ["its colour profile cannot be used: colours may be off"]


@contextmanager
def _no_pillow_warnings() -> Iterator[None]:
    """Silence Pillow on oversized and slightly damaged files: the first are refused here, the second read anyway."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield
