"""The square that FFHQ cuts around a face, and the way between it and the photograph.

The geometry is that of Karras et al. 2019 (appendix C), published with the data set FFHQ: a square turned with the
face, found from the centres of the eyes and the corners of the mouth. From its centre to a side it is 2.0 eye
distances, or 1.8 times the way from the eyes to the mouth, whichever is more.

Coordinates are in pixels of a picture, x to the right and y down, from the outer corner of the top left pixel: a
pixel's centre has halves. OpenCV counts from that centre, which is why halves are added and taken away here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import cv2
import numpy as np
import numpy.typing as npt

from stedit.imaging.files import Pixels

MAX_SIDE = 1e6  # pixels: of a quad that is read from a file
IBUG_EYES = (slice(36, 42), slice(42, 48))  # outlines of the right and left eye among 68 landmarks
IBUG_NOSE, IBUG_MOUTH = 30, (48, 54)

# Where a quad reaches beyond the photograph, the photograph is mirrored, and grows blurred and then uniform:
BORDER = 0.3  # of the side: at least so far out it is uniform
FADED = 0.01  # of the side: a quad that reaches less far out is mirrored alone
BLUR = 0.02  # of the side: the standard deviation of the blur
STRIP = 256  # rows that are worked on at a time

Points = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Quad:
    """A square, turned in any way, in a photograph: the place of an aligned crop."""

    top_left: tuple[float, float]
    bottom_left: tuple[float, float]
    bottom_right: tuple[float, float]
    top_right: tuple[float, float]

    @classmethod
    def of_points(cls, points: npt.ArrayLike) -> Self:
        """The quad of a face from its five points, or from 68 landmarks in iBUG's order.

        Args:
            points: (5, 2) right eye, left eye, nose, right and left corner of the mouth (the person's own right), or
                (68, 2).

        Raises ValueError if the points are not those of a face.
        """
        five = five_points(points)
        right_eye, left_eye, _, right_mouth, left_mouth = five
        eyes, mouth = (right_eye + left_eye) / 2, (right_mouth + left_mouth) / 2
        across, down = left_eye - right_eye, mouth - eyes
        x = across - _turned(down)
        if not np.hypot(*x) > 1e-6:
            raise ValueError("the points lie on one another")
        x = x / np.hypot(*x) * max(2.0 * np.hypot(*across), 1.8 * np.hypot(*down))
        return cls._around(eyes + 0.1 * down, x)

    @classmethod
    def of_values(cls, values: Any) -> Self:
        """The quad of eight numbers, as `values` gives them. Raises ValueError if they are no square."""
        if not isinstance(values, Sequence) or len(values) != 8 or any(type(v) not in (int, float) for v in values):
            raise ValueError("a quad is eight numbers")
        corners = np.array(values, np.float64).reshape(4, 2)
        if not np.isfinite(corners).all() or np.abs(corners).max() > MAX_SIDE:
            raise ValueError("a quad's numbers are out of bounds")
        quad = cls(*((x, y) for x, y in corners.tolist()))
        other = cls._around(corners.mean(axis=0), (corners[3] - corners[0] + corners[2] - corners[1]) / 4)
        if not quad.side > 1 or np.abs(other.corners - corners).max() > 0.01 * quad.side:
            raise ValueError("a quad is a square of more than one pixel")
        return quad

    @classmethod
    def of_picture(cls, height: int, width: int) -> Self:
        """The greatest upright square in the middle of a picture."""
        half = min(height, width) / 2
        return cls._around(np.array([width / 2, height / 2]), np.array([half, 0.0]))

    @classmethod
    def _around(cls, centre: Points, x: Points) -> Self:
        """The square with a centre and the vector from it to the middle of its right side."""
        y = _turned(x)
        corners = (centre - x - y, centre - x + y, centre + x + y, centre + x - y)
        return cls(*((float(px), float(py)) for px, py in corners))

    @property
    def values(self) -> tuple[float, ...]:
        """Of the corners, x and y: top left, bottom left, bottom right, top right."""
        return (*self.top_left, *self.bottom_left, *self.bottom_right, *self.top_right)

    @property
    def corners(self) -> Points:
        """(4, 2): top left, bottom left, bottom right, top right."""
        return np.array(self.values).reshape(4, 2)

    @property
    def side(self) -> float:
        """In pixels of the photograph."""
        return math.dist(self.top_left, self.top_right)

    @property
    def angle(self) -> float:
        """How far the face is turned in the plane, in degrees, clockwise as seen."""
        return math.degrees(math.atan2(self.top_right[1] - self.top_left[1], self.top_right[0] - self.top_left[0]))

    def enlarged(self, factor: float) -> Quad:
        """The same centre and direction, and a side `factor` times as long."""
        corners = self.corners
        return Quad._around(corners.mean(axis=0), factor * (corners[3] - corners[0]) / 2)

    def shifted(self, right: float, down: float) -> Quad:
        """The same square, moved along its own sides; both in sides."""
        corners = self.corners
        x, y = corners[3] - corners[0], corners[1] - corners[0]
        return Quad._around(corners.mean(axis=0) + right * x + down * y, x / 2)

    def to_photo(self, size: int) -> Matrix:
        """(2, 3): the affine map from pixels of a crop of `size` to pixels of the photograph."""
        top_left, bottom_left, _, top_right = self.corners
        return np.stack([(top_right - top_left) / size, (bottom_left - top_left) / size, top_left], axis=1)

    def to_crop(self, size: int) -> Matrix:
        """(2, 3): the affine map from pixels of the photograph to pixels of a crop of `size`."""
        return np.asarray(cv2.invertAffineTransform(self.to_photo(size)))

    def crop(self, image: Pixels, size: int) -> Pixels:
        """The square as a picture.

        Args:
            image: uint8 (H, W, 3), the photograph; only the part around the quad is worked on.
            size: side of the crop in pixels; shrinking averages over areas, enlarging is bicubic.

        Returns:
            uint8 (size, size, 3). Beyond the photograph's border it is mirrored, blurred, and fades to its median.
        """
        shrink = max(1, int(self.side / size / 2))
        region, to_region = _region(image, self, shrink)
        fine = math.ceil(self.side / size / shrink - 1e-3) if self.side > size else 1  # then averaged down
        to_photo = self.to_photo(size * fine)
        crop = warp(region, _after(to_region, to_photo), size * fine, cv2.INTER_LINEAR if fine > 1 else cv2.INTER_CUBIC)
        return crop if fine == 1 else np.asarray(cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA), np.uint8)


def five_points(points: npt.ArrayLike) -> Points:
    """(5, 2) of a face's five points, or of its 68 landmarks in iBUG's order: an eye is the mean of its outline.

    Raises ValueError if it is neither.
    """
    array = np.asarray(points, np.float64)
    if array.shape not in ((5, 2), (68, 2)) or not np.isfinite(array).all():
        raise ValueError("a face is five points, or 68 landmarks in iBUG's order, x and y each")
    if len(array) == 5:
        return array
    right, left = (array[part].mean(axis=0) for part in IBUG_EYES)
    return np.stack([right, left, array[IBUG_NOSE], *(array[index] for index in IBUG_MOUTH)])


def transform(matrix: Matrix, points: npt.ArrayLike) -> Points:
    """Points (..., 2) through an affine map (2, 3)."""
    return np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]


def warp(image: Pixels, to_image: Matrix, size: int, interpolation: int) -> Pixels:
    """A picture of (size, size, 3) whose every pixel is looked up in `image`, where the map (2, 3) says.

    Points are counted from the outer corners of pixels; beyond its border the image is mirrored.
    """
    centred = to_image.copy()
    centred[:, 2] += 0.5 * to_image[:, :2].sum(axis=1) - 0.5
    flags = interpolation | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(image, centred, (size, size), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(warped, np.uint8)


def _after(second: Matrix, first: Matrix) -> Matrix:
    """The affine map (2, 3) of one map after another."""
    return np.concatenate([second[:, :2] @ first[:, :2], transform(second, first[:, 2])[:, None]], axis=1)


def _turned(vector: Points) -> Points:
    """A quarter turn, so that what pointed right points down."""
    return np.array([-vector[1], vector[0]])


def _region(image: Pixels, quad: Quad, shrink: int) -> tuple[Pixels, Matrix]:
    """The part of a photograph around a quad, shrunk, and padded where the quad reaches beyond the photograph.

    With the affine map (2, 3) from the photograph to that part.
    """
    height, width = image.shape[:2]
    margin = max(3 * shrink, round(0.1 * quad.side))
    low = np.floor(quad.corners.min(axis=0)).astype(int) - margin
    high = np.ceil(quad.corners.max(axis=0)).astype(int) + margin
    left, top = np.clip(low, 0, (width - 1, height - 1))
    right, bottom = np.clip(high, (left + 1, top + 1), (width, height))
    part = np.ascontiguousarray(image[top:bottom, left:right])
    scale = np.ones(2)
    if shrink > 1:
        shape = (max(1, round((right - left) / shrink)), max(1, round((bottom - top) / shrink)))
        scale = shape / np.array([right - left, bottom - top])
        part = np.asarray(cv2.resize(part, shape, interpolation=cv2.INTER_AREA), np.uint8)
    to_part = np.concatenate([np.diag(scale), -scale[:, None] * [[left], [top]]], axis=1)
    beyond = np.maximum([left - low[0], top - low[1], high[0] - right, high[1] - bottom], 0)
    faded = beyond > margin + FADED * quad.side  # sides at which the quad itself, not its margin alone, reaches beyond
    if not faded.any():
        return part, to_part  # `warp` mirrors what little is missing
    beyond = np.ceil(beyond * np.tile(scale, 2)).astype(int)
    to_part[:, 2] += beyond[:2]
    return _padded(part, beyond, faded, quad.side / shrink), to_part


def _padded(part: Pixels, beyond: npt.NDArray[np.int_], faded: npt.NDArray[np.bool_], side: float) -> Pixels:
    """Mirror a picture at its sides (left, top, right, bottom), blur and fade to the median colour where it says so."""
    left, top, right, bottom = beyond.tolist()
    median = np.median(part.reshape(-1, 3)[:: max(1, part.size // 3_000_000)], axis=0)
    padded = np.asarray(cv2.copyMakeBorder(part, top, bottom, left, right, cv2.BORDER_REFLECT_101), np.uint8)
    height, width = padded.shape[:2]
    across = _outside(width, left, right, faded[0], faded[2], BORDER * side)
    along = _outside(height, top, bottom, faded[1], faded[3], BORDER * side)
    sigma = BLUR * side
    coarse = max(1, int(sigma / 2))
    small = cv2.resize(padded, (-(-width // coarse), -(-height // coarse)), interpolation=cv2.INTER_AREA)
    soft = cv2.resize(cv2.GaussianBlur(small, (0, 0), sigma / coarse), (width, height), interpolation=cv2.INTER_LINEAR)
    uniform = np.broadcast_to(np.rint(median).astype(np.uint8), (STRIP, width, 3)).copy()
    for start in range(0, height, STRIP):  # weights are floats, which take memory
        rows = slice(start, start + STRIP)
        out = np.maximum(across[None], along[rows, None])
        soften, fade = np.clip(3 * out + 1, 0, 1), np.clip(out, 0, 1)
        strip = cv2.blendLinear(padded[rows], soft[rows], 1 - soften, soften)
        padded[rows] = cv2.blendLinear(strip, uniform[: len(strip)], 1 - fade, fade)
    return padded


def _outside(length: int, before: int, after: int, first: bool, last: bool, least: float) -> npt.NDArray[np.float32]:
    """How far out each pixel of a padded line lies: below 0 in the picture, 0 at its border, 1 where it is uniform.

    `first` and `last` say which of its ends fade.
    """
    place = np.arange(length, dtype=np.float32) + 0.5
    out = np.full(length, -1, np.float32)
    if first:
        out = np.maximum(out, (before - place) / max(before, least))
    if last:
        out = np.maximum(out, (place - (length - after)) / max(after, least))
    return out
