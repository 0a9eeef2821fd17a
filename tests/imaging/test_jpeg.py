"""A JPEG is written again in the quality it had, and one that lacks no more than its end marker is read."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from stedit.errors import ImageError
from stedit.imaging import jpeg
from stedit.imaging.edited import WriteOptions, encode_edited
from stedit.imaging.files import DecodedImage, decode_image
from stedit.imaging.samples import Pixels


def encoded(pixels: Pixels, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **options)
    return file.getvalue()


def decoded(data: bytes) -> DecodedImage:
    return decode_image(io.BytesIO(data), name="it")


def opened(data: bytes) -> JpegImagePlugin.JpegImageFile:
    image = Image.open(io.BytesIO(data))
    assert isinstance(image, JpegImagePlugin.JpegImageFile)
    return image


@pytest.fixture(scope="module")
def scene() -> Pixels:
    """Smooth colours and some grain, 120 x 90 px."""
    rows, columns = np.mgrid[:90, :120]
    colours = np.stack([rows * 2, columns * 2, 255 - rows - columns], axis=2)
    grain = np.random.default_rng(0).normal(0, 6, colours.shape[:2])[..., None]
    return np.clip(colours + grain, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("quality", [1, 10, 30, 49, 50, 60, 75, 85, 92, 95, 98, 100])
def test_estimated_quality_is_that_of_libjpeg(scene: Pixels, quality: int) -> None:
    assert abs(jpeg.estimated_quality(opened(encoded(scene, quality=quality)).quantization) - quality) <= 2


@pytest.mark.parametrize("preset", ["web_very_high", "high", "maximum"])
def test_estimated_quality_of_foreign_tables_orders_them(scene: Pixels, preset: str) -> None:
    """Photoshop's tables are no multiple of the standard's: the estimate must still write about as many bytes."""
    data = encoded(scene, quality=preset)
    again = encoded(scene, quality=jpeg.estimated_quality(opened(data).quantization), subsampling=0)
    assert 0.6 < len(again) / len(encoded(scene, quality=preset, subsampling=0)) < 1.6


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("options", [{"quality": 71}, {"quality": 93}, {"quality": "web_high"}])
@pytest.mark.parametrize("progressive", [False, True])
def test_edited_jpeg_has_the_tables_and_subsampling_of_its_source(
    scene: Pixels, subsampling: str, options: dict[str, object], progressive: bool
) -> None:
    data = encoded(scene, subsampling=subsampling, progressive=progressive, **options)
    image = decoded(data)
    edited = image.pixels.copy()
    edited[20:40, 30:60] = 255 - edited[20:40, 30:60]
    result = encode_edited(image, edited)
    assert result.notes == ()
    before, after = opened(data), opened(result.data)
    assert after.quantization == before.quantization
    assert JpegImagePlugin.get_sampling(after) == JpegImagePlugin.get_sampling(before)
    assert after.info.get("progressive") == before.info.get("progressive")
    assert 0.8 < len(result.data) / len(data) < 1.6


def test_unedited_jpeg_hardly_loses_anything(scene: Pixels) -> None:
    """The same tables on the same blocks quantise to the same numbers, but for rounding."""
    image = decoded(encoded(scene, quality=80, subsampling=0))
    again = decoded(encode_edited(image, image.pixels).data)
    assert np.abs(again.pixels.astype(int) - image.pixels).mean() < 0.5
    other = decoded(encode_edited(image, image.pixels, options=WriteOptions(quality=70)).data)
    assert np.abs(other.pixels.astype(int) - image.pixels).mean() > 1


def test_quality_option_overrides_that_of_the_source(scene: Pixels) -> None:
    image = decoded(encoded(scene, quality=95, subsampling=2))
    low = encode_edited(image, image.pixels, options=WriteOptions(quality=40))
    assert abs(jpeg.estimated_quality(opened(low.data).quantization) - 40) <= 2
    assert JpegImagePlugin.get_sampling(opened(low.data)) == 2


def test_jpeg_that_stores_rgb_stays_rgb(scene: Pixels) -> None:
    image = decoded(encoded(scene, quality=90, keep_rgb=True))
    again = opened(encode_edited(image, image.pixels).data)
    assert again.info.get("adobe_transform") == 0
    assert np.abs(np.asarray(again).astype(int) - image.pixels).mean() < 1


def test_odd_subsampling_is_refined_with_a_note(scene: Pixels) -> None:
    data = encoded(scene, quality=90, subsampling=1)
    frame = data.index(b"\xff\xc0")
    tall = data[: frame + 11] + b"\x12" + data[frame + 12 :]  # 4:4:0 is 4:2:2 on its side; the scan fits no more
    subsampling, own = jpeg.subsampling_of(opened(tall))
    assert (subsampling, own) == (0, False)
    assert jpeg.encoder_options(opened(tall))["resampled"]


# The end marker


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 2}, {"restart_marker_blocks": 4}])
@pytest.mark.parametrize("behind", [b"", b"\0" * 1000])
def test_jpeg_without_its_end_marker_is_read_with_a_note(
    scene: Pixels, options: dict[str, object], behind: bytes
) -> None:
    whole = encoded(scene, quality=90, **options)
    image = decoded(whole[:-2] + behind)
    np.testing.assert_array_equal(image.pixels, decoded(whole).pixels)
    assert image.notes == ("its end marker was missing: nothing else is",)


@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_that_lacks_more_than_its_end_marker_is_refused(scene: Pixels, progressive: bool) -> None:
    """Wherever it is cut. Close to the end a byte may hold padding alone: the picture is whole then, and is read."""
    whole = encoded(scene, quality=90, progressive=progressive)
    expected = decoded(whole).pixels
    refused = 0
    for kept in [*range(len(whole) - 40, len(whole) - 2), *range(700, len(whole) - 40, 97)]:
        try:
            image = decoded(whole[:kept])
        except ImageError:
            refused += 1
        else:
            assert kept > len(whole) - 8
            np.testing.assert_array_equal(image.pixels, expected)
    assert refused > 40


def test_progressive_jpeg_that_ends_between_two_scans_is_refused(scene: Pixels) -> None:
    whole = encoded(scene, quality=90, progressive=True)
    for kept in (whole.rindex(b"\xff\xda"), whole.rindex(b"\xff\xc4")):
        with pytest.raises(ImageError, match="is damaged or incomplete"):
            decoded(whole[:kept])


def test_jpeg_structure_is_read(scene: Pixels) -> None:
    baseline = jpeg.structure_of(encoded(scene), junk=0)
    assert baseline is not None
    assert (baseline.scans, baseline.complete, baseline.ended) == (1, True, True)
    progressive = encoded(scene, progressive=True)
    found = jpeg.structure_of(progressive, junk=0)
    assert found is not None
    assert (found.scans, found.complete, found.ended) == (10, True, True)
    cut = jpeg.structure_of(progressive[: progressive.rindex(b"\xff\xda")], junk=0)
    assert cut is not None
    assert (cut.scans, cut.complete, cut.ended) == (9, False, False)
    assert jpeg.structure_of(b"\xff\xd8\xff\xe0\0\4ab", junk=0) is None
