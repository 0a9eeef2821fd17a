"""Write TIFF files of every mode and depth, with the tags of the source (TIFF 6.0).

Pillow writes 8 bits only where there are several channels, and hands a stranger's tags to libtiff where it compresses.
"""

from __future__ import annotations

import io
import zlib
from typing import Any

import numpy as np
from PIL import ExifTags, Image, TiffImagePlugin, TiffTags
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from stedit.imaging.metadata import Metadata
from stedit.imaging.samples import Samples, Values

_STRIP_BYTES = 2**18
_PHOTOMETRIC = {"1": 1, "L": 1, "LA": 1, "P": 3, "RGB": 2, "RGBA": 2, "CMYK": 5}
_DEFLATE, _RAW, _LONG = 8, 1, 4
_UNASSOCIATED_ALPHA = 2


def encode_tiff(samples: Samples, metadata: Metadata, *, compress: bool) -> bytes:
    """Little-endian, in strips; compressed with Deflate and the horizontal predictor, or not at all."""
    values = samples.values
    height, width = values.shape[:2]
    channels = values.shape[2] if values.ndim == 3 else 1
    bits = 1 if samples.mode == "1" else values.dtype.itemsize * 8
    predict = compress and bits > 1 and samples.mode != "P"
    rows = max(1, _STRIP_BYTES // max(1, width * channels * max(1, bits // 8)))
    strips = [_strip(values[top : top + rows], bits, compress, predict) for top in range(0, height, rows)]

    directory = ImageFileDirectory_v2(b"II*\0\x08\0\0\0")
    _add_description(directory, metadata)
    structure: dict[int, Any] = {
        TiffImagePlugin.IMAGEWIDTH: width,
        TiffImagePlugin.IMAGELENGTH: height,
        TiffImagePlugin.BITSPERSAMPLE: (bits,) * channels,
        TiffImagePlugin.COMPRESSION: _DEFLATE if compress else _RAW,
        TiffImagePlugin.PHOTOMETRIC_INTERPRETATION: _PHOTOMETRIC[samples.mode],
        TiffImagePlugin.SAMPLESPERPIXEL: channels,
        TiffImagePlugin.ROWSPERSTRIP: min(rows, height),
        TiffImagePlugin.PLANAR_CONFIGURATION: 1,
    }
    if predict:
        structure[TiffImagePlugin.PREDICTOR] = 2
    if samples.mode in {"LA", "RGBA"}:
        structure[TiffImagePlugin.EXTRASAMPLES] = _UNASSOCIATED_ALPHA
    if samples.palette is not None:
        structure[TiffImagePlugin.COLORMAP] = _colour_map(samples.palette)
    for tag, value in structure.items():
        directory[tag] = value
    for tag, numbers in (
        (TiffImagePlugin.STRIPBYTECOUNTS, tuple(map(len, strips))),
        (TiffImagePlugin.STRIPOFFSETS, tuple(np.cumsum([0, *map(len, strips[:-1])]).tolist())),
    ):
        directory.tagtype[tag] = _LONG
        directory[tag] = numbers  # Pillow adds where the directory ends to the offsets
    file = io.BytesIO()
    directory.save(file)
    return file.getvalue() + b"".join(strips)


def _strip(rows: Values, bits: int, compress: bool, predict: bool) -> bytes:
    if bits == 1:
        rows = np.packbits(rows > 0, axis=1)
    elif predict:  # differences to the pixel before, modulo the range (TIFF 6.0, section 14)
        rows = np.concatenate([rows[:, :1], np.diff(rows, axis=1)], axis=1)
    data = np.ascontiguousarray(rows, rows.dtype.newbyteorder("<")).tobytes()
    return zlib.compress(data) if compress else data


def _colour_map(palette: np.ndarray[Any, np.dtype[np.uint8]]) -> tuple[int, ...]:
    """All reds, then all greens, then all blues, of 16 bits."""
    entries = np.zeros((256, 3), np.int64)
    entries[: len(palette)] = palette[:, :3]
    return tuple((entries.T * 257).reshape(-1).tolist())


def _add_description(directory: ImageFileDirectory_v2, metadata: Metadata) -> None:
    exif = Image.Exif()
    if metadata.exif:
        exif.load(metadata.exif)
    for tag in exif:
        if tag in {ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo}:
            inner = exif.get_ifd(tag)
            directory[tag] = {key: value for key, value in inner.items() if key != ExifTags.IFD.Interop}
        else:
            directory[tag] = exif[tag]
    for tag, kind, data in (
        (TiffImagePlugin.XMP, TiffTags.BYTE, metadata.xmp),
        (TiffImagePlugin.IPTC_NAA_CHUNK, TiffTags.UNDEFINED, metadata.iptc),
        (TiffImagePlugin.ICCPROFILE, TiffTags.UNDEFINED, metadata.icc_profile),
    ):
        if data:
            directory.tagtype[tag] = kind
            directory[tag] = data
    if metadata.dpi:
        directory[TiffImagePlugin.RESOLUTION_UNIT] = 2  # inch
        directory[TiffImagePlugin.X_RESOLUTION], directory[TiffImagePlugin.Y_RESOLUTION] = metadata.dpi
