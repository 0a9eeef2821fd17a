"""Strands on the face: brows, lashes, beards."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from renderer.colours import Colours
from renderer.head import Head, Roots
from renderer.noise import F
from renderer.parameters import BALD, FULL_BEARD, GOATEE, MOUSTACHE, STUBBLE, Parameters
from renderer.regions import brow_weight
from renderer.strands import Strands

BROW_POINTS, BEARD_POINTS, LASH_POINTS = 3, 4, 4
LASHES = 34  # of one eye
BROW_END = 6.3  # cm from the middle


class BeardPaint(NamedTuple):
    """How much each zone of the skin is painted in the beard's colour, 0 to 1, and how much it is stubble."""

    moustache: float = 0.0
    goatee: float = 0.0
    full_beard: float = 0.0
    sideburns: float = 0.0
    stubble: float = 0.0


def brow_shape(person: Parameters) -> dict[str, float]:
    """Thickness and arch (cm) for `brow_weight`."""
    thickness = 0.40 + 0.09 * person.normal("brow_thick") * 0.6
    arch = person.normal("brow_arch")
    return {
        "thickness": thickness * (1.75 if person.choice("bushy_on") else 0.85),
        "arch": (0.62 + 0.08 * arch) if person.choice("arch_on") else 0.05 + 0.10 * arch,
    }


def grow_brows(head: Head, vertices: NDArray, normals: NDArray, person: Parameters, colours: Colours) -> Strands | None:
    """Brows, on the moved head: vertices and normals (M, 3) in its frame. None where no root is in a brow."""
    roots, bushy = head.brow_roots, person.choice("bushy_on")
    x, y = roots.points[:, 0], roots.points[:, 1]
    weight, along = brow_weight(abs(x), y, **brow_shape(person))
    upward = np.clip(1.0 - 1.9 * along, -0.55, 1.0) + (roots.random[:, 0] - 0.5) * 0.5 - (y - 5.9) * 0.35
    direction = np.stack([np.sign(x) * (0.55 + 0.6 * along), upward, -0.2 * along], 1)
    chosen = (roots.random[:, 2] < weight * (0.75 if bushy else 0.55)) & (abs(x) < BROW_END)
    lengths = 0.38 + 0.35 * roots.random[:, 1] + (0.15 if bushy else 0)
    brown = (colours.brows * 0.8, colours.brows)
    return _grow_on_skin(roots, vertices, normals, chosen, lengths, direction, 0.25, BROW_POINTS, brown, 1.15)


def grow_lashes(vertices: NDArray, landmarks: NDArray, made_up: float) -> list[Strands]:
    """Short dark strands along the edge of each upper lid, longer and thicker with make-up (0 or 1)."""
    result = []
    for corners, side in ((range(36, 40), -1.0), (range(45, 41, -1), 1.0)):
        lid = vertices[landmarks[list(corners)]].astype(np.float64)  # (4, 3), from the outer corner to the inner
        q = np.linspace(0.02, 0.97, LASHES)
        roots = np.stack([np.interp(q, [0, 0.3, 0.68, 1], lid[:, k]) for k in range(3)], 1)
        roots = roots + np.stack([0 * q, 0.10 * np.sin(np.pi * q), 0.02 + 0 * q], 1)
        outward = (0.65 - 1.0 * q) * side
        lengths = (0.30 + 0.22 * made_up) * (1.15 - 0.45 * q)
        direction = np.stack([outward * 0.8, 0.12 + 0 * q, 1.0 + 0 * q], 1)
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        t = np.linspace(0, 1, LASH_POINTS)[None, :, None]
        curved = t * direction[:, None] + np.array([0, 0.55, 0]) * t**2
        points = (roots[:, None] + lengths[:, None, None] * curved).astype(F)
        result.append(
            Strands(
                points,
                np.full(LASHES, LASH_POINTS, np.int64),
                np.full((LASHES, 4), 0.5, F),
                np.zeros(LASHES, np.int64),
                np.zeros((LASHES, LASH_POINTS), F),
                np.full(3, 0.010),
                np.full(3, 0.014),
                width=1.15 + 0.35 * made_up,
            )
        )
    return result


def grow_beard(
    head: Head, vertices: NDArray, normals: NDArray, person: Parameters, colours: Colours
) -> tuple[Strands | None, BeardPaint]:
    """A beard or sideburns, on the moved head, and the paint under them."""
    kind = person.choice("beard")
    sideburns = bool(person.choice("sideburns_on")) and person.choice("hair_style") > BALD
    if not kind and not sideburns:
        return None, BeardPaint()
    density = person.uniform("beard_dens", 0.8, 1.0)
    weight, lengths = _beard_zones(head, person, kind, sideburns)
    roots = head.beard_roots
    x, on_lip = roots.points[:, 0], head.beard_zones[:, 0] > 0.4
    direction = np.stack(
        [
            np.where(on_lip, np.sign(x) * 0.75 + x * 0.1, x * 0.05),
            np.where(on_lip, -0.7, -1.0),
            np.where(on_lip, 0.0, 0.12),
        ],
        1,
    )
    direction = direction + (roots.random[:, :3] - 0.5) * 0.55
    strands = _grow_on_skin(
        roots,
        vertices,
        normals,
        roots.random[:, 3] < weight * density,
        lengths * (0.7 + 0.6 * roots.random[:, 0]),
        direction,
        0.45 if kind != STUBBLE else 0.6,
        BEARD_POINTS,
        (colours.beard * 0.7, colours.beard),
        1.5 if kind != STUBBLE else 1.0,
    )
    if kind == STUBBLE:
        return strands, BeardPaint(0.42, 0.42, 0.42, 0.75 if sideburns else 0.0, 1.0)
    paint = BeardPaint(
        moustache=0.72 if kind >= MOUSTACHE else 0,
        goatee=0.78 if kind >= GOATEE else 0,
        full_beard=0.78 if kind == FULL_BEARD else 0,
        sideburns=0.75 if kind == FULL_BEARD or sideburns else 0,
        stubble=0.25,
    )
    return strands, paint


def _beard_zones(head: Head, person: Parameters, kind: int, sideburns: bool) -> tuple[NDArray, NDArray]:
    """For each root of the beard: how likely a strand grows there, and its length (cm)."""
    moustache, goatee, full, sides = head.beard_zones.T
    weight, lengths = np.zeros(len(moustache)), np.full(len(moustache), 0.3)
    longest = person.uniform("beard_len", 0.35, 1.0) if kind == FULL_BEARD else person.uniform("beard_len", 0.3, 0.6)
    if kind == STUBBLE:
        weight = np.clip(moustache + goatee + full, 0, 1) * 0.55
        lengths[:] = 0.12
    if kind >= MOUSTACHE:
        weight = np.maximum(weight, moustache)
        lengths = np.where(moustache > 0.3, 0.35 + 0.3 * longest, lengths)
    if kind >= GOATEE:
        weight = np.maximum(weight, goatee)
        lengths = np.where(goatee > 0.3, 0.4 + 1.0 * longest, lengths)
    if kind == FULL_BEARD:
        weight = np.maximum(weight, np.maximum(full, sides * 1.0))
        lengths = np.where((full > 0.2) & (goatee < 0.3), 0.35 + 0.8 * longest, lengths)
    if sideburns:
        weight = np.maximum(weight, sides)
        lengths = np.where(sides > 0.3, 0.4, lengths)
    return weight, lengths


def _grow_on_skin(
    roots: Roots,
    vertices: NDArray,
    normals: NDArray,
    chosen: NDArray[np.bool_],
    lengths: NDArray,
    direction: NDArray,
    lift: float,
    count: int,
    colours: tuple[NDArray, NDArray],
    width: float,
) -> Strands | None:
    """Bent strands of `count` points from the chosen roots, along the skin and off it by `lift` of their length."""
    kept = np.where(chosen)[0]
    if len(kept) == 0:
        return None
    corners, weights = roots.corners[kept], roots.weights[kept]
    start = np.einsum("nkc,nk->nc", vertices[corners], weights)
    normal = np.einsum("nkc,nk->nc", normals[corners], weights)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
    along = direction[kept]
    along = along - (along * normal).sum(1, keepdims=True) * normal
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-9
    t = np.linspace(0, 1, count)[None, :, None]
    bent = t * along[:, None] + lift * (t - 0.45 * t**2) * normal[:, None]
    points = start[:, None] - 0.02 * normal[:, None] + lengths[kept][:, None, None] * bent
    return Strands(
        points.astype(F),
        np.full(len(kept), count, np.int64),
        np.ascontiguousarray(roots.random[kept]),
        np.arange(len(kept)),
        np.zeros(points.shape[:2], F),
        *colours,
        width=width,
    )
