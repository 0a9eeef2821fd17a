"""An edited picture comes back as the kind of file it was, and what the edit left alone comes back bit by bit."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from stedit.errors import ImageError, OutputError
from stedit.imaging import heic
from stedit.imaging.edited import WriteOptions, encode_edited, output_suffix, write_edited
from stedit.imaging.files import DecodedImage, decode_image
from stedit.imaging.samples import Mask, Pixels

HEIGHT, WIDTH = 60, 80
needs_heic = pytest.mark.skipif(not heic.can_read(), reason="the extra heic is not installed")


def scene() -> Pixels:
    """Smooth colours, none of them grey, with some grain."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    colours = np.stack([40 + rows * 3, 220 - columns * 2, 60 + rows + columns], axis=2)
    grain = np.random.default_rng(0).normal(0, 4, colours.shape[:2])[..., None]
    return np.clip(colours + grain, 0, 255).astype(np.uint8)


def face() -> Mask:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[15:45, 20:50] = True
    return mask


def edit(image: DecodedImage) -> Pixels:
    """Lighter and redder in the face, and something else everywhere outside, which a mask must hide."""
    edited = 255 - image.pixels
    inside = image.pixels[face()].astype(int) + np.array([35, 10, -15])
    edited[face()] = np.clip(inside, 0, 255)
    return edited


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def decoded(data: bytes) -> DecodedImage:
    return decode_image(io.BytesIO(data), name="it")


def difference(a: Pixels, b: Pixels) -> float:
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


def in_mode(mode: str) -> Image.Image:
    image = Image.fromarray(scene())
    if mode in {"LA", "RGBA"}:
        alpha = np.full((HEIGHT, WIDTH), 255, np.uint8)
        alpha[:8], alpha[8:30] = 0, 160
        image = image.convert(mode)
        image.putalpha(Image.fromarray(alpha))
        return image
    return image.quantize(100) if mode == "P" else image.convert(mode)


def deep(channels: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]]:
    """16 bits a channel, with low bytes that matter: (H, W), (H, W, 3) or (H, W, 4)."""
    low = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 4), np.uint16)
    values = np.dstack([scene(), np.full((HEIGHT, WIDTH), 255, np.uint8)]).astype(np.uint16) * 256 + low
    return values[..., 0] if channels == 1 else values[..., :channels]


def deep_file(kind: str, channels: int) -> bytes:
    values = deep(channels)
    if channels > 2:
        values = values[..., [2, 1, 0, 3][:channels]]
    return cv2.imencode(f".{kind}", np.ascontiguousarray(values))[1].tobytes()


# Mode and depth


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
        ("WEBP", {"lossless": True, "exact": True}),
    ],
)
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_pixels_outside_the_mask_are_those_of_the_source(mode: str, kind: str, options: dict[str, object]) -> None:
    if (mode == "CMYK" and kind == "PNG") or (kind == "WEBP" and mode not in {"RGB", "RGBA"}):
        pytest.skip("there are no such files")
    data = encoded(in_mode(mode), kind, **options)
    image = decoded(data)
    result = encode_edited(image, edit(image), face())
    with Image.open(io.BytesIO(data)) as before, Image.open(io.BytesIO(result.data)) as after:
        assert (after.format, after.mode, after.size) == (before.format, before.mode, before.size)
        first, second = np.asarray(before), np.asarray(after)
    np.testing.assert_array_equal(second[~face()], first[~face()])
    assert mode == "1" or (second[face()] != first[face()]).any()
    if mode not in {"1", "P"}:
        assert result.notes == ()
        seen = decoded(result.data).pixels[face()]
        wanted = edit(image)[face()]
        if mode in {"L", "LA"}:
            wanted = np.asarray(Image.fromarray(wanted[None]).convert("L"))[0][:, None]
        assert np.abs(seen.astype(int) - wanted).max() <= 2
    else:
        assert result.notes == ("the edit is shown in the few colours that the file has",)


@pytest.mark.parametrize(
    ("kind", "channels"), [("png", 1), ("png", 3), ("png", 4), ("tiff", 1), ("tiff", 3), ("tiff", 4)]
)
def test_sixteen_bits_outside_the_mask_are_those_of_the_source(kind: str, channels: int) -> None:
    image = decoded(deep_file(kind, channels))
    assert image.notes == (("transparent: shown on white",) if image.alpha is not None else ())
    np.testing.assert_array_equal(image.source.samples.values, deep(channels))
    result = encode_edited(image, edit(image), face())
    assert result.notes == ()
    read_by_another = cv2.imdecode(np.frombuffer(result.data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert read_by_another.dtype == np.uint16
    values = read_by_another if channels == 1 else read_by_another[..., [2, 1, 0, 3][:channels]]
    np.testing.assert_array_equal(values[~face()], deep(channels)[~face()])
    # The view has changed as it was to, and the bits below it are those of the source.
    again = decoded(result.data)
    if channels == 3:
        np.testing.assert_array_equal(again.pixels[face()], edit(image)[face()])
        np.testing.assert_array_equal(values[face()] & 0xFF, deep(channels)[face()] & 0xFF)


def test_sixteen_bits_survive_a_turn() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    chunk = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    data = deep_file("png", 3)
    data = data[:33] + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]
    image = decoded(data)
    assert image.notes == ()
    np.testing.assert_array_equal(image.source.samples.values, np.rot90(deep(3), -1))


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_sixteen_bit_tiff_of_another_writer_is_kept(byteorder: str, compression: str | None) -> None:
    tifffile = pytest.importorskip("tifffile")
    file = io.BytesIO()
    tifffile.imwrite(file, deep(3), photometric="rgb", byteorder=byteorder, compression=compression)
    image = decoded(file.getvalue())
    np.testing.assert_array_equal(image.source.samples.values, deep(3))
    result = encode_edited(image, edit(image), face())
    np.testing.assert_array_equal(tifffile.imread(io.BytesIO(result.data))[~face()], deep(3)[~face()])


def in_planes(compression: str | None) -> bytes:
    tifffile = pytest.importorskip("tifffile")
    file, planes = io.BytesIO(), np.moveaxis(deep(3), 2, 0).copy()
    tifffile.imwrite(file, planes, photometric="rgb", planarconfig="separate", compression=compression)
    return file.getvalue()


def test_sixteen_bits_in_planes_are_refused() -> None:
    with pytest.raises(ImageError) as caught:
        decoded(in_planes(None))
    assert str(caught.value) == (
        "it holds 16-bit channels in separate planes: save it with interleaved ones, or as PNG"
    )


def test_sixteen_bits_that_only_pillow_can_read_give_a_note() -> None:
    image = decoded(in_planes("zlib"))
    assert image.notes == ("16 bits a channel: only 8 are read",)
    np.testing.assert_array_equal(image.pixels, deep(3) >> 8)


@pytest.mark.parametrize("bits", [2, 4])
def test_grey_of_few_bits_is_kept(bits: int) -> None:
    levels = np.asarray(Image.fromarray(scene()).convert("L")) >> (8 - bits)
    grey = Image.fromarray((levels * (255 // (2**bits - 1))).astype(np.uint8))
    image = decoded(encoded(grey, "PNG", bits=bits))
    result = encode_edited(image, edit(image), face())
    assert result.data[24] == bits
    with Image.open(io.BytesIO(result.data)) as after:
        np.testing.assert_array_equal(np.asarray(after)[~face()], np.asarray(grey)[~face()])
        step = 255 / (2**bits - 1)
        assert np.abs(np.asarray(after)[face()] - edit(image)[face()] @ (0.299, 0.587, 0.114)).max() <= step / 2 + 1


def test_palette_edit_takes_the_colours_that_are_free() -> None:
    """100 of 256 colours are used: the edit of 900 pixels gets the rest, and comes near; those in use stay."""
    image = decoded(encoded(in_mode("P"), "PNG"))
    result = encode_edited(image, edit(image), face())
    assert difference(decoded(result.data).pixels[face()], edit(image)[face()]) < 4
    before, after = image.source.samples.palette, decoded(result.data).source.samples.palette
    assert before is not None
    assert after is not None
    used = np.unique(image.source.samples.values)
    np.testing.assert_array_equal(after[used], before[used])


def test_palette_that_is_full_dithers_the_edit() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    image = decoded(encoded(Image.fromarray(noise).quantize(256), "PNG"))
    edited = image.pixels.copy()
    edited[face()] = (120, 100, 90)
    again = decoded(encode_edited(image, edited, face()).data)
    assert len(np.unique(image.source.samples.values)) == 256
    np.testing.assert_array_equal(again.pixels[~face()], image.pixels[~face()])
    assert np.abs(again.pixels[face()].mean(axis=0) - (120, 100, 90)).max() < 6


@pytest.mark.parametrize("transparency", [3, bytes(range(0, 200, 2))])
def test_palette_transparency_is_kept(transparency: int | bytes) -> None:
    data = encoded(in_mode("P"), "PNG", transparency=transparency)
    image = decoded(data)
    result = encode_edited(image, edit(image))
    with Image.open(io.BytesIO(data)) as before, Image.open(io.BytesIO(result.data)) as after:
        first, second = np.asarray(before.convert("RGBA")), np.asarray(after.convert("RGBA"))
    np.testing.assert_array_equal(second[..., 3], first[..., 3])
    np.testing.assert_array_equal(second[first[..., 3] < 255], first[first[..., 3] < 255])


def test_transparent_pixels_are_not_edited() -> None:
    image = decoded(encoded(in_mode("RGBA"), "PNG"))
    samples = image.source.samples.values
    again = decoded(encode_edited(image, 255 - image.pixels).data).source.samples.values
    clear = samples[..., 3] == 0
    np.testing.assert_array_equal(again[clear], samples[clear])
    np.testing.assert_array_equal(again[..., 3], samples[..., 3])
    assert (again[~clear] != samples[~clear]).any(axis=1).all()


@pytest.mark.parametrize(("mode", "key"), [("RGB", (200, 100, 50)), ("L", 77)])
def test_transparent_colour_is_no_colour_of_the_edit(mode: str, key: int | tuple[int, ...]) -> None:
    picture = in_mode(mode)
    picture.paste(key, (0, 0, 10, 10))
    image = decoded(encoded(picture, "PNG", transparency=key))
    edited = image.pixels.copy()
    edited[face()] = key
    again = decoded(encode_edited(image, edited, face()).data)
    assert image.alpha is not None
    assert again.alpha is not None
    np.testing.assert_array_equal(again.alpha, image.alpha)
    assert np.abs(again.pixels[face()].astype(int) - key).max() <= 1


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=50)
def test_fuzz_any_mask_and_edit_of_rgb_is_written_exactly(seed: int) -> None:
    random = np.random.default_rng(seed)
    before, after = random.integers(0, 256, (2, 9, 7, 3), np.uint8)
    mask = random.integers(0, 2, (9, 7)).astype(bool)
    image = decoded(encoded(Image.fromarray(before), "PNG"))
    again = decoded(encode_edited(image, after, mask).data)
    np.testing.assert_array_equal(again.pixels, np.where(mask[..., None], after, before))


# Colour


def wide_profile(space: bytes = b"RGB ") -> bytes:
    """An ICC profile of Display P3's primaries, D50-adapted, as phones use, with a gamma of 1.8."""

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in values))

    curve = b"curv" + struct.pack(">IIH", 0, 1, round(1.8 * 256)) + b"\0\0"
    tags = {b"desc": b"desc" + struct.pack(">II", 0, 5) + b"wide\0" + bytes(78 + 3), b"wtpt": xyz(0.9642, 1.0, 0.8249)}
    tags[b"cprt"] = b"text\0\0\0\0none\0\0\0\0"
    if space == b"GRAY":
        tags[b"kTRC"] = curve
    else:
        tags |= {b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
        tags |= {b"rXYZ": xyz(0.5151, 0.2412, -0.0011), b"gXYZ": xyz(0.2920, 0.6922, 0.0419)}
        tags |= {b"bXYZ": xyz(0.1571, 0.0666, 0.7841)}
    table, body, start = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I4sI4s4s4s12s4s", start + len(body), b"", 0x02100000, b"mntr", space, b"XYZ ", b"", b"acsp")
    head = head.ljust(68, b"\0") + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + table + body


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})])
def test_icc_wide_profile_stays_and_the_edit_is_converted_into_it(kind: str, options: dict[str, object]) -> None:
    data = encoded(in_mode("RGB"), kind, icc_profile=wide_profile(), **options)
    image = decoded(data)
    assert difference(image.pixels, scene()) > 3  # it does turn colours
    result = encode_edited(image, edit(image), face())
    again = decoded(result.data)
    assert again.source.metadata.icc_profile == wide_profile()
    np.testing.assert_array_equal(again.source.samples.values[~face()], scene()[~face()])
    assert difference(again.pixels[face()], edit(image)[face()]) < 0.8


def test_icc_profile_of_sixteen_bits_is_kept() -> None:
    chunk = b"iCCP" + b"wide\0\0" + zlib.compress(wide_profile())
    data = deep_file("png", 3)
    data = data[:33] + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]
    image = decoded(data)
    again = decoded(encode_edited(image, edit(image), face()).data)
    np.testing.assert_array_equal(again.source.samples.values[~face()], deep(3)[~face()])
    assert difference(again.pixels[face()], edit(image)[face()]) < 1


def test_icc_colours_beyond_srgb_survive_a_small_change() -> None:
    """P3's pure green lies outside sRGB. Made a little darker it stays outside; made grey it is grey."""
    wide = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    wide[...] = (10, 250, 20)
    image = decoded(encoded(Image.fromarray(wide), "PNG", icc_profile=wide_profile()))
    assert image.pixels[0, 0].min() == 0  # clipped
    darker = image.pixels.copy()
    darker[..., 1] -= 5
    samples = decoded(encode_edited(image, darker).data).source.samples.values[0, 0].astype(int)
    assert samples[1] - samples[0] > 220
    grey = np.full_like(image.pixels, 128)
    again = decoded(encode_edited(image, grey).data)
    assert np.abs(again.pixels.astype(int) - 128).max() <= 1


@pytest.mark.parametrize(("space", "mode"), [(b"GRAY", "L"), (b"RGB ", "L"), (b"GRAY", "LA"), (b"RGB ", "RGBA")])
def test_icc_profiles_of_other_modes_are_kept(space: bytes, mode: str) -> None:
    image = decoded(encoded(in_mode(mode), "PNG", icc_profile=wide_profile(space)))
    assert not any("profile" in note for note in image.notes)
    shade = image.pixels.copy()
    shade[face()] = np.clip(shade[face()].astype(int) - 30, 0, 255)
    again = decoded(encode_edited(image, shade, face()).data)
    assert again.source.metadata.icc_profile == wide_profile(space)
    np.testing.assert_array_equal(again.source.samples.values[~face()], image.source.samples.values[~face()])
    assert difference(again.pixels[face()], shade[face()]) < 4  # under transparency, changes are multiplied


def test_icc_unusable_profile_is_written_back_unchanged() -> None:
    image = decoded(encoded(in_mode("RGB"), "PNG", icc_profile=wide_profile()[:150]))
    again = decoded(encode_edited(image, edit(image), face()).data)
    assert again.source.metadata.icc_profile == wide_profile()[:150]
    np.testing.assert_array_equal(again.pixels[face()], edit(image)[face()])


def lab_of_srgb(rgb: np.ndarray) -> np.ndarray:
    """(..., 3) in 0..1 -> CIE Lab of D50, as ICC.1:2001-04 puts it into 8 bits."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4361, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]])
    share = linear @ to_xyz.T / (0.9642, 1.0, 0.8249)
    f = np.where(share > 0.008856, np.cbrt(share), 7.787 * share + 16 / 116)
    lightness, a, b = 116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])
    return np.stack([lightness * 2.55, a + 128, b + 128], axis=-1)


def srgb_of_lab(lab: np.ndarray) -> np.ndarray:
    """The inverse, clipped to 0..1."""
    y = (lab[..., 0] / 2.55 + 16) / 116
    f = np.stack([y + (lab[..., 1] - 128) / 500, y, y - (lab[..., 2] - 128) / 200], axis=-1)
    xyz = np.where(f > 6 / 29, f**3, (f - 16 / 116) / 7.787) * (0.9642, 1.0, 0.8249)
    to_xyz = np.array([[0.4361, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]])
    linear = np.clip(xyz @ np.linalg.inv(to_xyz).T, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def cmyk_profile() -> bytes:
    """A press whose inks are the complements of sRGB, and that prints half of all grey in black (lut8Type)."""

    def table(inputs: int, outputs: int, grid: int, values: np.ndarray) -> bytes:
        matrix = struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
        head = b"mft1\0\0\0\0" + bytes([inputs, outputs, grid, 0]) + matrix
        lut = np.clip(np.round(values), 0, 255).astype(np.uint8).tobytes()
        return head + bytes(range(256)) * inputs + lut + bytes(range(256)) * outputs

    inks = np.stack(np.meshgrid(*[np.linspace(0, 1, 9)] * 4, indexing="ij"), axis=-1)
    lab = np.stack(np.meshgrid(*[np.linspace(0, 255, 25)] * 3, indexing="ij"), axis=-1)
    rgb = srgb_of_lab(lab)
    black = (1 - rgb.max(axis=-1, keepdims=True)) / 2
    separated = np.concatenate([1 - rgb / np.maximum(1 - black, 1e-6), black], axis=-1) * 255
    tags = {
        b"desc": b"desc" + struct.pack(">II", 0, 6) + b"press\0" + bytes(78 + 2),
        b"wtpt": b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061),
        b"cprt": b"text\0\0\0\0none\0\0\0\0",
        b"A2B0": table(4, 3, 9, lab_of_srgb((1 - inks[..., :3]) * (1 - inks[..., 3:]))),
        b"B2A0": table(3, 4, 25, separated),
    }
    listing, body, start = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        listing += name + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I4sI4s4s4s12s4s", start + len(body), b"", 0x02100000, b"prtr", b"CMYK", b"Lab ", b"", b"acsp")
    head = head.ljust(68, b"\0") + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + listing + body


def test_cmyk_with_a_profile_is_converted_back() -> None:
    profile = cmyk_profile()
    image = decoded(encoded(in_mode("CMYK"), "TIFF", icc_profile=profile))
    assert image.notes == ()
    assert difference(image.pixels, scene()) < 4  # the profile is what the plain complement is, but for its grid
    again = decoded(encode_edited(image, edit(image), face()).data)
    assert again.source.metadata.icc_profile == profile
    np.testing.assert_array_equal(again.source.samples.values[~face()], image.source.samples.values[~face()])
    assert difference(again.pixels[face()], edit(image)[face()]) < 4


def test_cmyk_black_ink_stays_where_the_edit_leaves_it_dark() -> None:
    inks = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    inks[..., 3] = 180
    file = io.BytesIO()
    Image.fromarray(inks, "CMYK").save(file, "TIFF")
    image = decoded(file.getvalue())
    assert image.pixels[0, 0].tolist() == [75, 75, 75]
    for wanted, black in (((60, 40, 30), 180), ((150, 120, 90), 105)):
        edited = np.full_like(image.pixels, wanted)
        again = decoded(encode_edited(image, edited).data)
        assert np.abs(again.pixels.astype(int) - wanted).max() <= 1
        assert again.source.samples.values[0, 0, 3] == black


def test_cmyk_jpeg_stays_cmyk() -> None:
    data = encoded(in_mode("CMYK"), "JPEG", quality=92)
    image = decoded(data)
    result = encode_edited(image, edit(image), face())
    with Image.open(io.BytesIO(result.data)) as after:
        assert after.mode == "CMYK"
    again = decoded(result.data)
    assert difference(again.pixels[~face()], image.pixels[~face()]) < 1
    assert difference(again.pixels[face()], edit(image)[face()]) < 4


# Formats


@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {"quality": 92}), ("WEBP", {"quality": 90}), ("AVIF", {"quality": 90})]
)
def test_lossy_formats_encode_what_was_decoded(kind: str, options: dict[str, object]) -> None:
    image = decoded(encoded(in_mode("RGB"), kind, **options))
    result = encode_edited(image, edit(image), face())
    again = decoded(result.data)
    assert again.source.format == kind
    assert difference(again.pixels[~face()], image.pixels[~face()]) < 3
    assert difference(again.pixels[face()], edit(image)[face()]) < 4


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_avif_keeps_its_subsampling(subsampling: str) -> None:
    image = decoded(encoded(in_mode("RGB"), "AVIF", quality=90, subsampling=subsampling))
    again = decoded(encode_edited(image, edit(image), face()).data)
    assert image.source.settings == again.source.settings == {"subsampling": subsampling}


@pytest.mark.parametrize("kind", ["GIF", "BMP", "PPM"])
def test_unwritable_format_becomes_png_with_a_note(kind: str) -> None:
    image = decoded(encoded(in_mode("RGB"), kind))
    result = encode_edited(image, edit(image), face())
    assert result.suffix == ".png"
    assert result.notes[0] == f"{kind} is not written: it is PNG now"
    np.testing.assert_array_equal(decoded(result.data).pixels[~face()], image.pixels[~face()])


@pytest.mark.parametrize(
    ("mode", "suffix", "note"),
    [
        ("RGBA", ".jpg", "transparent places are written on white: JPEG holds no transparency"),
        ("LA", ".jpg", "transparent places are written on white: JPEG holds no transparency"),
        ("P", ".jpg", "its palette is left out: JPEG holds none"),
        ("P", ".webp", "its palette is left out: WebP holds none"),
        ("CMYK", ".png", "CMYK is written as sRGB: PNG holds none"),
        ("CMYK", ".webp", "CMYK is written as sRGB: WebP holds none"),
        ("CMYK", ".avif", "CMYK is written as sRGB: AVIF holds none"),
        ("L", ".webp", None),
        ("1", ".jpg", None),
        ("LA", ".webp", None),
        ("RGB", ".jpeg", None),
        ("RGBA", ".tif", None),
    ],
)
def test_conversion_to_another_format_keeps_what_it_can(mode: str, suffix: str, note: str | None) -> None:
    image = decoded(encoded(in_mode(mode), "TIFF"))
    result = encode_edited(image, edit(image), face(), WriteOptions(suffix=suffix))
    notes = [note for note in result.notes if "few colours" not in note]
    assert notes == ([note] if note else [])
    assert difference(decoded(result.data).pixels[~face()], image.pixels[~face()]) < 3


@pytest.mark.parametrize(
    ("kind", "channels", "suffix"), [("png", 3, ".jpg"), ("png", 1, ".webp"), ("tiff", 4, ".avif")]
)
def test_sixteen_bits_become_eight_with_a_note(kind: str, channels: int, suffix: str) -> None:
    image = decoded(deep_file(kind, channels))
    result = encode_edited(image, image.pixels, options=WriteOptions(suffix=suffix))
    assert "16 bits a channel are written as 8" in result.notes[0]
    assert difference(decoded(result.data).pixels, image.pixels) < 3


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(("kind", "suffix"), [("png", ".tiff"), ("tiff", ".png")])
def test_sixteen_bits_go_from_png_to_tiff_and_back(kind: str, suffix: str, channels: int) -> None:
    image = decoded(deep_file(kind, channels))
    result = encode_edited(image, image.pixels, options=WriteOptions(suffix=suffix))
    np.testing.assert_array_equal(decoded(result.data).source.samples.values, deep(channels))


def test_same_edit_gives_the_same_bytes() -> None:
    for data in (encoded(in_mode("RGB"), "JPEG"), encoded(in_mode("P"), "PNG"), deep_file("tiff", 3)):
        results = {encode_edited(decoded(data), edit(decoded(data)), face()).data for _ in range(2)}
        assert len(results) == 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (".jpg", ".jpg"),
        (".JPG", ".jpg"),
        (".jpeg", ".jpeg"),
        (".jfif", ".jpg"),
        (".png", ".png"),
        (".webp", ".webp"),
        (".tif", ".tif"),
        (".avif", ".avif"),
        (".gif", ".png"),
        (".bmp", ".png"),
        (".ppm", ".png"),
        (".heic", ".heic" if heic.can_write() else ".jpg"),
        ("", ".png"),
    ],
)
def test_output_suffix(name: str, expected: str) -> None:
    assert output_suffix(name) == expected


def test_write_edited(tmp_path: Path) -> None:
    (tmp_path / "in.png").write_bytes(deep_file("png", 3))
    image = decode_image(tmp_path / "in.png")
    assert write_edited(tmp_path / "out.png", image, edit(image), face()) == ()
    assert write_edited(str(tmp_path / "out.jpg"), image, edit(image), face()) != ()
    with Image.open(tmp_path / "out.jpg") as written:
        assert written.format == "JPEG"
    with pytest.raises(OutputError, match=r"cannot write .*out\.gif: end its name in one of \.png, \.jpg"):
        write_edited(tmp_path / "out.gif", image, edit(image))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.png", "out.jpg", "out.png"]


def test_arguments_of_other_shapes_raise() -> None:
    image = decoded(encoded(in_mode("RGB"), "PNG"))
    with pytest.raises(TypeError, match="expected uint8"):
        encode_edited(image, image.pixels[1:])
    with pytest.raises(TypeError, match="expected uint8"):
        encode_edited(image, image.pixels.astype(np.float32))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="expected a mask bool"):
        encode_edited(image, image.pixels, face().astype(np.uint8))  # type: ignore[arg-type]
    with pytest.raises(OutputError, match=r"cannot write the format '\.gif'"):
        encode_edited(image, image.pixels, options=WriteOptions(suffix=".gif"))


def test_image_too_wide_for_the_format_raises() -> None:
    image = decoded(encoded(Image.new("RGB", (17_000, 2)), "PNG"))
    with pytest.raises(OutputError, match=r"^cannot encode 17000 x 2 px as webp \(.*\): try png$"):
        encode_edited(image, image.pixels, options=WriteOptions(suffix=".webp"))


# HEIC


def heic_file(**options: object) -> bytes:
    heic.register()
    return encoded(in_mode("RGB"), "HEIF", quality=90, **options)


@needs_heic
@pytest.mark.skipif(not heic.can_write(), reason="no HEIC encoder here")
@pytest.mark.parametrize("chroma", [420, 444])
def test_heic_comes_back_as_heic(chroma: int) -> None:
    image = decoded(heic_file(chroma=chroma, icc_profile=wide_profile()))
    assert image.source.format == "HEIF"
    result = encode_edited(image, edit(image), face())
    again = decoded(result.data)
    assert (result.suffix, result.notes) == (".heic", ())
    assert again.source.settings == {"chroma": chroma}
    assert again.source.metadata.icc_profile == wide_profile()
    assert difference(again.pixels[~face()], image.pixels[~face()]) < 3
    assert difference(again.pixels[face()], edit(image)[face()]) < 4


@needs_heic
@pytest.mark.skipif(not heic.can_write(), reason="no HEIC encoder here")
def test_heic_becomes_jpeg_where_there_is_no_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    image = decoded(heic_file())
    monkeypatch.setattr(heic, "can_write", lambda: False)
    result = encode_edited(image, edit(image), face())
    assert (result.suffix, result.notes) == (".jpg", ("HEIC is not written: it is JPEG now",))
    assert difference(decoded(result.data).pixels[~face()], image.pixels[~face()]) < 3


def test_heic_without_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heic, "can_read", lambda: False)
    data = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
    with pytest.raises(ImageError) as caught:
        decoded(data)
    assert str(caught.value) == (
        "it is a HEIC photograph: install `pip install 'stedit[heic]'`, or convert it to JPEG or PNG first"
    )


@needs_heic
@pytest.mark.skipif(not heic.can_write(), reason="no HEIC encoder here")
def test_heic_truncated_is_refused() -> None:
    data = heic_file()
    for kept in (30, 200, len(data) // 2, len(data) - 50):
        with pytest.raises(ImageError, match=r"is damaged|is not a picture"):
            decoded(data[:kept])


# Memory


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not tell a process its peak")
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_photograph_of_24_megapixels_takes_less_than_a_gigabyte(tmp_path: Path, kind: str) -> None:
    """In a process of its own, imports included: decoding, an edit of the whole picture, and encoding."""
    small = Image.fromarray(scene()).resize((6000, 4000), Image.Resampling.BILINEAR)
    small.save(tmp_path / "photograph", kind, quality=90, compress_level=1)
    program = (
        "import re, sys\n"
        "from pathlib import Path\n"
        "from stedit.imaging.files import decode_image\n"
        "from stedit.imaging.edited import encode_edited\n"
        "image = decode_image(sys.argv[1])\n"
        "encode_edited(image, image.pixels // 2)\n"
        "print(re.search(r'VmHWM:\\s+([0-9]+) kB', Path('/proc/self/status').read_text())[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "photograph"], check=True, capture_output=True, text=True
    )
    assert int(done.stdout) < 2**20  # kB; what getrusage says is at least the memory of the process that started it
