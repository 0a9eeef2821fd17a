"""One input from disk to memory: an image as a method of inversion takes it, or a latent code and its tuning."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stedit.batch.inputs import Source
from stedit.batch.inverter import Inverter
from stedit.imaging.files import Pixels, fit_picture, read_picture
from stedit.storage.latents import LatentCode, is_latent_path
from stedit.storage.tunings import Tuning, tuning_path

if TYPE_CHECKING:
    from stedit.engine import Engine


@dataclass(frozen=True)
class LoadedInput:
    """One input in memory: an image that is still to be inverted, or a code."""

    source: Source
    image: Pixels | None = None  # of the size that the encoder takes
    target: Pixels | None = None  # the image in the size that renderings are compared with, for methods that do
    code: npt.NDArray[np.float32] | None = None  # (N, D)
    tuning: Tuning | None = None  # of the code that was read
    original: Pixels | None = None  # the image in the size of the results, for sheets
    notes: tuple[str, ...] = ()


def read_input(source: Source, engine: Engine, inverter: Inverter, *, keep_original: bool = False) -> LoadedInput:
    """Read an image and fit it to what `inverter` takes, or read a latent code and its tuning. Raises InputError."""
    if source.path and is_latent_path(source.path):
        code = LatentCode.load(source.path)
        bundle = engine.bundle
        code.require(model=bundle.name, fingerprint=bundle.fingerprint, shape=engine.code_shape, path=source.path)
        tuning = None
        if code.tuning:
            tuning = Tuning.load(path := tuning_path(source.path))
            tuning.require(digest=code.tuning, path=path)
        return LoadedInput(source, code=code.w, tuning=tuning)
    decoded = read_picture(source.path) if source.path else read_picture(sys.stdin.buffer)
    original = fit_picture(decoded.pixels, engine.output_size) if keep_original else None
    image, target = inverter.fit(decoded.pixels)
    return LoadedInput(source, image, target, original=original, notes=decoded.notes)
