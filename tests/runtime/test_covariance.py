"""How codes vary, against samples of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from stedit.engine import Engine
from stedit.models.config import ClassifierConfig
from stedit.models.generator import Generator
from stedit.models.latent_classifier import LatentClassifier
from stedit.runtime.covariance import MIXING, MixingCovariance, latent_covariance


@pytest.fixture(scope="module")
def generator(tiny_bundle: Path) -> Generator:
    network = Engine.from_pretrained(tiny_bundle, device="cpu").networks.generator
    assert isinstance(network, Generator)
    return network


def test_mixing_covariance_is_that_of_style_mixed_codes(generator: Generator) -> None:
    """Codes as StyleGAN2 is trained on them: nine of ten swap to another w at a random style."""
    count, dim, samples = 8, 16, 40_000
    w, other = generator.mapping(torch.randn(2, samples, dim))
    crossover = torch.randint(1, count, (samples, 1))
    crossover[torch.rand(samples) > MIXING] = count
    codes = torch.where((torch.arange(count) < crossover)[:, :, None], w[:, None], other[:, None]).flatten(1)
    expected = torch.cov(codes.T)
    found = MixingCovariance.sample(generator).multiply(torch.eye(count * dim))
    assert (found - expected).norm() < 0.06 * expected.norm()
    assert torch.linalg.eigvalsh(found).min() > 0  # no direction is shut
    torch.testing.assert_close(found, found.T)


def test_latent_covariance_is_deterministic_and_the_classifiers_if_held(generator: Generator) -> None:
    vectors = torch.randn(3, 2, 8 * 16)
    assert torch.equal(
        MixingCovariance.sample(generator).multiply(vectors), MixingCovariance.sample(generator).multiply(vectors)
    )
    config = ClassifierConfig(style_count=8, style_dim=16, attributes=2, hidden=(8,), embedding=4, covariance_rank=3)
    classifier = LatentClassifier(config)
    factor = classifier.covariance_factor.normal_()
    dense = vectors @ factor.T @ factor + classifier.covariance_rest * vectors
    assert torch.equal(latent_covariance(classifier, generator).multiply(vectors), dense)
    assert torch.equal(
        latent_covariance(None, generator).multiply(vectors), MixingCovariance.sample(generator).multiply(vectors)
    )


def test_model_covariance_is_computed_once(tiny_bundle: Path) -> None:
    engine = Engine.from_pretrained(tiny_bundle, device="cpu")
    assert engine.model.covariance is engine.model.covariance
