"""The Fréchet distance of Gaussians whose distance is known."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from stedit.errors import InputError, UsageError
from stedit.metrics.frechet import Inception, Moments, frechet_distance


def gaussian(mean: np.ndarray, covariance: np.ndarray, count: int = 50) -> Moments:
    """Moments of a sample that has exactly this mean and covariance."""
    sample = np.random.default_rng(len(mean)).standard_normal((count, len(mean)))
    sample -= sample.mean(axis=0)
    sample = sample @ np.linalg.inv(np.linalg.cholesky(np.cov(sample.T).reshape(len(mean), -1))).T
    moments = Moments()
    for part in np.array_split(sample @ np.linalg.cholesky(covariance).T + mean, 7):
        moments.add(part)
    return moments


def test_moments_are_those_of_all_batches_together() -> None:
    sample = np.random.default_rng(0).normal(2, 3, (40, 4))
    moments = Moments()
    for part in np.array_split(sample, 6):
        moments.add(part.astype(np.float64))
    assert moments.count == 40
    np.testing.assert_allclose(moments.mean, sample.mean(axis=0))
    np.testing.assert_allclose(moments.covariance, np.cov(sample.T), atol=1e-12)


def test_distance_on_a_line() -> None:
    """(m1 - m2)^2 + (s1 - s2)^2 = 3^2 + (1 - 2)^2."""
    first, second = gaussian(np.zeros(1), np.eye(1)), gaussian(np.full(1, 3.0), np.full((1, 1), 4.0))
    assert frechet_distance(first, second) == pytest.approx(10)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-9)


def test_distance_of_correlated_gaussians() -> None:
    one = np.array([[2.0, 0.9], [0.9, 1.0]])
    other = np.array([[1.0, -0.4], [-0.4, 3.0]])
    # the eigenvalues of S1 S2 are real and positive; the trace of its root is the sum of theirs
    root = np.sqrt(np.linalg.eigvals(one @ other)).sum()
    expected = 1 + 4 + np.trace(one + other) - 2 * root
    got = frechet_distance(gaussian(np.zeros(2), one), gaussian(np.array([1.0, 2.0]), other))
    assert got == pytest.approx(expected)


def test_distance_with_more_features_than_images_is_exact() -> None:
    draw = np.random.default_rng(0)
    first, second = Moments(), Moments()
    features = draw.random((5, 64))
    first.add(features)
    second.add(features + 0.5)
    assert frechet_distance(first, second) == pytest.approx(64 * 0.25, rel=1e-6)


def test_inception_is_refused_where_it_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("torch_fidelity"):
        monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(UsageError, match=r"pip install 'stedit\[metrics\]'"):
        Inception(tmp_path / "inception.pth", torch.device("cpu"))


def test_load_of_another_file_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("torch_fidelity")
    file = tmp_path / "inception.pth"
    for content in (b"junk", b""):
        file.write_bytes(content)
        with pytest.raises(InputError, match=r"inception\.pth"):
            Inception(file, torch.device("cpu"))
    torch.save({"weight": torch.zeros(3)}, file)
    with pytest.raises(InputError, match=r"inception\.pth"):
        Inception(file, torch.device("cpu"))
