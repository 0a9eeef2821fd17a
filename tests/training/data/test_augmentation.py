"""Random changes of training images: mirroring, and a jitter whose size is measured."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stedit.training.data.augmentation import jitter, random_flip, rotation, scaling, shift

SIDE = 64


def bar(count: int) -> Tensor:
    """A white vertical bar in the middle of a grey image, (count, 3, SIDE, SIDE)."""
    images = torch.full((count, 3, SIDE, SIDE), -0.5)
    images[..., 20:44, 28:36] = 0.5
    return images


def moments(images: Tensor) -> tuple[Tensor, Tensor]:
    """Centre of the bar along x in shares of the size, and its tilt in degrees, (B,) each."""
    weight = (images.mean(dim=1) - images.mean(dim=(1, 2, 3)).view(-1, 1, 1)).clamp_min(0.1) - 0.1
    weight = weight / weight.sum(dim=(1, 2), keepdim=True)
    y, x = torch.meshgrid(torch.arange(SIDE) / SIDE, torch.arange(SIDE) / SIDE, indexing="ij")
    centre = [(weight * axis).sum(dim=(1, 2)) for axis in (x, y)]
    dx, dy = (axis - value.view(-1, 1, 1) for axis, value in zip((x, y), centre, strict=True))
    tilt = 0.5 * torch.atan2(2 * (weight * dx * dy).sum(dim=(1, 2)), (weight * (dy**2 - dx**2)).sum(dim=(1, 2)))
    return centre[0], torch.rad2deg(tilt)


def test_random_flip_mirrors_half_of_the_images() -> None:
    torch.manual_seed(0)
    images = torch.arange(4.0).view(1, 1, 1, 4).expand(400, 3, 4, 4)
    first = random_flip(images)[:, 0, 0, 0]
    assert set(first.tolist()) == {0.0, 3.0}
    assert 0.4 < (first == 3).float().mean() < 0.6


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_jitter_has_the_documented_deviations(strength: float) -> None:
    torch.manual_seed(1)
    images = jitter(bar(600), strength)
    assert images.shape == (600, 3, SIDE, SIDE)
    assert images.abs().max() <= 1
    place, tilt = moments(images)
    assert place.std().item() == pytest.approx(0.025 * strength, rel=0.25)
    assert tilt.std().item() == pytest.approx(4 * strength, rel=0.25)
    assert abs(tilt.mean()) < 1
    brightness = images.mean(dim=(1, 2, 3))
    assert 0.05 * strength < brightness.std() < 0.2 * strength


def test_jitter_of_strength_0_changes_nothing() -> None:
    images = bar(2)
    assert jitter(images, 0.0) is images


def test_jitter_is_a_function_of_the_seed() -> None:
    torch.manual_seed(3)
    first = jitter(bar(4), 1.0)
    torch.manual_seed(3)
    assert torch.equal(jitter(bar(4), 1.0), first)
    assert not torch.equal(first[0], first[1])


def test_affine_matrices_move_points_as_named() -> None:
    point = torch.tensor([1.0, 0.0, 1.0])
    quarter = torch.full((1,), torch.pi / 2)
    torch.testing.assert_close((rotation(quarter) @ point)[0], torch.tensor([0.0, 1.0, 1.0]), atol=1e-6, rtol=0)
    two, half = torch.full((1,), 2.0), torch.full((1,), 0.5)
    assert (scaling(two, half) @ torch.ones(3))[0].tolist() == [2.0, 0.5, 1.0]
    assert (shift(two, half) @ point)[0].tolist() == [3.0, 0.5, 1.0]
