"""The encoders that the style transformer is compared with: pSp (Richardson et al. 2021) and e4e (Tov et al. 2021).

Their relatives ReStyle (Alaluf et al. 2021), whose heads read the coarsest features only, and encoders into W.

Both have the same tensors: a small convolutional network, map2style, reads each style from one level of the feature
pyramid. pSp takes its answers as the styles; e4e takes the first as the style that all share, and the others as what
each style adds to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stedit.models.backbone import Backbone
from stedit.models.config import EncoderConfig
from stedit.models.layers import EqualizedLinear
from stedit.models.style_transformer import upsample_like

COARSE_STYLES, MEDIUM_STYLES = 3, 4  # the first styles read the coarse level, the next the medium one


class MapToStyle(nn.Module):
    """Strided convolutions down to one pixel, then a linear layer (pSp, section 3.1)."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, stride=2, padding=1) for _ in range(depth))
        self.linear = EqualizedLinear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, H, W) of at most 2^depth pixels a side -> (B, D)."""
        for conv in self.convs:
            x = F.leaky_relu(conv(x), 0.01)
        return cast(Tensor, self.linear(x.flatten(1)))


class PspEncoder(nn.Module):
    """IR-SE backbone, feature pyramid, and one head for each of the N styles, or a linear layer for all of them."""

    mean: Tensor

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        if config.widths[-1] != config.style_dim:
            raise ValueError(f"the last stage is {config.widths[-1]} wide, not style_dim {config.style_dim}")
        self.config = config
        width = config.style_dim
        self.backbone = Backbone(config, channels=6 if config.iterative else 3)
        self.register_buffer("mean", torch.zeros(config.style_count, width))
        if config.kind == "w":
            self.linear = EqualizedLinear(width, width)
            return
        if config.pyramid:
            self.lateral_medium = nn.Conv2d(config.widths[2], width, 1)
            self.lateral_fine = nn.Conv2d(config.widths[1], width, 1)
        depths, levels = head_depths(config), (level_of(style, config) for style in range(config.style_count))
        self.heads = nn.ModuleList(MapToStyle(width, depths[level]) for level in levels)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1], of the config's input size -> W+ codes (B, N, D).

        An iterative encoder takes (B, 6, H, W), an image and a rendering, and returns the change of the code that was
        rendered, plus the mean (ReStyle, Alaluf et al. 2021).
        """
        _, c1, c2, c3 = self.backbone(x)
        if self.config.kind == "w":
            style: Tensor = self.linear(c3.mean(dim=(2, 3)))
            return style[:, None] + self.mean
        pyramid = [c3]
        if self.config.pyramid:
            p2 = upsample_like(c3, c2) + self.lateral_medium(c2)
            pyramid += [p2, upsample_like(p2, c1) + self.lateral_fine(c1)]
        heads = enumerate(cast("Iterable[MapToStyle]", self.heads))
        codes = torch.stack([head(pyramid[level_of(style, self.config)]) for style, head in heads], dim=1)  # (B, N, D)
        if self.config.kind == "e4e":
            codes = torch.cat([codes[:, :1], codes[:, :1] + codes[:, 1:]], dim=1)
        return codes + self.mean


def level_of(style: int, config: EncoderConfig) -> int:
    """The level of the pyramid that a style reads: 0 coarse, 1 medium, 2 fine."""
    if not config.pyramid:
        return 0
    return (style >= COARSE_STYLES) + (style >= COARSE_STYLES + MEDIUM_STYLES)


def head_depths(config: EncoderConfig) -> tuple[int, int, int]:
    """Halvings that take each level to one pixel: 4, 5 and 6 for an input of 256 px."""
    coarse = (max(config.input_height, config.input_width) // 16 - 1).bit_length()
    return coarse, coarse + 1, coarse + 2
