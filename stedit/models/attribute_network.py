"""A small network that predicts attributes of images: it measures edits, and gives a perceptual loss its features."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stedit.models.config import JudgeConfig


class ResidualStage(nn.Module):
    """Halve the size, then one residual convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())
        self.residual = nn.Sequential(nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H/2, W/2)."""
        x = self.down(x)
        return F.relu(x + self.residual(x))


class AttributeNetwork(nn.Module):
    """Images -> one number for each target: logits of attributes, or standardised parameters."""

    def __init__(self, targets: int, widths: tuple[int, ...] = (32, 64, 128, 192)) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, widths[0], 5, 2, 2, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU())
        self.stages = nn.ModuleList(ResidualStage(before, after) for before, after in pairwise(widths))
        self.head = nn.Linear(widths[-1] * 16, targets)

    def features(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in [-1, 1] -> features at 1/2, 1/4, 1/8, 1/16 of the size."""
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        levels = [x]
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        return levels

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, targets)."""
        return self.logits(self.embed(x))

    def embed(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, 16 * C): the deepest features, of C channels, in a grid of 4 x 4."""
        return self.pool(self.features(x))

    def pool(self, features: list[Tensor]) -> Tensor:
        """The deepest of the features -> (B, 16 * C)."""
        return F.adaptive_avg_pool2d(features[-1], 4).flatten(1)

    def logits(self, embeddings: Tensor) -> Tensor:
        """(B, 16 * C) -> (B, targets)."""
        return cast(Tensor, self.head(F.dropout(embeddings, 0.3, self.training)))


class Judge(AttributeNetwork):
    """The attribute network as a bundle holds it: a logit for each of the bundle's attributes, in their order."""

    def __init__(self, config: JudgeConfig) -> None:
        super().__init__(config.attributes, config.widths)
        self.config = config
