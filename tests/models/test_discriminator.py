"""The discriminator halves pictures down to 4 px, sees how alike a group is; that of patches sees no further."""

from __future__ import annotations

import pytest
import torch

from stedit.models.discriminator import Discriminator, PatchDiscriminator, _with_deviation
from stedit.training.generator.adversarial import discriminator_loss


def test_sizes_of_features_and_logits() -> None:
    network = Discriminator((16, 8, 4))
    images = torch.randn(4, 3, 16, 16)
    assert [tuple(level.shape) for level in network.features(images)] == [(4, 4, 16, 16), (4, 8, 8, 8), (4, 16, 4, 4)]
    logits = network(images)
    assert logits.shape == (4,)
    logits.sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in network.parameters())


def test_variance_is_kept_through_the_blocks() -> None:
    """Equalised weights and the division by sqrt 2 keep the size of white noise about what it was."""
    torch.manual_seed(1)
    levels = Discriminator((64, 64, 64)).features(torch.randn(8, 3, 16, 16))
    assert all(0.3 < level.square().mean().sqrt() < 1.5 for level in levels)


@pytest.mark.parametrize(("count", "groups"), [(4, 1), (8, 2), (6, 3), (1, 1)])
def test_statistic_is_the_mean_deviation_of_each_group(count: int, groups: int) -> None:
    x = torch.randn(count, 5, 4, 4)
    extra = _with_deviation(x)[:, 5]
    assert (extra == extra[:, :1, :1]).all()
    group = count // groups
    for number in range(groups):
        members = x[number::groups]
        wanted = (members.var(dim=0, correction=0) + 1e-8).sqrt().mean()
        torch.testing.assert_close(extra[number::groups, 0, 0], wanted.expand(group))


def test_a_logit_of_a_patch_is_that_of_the_pixels_around_it() -> None:
    network = PatchDiscriminator(32)
    images = torch.randn(2, 3, 128, 128, requires_grad=True)
    logits = network(images, torch.randn(2, 4, 8))
    assert logits.shape == (2, 16, 16)
    (gradient,) = torch.autograd.grad(logits[0, 8, 8], images, retain_graph=True)
    rows, columns = gradient[0].abs().sum(dim=0).nonzero(as_tuple=True)
    for places in (rows, columns):
        assert int(places.max() - places.min()) + 1 == 58
        assert abs(int(places.max() + places.min()) / 2 - 67.5) < 2  # the middle of the ninth of 16 patches
    assert not gradient[1].any()
    logits.sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in network.parameters())


@pytest.mark.parametrize("size", [8, 32, 128])
def test_patches_of_any_size_of_picture(size: int) -> None:
    network = PatchDiscriminator(32)
    assert network(torch.zeros(1, 3, size, size), torch.zeros(1, 4, 8)).shape == (1, size // 8, size // 8)


def test_patches_are_matched_with_codes() -> None:
    """Of stripes, those that lie as the code has it are known from those that do not."""
    torch.manual_seed(0)
    network = PatchDiscriminator(6)
    codes = torch.randn(16, 2, 3)
    lying = codes[:, 0, 0] > 0
    stripes = torch.sin(torch.arange(32.0) * 1.5).expand(16, 3, 32, 32)
    images = torch.where(lying[:, None, None, None], stripes, stripes.mT)
    other = torch.where(lying[:, None, None, None], stripes.mT, stripes)
    assert torch.equal(network(images, codes), network(images, codes.flip(0)))  # before it has learned
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        loss = discriminator_loss(network(images, codes), network(other, codes))
        loss.backward()
        optimizer.step()
    assert (network(images, codes).mean(dim=(1, 2)) > network(other, codes).mean(dim=(1, 2)) + 1).all()
