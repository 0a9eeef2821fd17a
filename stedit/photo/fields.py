"""Pictures and fields over the unit square of a face crop: float32 (n, n) or (n, n, C), whatever n is."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]


def resized(field: Field, size: int) -> Field:
    """(n, n, C up to 4) -> (size, size, C): areas when shrinking, linear when enlarging."""
    if field.shape[0] == size:
        return field
    return _like(cv2.resize(field, (size, size), interpolation=_by_area(field, size, cv2.INTER_LINEAR)), field)


def as_field(picture: NDArray[np.uint8] | Field, size: int) -> Field:
    """A picture (n, n, 3), uint8 or float in [0, 1] -> float (size, size, 3), cubic when enlarging."""
    values = picture.astype(np.float32)
    if picture.dtype == np.uint8:
        values /= 255
    made = cv2.resize(values, (size, size), interpolation=_by_area(values, size, cv2.INTER_CUBIC))
    result: Field = np.clip(made, 0, 1).astype(np.float32, copy=False)
    return result


def blur(field: Field, sigma: float) -> Field:
    """Gaussian, of a standard deviation in pixels."""
    return _like(cv2.GaussianBlur(field, (0, 0), sigma, borderType=cv2.BORDER_REFLECT), field)


def grow(field: Field, diameter: int) -> Field:
    """The largest value (n, n) in a disc of so many pixels."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (diameter, diameter))
    return _like(cv2.dilate(field, disc), field)


def smoothstep(low: float, high: float, x: Field) -> Field:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    result: Field = (t * t * (3 - 2 * t)).astype(np.float32, copy=False)
    return result


def warped(picture: Field, motion: Field) -> Field:
    """(n, n, 3), each pixel taken from where `motion` (n, n, 2), in sides of the square, says that it was."""
    n = picture.shape[0]
    y, x = np.mgrid[0:n, 0:n].astype(np.float32)
    return _like(
        cv2.remap(
            picture, x + motion[..., 0] * n, y + motion[..., 1] * n, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        ),
        picture,
    )


def ellipse(n: int, x: float, y: float, width: float, height: float) -> Field:
    """Distance (n, n) from the centre (x, y) in radii, all in sides of the square."""
    rows, columns = (np.mgrid[0:n, 0:n].astype(np.float32) + 0.5) / n
    result: Field = np.hypot((columns - x) / width, (rows - y) / height).astype(np.float32, copy=False)
    return result


def locally_linear(guide: Field, target: Field, trust: Field, *, radius: int, eps: float, fine: Field) -> Field:
    """What `target` is as a locally linear function of `guide`, at the resolution of `fine`, the same guide.

    The guided filter (He, Sun and Tang 2013) with a colour guide, at a low resolution (He and Sun 2015), of which only
    what is trusted counts.

    Args:
        guide: (n, n, 3) in [0, 1].
        target: (n, n, C up to 4).
        trust: (n, n) in [0, 1].
        radius: of the windows, in pixels.
        eps: variance of the guide that counts as none.
        fine: the guide as (m, m, 3).

    Returns:
        (m, m, C).
    """
    weight = trust + np.float32(1e-3)
    total = _box(weight, radius)[..., None]

    def mean(x: Field) -> Field:
        return (_box(x * weight[..., None], radius) / total).astype(np.float32)

    means, middle = mean(guide), mean(target)
    products = [guide[..., i : i + 1] * guide[..., i:] for i in range(3)]
    covariance = np.zeros((*guide.shape[:2], 3, 3), np.float32)
    for i, product in enumerate(products):
        covariance[..., i, i:] = mean(product) - means[..., i : i + 1] * means[..., i:]
        covariance[..., i, i] += eps
    cross = [mean(guide[..., i : i + 1] * target) - means[..., i : i + 1] * middle for i in range(3)]
    slopes = _solve(covariance, cross)
    offset = middle - sum(means[..., i : i + 1] * slopes[i] for i in range(3))
    spread = _box(total[..., 0], radius)[..., None]

    def fine_mean(x: Field) -> Field:
        return resized((_box(x * total, radius) / spread).astype(np.float32), fine.shape[0])

    result = fine_mean(offset)
    for i in range(3):
        result = result + fine[..., i : i + 1] * fine_mean(slopes[i])
    return result


def _solve(covariance: Field, cross: list[Field]) -> list[Field]:
    """The three slopes (n, n, C) of symmetric systems, of which the upper triangles (n, n, 3, 3) are given."""
    a, b, c = (covariance[..., 0, i] for i in range(3))
    d, e, f = covariance[..., 1, 1], covariance[..., 1, 2], covariance[..., 2, 2]
    first, second, third = d * f - e * e, c * e - b * f, b * e - c * d
    determinant = (a * first + b * second + c * third)[..., None]
    rows = ((first, second, third), (second, a * f - c * c, b * c - a * e), (third, b * c - a * e, a * d - b * b))
    return [
        ((x[..., None] * cross[0] + y[..., None] * cross[1] + z[..., None] * cross[2]) / determinant).astype(np.float32)
        for x, y, z in rows
    ]


def _box(field: Field, radius: int) -> Field:
    return _like(cv2.blur(field, (2 * radius + 1,) * 2, borderType=cv2.BORDER_REFLECT), field)


def _by_area(field: Field, size: int, otherwise: int) -> int:
    return cv2.INTER_AREA if size < field.shape[0] else otherwise


def _like(made: NDArray[np.generic], field: Field) -> Field:
    """OpenCV drops a last axis of one."""
    return made.reshape(*made.shape[:2], *field.shape[2:]).astype(np.float32, copy=False)
