"""The renderer: parameters in, a picture and its record out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from renderer.backdrop import background_of, develop, lens_of, look_through_lenses
from renderer.camera import PORTRAIT, Crop, Frame, Pose, crop_around, framed, into_crop, pose_of, project
from renderer.clothes import add_clothes
from renderer.colours import FRAMES, GOLD, IRISES, SILVER, TORTOISE, Colours, from_hsv
from renderer.facial_hair import BeardPaint, brow_shape, grow_beard, grow_brows, grow_lashes
from renderer.glasses import add_glasses
from renderer.hair import Cut, cut_of, grow_hair
from renderer.hat import RIM_HEIGHT, add_hat
from renderer.head import Head, Shape
from renderer.labels import age, record_of, rosiness
from renderer.lights import Shadows, cast_shadows, cast_strand_shadows, exposure_of, lights_of
from renderer.mesh import CLOTH, FRAME, GUMS, HAT, HEAD, LENS, TEETH, Mesh, MeshBuilder, smoothsteps
from renderer.noise import F
from renderer.parameters import BALD, SHORT, STUBBLE, Parameters
from renderer.rasteriser import empty_depth, rasterise, vertex_normals
from renderer.regions import BROWS, COUNT, SCALP, brow_weight
from renderer.shading import Materials, shade
from renderer.skin import Skin
from renderer.strands import Strands, draw_strands

Pixels = NDArray[np.uint8]

DARK_SKIN = 0.6  # melanin from which on freckles and shine are weaker
SCALP_SHOWS = (0.0, 0.80, 0.92, 0.95, 0.95)  # how much of the scalp is painted in the colour of hair, by style
CENTRE_OF_HEAD = (0, 3.0, 0.0)
SHADOWED_ABOVE_HAT = 0.1  # cm above a hat's rim, from which on hair casts no shadow


class Renderer:
    """Draws people; loading it takes some seconds, and the first picture ever a minute of compilation."""

    def __init__(self, facekit: Path, size: int = 128, supersampling: int = 3) -> None:
        """Load the kit that pack.py made. Pictures are size x size. Raises FaceKitError."""
        self.head = Head(facekit)
        self.size, self.supersampling = size, supersampling

    def render(
        self, z: NDArray[np.float64], frame: Frame = PORTRAIT, background: NDArray[np.float64] | None = None
    ) -> tuple[Pixels, dict[str, Any]]:
        """A parameter vector (see parameters.py) -> uint8 (size, size, 3) in sRGB, and its record (see labels.py).

        `background` is light (size, size, 3); None is that of the parameters.
        """
        person = Parameters(z)
        shape, colours, pose = self.head.shape(person), Colours.of(person), pose_of(person)
        mesh = self._mesh(person, shape, frame)
        world = mesh.vertices @ pose.rotation.T
        x, y, depth = project(world, pose.distance)
        face = crop_around(np.stack([x[self.head.landmarks], y[self.head.landmarks]], 1))
        crop = framed(face, frame) if frame != PORTRAIT else face
        u, v = into_crop(crop, x, y, self.size * self.supersampling)
        landmarks = np.stack([u[self.head.landmarks], v[self.head.landmarks]], 1) / self.supersampling
        record = record_of(person, self.head, shape, colours, pose, landmarks)
        seen = np.stack([u, v, depth.astype(F)])
        if background is None:
            background = background_of(person, self.size)
        face_size = self.size / frame.zoom
        return self._picture(person, shape, colours, pose, mesh, world, seen, crop, face_size, background), record

    def _mesh(self, person: Parameters, shape: Shape, frame: Frame) -> Mesh:
        builder = MeshBuilder(self.head.mesh(shape))
        add_clothes(builder, self.head, shape, person, bust=frame.zoom > 1)
        add_hat(builder, self.head, shape, person)
        add_glasses(builder, self.head, shape, person)
        return builder.mesh()

    def _picture(
        self,
        person: Parameters,
        shape: Shape,
        colours: Colours,
        pose: Pose,
        mesh: Mesh,
        world: NDArray[np.float32],
        seen: NDArray[np.float32],
        crop: Crop,
        face_size: float,
        background: NDArray[np.float64],
    ) -> Pixels:
        """The picture of meshes in the world, (M, 3), which the camera sees at `seen` (3, M): pixels and distance.

        FFHQ's square of the face is face_size pixels wide in it.
        """
        normals = np.zeros_like(world)
        vertex_normals(world, mesh.triangles, normals)
        lights, cut = lights_of(person), cut_of(person)
        hair = self._hair(person, cut, shape, colours)
        head_normals = normals[: len(shape.vertices)] @ pose.rotation  # back in the head's frame
        beard, paint = grow_beard(self.head, shape.vertices, head_normals, person, colours)
        brows = grow_brows(self.head, shape.vertices, head_normals, person, colours)
        lashes = grow_lashes(shape.vertices, self.head.landmarks, person.choice("makeup_on"))
        strands = [item for item in (hair, brows, *lashes, beard) if item is not None]
        shadows = self._shadows(person, mesh, world, pose, lights, hair)

        side = self.size * self.supersampling
        depth, ids = empty_depth(side, side), np.full((side, side), -1, np.int32)
        second, third = np.zeros((side, side), F), np.zeros((side, side), F)
        drawn = np.where(_visible(mesh, shape))[0].astype(np.int64)
        rasterise(*seen, mesh.triangles, drawn, depth, ids, second, third)
        light, covered = np.zeros((side, side, 3), F), np.zeros((side, side), np.uint8)
        shade(
            ids, second, third, mesh.triangles, mesh.parts, world, normals, mesh.rest, self._regions(person, cut, mesh),
            mesh.occlusion, lights, shadows, pose.distance, _skin(person, colours, paint), _materials(person, colours),
            light, covered,
        )  # fmt: skip
        centre = (pose.rotation @ np.array(CENTRE_OF_HEAD, F)).astype(np.float64)
        for item in strands:
            width = item.width * self.supersampling / 3.0 * face_size / 128.0
            variation = 1.0 if item.layered else 0.5
            draw_strands(
                item.points, item.heights, item.counts, item.random, item.root_colour, item.tip_colour, pose.distance,
                pose.rotation, np.array(crop), side, depth, light, covered, lights, width, shadows, item.hidden_above,
                int(item.layered), variation, centre, item.clumps,
            )  # fmt: skip

        if person.choice("glasses_on"):
            lens_depth, lens_ids = empty_depth(side, side), np.full((side, side), -1, np.int32)
            lenses = np.where(mesh.parts == LENS)[0].astype(np.int64)
            rasterise(*seen, mesh.triangles, lenses, lens_depth, lens_ids, second, third)
            tint, opacity, reflection = lens_of(person)
            look_through_lenses(
                depth, lens_depth, lens_ids, light, covered, background, self.supersampling, lights, tint, opacity,
                reflection,
            )  # fmt: skip
        picture = np.zeros((self.size, self.size, 3), F)
        contrast = 0.12 + 0.12 * person.normal("contrast")
        develop(light, covered, background, self.supersampling, exposure_of(person, lights), contrast, picture)
        return (picture * 255 + 0.5).astype(np.uint8)

    def _hair(self, person: Parameters, cut: Cut, shape: Shape, colours: Colours) -> Strands | None:
        if cut.style == BALD:
            return None
        spheremap = self.head.spheremap(shape.displacement)
        return grow_hair(self.head, cut, colours, person.choice("hair_color"), spheremap)

    def _regions(self, person: Parameters, cut: Cut, mesh: Mesh) -> NDArray[np.float32]:
        """The table of regions with this person's brows and hairline; (M, COUNT), 0 for what is not the head."""
        head = self.head
        x, y, z = head.vertices.T
        hairless = ~head.is_ear * head.is_head
        regions = np.zeros((len(mesh.vertices), COUNT), F)
        own = regions[: len(head.vertices)]
        own[:] = head.regions
        if cut.style == BALD:  # a shaved shimmer
            own[:, SCALP] = smoothsteps(-0.2, 0.8, head.hairline) * hairless
            own[:, SCALP] *= 0.6
        else:
            angle = np.degrees(np.arctan2(abs(x), z + 0.5))
            front = (1 - smoothsteps(40.0, 75.0, angle)).astype(np.float64)
            temples = np.exp(-(((angle - 38) / 14) ** 2)).astype(np.float64)
            height = head.hairline - (cut.lift * front + cut.recede * temples * 1.6)
            own[:, SCALP] = smoothsteps(-0.15, 0.35, height) * hairless
        weight, _ = brow_weight(abs(x), y, **brow_shape(person))
        own[:, BROWS] = weight * (z > 5) * head.is_face * (abs(x) < 6.3)
        return regions

    def _shadows(
        self,
        person: Parameters,
        mesh: Mesh,
        world: NDArray[np.float32],
        pose: Pose,
        lights: NDArray[np.float64],
        hair: Strands | None,
    ) -> Shadows:
        dark_lenses = person.choice("glasses_on") and person.choice("sun_on")
        casting = (mesh.parts <= HEAD) | np.isin(mesh.parts, [FRAME, HAT, CLOTH, *([LENS] if dark_lenses else [])])
        shadows = cast_shadows(lights, pose.rotation, world, mesh.triangles, np.where(casting)[0].astype(np.int64))
        if hair is not None and person.choice("hair_style") >= SHORT:
            counts = hair.counts
            if person.choice("hat_on"):
                middle = hair.heights[np.arange(len(counts)), np.maximum(counts // 2, 0)]
                counts = np.where(middle > SHADOWED_ABOVE_HAT, 0, counts)
            cast_strand_shadows(hair.points, counts, shadows.rotation @ pose.rotation, shadows)
        return shadows


def _visible(mesh: Mesh, shape: Shape) -> NDArray[np.bool_]:
    """All but lenses; gums and teeth only in a mouth that is open or smiles."""
    visible = mesh.parts != LENS
    if shape.expression.jaw == 0 and shape.expression.smile < 0.3:
        visible &= ~np.isin(mesh.parts, [GUMS, TEETH])
    return visible


def _skin(person: Parameters, colours: Colours, beard: BeardPaint) -> Skin:
    style, kind = person.choice("hair_style"), person.choice("beard")
    made_up, dark = person.choice("makeup_on"), colours.melanin >= DARK_SKIN
    bags = person.uniform("bags_amt", 1.0, 1.7) if person.choice("bags_on") else person.uniform("bags_amt", 0, 0.35)
    return Skin(
        colour=colours.skin,
        lips=colours.lips,
        hair=colours.hair * 0.55 if style != BALD else colours.brows * 0.8,
        beard=colours.beard * 0.6 + colours.skin * 0.12 if kind == STUBBLE else colours.beard * 0.8,
        eyeshadow=colours.eyeshadow * 0.8 + 0.2 * colours.skin * 0.5,
        phase_0=3 * person.normal("skin_ph0") + 50,
        phase_1=3 * person.normal("skin_ph1") + 50,
        roughness=person.uniform("skin_rough", 0.5, 1.5),
        rosiness=rosiness(person) + 0.3 * made_up,
        freckles=person.uniform("freckle_amt", 0.5, 1.0) * person.choice("freckle_on") * (0.5 if dark else 1),
        dark_circles=bags,
        age=age(person),
        oiliness=(0.28 + 0.62 * person.uniform("oily") ** 1.5) * (0.8 if dark else 1),
        shadow_strength=0.72 * made_up,
        liner_strength=made_up * 0.9,
        gloss=0.6 * person.choice("lipstick_on"),
        scalp=SCALP_SHOWS[style] if style != BALD else 0.05,
        **{name: float(value) for name, value in beard._asdict().items()},
    )


def _materials(person: Parameters, colours: Colours) -> Materials:
    frame = person.choice("glasses_color")
    return Materials(
        iris=IRISES[person.choice("iris")] * (0.72 + 0.12 * person.normal("iris_var")),
        frame=FRAMES[frame],
        tortoise=float(frame == TORTOISE),
        metal=float(frame in (GOLD, SILVER)),
        hat=colours.hat,
        rim_height=RIM_HEIGHT,
        hat_type=float(person.choice("hat_type")),
        cloth=colours.cloth,
        pattern_colour=from_hsv(person.uniform("cloth_h2"), 0.4, person.uniform("cloth_v2", 0.1, 0.9)),
        pattern=float(person.choice("cloth_pat")),
    )
