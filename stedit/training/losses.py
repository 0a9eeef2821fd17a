"""Losses on images: L1 over scales, gradients, and the features of a network of our own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stedit.models.attribute_network import AttributeNetwork

SURE = 4.0  # a logit beyond which a reading hardly counts as more


Distance = Callable[[Tensor, Tensor], Tensor]
"""Of two batches (B, 3, H, W) in [-1, 1]; a scalar."""


class FeatureNetwork(Protocol):
    """A network whose inner maps tell pictures apart: the attribute network, or a discriminator."""

    def features(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in [-1, 1] -> maps (B, C, h, w)."""


def multiscale_l1(image: Tensor, target: Tensor, scales: int = 4) -> Tensor:
    """Mean absolute difference at full size, 1/2, … of it, averaged; plus that of the full-size gradients."""
    loss = _gradient_l1(image, target)
    for level in range(scales):
        if level:
            image, target = F.avg_pool2d(image, 2), F.avg_pool2d(target, 2)
        loss = loss + F.l1_loss(image, target) / scales
    return loss


def _gradient_l1(image: Tensor, target: Tensor) -> Tensor:
    difference = image - target
    return difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()


class FeatureLoss(nn.Module):
    """What a frozen attribute network sees differently: features of every level and, if asked for, its readings.

    Of several networks, each look is that of one at random: it is harder to learn to deceive them all.
    """

    def __init__(self, *networks: AttributeNetwork, reading_weight: float = 0.0) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks).eval().requires_grad_(False)
        self.reading_weight = reading_weight

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """Two batches (B, 3, H, W) in [-1, 1] -> a scalar."""
        chosen = int(torch.randint(len(self.networks), ()).item()) if len(self.networks) > 1 else 0
        network = cast(AttributeNetwork, self.networks[chosen])
        with torch.no_grad():
            wanted = network.features(target)
        seen = network.features(image)
        loss = _distance(seen, wanted)
        if self.reading_weight:
            loss = loss + self.reading_weight * F.l1_loss(_readings(network, seen), _readings(network, wanted))
        return loss


def _readings(network: AttributeNetwork, features: list[Tensor]) -> Tensor:
    return torch.tanh(network.read(network.pool(features)).float() / SURE)


def shifted(batches: Sequence[Tensor], most: int) -> list[Tensor]:
    """Batches (B, C, H, W), moved by the same random number of pixels, up to `most` each way, with a grey border.

    A network with strides sees a picture on a grid, and what is trained by it may draw that grid; this moves it.
    """
    if not most:
        return list(batches)
    top, left = torch.randint(0, 2 * most + 1, (2,)).tolist()
    height, width = batches[0].shape[-2:]
    return [F.pad(one, [most] * 4)[..., top : top + height, left : left + width] for one in batches]


def feature_distance(network: FeatureNetwork, image: Tensor, target: Tensor) -> Tensor:
    """That of features in a network that goes on learning, whose parameters the caller freezes for the while."""
    with torch.no_grad():
        wanted = network.features(target)
    return _distance(network.features(image), wanted)


def _distance(seen: list[Tensor], wanted: list[Tensor]) -> Tensor:
    """LPIPS-like: the mean over levels of the squared distance of unit-normalised features (Zhang et al. 2018)."""
    pairs = zip(seen, wanted, strict=True)
    normalised = ((F.normalize(a.float(), dim=1), F.normalize(b.float(), dim=1)) for a, b in pairs)
    return torch.stack([(a - b).square().sum(dim=1).mean() for a, b in normalised]).mean()
