"""The embedded model and the codes of some sample faces: what edits do can only be measured on a trained model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stedit.engine import Engine
from stedit.imaging.files import read_image
from stedit.runtime.arrays import Latents

FACES = Path(__file__).resolve().parents[1] / "data/faces"


@pytest.fixture(scope="session")
def model(embedded: Engine) -> Engine:
    """The embedded model."""
    return embedded


@pytest.fixture(scope="session")
def faces(model: Engine) -> Latents:
    """Codes of four people who hardly smile and wear no glasses: (4, N, D)."""
    return np.concatenate(
        [model.invert(read_image(FACES / f"{name}.jpg")) for name in ("blonde", "dark-hair", "serious", "short-hair")]
    )
