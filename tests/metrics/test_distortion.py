"""Distortion: numbers that can be worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stedit.imaging.files import Pixels
from stedit.metrics import distortion


def plain(*shades: int, size: int = 128) -> Pixels:
    return np.stack([np.full((size, size, 3), shade, np.uint8) for shade in shades])


def test_l2_and_psnr_of_known_differences() -> None:
    black, grey = plain(0, 0, 7), plain(51, 255, 7)  # 0.2, 1 and 0 apart
    np.testing.assert_allclose(distortion.l2(black, grey), [0.04, 1, 0], atol=1e-12)
    np.testing.assert_allclose(distortion.psnr(black, grey), [-10 * math.log10(0.04), 0, distortion.MAX_PSNR])
    half = black.copy()
    half[0, :64] = 51  # in half of the picture
    assert distortion.psnr(black, half)[0] == pytest.approx(-10 * math.log10(0.02))


def test_ssim_of_plain_images_is_that_of_their_brightness() -> None:
    """Without variance SSIM is (2ab + c) / (a^2 + b^2 + c) with c = 0.01^2, and MS-SSIM is that of the last scale."""
    pytest.importorskip("torchmetrics")
    a, b, c = 0.2, 0.6, 1e-4
    expected = (2 * a * b + c) / (a * a + b * b + c)
    pictures, others = plain(51, 51), plain(153, 51)
    np.testing.assert_allclose(distortion.ssim(pictures, others), [expected, 1], atol=2e-4)  # in float32
    weight = 0.2363 / (0.0448 + 0.2856 + 0.3001 + 0.2363)  # of the fourth of four scales
    np.testing.assert_allclose(distortion.ms_ssim(pictures, others), [expected**weight, 1], atol=2e-4)


def test_ssim_falls_with_noise_and_is_one_for_the_same_image(face_image: Pixels) -> None:
    pytest.importorskip("torchmetrics")
    noise = np.random.default_rng(0).normal(size=face_image.shape)
    pictures = np.stack([face_image] * 3)
    others = np.stack([np.clip(face_image + amount * noise, 0, 255) for amount in (0, 10, 40)]).astype(np.uint8)
    for measure in (distortion.ssim, distortion.ms_ssim):
        same, little, much = measure(pictures, others)
        assert same == pytest.approx(1, abs=1e-4)
        assert 0.99 > little > much > 0
        assert measure(pictures[1:2], others[1:2])[0] == pytest.approx(little, abs=1e-4)  # alone or in a batch


@pytest.mark.parametrize(
    ("size", "scales"),
    [(8, 1), (21, 1), (22, 2), (43, 2), (44, 3), (98, 3), (99, 4), (128, 4), (175, 4), (176, 5), (1024, 5)],
)
def test_scales_that_a_size_allows(size: int, scales: int) -> None:
    assert distortion.scales_of(size, size + 50) == scales
    if size < 200:
        pytest.importorskip("torchmetrics")
        assert distortion.ms_ssim(plain(51, size=size), plain(51, size=size))[0] == pytest.approx(1)
