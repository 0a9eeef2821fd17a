"""Building blocks that several networks share: equalised layers, FIR resampling, attention."""

from __future__ import annotations

import math
from copy import deepcopy
from itertools import pairwise
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

FIR_TAPS = (1.0, 3.0, 3.0, 1.0)  # StyleGAN2's binomial low-pass filter

SQRT2 = math.sqrt(2.0)  # gain that keeps unit variance through a leaky ReLU of slope 0.2

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def gaussian(*shape: int, std: float = 1.0) -> nn.Parameter:
    """A parameter sampled from N(0, std^2); on the meta device its shape alone.

    Arithmetic on that device imports torch._dynamo, and random numbers sympy, which take longer than a reconstruction.
    """
    numbers = torch.empty(shape)
    return nn.Parameter(numbers if numbers.is_meta else torch.randn(shape) * std)


def scaled_leaky_relu(x: Tensor) -> Tensor:
    """Leaky ReLU of slope 0.2 times sqrt(2), StyleGAN2's activation."""
    return F.leaky_relu(x, 0.2) * SQRT2


class EqualizedLinear(nn.Module):
    """Linear layer with equalised learning rate (Karras et al. 2018): N(0,1) weights, scaled at run time.

    `lr_multiplier` slows learning of the layer (0.01 in the mapping network).
    """

    def __init__(self, inputs: int, outputs: int, *, bias: float = 0.0, lr_multiplier: float = 1.0) -> None:
        super().__init__()
        self.weight = gaussian(outputs, inputs, std=1 / lr_multiplier)
        self.bias = nn.Parameter(torch.full((outputs,), bias / lr_multiplier))
        self.weight_gain = lr_multiplier / math.sqrt(inputs)
        self.bias_gain = lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        """(…, inputs) -> (…, outputs)."""
        return F.linear(x, self.weight * self.weight_gain, self.bias * self.bias_gain)


class EqualizedConv2d(nn.Module):
    """Convolution with equalised learning rate: N(0,1) weights, scaled at run time."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, padding: int | None = None, bias: bool = True
    ) -> None:
        super().__init__()
        self.weight = gaussian(outputs, inputs, kernel, kernel)
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.gain = 1 / math.sqrt(inputs * kernel * kernel)
        self.stride = stride
        self.padding = kernel // 2 if padding is None else padding

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride), where the padding is the default."""
        return F.conv2d(x, self.weight * self.gain, self.bias, stride=self.stride, padding=self.padding)


def blur(x: Tensor, *, pad: int, gain: float = 1.0, bias: Tensor | None = None) -> Tensor:
    """Low-pass each channel of (B, C, H, W) with the 4x4 FIR of [1,3,3,1], after `pad` zeros on every side.

    `bias` (C,) is added to the result.
    """
    taps = torch.tensor(FIR_TAPS, dtype=x.dtype, device=x.device) / sum(FIR_TAPS)
    kernel = (gain * taps[:, None] * taps).expand(x.shape[1], 1, 4, 4)
    return F.conv2d(x, kernel, bias, padding=pad, groups=x.shape[1])


def upsample(x: Tensor) -> Tensor:
    """Double the size of (B, C, H, W) with the FIR [1,3,3,1], after zeros on every side.

    `F.interpolate` does the same, but rounds it by how many threads there are.
    """
    taps = 2 * torch.tensor(FIR_TAPS, dtype=x.dtype, device=x.device) / sum(FIR_TAPS)
    kernel = (taps[:, None] * taps).expand(x.shape[1], 1, 4, 4)
    return F.conv_transpose2d(x, kernel, stride=2, padding=1, groups=x.shape[1])


def folded(network: ModuleT) -> ModuleT:
    """A copy for evaluation, with batch normalisations folded into the convolutions that they follow in sequences."""
    network = deepcopy(network).eval()
    for sequence in [module for module in network.modules() if isinstance(module, nn.Sequential)]:
        for i, (before, after) in enumerate(pairwise(list(sequence))):
            if isinstance(before, nn.Conv2d) and isinstance(after, nn.BatchNorm2d):
                sequence[i], sequence[i + 1] = fuse_conv_bn_eval(before, after), nn.Identity()
    return network


class Attention(nn.Module):
    """Multi-head attention with the parameter names of `nn.MultiheadAttention`.

    `doubly_normalised` takes the softmax over the queries first, then renormalises over the keys (Style Transformer,
    section 3.3): the queries compete for each key, and one that wins none takes little but the mean of the values.
    """

    def __init__(self, width: int, heads: int, *, doubly_normalised: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.doubly_normalised = doubly_normalised
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        """Attend from `query` (B, Q, D) to `memory` (B, K, D), keys and values alike -> (B, Q, D)."""
        q, k, v = self._project(query, memory)
        if self.doubly_normalised:
            mixed = self._weights(q, k) @ v
        else:
            mixed = F.scaled_dot_product_attention(q, k, v)  # (B, heads, Q, D/heads)
        return cast(Tensor, self.out_proj(mixed.transpose(1, 2).flatten(2)))

    def weights(self, query: Tensor, memory: Tensor) -> Tensor:
        """The attention weights themselves, (B, heads, Q, K); rows sum to 1."""
        q, k, _ = self._project(query, memory)
        return self._weights(q, k)

    def _project(self, query: Tensor, memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        width = query.shape[-1]
        q = F.linear(query, self.in_proj_weight[:width], self.in_proj_bias[:width])
        k, v = F.linear(memory, self.in_proj_weight[width:], self.in_proj_bias[width:]).chunk(2, dim=-1)

        def split(x: Tensor) -> Tensor:
            return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)  # (B, heads, Q or K, D/heads)

        return split(q), split(k), split(v)

    def _weights(self, q: Tensor, k: Tensor) -> Tensor:
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (B, heads, Q, K)
        if not self.doubly_normalised:
            return scores.softmax(dim=-1)
        # softmax over the queries, then division by the sum over the keys; as logarithms, so that no share underflows
        shares = scores.log_softmax(dim=-2)
        return shares.softmax(dim=-1)


class TransformerLayer(nn.Module):
    """Post-norm decoder layer: self-attention of the queries, cross-attention to the memory, feed-forward."""

    def __init__(self, width: int, heads: int, feedforward: int, *, doubly_normalised: bool = False) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads)
        self.multihead_attn = Attention(width, heads, doubly_normalised=doubly_normalised)
        self.linear1 = nn.Linear(width, feedforward)
        self.linear2 = nn.Linear(feedforward, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        """`query` (B or 1, Q, D), `memory` (B, K, D) -> (B, Q, D).

        Queries shared by the whole batch may come once, as (1, Q, D): their self-attention is then computed once.
        """
        query = self.norm1(query + self.self_attn(query, query)).expand(memory.shape[0], -1, -1)
        query = self.norm2(query + self.multihead_attn(query, memory))
        return cast(Tensor, self.norm3(query + self.linear2(F.relu(self.linear1(query)))))

    def attention(self, query: Tensor, memory: Tensor) -> Tensor:
        """The weights with which the queries (B, Q, D) read the memory (B, K, D): (B, heads, Q, K)."""
        return self.multihead_attn.weights(self.norm1(query + self.self_attn(query, query)), memory)
