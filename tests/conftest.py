"""Fixtures that tests of several modules share: a small model, a picture, and a seed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image, ImageDraw

from stedit.bundle import AttributeSpec, Bundle
from stedit.imaging.files import Pixels
from stedit.models.attribute_network import Judge
from stedit.models.config import ClassifierConfig, EditorConfig, EncoderConfig, GeneratorConfig, JudgeConfig
from stedit.models.edit_transformer import EditTransformer
from stedit.models.generator import Generator
from stedit.models.latent_classifier import LatentClassifier
from stedit.models.style_transformer import StyleTransformer

TINY_ATTRIBUTES = ("Smiling", "Eyeglasses", "Bangs", "Blond_Hair", "No_Beard")

settings.register_profile("stedit", deadline=None, derandomize=True)
settings.load_profile("stedit")


@pytest.fixture(autouse=True)
def _torch_seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a complete model with random weights: 32 px, codes of 8 x 16, TINY_ATTRIBUTES. Read only."""
    torch.manual_seed(0)
    code = {"style_count": 8, "style_dim": 16}
    generator = GeneratorConfig(resolution=32, style_dim=16, mapping_layers=2, channels=(16, 16, 8, 8))
    encoder = EncoderConfig(
        stem_width=8,
        widths=(8, 8, 16, 16),
        blocks=(1, 1, 1, 1),
        reduction=4,
        input_height=32,
        input_width=32,
        heads=2,
        feedforward=32,
        **code,
    )
    classifier = ClassifierConfig(attributes=len(TINY_ATTRIBUTES), hidden=(32, 16), embedding=4, **code)
    editor = EditorConfig(heads=2, feedforward=32, attributes=len(TINY_ATTRIBUTES), **code)
    judge = JudgeConfig(attributes=len(TINY_ATTRIBUTES), widths=(8, 16), input_height=32, input_width=32)
    bundle = Bundle.save(
        tmp_path_factory.mktemp("models") / "tiny-32",
        name="tiny-32",
        domain="noise",
        license="MIT",
        description="Random weights, for tests.",
        attributes=[AttributeSpec(name) for name in TINY_ATTRIBUTES],
        training={"steps": 0},
        parts={
            "generator": (generator, Generator(generator).state_dict()),
            "encoder": (encoder, StyleTransformer(encoder).state_dict()),
            "classifier": (classifier, LatentClassifier(classifier).state_dict()),
            "editor": (editor, EditTransformer(editor).state_dict()),
            "judge": (judge, Judge(judge).state_dict()),
        },
        readme="# tiny-32\n",
    )
    return bundle.path


@pytest.fixture
def face_image() -> Pixels:
    """A drawn face, uint8 (48, 40, 3): no symmetry, so that a wrong flip or crop shows."""
    shade = np.linspace(40, 200, 160, dtype=np.uint8)
    picture = Image.fromarray(np.broadcast_to(shade[None, :, None], (192, 160, 3)).copy())
    draw = ImageDraw.Draw(picture)
    draw.ellipse((24, 16, 136, 176), fill=(224, 172, 105))
    draw.ellipse((48, 64, 68, 84), fill=(40, 80, 200))
    draw.ellipse((92, 64, 112, 84), fill=(40, 160, 40))
    draw.arc((52, 104, 108, 152), 10, 120, fill=(180, 20, 40), width=8)
    return np.array(picture.reduce(4))


@pytest.fixture
def full_device(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A device on which every write finds the disk full, as Linux's /dev/full.

    Root gets a copy of their own: code that went wrong could put a file in the place of the system's.
    """
    if os.geteuid() != 0:
        device = Path("/dev/full")
    else:
        device = tmp_path_factory.mktemp("devices") / "full"
        try:
            os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 7))
            device.open("wb").close()
        except OSError:
            pytest.skip("this system lets nobody make a device")
    if not device.is_char_device():
        pytest.skip("this system has no full device")
    return device
