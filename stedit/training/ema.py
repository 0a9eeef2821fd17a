"""Moving averages of weights (Karras et al. 2018), which give better images than the weights of the last step."""

from __future__ import annotations

import torch
from torch import nn


def ema_decay(batch_size: int, half_life: int, step: int | None = None) -> float:
    """How much of the average remains after a step, in 0..1.

    Args:
        batch_size: images in a step.
        half_life: images in which the weight of what came before halves.
        step: steps done, for an average that follows more quickly at first (as TensorFlow's does); None: it does not.
    """
    decay = float(0.5 ** (batch_size / half_life))
    return decay if step is None else min(decay, (1 + step) / (10 + step))


def update_ema(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the average of a network's parameters; `decay` in 0..1 is how much of it remains. Buffers are copied."""
    with torch.no_grad():
        torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - decay)
        for kept, current in zip(average.buffers(), network.buffers(), strict=True):
            kept.copy_(current)
