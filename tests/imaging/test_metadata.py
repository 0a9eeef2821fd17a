"""What a photograph says of itself goes on, but for where it was taken and what is no longer true."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, TiffImagePlugin
from PIL.PngImagePlugin import PngInfo

from stedit.imaging import heic, metadata
from stedit.imaging.edited import WriteOptions, encode_edited
from stedit.imaging.files import DecodedImage, decode_image
from stedit.imaging.samples import Pixels

FORMATS = ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", *(["HEIF"] if heic.can_write() else [])]
PLACE = {1: "N", 2: (48.0, 51.0, 30.0), 3: "E", 4: (2.0, 17.0, 40.0), 6: 35.0}
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:exif="http://ns.adobe.com/exif/1.0/" '
    b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
    b'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="5" exif:GPSLatitude="48,51.5N" tiff:Orientation="1" '
    b"exif:GPSLongitude='2,17.7E'><exif:GPSAltitude>350/10</exif:GPSAltitude>"
    b"<xmp:Thumbnails><rdf:Alt><rdf:li>/9j/4AAQ</rdf:li></rdf:Alt></xmp:Thumbnails>"
    b"<xmp:Label>Holiday</xmp:Label></rdf:Description></rdf:RDF></x:xmpmeta>"
)


def scene() -> Pixels:
    """Twice as wide as high, dark on the left."""
    return np.repeat(np.linspace(20, 230, 64).astype(np.uint8)[None, :, None], 32, axis=0).repeat(3, axis=2)


def camera_exif(orientation: int = 1) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Optiker"
    exif[ExifTags.Base.Model] = "Kamera 3"
    exif[ExifTags.Base.Software] = "firmware 1.2"
    exif[ExifTags.Base.Artist] = "Ada"
    exif[ExifTags.Base.Copyright] = "CC BY 4.0"
    exif[ExifTags.Base.DateTime] = "2024:05:06 07:08:09"
    exif[ExifTags.Base.Orientation] = orientation
    details = exif.get_ifd(ExifTags.IFD.Exif)
    details[ExifTags.Base.DateTimeOriginal] = "2024:05:06 07:08:09"
    details[ExifTags.Base.ExposureTime] = TiffImagePlugin.IFDRational(1, 250)
    details[ExifTags.Base.ISOSpeedRatings] = 200
    details[ExifTags.Base.ExifImageWidth] = 64
    details[ExifTags.Base.ExifImageHeight] = 32
    details[ExifTags.Base.MakerNote] = b"a maker's own bytes" * 10
    exif.get_ifd(ExifTags.IFD.GPSInfo).update(PLACE)
    return exif


def encoded(kind: str, pixels: Pixels | None = None, **options: object) -> bytes:
    if kind == "HEIF":
        heic.register()
    if isinstance(options.get("exif"), Image.Exif):
        options["exif"] = options["exif"].tobytes()  # TIFF takes the inner directories from bytes alone
    file = io.BytesIO()
    Image.fromarray(scene() if pixels is None else pixels).save(file, kind, **options)
    return file.getvalue()


def decoded(data: bytes) -> DecodedImage:
    return decode_image(io.BytesIO(data), name="it")


def rewritten(data: bytes, **options: object) -> bytes:
    """The file after an edit of its upper left corner."""
    image = decoded(data)
    edited = image.pixels.copy()
    edited[:8, :8] = 128
    return encode_edited(image, edited, options=WriteOptions(**options)).data


def exif_of(data: bytes) -> Image.Exif:
    with Image.open(io.BytesIO(data)) as image:
        exif = image.getexif()
        for inner in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
            exif.get_ifd(inner)
        return exif


# EXIF


@pytest.mark.parametrize("kind", FORMATS)
def test_exif_is_kept_and_gps_is_dropped(kind: str) -> None:
    data = rewritten(encoded(kind, exif=camera_exif()))
    exif = exif_of(data)
    assert exif[ExifTags.Base.Make] == "Optiker"
    assert exif[ExifTags.Base.Model] == "Kamera 3"
    assert exif[ExifTags.Base.Artist] == "Ada"
    assert exif[ExifTags.Base.Copyright] == "CC BY 4.0"
    assert exif[ExifTags.Base.Software] == "firmware 1.2"
    details = exif.get_ifd(ExifTags.IFD.Exif)
    assert details[ExifTags.Base.DateTimeOriginal] == "2024:05:06 07:08:09"
    assert details[ExifTags.Base.ExposureTime] == 1 / 250
    assert details[ExifTags.Base.ISOSpeedRatings] == 200
    assert details[ExifTags.Base.MakerNote] == b"a maker's own bytes" * 10
    assert ExifTags.IFD.GPSInfo not in exif
    assert exif.get_ifd(ExifTags.IFD.GPSInfo) == {}


@pytest.mark.parametrize("kind", FORMATS)
def test_gps_is_kept_on_request(kind: str) -> None:
    place = exif_of(rewritten(encoded(kind, exif=camera_exif()), keep_gps=True)).get_ifd(ExifTags.IFD.GPSInfo)
    assert place[2] == (48.0, 51.0, 30.0)
    assert place[4] == (2.0, 17.0, 40.0)


@pytest.mark.parametrize("keep_gps", [False, True])
@pytest.mark.parametrize("target", [".jpg", ".png", ".webp", ".avif", ".tif"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_exif_is_kept_between_formats(kind: str, target: str, keep_gps: bool) -> None:
    exif = exif_of(rewritten(encoded(kind, exif=camera_exif()), suffix=target, keep_gps=keep_gps))
    assert exif[ExifTags.Base.Make] == "Optiker"
    assert exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExposureTime] == 1 / 250
    assert bool(exif.get_ifd(ExifTags.IFD.GPSInfo)) == keep_gps


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_exif_orientation_is_applied_and_reset(kind: str, orientation: int) -> None:
    store = {  # how a camera in that position stores the upright scene (Exif 3.0, tag 0x0112)
        1: lambda upright: upright,
        2: lambda upright: upright[:, ::-1],
        3: lambda upright: upright[::-1, ::-1],
        4: lambda upright: upright[::-1],
        5: lambda upright: upright.swapaxes(0, 1),
        6: lambda upright: upright.swapaxes(0, 1)[::-1],
        7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),
        8: lambda upright: upright.swapaxes(0, 1)[:, ::-1],
    }[orientation]
    stored = np.ascontiguousarray(store(scene()))
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95}
    data = rewritten(encoded(kind, stored, exif=camera_exif(orientation), **options))
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert image.size == (64, 32)
        exif = image.getexif()
        assert exif.get(ExifTags.Base.Orientation, 1) == 1
        details = exif.get_ifd(ExifTags.IFD.Exif)
        assert (details[ExifTags.Base.ExifImageWidth], details[ExifTags.Base.ExifImageHeight]) == (64, 32)
    pixels = decoded(data).pixels.astype(int)
    assert np.abs(pixels[8:] - scene()[8:]).mean() < 3
    assert np.abs(pixels[:8, :8] - 128).mean() < 12


def test_xmp_orientation_counts_where_exif_has_none() -> None:
    stored = np.ascontiguousarray(scene().swapaxes(0, 1)[::-1])
    data = encoded("JPEG", stored, xmp=XMP.replace(b'tiff:Orientation="1"', b'tiff:Orientation="6"'), quality=95)
    assert decoded(data).pixels.shape == (32, 64, 3)
    again = rewritten(data)
    assert b"tiff:Orientation" not in again
    assert decoded(again).pixels.shape == (32, 64, 3)


def test_exif_thumbnail_of_the_source_is_dropped() -> None:
    thumbnail = encoded("JPEG", scene()[:8, :8])
    directory = struct.pack("<HHHIIHHIII", 2, 0x0201, 4, 1, 44, 0x0202, 4, 1, len(thumbnail), 0)
    block = b"II*\0\x08\0\0\0" + struct.pack("<HI", 0, 14) + directory + thumbnail
    data = encoded("JPEG", exif=b"Exif\0\0" + block)
    assert data.count(b"\xff\xd8\xff") == 2
    assert rewritten(data).count(b"\xff\xd8\xff") == 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "exif",
    [
        b"garbage, no TIFF header",
        b"II*\0\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0\xff\xff\x12\x01",
        b"II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0abcd\0\0\0\0",
        b"MM\0*\0\0\0\x08\0\x01\x87\x69\0\4\0\0\0\1\0\0\0\x08\0\0\0\0",  # the inner directory is the outer one
        b"II*\0\x08\0\0\0\x01\0\x25\x88\x04\0\x01\0\0\0\xff\xff\xff\x7f\0\0\0\0",
    ],
)
def test_exif_damaged_costs_only_itself(kind: str, exif: bytes) -> None:
    data = encoded(kind, quality=95, exif=b"Exif\0\0" + exif)
    image = decoded(data)
    result = encode_edited(image, image.pixels)
    assert set(result.notes) <= {"its EXIF data are damaged: left out"}
    assert np.abs(decoded(result.data).pixels.astype(int) - scene()).mean() < 3
    assert ExifTags.IFD.GPSInfo not in exif_of(result.data)


def test_exif_beyond_reason_is_dropped() -> None:
    data = encoded("PNG", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + bytes(metadata.MAX_BLOCK_BYTES))
    assert len(rewritten(data)) < 10_000


def test_exif_too_long_for_jpeg_is_left_out_with_a_note() -> None:
    exif = camera_exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.MakerNote] = bytes(70_000)
    image = decoded(encoded("PNG", exif=exif))
    result = encode_edited(image, image.pixels, options=WriteOptions(suffix=".jpg"))
    assert len(result.notes) == 1
    assert result.notes[0].startswith("its EXIF data are left out: JPEG holds no ")


# XMP, captions, and what else there is


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("keep_gps", [False, True])
def test_xmp_is_kept_but_for_gps_and_what_is_untrue(kind: str, keep_gps: bool) -> None:
    if kind == "PNG":
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", XMP.decode(), zip=True)
        source = encoded(kind, pnginfo=info)
    elif kind == "TIFF":
        source = encoded(kind, tiffinfo={700: XMP})
    else:
        source = encoded(kind, xmp=XMP)
    with Image.open(io.BytesIO(rewritten(source, keep_gps=keep_gps))) as image:
        xmp = image.info["xmp"]
    assert b'xmp:Rating="5"' in xmp
    assert b"<xmp:Label>Holiday</xmp:Label>" in xmp
    assert b"Thumbnails" not in xmp
    assert b"Orientation" not in xmp
    assert (b"GPSLatitude" in xmp, b"GPSLongitude" in xmp, b"GPSAltitude" in xmp) == (keep_gps,) * 3


@pytest.mark.parametrize(
    "xmp",
    [
        b"<a><exif:GPSLatitude>48,51.5N</a>",
        b"<a b:GPSLatitude=48></a>",
        XMP.decode().encode("utf-16"),
        b"<exif:GPSAltitude>" * 100_000,
    ],
)
def test_xmp_that_may_hide_gps_is_dropped(xmp: bytes) -> None:
    assert metadata.renew_xmp(xmp, keep_gps=False) is None


def test_xmp_does_not_promise_extended_xmp_and_gain_maps() -> None:
    xmp = (
        b'<x hdrgm:Version="1.0" xmpNote:HasExtendedXMP="AB" a:b="c">'
        b"<Container:Directory><y/></Container:Directory></x>"
    )
    assert metadata.renew_xmp(xmp, keep_gps=True) == b'<x a:b="c"></x>'


def test_iptc_captions_are_kept() -> None:
    captions = b"\x1c\x02\x78\0\x05Hello"
    block = b"Photoshop 3.0\x008BIM\x04\x04\0\0" + struct.pack(">I", len(captions)) + captions
    thumbnail = b"8BIM\x04\x0c\0\0" + struct.pack(">I", 100) + bytes(100)
    segment = b"\xff\xed" + struct.pack(">H", 2 + len(block + thumbnail)) + block + thumbnail
    data = encoded("JPEG", extra=segment)
    for suffix in (".jpg", ".tif"):
        again = rewritten(data, suffix=suffix)
        assert decoded(again).source.metadata.iptc == captions
        assert b"8BIM\x04\x0c" not in again
    image = decoded(data)
    result = encode_edited(image, image.pixels, options=WriteOptions(suffix=".webp"))
    assert result.notes == ("its IPTC captions are left out: WebP holds none",)


def test_comments_and_resolution_are_kept() -> None:
    again = rewritten(encoded("JPEG", comment=b"from the album", dpi=(300, 300)))
    with Image.open(io.BytesIO(again)) as image:
        assert image.info["comment"] == b"from the album"
        assert image.info["dpi"] == (300, 300)
    for kind, suffix in (("JPEG", ".png"), ("TIFF", ".tif"), ("PNG", ".png"), ("TIFF", ".jpg")):
        with Image.open(io.BytesIO(rewritten(encoded(kind, dpi=(300, 300)), suffix=suffix))) as image:
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_png_text_chunks_are_kept() -> None:
    info = PngInfo()
    info.add_text("Title", "A walk")
    info.add_text("parameters", "x" * 5000, zip=True)
    info.add_text("exif:GPSLatitude", "48/1")
    info.add_itxt("Author", "Ådä", "sv", "Upphovsman")
    info.add(b"gAMA", struct.pack(">I", 45455))
    info.add(b"tIME", struct.pack(">HBBBBB", 2024, 5, 6, 7, 8, 9))
    again = rewritten(encoded("PNG", pnginfo=info, dpi=(72, 72)))
    with Image.open(io.BytesIO(again)) as image:
        image.load()
        assert image.text == {"Title": "A walk", "parameters": "x" * 5000, "Author": "Ådä"}  # type: ignore[attr-defined]
        assert image.info["gamma"] == 0.45455
    assert b"tIME" in again
    with Image.open(io.BytesIO(rewritten(encoded("PNG", pnginfo=info), keep_gps=True))) as image:
        assert "exif:GPSLatitude" in image.info


@pytest.mark.parametrize("packed", [False, True])
def test_exif_in_png_as_imagemagick_once_wrote_it_is_read(packed: bool) -> None:
    block = camera_exif(6).tobytes()
    text = f"\nexif\n{len(block):8}\n" + "\n".join(block.hex()[i : i + 72] for i in range(0, 2 * len(block), 72))
    info = PngInfo()
    info.add_text("Raw profile type exif", text, zip=packed)
    data = encoded("PNG", np.ascontiguousarray(scene().swapaxes(0, 1)[::-1]), pnginfo=info)
    image = decoded(data)
    np.testing.assert_array_equal(image.pixels, scene())
    again = rewritten(data)
    assert b"Raw profile" not in again
    assert exif_of(again)[ExifTags.Base.Make] == "Optiker"
    assert ExifTags.IFD.GPSInfo not in exif_of(again)


def test_tiff_tags_are_those_of_the_new_file() -> None:
    tiff = {270: "a caption", 50_000: "private", 305: "scanner 7"}
    data = encoded("TIFF", tiffinfo=tiff, compression="tiff_lzw")
    with Image.open(io.BytesIO(rewritten(data))) as image:
        assert isinstance(image, TiffImagePlugin.TiffImageFile)
        tags = dict(image.tag_v2)
        assert (tags[270], tags[305]) == ("a caption", "scanner 7")
        assert 50_000 not in tags
        assert image.info["compression"] == "tiff_adobe_deflate"
        image.load()
    with Image.open(io.BytesIO(rewritten(encoded("TIFF")))) as image:
        assert image.info["compression"] == "raw"


def test_further_images_of_a_phone_are_left_out_with_a_note() -> None:
    file = io.BytesIO()
    picture = Image.fromarray(scene())
    picture.save(file, "MPO", save_all=True, append_images=[picture.resize((8, 8))], quality=95)
    image = decoded(file.getvalue())
    assert image.notes == ()
    result = encode_edited(image, image.pixels)
    assert result.notes == ("further images in it (previews, depth, HDR gain maps) are left out",)
    assert decoded(result.data).source.format == "JPEG"
    assert result.data.count(b"\xff\xd8\xff") == 1


def test_metadata_beyond_a_limit_is_not_unpacked(tmp_path: Path) -> None:
    bomb = zlib.compress(bytes(2**28))
    info = PngInfo()
    info.add(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + bomb)
    info.add(b"zTXt", b"Raw profile type exif\0\0" + bomb)
    image = decoded(encoded("PNG", pnginfo=info))
    assert (image.source.metadata.xmp, image.source.metadata.exif) == (b"", b"")
    assert write_size(image, tmp_path) < 10_000


def write_size(image: DecodedImage, folder: Path) -> int:
    from stedit.imaging.edited import write_edited

    write_edited(folder / "out.png", image, image.pixels)
    return (folder / "out.png").stat().st_size
