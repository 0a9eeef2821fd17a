"""Samples and metadata as the bytes of a file, and what each format can hold of them."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from stedit.imaging import heic, png
from stedit.imaging.colour import ColourSpace
from stedit.imaging.metadata import Metadata
from stedit.imaging.provenance import Provenance
from stedit.imaging.samples import COLOUR_MODES, Samples
from stedit.imaging.tiff import encode_tiff

# The suffix of what is written -> Pillow's name of the format.
FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".avif": "AVIF",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".heic": "HEIF",
}

# Modes that a format holds with 8 bits a channel or fewer, and with 16.
_MODES: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "PNG": (frozenset({"1", "L", "LA", "P", "RGB", "RGBA"}), frozenset({"L", "RGB", "RGBA"})),
    "TIFF": (frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "CMYK"}), frozenset({"L", "RGB", "RGBA"})),
    "JPEG": (frozenset({"L", "RGB", "CMYK"}), frozenset()),
    "WEBP": (frozenset({"RGB", "RGBA"}), frozenset()),
    "AVIF": (frozenset({"L", "RGB", "RGBA"}), frozenset()),
    "HEIF": (frozenset({"L", "RGB", "RGBA"}), frozenset()),
}

PNG_LEVEL = 3  # of zlib's 9: level 6 takes more than twice as long, for 6 % smaller files
_MAX_JPEG_BLOCK = 65_000  # a segment holds 65,533 bytes, some of them names

Settings = Mapping[str, Any]
"""What Pillow's encoder of the format takes: quality, subsampling, lossless, …; "compress" for TIFF."""


def name_of(format_: str) -> str:
    """What people call a format of Pillow's."""
    return {"HEIF": "HEIC", "WEBP": "WebP", "MPO": "JPEG"}.get(format_, format_)


def encode(samples: Samples, metadata: Metadata, format_: str, settings: Settings) -> tuple[bytes, list[str]]:
    """Encode samples that `fit` has made fit; gives the file, and notes on metadata it could not hold.

    The same arguments give the same bytes. Raises whatever the encoder raises.
    """
    return _ENCODERS[format_](samples, metadata, dict(settings))


def fit(
    samples: Samples, metadata: Metadata, colours: ColourSpace, format_: str
) -> tuple[Samples, Metadata, list[str]]:
    """Turn samples that the format cannot hold into the nearest that it can, with notes."""
    plain, deep = _MODES[format_]
    old, notes, name = samples, list[str](), name_of(format_)
    if samples.bits == 16 and samples.mode not in deep:
        notes.append(f"16 bits a channel are written as 8: {name} holds no more")
        samples = replace(samples, values=(samples.values >> 8).astype(np.uint8), bits=8, key=_high(samples.key))
    if samples.key is not None and format_ != "PNG":
        samples = _with_alpha(samples)
    if samples.mode == "P" and ("P" not in plain or (format_ == "TIFF" and _is_translucent(samples))):
        notes.append(f"its palette is left out: {name} holds none" + " with transparency" * ("P" in plain))
        samples = _without_palette(samples)
    if samples.mode == "CMYK" and "CMYK" not in plain:
        notes.append(f"CMYK is written as sRGB: {name} holds none")
        samples = Samples("RGB", np.array(colours.to_srgb(samples.to_image())))
        metadata = replace(metadata, icc_profile=b"")
    if samples.mode in {"LA", "RGBA"} and "RGBA" not in plain:
        notes.append(f"transparent places are written on white: {name} holds no transparency")
        samples = _on_white(samples)
    if samples.bits < 16 and samples.mode not in plain:
        samples, metadata = _widen(samples, metadata, colours, plain)
    if samples is not old:
        metadata = replace(metadata, chunks=tuple(png.of_other_samples(metadata.chunks)))
    return samples, metadata, notes


def _widen(
    samples: Samples, metadata: Metadata, colours: ColourSpace, plain: frozenset[str]
) -> tuple[Samples, Metadata]:
    """Black and white as grey, grey as RGB; a profile of grey says nothing of RGB, so that is sRGB then."""
    mode = "L" if samples.mode == "1" and "L" in plain else "RGBA" if samples.mode == "LA" else "RGB"
    image = samples.to_image()
    if mode != "L" and COLOUR_MODES[samples.mode] == "L" and metadata.icc_profile:
        alpha = image.getchannel("A") if image.mode == "LA" else None
        image = colours.to_srgb(image.convert("L"))
        if alpha:
            image.putalpha(alpha)
        metadata = replace(metadata, icc_profile=b"")
    return Samples(mode, np.array(image.convert(mode))), metadata


def _is_translucent(samples: Samples) -> bool:
    return samples.palette is not None and bool((samples.palette[:, 3] < 255).any())


def _without_palette(samples: Samples) -> Samples:
    assert samples.palette is not None
    values = samples.palette[samples.values]
    return (
        Samples("RGBA", values) if _is_translucent(samples) else Samples("RGB", np.ascontiguousarray(values[..., :3]))
    )


def _high(key: tuple[int, ...] | None) -> tuple[int, ...] | None:
    return tuple(value >> 8 for value in key) if key else None


def _with_alpha(samples: Samples) -> Samples:
    """Turn the one colour that stands for transparency into an alpha channel."""
    values: Any = samples.values if samples.values.ndim == 3 else samples.values[..., None]
    opaque = np.iinfo(values.dtype).max
    alpha = np.where((values == np.array(samples.key)).all(axis=2), 0, opaque).astype(values.dtype)
    mode = "RGBA" if values.shape[2] == 3 or samples.bits == 16 else "LA"
    values = np.repeat(values, 3, axis=2) if values.shape[2] == 1 and mode == "RGBA" else values
    return Samples(mode, np.dstack([values, alpha]), max(samples.bits, 8))


def _on_white(samples: Samples) -> Samples:
    image = samples.to_image()
    colour = image.convert("L" if samples.mode == "LA" else "RGB")
    white = Image.new(colour.mode, colour.size, "white")
    return Samples(colour.mode, np.array(Image.composite(colour, white, image.getchannel("A"))))


def _encode_png(samples: Samples, metadata: Metadata, settings: dict[str, Any]) -> tuple[bytes, list[str]]:
    del settings  # a PNG has no quality
    if samples.bits == 16:
        data = _deep_png(samples)
    else:
        bits = {"bits": samples.bits} if samples.mode == "L" else {}
        data = _save(samples.to_image(), "PNG", {"compress_level": PNG_LEVEL, **bits})
    chunks = list(metadata.chunks)
    if metadata.icc_profile:
        chunks = [chunk for chunk in chunks if chunk.name != b"sRGB"]
        chunks.append(png.Chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc_profile)))
    if metadata.exif:
        chunks.append(png.Chunk(b"eXIf", metadata.exif))
    if metadata.xmp:
        chunks.append(png.Chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + metadata.xmp))
    if metadata.dpi:
        across, down = (round(dots / 0.0254) for dots in metadata.dpi)  # dots a metre
        chunks.append(png.Chunk(b"pHYs", across.to_bytes(4, "big") + down.to_bytes(4, "big") + b"\1"))
    if samples.palette is not None and _is_translucent(samples):
        chunks.append(png.Chunk(b"tRNS", samples.palette[:, 3].tobytes()))
    elif samples.key is not None:
        chunks.append(png.Chunk(b"tRNS", b"".join(value.to_bytes(2, "big") for value in samples.key)))
    bare, _, _ = png.split(data)
    return png.join(bare, chunks), _left_out(metadata, "PNG")


def _deep_png(samples: Samples) -> bytes:
    import cv2

    values: Any = samples.values
    if values.ndim == 3:
        values = cv2.cvtColor(values, cv2.COLOR_RGB2BGR if values.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)
    done, data = cv2.imencode(".png", values)
    if not done:
        raise OSError("OpenCV gave no PNG")
    return bytes(data.tobytes())


def _encode_tiff(samples: Samples, metadata: Metadata, settings: dict[str, Any]) -> tuple[bytes, list[str]]:
    return encode_tiff(samples, metadata, compress=settings.get("compress", True)), []


def _encode_jpeg(samples: Samples, metadata: Metadata, settings: dict[str, Any]) -> tuple[bytes, list[str]]:
    notes = []
    for name in ("exif", "xmp", "iptc", "comment"):
        size = len(getattr(metadata, name))
        if size > _MAX_JPEG_BLOCK:
            notes.append(f"its {name.upper()} data are left out: JPEG holds no {size:,} bytes of them")
            mark = Provenance.from_xmp(metadata.xmp) if name == "xmp" else None
            rest: dict[str, Any] = {name: mark.add_to(b"") if mark else b""}
            metadata = replace(metadata, **rest)
    if metadata.iptc:  # of Photoshop's other blocks, one is a thumbnail of the old picture
        block = b"Photoshop 3.0\x008BIM\x04\x04\0\0" + len(metadata.iptc).to_bytes(4, "big") + metadata.iptc
        block += bytes(len(metadata.iptc) % 2)
        settings["extra"] = b"\xff\xed" + (len(block) + 2).to_bytes(2, "big") + block
    if metadata.comment:
        settings["comment"] = metadata.comment
    if metadata.dpi:
        settings["dpi"] = tuple(map(round, metadata.dpi))
    return _save(samples.to_image(), "JPEG", _blocks(metadata) | settings), notes


def _encode_other(format_: str) -> Callable[[Samples, Metadata, dict[str, Any]], tuple[bytes, list[str]]]:
    def encode_it(samples: Samples, metadata: Metadata, settings: dict[str, Any]) -> tuple[bytes, list[str]]:
        if format_ == "HEIF":
            heic.register()
        return _save(samples.to_image(), format_, _blocks(metadata) | settings), _left_out(metadata, name_of(format_))

    return encode_it


_ENCODERS = {
    "PNG": _encode_png,
    "TIFF": _encode_tiff,
    "JPEG": _encode_jpeg,
    "WEBP": _encode_other("WEBP"),
    "AVIF": _encode_other("AVIF"),
    "HEIF": _encode_other("HEIF"),
}


def _blocks(metadata: Metadata) -> dict[str, Any]:
    exif = b"Exif\0\0" + metadata.exif if metadata.exif else b""
    blocks = {"exif": exif, "icc_profile": metadata.icc_profile, "xmp": metadata.xmp}
    return {name: block for name, block in blocks.items() if block}


def _left_out(metadata: Metadata, name: str) -> list[str]:
    return [f"its IPTC captions are left out: {name} holds none"] if metadata.iptc else []


def _save(image: Image.Image, format_: str, settings: Settings) -> bytes:
    file = io.BytesIO()
    image.save(file, format_, **settings)
    return file.getvalue()
