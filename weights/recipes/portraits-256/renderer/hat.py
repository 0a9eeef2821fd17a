"""A beanie or a cap: the skull, pushed out, and for the cap a brim."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from renderer.head import Head, Shape
from renderer.mesh import HAT, MeshBuilder, sheet_triangles, smoothsteps
from renderer.noise import F
from renderer.parameters import Parameters

BEANIE, CAP = range(2)  # cases of "hat_type"
RIM_HEIGHT = 9.0  # of the hat's lower edge above the brow; it falls toward the neck
RIM_FRONT, RIM_SLOPE = 9.0, 0.30
BRIM_ROWS, BRIM_COLUMNS = 7, 25
BRIM_ANGLE = 0.98  # radians to either side


def height_above_rim(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Height (cm) of rest points (…, 3) above the lower edge of a hat."""
    return points[..., 1] - (RIM_HEIGHT - (RIM_FRONT - points[..., 2]) * RIM_SLOPE)


def add_hat(builder: MeshBuilder, head: Head, shape: Shape, person: Parameters) -> None:
    """Add it to the picture's meshes, if the person wears one."""
    if not person.choice("hat_on"):
        return
    kind = person.choice("hat_type")
    height = height_above_rim(head.vertices)
    covered = head.shell[(height[head.shell] > -0.25).all(1) & ~head.is_ear[head.shell].any(1)]
    used, triangles = np.unique(covered, return_inverse=True)
    outward = head.vertices[used] - np.array([0, 4.0, -0.5], F)
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    height, rest_height = height[used], head.vertices[used, 1]
    over_hair = 0.75 if person.choice("hair_style") >= 2 else 0.5
    if kind == BEANIE:  # a folded band, and a loose top
        thickness = 0.45 * (1 - smoothsteps(2.0, 2.3, height))
        top = 0.9 * smoothsteps(11, 15, rest_height)
    else:
        thickness = 0.25 * smoothsteps(0, 3, height)
        top = 0.5 * smoothsteps(11, 15, rest_height)
    offset = over_hair + thickness + top
    builder.add(
        shape.neutral[used] + outward * offset[:, None],
        triangles.reshape(-1, 3),
        HAT,
        head.vertices[used],
        np.clip(0.6 + height * 0.2, 0.6, 1),
    )
    if kind == CAP:
        builder.add(_brim(head, shape).reshape(-1, 3), sheet_triangles(BRIM_ROWS, BRIM_COLUMNS), HAT)


def _brim(head: Head, shape: Shape) -> NDArray[np.float64]:
    """(BRIM_ROWS, BRIM_COLUMNS, 3), from the forehead outward."""
    angle, outward = np.meshgrid(np.linspace(-BRIM_ANGLE, BRIM_ANGLE, BRIM_COLUMNS), np.linspace(0, 1, BRIM_ROWS))
    x0, y0, z0 = head.vertices.T
    forehead = shape.neutral[np.argmin(abs(x0) + abs(y0 - 9.2) + (z0 < 0) * 99), 2] + 0.35
    x = np.sin(angle) * 7.7 * (1 + 0.04 * outward)
    edge = np.cos(angle / BRIM_ANGLE * np.pi / 2) ** 0.6
    z = forehead - 8.2 + np.cos(angle) * 8.2 + outward * 5.4 * edge
    y = RIM_HEIGHT + 0.75 - 0.028 * x**2 - outward * edge * 2.7
    return np.stack([x, y, z], -1)
