"""IR-SE residual network: the encoder's backbone and, with a head, the identity network ArcFace (Deng et al. 2019)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stedit.models.config import BackboneConfig


class SqueezeExcitation(nn.Module):
    """Channel gates from the global mean (Hu et al. 2018)."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // reduction, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // reduction, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same, each channel scaled by 0..1."""
        gate = self.fc2(F.relu(self.fc1(x.mean(dim=(2, 3), keepdim=True))))
        return x * torch.sigmoid(gate)


class ResidualUnit(nn.Module):
    """Improved residual unit with squeeze-excitation: BN, 3x3, PReLU, 3x3 (strided), BN, SE."""

    def __init__(self, inputs: int, outputs: int, stride: int, reduction: int) -> None:
        super().__init__()
        self.shortcut_layer: nn.Module
        if inputs == outputs:
            self.shortcut_layer = nn.MaxPool2d(1, stride)
        else:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            SqueezeExcitation(outputs, reduction),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        return cast(Tensor, self.res_layer(x) + self.shortcut_layer(x))


class Backbone(nn.Module):
    """Four stages, each starting with a unit of stride 2: features at 1/2, 1/4, 1/8 and 1/16 of the input."""

    def __init__(self, config: BackboneConfig, channels: int = 3) -> None:
        super().__init__()
        self.input_layer = nn.Sequential(
            nn.Conv2d(channels, config.stem_width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(config.stem_width),
            nn.PReLU(config.stem_width),
        )
        units = []
        self.stage_ends = []
        inputs = config.stem_width
        for width, count in zip(config.widths, config.blocks, strict=True):
            for index in range(count):
                units.append(ResidualUnit(inputs, width, 2 if index == 0 else 1, config.reduction))
                inputs = width
            self.stage_ends.append(len(units) - 1)
        self.body = nn.Sequential(*units)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, channels, H, W) in [-1, 1] -> the four stages' outputs, fine to coarse."""
        x = self.input_layer(x.contiguous(memory_format=torch.channels_last))
        stages = []
        for index, unit in enumerate(cast("Iterable[nn.Module]", self.body)):
            x = unit(x)
            if index in self.stage_ends:
                stages.append(x)
        return stages


class IdentityNetwork(Backbone):
    """ArcFace: backbone and a linear head over its 7x7 features, for 112x112 aligned faces."""

    INPUT_SIZE = 112

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__(config)
        width, side = config.widths[-1], self.INPUT_SIZE // 16
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(width), nn.Dropout(), nn.Flatten(), nn.Linear(width * side * side, 512), nn.BatchNorm1d(512)
        )

    def embed(self, x: Tensor) -> Tensor:
        """(B, 3, 112, 112) in [-1, 1] -> (B, 512) of unit length; compare by cosine."""
        return F.normalize(self.output_layer(self(x)[-1]))

    @staticmethod
    def crop(x: Tensor) -> Tensor:
        """FFHQ-aligned faces (B, 3, H, W) -> the (B, 3, 112, 112) face region, as pSp's identity loss cuts it."""
        if x.shape[-2:] != (256, 256):
            x = F.adaptive_avg_pool2d(x, 256)
        return F.adaptive_avg_pool2d(x[:, :, 35:223, 32:220], IdentityNetwork.INPUT_SIZE)
