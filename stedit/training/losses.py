"""Losses on images: L1 over scales, gradients, and the features of a network of our own."""

from __future__ import annotations

from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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
    """LPIPS-like distance in a frozen network: unit-normalised features of every level (Zhang et al. 2018)."""

    def __init__(self, network: nn.Module) -> None:
        """`network` is a FeatureNetwork."""
        super().__init__()
        self.network = network.eval().requires_grad_(False)

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """Two batches (B, 3, H, W) in [-1, 1] -> a scalar."""
        return feature_distance(cast(FeatureNetwork, self.network), image, target)


def feature_distance(network: FeatureNetwork, image: Tensor, target: Tensor) -> Tensor:
    """The same in a network that goes on learning, whose parameters the caller freezes for the while."""
    with torch.no_grad():
        wanted = [F.normalize(f.float(), dim=1) for f in network.features(target)]
    seen = [F.normalize(f.float(), dim=1) for f in network.features(image)]
    return torch.stack([(a - b).square().sum(dim=1).mean() for a, b in zip(seen, wanted, strict=True)]).mean()
