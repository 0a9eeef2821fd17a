"""An edited picture back as the kind of file it came from: format, depth, colours, quality, and what is said in it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from stedit.errors import OutputError, describe_cause
from stedit.imaging import heic
from stedit.imaging.carry import carry_edit
from stedit.imaging.encoding import FORMATS, encode, fit, name_of
from stedit.imaging.files import DecodedImage, Source, no_pillow_warnings
from stedit.imaging.metadata import metadata_for
from stedit.imaging.provenance import Provenance
from stedit.imaging.samples import Mask, Pixels
from stedit.storage.atomic import write_file

# Other suffixes of formats that are written.
_OTHER_NAMES = {".jfif": ".jpg", ".jpe": ".jpg", ".apng": ".png", ".heif": ".heic", ".hif": ".heic"}

_QUALITY = 95  # of JPEG and WebP, where the source has none that could be kept
_QUALITY_AVIF = 90  # of AVIF and HEIC, which come as near at fewer bytes


@dataclass(frozen=True)
class WriteOptions:
    """How an edited picture is written."""

    suffix: str | None = None
    """A key of FORMATS, such as ".png"; by default that of the source, or what `output_suffix` puts in its place."""
    quality: int | None = None
    """1 to 100 for JPEG, WebP, AVIF and HEIC; by default the source's for JPEG, and high for the others."""
    keep_gps: bool = False
    """Whether to keep where the photograph was taken."""
    provenance: Provenance | None = None
    """The mark of how it was made; None leaves it out."""


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """A file in memory."""

    data: bytes
    suffix: str
    """Of its format, such as ".jpg"."""
    notes: tuple[str, ...] = ()
    """What it could not keep of its source, such as "CMYK is written as sRGB: WebP holds none"."""


def output_suffix(suffix: str) -> str:
    """The suffix of what is made of a file of that suffix: the same where such files are written, else ".png".

    HEIC becomes ".jpg" where there is no encoder.
    """
    suffix = _OTHER_NAMES.get(suffix.lower(), suffix.lower())
    if suffix == ".heic" and not heic.can_write():
        return ".jpg"
    return suffix if suffix in FORMATS else ".png"


def encode_edited(
    image: DecodedImage, edited: Pixels, mask: Mask | None = None, options: WriteOptions | None = None
) -> EncodedImage:
    """Encode `edited`, which was made of `image.pixels`, as the kind of file that `image` was read from.

    Args:
        image: what was read.
        edited: uint8 (H, W, 3) sRGB, of the same size. Where it equals `image.pixels`, the samples of the file stay bit
            by bit, as PNG, TIFF and lossless WebP then hold them; the others encode them anew.
        mask: bool (H, W), True where the edit counts; everywhere by default.
        options: how to write it.

    Raises:
        TypeError: the pixels or the mask are of another type or size.
        OutputError: the format cannot be written, or not in this size.
    """
    options = options or WriteOptions()
    if edited.dtype != np.uint8 or edited.shape != image.pixels.shape:
        raise TypeError(f"expected uint8 {image.pixels.shape}, got {edited.dtype} {edited.shape}")
    height, width = edited.shape[:2]
    if mask is None:
        mask = np.ones((height, width), bool)
    if mask.dtype != np.bool_ or mask.shape != (height, width):
        raise TypeError(f"expected a mask bool {(height, width)}, got {mask.dtype} {mask.shape}")
    source = image.source
    suffix = _suffix(source, options)
    format_ = FORMATS[suffix]
    notes = []
    if options.suffix is None and format_ != source.format:
        notes.append(f"{name_of(source.format)} is not written: it is {name_of(format_)} now")

    samples = carry_edit(source.samples, source.colours, image.pixels, edited, image.alpha, mask)
    with no_pillow_warnings():
        metadata, lost = metadata_for(
            source.metadata, (width, height), keep_gps=options.keep_gps, provenance=options.provenance
        )
    samples, metadata, unfit = fit(samples, metadata, source.colours, format_)
    settings, coarser = _settings(source, format_, options.quality, grey=samples.mode in {"1", "L"})
    try:
        with no_pillow_warnings():
            data, left_out = encode(samples, metadata, format_, settings)
    except Exception as error:  # such as JPEG's limit of 65,535 px a side; encoders raise nearly everything
        raise OutputError(
            f"cannot encode {width} x {height} px as {suffix[1:]} ({describe_cause(error)}): try png"
        ) from error
    if samples.mode in {"1", "P"} and samples is not source.samples:
        unfit.append("the edit is shown in the few colours that the file has")
    if source.further_images:
        lost.append("further images in it (previews, depth, HDR gain maps) are left out")
    return EncodedImage(data, suffix, (*notes, *unfit, *coarser, *lost, *left_out))


def write_edited(
    path: str | Path, image: DecodedImage, edited: Pixels, mask: Mask | None = None, options: WriteOptions | None = None
) -> tuple[str, ...]:
    """Write what `encode_edited` gives to `path`, whole or not at all, and give its notes.

    The format is that of the name, unless `options` name one. Raises OutputError.
    """
    path, options = Path(path), options or WriteOptions()
    if options.suffix is None:
        suffix = _OTHER_NAMES.get(path.suffix.lower(), path.suffix.lower())
        if suffix not in FORMATS:
            raise OutputError(f"cannot write {path}: end its name in one of {', '.join(FORMATS)}")
        options = replace(options, suffix=suffix)
    encoded = encode_edited(image, edited, mask, options)
    write_file(path, encoded.data)
    return encoded.notes


def _suffix(source: Source, options: WriteOptions) -> str:
    own = next((suffix for suffix, format_ in FORMATS.items() if format_ == source.format), "")
    suffix = options.suffix or output_suffix(own)
    if suffix not in FORMATS:
        raise OutputError(f"cannot write the format {suffix!r}: choose one of {', '.join(FORMATS)}")
    if suffix == ".heic" and not heic.can_write():
        raise OutputError("cannot write HEIC: choose .jpg")
    return suffix


def _settings(source: Source, format_: str, quality: int | None, *, grey: bool) -> tuple[dict[str, Any], list[str]]:
    """What the encoder is to be told: the source's own settings in its own format, and fine ones in another."""
    own = dict(source.settings) if format_ == source.format else {}
    notes = ["its chroma subsampling is written as the next finer one"] if own.pop("resampled", False) else []
    if format_ == "JPEG":
        own = own or {"quality": _QUALITY, "subsampling": 0}
        if quality is not None:
            own.pop("qtables", None)
    elif format_ == "WEBP":
        own = own if own and quality is None else {"quality": _QUALITY}
        own["exact"] = True
    elif format_ in {"AVIF", "HEIF"}:
        own = {**({} if grey or format_ == "HEIF" else {"subsampling": "4:4:4"}), "quality": _QUALITY_AVIF, **own}
    if format_ == "HEIF":  # of 6 megapixels in 3 s, where x265 otherwise takes 12 s for half of an error of 0.08 of 255
        own["enc_params"] = {"preset": "ultrafast"}
    return (own if quality is None else {**own, "quality": quality}), notes
