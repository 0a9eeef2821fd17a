"""Meshes: parts by number, tubes and sheets, and the joining of all that is in a picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from renderer.noise import F

Array = NDArray[np.floating]
Points = NDArray[np.floating]
Triangles = NDArray[np.integer]

# what a triangle belongs to: the first nine as facekit.npz numbers them, the rest are ours
FACE, HEAD, MOUTH_SOCKET, EYE_SOCKET_LEFT, EYE_SOCKET_RIGHT, GUMS, TEETH, EYE_LEFT, EYE_RIGHT = range(9)
KIT_PARTS = tuple(range(9))
FRAME, LENS, HAT, CLOTH = 20, 21, 22, 23


def smoothsteps(a: float | Array, b: float, x: Array) -> Array:
    """0 up to `a`, 1 from `b` on, and smooth between; for arrays."""
    t = np.clip((x - a) / (b - a), 0, 1)
    return t * t * (3 - 2 * t)


@dataclass(frozen=True)
class Mesh:
    """All surfaces of a picture."""

    vertices: NDArray[np.float32]  # (M, 3), in the head's frame
    triangles: NDArray[np.int32]  # (T, 3)
    parts: NDArray[np.int32]  # (T,)
    rest: NDArray[np.float32]  # (M, 3), the vertices on the mean head, which textures hold on to
    occlusion: NDArray[np.float32]  # (M,), share of the sky that is seen


class MeshBuilder:
    """Meshes, added one after the other."""

    def __init__(self, head: Mesh) -> None:
        self._vertices, self._triangles, self._parts = [head.vertices], [head.triangles], [head.parts]
        self._rest, self._occlusion = [head.rest], [head.occlusion]
        self._count = len(head.vertices)

    def add(
        self,
        vertices: ArrayLike,
        triangles: ArrayLike,
        part: int,
        rest: ArrayLike | None = None,
        occlusion: ArrayLike = 1.0,
    ) -> None:
        """Add a mesh: vertices (m, 3), triangles (t, 3) of them, and where they rest if that is elsewhere."""
        vertices = np.asarray(vertices, F)
        self._vertices.append(vertices)
        self._triangles.append((np.asarray(triangles) + self._count).astype(np.int32))
        self._parts.append(np.full(len(self._triangles[-1]), part, np.int32))
        self._rest.append(vertices if rest is None else np.asarray(rest, F))
        self._occlusion.append(np.broadcast_to(np.asarray(occlusion, F), len(vertices)))
        self._count += len(vertices)

    def mesh(self) -> Mesh:
        """All of them, as one."""
        return Mesh(
            np.concatenate(self._vertices).astype(F),
            np.concatenate(self._triangles),
            np.concatenate(self._parts),
            np.concatenate(self._rest).astype(F),
            np.concatenate(self._occlusion).astype(F),
        )


def tube(path: ArrayLike, radius: float, sides: int = 6, *, closed: bool = False) -> tuple[Points, Triangles]:
    """Vertices and triangles of a tube around the polyline `path` (n, 3)."""
    p = np.asarray(path, np.float64)
    n = len(p)
    t = (np.roll(p, -1, 0) - np.roll(p, 1, 0)) if closed else np.gradient(p, axis=0)
    t /= np.linalg.norm(t, axis=1, keepdims=True) + 1e-9
    up = np.array([0, 0, 1.0]) if abs(t[:, 2]).mean() < 0.8 else np.array([0, 1.0, 0])
    a = np.cross(t, up)
    a /= np.linalg.norm(a, axis=1, keepdims=True) + 1e-9
    b = np.cross(t, a)
    angle = np.arange(sides) * 2 * np.pi / sides
    ring = np.cos(angle)[None, :, None] * a[:, None] + np.sin(angle)[None, :, None] * b[:, None]
    vertices = (p[:, None] + radius * ring).reshape(-1, 3)
    triangles = []
    for i in range(n if closed else n - 1):
        for j in range(sides):
            near, near_next = i * sides + j, i * sides + (j + 1) % sides
            far, far_next = ((i + 1) % n) * sides + j, ((i + 1) % n) * sides + (j + 1) % sides
            triangles += [(near, near_next, far_next), (near, far_next, far)]
    return vertices, np.array(triangles)


def sheet_triangles(rows: int, columns: int) -> Triangles:
    """Triangles of a sheet whose vertices are numbered row by row."""
    i = np.arange(rows * columns).reshape(rows, columns)
    first = np.stack([i[:-1, :-1], i[1:, :-1], i[1:, 1:]], -1)
    second = np.stack([i[:-1, :-1], i[1:, 1:], i[:-1, 1:]], -1)
    return np.concatenate([first.reshape(-1, 3), second.reshape(-1, 3)])


def distance_within(points: Points, polygon: Points) -> NDArray[np.float64]:
    """Distance of points (m, 2) to a closed polygon (n, 2): above 0 inside, below 0 outside."""
    a = polygon
    b = np.roll(polygon, -1, 0)
    d = b - a
    w = points[:, None] - a[None]
    t = np.clip((w * d).sum(-1) / (d * d).sum(-1), 0, 1)
    distance = np.linalg.norm(w - t[..., None] * d, axis=-1).min(1)
    crossing = (a[None, :, 1] > points[:, None, 1]) != (b[None, :, 1] > points[:, None, 1])
    slope = np.where(abs(d[:, 1]) < 1e-9, 1e-9, d[:, 1])
    at = a[None, :, 0] + (points[:, None, 1] - a[None, :, 1]) / slope * d[None, :, 0]
    inside = ((crossing & (points[:, None, 0] < at)).sum(1) % 2) == 1
    return np.where(inside, distance, -distance)
