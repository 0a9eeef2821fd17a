"""Decode any picture into uint8 sRGB pixels, and write pixels back; strangers' files give one sentence, never a crash.

`decode_image` undoes everything that makes two files of one scene differ as arrays: EXIF rotation, ICC profile,
16 bits, CMYK, palette, transparency. Pixels are always uint8 (H, W, 3) sRGB in [0, 255]. What was undone is kept beside
them, so that `imaging/edited.py` can give the same kind of file back.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from PIL import Image, JpegImagePlugin, PpmImagePlugin, TiffImagePlugin, UnidentifiedImageError

from stedit.errors import ImageError, OutputError, describe_cause
from stedit.imaging import heic, jpeg, limits, png
from stedit.imaging.colour import ColourSpace
from stedit.imaging.encoding import FORMATS, encode
from stedit.imaging.metadata import Metadata, metadata_of, orientation_of
from stedit.imaging.provenance import Provenance
from stedit.imaging.samples import COLOUR_MODES, Pixels, Samples, samples_of, sixteen_bit
from stedit.storage.atomic import write_file
from stedit.storage.origin import digest_of

__all__ = [  # Pixels are at home in samples.py
    "MAX_FILE_BYTES",
    "MAX_PIXELS",
    "WRITABLE_FORMATS",
    "DecodedImage",
    "Pixels",
    "Source",
    "decode_image",
    "encode_image",
    "fit_image",
    "no_pillow_warnings",
    "read_image",
    "write_image",
]

MAX_PIXELS = 64_000_000
MAX_FILE_BYTES = 2**28

WRITABLE_FORMATS = {suffix[1:]: format_ for suffix, format_ in FORMATS.items() if format_ != "HEIF"}

# Pillow can open more, but some of it starts other programs (EPS) or is rarely fuzzed. The common ones come first
# because Pillow loads all its plugins on meeting the first name that is not among them.
_READABLE_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "PPM", "WEBP", "TIFF", "AVIF")

_READABLE_MODES = frozenset({*COLOUR_MODES, "La", "PA", "RGBa", "RGBX", "YCbCr", "I", "I;16", "I;16B", "I;16L"})

_UPRIGHT = {  # EXIF orientation -> what undoes it (Exif 3.0, tag 0x0112)
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# What is written behind a JPEG that breaks off, to see whether its decoder was still waiting for something.
_FILLINGS = (b"", b"\x55\xa3\x0e\xc9\x38" * 400)

_pillow_limit = threading.Lock()


@dataclass(frozen=True, eq=False)
class Source:
    """What `decode_image` undid, so that it can be done again."""

    format: str
    """Pillow's name of the file's format, such as "JPEG"."""
    samples: Samples
    colours: ColourSpace
    metadata: Metadata
    settings: Mapping[str, Any]
    """What Pillow's encoder of this format needs to write another file of the same quality."""
    further_images: bool = False
    """Whether the file holds previews, depth maps or the like."""


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """A decoded picture."""

    pixels: Pixels
    """uint8 (H, W, 3) sRGB, upright; transparent places show white."""
    alpha: Pixels | None
    """uint8 (H, W), 255 where opaque; None if all of it is opaque."""
    notes: tuple[str, ...]
    """What a person should know about the reading, such as "several frames: only the first is used"."""
    source: Source
    digest: str = ""
    """Of the file's bytes, as `stedit.storage.origin.digest_of` gives it."""


def decode_image(
    source: str | Path | BinaryIO, *, name: str | None = None, max_pixels: int = MAX_PIXELS
) -> DecodedImage:
    """Decode a picture file, or a binary stream such as `sys.stdin.buffer`; `name` is what errors call it.

    At most MAX_FILE_BYTES are read, and no pixel is decoded if the header claims more than `max_pixels`.
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
    with no_pillow_warnings():
        return replace(_decode(data, name, max_pixels), digest=digest_of(data))


def read_image(path: str | Path) -> Pixels:
    """The pixels of `decode_image`: uint8 (H, W, 3) sRGB. Raises ImageError."""
    return decode_image(path).pixels


def write_image(path: str | Path, pixels: Pixels, *, quality: int = 95, provenance: Provenance | None = None) -> None:
    """Write uint8 (H, W, 3) sRGB `pixels` to a file whose suffix is a key of WRITABLE_FORMATS.

    `quality` in 1..100 is for JPEG, WebP and AVIF; `provenance` is a mark in it of how it was made. The same arguments
    give the same bytes, and the file appears whole or not at all. Raises OutputError.
    """
    path = Path(path)
    if path.suffix.lower().removeprefix(".") not in WRITABLE_FORMATS:
        raise OutputError(f"cannot write {path}: end its name in .png, .jpg, .webp, .avif or .tif")
    write_file(path, encode_image(pixels, path.suffix.removeprefix("."), quality=quality, provenance=provenance))


def encode_image(pixels: Pixels, kind: str, *, quality: int = 95, provenance: Provenance | None = None) -> bytes:
    """Encode uint8 (H, W, 3) sRGB `pixels` as `kind`, a key of WRITABLE_FORMATS. Raises OutputError."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise TypeError(f"expected uint8 (H, W, 3), got {pixels.dtype} {pixels.shape}")
    if kind.lower() not in WRITABLE_FORMATS:
        raise OutputError(f"cannot write the format {kind!r}: choose png, jpg, webp, avif or tif")
    format_ = WRITABLE_FORMATS[kind.lower()]
    settings: dict[str, Any] = {"quality": quality}
    if format_ in {"JPEG", "AVIF"}:  # full colour resolution: at 128 px, halving it smears lips and irises
        settings["subsampling"] = "4:4:4"
    metadata = Metadata(xmp=provenance.add_to(b"")) if provenance else Metadata()
    try:
        return encode(Samples("RGB", pixels), metadata, format_, settings)[0]
    except (OSError, ValueError) as error:  # such as JPEG's limit of 65,535 px a side
        height, width = pixels.shape[:2]
        raise OutputError(
            f"cannot encode {width} x {height} px as {kind} ({describe_cause(error)}): try png"
        ) from error


def fit_image(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Centre-crop uint8 (H, W, 3) to the aspect of `size` (height, width), then Lanczos-resize to it.

    A picture of that size comes back as it is.
    """
    height, width = pixels.shape[:2]
    if (height, width) == size:
        return pixels
    scale = min(height / size[0], width / size[1])  # source pixels per result pixel
    crop_height, crop_width = min(size[0] * scale, height), min(size[1] * scale, width)  # min: float rounding
    top, left = (height - crop_height) / 2, (width - crop_width) / 2
    box = (left, top, min(left + crop_width, width), min(top + crop_height, height))
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
        raise ImageError(f"cannot read {name}: {describe_cause(error)}") from error


def _read_stream(stream: BinaryIO, name: str) -> bytes:
    try:
        data = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ImageError(f"cannot read {name}: {describe_cause(error)}") from error
    if len(data) > MAX_FILE_BYTES:
        raise ImageError(f"{name} is larger than {MAX_FILE_BYTES // 2**20} MB: give a smaller picture")
    return data


def _decode(data: bytes, name: str, max_pixels: int) -> DecodedImage:
    if refusal := limits.file_refusal(data):
        raise ImageError(f"{name} {refusal}")
    chunks, notes, bare = list[png.Chunk](), list[str](), data
    if data.startswith(png.SIGNATURE):
        bare, chunks, animated = png.split(data)
        notes += ["several frames: only the first is used"] * animated
    elif data.startswith(b"\xff\xd8"):
        bare = _ended(data, name, max_pixels)
        notes += ["its end marker was missing: nothing else is"] * (bare is not data)
    image = _open(bare, name, max_pixels)
    try:
        return _normalise(image, bare, chunks, notes)
    except Exception as error:  # Pillow's decoders meet damage with nearly every exception there is
        raise ImageError(
            f"{name} is damaged or incomplete ({describe_cause(error)}): get a whole copy of it"
        ) from error


def _ended(data: bytes, name: str, max_pixels: int) -> bytes:
    """A JPEG with the end marker that it lacks, if that is all it lacks; else as it is."""
    structure = jpeg.structure_of(data, junk=limits.MAX_HEADER_BYTES)
    if structure is None or structure.ended or not structure.complete:
        return data
    try:  # a decoder that still waits for pixels takes what follows for some
        first, second = (np.asarray(_open(data + filling + jpeg.END, name, max_pixels)) for filling in _FILLINGS)
    except (OSError, ValueError, SyntaxError):
        return data
    return data + jpeg.END if np.array_equal(first, second) else data


def _open(data: bytes, name: str, max_pixels: int) -> Image.Image:
    """Read the header only, and refuse what is no picture or too large a one."""
    formats: tuple[str, ...] = _READABLE_FORMATS
    if heic.is_heic(data):
        if not heic.can_read():
            raise ImageError(f"{name} is a HEIC photograph: {heic.ADVICE}")
        heic.register()
        formats = ("HEIF",)
    try:
        with _room_for(max_pixels):
            image = Image.open(io.BytesIO(data), formats=formats)
    except Image.DecompressionBombError:
        raise ImageError(f"{name} is larger than {limits.megapixels(max_pixels)}: make it smaller first") from None
    except UnidentifiedImageError:
        if data[4:8] == b"ftyp" and data[8:12] != b"avif" and not heic.is_heic(data):  # ISO 14496-12, section 4.3
            raise ImageError(f"{name} is a video: give a picture, such as one of its frames") from None
        raise ImageError(f"{name} is not a picture, or its beginning is damaged: give a PNG, JPEG or WebP") from None
    except Exception as error:  # as in _decode
        raise ImageError(f"{name} is damaged ({describe_cause(error)}): get a whole copy of it") from error
    if refusal := limits.image_refusal(image, len(data), max_pixels):
        raise ImageError(f"{name} {refusal}")
    # Only PPM puts 16-bit values into 32-bit pixels; the brightness that others mean by theirs is anybody's guess.
    if image.mode not in _READABLE_MODES or (image.mode == "I" and image.format != "PPM"):
        raise ImageError(f"{name} holds pixels of the kind {image.mode!r}: save it as 8 or 16-bit grey, RGB or CMYK")
    if isinstance(image, TiffImagePlugin.TiffImageFile) and _in_planes(image):
        raise ImageError(f"{name} holds 16-bit channels in separate planes: save it with interleaved ones, or as PNG")
    return image


def _normalise(image: Image.Image, data: bytes, chunks: list[png.Chunk], notes: list[str]) -> DecodedImage:
    format_ = "JPEG" if image.format == "MPO" else image.format or ""
    # The further pictures of JPEG (MPO) and HEIC files are previews or depth maps, of no interest to anybody here.
    further = image.format in {"MPO", "HEIF"} and getattr(image, "is_animated", False)
    if getattr(image, "is_animated", False) and not further:
        notes.append("several frames: only the first is used")
    metadata = metadata_of(image, chunks)
    settings, bits = _settings(image, data), _bits(image, data)  # before loading, which forgets
    image.load()
    orientation = orientation_of(metadata)
    if orientation in _UPRIGHT and format_ not in {"TIFF", "HEIF"}:  # those turn while they load
        image = image.transpose(_UPRIGHT[orientation])
    samples = samples_of(image, bits)
    if bits > 8 and samples.bits == 8:
        deep = sixteen_bit(data, orientation, samples.values) if bits == 16 and image.mode in {"RGB", "RGBA"} else None
        if deep is None:
            notes.append(f"{bits} bits a channel: only 8 are read")
        else:
            samples = replace(samples, values=deep, bits=16)

    image = _eight_bit(image)
    alpha = None
    if image.has_transparency_data:
        alpha = image.convert("RGBA").getchannel("A")
        if alpha.getextrema() == (255, 255):
            alpha = None
    mode = COLOUR_MODES[samples.mode]
    colours = ColourSpace(mode, metadata.icc_profile)
    if colours.unusable:
        notes.append("its colour profile cannot be used: colours may be off")
    if colours.is_srgb and samples.mode == "RGB" and samples.bits == 8 and alpha is None:
        pixels = cast("Pixels", samples.values.copy())  # what a caller paints on is not the source
    else:
        image = colours.to_srgb(image if image.mode == mode else image.convert(mode))
        if alpha is not None:
            image = Image.composite(image, Image.new("RGB", image.size, "white"), alpha)
            notes.append("transparent: shown on white")
        pixels = np.array(image)
    source = Source(format_, samples, colours, metadata, settings, further)
    return DecodedImage(pixels, None if alpha is None else np.array(alpha), tuple(notes), source)


def _eight_bit(image: Image.Image) -> Image.Image:
    """Keep the high byte of 16-bit grey, as Pillow itself does for 16-bit colour."""
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))


def _in_planes(tiff: TiffImagePlugin.TiffImageFile) -> bool:
    """Whether Pillow would mix up the channels: planes of 16 bits that are not compressed."""
    planes = tiff.tag_v2.get(TiffImagePlugin.PLANAR_CONFIGURATION) == 2 and tiff.mode in {"RGB", "RGBA", "CMYK"}
    return planes and tiff.info.get("compression") == "raw" and _bits(tiff, b"") == 16


def _bits(image: Image.Image, data: bytes) -> int:
    """Bits a channel in the file; 8 where it does not matter."""
    if image.format == "PNG":
        return png.header(data)[0]
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return max(8, *map(int, image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (8,))))
    if isinstance(image, PpmImagePlugin.PpmImageFile):
        return 16 if isinstance(args := image.tile[0].args, tuple) and args[-1] == 65535 else 8
    if image.format == "AVIF":
        flags = _av1_flags(data)
        return 12 if flags & 0x20 else 10 if flags & 0x40 else 8
    return int(image.info.get("bit_depth", 8)) if image.format == "HEIF" else 8


def _settings(image: Image.Image, data: bytes) -> dict[str, Any]:
    """What Pillow's encoder needs to write this format in the same quality."""
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        return jpeg.encoder_options(image)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return {"compress": image.info.get("compression") != "raw"}
    if image.format == "WEBP":
        return {"lossless": True} if b"VP8L" in data[12 : limits.MAX_HEADER_BYTES] else {}
    if image.format == "AVIF":
        flags = _av1_flags(data)
        return {"subsampling": "4:0:0" if flags & 0x10 else {0x0C: "4:2:0", 0x08: "4:2:2"}.get(flags & 0x0C, "4:4:4")}
    return {"chroma": image.info["chroma"]} if image.format == "HEIF" and "chroma" in image.info else {}


def _av1_flags(data: bytes) -> int:
    """The third byte of AV1's configuration: depth, monochrome, subsampling (AV1-ISOBMFF, section 2.3.3)."""
    place = data.find(b"av1C") + 6
    return data[place] if 6 <= place < len(data) else 0


@contextmanager
def _room_for(max_pixels: int) -> Iterator[None]:
    """Lift Pillow's own limit, which is one for all threads, where a larger picture is asked for."""
    if Image.MAX_IMAGE_PIXELS is None or max_pixels <= Image.MAX_IMAGE_PIXELS:
        yield
        return
    with _pillow_limit:
        usual, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = usual


@contextmanager
def no_pillow_warnings() -> Iterator[None]:
    """Silence Pillow on oversized and slightly damaged files: the first are refused here, the second read anyway."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield
