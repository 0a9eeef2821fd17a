"""What a file says about its picture, kept for the file that is made of it: EXIF, XMP, profile, captions.

What an edit or a new file makes untrue is taken out (thumbnails of the old picture, its orientation, structure of the
old file), and where it was taken unless that is asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from PIL import ExifTags, Image, TiffImagePlugin, TiffTags

from stedit.imaging import png
from stedit.imaging.provenance import Provenance

MAX_BLOCK_BYTES = 2**22  # of EXIF, XMP or captions; photographs have some kB

_ORIENTATION = ExifTags.Base.Orientation
_GPS, _EXIF = ExifTags.IFD.GPSInfo, ExifTags.IFD.Exif

# What describes the structure of a TIFF file rather than its picture (TIFF 6.0; further ones from its supplements).
# fmt: off
_STRUCTURE = frozenset({
    254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 277, 278, 279, 280, 281, 284, 288, 289, 290, 291, 292,
    293, 297, 301, 317, 318, 319, 320, 321, 322, 323, 324, 325, 330, 332, 333, 334, 336, 338, 339, 340, 341, 342, 343,
    344, 345, 346, 347, 351, 400, 401, 402, 403, 404, 405, 433, 434, 435, 512, 513, 514, 515, 517, 518, 519, 520, 521,
    529, 530, 531, 532, 559, 700, 32997, 33723, 34377, 34675, 37724, 50255, 50838, 50839,
})
# fmt: on

# Properties of XMP: places; what the new file no longer holds; what the new pixels make untrue.
_PLACES = rb"[\w.-]+:GPS\w*"
_UNTRUE = (
    rb"xmpNote:HasExtendedXMP|xmp:Thumbnails|tiff:Orientation|tiff:ImageWidth|tiff:ImageLength|exif:PixelXDimension|"
    rb"exif:PixelYDimension|Container:Directory|hdrgm:\w+|GCamera:\w+|GDepth:\w+|GImage:\w+|stedit:\w+"
)


@dataclass(frozen=True, eq=False)
class Metadata:
    """What stands beside the pixels, as the file stored it; b"" where there is none."""

    exif: bytes = b""
    """A TIFF structure, without the six letters that JPEG puts before it."""
    xmp: bytes = b""
    icc_profile: bytes = b""
    iptc: bytes = b""
    comment: bytes = b""
    dpi: tuple[float, float] | None = None
    chunks: tuple[png.Chunk, ...] = field(default=())
    """All else beside the pixels of a PNG."""


def metadata_of(image: Image.Image, chunks: list[png.Chunk]) -> Metadata:
    """Gather what Pillow found in the header, and of a PNG what is in its `chunks`."""
    if chunks:
        return _from_png(chunks)
    info = image.info
    exif = info.get("exif", b"")
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        exif, iptc = _exif_of_tiff(image), image.tag_v2.get(33723, b"")
    else:
        photoshop = info.get("photoshop")
        iptc = photoshop.get(0x0404, b"") if isinstance(photoshop, dict) else b""
    return Metadata(
        exif=_block(exif.removeprefix(b"Exif\0\0") if isinstance(exif, bytes) else b""),
        xmp=_block(info.get("xmp")),
        icc_profile=info.get("icc_profile") or b"",
        iptc=_block(iptc),
        comment=_block(info.get("comment")) if image.format == "JPEG" else b"",
        dpi=_dpi(info.get("dpi")),
    )


def orientation_of(metadata: Metadata) -> int:
    """The EXIF orientation, 1 to 8, or that of XMP where EXIF says nothing; 1 where neither does."""
    try:
        value = _load_exif(metadata.exif).get(_ORIENTATION) if metadata.exif else None
    except Exception:  # noqa: BLE001 - whatever is wrong with the EXIF block, the pixels are sound
        value = None
    if value is None and (found := re.search(rb'tiff:Orientation(?:\s*=\s*["\']|>)([1-8])', metadata.xmp)):
        value = int(found[1])
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def metadata_for(
    metadata: Metadata, size: tuple[int, int], *, keep_gps: bool, provenance: Provenance | None
) -> tuple[Metadata, list[str]]:
    """What goes into a file made of that one, upright, of `size` (width, height), and notes on what is lost."""
    notes = []
    exif = b""
    if metadata.exif or provenance:
        try:
            exif = _renew_exif(metadata.exif, size, keep_gps, provenance)
        except Exception:  # noqa: BLE001 - Pillow meets damage with nearly every exception there is
            notes.append("its EXIF data are damaged: left out")
            exif = _renew_exif(b"", size, keep_gps, provenance) if provenance else b""
    xmp = renew_xmp(metadata.xmp, keep_gps)
    if xmp is None:
        notes.append("its XMP data are damaged: left out")
        xmp = b""
    if provenance:
        xmp = provenance.add_to(xmp)
    chunks = tuple(chunk for chunk in metadata.chunks if keep_gps or not _names_a_place(chunk))
    return replace(metadata, exif=exif, xmp=xmp, chunks=chunks), notes


def renew_xmp(xmp: bytes, keep_gps: bool) -> bytes | None:
    """Take out of an XMP packet what is untrue now, and places unless `keep_gps`; None if it cannot be read."""
    names = _UNTRUE if keep_gps else _UNTRUE + rb"|" + _PLACES
    xmp = re.sub(rb"\s(?:" + names + rb")\s*=\s*(?:\"[^\"]*\"|'[^']*')", b"", xmp)
    kept, place = [], 0
    for element in re.finditer(rb"<(" + names + rb")(?=[\s/>])[^<>]*>", xmp):
        if element.start() < place:
            continue
        kept.append(xmp[place : element.start()])
        place = element.end()
        if not element.group().endswith(b"/>"):
            end = xmp.find(b"</" + element[1] + b">", place)
            if end < 0:
                return None
            place = end + len(element[1]) + 3
    xmp = b"".join([*kept, xmp[place:]])
    if b"\0" in xmp.rstrip(b"\0") or (not keep_gps and b":GPS" in xmp):  # UTF-16, or written in a way not foreseen
        return None
    return xmp.rstrip(b"\0")


def _renew_exif(data: bytes, size: tuple[int, int], keep_gps: bool, provenance: Provenance | None) -> bytes:
    exif = _load_exif(data)
    for tag in list(exif):
        if tag in _STRUCTURE:
            del exif[tag]
    if not keep_gps and _GPS in exif:
        del exif[_GPS]
    if _ORIENTATION in exif:
        exif[_ORIENTATION] = 1
    details = exif.get_ifd(_EXIF)
    for tag, side in ((ExifTags.Base.ExifImageWidth, size[0]), (ExifTags.Base.ExifImageHeight, size[1])):
        if tag in details:
            details[tag] = side
    if provenance:
        exif[ExifTags.Base.Software] = provenance.software
    return exif.tobytes().removeprefix(b"Exif\0\0") if len(exif) else b""


def _load_exif(data: bytes) -> Image.Exif:
    exif = Image.Exif()
    if data:
        exif.load(data)
    else:
        exif.endian = "<"
    return exif


def _exif_of_tiff(image: TiffImagePlugin.TiffImageFile) -> bytes:
    """The tags of a TIFF file that an EXIF block may hold."""
    try:
        exif = image.getexif()
        for tag in list(exif):
            if tag in _STRUCTURE or (tag not in TiffTags.TAGS_V2 and tag not in {_EXIF, _GPS}):
                del exif[tag]
        return exif.tobytes()
    except Exception:  # noqa: BLE001 - as in orientation_of
        return b""


def _from_png(chunks: list[png.Chunk]) -> Metadata:
    exif = xmp = profile = b""
    others = []
    for chunk in chunks:
        keyword, _, rest = chunk.data.partition(b"\0")
        if chunk.name == b"eXIf":
            exif = chunk.data
        elif chunk.name == b"iCCP":  # after its name, the method of compression, of which there is one
            profile = png.unpack(rest[1:], png.MAX_CHUNK_BYTES) or b"damaged"
        elif chunk.name == b"iTXt" and keyword == b"XML:com.adobe.xmp":
            text = rest[2:].split(b"\0", 2)[-1]  # after two flags, a language and a translated keyword
            xmp = (png.unpack(text, MAX_BLOCK_BYTES) or b"") if rest[:1] == b"\1" else text
        elif chunk.name in {b"tEXt", b"zTXt"} and keyword.startswith(b"Raw profile type "):  # as ImageMagick did
            if keyword.endswith((b" exif", b" APP1")) and not exif:
                exif = _raw_profile(rest if chunk.name == b"tEXt" else png.unpack(rest[1:], 2 * MAX_BLOCK_BYTES) or b"")
        else:
            others.append(chunk)
    return Metadata(_block(exif.removeprefix(b"Exif\0\0")), _block(xmp), profile, chunks=tuple(others))


def _raw_profile(text: bytes) -> bytes:
    """Bytes in hexadecimal, after three lines that name and count them."""
    try:
        return bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode("ascii"))
    except ValueError:
        return b""


def _names_a_place(chunk: png.Chunk) -> bool:
    return chunk.name in {b"tEXt", b"zTXt", b"iTXt"} and b"gps" in chunk.data.partition(b"\0")[0].lower()


def _block(data: object) -> bytes:
    """The bytes, if they are bytes and no more than a photograph has."""
    data = data.encode() if isinstance(data, str) else data
    return data if isinstance(data, bytes) and len(data) <= MAX_BLOCK_BYTES else b""


def _dpi(value: object) -> tuple[float, float] | None:
    try:
        across, down = (float(number) for number in value)  # type: ignore[attr-defined]
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (across, down) if 1 <= across <= 65535 and 1 <= down <= 65535 else None
