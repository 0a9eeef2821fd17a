"""FFHQ's square around a face: its geometry, the crop, the way back, and what lies beyond the photograph."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stedit.imaging.files import Pixels
from stedit.photo.alignment import Quad, five_points, transform

SHARED = Path(__file__).parents[3] / "shared"
POINTS = np.array([[40, 50], [60, 50], [50, 60], [42, 70], [58, 70]], float)


def noise(height: int, width: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def turned(angle: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    """(2, 3): a similarity."""
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[cos, -sin, shift[0]], [sin, cos, shift[1]]])


def test_quad_of_an_upright_face() -> None:
    """Eye distance 20 and 20 down to the mouth: 2 x 20 to each side of a centre 2 below the eyes."""
    quad = Quad.of_points(POINTS)
    assert quad.corners.tolist() == [[10, 12], [10, 92], [90, 92], [90, 12]]
    assert (quad.side, quad.angle) == (80, 0)


def test_quad_of_a_long_face_follows_its_length() -> None:
    long = np.add(POINTS, [[0, 0], [0, 0], [0, 10], [0, 20], [0, 20]])
    assert Quad.of_points(long).side == pytest.approx(2 * 1.8 * 40)


@given(st.floats(-3, 3), st.floats(0.2, 20), st.tuples(st.floats(-500, 500), st.floats(-500, 500)))
def test_quad_turns_grows_and_moves_with_the_face(angle: float, scale: float, shift: tuple[float, float]) -> None:
    way = turned(angle, scale, shift)
    quad = Quad.of_points(transform(way, POINTS))
    assert np.allclose(quad.corners, transform(way, Quad.of_points(POINTS).corners), atol=1e-6)
    assert quad.side == pytest.approx(80 * scale)
    assert np.cos(np.radians(quad.angle) - angle) == pytest.approx(1)


def test_eye_of_68_landmarks_is_the_mean_of_its_outline() -> None:
    landmarks = np.zeros((68, 2))
    landmarks[36:42] = POINTS[0] + [[-3, 0], [-1, -2], [1, -2], [3, 0], [1, 2], [-1, 2]]
    landmarks[42:48] = POINTS[1] + [[-3, 0], [-1, -2], [1, -2], [3, 0], [1, 2], [-1, 2]]
    landmarks[[30, 48, 54]] = POINTS[2:]
    assert five_points(landmarks).tolist() == POINTS.tolist()
    assert Quad.of_points(landmarks) == Quad.of_points(POINTS)


@pytest.mark.parametrize("points", [np.zeros((5, 2)), np.zeros((4, 2)), [[0, 0]] * 67, [[np.nan, 0]] * 5])
def test_quad_of_points_that_are_no_face_is_refused(points: object) -> None:
    with pytest.raises(ValueError, match="points"):
        Quad.of_points(points)  # type: ignore[arg-type]


def test_quad_json_round_trip() -> None:
    quad = Quad.of_points(transform(turned(0.3, 7.7, (1000, 200)), POINTS))
    assert Quad.of_values(json.loads(json.dumps(quad.values))) == quad


@pytest.mark.parametrize(
    "values",
    [None, "12345678", [1.0] * 8, [0, 0, 0, 1, 1, 1, 1, "0"], [0, 0, 0, 10, 10, 10, 30, 0], [1e300] * 8, [0.0] * 7],
)
def test_quad_of_values_that_are_no_square_is_refused(values: object) -> None:
    with pytest.raises(ValueError, match="quad"):
        Quad.of_values(values)


def test_quad_mirrored_is_refused() -> None:
    with pytest.raises(ValueError, match="square"):
        Quad.of_values([10, 0, 10, 10, 0, 10, 0, 0])


def test_crop_of_an_aligned_image_is_the_image() -> None:
    picture = noise(128, 128)
    quad = Quad.of_picture(128, 128)
    assert (quad.crop(picture, 128) == picture).all()
    smaller = cv2.resize(picture, (32, 32), interpolation=cv2.INTER_AREA)
    assert np.abs(quad.crop(picture, 32).astype(int) - smaller).max() <= 1


def test_crop_shows_what_the_map_says() -> None:
    """A picture whose colours are its coordinates: each pixel of the crop names the place that it shows."""
    x, y = np.meshgrid(np.arange(240) + 0.5, np.arange(200) + 0.5)
    picture = np.stack([x, y, np.zeros_like(x)], axis=-1).round().astype(np.uint8)
    quad = Quad.of_points(transform(turned(0.4, 1.4, (60, 0)), POINTS))
    assert quad.corners.min() > 0
    for size in (20, 64, 150):  # shrunk much, a little, and enlarged
        crop = quad.crop(picture, size)
        places = np.stack(np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5), axis=-1)
        assert np.abs(crop[..., :2] - transform(quad.to_photo(size), places)).max() < 1.1
        assert np.allclose(transform(quad.to_crop(size), transform(quad.to_photo(size), places)), places, atol=1e-6)


def test_crop_averages_when_it_shrinks() -> None:
    checks = np.indices((400, 400)).sum(axis=0) % 2 * 255
    picture = np.repeat(checks[..., None], 3, axis=-1).astype(np.uint8)
    quad = Quad.of_points(transform(turned(0.2, 3.0, (50, 20)), POINTS))
    crop = quad.crop(picture, 32)
    assert np.abs(crop.astype(int) - 127.5).max() < 8


def test_crop_is_the_same_from_a_larger_photograph() -> None:
    photo = noise(300, 400)
    quad = Quad.of_points(transform(turned(0.3, 1.5, (110, 50)), POINTS))
    shift = np.array([30.0, 17.0])
    larger = np.zeros((600, 700, 3), np.uint8)
    larger[17:317, 30:430] = photo
    moved = Quad.of_values((quad.corners + shift).ravel().tolist())
    assert (quad.crop(photo, 64) == moved.crop(larger, 64)).all()


def test_crop_beyond_the_border_is_mirrored_blurred_then_uniform() -> None:
    photo = np.full((200, 200, 3), 60, np.uint8)
    photo[:, 100:] = 200
    photo[::2] += 40  # stripes, which a blur takes away
    photo[:60] = (10, 250, 10)
    quad = Quad.of_values([0.0, -200, 0, 200, 400, 200, 400, -200])  # reaches 200 px above and 200 px to the right
    crop = quad.crop(photo, 400).astype(int)
    assert (crop[300:399, 1:60] == photo[100:199, 1:60]).all()  # far from the borders that it crosses
    assert np.abs(np.diff(crop[300:399, 300, 0])).max() < 12  # no stripes to the right
    median = np.median(photo.reshape(-1, 3), axis=0)
    assert np.abs(crop[:10] - median).max() < 30
    assert np.abs(crop[:, -10:] - median).max() < 30


def test_crop_of_a_uniform_photograph_is_uniform_beyond_its_border() -> None:
    photo = np.full((90, 50, 3), (12, 130, 240), np.uint8)
    crop = Quad.of_points(transform(turned(1.0, 2, (0, -40)), POINTS)).crop(photo, 96)
    assert np.abs(crop.astype(int) - photo[0, 0]).max() <= 1


def test_crop_of_24_megapixels_takes_little_memory() -> None:
    script = """
import resource, numpy as np
from stedit.photo.alignment import Quad
photo = np.full((4000, 6000, 3), 99, np.uint8)
quad = Quad.of_values([500.0, 300, 500, 3300, 3500, 3300, 3500, 300])
quad.crop(photo, 8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for size in (128, 256, 1024):
    quad.enlarged(1.3).crop(photo, size)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert int(done.stdout) < 300  # megabytes


def test_quad_of_an_aligned_crop_is_the_whole_crop() -> None:
    if not (SHARED / "photos" / "test.jsonl.gz").is_file():
        pytest.skip("there is no ../shared/photos")
    for labels, key, size in (("photos/test", "points", 256), ("faces/dataset/test", "landmarks", 128)):
        with gzip.open(SHARED / f"{labels}.jsonl.gz", "rt") as lines:
            records = [json.loads(line) for line in lines]
        away = [Quad.of_points(one[key]).corners - Quad.of_picture(size, size).corners for one in records]
        assert np.abs(away).max() < 0.005 * size
