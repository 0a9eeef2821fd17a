"""Losses on images: L1 over scales, gradients, and the features of a network of our own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

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
    """What a frozen attribute network sees differently: features of every level and, if asked for, its readings."""

    def __init__(self, network: AttributeNetwork, reading_weight: float = 0.0) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.reading_weight = reading_weight

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """Two batches (B, 3, H, W) in [-1, 1] -> a scalar."""
        with torch.no_grad():
            wanted = self.network.features(target)
        seen = self.network.features(image)
        loss = _distance(seen, wanted)
        if self.reading_weight:
            loss = loss + self.reading_weight * F.l1_loss(self._readings(seen), self._readings(wanted))
        return loss

    def _readings(self, features: list[Tensor]) -> Tensor:
        return torch.tanh(self.network.read(self.network.pool(features)).float() / SURE)


def shifted_alike(distance: Distance, most: int) -> Distance:
    """The distance of two batches that are shifted by the same random number of pixels, up to `most` each way.

    A network with strides sees a picture on a grid, and what is trained by it may draw that grid; this moves it.
    """

    def shifted(image: Tensor, target: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        top, left = torch.randint(0, 2 * most + 1, (2,)).tolist()
        moved = (F.pad(one, [most] * 4) for one in (image, target))
        return distance(*(one[..., top : top + height, left : left + width] for one in moved))

    return shifted


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
