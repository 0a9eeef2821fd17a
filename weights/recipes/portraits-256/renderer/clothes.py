"""A collar around the neck, and shoulders."""

from __future__ import annotations

import numpy as np

from renderer.head import Head, Shape
from renderer.mesh import CLOTH, MeshBuilder, sheet_triangles
from renderer.parameters import Parameters

COLLAR_HEIGHTS = (-10.4, -9.9, -8.9)  # by the case of "cloth"
HIGH_COLLAR = 2
SHOULDER_ROWS, SHOULDER_COLUMNS = 15, 41


def add_clothes(builder: MeshBuilder, head: Head, shape: Shape, person: Parameters) -> None:
    """Add both to the picture's meshes."""
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
    x, z = np.meshgrid(np.linspace(-24, 24, SHOULDER_COLUMNS), np.linspace(-9, 9, SHOULDER_ROWS))
    y = -9.5 - 0.0115 * x**2 - 0.055 * (z + 1.5) ** 2
    builder.add(
        np.stack([x, y, z - 0.5], -1).reshape(-1, 3),
        sheet_triangles(SHOULDER_ROWS, SHOULDER_COLUMNS),
        CLOTH,
        occlusion=np.clip(0.3 + 0.05 * (x**2 + z**2).reshape(-1) / 4, 0.3, 0.9),
    )
