"""Where hair grows, and maps on a sphere around the head: its radius, and how far an identity moves its surface."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from renderer.noise import JIT, F, noise, smoothstep

CENTRE = (0.0, 3.5, -0.5)  # of the spherical maps, within the skull
CX, CY, CZ = CENTRE
DEGREES = 57.29578  # in a radian

# height of the hairline (cm) by the angle from straight ahead (degrees): forehead, temple, around the ear, nape
HAIRLINE_ANGLES = np.array([0, 20, 35, 50, 58, 66, 70, 77, 82, 95, 106, 120, 140, 181.0])
HAIRLINE_HEIGHTS = np.array([10.7, 10.7, 10.3, 8.8, 7.2, 5.6, 4.4, 4.0, 6.4, 6.4, 5.6, 0.5, -4, -5.5])


@njit(**JIT)
def height_above_hairline(x, y, z, shift, recede):
    """Signed height (cm) of a point of the mean head; `shift` lifts the front, `recede` the temples."""
    angle = math.atan2(abs(x), z + 0.5) * DEGREES
    k = 0
    while k < HAIRLINE_ANGLES.shape[0] - 2 and angle > HAIRLINE_ANGLES[k + 1]:
        k += 1
    t = (angle - HAIRLINE_ANGLES[k]) / (HAIRLINE_ANGLES[k + 1] - HAIRLINE_ANGLES[k])
    line = HAIRLINE_HEIGHTS[k] * (1 - t) + HAIRLINE_HEIGHTS[k + 1] * t
    front = 1 - smoothstep(40.0, 75.0, angle)
    line += shift * front + recede * math.exp(-(((angle - 38.0) / 14.0) ** 2)) * 1.6
    return y - line + (noise(x * 1.7 + 9, y * 1.7, z * 1.7) - 0.5) * 0.7


@njit(**JIT)
def look_up(spheremap, dx, dy, dz):
    """Four channels of a map (elevation, azimuth, 4) in the direction (dx, dy, dz) from CENTRE, bilinearly."""
    h, w, _ = spheremap.shape
    length = math.sqrt(dx * dx + dy * dy + dz * dz) + 1e-9
    v = (math.acos(min(max(dy / length, -1.0), 1.0)) / math.pi) * h - 0.5
    u = (math.atan2(dx, dz) / (2 * math.pi) + 0.5) * w - 0.5
    v = min(max(v, 0.0), h - 1.001)
    u0 = math.floor(u)
    v0 = int(v)
    fu = u - u0
    fv = v - v0
    a = int(u0) % w
    b = (a + 1) % w
    r0 = F(0)
    r1 = F(0)
    r2 = F(0)
    r3 = F(0)
    for j in range(2):
        wv = (1 - fv) if j == 0 else fv
        for i in range(2):
            weight = wv * ((1 - fu) if i == 0 else fu)
            m = spheremap[v0 + j, a if i == 0 else b]
            r0 += weight * m[0]
            r1 += weight * m[1]
            r2 += weight * m[2]
            r3 += weight * m[3]
    return r0, r1, r2, r3
