"""What is made of an input, before it is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from stedit.batch.code_batch import CodeBatch
from stedit.batch.origins import UNKNOWN
from stedit.batch.photographs import EditedPhoto
from stedit.imaging.animation import Animation
from stedit.imaging.files import Pixels
from stedit.storage.latents import LatentCode
from stedit.storage.tunings import Tuning


@dataclass(frozen=True)
class Output:
    """What was made of one input: an image, an animation, a latent code, or nothing but what `details` say."""

    made: Pixels | LatentCode | Animation | EditedPhoto | None
    details: dict[str, Any] = field(default_factory=dict)  # for the JSON record
    summary: str = ""  # the same for a person
    tuning: Tuning | None = None  # of a code
    notes: tuple[str, ...] = ()  # what was not done of what one may expect
    further: tuple[Pixels | LatentCode, ...] = ()  # the same of other faces, each for its own file: `naming.face_path`
    source: str = UNKNOWN  # the digest of the bytes that it was made of

    @property
    def size(self) -> tuple[int, int] | None:
        """(width, height) in pixels; None for what is no image."""
        if self.made is None or isinstance(self.made, LatentCode):
            return None
        pixels = self.made
        if isinstance(pixels, Animation):
            pixels = pixels.frames[0]
        elif isinstance(pixels, EditedPhoto):
            pixels = pixels.pixels
        return pixels.shape[1], pixels.shape[0]


ProcessBatch = Callable[[CodeBatch], Sequence[Output]]
"""Gives an output for each input of a batch. Raises SteditError for what the model cannot do."""
