"""Faces in photographs, to latent codes and back: what `inversion`, `editing` and `photo` do together.

These are functions of a model. Arguments that `Engine` has too mean what they mean there, and so do errors.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from PIL import Image
from torch import Tensor

from stedit.editing.label import edit_by_label
from stedit.editing.reference import edit_by_reference
from stedit.errors import InputError, UsageError
from stedit.imaging.files import Pixels
from stedit.inversion.methods import invert_by_encoder, invert_by_search
from stedit.inversion.optimisation import OnStep
from stedit.inversion.options import InversionOptions, Method, resolve_options
from stedit.photo.alignment import Quad
from stedit.photo.photograph import (
    FaceSearch,
    ImageLike,
    Photo,
    Result,
    carry_over,
    crop_for,
    crop_of,
    detector_for,
    quad_of,
)
from stedit.runtime.arrays import to_array, to_input
from stedit.runtime.codes import (
    Codes,
    OutputType,
    as_codes,
    as_images,
    bound,
    edit_name,
    latent_code,
    require_pairs,
    to_latents,
)
from stedit.runtime.model import Model
from stedit.runtime.synthesis import synthesise
from stedit.storage.latents import LatentCode, is_latent_path

BATCH = 8  # images that are inverted together

Face = tuple[Photo, Quad]
References = Codes | ImageLike | Sequence[Codes | ImageLike]


@dataclass(frozen=True)
class PhotoEdit:
    """What is to change in a photograph, and how its faces become codes: see `Engine.edit`."""

    attributes: str | Sequence[str]
    strength: float = 1.0
    references: Sequence[Tensor] | None = None
    """Codes (1, N, D) as `read_references` gives them; None edits by label."""
    method: Method = "encoder"
    steps: int | None = None
    search: FaceSearch | None = None
    result: Result = "photo"

    def of_codes(self, model: Model, codes: Sequence[LatentCode]) -> list[LatentCode]:
        """Codes with the edit made to them."""
        w = to_latents(model, codes)
        if self.references is None:
            edited = edit_by_label(model, w, self.attributes, strength=self.strength)
        else:
            edited = edit_by_reference(model, w, self.references, self.attributes, strength=self.strength)
        return as_codes(model, edited, list(codes), edit_name(self.attributes))


def edit_image(
    model: Model, image: ImageLike | LatentCode, edit: PhotoEdit, output_type: OutputType | None
) -> Image.Image | Pixels | LatentCode:
    """An edited photograph or code, as `Engine.edit` gives it of one image."""
    kind = output_type or ("np" if isinstance(image, np.ndarray) else "pil")
    code = read_code(model, image)
    if code is not None:
        edited = edit.of_codes(model, [code])[0]
        if isinstance(image, LatentCode) and output_type is None:
            return edited
        return cast(
            "Image.Image | Pixels", as_images(model, synthesise(model, to_latents(model, edited)), edited, kind)
        )
    photo = Photo.of(cast(ImageLike, image))
    pixels = edit_photo(model, photo, edit)
    return photo.with_pixels(pixels) if kind == "pil" else pixels


def edit_photo(model: Model, photo: Photo, edit: PhotoEdit) -> Pixels:
    """The pixels of a photograph with an edit made to its faces: see `Engine.edit_photo`."""
    faces = find_faces(model, photo, edit.search)
    codes = invert_faces(model, faces, method=edit.method, options=resolve_options(edit.method, None, edit.steps))
    edited = edit.of_codes(model, codes)
    if edit.result == "render":
        rendering: Pixels = to_array(synthesise(model, to_latents(model, edited[0])))[0]
        return rendering
    pixels = carry_edits(model, faces, codes, edited)
    quad = faces[0][1]
    return pixels if edit.result == "photo" else quad.crop(pixels, round(quad.side))


def read_references(model: Model, references: References, count: int = 1) -> list[Tensor]:
    """The codes of references, each (1, N, D), or (`count`, N, D) for as many sources."""
    given = references if isinstance(references, list | tuple) else [references]
    if not given:
        raise UsageError("there is no reference in the list: give at least one")
    found = [to_latents(model, _reference_code(model, one)) for one in given]
    for one in found:
        require_pairs(count, len(one))
    return found


def _reference_code(model: Model, given: Any) -> Codes:
    """A code as it is, or that of a latent file or an image."""
    if isinstance(given, Tensor) or (isinstance(given, np.ndarray) and given.dtype != np.uint8):
        return cast(Codes, given)
    return read_code(model, given) or invert_images(model, [Photo.of(given)], method="encoder")[0]


def find_faces(model: Model, image: ImageLike, search: FaceSearch | None) -> list[Face]:
    """The faces of an image; an array is a crop already, unless a search is asked for. Raises InputError."""
    photo = Photo.of(image)
    if search is None and isinstance(image, np.ndarray):
        search = FaceSearch(align="never")
    return [(photo, quad) for quad in photo.find_quads(search, detector_for(model))]


def face_crops(model: Model, images: Sequence[ImageLike], size: tuple[int, int]) -> Pixels:
    """The largest face of each image, uint8 (B, *size, 3). Raises InputError where there is none."""
    faces = [find_faces(model, image, None)[0] for image in images]
    return np.stack([crop_for(photo.pixels, quad, size) for photo, quad in faces])


def read_code(model: Model, given: object) -> LatentCode | None:
    """A code, or that of a latent file, as one that can show itself; None for anything else. Raises LatentError."""
    if isinstance(given, LatentCode):
        return bound(model, given)
    if isinstance(given, str | os.PathLike) and is_latent_path(path := os.fspath(given)):
        return bound(model, LatentCode.load(path))
    return None


def invert_images(
    model: Model,
    images: Sequence[ImageLike | LatentCode],
    *,
    method: Method,
    options: InversionOptions | None = None,
    search: FaceSearch | None = None,
    on_step: OnStep | None = None,
    on_image: Callable[[int], object] | None = None,
) -> list[LatentCode]:
    """The code of one face in each image. Arguments and errors are those of `Engine.invert`."""
    codes: list[LatentCode] = []
    for start in range(0, len(images), BATCH):
        part = images[start : start + BATCH]
        read = [read_code(model, image) for image in part]
        new = [cast(ImageLike, image) for image, code in zip(part, read, strict=True) if not code]
        faces = [_only_face(model, image, search) for image in new]
        made = iter(invert_faces(model, faces, method=method, options=options, on_step=on_step) if faces else [])
        codes += [code or next(made) for code in read]
        if on_image is not None:
            on_image(len(part))
    return codes


def invert_faces(
    model: Model,
    faces: Sequence[Face],
    *,
    method: Method,
    options: InversionOptions | None = None,
    on_step: OnStep | None = None,
) -> list[LatentCode]:
    """The codes of faces, which know their place in the photograph. Arguments and errors as of `Engine.invert`."""

    def cut(size: tuple[int, int]) -> Pixels:
        return np.stack([crop_for(photo.pixels, quad, size) for photo, quad in faces])

    if method == "encoder":
        w = invert_by_encoder(model, to_input(cut(model.input_size), model.input_size, "faces"))
    else:
        targets = to_input(cut(model.target_size), model.target_size, "faces")
        # optimisation does without an encoder and its size
        given = targets if method == "optimise" else to_input(cut(model.input_size), model.input_size, "faces")
        w = invert_by_search(model, method, given, targets, options=options, on_step=on_step)
    return [
        latent_code(model, one, method=method, source=photo.file_name, crop=crop_of(photo, quad))
        for one, (photo, quad) in zip(w, faces, strict=True)
    ]


def carry_edits(
    model: Model, faces: Sequence[Face], codes: Sequence[LatentCode], edited: Sequence[LatentCode]
) -> Pixels:
    """The photograph of some faces with edits of their codes made to it, uint8 (H, W, 3).

    Args:
        model: of the codes.
        faces: of one photograph.
        codes: of these faces.
        edited: the same, edited.
    """
    before, after = (to_array(synthesise(model, to_latents(model, several))) for several in (codes, edited))
    return carry_over(faces[0][0].pixels, [quad for _, quad in faces], before, after)


def faces_of(photo: Photo, codes: Sequence[LatentCode]) -> list[Face]:
    """Where the faces of codes lie in the photograph that they were made of. Raises InputError if it is another one."""
    return [(photo, quad_of(code.crop, photo, "the code")) for code in codes]


def _only_face(model: Model, image: ImageLike, search: FaceSearch | None) -> Face:
    faces = find_faces(model, image, search)
    if len(faces) > 1:
        name = faces[0][0].name
        raise InputError(f"{name} shows {len(faces)} faces, and this takes one: choose it", argument="face")
    return faces[0]
