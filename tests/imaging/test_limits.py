"""Files that cost much more than they hold are refused in one sentence, before the time or the memory is taken."""

from __future__ import annotations

import io
import resource
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stedit.errors import ImageError
from stedit.imaging import jpeg, limits
from stedit.imaging.edited import WriteOptions, encode_edited
from stedit.imaging.files import decode_image
from stedit.imaging.provenance import Provenance


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, *chunks: bytes, colour: int = 2) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND", b"")


PIXEL = chunk(b"IDAT", zlib.compress(b"\0abc"))


def progressive(scans: int) -> bytes:
    """A progressive JPEG whose last scan is repeated until there are `scans`."""
    data = encoded(Image.new("RGB", (64, 64), (90, 60, 50)), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * (scans - 10) + data[-2:]


def tiff(*entries: tuple[int, int, int, int], between: bytes = b"") -> bytes:
    """A grey pixel, with further tags: number, type, count, value or place. `between` stands at 8."""
    tags = {256: (4, 1, 1), 257: (4, 1, 1), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1)}
    tags |= {273: (4, 1, 4), 279: (4, 1, 1)}
    tags |= {tag: (kind, count, value) for tag, kind, count, value in entries}
    listing = b"".join(struct.pack("<HHII", tag, *tags[tag]) for tag in sorted(tags))
    return b"II*\0" + struct.pack("<I", 8 + len(between)) + between + struct.pack("<H", len(tags)) + listing + bytes(4)


def rle_bmp(side: int, data: bytes) -> bytes:
    header = struct.pack("<IIIIiiHHIIIIII", 1078 + len(data), 0, 1078, 40, side, side, 1, 8, 1, 0, 0, 0, 0, 0)
    return b"BM" + header + bytes(1024) + data


def gif(*blocks: bytes) -> bytes:
    return b"GIF89a\x01\0\x01\0\0\0\0" + b"".join(blocks) + b",\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;"


GIF_COMMENT = b"!\xfe" + b"\xff" + b"a" * 255
SLOW = "that is slow to decode: save it as PNG first"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (progressive(101), "it is a JPEG of 101 scans, more than 100: save it anew first"),
        (progressive(3_000), "it is a JPEG of 3,000 scans, more than 100: save it anew first"),
        (
            b"\xff\xd8" + b"\xff\xfe\0\2" * 5_000 + encoded(Image.new("L", (8, 8)), "JPEG")[2:],
            "it is a JPEG with more segments than a photograph has: save it anew first",
        ),
        (
            b"\xff\xd8" + b"\xff\xe1\0\x0aExif\0\0II" * 200 + encoded(Image.new("L", (8, 8)), "JPEG")[2:],
            "it is a JPEG with more segments than a photograph has: save it anew first",
        ),
        (
            b"\xff\xd8\xff\xe0\0\4ab" + b"c" * 100_000 + encoded(Image.new("L", (8, 8)), "JPEG")[2:],
            "it is not a picture, or its beginning is damaged: give a PNG, JPEG or WebP",
        ),
        (
            png(1, 64_000_000, chunk(b"IDAT", b""), colour=0),
            "it has 1 x 64000000 pixels, a side longer than 65,535: crop it first",
        ),
        (
            png(70_000, 1, chunk(b"IDAT", b""), colour=0),
            "it has 70000 x 1 pixels, a side longer than 65,535: crop it first",
        ),
        (
            png(1, 1, chunk(b"tEXt", b"a\0b") * 100_001, PIXEL),
            "it is a PNG of more than 100,000 chunks: save it anew first",
        ),
        (png(1, 1, chunk(b"IDAT", b"") * 100_001), "it is a PNG of more than 100,000 chunks: save it anew first"),
        (
            tiff((273, 4, 5_000_000, 8), (279, 4, 5_000_000, 8), between=bytes(20_000_000)),
            "it is a TIFF with 5,000,000 numbers under the tag 273: save it anew first",
        ),
        (
            tiff((258, 3, 5_000_000, 8), between=bytes(10_000_000)),
            "it is a TIFF with 5,000,000 numbers under the tag 258: save it anew first",
        ),
        (
            b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 100_000) + struct.pack("<HHQQ", 40_000, 1, 1, 1) * 100_000,
            "it is a TIFF of 100,000 tags: save it anew first",
        ),
        (
            b"MM\0*\xff\xff\xff\xff" + bytes(100),
            "it is damaged (its directory lies beyond its end): get a whole copy of it",
        ),
        (
            b"II+\0\x08\0\0\0" + struct.pack("<QQ", 2**64 - 1, 0),
            "it is damaged (its directory lies beyond its end): get a whole copy of it",
        ),
        (
            gif(GIF_COMMENT * 1, b"\xff" + b"a" * 255, *[b"\xff" + b"a" * 255] * 300, b"\0"),
            "it is a GIF with a comment",
        ),
        (b"P6" + b" " * 1_000_000 + b"1 1 255\nabc", "it is damaged (no size stands at its beginning)"),
        (b"P5 #" + b"a" * 1_000_000 + b"\n1 1 255\na", "it is damaged (no size stands at its beginning)"),
        (b"P6 2000 2000 65535\n" + bytes(100), SLOW),
        (b"P6 2000 2000 1000\n" + bytes(100), SLOW),
        (b"P3 2000 2000 255\n" + b"1 " * 100, SLOW),
        (b"P2 10 10 255\n" + b" " * 30_000_000, SLOW),
        (rle_bmp(2000, b"\x01\x05" * 100), SLOW),
        (rle_bmp(100, b"\x00\x01" * 15_000_000), SLOW),
    ],
    ids=range(23),
)
def test_image_beyond_the_limits_is_refused_at_once(data: bytes, sentence: str) -> None:
    start = time.process_time()
    with pytest.raises(ImageError) as caught:
        decode_image(io.BytesIO(data), name="it")
    assert time.process_time() - start < 1.5
    assert sentence in str(caught.value)
    assert str(caught.value).startswith("it ")


@pytest.mark.parametrize(
    "data",
    [
        progressive(100),
        png(1, 1, chunk(b"tEXt", b"a\0b") * 1_000, PIXEL),
        tiff(),
        tiff((273, 4, 1_000_000, 8), (279, 4, 1_000_000, 8), between=bytes(4_000_000)),
        gif(GIF_COMMENT + b"\0", GIF_COMMENT + b"\0"),
        b"P6\n# made by hand\n1 1\n255\nabc",
        b"P3 1 1 255 1 2 3\n",
        b"P6 1 1 65535\nabcdef",
        b"P4 8 1\n\xaa",
        rle_bmp(1, b"\x01\x05\0\1"),
    ],
    ids=range(10),
)
def test_image_within_the_limits_is_read(data: bytes) -> None:
    assert decode_image(io.BytesIO(data), name="it").pixels.size


def test_side_at_the_limit_is_read() -> None:
    row = zlib.compress(b"\0" + bytes(limits.MAX_SIDE))
    wide = decode_image(io.BytesIO(png(limits.MAX_SIDE, 1, chunk(b"IDAT", row), colour=0)))
    assert wide.pixels.shape == (1, 65_535, 3)


def test_max_pixels_is_a_parameter() -> None:
    data = encoded(Image.new("RGB", (100, 100)), "PNG")
    assert decode_image(io.BytesIO(data), max_pixels=10_000).pixels.shape == (100, 100, 3)
    with pytest.raises(ImageError, match=r"^it has 100 x 100 pixels, larger than 0.01 megapixels: make it smaller"):
        decode_image(io.BytesIO(data), name="it", max_pixels=9_999)


def test_max_pixels_may_exceed_the_limit_of_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000)
    data = encoded(Image.new("RGB", (60, 60)), "PNG")
    with pytest.raises(ImageError, match=r"^it is larger than 0.001 megapixels: make it smaller first$"):
        decode_image(io.BytesIO(data), name="it", max_pixels=1_000)
    assert decode_image(io.BytesIO(data), max_pixels=3_600).pixels.shape == (60, 60, 3)
    assert Image.MAX_IMAGE_PIXELS == 1_000


def exif_bomb() -> bytes:
    """60,000 values that all are the same megabyte."""
    entries = b"".join(struct.pack("<HHII", tag, 7, 2**20, 0) for tag in range(0x1000, 0x1000 + 60_000))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", 60_000) + entries + bytes(4) + bytes(2**20)


ZEROS = zlib.compress(bytes(2**28))
BOMBS = {
    "profile": chunk(b"iCCP", b"a\0\0" + ZEROS),
    "text": chunk(b"zTXt", b"a\0\0" + ZEROS),
    "xmp": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + ZEROS),
    "raw profile": chunk(b"zTXt", b"Raw profile type exif\0\0" + ZEROS),
    "exif": chunk(b"eXIf", exif_bomb()),
    "elements": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b"<x:GPSa>" * 400_000),
    "attributes": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b' x:GPSa="' * 400_000),
    "word": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0 " + b"a" * 4_000_000),
    "depth": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b"<a>" * 500_000 + b"</a>" * 500_000),
    "entities": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"),
    "texts": chunk(b"tEXt", b"a\0" + b"b" * 2_000_000) * 50,
}


def test_decompression_bomb_in_metadata_takes_neither_time_nor_memory(tmp_path: Path) -> None:
    """In a process of its own: read, and written with a mark, in some seconds and 400 MB in all."""
    paths = []
    for name, bomb in BOMBS.items():
        paths.append(tmp_path / f"{name}.png")
        paths[-1].write_bytes(png(1, 1, bomb, PIXEL))
    program = (
        "import resource, sys, time\n"
        "from stedit.imaging.files import decode_image\n"
        "from stedit.imaging.edited import WriteOptions, encode_edited\n"
        "from stedit.imaging.provenance import Provenance\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for path in sys.argv[1:]:\n"
        "    image = decode_image(path)\n"
        "    result = encode_edited(image, 255 - image.pixels, options=WriteOptions(provenance=Provenance('m', 'e')))\n"
        "    assert len(result.data) < 2**25, path\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, time.process_time())"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *map(str, paths)], check=True, capture_output=True, text=True
    )
    growth, seconds = map(float, done.stdout.split())
    assert done.stderr == ""
    assert growth * (1 if sys.platform == "darwin" else 1024) < 400 * 2**20
    assert seconds < 30


def test_icc_profile_of_megabytes_is_ignored_with_a_note() -> None:
    data = png(1, 1, chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(2**23))), PIXEL)
    assert decode_image(io.BytesIO(data)).notes == ("its colour profile cannot be used: colours may be off",)


def test_jpeg_segments_are_counted_to_the_end_of_the_first_image() -> None:
    data = encoded(Image.new("L", (8, 8)), "JPEG")
    found = jpeg.structure_of(data + data * 10_000, junk=0)
    assert found is not None
    assert found.scans == 1


def test_fuzz_mutated_images_are_read_or_refused() -> None:
    """Read, edited and written, whatever a flipped byte does to the header, the metadata or the pixels."""
    random = np.random.default_rng(0)
    picture = Image.fromarray(random.integers(0, 256, (9, 7, 3), np.uint8))
    exif = Image.Exif()
    exif[0x010F] = "maker"
    exif.get_ifd(0x8825)[2] = (1.0, 2.0, 3.0)
    sources = [
        encoded(picture, "JPEG", exif=exif, comment=b"c", xmp=b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"),
        encoded(picture, "JPEG", progressive=True),
        encoded(picture, "PNG", exif=exif),
        encoded(picture.quantize(16), "PNG", transparency=3),
        encoded(picture, "TIFF", exif=exif),
        encoded(picture.convert("CMYK"), "TIFF", compression="tiff_lzw"),
        encoded(picture, "WEBP", exif=exif, lossless=True),
        encoded(picture, "AVIF", exif=exif),
        encoded(picture, "GIF"),
    ]
    written = 0
    options = WriteOptions(provenance=Provenance("m", "e"))
    for source in sources:
        for _ in range(120):
            data = bytearray(source)
            for place in random.integers(0, min(len(data), 600), random.integers(1, 4)):
                data[place] = random.integers(0, 256)
            try:
                image = decode_image(io.BytesIO(bytes(data)), name="it")
            except ImageError as error:
                sentence = str(error)
            else:
                written += 1
                sentence = " ".join(encode_edited(image, 255 - image.pixels, options=options).notes)
            assert "\n" not in sentence
            assert sentence.isprintable()
    assert written > 300


def test_image_beyond_the_limits_is_refused_without_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ImageError):
        decode_image(io.BytesIO(b"P6 8000 8000 65535\n" + bytes(1_000)))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**16
