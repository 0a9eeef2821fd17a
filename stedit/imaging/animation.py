"""Images that follow each other: animated WebP and GIF, there and back, for ever."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from stedit.errors import OutputError, describe_cause
from stedit.imaging.files import Pixels

FORMATS = {"webp": "WEBP", "gif": "GIF"}
FRAME_MS, PAUSE_MS = 70, 600  # how long an image shows, and the first and the last


@dataclass(frozen=True, eq=False)
class Animation:
    """Images to be shown one after the other."""

    frames: Sequence[Pixels]
    """Two or more, uint8 (H, W, 3) of one size; shown from the first to the last and back."""

    def encode(self, kind: str, *, quality: int = 90) -> bytes:
        """The file, "webp" or "gif": 2 * len(frames) - 2 frames; the same images give the same bytes.

        Images that follow each other without a difference are one frame. Raises OutputError.
        """
        there_and_back = [*self.frames, *self.frames[-2:0:-1]]
        first, *rest = [Image.fromarray(frame) for frame in there_and_back]
        pauses = {0, len(self.frames) - 1}
        durations = [PAUSE_MS if place in pauses else FRAME_MS for place in range(len(there_and_back))]
        encoded = io.BytesIO()
        try:
            first.save(
                encoded, FORMATS[kind], save_all=True, append_images=rest, duration=durations, loop=0, quality=quality
            )
        except (OSError, ValueError, RuntimeError) as error:  # such as WebP's limit of 16,383 px a side
            raise OutputError(
                f"cannot encode the animation as {kind} ({describe_cause(error)}): try fewer images"
            ) from error
        return encoded.getvalue()
