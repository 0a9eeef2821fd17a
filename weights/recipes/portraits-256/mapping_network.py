"""Fitting of a mapping network to codes whose parameters are known, so that z -> w covers them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from stedit.models.generator import MappingNetwork


def fit_mapping(
    mapping: MappingNetwork,
    sample: Callable[[int], tuple[Tensor, Tensor]],
    *,
    steps: int = 3000,
    batch_size: int = 256,
    learning_rate: float = 3.0,
    seed: int = 0,
) -> float:
    """Regress w from z, in place, and set the mean of w.

    Args:
        mapping: trained in place.
        sample: gives, for a batch size, z (B, D) as N(0, 1) would draw it and the codes w (B, D) that belong to it.
        steps: of Adam, with a cosine schedule.
        batch_size: pairs per step.
        learning_rate: at the start; large, for the layers hold weights of about 100 (their multiplier is 0.01).
        seed: of the batches.

    Returns:
        The share of w's variance that z explains, at the end.
    """
    torch.manual_seed(seed)
    optimizer = torch.optim.Adam(mapping.train().parameters(), lr=learning_rate, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    explained = 0.0
    for _ in range(steps):
        z, w = sample(batch_size)
        loss = F.mse_loss(mapping(z), w)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
        explained += 0.02 * (1 - loss.item() / w.var(dim=0).mean().item() - explained)
    mapping.mean.copy_(mapping.eval().estimate_mean())
    return explained
