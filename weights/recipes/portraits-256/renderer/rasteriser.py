"""Triangles into z-buffers, and normals of vertices."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from renderer.noise import JIT, F

FAR = 1e9  # what an empty pixel's depth is


def empty_depth(height: int, width: int) -> NDArray[np.float32]:
    """A z-buffer (height, width) with nothing in it."""
    return np.full((height, width), FAR, F)


@njit(**JIT)
def rasterise(px, py, pz, triangles, chosen, depth, ids, second, third):
    """Draw triangles[chosen], keeping at each pixel the nearest.

    px, py, pz: (M,) pixel coordinates and distance (smaller is nearer) of the vertices; triangles: (T, 3).
    depth, ids, second, third: (H, W), written: distance, triangle, and the weights of its second and third corner.
    """
    H, W = depth.shape
    for q in range(chosen.shape[0]):
        t = chosen[q]
        i0 = triangles[t, 0]
        i1 = triangles[t, 1]
        i2 = triangles[t, 2]
        x0 = px[i0]
        y0 = py[i0]
        x1 = px[i1]
        y1 = py[i1]
        x2 = px[i2]
        y2 = py[i2]
        det = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(det) < 1e-9:
            continue
        xa = max(math.ceil(min(x0, x1, x2) - 0.5), 0)
        xb = min(math.floor(max(x0, x1, x2) - 0.5), W - 1)
        ya = max(math.ceil(min(y0, y1, y2) - 0.5), 0)
        yb = min(math.floor(max(y0, y1, y2) - 0.5), H - 1)
        inv = 1.0 / det
        for y in range(ya, yb + 1):
            for x in range(xa, xb + 1):
                dx = x + 0.5 - x0
                dy = y + 0.5 - y0
                b1 = (dx * (y2 - y0) - (x2 - x0) * dy) * inv
                b2 = ((x1 - x0) * dy - dx * (y1 - y0)) * inv
                if b1 < -1e-6 or b2 < -1e-6 or b1 + b2 > 1.000001:
                    continue
                z = pz[i0] + b1 * (pz[i1] - pz[i0]) + b2 * (pz[i2] - pz[i0])
                if z < depth[y, x]:
                    depth[y, x] = z
                    ids[y, x] = t
                    second[y, x] = b1
                    third[y, x] = b2


def rasterise_depth(px, py, pz, triangles, chosen, size):
    """`rasterise` into an empty z-buffer (size, size), which is returned."""
    depth, ids = empty_depth(size, size), np.empty((size, size), np.int32)
    rasterise(px, py, pz, triangles, chosen, depth, ids, np.empty_like(depth), np.empty_like(depth))
    return depth


@njit(**JIT)
def vertex_normals(vertices, triangles, normals):
    """Write into `normals` (M, 3) the unit normals of `vertices` (M, 3): faces weighted by their area."""
    normals[:] = 0
    for t in range(triangles.shape[0]):
        a = triangles[t, 0]
        b = triangles[t, 1]
        c = triangles[t, 2]
        ux = vertices[b, 0] - vertices[a, 0]
        uy = vertices[b, 1] - vertices[a, 1]
        uz = vertices[b, 2] - vertices[a, 2]
        wx = vertices[c, 0] - vertices[a, 0]
        wy = vertices[c, 1] - vertices[a, 1]
        wz = vertices[c, 2] - vertices[a, 2]
        nx = uy * wz - uz * wy
        ny = uz * wx - ux * wz
        nz = ux * wy - uy * wx
        for k in (a, b, c):
            normals[k, 0] += nx
            normals[k, 1] += ny
            normals[k, 2] += nz
    for i in range(normals.shape[0]):
        length = math.sqrt(normals[i, 0] ** 2 + normals[i, 1] ** 2 + normals[i, 2] ** 2) + 1e-12
        normals[i, 0] /= length
        normals[i, 1] /= length
        normals[i, 2] /= length
