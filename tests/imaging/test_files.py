"""Every kind of picture decodes to the same pixels; every kind of damage gives one sentence."""

from __future__ import annotations

import io
import os
import re
import resource
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from stedit.errors import ImageError, OutputError
from stedit.imaging import files
from stedit.imaging.files import (
    DecodedImage,
    Pixels,
    decode_image,
    encode_image,
    fit_image,
    read_image,
    write_image,
)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def decoded(data: bytes) -> DecodedImage:
    return decode_image(io.BytesIO(data), name="it")


def refusal(data: bytes) -> str:
    """The sentence with which `data` is refused."""
    with pytest.raises(ImageError) as caught:
        decoded(data)
    sentence = str(caught.value)
    assert sentence.startswith("it ")
    assert "\n" not in sentence
    return sentence


def decoded_or_refused(data: bytes) -> DecodedImage | None:
    """The picture, or None if it was refused in one sentence."""
    try:
        return decoded(data)
    except ImageError as error:
        sentence = str(error)
    assert "\n" not in sentence
    return None


def png(width: int, height: int, depth: int, colour: int, *chunks: bytes) -> bytes:
    """A PNG of the given header, with `chunks` after it (PNG specification, third edition, section 11)."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def mean_difference(a: Pixels, b: Pixels) -> float:
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


# What a sound picture becomes


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("PNG", {}, 0.0),
        ("BMP", {}, 0.0),
        ("TIFF", {"compression": "tiff_lzw"}, 0.0),
        ("PPM", {}, 0.0),
        ("WEBP", {"lossless": True}, 0.0),
        ("WEBP", {"quality": 95}, 4.0),
        ("JPEG", {"quality": 95, "subsampling": 0}, 3.0),
        ("GIF", {}, 6.0),
        ("AVIF", {"quality": 95}, 3.0),
    ],
)
def test_every_format_is_decoded(face_image: Pixels, kind: str, options: dict[str, object], tolerance: float) -> None:
    picture = decoded(encoded(Image.fromarray(face_image), kind, **options))
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.shape == face_image.shape
    assert mean_difference(picture.pixels, face_image) <= tolerance
    assert picture.alpha is None
    assert picture.notes == ()


@pytest.mark.parametrize("source", ["path", "text", "stream"])
def test_path_text_and_stream_are_decoded_alike(face_image: Pixels, tmp_path: Path, source: str) -> None:
    path = tmp_path / "face.dat"  # the content decides, not the name
    path.write_bytes(encoded(Image.fromarray(face_image), "PNG"))
    with path.open("rb") as stream:
        picture = decode_image({"path": path, "text": str(path), "stream": stream}[source])
    np.testing.assert_array_equal(picture.pixels, face_image)
    np.testing.assert_array_equal(read_image(path), face_image)


def test_pipe_can_be_read(face_image: Pixels) -> None:
    program = (
        "import sys; from stedit.imaging.files import decode_image; print(decode_image(sys.stdin.buffer).pixels.sum())"
    )
    data = encoded(Image.fromarray(face_image), "PNG")
    done = subprocess.run([sys.executable, "-c", program], input=data, capture_output=True, check=True)
    assert int(done.stdout) == face_image.sum()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation(face_image: Pixels, kind: str, orientation: int) -> None:
    store = {  # how a camera in that position stores the upright scene (Exif 3.0, tag 0x0112)
        1: lambda scene: scene,
        2: lambda scene: scene[:, ::-1],
        3: lambda scene: scene[::-1, ::-1],
        4: lambda scene: scene[::-1],
        5: lambda scene: scene.swapaxes(0, 1),
        6: lambda scene: scene.swapaxes(0, 1)[::-1],
        7: lambda scene: scene[::-1, ::-1].swapaxes(0, 1),
        8: lambda scene: scene.swapaxes(0, 1)[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(store(face_image)))
    options = {"lossless": True} if kind == "WEBP" else {"quality": 98} if kind == "JPEG" else {}
    upright = decoded(encoded(stored, kind, exif=exif, **options)).pixels
    assert upright.shape == face_image.shape
    assert mean_difference(upright, face_image) < (4 if kind == "JPEG" else 1e-9)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_unknown_orientation_is_ignored(face_image: Pixels, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(decoded(encoded(Image.fromarray(face_image), "PNG", exif=exif)).pixels, face_image)


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0garbage, no TIFF header",
        b"Exif\0\0II*\0\xff\xff\xff\xff",  # the first directory lies beyond the end
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01",  # 65,535 entries, one of them cut off
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0abcd",  # an orientation that is text
    ],
)
def test_damaged_exif_does_not_matter(face_image: Pixels, exif: bytes) -> None:
    picture = decoded(encoded(Image.fromarray(face_image), "JPEG", quality=98, exif=exif))
    assert mean_difference(picture.pixels, face_image) < 4


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey(kind: str) -> None:
    values = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)  # 0x0000, 0x0101, … 0xffff
    pixels = decoded(encoded(Image.fromarray(values), kind)).pixels
    np.testing.assert_array_equal(pixels, np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2))


def test_sixteen_bit_grey_pgm() -> None:
    data = b"P5 2 1 65535\n" + struct.pack(">HH", 0x1234, 0xFFFF)
    assert decoded(data).pixels[0, :, 0].tolist() == [0x12, 0xFF]


@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (6, 4), (4, 2)])
def test_sixteen_bit_colour_and_alpha(colour: int, channels: int) -> None:
    values = np.linspace(0x0000, 0xFFFF, 2 * 3 * channels).astype(">u2").reshape(2, 3, channels)
    if channels % 2 == 0:
        values[..., -1] = 0xFFFF
    lines = b"".join(b"\0" + line.tobytes() for line in values)
    picture = decoded(png(3, 2, 16, colour, chunk(b"IDAT", zlib.compress(lines))))
    high = (values >> 8).astype(np.uint8)
    expected = high[..., :3] if channels > 2 else high[..., [0, 0, 0]]
    assert int(np.abs(picture.pixels.astype(int) - expected.astype(int)).max()) <= 1
    assert picture.alpha is None


def test_sixteen_bit_grey_with_a_transparent_shade() -> None:
    data = chunk(b"tRNS", b"\x12\x34") + chunk(b"IDAT", zlib.compress(b"\0\x12\x34\x80\x00"))
    assert decoded(png(2, 1, 16, 0, data)).pixels.shape == (1, 2, 3)


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_modes_of_few_bits_are_decoded(mode: str) -> None:
    image = Image.new("RGB", (4, 2), "white")
    image.paste("black", (0, 0, 2, 2))
    pixels = decoded(encoded(image.convert(mode), "PNG")).pixels
    np.testing.assert_array_equal(pixels[..., 1], [[0, 0, 255, 255]] * 2)


def test_cmyk_jpeg_is_decoded(face_image: Pixels) -> None:
    data = encoded(Image.fromarray(face_image).convert("CMYK"), "JPEG", quality=98)
    assert Image.open(io.BytesIO(data)).mode == "CMYK"
    assert mean_difference(decoded(data).pixels, face_image) < 5


@pytest.mark.parametrize(("mode", "kind"), [("RGBA", "PNG"), ("RGBA", "WEBP"), ("RGBA", "TIFF"), ("LA", "PNG")])
def test_alpha_is_kept_and_shown_on_white(mode: str, kind: str) -> None:
    grey = np.array([[100, 100, 100, 100]], np.uint8)
    alpha = np.array([[0, 51, 204, 255]], np.uint8)
    image = Image.fromarray(np.dstack([grey, grey, grey, alpha]))
    data = encoded(image.convert(mode), kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    picture = decoded(data)
    assert picture.alpha is not None
    np.testing.assert_array_equal(picture.alpha, alpha)
    on_white = np.round(grey * (alpha / 255) + 255 * (1 - alpha / 255))
    assert np.abs(picture.pixels - on_white[..., None]).max() <= 1
    assert picture.pixels[0, 0].tolist() == [255, 255, 255]
    assert picture.notes == ("transparent: shown on white",)


def test_palette_with_transparency() -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    for x in range(3):
        image.putpixel((x, 0), x)
    partly = decoded(encoded(image, "PNG", transparency=bytes([0, 128, 255])))
    assert partly.alpha is not None
    assert partly.alpha.tolist() == [[0, 128, 255]]
    assert partly.pixels.tolist() == [[[255, 255, 255], [127, 255, 127], [0, 0, 255]]]
    wholly = decoded(encoded(image, "GIF", transparency=1))
    assert wholly.pixels.tolist() == [[[255, 0, 0], [255, 255, 255], [0, 0, 255]]]


def test_transparent_colour_is_shown_on_white() -> None:
    image = Image.new("RGB", (2, 1), (10, 20, 30))
    image.putpixel((1, 0), (1, 2, 3))
    picture = decoded(encoded(image, "PNG", transparency=(10, 20, 30)))
    assert picture.pixels.tolist() == [[[255, 255, 255], [1, 2, 3]]]


def test_opaque_alpha_channel_counts_as_none(face_image: Pixels) -> None:
    picture = decoded(encoded(Image.fromarray(face_image).convert("RGBA"), "PNG"))
    assert picture.alpha is None
    assert picture.notes == ()
    np.testing.assert_array_equal(picture.pixels, face_image)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_first_of_several_frames_is_used_with_a_note(face_image: Pixels, kind: str) -> None:
    frames = [Image.fromarray(face_image), Image.new("RGB", (40, 48), "red")]
    options = {"lossless": True} if kind == "WEBP" else {}
    picture = decoded(encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options))
    assert mean_difference(picture.pixels, face_image) < 6
    assert picture.notes == ("several frames: only the first is used",)


def test_preview_inside_a_jpeg_gives_no_note(face_image: Pixels) -> None:
    image = Image.fromarray(face_image)
    picture = decoded(encoded(image, "MPO", save_all=True, append_images=[image.resize((8, 8))], quality=98))
    assert mean_difference(picture.pixels, face_image) < 4
    assert picture.notes == ()


# Colour profiles


def gamma_profile(colour_space: bytes, gamma: float) -> bytes:
    """A minimal ICC version 2 profile with sRGB's primaries, D50-adapted, and a plain power law (ICC.1:2001-04)."""
    curve = b"curv" + struct.pack(">IIH", 0, 1, round(gamma * 256)) + b"\0\0"

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in values))

    text = b"desc" + struct.pack(">II", 0, 6) + b"plain\0" + bytes(78 + 2)
    tags = {b"desc": text, b"wtpt": xyz(0.9642, 1.0, 0.8249), b"cprt": b"text\0\0\0\0none\0\0\0\0"}
    if colour_space == b"GRAY":
        tags[b"kTRC"] = curve
    else:
        tags |= {b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
        tags |= {b"rXYZ": xyz(0.4361, 0.2225, 0.0139), b"gXYZ": xyz(0.3851, 0.7169, 0.0971)}
        tags |= {b"bXYZ": xyz(0.1431, 0.0606, 0.7141)}
    table, body, start = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(
        ">I4sI4s4s4s12s4s", start + len(body), b"", 0x02100000, b"mntr", colour_space, b"XYZ ", b"", b"acsp"
    )
    header = header.ljust(68, b"\0") + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + table + body


def srgb_of_linear(linear: float) -> int:
    """IEC 61966-2-1, uint8."""
    return round(255 * (12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055))


@pytest.mark.parametrize(
    ("mode", "space", "kind"),
    [
        ("RGB", b"RGB ", "PNG"),
        ("RGB", b"RGB ", "JPEG"),
        ("RGBA", b"RGB ", "PNG"),
        ("P", b"RGB ", "PNG"),
        ("L", b"RGB ", "PNG"),
        ("L", b"GRAY", "PNG"),
        ("L", b"GRAY", "JPEG"),
        ("LA", b"GRAY", "PNG"),
    ],
)
def test_icc_profile_is_converted_to_srgb(mode: str, space: bytes, kind: str) -> None:
    image = Image.new("RGB", (8, 8), (128, 128, 128)).convert(mode, palette=Image.Palette.ADAPTIVE)
    picture = decoded(encoded(image, kind, icc_profile=gamma_profile(space, 1.0)))
    expected = srgb_of_linear(128 / 255)  # 188: half the light looks much brighter than half
    assert expected == 188
    assert np.abs(picture.pixels.astype(int) - expected).max() <= 1
    assert picture.notes == ()


def test_icc_profile_changes_colours(face_image: Pixels) -> None:
    as_is = decoded(encoded(Image.fromarray(face_image), "PNG")).pixels
    linear = decoded(encoded(Image.fromarray(face_image), "PNG", icc_profile=gamma_profile(b"RGB ", 1.0))).pixels
    expected = np.vectorize(srgb_of_linear)(as_is / 255)
    assert mean_difference(linear, expected) < 1.5


def test_icc_srgb_profile_changes_nothing(face_image: Pixels) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = decoded(encoded(Image.fromarray(face_image), "PNG", icc_profile=srgb))
    np.testing.assert_array_equal(picture.pixels, face_image)


def test_icc_profile_that_calls_itself_srgb_is_believed(face_image: Pixels) -> None:
    """The many sRGB profiles about differ from one another by a rounding error here and there."""
    named = gamma_profile(b"RGB ", 1.0).replace(b"plain", b"sRGB ")
    np.testing.assert_array_equal(
        decoded(encoded(Image.fromarray(face_image), "PNG", icc_profile=named)).pixels, face_image
    )


@pytest.mark.parametrize(
    "profile",
    [
        b"not a profile",
        gamma_profile(b"RGB ", 1.0)[:200],
        gamma_profile(b"GRAY", 1.0),  # of grey, in a colour picture
        ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(),
    ],
    ids=["text", "truncated", "grey", "lab"],
)
def test_icc_unusable_profile_is_ignored_with_a_note(face_image: Pixels, profile: bytes) -> None:
    picture = decoded(encoded(Image.fromarray(face_image), "PNG", icc_profile=profile))
    np.testing.assert_array_equal(picture.pixels, face_image)
    assert picture.notes == ("its colour profile cannot be used: colours may be off",)


# What is refused


@pytest.mark.parametrize(
    "data",
    [
        b"hello, I am text",
        b"%PDF-1.7\n",
        b"PK\x03\x04",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",  # Pillow would start Ghostscript
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        bytes(100),
    ],
)
def test_file_that_is_no_image_is_refused(data: bytes) -> None:
    assert refusal(data) == "it is not a picture, or its beginning is damaged: give a PNG, JPEG or WebP"


def test_empty_file_is_refused() -> None:
    assert refusal(b"") == "it is empty: give a picture"


@pytest.mark.parametrize("brand", [b"isom", b"mp42", b"qt  "])
def test_video_is_named(brand: bytes) -> None:
    data = b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0" + brand + b"mp41" + bytes(100)
    assert refusal(data) == "it is a video: give a picture, such as one of its frames"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_truncated_image_is_refused(kind: str, kept: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    assert re.search("is damaged|is not a picture", refusal(data[: int(len(data) * kept)]))


def test_truncated_avif_is_not_taken_for_heic(face_image: Pixels) -> None:
    data = encoded(Image.fromarray(face_image), "AVIF")
    for kept in (20, 100, len(data) // 2, len(data) - 10):
        assert re.search("is damaged|is not a picture", refusal(data[:kept]))


def test_error_of_a_damaged_image_has_no_control_characters() -> None:
    sentence = refusal(b"P3 1 1 255 \x1b[2J\x1b[2J\x1b[2J\x1b[2J\x1b[2J\x1b[2J ")
    assert "is damaged" in sentence
    assert sentence.isprintable()


def test_flipped_byte_in_a_png_is_refused() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = bytearray(encoded(Image.fromarray(noise), "PNG"))
    data[len(data) // 2] ^= 0xFF
    assert "it is damaged or incomplete" in refusal(bytes(data))


BLANK_LINE = chunk(b"IDAT", zlib.compress(bytes(100)))


def test_decompression_bomb_is_refused_before_it_is_decoded() -> None:
    """100 bytes of pixels: decoding would fail as truncated, so the refusal by size must come before."""
    assert refusal(png(30_000, 30_000, 8, 2, BLANK_LINE)) == "it is larger than 64 megapixels: make it smaller first"
    expected = "it has 10000 x 7000 pixels, larger than 64 megapixels: make it smaller first"
    assert refusal(png(10_000, 7_000, 8, 2, BLANK_LINE)) == expected
    assert refusal(png(10_000, 10_000, 8, 2, BLANK_LINE)).startswith("it has 10000 x 10000 pixels")  # Pillow warns here


def test_image_at_the_pixel_limit_is_decoded() -> None:
    assert files.MAX_PIXELS == 8_000 * 8_000
    assert "damaged or incomplete" in refusal(png(8_000, 8_000, 8, 0, BLANK_LINE))
    assert "larger than" in refusal(png(8_000, 8_001, 8, 0, BLANK_LINE))


def bombs() -> dict[str, bytes]:
    """Headers that claim gigapixels, in the other formats."""
    claim = 0xFFFF
    tiff = encoded(Image.new("L", (1, 1)), "TIFF")
    width = struct.pack("<HHIHH", 0x0100, 4, 1, 1, 0)
    height = struct.pack("<HHIHH", 0x0101, 4, 1, 1, 0)
    assert width in tiff
    assert height in tiff
    for tag, entry in ((0x0100, width), (0x0101, height)):
        tiff = tiff.replace(entry, struct.pack("<HHII", tag, 4, 1, claim))
    jpeg = encoded(Image.new("L", (1, 1)), "JPEG")
    frame = jpeg.index(b"\xff\xc0") + 5
    return {
        "GIF": b"GIF89a" + struct.pack("<HH", claim, claim) + b"\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;",
        "BMP": b"BM" + struct.pack("<IIIIiiHHIIIIII", 99, 0, 54, 40, claim, claim, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(45),
        "PPM": b"P6 65535 65535 255\n" + bytes(100),
        "TIFF": tiff,
        "JPEG": jpeg[:frame] + struct.pack(">HH", claim, claim) + jpeg[frame + 4 :],
        "WEBP": b"RIFF\x16\0\0\0WEBPVP8L\x0a\0\0\0\x2f" + struct.pack("<I", 0x3FFF | 0x3FFF << 14) + bytes(6),
    }


@pytest.mark.parametrize("kind", ["GIF", "BMP", "PPM", "TIFF", "JPEG", "WEBP"])
def test_decompression_bomb_of_other_formats_is_refused(kind: str) -> None:
    assert "larger than 64 megapixels" in refusal(bombs()[kind])


def test_decompression_bomb_is_refused_without_memory(tmp_path: Path) -> None:
    """In a process of its own, whose peak memory must stay where importing left it, within 64 MB."""
    paths = [tmp_path / "bomb.png", *(tmp_path / f"bomb.{kind}" for kind in bombs())]
    for path, data in zip(paths, [png(30_000, 30_000, 8, 2, BLANK_LINE), *bombs().values()], strict=True):
        path.write_bytes(data)
    program = (
        "import resource, sys\n"
        "from stedit.imaging.files import ImageError, decode_image\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before, refused = peak(), 0\n"
        "for path in sys.argv[1:]:\n"
        "    try: decode_image(path)\n"
        "    except ImageError: refused += 1\n"
        "print(refused, peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", program, *map(str, paths)], check=True, capture_output=True, text=True)
    refused, growth = map(int, done.stdout.split())
    assert refused == len(paths)
    assert growth * (1 if sys.platform == "darwin" else 1024) < 64 * 2**20


def test_decompression_bomb_in_a_profile_or_text_is_harmless() -> None:
    zeros = zlib.compress(bytes(2**28))
    line = chunk(b"IDAT", zlib.compress(b"\0\x7f\x7f\x7f"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for bomb in (chunk(b"iCCP", b"profile\0\0" + zeros), chunk(b"zTXt", b"text\0\0" + zeros)):
        decoded_or_refused(png(1, 1, 8, 2, bomb, line))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**17  # 128 MB in kB


@pytest.mark.parametrize(("mode", "kind"), [("F", "TIFF"), ("LAB", "TIFF"), ("I", "TIFF")])
def test_modes_without_plain_colour_are_refused(mode: str, kind: str) -> None:
    sentence = refusal(encoded(Image.new(mode, (4, 4)), kind))
    assert sentence == f"it holds pixels of the kind {mode!r}: save it as 8 or 16-bit grey, RGB or CMYK"


def test_stream_is_read_no_further_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless(io.RawIOBase):
        taken = 0

        def read(self, size: int = -1) -> bytes:
            assert size >= 0
            Endless.taken += size
            return bytes(size)

    monkeypatch.setattr(files, "MAX_FILE_BYTES", 2**20)
    with pytest.raises(ImageError, match=r"^standard input is larger than 1 MB: give a smaller picture$"):
        decode_image(Endless())  # type: ignore[arg-type]
    assert Endless.taken == 2**20 + 1


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no /dev/zero on this system")
def test_endless_device_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 2**20)
    with pytest.raises(ImageError, match="/dev/zero is larger than 1 MB"):
        decode_image("/dev/zero")


def test_folder_in_place_of_an_image_raises(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as caught:
        decode_image(tmp_path)
    assert str(caught.value) == f"{tmp_path} is a folder: give a picture file"


def test_missing_file_raises(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"none\.png does not exist: check the spelling$"):
        decode_image(tmp_path / "none.png")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_unreadable_file_raises(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(b"")
    path.chmod(0)
    with pytest.raises(ImageError, match=r"^cannot read .*secret\.png: permission denied$"):
        decode_image(path)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="no procfs on this system")
def test_disk_error_while_reading_raises() -> None:
    with pytest.raises(ImageError, match=r"^cannot read /proc/self/mem: input/output error$"):
        decode_image("/proc/self/mem")


SOUND = {
    kind: encoded(Image.fromarray(np.random.default_rng(1).integers(0, 256, (9, 7, 3), np.uint8)), kind)
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
}


@settings(max_examples=500)
@given(st.binary(max_size=200), st.sampled_from([b"", *(data[:30] for data in SOUND.values())]))
def test_fuzz_random_bytes_are_refused_in_one_sentence(data: bytes, beginning: bytes) -> None:
    picture = decoded_or_refused(beginning + data)
    assert picture is None or picture.pixels.shape[2:] == (3,)


@given(
    st.sampled_from(sorted(SOUND)), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8)
)
def test_fuzz_changed_bytes_are_read_or_refused(kind: str, changes: list[tuple[float, int]]) -> None:
    data = bytearray(SOUND[kind])
    for place, value in changes:
        data[int(place * (len(data) - 1))] = value
    picture = decoded_or_refused(bytes(data))
    assert picture is None or picture.pixels.shape[2:] == (3,)


# Writing


@pytest.mark.parametrize(
    ("name", "kind", "tolerance"),
    [
        ("a.png", "PNG", 0),
        ("a.PNG", "PNG", 0),
        ("a.jpg", "JPEG", 4),
        ("a.jpeg", "JPEG", 4),
        ("a.webp", "WEBP", 4),
        ("a.avif", "AVIF", 4),
        ("a.tif", "TIFF", 0),
        ("a.tiff", "TIFF", 0),
    ],
)
def test_write_image_chooses_the_format_by_suffix(
    face_image: Pixels, tmp_path: Path, name: str, kind: str, tolerance: float
) -> None:
    write_image(tmp_path / name, face_image)
    with Image.open(tmp_path / name) as image:
        assert image.format == kind
    assert mean_difference(read_image(tmp_path / name), face_image) <= tolerance
    first = (tmp_path / name).read_bytes()
    write_image(str(tmp_path / name), face_image)
    assert (tmp_path / name).read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("kind", ["jpg", "webp"])
def test_encode_quality_trades_size_for_likeness(face_image: Pixels, kind: str) -> None:
    low, high = encode_image(face_image, kind, quality=30), encode_image(face_image, kind, quality=95)
    assert len(low) < 0.6 * len(high)
    assert mean_difference(decoded(low).pixels, face_image) > mean_difference(decoded(high).pixels, face_image)


def test_encode_jpeg_keeps_the_full_resolution_of_colour() -> None:
    stripes = np.zeros((16, 16, 3), np.uint8)
    stripes[:, ::2] = (255, 0, 0)
    stripes[:, 1::2] = (0, 0, 255)
    assert mean_difference(decoded(encode_image(stripes, "jpg")).pixels, stripes) < 8  # 48 with 4:2:0 subsampling


@pytest.mark.parametrize("name", ["a.gif", "a.txt", "a", "a.latent.safetensors"])
def test_write_image_unknown_suffix_raises(face_image: Pixels, tmp_path: Path, name: str) -> None:
    with pytest.raises(
        OutputError,
        match=re.escape(f"cannot write {tmp_path / name}: end its name in .png, .jpg, .webp, .avif or .tif"),
    ):
        write_image(tmp_path / name, face_image)
    assert list(tmp_path.iterdir()) == []


def test_encode_unknown_format_raises(face_image: Pixels) -> None:
    with pytest.raises(OutputError, match="cannot write the format 'gif': choose png, jpg, webp, avif or tif"):
        encode_image(face_image, "gif")


def test_encode_too_wide_for_the_format_raises(tmp_path: Path) -> None:
    wide = np.zeros((1, 70_000, 3), np.uint8)
    for kind in ("jpg", "webp"):
        with pytest.raises(OutputError, match=rf"cannot encode 70000 x 1 px as {kind} \(.*\): try png"):
            write_image(tmp_path / f"wide.{kind}", wide)
    write_image(tmp_path / "wide.png", wide)
    assert [path.name for path in tmp_path.iterdir()] == ["wide.png"]


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4), (1, 4, 4, 3)])
def test_encode_refuses_other_than_rgb(shape: tuple[int, ...]) -> None:
    with pytest.raises(TypeError, match=r"expected uint8 \(H, W, 3\)"):
        encode_image(np.zeros(shape, np.uint8), "png")


def test_write_image_to_a_full_disk_raises(face_image: Pixels, tmp_path: Path, full_device: Path) -> None:
    (tmp_path / "full.png").symlink_to(full_device)
    with pytest.raises(OutputError, match=r"full\.png: the disk is full, so free some space and run again$"):
        write_image(tmp_path / "full.png", face_image)
    assert full_device.is_char_device()


# Fitting


def test_fit_image_to_its_own_size_changes_nothing(face_image: Pixels) -> None:
    assert fit_image(face_image, face_image.shape[:2]) is face_image


@pytest.mark.parametrize(
    ("shape", "size", "kept"),
    [((32, 64), (16, 16), slice(16, 48)), ((32, 64), (8, 8), slice(16, 48)), ((32, 64), (32, 48), slice(8, 56))],
)
def test_fit_image_crops_the_centre(shape: tuple[int, int], size: tuple[int, int], kept: slice) -> None:
    pixels = np.zeros((*shape, 3), np.uint8)
    pixels[:, kept] = 200
    fitted = fit_image(pixels, size)
    assert fitted.shape == (*size, 3)
    assert np.abs(fitted[:, 2:-2].astype(int) - 200).max() <= 2
    turned = fit_image(pixels.swapaxes(0, 1), (size[1], size[0]))
    np.testing.assert_array_equal(turned, fitted.swapaxes(0, 1))


def test_fit_image_averages_when_it_shrinks() -> None:
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    fitted = fit_image(np.repeat(board.astype(np.uint8)[..., None], 3, axis=2), (16, 16))
    assert np.abs(fitted[2:-2, 2:-2].astype(int) - 127).max() <= 2


@given(st.tuples(*[st.integers(1, 40)] * 2), st.tuples(*[st.integers(1, 40)] * 2))
@example((2, 23), (1, 21))  # 21 times the scale 23 / 21 is a little more than 23
def test_fuzz_fit_image_any_size_to_any_size(shape: tuple[int, int], size: tuple[int, int]) -> None:
    fitted = fit_image(np.full((*shape, 3), 77, np.uint8), size)
    assert fitted.shape == (*size, 3)
    assert (fitted == 77).all()
