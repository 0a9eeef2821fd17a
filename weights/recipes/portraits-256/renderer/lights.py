"""Lamps, the shadows of the key light, and how a surface answers them."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from renderer.noise import JIT, F
from renderer.parameters import Parameters
from renderer.rasteriser import empty_depth, rasterise_depth

KEY, FILL, RIM, SKY, GROUND, SIDE = range(6)
"""Rows of the table of lights (6, 6): lamps hold a direction (3) and a colour (3), sky and ground a colour (3), and the
last row the side, -1 or 1, from which the ambient light is a little stronger."""

SHADOW_SIZE = 256  # pixels of a shadow map
SHADOW_EXTENT = 32.0  # centimetres that it covers


class Shadows(NamedTuple):
    """Depth maps from the key light: of meshes, which cast hard shadows, and of hair, which lets some light through."""

    rotation: NDArray[np.float64]  # (3, 3), rows: right, up, toward the light
    x: float
    y: float
    scale: float  # pixels per centimetre
    mesh: NDArray[np.float32]
    hair: NDArray[np.float32]


def lights_of(person: Parameters) -> NDArray[np.float64]:
    """The table of lights: key light, weak fill from the other side, rim light from behind, ambient."""
    lights = np.zeros((6, 6), np.float64)
    azimuth = person.normal("key_az") * 32
    elevation = min(max(28 + 15 * person.normal("key_el"), -5), 65)
    warmth = person.normal("key_warm")
    lights[KEY, :3] = _direction(azimuth, elevation)
    lights[KEY, 3:] = person.uniform("key_int", 0.45, 1.15) * np.array([1 + 0.07 * warmth, 1.0, 1 - 0.09 * warmth])
    lights[FILL, :3] = _direction(-azimuth * 0.8 - math.copysign(35, azimuth), 8)
    lights[FILL, 3:] = person.uniform("fill_int", 0.06, 0.34) * np.array([1.0, 1.0, 1.03])
    lights[RIM, :3] = _direction((1 if person.normal("rim_side") > 0 else -1) * 142, 25)
    lights[RIM, 3:] = person.uniform("rim_int", 0.0, 0.7) * np.array([1, 0.98, 0.96])
    warmth, ambient = person.normal("amb_warm"), person.uniform("amb_int", 0.22, 0.52)
    lights[SKY, :3] = ambient * np.array([1 + 0.06 * warmth, 1, 1 - 0.07 * warmth])
    lights[GROUND, :3] = ambient * 0.62 * np.array([1.05, 0.97, 0.92])
    lights[SIDE, 0] = np.sign(azimuth)
    return lights


def exposure_of(person: Parameters, lights: NDArray[np.float64]) -> float:
    """Gain that evens out how much light there is."""
    ambient, key = person.uniform("amb_int", 0.22, 0.52), person.uniform("key_int", 0.45, 1.15)
    lit = ambient * 0.8 + key * 0.72 + 0.5 * lights[FILL, 4]
    return float(0.97 * math.exp(0.13 * person.normal("exposure")) * (1.02 / lit) ** 0.6)


def cast_shadows(
    lights: NDArray[np.float64],
    head_rotation: NDArray[np.float32],
    vertices: NDArray[np.float32],
    triangles: NDArray[np.int32],
    casting: NDArray[np.int64],
) -> Shadows:
    """Draw triangles[casting] as the key light sees them; the map of hair is still empty."""
    toward = lights[KEY, :3]
    right = np.cross([0, 1.0, 0], toward)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(toward, right), toward])
    middle = rotation @ (head_rotation @ np.array([0, 2.5, 2.0], F))
    scale = SHADOW_SIZE / SHADOW_EXTENT
    seen = vertices @ rotation.T.astype(F)
    depth = rasterise_depth(
        (seen[:, 0] - middle[0]) * F(scale) + F(SHADOW_SIZE / 2),
        (seen[:, 1] - middle[1]) * F(scale) + F(SHADOW_SIZE / 2),
        -seen[:, 2],
        triangles,
        casting,
        SHADOW_SIZE,
    )
    return Shadows(rotation, middle[0], middle[1], scale, depth, empty_depth(SHADOW_SIZE, SHADOW_SIZE))


def _direction(azimuth: float, elevation: float) -> list[float]:
    """Unit vector from two angles in degrees; 0, 0 is straight ahead."""
    azimuth, elevation = math.radians(azimuth), math.radians(elevation)
    return [
        math.sin(azimuth) * math.cos(elevation),
        math.sin(elevation),
        math.cos(azimuth) * math.cos(elevation),
    ]


@njit(**JIT)
def cast_strand_shadows(points, counts, rotation, shadows):
    """Draw strands, (M, K, 3) of which counts (M,) points are used, into the map of hair.

    `rotation` takes the strands' frame to the light's.
    """
    H, W = shadows.hair.shape
    ox, oy, scale = shadows.x, shadows.y, shadows.scale
    for i in range(points.shape[0]):
        for k in range(1, counts[i]):
            for q in range(3):
                t = q / 3.0
                X = points[i, k - 1, 0] * (1 - t) + points[i, k, 0] * t
                Y = points[i, k - 1, 1] * (1 - t) + points[i, k, 1] * t
                Z = points[i, k - 1, 2] * (1 - t) + points[i, k, 2] * t
                u = int((X * rotation[0, 0] + Y * rotation[0, 1] + Z * rotation[0, 2] - ox) * scale + W * 0.5)
                v = int((X * rotation[1, 0] + Y * rotation[1, 1] + Z * rotation[1, 2] - oy) * scale + H * 0.5)
                d = -(X * rotation[2, 0] + Y * rotation[2, 1] + Z * rotation[2, 2])
                for a in range(2):
                    for b in range(2):
                        if 0 <= u + a < W and 0 <= v + b < H and d < shadows.hair[v + b, u + a]:
                            shadows.hair[v + b, u + a] = d


@njit(**JIT)
def lit_share(X, Y, Z, shadows, bias):
    """How much of the key light reaches a point: 1 is all of it.

    Nine soft taps on the map of meshes, and an exponential of the depth within hair.
    """
    rotation = shadows.rotation
    H, W = shadows.mesh.shape
    u = (X * rotation[0, 0] + Y * rotation[0, 1] + Z * rotation[0, 2] - shadows.x) * shadows.scale + W * 0.5
    v = (X * rotation[1, 0] + Y * rotation[1, 1] + Z * rotation[1, 2] - shadows.y) * shadows.scale + H * 0.5
    d = -(X * rotation[2, 0] + Y * rotation[2, 1] + Z * rotation[2, 2])
    s = 0.0
    h = 0.0
    for a in range(-1, 2):
        for b in range(-1, 2):
            i = int(u + a * 1.8)
            j = int(v + b * 1.8)
            if i < 0 or j < 0 or i >= W or j >= H:
                continue
            behind = d - shadows.mesh[j, i] - bias
            s += min(max(behind * 5.0, 0.0), 1.0)
            within = d - shadows.hair[j, i] - 0.15
            if within > 0:
                h += 1 - math.exp(-1.1 * within)
    return (1 - s / 9.0) * (1 - 0.8 * h / 9.0)


@njit(**JIT)
def diffuse(nx, ny, nz, lights, wrap_r, wrap_g, wrap_b, occlusion, lit):
    """Light (r, g, b) that a rough surface with the normal (nx, ny, nz) scatters.

    wrap: how far light reaches around the terminator, by colour, as it does in skin; occlusion: share of the sky that
    is seen; lit: share of the key light that arrives.
    """
    up = 0.5 + 0.5 * ny
    sd = 0.5 + 0.5 * nx
    r = occlusion * (lights[3, 0] * up + lights[4, 0] * (1 - up)) * (1 + 0.3 * (sd - 0.5) * lights[5, 0])
    g = occlusion * (lights[3, 1] * up + lights[4, 1] * (1 - up)) * (1 + 0.3 * (sd - 0.5) * lights[5, 0])
    b = occlusion * (lights[3, 2] * up + lights[4, 2] * (1 - up)) * (1 + 0.3 * (sd - 0.5) * lights[5, 0])
    for k in range(3):
        nl = nx * lights[k, 0] + ny * lights[k, 1] + nz * lights[k, 2]
        s = lit if k == 0 else (0.4 + 0.6 * occlusion)
        # a little red light passes through
        r += (
            lights[k, 3]
            * max(0.0, (nl + wrap_r) / (1 + wrap_r))
            * (s * (1 - 0.12) + 0.12 * (1 if k else s * 0.5 + 0.5))
        )
        g += lights[k, 4] * max(0.0, (nl + wrap_g) / (1 + wrap_g)) * s
        b += lights[k, 5] * max(0.0, (nl + wrap_b) / (1 + wrap_b)) * s
    return r, g, b


@njit(**JIT)
def highlight(nx, ny, nz, vx, vy, vz, lights, lamp, sharpness):
    """Strength of a lamp's highlight, seen from the direction (vx, vy, vz); a Gaussian around the mirror angle."""
    hx = lights[lamp, 0] + vx
    hy = lights[lamp, 1] + vy
    hz = lights[lamp, 2] + vz
    hl = math.sqrt(hx * hx + hy * hy + hz * hz) + 1e-6
    d = (nx * hx + ny * hy + nz * hz) / hl
    if d <= 0:
        return 0.0
    return math.exp(-(1 - d) * sharpness)
