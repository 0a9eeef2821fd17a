"""One input from disk to memory: the faces of an image as a method of inversion takes them, or a latent code."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stedit.batch.inputs import Source
from stedit.batch.inverter import Inverter
from stedit.batch.request import PhotoOptions
from stedit.checkpoints.codes import CodeFile
from stedit.errors import InputError, LatentError
from stedit.imaging.files import MAX_PIXELS, Pixels, decode_image
from stedit.photo.alignment import Quad
from stedit.photo.detection import FaceDetector, YuNetFinder
from stedit.photo.landmarks import Landmarks
from stedit.photo.photograph import FaceSearch, Photo, crop_for, detector_for, quad_of
from stedit.runtime.model import Model
from stedit.storage.latents import LatentCode, is_latent_path
from stedit.storage.origin import digest_of_file
from stedit.storage.tunings import Tuning, tuning_path

if TYPE_CHECKING:
    from stedit.engine import Engine


@dataclass(frozen=True)
class LoadedInput:
    """One input in memory: the faces of an image, which are still to be inverted, or a code."""

    source: Source
    digest: str
    """Of its bytes."""
    faces: tuple[tuple[Pixels, Pixels | None], ...] = ()
    """Of each, what the encoder takes, and the size that renderings are compared with, for methods that do."""
    code: npt.NDArray[np.float32] | None = None  # (N, D)
    tuning: Tuning | None = None  # of the code that was read
    original: Pixels | None = None  # the first face in the size of the results, for sheets
    notes: tuple[str, ...] = ()
    photo: Photo | None = None  # what was read, or what an edit of the code is to go into
    quads: tuple[Quad, ...] = ()  # of the faces in it


class InputReader:
    """Reads images and latent codes, and finds the faces."""

    def __init__(
        self,
        engine: Engine,
        inverter: Inverter,
        options: PhotoOptions,
        *,
        keep_originals: bool = False,
        several: bool = False,
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`several` faces of an image can be used; `note` is told once of codes whose model is unknown.

        Raises InputError if landmarks or detector cannot be read.
        """
        self._engine, self._inverter, self._options = engine, inverter, options
        self._keep_originals, self._several = keep_originals, several
        self._search, self._detector = face_search(options, engine.model)
        self._code_file: CodeFile | None = None
        self._code_digest = ""
        self._note = note
        self._has_noted = False

    def read(self, source: Source) -> LoadedInput:
        """Raises InputError."""
        if source.is_foreign_code:
            return self._read_foreign_code(source)
        if source.path and is_latent_path(source.path):
            return self._read_code(source)
        limit = self._options.max_pixels or MAX_PIXELS
        photo = Photo(decode_image(source.path or sys.stdin.buffer, max_pixels=limit), source.name)
        quads = photo.find_quads(self._search, self._detector)
        if len(quads) > 1 and not self._several:
            raise InputError(f"{source.name} shows {len(quads)} faces, and this takes one: choose it", argument="face")
        pixels = photo.pixels
        faces = tuple(self._inverter.fit(partial(crop_for, pixels, quad)) for quad in quads)
        original = crop_for(pixels, quads[0], self._engine.target_size) if self._keep_originals else None
        return LoadedInput(
            source, photo.image.digest, faces, original=original, notes=photo.image.notes, photo=photo, quads=quads
        )

    def _read_foreign_code(self, source: Source) -> LoadedInput:
        assert source.path
        if self._code_file is None or self._code_file.path != source.path:
            self._code_file = CodeFile.read(source.path)  # the next input may be of the same file
            self._code_digest = digest_of_file(source.path)
        found, bundle = self._code_file, self._engine.bundle
        if found.fingerprint and not bundle.takes_codes_of(found.fingerprint):
            raise LatentError(
                f"{source.path} was made with the model {found.model!r}, not with {bundle.name!r}: use that model",
                argument="model",
            )
        code = found.code(source.item or next(iter(found.codes)), self._engine.code_shape)
        if not found.fingerprint and not self._has_noted:
            self._has_noted = True
            self._note(
                f"{source.path} does not say which model its codes are of, so that cannot be checked: they are taken "
                f"for codes of {bundle.name}"
            )
        photo: Photo | None = None
        quads: tuple[Quad, ...] = ()
        if self._options.into:
            photo = Photo.open(self._options.into, max_pixels=self._options.max_pixels or MAX_PIXELS)
            quads = photo.find_quads(self._search, self._detector)[:1]
        return LoadedInput(source, source.digest(self._code_digest), code=code, photo=photo, quads=quads)

    def _read_code(self, source: Source) -> LoadedInput:
        assert source.path
        code = LatentCode.load(source.path)
        digest = digest_of_file(source.path)
        bundle = self._engine.bundle
        code.require(
            model=bundle.name,
            fingerprint=bundle.fingerprint,
            shape=self._engine.code_shape,
            path=source.path,
            derived_from=bundle.derived_from,
        )
        tuning = None
        if code.tuning:
            tuning = Tuning.load(path := tuning_path(source.path))
            tuning.require(digest=code.tuning, path=path)
        photo: Photo | None = None
        quads: tuple[Quad, ...] = ()
        if self._options.into:
            photo = Photo.open(self._options.into, max_pixels=self._options.max_pixels or MAX_PIXELS)
            quads = (quad_of(code.crop, photo, source.name),)
        return LoadedInput(source, digest, code=code.w, tuning=tuning, photo=photo, quads=quads)


def face_search(options: PhotoOptions, model: Model) -> tuple[FaceSearch, FaceDetector | None]:
    """How the faces of photographs are found for a model, and by what: None where each image is taken whole.

    Raises InputError if landmarks or a detector cannot be read.
    """
    landmarks = Landmarks.read(options.landmarks) if options.landmarks else None
    search = FaceSearch(options.align, options.face, landmarks)
    finder = YuNetFinder(options.detector) if options.detector else None
    return search, None if options.align == "never" else detector_for(model, finder)
