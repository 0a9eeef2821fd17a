"""What is behind a person in a wide picture: a park, or a room, out of focus."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from renderer.colours import from_hsv

Light = NDArray[np.float64]  # (size, size, 3), linear


def park(seed: int, size: int) -> Light:
    """Sky, trees and a lawn in the sun, with spots of light between leaves."""
    random = np.random.default_rng(seed)
    v, u = np.mgrid[0:size, 0:size] / size
    light = _blend(from_hsv(0.57, 0.35, 0.95), from_hsv(0.55, 0.10, 1.0), v * 1.8)
    crowns = 0.36 + 0.20 * _ripples(random, u, 7)
    _cover(light, v > crowns - 0.16, from_hsv(0.30, 0.30, 0.62))
    _cover(light, v > crowns, from_hsv(0.27, 0.50, 0.42))
    for _ in range(220):
        x, y, radius = random.random(), random.uniform(0.28, 0.70), random.uniform(0.012, 0.05)
        leaves = from_hsv(random.uniform(0.19, 0.33), random.uniform(0.35, 0.65), random.uniform(0.25, 0.72))
        _cover(light, ((u - x) ** 2 + (v - y) ** 2 < radius**2) & (v > crowns - 0.1), leaves, 0.6)
    for x in random.uniform(0, 1, 5):
        trunk = np.abs(u - x - 0.02 * np.sin(9 * v)) < random.uniform(0.006, 0.018)
        _cover(light, trunk & (v > crowns), from_hsv(0.07, 0.35, 0.25))
    _cover(light, v > 0.70 + 0.015 * _ripples(random, u, 3), from_hsv(0.24, 0.55, 0.62))
    light = ndimage.gaussian_filter(light, (size / 90, size / 90, 0))
    for _ in range(40):
        x, y, radius = random.random(), random.uniform(0.42, 0.66), random.uniform(0.010, 0.026)
        _glow(light, u, v, x, y, radius, from_hsv(0.15, random.uniform(0.1, 0.4), 1.0) * random.uniform(0.05, 0.4))
    return ndimage.gaussian_filter(light, (size / 400, size / 400, 0))


def room(seed: int, size: int) -> Light:
    """A wall with a window, a shelf of books, a picture and a lamp."""
    random = np.random.default_rng(seed)
    v, u = np.mgrid[0:size, 0:size] / size
    light = _blend(from_hsv(0.09, 0.16, 0.80), from_hsv(0.08, 0.24, 0.60), u * 0.9 + 0.2 * v)
    _cover(light, (u > 0.03) & (u < 0.27) & (v > 0.07) & (v < 0.64), from_hsv(0.10, 0.08, 0.92))
    panes = (np.abs((u - 0.15) / 0.11) < 1) & (np.abs((v - 0.355) / 0.27) < 1)
    bars = (np.abs(u - 0.15) < 0.006) | (np.abs(v - 0.30) < 0.006)
    outside = _blend(from_hsv(0.57, 0.18, 1.0) * 1.5, from_hsv(0.28, 0.35, 0.72) * 1.2, v * 1.9 - 0.1)
    light = np.where((panes & ~bars)[..., None], outside, light)
    for shelf in (0.30, 0.49, 0.68):
        left = 0.70
        while left < 0.985:
            width, height = random.uniform(0.008, 0.022), random.uniform(0.09, 0.145)
            book = from_hsv(random.random(), random.uniform(0.2, 0.6), random.uniform(0.25, 0.8))
            _cover(light, (u > left) & (u < left + width) & (v < shelf) & (v > shelf - height), book)
            left += width + (random.random() < 0.12) * 0.03
        _cover(light, (u > 0.68) & (v > shelf) & (v < shelf + 0.014), from_hsv(0.07, 0.5, 0.42))
    _cover(light, (u > 0.42) & (u < 0.60) & (v > 0.04) & (v < 0.17), from_hsv(0.06, 0.3, 0.3))
    _cover(light, (u > 0.43) & (u < 0.59) & (v > 0.052) & (v < 0.158), from_hsv(0.52, 0.3, 0.62))
    _glow(light, u, v, 0.64, 0.62, 0.05, from_hsv(0.10, 0.45, 1.0) * 0.8)
    return ndimage.gaussian_filter(light, (size / 130, size / 130, 0))


SCENERY = {"park": park, "room": room}


def _ripples(random: np.random.Generator, u: Light, count: int) -> Light:
    """A sum of waves, about -1 to 1."""
    waves = [np.sin(2 * np.pi * (random.uniform(0.6, 3.2) * u + random.random())) for _ in range(count)]
    return sum(waves, np.zeros_like(u)) / count


def _blend(first: Light, second: Light, share: Light) -> Light:
    share = np.clip(share, 0, 1)[..., None]
    return first * (1 - share) + second * share


def _cover(light: Light, where: NDArray[np.bool_], colour: Light, opacity: float = 1.0) -> None:
    light[where] = light[where] * (1 - opacity) + colour * opacity


def _glow(light: Light, u: Light, v: Light, x: float, y: float, radius: float, colour: Light) -> None:
    """Add a disc of light, as a lens makes of a point that is out of focus."""
    distance = np.hypot(u - x, v - y)
    light += np.clip((radius - distance) / radius * 6, 0, 1)[..., None] * colour
