"""Two engines: the small random model, and the embedded one with some of the sample pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from stedit.engine import Engine
from stedit.imaging.files import Pixels, fit_image, read_image

FACES = Path(__file__).resolve().parents[1] / "data/faces"


@pytest.fixture(scope="session")
def tiny(tiny_bundle: Path) -> Engine:
    return Engine.from_pretrained(tiny_bundle, device="cpu")


@pytest.fixture(scope="session")
def faces(embedded: Engine) -> Pixels:
    """Three sample pictures in the size of the embedded model's renderings, uint8 (3, R, R, 3)."""
    pictures = [read_image(FACES / name) for name in ("glasses.jpg", "hat.jpg", "smile.jpg")]
    return np.stack([fit_image(picture, embedded.target_size) for picture in pictures])


@pytest.fixture
def pictures(tiny: Engine) -> Pixels:
    """What the small model draws of three z, uint8 (3, 32, 32, 3)."""
    generator = tiny.networks.generator
    with torch.no_grad():
        return tiny.synthesise(generator.style_mix([torch.randn(3, 16)]).numpy())


def psnr(one: Pixels, other: Pixels) -> np.ndarray:
    """PSNR (B,) of pictures (B, H, W, 3), in dB."""
    error = ((one.astype(float) - other.astype(float)) ** 2).mean(axis=(1, 2, 3)) / 255**2
    return -10 * np.log10(np.maximum(error, 1e-10))
