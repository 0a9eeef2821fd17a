"""Animated WebP and GIF."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from stedit.errors import OutputError
from stedit.imaging.animation import FRAME_MS, PAUSE_MS, Animation


@pytest.mark.parametrize(("kind", "tolerance"), [("webp", 12), ("gif", 24)])
def test_animation_frames_encode_and_decode_round_trip(kind: str, tolerance: int) -> None:
    frames = [np.full((24, 32, 3), (level, 255 - level, 40), np.uint8) for level in (0, 80, 160, 240)]
    data = Animation(frames).encode(kind)
    assert data == Animation(frames).encode(kind)
    with Image.open(io.BytesIO(data)) as opened:
        assert (opened.n_frames, opened.size, opened.info["loop"]) == (6, (32, 24), 0)
        shown, durations = [], []
        for number in range(6):
            opened.seek(number)
            shown.append(int(np.asarray(opened.convert("RGB"))[12, 16, 0]))
            durations.append(opened.info["duration"])
    np.testing.assert_allclose(shown, [0, 80, 160, 240, 160, 80], atol=tolerance)
    assert durations == [PAUSE_MS, FRAME_MS, FRAME_MS, PAUSE_MS, FRAME_MS, FRAME_MS]


def test_animation_that_a_format_cannot_hold_raises() -> None:
    frames = [np.full((1, 17_000, 3), level, np.uint8) for level in (0, 255)]
    with pytest.raises(OutputError, match="cannot encode the animation as webp"):
        Animation(frames).encode("webp")
