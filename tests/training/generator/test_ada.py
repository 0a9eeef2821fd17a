"""Augmentation does nothing at p = 0, what it says at p = 1, passes gradients, and p moves the right way."""

from __future__ import annotations

import pytest
import torch

from stedit.training.generator import ada
from stedit.training.generator.ada import adjusted, augment


def test_augment_at_zero_returns_the_images() -> None:
    images = torch.randn(4, 3, 8, 8)
    assert augment(images, 0.0) is images


def test_augment_leaves_fewer_images_as_p_rises() -> None:
    """Thirteen operations, of which some chance to do nothing: at p = 0.02 most pictures are as they were."""
    images = torch.rand(400, 3, 8, 8)

    def untouched(p: float) -> float:
        return ((augment(images, p) - images).abs().amax(dim=(1, 2, 3)) < 1e-4).float().mean().item()

    assert 0.7 < untouched(0.02) < 0.95
    assert untouched(0.5) < 0.05


def test_recolour_maps_every_pixel_alike() -> None:
    images = torch.rand(1, 3, 4, 4).expand(50, 3, 4, 4).contiguous()
    colours = ada._recolour(images, 1.0)
    source = torch.cat([images[0].flatten(1), torch.ones(1, 16)])  # (4, 16): an affine map has to explain everything
    for picture in colours:
        solved = torch.linalg.lstsq(source.T, picture.flatten(1).T)
        torch.testing.assert_close(source.T @ solved.solution, picture.flatten(1).T, atol=1e-4, rtol=0)
    assert (colours - images).abs().mean() > 0.1


def test_hue_and_saturation_keep_grey_images_grey() -> None:
    grey = torch.rand(64, 1, 4, 4).expand(-1, 3, -1, -1)
    changed = ada._recolour(grey, 1.0)
    torch.testing.assert_close(changed[:, :1].expand_as(changed), changed, atol=1e-4, rtol=0)


def test_move_keeps_a_constant_image_and_its_size() -> None:
    flat = torch.full((16, 3, 16, 16), 0.3)
    torch.testing.assert_close(ada._move(flat, 1.0), flat, atol=1e-5, rtol=0)


def test_blit_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the continuous moves, every result is the picture flipped, turned or shifted by whole pixels."""
    for name in ("SCALE_DEVIATION", "SHIFT_DEVIATION", "MAX_SHIFT"):
        monkeypatch.setattr(ada, name, 0.0)
    monkeypatch.setattr(ada.math, "sqrt", lambda _: 1.0)  # no free rotation
    picture = torch.rand(3, 8, 8)
    moved = ada._move(picture.expand(40, 3, 8, 8).contiguous(), 1.0)
    turned = [torch.rot90(side, k, (1, 2)) for side in (picture, picture.flip(2)) for k in range(4)]
    found = set()
    for result in moved:
        distances = [(result - one).abs().max().item() for one in turned]
        assert min(distances) < 1e-4
        found.add(distances.index(min(distances)))
    assert len(found) >= 6


def test_augment_is_differentiable() -> None:
    images = torch.rand(4, 3, 8, 8, requires_grad=True)
    augment(images, 0.8).square().sum().backward()
    assert images.grad is not None
    assert (images.grad.abs().amax(dim=(1, 2, 3)) > 0).all()


def test_augment_is_a_function_of_the_seed() -> None:
    images = torch.rand(4, 3, 8, 8)
    results = []
    for _ in range(2):
        torch.manual_seed(3)
        results.append(augment(images, 0.7))
    assert torch.equal(*results)


@pytest.mark.parametrize(
    ("p", "sign", "wanted"), [(0.5, 0.9, 0.51), (0.5, 0.1, 0.49), (0.0, 0.1, 0.0), (1.0, 0.9, 1.0), (0.0, 0.7, 0.01)]
)
def test_adjusted_raises_p_where_the_discriminator_overfits(p: float, sign: float, wanted: float) -> None:
    assert adjusted(p, sign, target=0.6, images=100, speed=10_000) == pytest.approx(wanted)
