"""Hybrid inversion beats the encoder on every picture, and stays where codes can be edited."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stedit.engine import Engine
from stedit.imaging.files import Pixels
from stedit.inversion.hybrid import squared_distance
from stedit.inversion.optimisation import CodeStatistics, code_statistics
from stedit.inversion.options import InversionOptions, InversionProgress
from stedit.models.config import ClassifierConfig
from stedit.models.latent_classifier import LatentClassifier
from stedit.runtime.covariance import LowRankCovariance

from .conftest import psnr


@pytest.fixture(scope="module")
def hybrid(embedded: Engine, faces: Pixels) -> tuple[np.ndarray, list[InversionProgress]]:
    told: list[InversionProgress] = []
    return embedded.invert(faces, method="hybrid", options=InversionOptions(steps=20), on_step=told.append), told


def test_hybrid_improves_psnr_of_every_image(
    embedded: Engine, faces: Pixels, hybrid: tuple[np.ndarray, list[InversionProgress]]
) -> None:
    codes, told = hybrid
    before = psnr(faces, embedded.reconstruct(faces))
    after = psnr(faces, embedded.synthesise(codes))
    assert (after - before).min() > 0.5
    np.testing.assert_allclose(told[-1].psnr, after, atol=0.05)  # colours are rounded in a picture


def test_hybrid_code_is_near_the_encoders_and_edits_as_well(
    embedded: Engine, faces: Pixels, hybrid: tuple[np.ndarray, list[InversionProgress]]
) -> None:
    codes, _ = hybrid
    encoded = embedded.invert(faces)
    statistics = code_statistics(embedded.networks.generator, None)  # type: ignore[arg-type]
    covariance = LowRankCovariance.of(embedded.networks.classifier)
    change = squared_distance(torch.from_numpy(codes - encoded), covariance, statistics)
    typical = squared_distance(torch.from_numpy(encoded - encoded[[1, 2, 0]]), covariance, statistics)
    assert (change < 4 * typical).all()
    for name in ("smile", "no-smile"):
        strength = 1.0 if name == "smile" else -1.0
        edited = embedded.classify(embedded.edit_by_label(codes, "smile", strength=strength))
        sure = edited[:, embedded.attributes.index("Smiling")]
        assert (np.abs(sure - (strength > 0)) < 0.25).all()


def test_hybrid_prior_pulls_to_the_encoders_code_and_the_mean(tiny: Engine, pictures: Pixels) -> None:
    encoded = tiny.invert(pictures)
    mean = code_statistics(tiny.networks.generator, tiny.networks.encoder).mean.numpy()  # type: ignore[arg-type]
    held = tiny.invert(pictures, method="hybrid", options=InversionOptions(steps=80, prior_weight=1e6))
    free = tiny.invert(pictures, method="hybrid", options=InversionOptions(steps=80, prior_weight=0))
    middle = (encoded + mean) / 2  # where nothing but the pull counts
    assert np.abs(held - middle).mean() < 0.1 * np.abs(free - middle).mean()


def test_squared_distance_is_mahalanobis() -> None:
    config = ClassifierConfig(style_count=4, style_dim=6, attributes=2, hidden=(8,), embedding=4, covariance_rank=3)
    classifier = LatentClassifier(config)
    classifier.covariance_factor.copy_(torch.randn(3, 24))
    classifier.covariance_rest.fill_(0.3)
    dense = classifier.covariance_factor.T @ classifier.covariance_factor + 0.3 * torch.eye(24)
    changes = torch.randn(5, 4, 6)
    flat = changes.flatten(1)
    expected = (flat * torch.linalg.solve(dense, flat.T).T).sum(dim=1) / 24
    found = squared_distance(changes, LowRankCovariance.of(classifier), CodeStatistics(torch.zeros(4, 6), 1.0))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_squared_distance_without_covariance_counts_in_w_std() -> None:
    statistics = CodeStatistics(torch.zeros(4, 6), w_std=6**0.5 * 2)  # 2 in each of 6 numbers
    torch.testing.assert_close(squared_distance(torch.full((1, 4, 6), 6.0), None, statistics), torch.tensor([9.0]))


def test_hybrid_in_w_starts_from_the_mean_of_styles(tiny: Engine, pictures: Pixels) -> None:
    codes = tiny.invert(pictures, method="hybrid", options=InversionOptions(steps=1, space="w", prior_weight=0))
    start = tiny.invert(pictures).mean(axis=1, keepdims=True)
    assert np.ptp(codes, axis=1).max() == 0
    assert np.abs(codes[:, :1] - start).max() <= 0.11  # a step of Adam is as long as its learning rate


def test_hybrid_takes_tensors_of_the_target_size(embedded: Engine, faces: Pixels) -> None:
    tensor = torch.from_numpy(faces[:1]).permute(0, 3, 1, 2).float() / 127.5 - 1
    options = InversionOptions(steps=1)
    by_tensor = embedded.invert(tensor, method="hybrid", options=options)
    by_array = embedded.invert(faces[:1], method="hybrid", options=options)
    assert np.abs(by_tensor.numpy() - by_array).mean() < 0.1  # they are made smaller in different ways
