from __future__ import annotations

import cv2
import numpy as np
import pytest

from stedit.photo.compositing import composite
from stedit.photo.fields import ellipse
from stedit.photo.transfer import FINE, Change

TILTED = np.array([[210.0, 120.0], [150.0, 340.0], [370.0, 400.0], [430.0, 180.0]])


def change(*, factor=1.0, motion=(0.0, 0.0), matter=None, radius=0.3, side=256, grain=0.0):
    """A change of the disc in the middle of the crop."""
    near = np.clip((1.2 - ellipse(FINE, 0.5, 0.5, radius, radius)) / 0.2, 0, 1).astype(np.float32)
    field = np.zeros((FINE, FINE, 4), np.float32)
    field[..., 0] = np.log(factor)
    return Change(
        motion=np.broadcast_to(np.float32(motion), (FINE, FINE, 2)).copy(),
        appearance=field,
        matter=np.full((FINE, FINE, 3), matter or 0, np.float32),
        opacity=np.full((FINE, FINE), matter is not None, np.float32),
        mask=near,
        grain=(grain * np.random.default_rng(0).standard_normal((32, 32))).astype(np.float32),
        side=side,
    )


def scene(height=480, width=560, kind=np.uint8):
    noise = np.random.default_rng(3).random((height // 4, width // 4, 3))
    picture = 0.2 + 0.5 * cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.rint(np.clip(picture, 0, 1) * np.iinfo(kind).max).astype(kind)


def radius_of(quad, shape):
    """How far pixels lie from the middle of the crop, (H, W), in its sides."""
    matrix = np.stack([quad[3] - quad[0], quad[1] - quad[0]], axis=1)
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    place = (np.stack([columns, rows], axis=2) - quad[0]) @ np.linalg.inv(matrix).T - 0.5
    return np.hypot(place[..., 0], place[..., 1])


def test_composite_keeps_every_pixel_outside_the_mask():
    photo = scene()
    result = composite(photo, change(factor=0.5), TILTED)
    radius = radius_of(TILTED, photo.shape)
    np.testing.assert_array_equal(result[radius > 0.37], photo[radius > 0.37])
    inside = radius < 0.28
    ratio = result[inside].astype(float) / photo[inside]
    assert abs(ratio.mean() - 0.5) < 0.01


def test_composite_empty_mask_gives_equal_bytes_in_a_new_array():
    photo, nothing = scene(), change()
    nothing.mask[:] = 0
    result = composite(photo, nothing, TILTED)
    assert result is not photo
    np.testing.assert_array_equal(result, photo)


def test_composite_change_of_nothing_changes_nothing():
    photo = scene()
    np.testing.assert_array_equal(composite(photo, change(), TILTED), photo)


def test_composite_motion_is_in_sides_of_the_tilted_crop():
    photo = scene()
    right = (TILTED[3] - TILTED[0]) * 0.05  # a twentieth of the crop's width, in the photograph
    result = composite(photo, change(motion=(0.05, 0.0)), TILTED)
    rows, columns = np.mgrid[: photo.shape[0], : photo.shape[1]].astype(np.float32)
    shifted = cv2.remap(photo, columns + np.float32(right[0]), rows + np.float32(right[1]), cv2.INTER_CUBIC)
    inside = radius_of(TILTED, photo.shape) < 0.28
    assert np.abs(result[inside].astype(int) - shifted[inside]).max() <= 1


def test_composite_new_matter_replaces_and_has_grain():
    photo = scene()
    inside = radius_of(TILTED, photo.shape) < 0.28
    plain = composite(photo, change(matter=0.6), TILTED)[inside]
    assert np.abs(plain.astype(int) - 153).max() <= 1
    grainy = composite(photo, change(matter=0.6, grain=0.05), TILTED)[inside]
    assert grainy.mean() == pytest.approx(153, abs=2)
    assert 5 < grainy.std() < 14


@pytest.mark.parametrize("shift", [(-260.0, -150.0), (260.0, 150.0), (900.0, 0.0)])
def test_composite_face_that_reaches_over_the_border(shift):
    photo, quad = scene(), TILTED + np.array(shift)
    result = composite(photo, change(factor=0.5), quad)
    radius = radius_of(quad, photo.shape)
    np.testing.assert_array_equal(result[radius > 0.37], photo[radius > 0.37])
    if (radius < 0.28).any():
        assert (result[radius < 0.28].astype(float) / photo[radius < 0.28]).mean() == pytest.approx(0.5, abs=0.02)


def test_composite_keeps_sixteen_bits():
    photo = scene(kind=np.uint16)
    result = composite(photo, change(factor=0.5), TILTED)
    inside = radius_of(TILTED, photo.shape) < 0.28
    assert result.dtype == np.uint16
    assert (result[inside] / photo[inside].astype(float)).mean() == pytest.approx(0.5, abs=0.001)
    assert len(np.unique(result[inside])) > 5000


def test_composite_face_of_a_few_pixels():
    photo = scene()
    small = np.array([[100.0, 100.0], [100.0, 130.0], [130.0, 130.0], [130.0, 100.0]])
    result = composite(photo, change(factor=0.5), small)
    assert (result[112:118, 112:118].astype(float) / photo[112:118, 112:118]).mean() == pytest.approx(0.5, abs=0.02)
    assert (result != photo).any(axis=2).sum() < 30 * 30


def test_composite_seam_is_no_edge():
    """Steps across the mask's border are as in the source, though the middle becomes a fifth darker."""
    photo = np.rint(scene().astype(float) * 0.2 + 120).astype(np.uint8)
    result = composite(photo, change(factor=0.8), TILTED)
    radius = radius_of(TILTED, photo.shape)
    border = (radius > 0.35) & (radius < 0.37)

    def steps(picture):
        luma = picture.astype(float) @ (0.299, 0.587, 0.114)
        return np.hypot(*np.gradient(luma))[border]

    assert np.quantile(steps(result), 0.95) < 1.1 * np.quantile(steps(photo), 0.95) + 0.5
