"""Inputs that are computed together, as one batch of codes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stedit.batch.inputs import Source
from stedit.batch.inverter import Inverted, Inverter
from stedit.batch.photographs import Faces
from stedit.batch.reading import InputReader, LoadedInput
from stedit.batch.reporter import Reporter, SilentReporter
from stedit.batch.request import InversionRequest, PhotoOptions
from stedit.imaging.files import Pixels
from stedit.photo.photograph import crop_of
from stedit.storage.latents import LatentCode
from stedit.storage.tunings import Tuning

if TYPE_CHECKING:
    from stedit.engine import Engine

Latents = npt.NDArray[np.float32]


@dataclass(frozen=True)
class CodeBatch:
    """Inputs that are computed together: their codes, one for each face, and what else is known of each."""

    sources: Sequence[Source]
    codes: Latents  # (B, N, D)
    rows: Sequence[slice]  # which of the codes are of each input
    originals: Sequence[Pixels | None]  # None for latent files, and where nobody asked for them
    tunings: Sequence[Tuning | None]  # of each code
    details: Sequence[dict[str, Any]]  # how the first code of each input was found
    faces: Sequence[Pixels | None]  # what each code was found for, None for codes that were read
    photos: Sequence[Faces | None]  # None for latent files that go into no photograph
    renderings: list[Pixels] = field(default_factory=list)  # of each code, once somebody has made them

    @property
    def first_codes(self) -> Latents:
        """Of each input, (inputs, N, D)."""
        return self.codes[[rows.start for rows in self.rows]]


def to_batch(loaded: Sequence[LoadedInput], inverter: Inverter) -> CodeBatch:
    """Invert the faces, together, and put their codes in line with those that were read."""
    inverted = iter(inverter([face for one in loaded for face in one.faces]))
    found: list[Inverted] = []
    rows = []
    faces: list[Pixels | None] = []
    for one in loaded:
        before = len(found)
        found += [Inverted(one.code, one.tuning)] if one.code is not None else [next(inverted) for _ in one.faces]
        faces += [None] if one.code is not None else [face for face, _ in one.faces]
        rows.append(slice(before, len(found)))
    return CodeBatch(
        [one.source for one in loaded],
        np.stack([one.code for one in found]),
        rows,
        [one.original for one in loaded],
        [one.tuning for one in found],
        [found[place.start].details for place in rows],
        faces,
        [Faces(one.photo, one.quads) if one.photo else None for one in loaded],
    )


def read_references(
    engine: Engine,
    paths: Sequence[str | Path],
    options: PhotoOptions,
    reporter: Reporter,
    *,
    keep_originals: bool = False,
) -> CodeBatch:
    """The codes of references, of each the largest face. Raises InputError."""
    inverter = Inverter(engine, InversionRequest(), SilentReporter())
    largest = replace(options, face="largest", into=None)
    reader = InputReader(engine, inverter, largest, keep_originals=keep_originals, note=reporter.note)
    return to_batch([reader.read(Source.of(path)) for path in paths], inverter)


def latent_of(engine: Engine, batch: CodeBatch, index: int, method: str, face: int = 0) -> LatentCode:
    """The code of an input, or of one of its faces, with all that a latent file says of it."""
    source, row, faces = batch.sources[index], batch.rows[index].start + face, batch.photos[index]
    file_name = source.path.name if source.path else ""  # in which folder it lay is nobody's business
    tuning, bundle = batch.tunings[row], engine.bundle
    digest = tuning.digest if tuning else ""
    crop = "" if faces is None else crop_of(faces.photo, faces.quads[face])
    return LatentCode(batch.codes[row], bundle.name, bundle.fingerprint, method, file_name, crop, tuning=digest)


def one_by_one(engine: Engine, function: Callable[[Latents], Latents], codes: Latents) -> Latents:
    """A cheap function of codes (B, N, D); on a CPU of one after the other, so that all are rounded alike."""
    if engine.device.type != "cpu":
        return function(codes)
    return np.concatenate([function(codes[i : i + 1]) for i in range(len(codes))])
