"""Losses on images: L1 over scales, gradients, and the features of a network of our own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stedit.models.attribute_network import AttributeNetwork

MAX_LOGIT = 4.0  # beyond which a larger logit hardly counts as a greater difference


Distance = Callable[[Tensor, Tensor], Tensor]
"""Of two batches (B, 3, H, W) in [-1, 1]; a scalar."""


class FeatureNetwork(Protocol):
    """A network whose feature maps compare images: the attribute network, or a discriminator."""

    def features(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in [-1, 1] -> maps (B, C, h, w)."""


def weighted_sum(losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """The sum of losses, each times its weight; a scalar. Raises KeyError if a loss has no weight."""
    return torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()


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
    """Distance in the features of every level of a frozen attribute network and, with `logit_weight`, in its logits.

    Of several networks each call takes one at random, since it is harder to learn to deceive them all.
    """

    def __init__(self, *networks: AttributeNetwork, logit_weight: float = 0.0) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks).eval().requires_grad_(False)
        self.logit_weight = logit_weight

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """Two batches (B, 3, H, W) in [-1, 1] -> a scalar."""
        chosen = int(torch.randint(len(self.networks), ()).item()) if len(self.networks) > 1 else 0
        network = cast(AttributeNetwork, self.networks[chosen])
        with torch.no_grad():
            target_features = network.features(target)
        features = network.features(image)
        loss = _distance(features, target_features)
        if self.logit_weight:
            loss = loss + self.logit_weight * F.l1_loss(
                _squashed_logits(network, features), _squashed_logits(network, target_features)
            )
        return loss


def _squashed_logits(network: AttributeNetwork, features: list[Tensor]) -> Tensor:
    return torch.tanh(network.logits(network.pool(features)).float() / MAX_LOGIT)


def shifted(batches: Sequence[Tensor], most: int) -> list[Tensor]:
    """Batches (B, C, H, W), moved by the same random number of pixels, up to `most` each way, with a grey border.

    A network with strides samples an image on a grid, which what is trained by it may learn to render; this moves it.
    """
    if not most:
        return list(batches)
    top, left = torch.randint(0, 2 * most + 1, (2,)).tolist()
    height, width = batches[0].shape[-2:]
    return [F.pad(one, [most] * 4)[..., top : top + height, left : left + width] for one in batches]


def feature_distance(network: FeatureNetwork, image: Tensor, target: Tensor) -> Tensor:
    """Distance in the features of a network in training, whose parameters the caller freezes for the call; a scalar."""
    with torch.no_grad():
        target_features = network.features(target)
    return _distance(network.features(image), target_features)


def _distance(features: list[Tensor], others: list[Tensor]) -> Tensor:
    """LPIPS-like: the mean over levels of the squared distance of unit-normalised features (Zhang et al. 2018)."""
    pairs = zip(features, others, strict=True)
    normalised = ((F.normalize(a.float(), dim=1), F.normalize(b.float(), dim=1)) for a, b in pairs)
    return torch.stack([(a - b).square().sum(dim=1).mean() for a, b in normalised]).mean()
