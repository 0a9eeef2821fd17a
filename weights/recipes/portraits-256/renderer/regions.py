"""Where on the skin things are: lips, cheeks, lids, beard; one weight in 0..1 for each vertex and region."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from renderer.mesh import distance_within, smoothsteps
from renderer.noise import F

# columns of the table of regions
(LIPS, CHEEKS, EYESHADOW, EYELINER, MOUSTACHE, GOATEE, FULL_BEARD, SIDEBURNS) = range(8)
(OILY, DARK_CIRCLE, BROWS, SCALP, LIDS) = range(8, 13)
COUNT = 13
BEARD_ZONES = slice(MOUSTACHE, SIDEBURNS + 1)

# a vertex of the mean head: coordinates in cm, and the jaw's edge, which lies lower the further forward it is
_JAW_AT_CHIN, _JAW_SLOPE, _CHIN_FRONT = -7.57, 0.72, 10.4


def skin_regions(vertices: NDArray[np.float32], landmarks: NDArray[np.int64], face: NDArray[np.bool_]) -> np.ndarray:
    """The table of regions, float32 (M, COUNT), of the mean head.

    Args:
        vertices: (M, 3).
        landmarks: indices (68,) of the iBUG landmarks.
        face: (M,), which vertices are skin of the face.
    """
    regions = np.zeros((len(vertices), COUNT), F)
    outline = vertices[landmarks][:, :2].astype(np.float64)
    _lips(regions, vertices, outline, face)
    x, y, z = vertices.T
    regions[:, CHEEKS] = np.exp(-(((np.abs(x) - 4.9) / 2.0) ** 2 + ((y - 0.5) / 1.75) ** 2)) * (z > 3) * face
    for first, side in ((36, -1), (42, 1)):
        _eye(regions, vertices, outline[first : first + 6], side, face)
    _beard(regions, vertices, face)
    forehead = np.exp(-((x / 3.2) ** 2 + ((y - 8.3) / 2.0) ** 2)) * (z > 4)
    nose = np.exp(-((x / 1.3) ** 2 + ((y - 0.4) / 1.6) ** 2)) * (z > 10.5)
    chin = np.exp(-((x / 1.3) ** 2 + ((y + 6.2) / 1.0) ** 2)) * (z > 6)
    oily = nose + 0.55 * forehead + 0.5 * chin + 0.4 * regions[:, CHEEKS]
    regions[:, OILY] = np.clip(oily, 0, 1) * face
    return regions


def brow_weight(across: NDArray, y: NDArray, *, thickness: float, arch: float) -> tuple[NDArray, NDArray]:
    """How much of a brow is at a point of the mean head, and how far along it that is: 0 at the nose, 1 at its end.

    `across` is |x|; thickness and arch are in cm.
    """
    along = np.clip((across - 1.0) / 4.9, 0, 1.08)
    middle = (
        5.86
        + 0.04 * along
        + 0.30 * np.sin(np.clip(along, 0, 1) * np.pi * 0.85)
        + arch * np.exp(-(((along - 0.66) / 0.25) ** 2))
        + arch * 0.05 * (1 - along)
        - 1.5 * np.clip(along - 0.64, 0, 1)
    )
    half = (
        thickness
        * (1.0 - 0.35 * along)
        * np.clip(1.35 - 1.25 * np.clip(along - 0.55, 0, 1) / 0.5, 0.12, 1)
        * np.clip((across - 0.75) / 0.5, 0, 1)
    )
    return 1 - smoothsteps(0.55, 1.05, np.abs(y - middle) / np.maximum(half, 0.02)), along


def _lips(regions: np.ndarray, vertices: np.ndarray, outline: np.ndarray, face: np.ndarray) -> None:
    x, y, z = vertices.T
    ring = outline[48:60]
    mouth = _corner_cut((ring - ring.mean(0)) * np.array([1.03, 1.10]) + ring.mean(0))
    near = face & (z > 8.5) & (y < -1.2) & (y > -6) & (np.abs(x) < 3.6)
    within = distance_within(vertices[near][:, :2].astype(np.float64), mouth)
    regions[near, LIPS] = smoothsteps(-0.10, 0.10, within)


def _corner_cut(polygon: np.ndarray) -> np.ndarray:
    """Round a polygon by cutting its corners thrice (Chaikin 1974)."""
    for _ in range(3):
        following = np.roll(polygon, -1, 0)
        before = polygon * 0.75 + following * 0.25
        after = polygon * 0.25 + following * 0.75
        polygon = np.stack([before, after], 1).reshape(-1, 2)
    return polygon


def _eye(regions: np.ndarray, vertices: np.ndarray, ring: np.ndarray, side: int, face: np.ndarray) -> None:
    x, y, z = vertices.T
    centre = ring.mean(0)
    near = face & (np.hypot(x - centre[0], y - centre[1]) < 3.2) & (z > 6)
    within = distance_within(vertices[near][:, :2].astype(np.float64), ring)
    up, out = y[near], (x[near] - centre[0]) * side
    upper = smoothsteps(-0.15, 0.25, up - (centre[1] - 0.05 - 0.02 * out))

    def put(column: int, weight: np.ndarray) -> None:
        regions[near, column] = np.maximum(regions[near, column], weight)

    put(EYESHADOW, upper * smoothsteps(-1.75 - 0.15 * out, -0.5, within) * np.exp(-((out / 2.3) ** 4)))
    put(EYELINER, smoothsteps(-0.30, -0.04, within) * (upper * 0.95 + 0.30 * (1 - upper)))
    put(LIDS, smoothsteps(-0.9, -0.1, within))
    below = np.exp(-(((out + 0.2) / 1.3) ** 2 + ((up - centre[1] + 1.0) / 0.55) ** 2))
    put(DARK_CIRCLE, (1 - upper) * below)


def _beard(regions: np.ndarray, vertices: np.ndarray, face: np.ndarray) -> None:
    x, y, z = vertices.T
    ax = np.abs(x)
    off_lips = 1 - np.clip(regions[:, LIPS] * 1.6, 0, 1)
    above_jaw = y - (_JAW_AT_CHIN + _JAW_SLOPE * (_CHIN_FRONT - z))
    moustache = (
        np.exp(-((np.maximum(ax - 2.3, 0) / 0.6) ** 2))
        * smoothsteps(-3.1, -2.3, y + 0.18 * ax)
        * (1 - smoothsteps(-1.25, -0.85, y + 0.12 * ax))
    )
    regions[:, MOUSTACHE] = moustache * (z > 8) * face * off_lips
    chin = (
        np.exp(-((np.maximum(ax - 1.7, 0) / 0.8) ** 2))
        * smoothsteps(-1.9, -0.8, above_jaw)
        * (1 - smoothsteps(-4.9, -4.4, y))
    )
    beside_mouth = (
        np.exp(-(((ax - 2.75) / 0.5) ** 2)) * (y > -6.5) * (1 - smoothsteps(-2.9, -2.2, y)) * smoothsteps(-6.5, -5, y)
    )
    regions[:, GOATEE] = np.maximum(chin, beside_mouth * 0.85) * (z > 5.5) * face * off_lips
    cheek_line = -2.2 - 0.55 * (5.5 - np.clip(ax, 0, 8)) * 1.0  # rises toward the ear
    cheek_line = np.where(ax > 5.5, -2.2 + (ax - 5.5) * 2.2, cheek_line)
    full = (1 - smoothsteps(-0.5, 0.5, y - cheek_line)) * smoothsteps(-1.9, -0.6, above_jaw) * smoothsteps(1.2, 2.6, z)
    full = np.where((ax < 3.2) & (y > -5.2), beside_mouth, full)
    regions[:, FULL_BEARD] = full * face * off_lips
    regions[:, SIDEBURNS] = (
        smoothsteps(0.2, 1.2, y)
        * (1 - smoothsteps(5.5, 6.5, y))
        * (smoothsteps(1.9, 2.5, z) * (1 - smoothsteps(4.0, 4.9, z)))
        * (ax > 6.2)
        * face
    )
