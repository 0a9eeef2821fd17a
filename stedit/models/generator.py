"""StyleGAN2 generator (Karras et al. 2020, config F), written to be fast without compiled operations.

The style scales the activations and demodulation scales the outputs, which equals modulating the weights
(section 2.2 of the paper) but lets one dense convolution serve the whole batch.

Where features are large, passes over them cost as much as the convolutions, and those of several images fall out of the
CPU's caches. So without gradients the CPU renders from `ONE_BY_ONE` on image by image, with weights that hold style,
demodulation, gain and bias, and in place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stedit.models.config import GeneratorConfig, resolutions
from stedit.models.layers import SQRT2, EqualizedLinear, blur, gaussian, scaled_leaky_relu, upsample

Noise = Literal["const", "random", "none"]

ONE_BY_ONE = 256  # pixels of a side: from there on, features of an image are as large as a CPU's cache


class MappingNetwork(nn.Module):
    """z -> w: an MLP over the normalised z, with the mean of w, from which codes are found and measured."""

    mean: Tensor

    def __init__(self, style_dim: int, layers: int, z_dim: int = 0) -> None:
        super().__init__()
        self.z_dim = z_dim or style_dim
        widths = (self.z_dim, *(style_dim for _ in range(layers)))
        self.layers = nn.ModuleList(
            EqualizedLinear(before, after, lr_multiplier=0.01) for before, after in pairwise(widths)
        )
        self.register_buffer("mean", torch.zeros(style_dim))

    def forward(self, z: Tensor) -> Tensor:
        """(…, Z) standard normal -> (…, D) in W."""
        w = z * torch.rsqrt(z.square().mean(dim=-1, keepdim=True) + 1e-8)
        for layer in self.layers:
            w = scaled_leaky_relu(layer(w))
        return w

    @torch.no_grad()
    def estimate_mean(self, samples: int = 10_000, seed: int = 0) -> Tensor:
        """Mean of w over `samples` random z, (D,); for checkpoints that lack it."""
        generator = torch.Generator().manual_seed(seed)
        z = torch.randn(samples, self.z_dim, generator=generator).to(self.mean)
        return cast(Tensor, self(z).mean(dim=0))


class ModulatedConv2d(nn.Module):
    """Convolution whose input channels are scaled by a style, with optional 2x upsampling."""

    def __init__(self, inputs: int, outputs: int, kernel: int, style_dim: int, *, up: bool = False) -> None:
        super().__init__()
        self.weight = gaussian(outputs, inputs, kernel, kernel)
        self.affine = EqualizedLinear(style_dim, inputs, bias=1.0)
        self.gain = 1 / math.sqrt(inputs * kernel * kernel)
        self.up = up

    def forward(self, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        """Convolve `x` (B, inputs, H, W) in the style `w` (B, D).

        Returns:
            The features (B, outputs, H or 2H, W or 2W), and the factors (B, outputs, 1, 1) that demodulate them: left
            to the caller, who can fuse them with what follows or leave them out.
        """
        style = self.affine(w) * self.gain  # (B, inputs)
        x = x * style[:, :, None, None].to(x.dtype)
        if self.up:
            x = F.conv_transpose2d(x, self.weight.transpose(0, 1), stride=2)
            x = blur(x, pad=1, gain=4.0)
        else:
            x = F.conv2d(x, self.weight, padding=self.weight.shape[-1] // 2)
        return x, self._demodulation(style)[:, :, None, None].to(x.dtype)

    def forward_one(self, x: Tensor, w: Tensor, bias: Tensor, *, demodulate: bool, gain: float = 1.0) -> Tensor:
        """The same of a single image (1, inputs, H, W), demodulated, times `gain`, plus `bias` (outputs,)."""
        style = self.affine(w) * self.gain  # (1, inputs)
        scale = style * gain
        weight = self.weight * scale[0, :, None, None]
        if demodulate:
            weight = weight * self._demodulation(style)[0, :, None, None, None]
        weight, bias = weight.to(x.dtype), bias.to(x.dtype)
        if not self.up:
            return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)
        return blur(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), pad=1, gain=4.0, bias=bias)

    def _demodulation(self, style: Tensor) -> Tensor:
        energy = style.to(self.weight.dtype).square() @ self.weight.square().sum(dim=(2, 3)).T
        return torch.rsqrt(energy + 1e-8)  # (B, outputs)


class SynthesisLayer(nn.Module):
    """Modulated 3x3 convolution, noise, bias, leaky ReLU."""

    noise: Tensor

    def __init__(
        self, inputs: int, outputs: int, resolution: int, style_dim: int, *, up: bool = False, clamp: float = 0.0
    ) -> None:
        super().__init__()
        self.clamp = clamp
        self.conv = ModulatedConv2d(inputs, outputs, 3, style_dim, up=up)
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("noise", gaussian(1, 1, resolution, resolution).detach())

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """`noise` (1 or B, 1, H, W), or None for no noise."""
        x, demodulation = self.conv(x, w)
        # the activation's gain commutes with it: applying it to the terms saves a pass over the features; and a sum of
        # bias and noise, made first, would be a third map of their size, in a layout that slows all that follows
        x = torch.addcmul((SQRT2 * self.bias)[:, None, None].to(x.dtype), x, SQRT2 * demodulation)
        if noise is not None:
            x = x + (SQRT2 * self.noise_strength * noise).to(x.dtype)
        return _clamped(F.leaky_relu(x, 0.2), self.clamp)

    def forward_one(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """The same of a single image, without gradients."""
        x = self.conv.forward_one(x, w, SQRT2 * self.bias, demodulate=True, gain=SQRT2)
        if noise is not None:
            x.add_((SQRT2 * self.noise_strength * noise).to(x.dtype))
        x = F.leaky_relu_(x, 0.2)
        return x.clamp_(-self.clamp, self.clamp) if self.clamp else x


class ToRGB(nn.Module):
    """1x1 modulated convolution to three colours, without demodulation."""

    def __init__(self, inputs: int, style_dim: int, clamp: float = 0.0) -> None:
        super().__init__()
        self.clamp = clamp
        self.conv = ModulatedConv2d(inputs, 3, 1, style_dim)
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """(B, inputs, H, W), (B, D) -> (B, 3, H, W)."""
        x, _ = self.conv(x, w)
        return _clamped(x + self.bias[:, None, None].to(x.dtype), self.clamp)

    def forward_one(self, x: Tensor, w: Tensor) -> Tensor:
        """The same of a single image."""
        return _clamped(self.conv.forward_one(x, w, self.bias, demodulate=False), self.clamp)


def _clamped(x: Tensor, clamp: float) -> Tensor:
    return x.clamp(-clamp, clamp) if clamp else x


class SynthesisBlock(nn.Module):
    """The layers of one resolution; the first block starts from a learned constant and has one layer only."""

    def __init__(self, inputs: int, outputs: int, resolution: int, style_dim: int, clamp: float = 0.0) -> None:
        super().__init__()
        self.resolution = resolution
        self.layers = nn.ModuleList([SynthesisLayer(outputs, outputs, resolution, style_dim, clamp=clamp)])
        if inputs:
            self.layers.insert(0, SynthesisLayer(inputs, outputs, resolution, style_dim, up=True, clamp=clamp))
        self.to_rgb = ToRGB(outputs, style_dim, clamp)


class Generator(nn.Module):
    """Mapping network and synthesis network with summed RGB skips."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.mapping = MappingNetwork(config.style_dim, config.mapping_layers, config.z_dim)
        self.constant = gaussian(1, config.channels[0], 4, 4)
        widths = (0, *config.channels)
        self.blocks = nn.ModuleList(
            SynthesisBlock(before, after, resolution, config.style_dim, config.clamp)
            for before, after, resolution in zip(widths[:-1], widths[1:], resolutions(config.resolution), strict=True)
        )

    def forward(
        self,
        w: Tensor,
        *,
        noise: Noise | Sequence[Tensor] = "const",
        resolution: int | None = None,
    ) -> Tensor:
        """Render codes.

        Args:
            w: (B, N, D) in W+, or (B, D) in W.
            noise: "const" uses the stored noise maps, "random" samples new ones, "none" leaves them out; or one map for
                each synthesis layer, (1 or B, 1, H, W).
            resolution: stop at this block, for training that grows; None renders in full.

        Returns:
            (B, 3, R, R), about [-1, 1], not clamped.
        """
        if w.ndim == 2:
            w = w[:, None].expand(-1, self.config.style_count, -1)
        maps = self._noise_maps(w, noise, resolution or self.config.resolution)
        x = self.constant.expand(w.shape[0], -1, -1, -1).contiguous(memory_format=torch.channels_last)
        image: Tensor | None = None
        layer_index = 0
        blocks = cast("list[SynthesisBlock]", self.blocks)
        for number, block in enumerate(blocks):
            if block.resolution >= ONE_BY_ONE and number and w.device.type == "cpu" and not torch.is_grad_enabled():
                assert image is not None
                return self._finish_one_by_one(x, image, w, maps, number, layer_index, resolution)
            for layer in cast("list[SynthesisLayer]", block.layers):
                x = layer(x, w[:, layer_index], maps[layer_index])
                layer_index += 1
            # the RGB layer reads the code of the next block's first layer, so N = layers + 1 (StyleGAN2, appendix B)
            rgb: Tensor = block.to_rgb(x, w[:, layer_index])
            image = rgb if image is None else upsample(image) + rgb
            if block.resolution == resolution:
                break
        assert image is not None  # there is always a 4 px block
        return image

    def _noise_maps(self, w: Tensor, noise: Noise | Sequence[Tensor], resolution: int) -> Sequence[Tensor | None]:
        """For each synthesis layer up to `resolution`, (1 or B, 1, H, W)."""
        if not isinstance(noise, str):
            return noise
        blocks = [block for block in cast("list[SynthesisBlock]", self.blocks) if block.resolution <= resolution]
        layers = [layer for block in blocks for layer in cast("list[SynthesisLayer]", block.layers)]
        if noise == "random":
            return [torch.randn(w.shape[0], *layer.noise.shape[1:], device=w.device) for layer in layers]
        return [layer.noise if noise == "const" else None for layer in layers]

    def _finish_one_by_one(
        self,
        features: Tensor,
        images: Tensor,
        w: Tensor,
        maps: Sequence[Tensor | None],
        number: int,
        first: int,
        resolution: int | None,
    ) -> Tensor:
        """The blocks from `number` on, whose first layer is the one of number `first`."""
        side = resolution or self.config.resolution
        done = images.new_empty(len(w), 3, side, side)  # first of all: between large features it would split memory
        for i in range(len(w)):
            x, image, code, layer_index = features[i : i + 1], images[i : i + 1], w[i : i + 1], first
            for block in cast("list[SynthesisBlock]", self.blocks[number:]):
                for layer in cast("list[SynthesisLayer]", block.layers):
                    noise = maps[layer_index]
                    if noise is not None and len(noise) > 1:
                        noise = noise[i : i + 1]
                    x = layer.forward_one(x, code[:, layer_index], noise)
                    layer_index += 1
                image = upsample(image) + block.to_rgb.forward_one(x, code[:, layer_index])
                if block.resolution == resolution:
                    break
            done[i : i + 1] = image
        return done

    def style_mix(self, z: Sequence[Tensor], crossover: int | None = None) -> Tensor:
        """Style mixing: map one or two z (B, D); the second takes over from style `crossover` on. -> (B, N, D)."""
        ws: list[Tensor] = [self.mapping(one) for one in z]
        codes = [w[:, None].expand(-1, self.config.style_count, -1) for w in ws]
        if len(codes) == 1:
            return codes[0]
        return torch.cat([codes[0][:, :crossover], codes[1][:, crossover:]], dim=1)
