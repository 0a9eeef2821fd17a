"""Iterative inversion with a random encoder of six channels: what is fed back, what is kept, and who is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from stedit.bundle import PART_CONFIGS, Bundle
from stedit.engine import Engine
from stedit.errors import MissingPartError
from stedit.imaging.files import Pixels
from stedit.inversion.options import InversionOptions, Step
from stedit.models.config import EncoderConfig
from stedit.models.style_transformer import StyleTransformer

from .conftest import psnr


@pytest.fixture(scope="module", params=[1, 2])
def iterative(request: pytest.FixtureRequest, tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """The small generator with a random iterative encoder, without and with folded pixels."""
    torch.manual_seed(0)
    tiny = Bundle.load(tiny_bundle)
    generator = (PART_CONFIGS["generator"].from_dict(tiny.parts["generator"].config), tiny.read_part("generator"))
    config = EncoderConfig.from_dict(tiny.parts["encoder"].config | {"iterative": True, "fold": request.param})
    encoder = StyleTransformer(config)
    encoder.mean.copy_(torch.randn(8, 16) * 0.3)
    bundle = Bundle.save(
        tmp_path_factory.mktemp("iterative") / "model",
        name="iterative-32",
        domain="noise",
        license="MIT",
        parts={"generator": generator, "encoder": (config, encoder.state_dict())},
        readme="",
        dtype="float32",
    )
    return Engine.from_pretrained(bundle.path, device="cpu")


def test_the_rendering_of_the_last_code_is_fed_back(iterative: Engine, pictures: Pixels) -> None:
    encoder, generator = iterative.networks["encoder"], iterative.networks["generator"]
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        w = encoder.mean.expand(3, -1, -1)  # type: ignore[operator,union-attr]
        codes = []
        for _ in range(4):
            w = w + encoder(torch.cat([images, generator(w)], dim=1)) - encoder.mean  # type: ignore[operator]
            codes.append(w)
        errors = torch.stack([(generator(w) - images).square().mean(dim=(1, 2, 3)) for w in codes])  # (4, 3)
    torch.testing.assert_close(iterative.invert(images), codes[0], atol=1e-4, rtol=0)
    told: list[Step] = []
    options = InversionOptions(steps=4, losses={"l2": 1.0})
    found = iterative.invert(images, method="iterative", options=options, report=told.append)
    assert [step.step for step in told] == [1, 2, 3, 4]
    losses = np.array([step.losses for step in told])
    assert (np.diff(losses, axis=0) <= 0).all()
    for i in range(3):
        kept = [k for k in range(4) if torch.allclose(found[i], codes[k][i], atol=1e-3)]
        assert kept, "the result is the code of some pass"
        assert errors[kept[0], i] <= errors[0, i] + 1e-6


def test_it_can_start_a_hybrid_and_be_its_eye(iterative: Engine, pictures: Pixels) -> None:
    assert iterative.describe_losses({}).endswith("perceptual (encoder)")
    codes = iterative.invert(pictures, method="hybrid", options=InversionOptions(steps=10, stay=0))
    assert (psnr(pictures, iterative.synthesise(codes)) > psnr(pictures, iterative.reconstruct(pictures))).all()


def test_an_encoder_that_was_not_trained_for_it_is_refused(tiny: Engine, embedded: Engine, pictures: Pixels) -> None:
    with pytest.raises(MissingPartError, match=r"'tiny-32' was not trained to see its own renderings.*choose hybrid"):
        tiny.invert(pictures, method="iterative")
    with pytest.raises(MissingPartError, match="'synthface-128'"):
        embedded.require_iterative()
