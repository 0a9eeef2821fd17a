"""Fixtures that tests of several modules share: two models, a picture, a seed, and two processes."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hub_server import HubServer
from hypothesis import settings
from PIL import Image, ImageDraw

import stedit
from stedit.engine import Engine
from stedit.imaging.files import Pixels
from stedit.models.attribute_network import Judge
from stedit.models.config import ClassifierConfig, EditorConfig, EncoderConfig, GeneratorConfig, JudgeConfig
from stedit.models.edit_transformer import EditTransformer
from stedit.models.generator import Generator
from stedit.models.latent_classifier import LatentClassifier
from stedit.models.style_transformer import StyleTransformer
from stedit.storage.bundle import Bundle
from stedit.storage.bundle_config import AttributeSpec

TINY_ATTRIBUTES = ("Smiling", "Eyeglasses", "Bangs", "Blond_Hair", "No_Beard")

settings.register_profile("stedit", deadline=None, derandomize=True)
settings.load_profile("stedit")


@pytest.fixture(autouse=True)
def _torch_seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _hub_for_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    """The only Hub that tests can reach, and an empty cache; huggingface_hub reads where they are at its import."""
    assert "huggingface_hub" not in sys.modules
    with HubServer() as server, pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith(("HF_", "HUGGING", "STEDIT_"))]:
            environment.delenv(name)
        environment.setenv("HF_ENDPOINT", server.url)
        environment.setenv("HF_HOME", str(tmp_path_factory.mktemp("hub")))
        environment.setenv("HF_HUB_DISABLE_XET", "1")  # its server is another one, with a protocol of its own
        environment.setenv("NO_PROXY", "127.0.0.1")
        yield server


@pytest.fixture
def hub(_hub_for_all: HubServer) -> HubServer:
    """The Hub, with nothing on it and nothing cached."""
    _hub_for_all.reset()
    home = Path(os.environ["HF_HOME"])
    shutil.rmtree(home)
    home.mkdir()
    return _hub_for_all


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


@pytest.fixture(scope="session")
def embedded() -> Engine:
    """The model that is taken where none is named, on the CPU. What it measures is bounded as any such model's is."""
    return Engine.from_pretrained(device="cpu")


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
def together() -> Callable[..., str]:
    """Run a Python script, or `--module` NAME, with arguments, as two processes; gives what both print."""

    def run(script: str | Path, *arguments: str | Path) -> str:
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
        environment = os.environ | {"PYTHONPATH": str(Path(stedit.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [*launch, str(script), *map(str, arguments)],
            check=False,
            capture_output=True,
            text=True,
            env=environment,
            timeout=200,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


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
