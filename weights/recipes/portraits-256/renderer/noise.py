"""Smooth noise and steps, compiled: what textures are made of."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

# pictures are reproducible on one machine; another's compiler may round a few pixels differently
JIT = {"cache": True, "fastmath": True, "nogil": True, "boundscheck": False}

F = np.float32


@njit(**JIT)
def _hash(x, y, z):
    """Three integers -> a number in [0, 1) that looks random."""
    h = (
        (np.uint32(x) * np.uint32(0x8DA6B343))
        ^ (np.uint32(y) * np.uint32(0xD8163841))
        ^ (np.uint32(z) * np.uint32(0xCB1AB31F))
    )
    h = (h ^ (h >> np.uint32(13))) * np.uint32(0x5BD1E995)
    h = h ^ (h >> np.uint32(15))
    h = h * np.uint32(0x2C1B3C6D)
    h = h ^ (h >> np.uint32(14))
    return F(np.uint32(h) & np.uint32(0xFFFFFF)) * F(1.0 / 16777216.0)


@njit(**JIT)
def noise(x, y, z):
    """Value noise in [0, 1): one random number at each integer point, blended smoothly between them."""
    xi = math.floor(x)
    yi = math.floor(y)
    zi = math.floor(z)
    fx = x - xi
    fy = y - yi
    fz = z - zi
    fx = fx * fx * (3 - 2 * fx)
    fy = fy * fy * (3 - 2 * fy)
    fz = fz * fz * (3 - 2 * fz)
    a = np.int64(xi)
    b = np.int64(yi)
    c = np.int64(zi)
    v00 = _hash(a, b, c) * (1 - fx) + _hash(a + 1, b, c) * fx
    v10 = _hash(a, b + 1, c) * (1 - fx) + _hash(a + 1, b + 1, c) * fx
    v01 = _hash(a, b, c + 1) * (1 - fx) + _hash(a + 1, b, c + 1) * fx
    v11 = _hash(a, b + 1, c + 1) * (1 - fx) + _hash(a + 1, b + 1, c + 1) * fx
    v0 = v00 * (1 - fy) + v10 * fy
    v1 = v01 * (1 - fy) + v11 * fy
    return v0 * (1 - fz) + v1 * fz


@njit(**JIT)
def smoothstep(a, b, x):
    """0 up to `a`, 1 from `b` on, and smooth between."""
    t = (x - a) / (b - a)
    t = min(max(t, 0.0), 1.0)
    return t * t * (3 - 2 * t)
