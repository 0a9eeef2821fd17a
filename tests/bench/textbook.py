"""StyleGAN2's synthesis network as its paper writes it down, to measure ours against: plain PyTorch, no trick.

Every image has weights of its own, modulated and demodulated (Karras et al. 2020, equations 1 and 3), so a batch is a
convolution of as many groups; upsampling is zeros in between and a low-pass filter; features lie channel by channel.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stedit.models.generator import Generator, ModulatedConv2d, SynthesisBlock, SynthesisLayer, ToRGB


class Textbook(nn.Module):
    """The paper's formulas over the weights of one of our generators."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, w: Tensor, *, noise: str = "const") -> Tensor:
        """Codes (B, N, D) -> images (B, 3, R, R)."""
        assert noise == "const"
        x = self.generator.constant.repeat(len(w), 1, 1, 1)
        image: Tensor | None = None
        index = 0  # the RGB layer of a block and the first layer of the next read the same style (appendix B)
        for block in cast("list[SynthesisBlock]", self.generator.blocks):
            for layer in cast("list[SynthesisLayer]", block.layers):
                x = styled_layer(layer, x, w[:, index])
                index += 1
            rgb = to_rgb(block.to_rgb, x, w[:, index])
            image = rgb if image is None else filtered(zeros_between(image), pad=(2, 1), gain=4) + rgb
        assert image is not None
        return image


def styled_layer(layer: SynthesisLayer, x: Tensor, w: Tensor) -> Tensor:
    """Convolution, noise, bias, activation (figure 2c)."""
    x = modulated(layer.conv, x, w, demodulate=True)
    x = x + layer.noise_strength * layer.noise
    x = x + layer.bias[None, :, None, None]
    return F.leaky_relu(x, 0.2) * math.sqrt(2)


def to_rgb(layer: ToRGB, x: Tensor, w: Tensor) -> Tensor:
    """Features to colours, without demodulation (appendix B)."""
    return modulated(layer.conv, x, w, demodulate=False) + layer.bias[None, :, None, None]


def modulated(conv: ModulatedConv2d, x: Tensor, w: Tensor, *, demodulate: bool) -> Tensor:
    """Convolve each image with the weights that its style makes (equations 1 and 3)."""
    batch, inputs, height, width = x.shape
    outputs, _, kernel, _ = conv.weight.shape
    style = conv.affine(w)  # (B, inputs)
    weight = conv.gain * conv.weight[None] * style[:, None, :, None, None]  # (B, outputs, inputs, k, k)
    if demodulate:
        weight = weight * torch.rsqrt(weight.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8)
    x = x.reshape(1, batch * inputs, height, width)
    if conv.up:
        weight = weight.transpose(1, 2).reshape(batch * inputs, outputs, kernel, kernel)
        x = F.conv_transpose2d(x, weight, stride=2, groups=batch)
        return filtered(x.reshape(batch, outputs, *x.shape[2:]), pad=(1, 1), gain=4)
    weight = weight.reshape(batch * outputs, inputs, kernel, kernel)
    x = F.conv2d(x, weight, padding=kernel // 2, groups=batch)
    return x.reshape(batch, outputs, height, width)


def zeros_between(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, 2H, 2W): each number followed by a zero, along both axes."""
    batch, channels, height, width = x.shape
    x = F.pad(x.reshape(batch, channels, height, 1, width, 1), (0, 1, 0, 0, 0, 1))
    return x.reshape(batch, channels, 2 * height, 2 * width)


def filtered(x: Tensor, *, pad: tuple[int, int], gain: float) -> Tensor:
    """Each channel through the filter [1, 3, 3, 1], after zeros before and behind along both axes."""
    batch, channels, height, width = x.shape
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    kernel = (gain * taps[:, None] * taps[None]).to(x)
    x = F.pad(x, (*pad, *pad)).reshape(batch * channels, 1, height + sum(pad), width + sum(pad))
    x = F.conv2d(x, kernel[None, None])
    return x.reshape(batch, channels, *x.shape[2:])
