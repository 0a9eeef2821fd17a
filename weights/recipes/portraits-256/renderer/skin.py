"""The colour of skin: pigment, blush, freckles, lines, make-up, lips, stubble, and how it shines."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from renderer.lights import diffuse, highlight, lit_share
from renderer.noise import JIT, noise, smoothstep
from renderer.regions import (
    BROWS,
    CHEEKS,
    DARK_CIRCLE,
    EYELINER,
    EYESHADOW,
    FULL_BEARD,
    GOATEE,
    LIDS,
    LIPS,
    MOUSTACHE,
    OILY,
    SCALP,
    SIDEBURNS,
)


class Skin(NamedTuple):
    """What one person's skin is like; colours are linear RGB (3,), the rest are numbers of about 0 to 1."""

    colour: NDArray[np.float64]
    lips: NDArray[np.float64]
    hair: NDArray[np.float64]  # of scalp and brows, under the strands
    beard: NDArray[np.float64]
    eyeshadow: NDArray[np.float64]
    phase_0: float  # offsets of the noise, so that no two skins are alike
    phase_1: float
    roughness: float
    rosiness: float
    freckles: float
    dark_circles: float
    age: float
    oiliness: float
    shadow_strength: float
    liner_strength: float
    gloss: float  # of lipstick
    scalp: float  # how much of the scalp's paint is hair
    moustache: float  # and of the beard's zones
    goatee: float
    full_beard: float
    sideburns: float
    stubble: float


class Point(NamedTuple):
    """A point of a surface: place and unit normal in the world, place on the mean head, direction of view."""

    X: float
    Y: float
    Z: float
    nx: float
    ny: float
    nz: float
    rx: float
    ry: float
    rz: float
    vx: float
    vy: float
    vz: float
    occlusion: float  # share of the sky that is seen


@njit(**JIT)
def shade_skin(point, region, skin, lights, shadows):
    """Light (r, g, b) from a point of the skin, whose row of the table of regions is `region`."""
    rx, ry, rz = point.rx, point.ry, point.rz
    nx, ny, nz = point.nx, point.ny, point.nz
    vx, vy, vz = point.vx, point.vy, point.vz
    phase = skin.phase_0
    n1 = noise(rx * 0.45 + phase, ry * 0.45, rz * 0.45 + skin.phase_1)
    n2 = noise(rx * 1.6 + phase, ry * 1.6 + skin.phase_1, rz * 1.6)
    n3 = noise(rx * 7.0 + phase, ry * 7.0, rz * 7.0)
    n4 = noise(rx * 17.0, ry * 17.0 + phase, rz * 17.0)
    # pigment
    r = skin.colour[0]
    g = skin.colour[1]
    b = skin.colour[2]
    mottled = 1 + skin.roughness * ((n1 - 0.5) * 0.16 + (n2 - 0.5) * 0.14 + (n3 - 0.5) * 0.12 + (n4 - 0.5) * 0.12)
    red = (n1 - 0.5) * 0.10 + (n2 - 0.5) * 0.08
    # blood: nose tip, cheeks, ears, chin
    warm = 0.35 * region[OILY] + 0.55 * region[CHEEKS]
    if abs(rx) > 7.9 and ry > -2.4 and ry < 6 and rz > -2:
        warm += 0.7
    red += 0.16 * warm
    r *= mottled * (1 + 0.35 * red)
    g *= mottled * (1 - 0.75 * red)
    b *= mottled * (1 - 0.75 * red)
    blush = region[CHEEKS] * skin.rosiness * (0.8 + 0.4 * n2)
    r *= 1 + 0.06 * blush
    g *= 1 - 0.30 * blush
    b *= 1 - 0.21 * blush
    if skin.freckles > 0:
        f = noise(rx * 5.2 + 31.0, ry * 5.2, rz * 5.2)
        amount = smoothstep(0.64, 0.76, f) * skin.freckles * min(1.0, region[CHEEKS] * 1.2 + 1.1 * region[OILY] + 0.15)
        r *= 1 - 0.26 * amount
        g *= 1 - 0.38 * amount
        b *= 1 - 0.48 * amount
    circle = region[DARK_CIRCLE] * skin.dark_circles
    r *= 1 - 0.24 * circle
    g *= 1 - 0.29 * circle
    b *= 1 - 0.20 * circle
    lid = region[LIDS] * 0.28
    r *= 1 - lid * 0.55
    g *= 1 - lid
    b *= 1 - lid
    if skin.age > 0.01:
        line = _age_line(rx, ry, rz, phase) * skin.age
        r *= 1 - 0.34 * line
        g *= 1 - 0.42 * line
        b *= 1 - 0.42 * line
        ny -= 0.25 * line
    # eyeshadow, eyeliner
    shadow = region[EYESHADOW] * skin.shadow_strength
    r = r * (1 - shadow) + shadow * skin.eyeshadow[0]
    g = g * (1 - shadow) + shadow * skin.eyeshadow[1]
    b = b * (1 - shadow) + shadow * skin.eyeshadow[2]
    liner = region[EYELINER] * (0.38 + 0.50 * skin.liner_strength)
    liner = min(liner, 1.0)
    r *= 1 - 0.92 * liner
    g *= 1 - 0.93 * liner
    b *= 1 - 0.92 * liner
    # lips
    lips = region[LIPS]
    fine = 0.9 + 0.2 * noise(rx * 9.0, ry * 2.5, rz * 2.0)
    r = r * (1 - lips) + lips * skin.lips[0] * fine
    g = g * (1 - lips) + lips * skin.lips[1] * fine
    b = b * (1 - lips) + lips * skin.lips[2] * fine
    # paint in the colour of hair, under the strands of scalp, brows and beard
    painted = 0.0
    if skin.scalp > 0:
        painted = region[SCALP] * skin.scalp
    beard = (
        region[MOUSTACHE] * skin.moustache
        + region[GOATEE] * skin.goatee
        + region[FULL_BEARD] * skin.full_beard
        + region[SIDEBURNS] * skin.sideburns
    )
    beard = min(beard, 0.96) * (0.72 + 0.56 * n4)
    grain = noise(rx * 23.0 + 5.0, ry * 23.0, rz * 23.0)
    beard *= 1 - skin.stubble * (1 - smoothstep(0.3, 0.62, grain)) * 0.75
    brow = region[BROWS] * 0.62
    m = max(painted, brow)
    r = r * (1 - m) + m * skin.hair[0]
    g = g * (1 - m) + m * skin.hair[1]
    b = b * (1 - m) + m * skin.hair[2]
    m = min(max(beard, 0.0), 1.0)
    r = r * (1 - m) + m * skin.beard[0]
    g = g * (1 - m) + m * skin.beard[1]
    b = b * (1 - m) + m * skin.beard[2]
    # pores turn the normal a little
    bumps = 0.13 * skin.roughness * (1 - 0.6 * lips)
    nx += bumps * (n3 - 0.5) + 0.10 * (n4 - 0.5)
    ny += bumps * (noise(rx * 7.0 + 70.0, ry * 7.0, rz * 7.0) - 0.5)
    nz += bumps * (n2 - 0.5)
    nl = math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-6
    nx /= nl
    ny /= nl
    nz /= nl
    s = lit_share(point.X + nx * 0.12, point.Y + ny * 0.12, point.Z + nz * 0.12, shadows, 0.22)
    kr, kg, kb = diffuse(nx, ny, nz, lights, 0.34, 0.16, 0.10, point.occlusion, s)
    r *= kr
    g *= kg
    b *= kb
    # grease: a broad and a narrow highlight, stronger at grazing angles (Schlick 1994)
    facing = max(nx * vx + ny * vy + nz * vz, 0.0)
    fresnel = 0.03 + 0.30 * (1 - facing) ** 5
    sheen = skin.oiliness * (0.45 + 0.8 * region[OILY] + 0.25 * n1) * (0.7 + 0.6 * n4) * (1 - 0.7 * m)
    if lips > 0.3:
        sheen = sheen * (1 - lips) + lips * (0.55 + 1.6 * skin.gloss)
    for k in range(3):
        ss = s if k == 0 else point.occlusion
        q = (
            (
                highlight(nx, ny, nz, vx, vy, vz, lights, k, 22.0) * 2.6
                + highlight(nx, ny, nz, vx, vy, vz, lights, k, 90.0) * (3.2 + 6.0 * lips * skin.gloss)
            )
            * fresnel
            * sheen
            * ss
        )
        r += q * lights[k, 3]
        g += q * lights[k, 4]
        b += q * lights[k, 5]
    return r, g, b


@njit(**JIT)
def _age_line(rx, ry, rz, phase):
    """How deep in a line of age a rest point is: on the forehead, beside the mouth, around the eyes."""
    depth = 0.0
    xa = abs(rx)
    if ry > 6.6 and xa < 5.5:
        for k in range(4):
            line = 7.25 + 0.78 * k + 0.35 * (noise(rx * 0.45 + phase, k * 3.3, 2.0) - 0.5) - 0.012 * rx * rx
            depth = max(
                depth,
                math.exp(-(((ry - line) / 0.13) ** 2))
                * (1 - (rx / 5.5) ** 2)
                * smoothstep(0.25, 0.5, noise(rx * 0.6, k * 7.7 + phase, 5.0))
                * 0.8,
            )
    if ry < 0.2 and ry > -4.6 and rz > 7.0:
        fold = 2.05 + 0.50 * (0.1 - ry) - 0.045 * (0.1 - ry) ** 2
        depth = max(
            depth,
            math.exp(-(((xa - fold) / (0.17 + 0.04 * (0.2 - ry))) ** 2))
            * smoothstep(0.2, -0.5, ry)
            * smoothstep(-4.6, -3.2, ry)
            * 1.15,
        )
    ex = xa - 4.35
    ey = ry - 3.4
    from_eye = math.sqrt(ex * ex + ey * ey)
    if from_eye > 0.5 and from_eye < 2.1 and ex > 0:
        angle = math.atan2(ey, ex)
        if abs(angle) < 0.9:
            depth = max(
                depth,
                (0.5 + 0.5 * math.cos(angle * 14.0)) ** 3
                * smoothstep(0.5, 0.8, from_eye)
                * (1 - smoothstep(1.2, 2.1, from_eye))
                * 0.8,
            )
    return depth
