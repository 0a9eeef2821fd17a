"""Scaled logits give true probabilities."""

from __future__ import annotations

import math

import pytest
import torch

from stedit.training.calibration import calibration_error, fit_scaling


def test_fit_scaling_calibrates_overconfident_and_shifted_logits() -> None:
    true = 1.5 * torch.randn(8000, 3)
    labels = (torch.rand(8000, 3) < true.sigmoid()).float()
    labels[::7, 1] = math.nan
    spoilt = torch.stack([true[:, 0] * 6, true[:, 1] * 2 - 3, true[:, 2]], dim=1)
    scale, shift = fit_scaling(spoilt[:4000], labels[:4000])
    assert scale.tolist() == pytest.approx([1 / 6, 1 / 2, 1], rel=0.1)
    assert shift.tolist() == pytest.approx([0, 1.5, 0], abs=0.15)
    before = calibration_error(spoilt[4000:], labels[4000:])
    after = calibration_error(spoilt[4000:] * scale + shift, labels[4000:])
    assert before[0] > 0.1
    assert before[1] > 0.2
    assert after.max() < 0.03


def test_fit_scaling_of_separable_classes_is_finite() -> None:
    labels = (torch.arange(100) % 2).float()[:, None]
    logits = 20 * (2 * labels - 1)
    scale, shift = fit_scaling(logits, labels)
    assert (logits * scale + shift).abs().max().item() == pytest.approx(math.log(51), rel=0.02)  # Platt's targets


def test_fit_scaling_reproduces_labels_that_are_probabilities() -> None:
    true = 1.5 * torch.randn(4000, 1)
    scale, shift = fit_scaling(4 * true - 1, true.sigmoid())
    assert scale.item() == pytest.approx(1 / 4, rel=0.01)
    assert shift.item() == pytest.approx(1 / 4, abs=0.01)


def test_fit_scaling_of_one_class_changes_nothing() -> None:
    scale, shift = fit_scaling(torch.randn(50, 2), torch.stack([torch.ones(50), torch.full((50,), math.nan)], dim=1))
    assert scale.tolist() == [1, 1]
    assert shift.tolist() == [0, 0]


def test_calibration_error_is_the_gap_between_probability_and_share() -> None:
    logits = torch.full((10, 2), math.log(0.7 / 0.3))
    labels = torch.zeros(10, 2)
    labels[:4, 0] = 1  # 40 % where 70 % were said
    labels[:7, 1] = 1
    assert calibration_error(logits, labels).tolist() == pytest.approx([0.3, 0.0], abs=1e-6)
    assert calibration_error(logits, torch.full((10, 2), math.nan)).isnan().all()
