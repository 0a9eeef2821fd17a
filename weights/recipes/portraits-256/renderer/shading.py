"""Light from every pixel of a z-buffer, by what is seen there."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from renderer.lights import diffuse, highlight, lit_share
from renderer.mesh import EYE_LEFT, EYE_RIGHT, EYE_SOCKET_RIGHT, FRAME, GUMS, HAT, HEAD, MOUTH_SOCKET, TEETH
from renderer.noise import JIT, F, noise, smoothstep
from renderer.skin import Point, shade_skin

EYE_X, EYE_Y = 3.094, 3.614  # of the pupils of the mean head
IRIS_RADIUS = 0.70


class Materials(NamedTuple):
    """What all but the skin is like; colours are linear RGB (3,)."""

    iris: NDArray[np.float64]
    frame: NDArray[np.float64]
    tortoise: float  # 0 or 1
    metal: float  # 0 or 1
    hat: NDArray[np.float64]
    rim_height: float
    hat_type: float
    cloth: NDArray[np.float64]
    pattern_colour: NDArray[np.float64]
    pattern: float  # 0 plain, 1 stripes, 2 checks


@njit(**JIT)
def shade(
    ids, second, third, triangles, parts, vertices, normals, rest, regions, occlusion, lights, shadows, distance, skin,
    materials, light, covered,
):  # fmt: skip
    """Write light (S, S, 3) and covered (S, S) where the z-buffer of `rasterise` holds a triangle.

    vertices and normals are in the world, rest on the mean head, regions (M, COUNT); distance is the camera's.
    """
    H, W = ids.shape
    for y in range(H):
        for x in range(W):
            t = ids[y, x]
            if t < 0:
                continue
            i0 = triangles[t, 0]
            i1 = triangles[t, 1]
            i2 = triangles[t, 2]
            b1 = second[y, x]
            b2 = third[y, x]
            b0 = 1 - b1 - b2
            nx = b0 * normals[i0, 0] + b1 * normals[i1, 0] + b2 * normals[i2, 0]
            ny = b0 * normals[i0, 1] + b1 * normals[i1, 1] + b2 * normals[i2, 1]
            nz = b0 * normals[i0, 2] + b1 * normals[i1, 2] + b2 * normals[i2, 2]
            rx = b0 * rest[i0, 0] + b1 * rest[i1, 0] + b2 * rest[i2, 0]
            ry = b0 * rest[i0, 1] + b1 * rest[i1, 1] + b2 * rest[i2, 1]
            rz = b0 * rest[i0, 2] + b1 * rest[i1, 2] + b2 * rest[i2, 2]
            X = b0 * vertices[i0, 0] + b1 * vertices[i1, 0] + b2 * vertices[i2, 0]
            Y = b0 * vertices[i0, 1] + b1 * vertices[i1, 1] + b2 * vertices[i2, 1]
            Z = b0 * vertices[i0, 2] + b1 * vertices[i1, 2] + b2 * vertices[i2, 2]
            A = b0 * occlusion[i0] + b1 * occlusion[i1] + b2 * occlusion[i2]
            part = parts[t]
            vx = -X
            vy = -Y
            vz = distance - Z
            vl = math.sqrt(vx * vx + vy * vy + vz * vz)
            vx /= vl
            vy /= vl
            vz /= vl
            nl = math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-6
            nx /= nl
            ny /= nl
            nz /= nl
            if part >= FRAME and nx * vx + ny * vy + nz * vz < 0:  # ours have two sides
                nx = -nx
                ny = -ny
                nz = -nz
            covered[y, x] = 1
            point = Point(X, Y, Z, nx, ny, nz, rx, ry, rz, vx, vy, vz, A)
            if part <= HEAD:
                region = regions[i0] * F(b0) + regions[i1] * F(b1) + regions[i2] * F(b2)
                r, g, b = shade_skin(point, region, skin, lights, shadows)
            elif part >= MOUTH_SOCKET and part <= EYE_SOCKET_RIGHT:
                r, g, b = _shade_socket(point, part == MOUTH_SOCKET, skin.colour, lights)
            elif part == GUMS:
                r, g, b = _shade_gums(point, lights, shadows)
            elif part == TEETH:
                r, g, b = _shade_teeth(point, lights, shadows)
            elif part in (EYE_LEFT, EYE_RIGHT):
                r, g, b = _shade_eye(point, materials.iris, skin.phase_1, lights, shadows)
            elif part == FRAME:
                r, g, b = _shade_frame(point, materials, lights, shadows)
            elif part == HAT:
                r, g, b = _shade_hat(point, materials, lights, shadows)
            else:
                r, g, b = _shade_cloth(point, materials, skin.phase_0, lights, shadows)
            light[y, x, 0] = r
            light[y, x, 1] = g
            light[y, x, 2] = b


@njit(**JIT)
def _shade_socket(p, mouth, skin, lights):
    """Dark flesh behind the lips and around the eyeballs."""
    deep = smoothstep(6.5, 11.0, p.rz) if mouth else 0.35
    kr, kg, kb = diffuse(p.nx, p.ny, p.nz, lights, 0.5, 0.3, 0.3, p.occlusion * 0.5, 0.2)
    r = 0.20 * deep * kr
    g = 0.045 * deep * kg
    b = 0.045 * deep * kb
    if not mouth:
        r = skin[0] * 0.4 * kr
        g = skin[1] * 0.25 * kg
        b = skin[2] * 0.22 * kb
    return r, g, b


@njit(**JIT)
def _shade_gums(p, lights, shadows):
    deep = 0.25 + 0.75 * smoothstep(5.5, 10.0, p.rz)
    s = 0.35 + 0.3 * lit_share(p.X, p.Y, p.Z, shadows, 0.8)
    kr, kg, kb = diffuse(p.nx, p.ny, p.nz, lights, 0.4, 0.3, 0.3, 0.45, s)
    r = 0.42 * deep * kr
    g = 0.12 * deep * kg
    b = 0.12 * deep * kb
    q = highlight(p.nx, p.ny, p.nz, p.vx, p.vy, p.vz, lights, 0, 120.0) * 0.12 * deep
    r += q
    g += q
    b += q
    return r, g, b


@njit(**JIT)
def _shade_teeth(p, lights, shadows):
    deep = 0.30 + 0.70 * smoothstep(8.3, 10.2, p.rz)
    s = 0.5 + 0.45 * lit_share(p.X, p.Y, p.Z, shadows, 0.9)
    kr, kg, kb = diffuse(p.nx, p.ny, p.nz, lights, 0.5, 0.5, 0.5, 0.62, s)
    r = 0.72 * deep * kr
    g = 0.67 * deep * kg
    b = 0.575 * deep * kb
    q = highlight(p.nx, p.ny, p.nz, p.vx, p.vy, p.vz, lights, 0, 150.0) * 0.3 * deep
    r += q * lights[0, 3]
    g += q * lights[0, 4]
    b += q * lights[0, 5]
    return r, g, b


@njit(**JIT)
def _shade_eye(p, iris, phase, lights, shadows):
    ex = abs(p.rx) - EYE_X
    ey = p.ry - EYE_Y
    rho = math.sqrt(ex * ex + ey * ey)
    angle = math.atan2(ey, ex)
    if p.rz < 8.2:  # the back of the eyeball
        rho = 2.0
    # white, with veins toward the corners
    veins = noise(p.rx * 5.0, p.ry * 9.0, 3.0) * smoothstep(0.7, 1.5, rho)
    r = 0.66
    g = 0.60 - 0.10 * veins
    b = 0.57 - 0.10 * veins
    if rho < IRIS_RADIUS + 0.06:
        fibres = 0.72 + 0.56 * noise(angle * 9.0 + 40.0, rho * 3.5, 1.5 + phase)
        edge = smoothstep(IRIS_RADIUS * 0.72, IRIS_RADIUS, rho)
        c0 = iris[0] * fibres * (1.25 - 0.85 * edge)
        c1 = iris[1] * fibres * (1.2 - 0.85 * edge)
        c2 = iris[2] * fibres * (1.2 - 0.85 * edge)
        warm = 1 - smoothstep(0.25, 0.42, rho)  # toward the pupil
        c0 = c0 * (1 + 0.45 * warm)
        c1 = c1 * (1 + 0.1 * warm)
        pupil = 1 - smoothstep(0.21, 0.26, rho)
        c0 = c0 * (1 - pupil) + 0.004 * pupil
        c1 = c1 * (1 - pupil) + 0.004 * pupil
        c2 = c2 * (1 - pupil) + 0.004 * pupil
        e = 1 - smoothstep(IRIS_RADIUS - 0.05, IRIS_RADIUS + 0.06, rho)
        r = r * (1 - e) + c0 * e
        g = g * (1 - e) + c1 * e
        b = b * (1 - e) + c2 * e
    lit = lit_share(p.X, p.Y, p.Z + 0.15, shadows, 0.35)
    lid = 0.46 + 0.54 * (1 - smoothstep(0.05, 0.72, ey))  # the shadow of the upper lid, and of the corners
    lid *= 1 - 0.35 * smoothstep(0.6, 1.3, abs(ex))
    kr, kg, kb = diffuse(p.nx, p.ny, p.nz, lights, 0.5, 0.4, 0.4, 0.75, 0.35 + 0.65 * lit)
    r *= kr * lid
    g *= kg * lid
    b *= kb * lid
    q = (
        highlight(p.nx, p.ny, p.nz, p.vx, p.vy, p.vz, lights, 0, 420.0) * 1.6 * (0.35 + 0.65 * lit)
        + highlight(p.nx, p.ny, p.nz, p.vx, p.vy, p.vz, lights, 1, 350.0) * 0.5
    )
    r += q
    g += q
    b += q
    return r, g, b


@njit(**JIT)
def _shade_frame(p, materials, lights, shadows):
    spots = noise(p.rx * 3.0, p.ry * 3.0, p.rz * 3.0)
    m = 1.0
    if materials.tortoise > 0:
        m = 0.35 + 1.1 * smoothstep(0.4, 0.6, spots)
    s = lit_share(p.X, p.Y, p.Z, shadows, 0.5)
    kr, kg, kb = diffuse(p.nx, p.ny, p.nz, lights, 0.1, 0.1, 0.1, 0.9, s)
    r = materials.frame[0] * kr * m
    g = materials.frame[1] * kg * m
    b = materials.frame[2] * kb * m
    metal = materials.metal  # whose highlights are coloured
    for k in range(2):
        q = highlight(p.nx, p.ny, p.nz, p.vx, p.vy, p.vz, lights, k, 60.0) * (0.25 + 1.2 * metal)
        r += q * lights[k, 3] * (1 - metal + metal * materials.frame[0])
        g += q * lights[k, 4] * (1 - metal + metal * materials.frame[1])
        b += q * lights[k, 5] * (1 - metal + metal * materials.frame[2])
    return r, g, b


@njit(**JIT)
def _shade_hat(p, materials, lights, shadows):
    rx, ry, rz = p.rx, p.ry, p.rz
    nx, ny, nz = p.nx, p.ny, p.nz
    azimuth = math.atan2(rx, rz + 0.5)
    height = ry - (materials.rim_height - (9.0 - rz) * 0.30)
    if materials.hat_type < 0.5:  # a beanie: ribs, knitting, the fold of its band
        rib = 0.5 + 0.5 * math.cos(azimuth * 75.0)
        knit = 0.5 + 0.5 * math.cos(ry * 16.0 + (1.0 if rib > 0.5 else 0.0) * 3.14)
        m = 0.55 + 0.35 * rib + 0.15 * knit
        if height > 2.1 and height < 2.45:
            m *= 0.55
        ax = math.cos(azimuth)
        turn = -math.sin(azimuth * 75.0) * 0.35
        nx += turn * ax
        nz -= turn * math.sin(azimuth)
    else:  # a cap: seams, and a darker brim
        m = 0.95 + 0.1 * noise(rx * 14.0, ry * 14.0, rz * 14.0)
        if abs(math.sin(azimuth * 3.0)) < 0.025:
            m *= 0.7
        if rz > 10.6:
            m *= 0.60
    nl = math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-6
    nx /= nl
    ny /= nl
    nz /= nl
    s = lit_share(p.X + nx * 0.2, p.Y + ny * 0.2, p.Z + nz * 0.2, shadows, 0.4)
    kr, kg, kb = diffuse(nx, ny, nz, lights, 0.25, 0.25, 0.25, min(1.0, 0.55 + 0.5 * p.occlusion), s)
    r = materials.hat[0] * m * kr
    g = materials.hat[1] * m * kg
    b = materials.hat[2] * m * kb
    return r, g, b


@njit(**JIT)
def _shade_cloth(p, materials, phase, lights, shadows):
    rx, ry, rz = p.rx, p.ry, p.rz
    nx, ny, nz = p.nx, p.ny, p.nz
    weave = 0.9 + 0.2 * noise(rx * 11.0, ry * 11.0, rz * 11.0)
    fold = noise(rx * 0.7 + phase, ry * 0.7, rz * 0.7) - 0.5
    nx += fold * 0.5
    nl = math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-6
    nx /= nl
    ny /= nl
    nz /= nl
    s = lit_share(p.X + nx * 0.2, p.Y + ny * 0.2, p.Z + nz * 0.2, shadows, 0.4)
    kr, kg, kb = diffuse(nx, ny, nz, lights, 0.25, 0.25, 0.25, p.occlusion, s)
    m = 0.0
    if materials.pattern == 1:
        m = 1.0 if math.sin(ry * 4.2 + abs(rx) * 0.25) > 0.25 else 0.0
    elif materials.pattern == 2:
        m = 1.0 if (math.sin(rx * 3.1 + rz * 1.2) > 0.55) != (math.sin(ry * 3.1) > 0.55) else 0.0
    r = (materials.cloth[0] * (1 - m) + m * materials.pattern_colour[0]) * weave * kr
    g = (materials.cloth[1] * (1 - m) + m * materials.pattern_colour[1]) * weave * kg
    b = (materials.cloth[2] * (1 - m) + m * materials.pattern_colour[2]) * weave * kb
    return r, g, b
