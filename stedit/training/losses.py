"""Losses on images: L1 over scales, gradients, and the features of a network of our own."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stedit.models.attribute_network import AttributeNetwork


def multiscale_l1(image: Tensor, target: Tensor, scales: int = 4) -> Tensor:
    """Mean absolute difference at full size, 1/2, … of it, averaged; plus that of the full-size gradients."""
    loss = _gradient_l1(image, target)
    for _ in range(scales):
        loss = loss + F.l1_loss(image, target) / scales
        image, target = F.avg_pool2d(image, 2), F.avg_pool2d(target, 2)
    return loss


def _gradient_l1(image: Tensor, target: Tensor) -> Tensor:
    difference = image - target
    return difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()


class FeatureLoss(nn.Module):
    """LPIPS-like distance in a frozen network: unit-normalised features of every level (Zhang et al. 2018)."""

    def __init__(self, network: AttributeNetwork) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """Two batches (B, 3, H, W) in [-1, 1] -> a scalar."""
        with torch.no_grad():
            wanted = [F.normalize(f.float(), dim=1) for f in self.network.features(target)]
        seen = [F.normalize(f.float(), dim=1) for f in self.network.features(image)]
        return torch.stack([(a - b).square().sum(dim=1).mean() for a, b in zip(seen, wanted, strict=True)]).mean()
