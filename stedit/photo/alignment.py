"""The square that FFHQ cuts around a face, and the way between it and the photograph.

The geometry is that of Karras et al. 2019 (appendix C), published with the data set FFHQ: a square turned with the face,
from the centres of the eyes and the corners of the mouth, 2.0 eye distances or 1.8 times the way from eyes to mouth from
its centre to a side, whichever is more.

Coordinates are in pixels of a picture, x to the right and y down, from the outer corner of the top left pixel: a pixel's
centre has halves. OpenCV counts from that centre, which is why halves are added and taken away here.
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
BLUR = 0.02  # of the side: the standard deviation of the blur

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
            points: (5, 2) right eye, left eye, nose, right and left corner of the mouth (the person's right), or (68, 2).

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
        quad = cls(*(tuple(corner) for corner in corners.tolist()))
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
        """x and y of the corners: top left, bottom left, bottom right, top right."""
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
        region, origin = _region(image, self)
        shrink = max(1, int(self.side / size / 2))
        matrix = np.eye(2, 3)
        if shrink > 1:
            shape = (max(1, round(region.shape[1] / shrink)), max(1, round(region.shape[0] / shrink)))
            matrix[0, 0], matrix[1, 1] = shape[0] / region.shape[1], shape[1] / region.shape[0]
            region = cv2.resize(region, shape, interpolation=cv2.INTER_AREA)
        fine = math.ceil(self.side / size / shrink - 1e-3) if self.side > size else 1  # then averaged down
        to_region = self.to_photo(size * fine)
        to_region[:, 2] -= origin
        to_region = matrix[:, :2] @ to_region
        smooth = cv2.INTER_LINEAR if fine > 1 else cv2.INTER_CUBIC
        crop = warp(region, to_region, size * fine, smooth)
        return crop if fine == 1 else cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)


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
    return np.asarray(cv2.warpAffine(image, centred, (size, size), flags=flags, borderMode=cv2.BORDER_REFLECT_101))


def _turned(vector: Points) -> Points:
    """A quarter turn, so that what pointed right points down."""
    return np.array([-vector[1], vector[0]])


def _region(image: Pixels, quad: Quad) -> tuple[Pixels, Points]:
    """The part of a photograph around a quad, padded where the quad reaches beyond it, and where its corner lies."""
    height, width = image.shape[:2]
    margin = max(3, round(0.1 * quad.side))
    low = np.floor(quad.corners.min(axis=0)).astype(int) - margin
    high = np.ceil(quad.corners.max(axis=0)).astype(int) + margin
    left, top = np.clip(low, 0, (width - 1, height - 1))
    right, bottom = np.clip(high, (left + 1, top + 1), (width, height))
    part = np.ascontiguousarray(image[top:bottom, left:right])
    beyond = np.maximum([left - low[0], top - low[1], high[0] - right, high[1] - bottom], 0)
    if beyond.max() <= margin:  # at most the margin is missing, and `warp` mirrors that
        return part, np.array([left, top], np.float64)
    return _padded(part, beyond, quad.side), np.array([left - beyond[0], top - beyond[1]], np.float64)


def _padded(part: Pixels, beyond: npt.NDArray[np.int_], side: float) -> Pixels:
    """Mirror a picture at its sides (left, top, right, bottom), blur towards them, and fade to the median colour."""
    left, top, right, bottom = beyond.tolist()
    median = np.median(part.reshape(-1, 3)[:: max(1, part.size // 3_000_000)], axis=0)
    padded = np.pad(part, ((top, bottom), (left, right), (0, 0)), mode="reflect" if min(part.shape[:2]) > 1 else "edge")
    height, width = padded.shape[:2]
    across = _outside(width, left, right, BORDER * side)
    along = _outside(height, top, bottom, BORDER * side)
    sigma = BLUR * side
    coarse = max(1, int(sigma / 2))
    small = cv2.resize(padded, (-(-width // coarse), -(-height // coarse)), interpolation=cv2.INTER_AREA)
    soft = cv2.GaussianBlur(small, (0, 0), sigma / coarse)
    soft = cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR)
    for start in range(0, height, 256):  # in strips, since floats take four times the memory
        rows = slice(start, start + 256)
        out = np.maximum(across[None], along[rows, None])[..., None]
        strip = padded[rows].astype(np.float32)
        strip += (soft[rows] - strip) * np.clip(3 * out + 1, 0, 1)
        strip += (median - strip) * np.clip(out, 0, 1)
        padded[rows] = np.clip(np.rint(strip), 0, 255)
    return padded


def _outside(length: int, before: int, after: int, least: float) -> npt.NDArray[np.float32]:
    """How far out each pixel of a padded line lies: below 0 in the picture, 0 at its border, 1 where it is uniform."""
    place = np.arange(length, dtype=np.float32)
    out = np.full(length, -1, np.float32)
    if before:
        out = np.maximum(out, (before - place) / max(before, least))
    if after:
        out = np.maximum(out, (place - (length - 1 - after)) / max(after, least))
    return out
