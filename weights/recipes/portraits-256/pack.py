"""Pack the meshes of ICT-FaceKit (its light model) into one compact facekit.npz.

    git clone https://github.com/ICT-VGL/ICT-FaceKit
    git -C ICT-FaceKit checkout da5f95a607f5e6b37755b38d3385d7f2853732e5
    python pack.py ICT-FaceKit/FaceXModel facekit.npz

What it writes is a derived copy under the MIT License, Copyright (c) 2020 USC Institute for Creative Technologies: keep
LICENSE-ICT-FaceKit.txt with it. Arrays: neutral (26719, 3) in cm; tri, tri_uv (T, 3); uv; part and mat (T,) with
part_names and mat_names; identity (100, 26719, 3) by falling energy; expression (55, 26719, 3) with expression_names;
landmarks68; idx_*, the lists of vertices that the kit comes with.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

IDENTITIES = 100
PUPILS = ("PupilDilate_L", "PupilDilate_R")
NEUTRAL = "generic_neutral_mesh.obj"
# parts of the kit: the number of the first polygon after each, and its name
PARTS = (
    (9230, "face"),
    (11144, "head_neck"),
    (13226, "mouth_socket"),
    (13630, "eye_socket_l"),
    (14034, "eye_socket_r"),
    (17006, "gums_tongue"),
    (21496, "teeth"),
    (23094, "eyeball_l"),
    (24692, "eyeball_r"),
    (24855, "lacrimal_l"),
    (25018, "lacrimal_r"),
    (25033, "eyeblend_l"),
    (25048, "eyeblend_r"),
    (25176, "eyeocc_l"),
    (25304, "eyeocc_r"),
    (25844, "lashes_l"),
    (26384, "lashes_r"),
)
# vertices of the 68 iBUG landmarks
# fmt: off
LANDMARKS = (
    1225, 1888, 1052, 367, 1719, 1722, 2199, 1447, 966, 3661, 4390, 3927, 3924, 2608, 3272, 4088, 3443, 268, 493, 1914,
    2044, 1401, 3615, 4240, 4114, 2734, 2509, 978, 4527, 4942, 4857, 1140, 2075, 1147, 4269, 3360, 1507, 1542, 1537,
    1528, 1518, 1511, 3742, 3751, 3756, 3721, 3725, 3732, 5708, 5695, 2081, 0, 4275, 6200, 6213, 6346, 6461, 5518, 5957,
    5841, 5702, 5711, 5533, 6216, 6207, 6470, 5517, 5966,
)
# fmt: on


def read_vertices(path: Path) -> NDArray[np.float64]:
    """The vertices (M, 3) of an .obj file."""
    lines = [line[2:] for line in path.read_text().splitlines() if line.startswith("v ")]
    return np.array(" ".join(lines).split(), np.float64).reshape(len(lines), -1)[:, :3]


def read_faces(path: Path) -> dict[str, NDArray]:
    """Triangles of an .obj file: tri and tri_uv (T, 3), part and mat (T,), uv (U, 2), mat_names."""
    uv, polygons, names, material = [], [], [], ""
    for line in path.read_text().splitlines():
        if line.startswith("vt "):
            uv.append([float(number) for number in line.split()[1:3]])
        elif line.startswith("usemtl"):
            material = line.split()[1]
            if material not in names:
                names.append(material)
        elif line.startswith("f "):
            corners = [corner.split("/") for corner in line.split()[1:]]
            polygons.append(([int(c[0]) - 1 for c in corners], [int(c[1]) - 1 for c in corners], names.index(material)))
    ends = [end for end, _ in PARTS]
    rows = [
        ((p[0], p[k], p[k + 1]), (t[0], t[k], t[k + 1]), int(np.searchsorted(ends, number, side="right")), mat)
        for number, (p, t, mat) in enumerate(polygons)
        for k in range(1, len(p) - 1)
    ]
    triangles, textures, parts, materials = zip(*rows, strict=True)
    return {
        "tri": np.array(triangles, np.uint16),
        "tri_uv": np.array(textures, np.uint16 if len(uv) < 65536 else np.int32),
        "uv": np.array(uv, np.float32),
        "part": np.array(parts, np.uint8),
        "part_names": np.array([name for _, name in PARTS]),
        "mat": np.array(materials, np.uint8),
        "mat_names": np.array(names),
    }


def pack(kit: Path, output: Path) -> None:
    """Read the folder FaceXModel of the kit, write `output`."""
    neutral = read_vertices(kit / NEUTRAL)
    lists = json.loads((kit / "vertex_indices.json").read_text())
    names = [*lists["expressions"], *PUPILS]
    identity = np.stack([read_vertices(kit / f"identity{k:03d}.obj") - neutral for k in range(IDENTITIES)])
    expression = np.stack([read_vertices(kit / f"{name}.obj") - neutral for name in names])
    order = np.argsort(-(identity**2).sum((1, 2)), kind="stable")  # by falling energy
    indices = {
        f"idx_{name}": np.array(numbers, np.int32)
        for name, numbers in lists.items()
        if isinstance(numbers, list) and numbers and isinstance(numbers[0], int)
    }
    np.savez_compressed(
        output,
        neutral=neutral.astype(np.float32),
        **read_faces(kit / NEUTRAL),
        identity=identity[order].astype(np.float16),
        identity_order=order.astype(np.int32),
        expression=expression.astype(np.float16),
        expression_names=np.array(names),
        landmarks68=np.array(LANDMARKS, np.int32),
        license=np.array(
            "Derived from ICT-FaceKit, MIT License, Copyright (c) 2020 USC Institute for Creative Technologies"
        ),
        **indices,
    )


def main() -> None:
    """Read the arguments, pack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kit", type=Path, help="the folder FaceXModel of ICT-FaceKit")
    parser.add_argument("output", type=Path, help="facekit.npz")
    arguments = parser.parse_args()
    if not (arguments.kit / NEUTRAL).is_file():
        raise SystemExit(f"error: there is no {arguments.kit / NEUTRAL}: give the folder FaceXModel of ICT-FaceKit")
    pack(arguments.kit, arguments.output)


if __name__ == "__main__":
    main()
