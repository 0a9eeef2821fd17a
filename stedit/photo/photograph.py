"""A photograph, and the faces in it that are to be edited."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, Union, cast

import numpy as np
from PIL import Image

from stedit.errors import InputError, MissingPartError, UsageError
from stedit.imaging.edited import WriteOptions, write_edited
from stedit.imaging.files import MAX_PIXELS, DecodedImage, Pixels, decode_image, fit_image
from stedit.imaging.memory import decode_array, decode_pillow
from stedit.models.aligner import Aligner
from stedit.photo.alignment import Quad
from stedit.photo.compositing import composite
from stedit.photo.detection import AlignerFinder, Face, FaceDetector, Finder, choose, is_aligned_crop
from stedit.photo.landmarks import Landmarks
from stedit.photo.transfer import estimate_change
from stedit.runtime.model import Model
from stedit.runtime.networks import load_network
from stedit.storage.bundle import Bundle
from stedit.storage.embedded import embedded_bundles

Alignment = Literal["auto", "always", "never"]
Choice = Literal["largest", "all"] | int
Result = Literal["photo", "crop", "render"]
"""What comes back of an edit: the photograph, the square of its face, or what the model renders."""

NAMELESS = "the image"  # what errors call a photograph that is of no file
FINEST = 1024  # pixels of a crop's side beyond which the fields of a change get no finer


ImageLike = Union[str, "os.PathLike[str]", Image.Image, Pixels, "Photo"]
"""An image as a person holds it: a path, an image of Pillow, a uint8 array, a Photo."""


@dataclass(frozen=True)
class FaceSearch:
    """How the faces of photographs are found."""

    align: Alignment = "auto"
    """auto: in whatever is not an aligned crop already; always; never: each image is taken for a crop."""
    face: Choice = "largest"
    """largest, all, or a number, counted from the largest."""
    landmarks: Landmarks | None = None
    """Points given by hand, which count before any detector."""


class Photo:
    """A photograph in memory: `Photo.open` reads a file, `Photo.of` takes what a program holds as well."""

    def __init__(self, image: DecodedImage, name: str) -> None:
        self.image, self.name = image, name

    @classmethod
    def open(cls, path: str | Path, *, max_pixels: int = MAX_PIXELS) -> Photo:
        """Read and decode a file. Raises InputError, ImageError."""
        return cls(decode_image(path, max_pixels=max_pixels), str(path))

    @classmethod
    def of(cls, image: ImageLike) -> Photo:
        """A photograph from a file, an image of Pillow, or an array.

        Args:
            image: a path; an image of Pillow; uint8 (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) in sRGB; or a Photo,
                which is given back.

        Raises:
            ImageError: it cannot be read.
            UsageError: an array of another type or layout, or something that is no image.
        """
        if isinstance(image, Photo):
            return image
        if isinstance(image, str | os.PathLike):
            return cls.open(Path(image))
        if isinstance(image, Image.Image):
            return cls(decode_pillow(image), str(getattr(image, "filename", "")) or NAMELESS)
        if isinstance(image, np.ndarray):
            return cls(decode_array(image), NAMELESS)
        raise UsageError(
            f"an image is a path, an image of Pillow, or a uint8 array (H, W, 3), and this is {type(image).__name__}"
        )

    @property
    def file_name(self) -> str:
        """Without its folder; "" if it is of no file."""
        return "" if self.name == NAMELESS else Path(self.name).name

    @property
    def pixels(self) -> Pixels:
        """uint8 (H, W, 3), sRGB, upright."""
        return self.image.pixels

    @property
    def faces(self) -> list[Face]:
        """All faces that the embedded detector finds, the largest first."""
        return embedded_detector().detect(self.pixels)

    def find_quads(self, search: FaceSearch | None, detector: FaceDetector | None) -> tuple[Quad, ...]:
        """Where the aligned crops of the chosen faces lie.

        Args:
            search: how to find them, and which; None for the largest.
            detector: what finds them; None takes the whole image for a crop, as for models of other things than faces.

        Raises InputError if there is no such face.
        """
        search = search or FaceSearch()
        points = search.landmarks.of(self.name) if search.landmarks else None
        if points is not None:
            return tuple(_chosen([Quad.of_points(one) for one in points], search.face, self.name))
        height, width = self.pixels.shape[:2]
        whole = Quad.of_picture(height, width)
        if detector is None or search.align == "never":
            return (whole,)
        if search.align == "auto" and detector.is_aligned_crop(self.pixels):
            return (whole,)
        faces = detector.detect(self.pixels, largest=search.face == "largest")
        if search.align == "auto" and faces and is_aligned_crop(self.pixels, faces[0]):
            return (whole,)
        return tuple(face.quad for face in choose(faces, search.face, self.name))

    def with_pixels(self, pixels: Pixels) -> Image.Image:
        """Pixels made of this photograph, as an image of Pillow: RGB, or RGBA where the photograph has transparency."""
        image = Image.fromarray(pixels)
        if self.image.alpha is not None and self.image.alpha.shape == pixels.shape[:2]:
            image.putalpha(Image.fromarray(self.image.alpha))
        return image

    def __repr__(self) -> str:
        height, width = self.pixels.shape[:2]
        return f"Photo({self.name!r}, {width} x {height} px)"

    def save(self, path: str | Path, pixels: Pixels, options: WriteOptions | None = None) -> tuple[str, ...]:
        """Write `pixels`, which were made of this photograph, as the kind of file that it is; gives notes.

        Where they equal the photograph's, the file's own samples stay. Raises OutputError.
        """
        return write_edited(path, self.image, pixels, (pixels != self.pixels).any(axis=2), options)


def crop_for(photograph: Pixels, quad: Quad, size: tuple[int, int]) -> Pixels:
    """What the encoder takes of a face: uint8 (*size, 3).

    A whole image is fitted as any image is; of the square of a face, a model of wider images takes the middle.
    """
    height, width = photograph.shape[:2]
    if quad == Quad.of_picture(height, width):
        return fit_image(photograph, size)
    return fit_image(quad.crop(photograph, max(size)), size)


def crop_of(photo: Photo, quad: Quad) -> str:
    """What a latent file says of the face's place in its photograph: JSON of the quad and the size in pixels."""
    height, width = photo.pixels.shape[:2]
    return json.dumps({"quad": [round(value, 3) for value in quad.values], "photo": [height, width]})


def quad_of(crop: str, photo: Photo, name: str) -> Quad:
    """Where a face lies in the photograph that its code was made of.

    Args:
        crop: what the code says of it, as `crop_of` gives it; "" for an image that was a crop already.
        photo: the photograph.
        name: of the code, for errors.

    Raises:
        InputError: it cannot be read, or is of another photograph.
    """
    height, width = photo.pixels.shape[:2]
    if not crop:
        return Quad.of_picture(height, width)
    try:
        values = json.loads(crop)
        quad = Quad.of_values(values["quad"])
        size = tuple(values["photo"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(f"the crop in {name} cannot be read: invert the photograph again") from error
    if size != (height, width):
        raise InputError(
            f"{name} was made of a photograph of {size[1]} x {size[0]} px, and {photo.name} has "
            f"{width} x {height}: give the photograph that it was made of"
        )
    return quad


def carry_over(
    photograph: Pixels, quads: Sequence[Quad], before: Pixels | Sequence[Pixels], after: Pixels | Sequence[Pixels]
) -> Pixels:
    """The photograph with the edits of its faces made to it.

    Args:
        photograph: uint8 (H, W, 3).
        quads: of its faces.
        before: the model's rendering (R, R, 3) of each face.
        after: the rendering of each edited code.

    Returns:
        A new array; pixels that no edit changes are the photograph's, bit for bit.
    """
    result = photograph
    for quad, old, new in zip(quads, before, after, strict=True):
        side = int(np.clip(round(quad.side), max(old.shape[:2]), FINEST))
        result = composite(result, estimate_change(quad.crop(photograph, side), old, new), quad.corners)
    return result.copy() if result is photograph else result


def detector_for(model: Model, finder: Finder | None = None) -> FaceDetector | None:
    """What finds faces for a model: the `finder` given, else its own aligner, else that of the embedded model.

    None for a model whose images are not aligned as FFHQ's are: there are no faces to find.
    """
    if model.bundle.alignment != "ffhq":
        return None
    if finder is not None:
        return FaceDetector(finder)
    aligner = model.networks.aligner
    return FaceDetector(AlignerFinder(aligner)) if aligner else embedded_detector()


@cache
def embedded_detector() -> FaceDetector:
    """The detector of the embedded model. Raises MissingPartError if no embedded model has one."""
    for path in embedded_bundles().values():
        bundle = Bundle.load(path)
        if "aligner" in bundle.parts:
            return FaceDetector(AlignerFinder(cast(Aligner, load_network(bundle, "aligner"))))
    raise MissingPartError("no embedded model has an aligner, which finds faces: give a detector's file, or crops")


def _chosen(quads: list[Quad], which: Choice, name: str) -> list[Quad]:
    if which == "all":
        return quads
    number = 1 if which == "largest" else which
    if not 1 <= number <= len(quads):
        raise InputError(f"the landmarks of {name} are of {len(quads)} faces, so there is no face {number}")
    return [quads[number - 1]]
