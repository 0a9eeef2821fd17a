"""Discriminators: StyleGAN2's (Karras et al. 2020, section 4.1), and one of patches (Isola et al. 2017) and codes."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stedit.models.layers import SQRT2, EqualizedConv2d, EqualizedLinear, blur, scaled_leaky_relu

STATISTIC_GROUP = 4  # images that are compared with each other
PATCH_WIDTHS = (32, 64, 128)  # channels at 1/2, 1/4 and 1/8 of the size
SLOPE = 0.2  # of its leaky ReLU
DETAIL_WINDOW = 5  # pixels of the mean that is subtracted to leave detail
DETAIL_GAIN = 8.0  # about what makes it as large as the image


class ResidualBlock(nn.Module):
    """Two convolutions beside a 1x1 one, each halving the size after a low-pass."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = EqualizedConv2d(inputs, inputs, 3)
        self.down = EqualizedConv2d(inputs, outputs, 3, stride=2, padding=0)
        self.skip = EqualizedConv2d(inputs, outputs, 1, stride=2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H/2, W/2)."""
        y = scaled_leaky_relu(self.conv(x))
        y = scaled_leaky_relu(self.down(blur(y, pad=2)))
        return cast(Tensor, (y + self.skip(blur(x, pad=1))) / SQRT2)


class Discriminator(nn.Module):
    """Images -> a logit: above 0 for what looks real."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        """`channels` at 4, 8, … px, like a generator's; they decide the size of the images, 4 * 2^(count - 1)."""
        super().__init__()
        widths = channels[::-1]
        self.from_rgb = EqualizedConv2d(3, widths[0], 1)
        self.blocks = nn.ModuleList(ResidualBlock(before, after) for before, after in pairwise(widths))
        self.conv = EqualizedConv2d(channels[0] + 1, channels[0], 3)
        self.hidden = EqualizedLinear(channels[0] * 16, channels[0])
        self.output = EqualizedLinear(channels[0], 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, R, R) in [-1, 1] -> (B,)."""
        x = _with_deviation(self.features(x)[-1])
        x = scaled_leaky_relu(self.conv(x))
        x = scaled_leaky_relu(self.hidden(x.flatten(1)))
        return cast(Tensor, self.output(x)).squeeze(1)

    def features(self, x: Tensor) -> list[Tensor]:
        """(B, 3, R, R) in [-1, 1] -> features at R, R/2, … 4 px."""
        x = scaled_leaky_relu(self.from_rgb(x.contiguous(memory_format=torch.channels_last)))
        levels = [x]
        for block in self.blocks:
            x = block(x)
            levels.append(x)
        return levels


class PatchDiscriminator(nn.Module):
    """Images and their codes -> a logit for each patch: whether texture and edges look real, and are the code's.

    It judges patches (Isola et al. 2017, section 3.2.2), here of 58 x 58 px, and takes detail by itself too, the image
    less its local mean: by that, rendered images differ from real ones most. The code counts by its inner product with
    the patch (Miyato and Koyama 2018, equation 3), so that straight hair where waves belong is found out.
    """

    def __init__(self, code_size: int) -> None:
        """`code_size` is N * D."""
        super().__init__()
        halving = [nn.Conv2d(before, after, 4, 2, 1) for before, after in pairwise((6, *PATCH_WIDTHS))]
        self.layers = nn.ModuleList([*halving, nn.Conv2d(PATCH_WIDTHS[-1], PATCH_WIDTHS[-1], 3, 1, 1)])
        self.output = nn.Conv2d(PATCH_WIDTHS[-1], 1, 3, 1, 1)
        for layer in (*self.layers, self.output):
            nn.init.kaiming_normal_(layer.weight, SLOPE)
            nn.init.zeros_(layer.bias)
        self.embedding = EqualizedLinear(code_size, PATCH_WIDTHS[-1])
        nn.init.zeros_(self.embedding.weight)

    def forward(self, x: Tensor, codes: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] and (B, N, D) -> logits (B, H/8, W/8)."""
        around = F.pad(x, [DETAIL_WINDOW // 2] * 4, mode="replicate")
        detail = x - F.avg_pool2d(around, DETAIL_WINDOW, stride=1)
        x = torch.cat([x, DETAIL_GAIN * detail], dim=1).contiguous(memory_format=torch.channels_last)
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE)
        matching = torch.einsum("bchw,bc->bhw", x, self.embedding(codes.flatten(1))) / math.sqrt(PATCH_WIDTHS[-1])
        return cast(Tensor, self.output(x)).squeeze(1) + matching


def _with_deviation(x: Tensor) -> Tensor:
    """Append a map that holds, for each group of images, the mean deviation within it (Karras et al. 2018)."""
    count, _, height, width = x.shape
    group = math.gcd(count, STATISTIC_GROUP)
    y = x.float().view(group, count // group, *x.shape[1:])  # (group, groups, C, H, W)
    deviation = (y - y.mean(dim=0)).square().mean(dim=0).add(1e-8).sqrt().mean(dim=(1, 2, 3))  # (groups,)
    extra = deviation.to(x.dtype).repeat(group)[:, None, None, None].expand(-1, 1, height, width)
    return torch.cat([x, extra], dim=1)
