"""A collar around the neck, and shoulders."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import PchipInterpolator

from renderer.head import Head, Shape
from renderer.mesh import CLOTH, MeshBuilder, sheet_triangles
from renderer.parameters import Parameters

COLLAR_HEIGHTS = (-10.4, -9.9, -8.9)  # by the case of "cloth"
HIGH_COLLAR = 2
SHOULDER_ROWS, SHOULDER_COLUMNS = 15, 41
BUST = np.array(  # height, half its width, half its depth, and how far it is before the neck (cm)
    [
        *[(-9.0, 5.6, 5.0, -1.6), (-10.2, 8.2, 6.2, -1.6), (-11.2, 12.0, 7.4, -1.5), (-12.4, 16.0, 8.4, -1.4)],
        *[(-14.0, 19.2, 9.2, -1.2), (-16.5, 21.2, 9.9, -0.9), (-20.0, 22.2, 10.8, -0.5), (-26.0, 22.8, 11.6, -0.2)],
        *[(-34.0, 23.0, 11.6, -0.2), (-70.0, 22.0, 12.0, -0.2)],
    ]
)
BUST_ROWS, BUST_COLUMNS = 60, 96


def add_clothes(builder: MeshBuilder, head: Head, shape: Shape, person: Parameters, *, bust: bool = False) -> None:
    """Add both to the picture's meshes; with `bust`, what a wide picture shows below the shoulders too."""
    kind = person.choice("cloth")
    _, y, z = head.vertices.T
    edge = COLLAR_HEIGHTS[kind] + 0.12 * (4 - z) * (1 if kind < HIGH_COLLAR else 0.8)
    above = edge - y
    collar = shape.vertices + head.normals * (0.30 if kind < HIGH_COLLAR else 0.5)
    collar[:, 1] += np.minimum(above, 0)  # what sticks out is pressed down to the edge
    covered = head.shell[(above[head.shell] > 0).any(1)]
    used, triangles = np.unique(covered, return_inverse=True)
    if len(used):
        occlusion = 0.35 + 0.5 * head.occlusion[used]
        builder.add(collar[used], triangles.reshape(-1, 3), CLOTH, head.vertices[used], occlusion)
    if bust:
        _add_bust(builder)
        return
    x, z = np.meshgrid(np.linspace(-24, 24, SHOULDER_COLUMNS), np.linspace(-9, 9, SHOULDER_ROWS))
    y = -9.5 - 0.0115 * x**2 - 0.055 * (z + 1.5) ** 2
    builder.add(
        np.stack([x, y, z - 0.5], -1).reshape(-1, 3),
        sheet_triangles(SHOULDER_ROWS, SHOULDER_COLUMNS),
        CLOTH,
        occlusion=np.clip(0.3 + 0.05 * (x**2 + z**2).reshape(-1) / 4, 0.3, 0.9),
    )


def _add_bust(builder: MeshBuilder) -> None:
    """Rings, one below the other, which are rounder than a box and squarer than an ellipse."""
    knots = np.linspace(0, 1, len(BUST))
    rows = PchipInterpolator(knots, BUST)(np.linspace(0, 1, BUST_ROWS))
    angle = np.linspace(0, 2 * np.pi, BUST_COLUMNS)
    across, before = (np.sign(wave) * np.abs(wave) ** 0.85 for wave in (np.sin(angle), np.cos(angle)))
    height, width, depth, forward = rows.T[..., None]
    vertices = np.stack(np.broadcast_arrays(width * across, height, depth * before + forward), -1)
    below_chin = np.clip((-height - 9) / 9, 0, 1) * (before > -2)
    builder.add(
        vertices.reshape(-1, 3),
        sheet_triangles(BUST_ROWS, BUST_COLUMNS),
        CLOTH,
        occlusion=(0.4 + 0.5 * below_chin).reshape(-1),
    )
