"""The head: ICT-FaceKit's mean, identities and expressions, and all that is worked out once for every picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from renderer.expression import Expression
from renderer.identity import IdentitySpace, Measures, eye_opening, measures
from renderer.mesh import FACE, HEAD, KIT_PARTS, Mesh
from renderer.noise import F
from renderer.parameters import IDENTITIES, Parameters
from renderer.rasteriser import empty_depth, rasterise, rasterise_depth, vertex_normals
from renderer.regions import BEARD_ZONES, SCALP, skin_regions
from renderer.scalp import CENTRE, height_above_hairline

HOW_TO_GET_IT = (
    "there is no {path}: get ICT-FaceKit (https://github.com/ICT-VGL/ICT-FaceKit, commit "
    "da5f95a607f5e6b37755b38d3385d7f2853732e5), then run python weights/recipes/portraits-256/pack.py "
    "ICT-FaceKit/FaceXModel {path}"
)
LASHES = (15, 16)  # parts of the kit that are not drawn
SCALP_ROOTS, BEARD_ROOTS, BROW_ROOTS, CLUMPS = 11_000, 7_500, 5_200, 420
MAP_HEIGHT, MAP_WIDTH = 64, 128  # of the spherical maps
OCCLUSION_DIRECTIONS, OCCLUSION_SIZE, OCCLUSION_SCALE = 120, 160, 4.4  # the last in pixels per cm


class FaceKitError(Exception):
    """facekit.npz is missing or is not what pack.py writes."""


@dataclass(frozen=True)
class Roots:
    """Points of the head from which strands may grow; always the same, so that a parameter moves no strand."""

    corners: NDArray[np.int64]  # (n, 3) vertices of the triangle
    weights: NDArray[np.float32]  # (n, 3) of those
    points: NDArray[np.float32]  # (n, 3) on the mean head
    random: NDArray[np.float32]  # (n, 4) in [0, 1)


@dataclass(frozen=True)
class Shape:
    """One person's head, with an expression."""

    displacement: NDArray[np.float32]  # (M, 3), of the identity
    neutral: NDArray[np.float32]  # (M, 3)
    vertices: NDArray[np.float32]  # (M, 3), with the expression
    expression: Expression
    measures: Measures
    eye_opening: float


class Head:
    """The mean head, what moves it, and where things are on it."""

    def __init__(self, facekit: Path) -> None:
        """Load and prepare the kit; takes some seconds. Raises FaceKitError."""
        try:
            kit = np.load(facekit)
        except FileNotFoundError:
            raise FaceKitError(HOW_TO_GET_IT.format(path=facekit)) from None
        except (OSError, ValueError) as error:
            raise FaceKitError(f"cannot read {facekit} ({error}): make it again with pack.py") from error
        self._load(kit)
        x, y, z = self.vertices.T
        self.is_face = self._vertices_of(FACE)
        self.is_head = self._vertices_of(FACE, HEAD)
        self.regions = skin_regions(self.vertices, self.landmarks, self.is_face)
        self.hairline = np.array(
            [height_above_hairline(float(a), float(b), float(c), 0.0, 0.0) for a, b, c in self.vertices], F
        )
        self.regions[:, SCALP] = self.hairline
        self.is_ear = self._ears()
        self.temples = np.where(
            self.is_head & (y > 3.6) & (y < 5.6) & (z > 1.2) & (z < 5) & (np.abs(x) > 6.8) & (np.abs(x) < 7.7)
        )[0]
        self.shell = self.triangles[self.parts <= HEAD]  # face and head, without mouth and eyes
        self.normals = np.zeros_like(self.vertices)
        vertex_normals(self.vertices, self.triangles, self.normals)
        self._prepare_spheremap()
        self._plant_roots()
        self.occlusion = self._occlusion()

    def mesh(self, shape: Shape) -> Mesh:
        """The head of one person."""
        return Mesh(shape.vertices, self.triangles, self.parts, self.vertices, self.occlusion)

    def shape(self, person: Parameters) -> Shape:
        """Identity and expression of one person."""
        drawn = np.array([person.normal(f"id_{k:02d}") for k in range(IDENTITIES)])
        weights = self.identity_space.coefficients(drawn).astype(F)
        displacement = (weights @ self._identities.reshape(IDENTITIES, -1)).reshape(-1, 3)
        neutral = self.vertices + displacement
        expression = Expression.of(person, self._expression_names)
        active = np.where(expression.weights != 0)[0]
        moved = neutral + np.tensordot(expression.weights[active].astype(F), self._expressions[active], 1)
        return Shape(
            displacement,
            neutral,
            moved,
            expression,
            {key: float(value[0]) for key, value in measures(neutral[self.landmarks][None]).items()},
            eye_opening(moved[self.landmarks]),
        )

    def spheremap(self, displacement: NDArray[np.float32]) -> NDArray[np.float32]:
        """A displacement of the vertices, (M, 3), as the first three channels of a spherical map."""
        result = np.zeros(self.radius.shape, F)
        result[..., :3] = np.einsum("hwk,hwkc->hwc", self._map_weights, displacement[self._map_corners])
        return result

    def _load(self, kit: np.lib.npyio.NpzFile) -> None:
        """Keep the vertices of the parts that are drawn, and renumber."""
        triangles = kit["tri"].astype(np.int32)
        parts = kit["part"].astype(np.int32)
        materials = list(kit["mat_names"])
        irises = [materials.index("M_IrisLeft"), materials.index("M_IrisRight")]  # discs before the eyeballs
        kept = np.isin(parts, KIT_PARTS) & ~np.isin(kit["mat"], irises)
        triangles, self.parts = triangles[kept], parts[kept]
        used = np.unique(triangles)
        number = np.full(len(kit["neutral"]), -1, np.int64)
        number[used] = np.arange(len(used))
        self.vertices = np.ascontiguousarray(kit["neutral"].astype(F)[used])  # (M, 3), of the mean head
        self._identities = np.ascontiguousarray(kit["identity"][:IDENTITIES].astype(F)[:, used])
        self._expressions = np.ascontiguousarray(kit["expression"].astype(F)[:, used])
        self._expression_names = {name: index for index, name in enumerate(kit["expression_names"])}
        self.landmarks = number[kit["landmarks68"].astype(np.int64)]
        self.triangles = np.ascontiguousarray(number[triangles].astype(np.int32))
        texture = np.zeros((len(kit["neutral"]), 2), F)
        texture[kit["tri"].astype(int)] = kit["uv"][kit["tri_uv"].astype(int)]
        self._texture = texture[used]
        self.identity_space = IdentitySpace(self.vertices[self.landmarks], self._identities[:, self.landmarks])

    def _vertices_of(self, *parts: int) -> NDArray[np.bool_]:
        result = np.zeros(len(self.vertices), bool)
        result[np.unique(self.triangles[np.isin(self.parts, parts)])] = True
        return result

    def _ears(self) -> NDArray[np.bool_]:
        """The ears, which have corners of the kit's texture to themselves."""
        x, y, _ = self.vertices.T
        u, v = self._texture.T
        corner = (u < 0.105) | ((u > 0.895) & (u < 1))
        return self.is_head & corner & (v > 0.42) & (v < 0.7) & (np.abs(x) > 7.6) & (y < 6.2)

    def _prepare_spheremap(self) -> None:
        """The head's radius in every direction from CENTRE, and which triangle is met there."""
        h, w = MAP_HEIGHT, MAP_WIDTH
        px, py, pz = (self.vertices - np.array(CENTRE)).T
        length = np.linalg.norm(self.vertices - np.array(CENTRE), axis=1)
        v = np.arccos(np.clip(py / length, -1, 1)) / np.pi * h
        u = (np.arctan2(px, pz) / (2 * np.pi) + 0.5) * w
        depth, ids = empty_depth(h, w), np.full((h, w), -1, np.int32)
        second, third = np.zeros((h, w), F), np.zeros((h, w), F)
        on_one_side = np.ptp(u[self.shell], axis=1) < w / 2
        above_shoulders = self.vertices[self.shell][:, :, 1].max(1) > -11.5
        # the outermost surface; triangles across the seam at the back are drawn at both ends of the map
        for columns, chosen in (
            (u, on_one_side),
            (np.where(u < w / 2, u + w, u), ~on_one_side),
            (np.where(u >= w / 2, u - w, u), ~on_one_side),
        ):
            rasterise(
                columns.astype(F),
                v.astype(F),
                (-length).astype(F),
                self.shell,
                np.where(chosen & above_shoulders)[0].astype(np.int64),
                depth,
                ids,
                second,
                third,
            )
        missed = ids < 0
        nearest = tuple(ndimage.distance_transform_edt(missed, return_distances=False, return_indices=True))
        ids, second, third = ids[nearest], second[nearest], third[nearest]
        self._map_corners = self.shell[ids]
        self._map_weights = np.stack([1 - second - third, second, third], -1)
        radius = (length[self._map_corners] * self._map_weights).sum(-1)
        self.radius = np.zeros((h, w, 4), F)  # in its last channel, so that one map may hold both
        self.radius[..., 3] = np.where(missed, 9.0, radius)
        self.radius[..., 3] = ndimage.gaussian_filter(self.radius[..., 3], (0.6, 0.6), mode=("nearest", "wrap"))

    def _plant_roots(self) -> None:
        random = np.random.default_rng(777)
        corners = self.vertices[self.shell]
        edges = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        area = np.linalg.norm(edges, axis=1) / 2

        def plant(weight: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            """Triangles by weight, and points uniform in them."""
            chosen = random.choice(len(self.shell), count, p=weight / weight.sum())
            a, b = np.sqrt(random.random(count)), random.random(count)
            weights = np.stack([1 - a, a * (1 - b), a * b], 1).astype(F)
            points = (self.vertices[self.shell[chosen]] * weights[..., None]).sum(1).astype(F)
            return self.shell[chosen].astype(np.int64), weights, points

        def randoms(count: int) -> NDArray[np.float32]:
            return random.random((count, 4)).astype(F)

        near_hairline = self.hairline[self.shell].min(1) > -2.6
        ears = self.is_ear[self.shell].any(1)
        denser_in_front = np.where(corners[:, :, 2].mean(1) > 0, 1.25, 0.9)
        planted = plant(area * near_hairline * ~ears * denser_in_front, SCALP_ROOTS)
        self.scalp_roots = Roots(*planted, randoms(SCALP_ROOTS))
        normals = (self.normals[planted[0]] * planted[1][..., None]).sum(1)
        self.scalp_normals = (normals / np.linalg.norm(normals, axis=1, keepdims=True)).astype(F)
        guides = cKDTree(self.scalp_roots.points[:CLUMPS])
        self.scalp_clumps = guides.query(self.scalp_roots.points)[1].astype(np.int64)  # the guide strand of each

        bearded = self.regions[:, BEARD_ZONES].max(1)[self.shell].mean(1)
        planted = plant(area * bearded * (self.parts[self.parts <= HEAD] == FACE), BEARD_ROOTS)
        self.beard_zones = (self.regions[planted[0]][:, :, BEARD_ZONES] * planted[1][..., None]).sum(1)
        self.beard_roots = Roots(*planted, randoms(BEARD_ROOTS))

        x, y, z = corners.mean(1).T
        ridge = (abs(x) > 0.8) & (abs(x) < 6.4) & (y > 4.2) & (y < 8.2) & (z > 6.5)
        planted = plant(area * ridge, BROW_ROOTS)
        self.brow_roots = Roots(*planted, randoms(BROW_ROOTS))

    def _occlusion(self) -> NDArray[np.float32]:
        """Share of the sky that each vertex of the mean head sees, with the mouth a little open."""
        vertices = self.vertices + 0.35 * self._expressions[self._expression_names["jawOpen"]]
        seen, possible = np.zeros(len(vertices)), np.zeros(len(vertices))
        drawn = np.where(~np.isin(self.parts, LASHES))[0].astype(np.int64)
        size = OCCLUSION_SIZE
        k = np.arange(OCCLUSION_DIRECTIONS) + 0.5
        polar, azimuth = np.arccos(1 - 2 * k / OCCLUSION_DIRECTIONS), np.pi * (1 + 5**0.5) * k  # a Fibonacci sphere
        for direction in np.stack([np.cos(azimuth) * np.sin(polar), np.cos(polar), np.sin(azimuth) * np.sin(polar)], 1):
            up = np.array([0, 1.0, 0]) if abs(direction[1]) < 0.9 else np.array([1.0, 0, 0])
            a = np.cross(up, direction)
            a /= np.linalg.norm(a)
            turned = vertices @ np.stack([a, np.cross(direction, a), direction], 1)
            u = (turned[:, 0] * OCCLUSION_SCALE + size / 2).astype(F)
            v = (turned[:, 1] * OCCLUSION_SCALE + size / 2).astype(F)
            distance = (-turned[:, 2]).astype(F)
            depth = rasterise_depth(u, v, distance, self.triangles, drawn, size)
            columns, rows = np.clip(u.astype(int), 0, size - 1), np.clip(v.astype(int), 0, size - 1)
            facing = np.maximum(self.normals @ direction, 0)
            seen += (distance < depth[rows, columns] + 0.35) * facing
            possible += facing
        return np.clip((seen / (possible + 1e-6)) ** 0.85 * 1.05, 0.05, 1).astype(F)
