"""The adversarial losses equal what can be worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from stedit.training.generator.adversarial import (
    PathLength,
    discriminator_loss,
    generator_loss,
    path_lengths,
    squared_gradient,
)


def test_logistic_losses() -> None:
    zero = torch.zeros(5)
    assert generator_loss(zero).item() == pytest.approx(math.log(2))
    assert discriminator_loss(zero, zero).item() == pytest.approx(2 * math.log(2))
    assert generator_loss(torch.tensor([-3.0])).item() == pytest.approx(math.log1p(math.exp(3)))
    assert discriminator_loss(torch.tensor([9.0]), torch.tensor([-9.0])).item() < 1e-3
    assert discriminator_loss(zero, zero, zero).item() == pytest.approx(2.5 * math.log(2))
    far = torch.tensor([-9.0])
    assert discriminator_loss(-far, far, far).item() < 1e-3 < discriminator_loss(-far, far, -far).item()


def test_r1_of_a_linear_discriminator_is_the_norm_of_its_weights() -> None:
    linear = nn.Linear(3 * 4 * 4, 1)
    images = torch.randn(6, 3, 4, 4, requires_grad=True)
    penalty = squared_gradient(linear(images.flatten(1)).squeeze(1), images)
    torch.testing.assert_close(penalty, linear.weight.square().sum())
    penalty.backward()
    torch.testing.assert_close(linear.weight.grad, 2 * linear.weight.detach())


def test_r1_of_logits_of_patches_is_that_of_their_mean() -> None:
    images = torch.randn(6, 3, 8, 8, requires_grad=True)
    logits = 5 * nn.functional.avg_pool2d(images, 4).sum(dim=1)  # (6, 2, 2), each of 16 pixels of three channels
    torch.testing.assert_close(squared_gradient(logits, images), torch.tensor(3 * 64 * (5 / 16 / 4) ** 2))


def test_path_length_of_an_isometry_is_its_scale() -> None:
    """For images = s * Q w with Q orthonormal, ||J^T y|| is s ||Q^T y||, whose mean square is s^2 D / (H W)."""
    size, width, scale = 16, 48, 3.0
    rotation = torch.linalg.qr(torch.randn(3 * size * size, width)).Q
    codes = torch.randn(4000, 1, width, requires_grad=True)
    images = (codes[:, 0] @ rotation.T * scale).view(-1, 3, size, size)
    lengths = path_lengths(images, codes)
    assert lengths.shape == (4000,)
    assert lengths.square().mean().item() == pytest.approx(scale**2 * width / size**2, rel=0.02)


def test_path_length_averages_over_styles() -> None:
    """Of two styles of which one does nothing, the mean square is half."""
    codes = torch.randn(2000, 2, 8, requires_grad=True)
    images = codes[:, 0, None, None].expand(-1, 3, 8, -1)  # (B, 3, 8, 8)
    assert path_lengths(images, codes).square().mean().item() == pytest.approx(3 * 8 / 2 / 8, rel=0.1)


def test_path_length_penalty_pulls_towards_the_moving_average() -> None:
    penalty = PathLength(decay=0.9)
    lengths = torch.tensor([1.0, 3.0], requires_grad=True)
    value = penalty(lengths)
    assert penalty.mean.item() == pytest.approx(0.2)
    assert value.item() == pytest.approx((0.8**2 + 2.8**2) / 2)
    value.backward()
    torch.testing.assert_close(lengths.grad, torch.tensor([0.8, 2.8]))
    for _ in range(200):
        penalty(lengths)
    assert penalty.mean.item() == pytest.approx(2.0, abs=1e-3)
    assert "mean" in penalty.state_dict()
