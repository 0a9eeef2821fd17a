"""Scenes composed from aligned renders, so that it is known exactly where each face lies."""

from __future__ import annotations

import cv2
import numpy as np

from stedit.imaging.files import Pixels
from stedit.photo.alignment import Quad

FACE_OF_SIDE = 0.625  # a face's size (geometric mean of its box) in sides of its quad


def backdrop(height: int, width: int, seed: int) -> Pixels:
    """Clutter without a face: smooth colours, blobs, bars and grain, uint8 (H, W, 3)."""
    random = np.random.default_rng(seed)
    coarse = random.uniform(0, 255, (4, 5, 3)).astype(np.float32)
    picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(40):
        colour = random.uniform(0, 255, 3).tolist()
        centre = (int(random.uniform(0, width)), int(random.uniform(0, height)))
        axes = tuple(int(side) for side in np.exp(random.uniform(np.log(4), np.log(max(width, height) / 5), 2)))
        if random.random() < 0.6:
            cv2.ellipse(picture, centre, axes, random.uniform(0, 180), 0, 360, colour, -1, cv2.LINE_AA)
        else:
            cv2.line(picture, centre, (centre[0] + axes[0], centre[1] - axes[1]), colour, max(1, axes[1] // 12))
    picture = cv2.GaussianBlur(picture, (0, 0), max(width, height) / 600)
    return np.clip(picture + random.normal(0, 5, picture.shape), 0, 255).astype(np.uint8)


def place(
    picture: Pixels,
    render: Pixels,
    centre: tuple[float, float],
    size: float,
    angle: float = 0.0,
    *,
    mirrored: bool = False,
) -> Quad:
    """Lay an aligned render into a picture, in place, under a soft oval; gives its quad.

    Args:
        centre: of the quad, x and y in pixels.
        size: of the face, in pixels.
        angle: clockwise, in degrees.
    """
    half = size / FACE_OF_SIDE / 2
    x = half * np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
    y = np.array([-x[1], x[0]])
    corners = np.array(centre) + np.stack([-x - y, -x + y, x + y, x - y])
    quad = Quad.of_values([float(value) for value in corners.ravel()])
    side = render.shape[0]
    render = render[:, ::-1] if mirrored else render
    height, width = picture.shape[:2]
    across = np.linspace(-1, 1, side)
    oval = np.clip((0.97 - np.hypot(across[None], 0.9 * across[:, None])) / 0.15, 0, 1).astype(np.float32)
    matrix = quad.to_crop(side)
    matrix[:, 2] += 0.5 * matrix[:, :2].sum(axis=1) - 0.5
    shrink = side / quad.side
    if shrink > 1:  # renders larger than their place are averaged first, as a lens would
        sigma = 0.4 * shrink
        render = cv2.GaussianBlur(np.ascontiguousarray(render), (0, 0), sigma)
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    there = cv2.warpAffine(
        np.ascontiguousarray(render), matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    mask = cv2.warpAffine(oval, matrix, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)[..., None]
    picture[:] = np.rint(picture * (1 - mask) + there * mask)
    return quad
