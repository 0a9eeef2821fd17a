"""Codes corrected by what the encoder sees of their renderings; iterative inversion with a random encoder."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from stedit.engine import Engine
from stedit.errors import MissingPartError
from stedit.imaging.files import Pixels
from stedit.inversion.encoder import encode, require_iterative
from stedit.inversion.objective import describe_losses
from stedit.inversion.options import InversionOptions, InversionProgress
from stedit.models.config import EncoderConfig
from stedit.models.style_transformer import StyleTransformer
from stedit.storage.bundle import Bundle
from stedit.storage.bundle_config import PART_CONFIGS

from .conftest import psnr


@pytest.fixture(scope="module", params=[1, 2])
def iterative(request: pytest.FixtureRequest, tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """The small generator with a random iterative encoder, without and with folded pixels."""
    torch.manual_seed(0)
    tiny = Bundle.load(tiny_bundle)
    generator = (PART_CONFIGS["generator"].from_dict(tiny.parts["generator"].config), tiny.read_part("generator"))
    config = EncoderConfig.from_dict(tiny.parts["encoder"].config | {"iterative": True, "unshuffle": request.param})
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


def test_iterative_passes_take_the_last_rendering(iterative: Engine, pictures: Pixels) -> None:
    encoder, generator = iterative.networks.encoder, iterative.networks.generator
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        w = encoder.mean.expand(3, -1, -1)  # type: ignore[operator,union-attr]
        codes = []
        for _ in range(4):
            w = w + encoder(torch.cat([images, generator(w)], dim=1)) - encoder.mean  # type: ignore[operator]
            codes.append(w)
        errors = torch.stack([(generator(w) - images).square().mean(dim=(1, 2, 3)) for w in codes])  # (4, 3)
    torch.testing.assert_close(iterative.invert(images), codes[0], atol=1e-4, rtol=0)
    told: list[InversionProgress] = []
    options = InversionOptions(steps=4, losses={"l2": 1.0})
    found = iterative.invert(images, method="iterative", options=options, on_step=told.append)
    assert [step.step for step in told] == [1, 2, 3, 4]
    losses = np.array([step.losses for step in told])
    assert (np.diff(losses, axis=0) <= 0).all()
    for i in range(3):
        kept = [k for k in range(4) if torch.allclose(found[i], codes[k][i], atol=1e-3)]
        assert kept, "the result is the code of some pass"
        assert errors[kept[0], i] <= errors[0, i] + 1e-6


def test_iterative_encoder_starts_hybrid_and_gives_perceptual_features(iterative: Engine, pictures: Pixels) -> None:
    assert describe_losses({}, iterative.networks).endswith("perceptual (encoder)")
    codes = iterative.invert(pictures, method="hybrid", options=InversionOptions(steps=10, prior_weight=0))
    assert (psnr(pictures, iterative.synthesise(codes)) > psnr(pictures, iterative.reconstruct(pictures))).all()


def test_encode_corrections_add_the_difference_of_codes(tiny: Engine, pictures: Pixels) -> None:
    old, generator = tiny.networks.encoder, tiny.networks.generator
    encoder = StyleTransformer(replace(old.config, corrections=2)).eval()  # type: ignore[arg-type]
    encoder.load_state_dict(old.state_dict())
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        seen = encoder(images)
        first = 2 * seen - encoder(generator(seen).clamp(-1, 1))
        second = first + seen - encoder(generator(first).clamp(-1, 1))
        found = encode(encoder, generator, images)  # type: ignore[arg-type]
        torch.testing.assert_close(encode(old, generator, images), seen, atol=1e-5, rtol=0)  # type: ignore[arg-type]
    torch.testing.assert_close(found, second, atol=1e-4, rtol=0)
    assert not torch.allclose(first, second, atol=1e-3)


def test_encode_one_correction_improves_psnr_of_every_image(embedded: Engine, faces: Pixels) -> None:
    if not embedded.networks.encoder.config.corrections:  # type: ignore[union-attr]
        pytest.skip("the embedded encoder has not learned to correct its codes")
    errors = []
    for corrections in (0, 1):
        encoder = copy.copy(embedded.networks.encoder)
        encoder.config = replace(encoder.config, corrections=corrections)  # type: ignore[arg-type,assignment]
        engine = Engine(embedded.model.with_networks(encoder=encoder))
        errors.append(psnr(faces, engine.reconstruct(faces)))
    assert (errors[1] > errors[0]).all()
    assert (errors[1] - errors[0]).mean() > 0.1


def test_iterative_with_another_encoder_raises(tiny: Engine, embedded: Engine, pictures: Pixels) -> None:
    with pytest.raises(MissingPartError, match=r"'tiny-32' was not trained on its own renderings.*choose hybrid"):
        tiny.invert(pictures, method="iterative")
    with pytest.raises(MissingPartError, match=f"'{embedded.bundle.name}'"):
        require_iterative(embedded.model)
