"""Losses are what they are called, for each picture on its own."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from stedit.engine import Engine
from stedit.inversion.objective import Objective, choose_losses, describe_losses
from stedit.models.attribute_network import Judge
from stedit.models.backbone import IdentityNetwork
from stedit.models.config import BackboneConfig, GeneratorConfig, JudgeConfig
from stedit.models.generator import Generator
from stedit.runtime.framing import content_size, resize
from stedit.runtime.networks import Networks

ALL = torch.arange(3)
ALONE = Networks(Generator(GeneratorConfig(resolution=8, style_dim=4, mapping_layers=1, channels=(4, 4))))


@pytest.fixture
def targets() -> torch.Tensor:
    return torch.rand(3, 3, 32, 32) * 2 - 1


def test_terms_pixel_losses_are_means_over_three_scales(targets: torch.Tensor) -> None:
    images = torch.rand(3, 3, 32, 32) * 2 - 1
    terms = Objective(targets, {"l1": 1.0, "l2": 1.0}, ALONE).terms(images, ALL)
    pairs = [(F.avg_pool2d(images, k), F.avg_pool2d(targets, k)) for k in (1, 2, 4)]
    for i in range(3):
        assert terms["l2"][i] == pytest.approx(sum(float(F.mse_loss(a[i], b[i])) for a, b in pairs) / 3, rel=1e-4)
        assert terms["l1"][i] == pytest.approx(sum(float(F.l1_loss(a[i], b[i])) for a, b in pairs) / 3, rel=1e-4)
        assert terms["mse"][i] == pytest.approx(float(F.mse_loss(images[i], targets[i])), rel=1e-4)


def test_terms_compare_images_with_their_own_targets(targets: torch.Tensor) -> None:
    terms = Objective(targets, {"l2": 1.0}, ALONE).terms(targets[[2, 0]], torch.tensor([2, 0]))
    assert terms["l2"].tolist() == [0, 0]
    assert (Objective(targets, {"l2": 1.0}, ALONE).terms(targets[[2, 0]], torch.tensor([0, 2]))["l2"] > 0.1).all()


def test_total_is_the_weighted_sum(targets: torch.Tensor) -> None:
    objective = Objective(targets, {"l1": 3.0, "l2": 0.5}, ALONE)
    terms = objective.terms(targets + 0.1, ALL)
    torch.testing.assert_close(objective.total(terms), torch.full((3,), 3 * 0.1 + 0.5 * 0.01))


def test_terms_mse_ignores_colours_out_of_range() -> None:
    white = torch.ones(1, 3, 32, 32)
    terms = Objective(white, {"l2": 1.0}, ALONE).terms(white + 0.5, torch.tensor([0]))
    assert (float(terms["mse"]), float(terms["l2"])) == (0, pytest.approx(0.25))


def test_terms_wide_targets_are_compared_with_the_centre_crop(targets: torch.Tensor) -> None:
    assert content_size(512, (192, 256)) == (384, 512)
    assert content_size(128, (64, 64)) == (128, 128)
    assert content_size(64, (64, 32)) == (64, 32)
    wide = Objective(targets[:, :, 8:24], {"l2": 1.0}, ALONE)
    assert wide.terms(targets, ALL)["l2"].tolist() == [0, 0, 0]


def test_perceptual_features_are_the_encoders_before_the_judges(tiny: Engine, targets: torch.Tensor) -> None:
    judge = Judge(JudgeConfig(5, (8, 8, 16))).eval()
    assert describe_losses({}, tiny.networks) == "l2 + 0.02 perceptual (encoder)"
    assert describe_losses({}, replace(tiny.networks, judge=judge)) == "l2 + 0.02 perceptual (encoder)"
    assert describe_losses({"perceptual": 1.0}, replace(ALONE, judge=judge)) == "perceptual (judge)"
    assert choose_losses({}, ALONE) == {"l2": 1.0}
    for networks in (tiny.networks, replace(ALONE, judge=judge)):
        objective = Objective(targets, {"perceptual": 1.0}, networks)
        with torch.no_grad():
            assert objective.terms(targets, ALL)["perceptual"].abs().max() < 1e-6
            shifted = objective.terms(targets.roll(3, dims=-1), ALL)["perceptual"]
        assert (shifted > 0.01).all()


def test_terms_identity_is_one_minus_the_cosine() -> None:
    config = BackboneConfig(stem_width=8, widths=(8, 8, 8, 8), blocks=(1, 1, 1, 1), reduction=4)
    network = IdentityNetwork(config).eval().requires_grad_(False)
    faces = torch.rand(2, 3, 64, 64) * 2 - 1
    objective = Objective(faces, {"identity": 1.0}, replace(ALONE, identity=network))
    other = faces.flip(0)
    assert objective.terms(faces, ALL[:2])["identity"].abs().max() < 1e-5
    embeddings = network.embed(network.crop(faces))
    expected = 1 - float(embeddings[0] @ embeddings[1])
    assert objective.terms(other, ALL[:2])["identity"].tolist() == pytest.approx([expected] * 2, abs=1e-5)


@pytest.mark.parametrize("size", [(16, 16), (32, 32), (24, 20), (64, 64)])
def test_resize_keeps_the_mean(targets: torch.Tensor, size: tuple[int, int]) -> None:
    small = resize(targets, size)
    assert small.shape[-2:] == size
    torch.testing.assert_close(small.mean(dim=(2, 3)), targets.mean(dim=(2, 3)), atol=0.02, rtol=0)
