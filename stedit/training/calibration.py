"""Calibration of logits, so that of all codes given a probability p about the share p has the attribute."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

BINS = 15  # of the expected calibration error, as is usual
ITERATIONS = 100


def fit_scaling(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Scale > 0 and shift of each attribute's logits that make them calibrated (Platt 1999).

    Args:
        logits: (M, K), of codes that the classifier has not learned from.
        labels: (M, K), probabilities, mostly 1 or 0, or NaN where unknown.

    Returns:
        Scale and shift, (K,) each, in the logits' type; 1 and 0 for an attribute without two classes.
    """
    known = ~labels.isnan()
    positive = (labels > 0.5).sum(dim=0)
    negative = (labels <= 0.5).sum(dim=0)
    # Platt's targets: not quite 1 and 0, so that classes that are separated without error get a finite scale
    ones = ((positive + 1) / (positive + 2)).double()
    zeros = (1 / (negative + 2)).double()
    targets = torch.lerp(zeros, ones, labels.nan_to_num().double())
    deviation = logits.double().std(dim=0).clamp_min(1e-6)
    values = (logits.double() / deviation).detach()
    log_scale = torch.zeros_like(deviation, requires_grad=True)
    shift = torch.zeros_like(deviation, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [log_scale, shift], max_iter=ITERATIONS, tolerance_grad=1e-9, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        errors = F.binary_cross_entropy_with_logits(values * log_scale.exp() + shift, targets, reduction="none")
        total = (torch.where(known, errors, 0.0).sum(dim=0) / known.sum(dim=0).clamp_min(1)).sum()
        torch.autograd.backward(total)
        return total

    with torch.enable_grad():
        optimizer.step(loss)  # type: ignore[no-untyped-call]
    both = (positive > 0) & (negative > 0)
    scale = torch.where(both, log_scale.detach().exp() / deviation, 1.0)
    return scale.to(logits.dtype), torch.where(both, shift.detach(), 0.0).to(logits.dtype)


def calibration_error(logits: Tensor, labels: Tensor) -> Tensor:
    """Expected calibration error (Naeini et al. 2015) of each attribute, (K,) in 0..1; NaN where no label is known.

    Probabilities of having the attribute fall into bins of equal width; the error is the mean over all codes of
    |mean probability - share that has the attribute, or mean label| of their bin.

    Args:
        logits: (M, K).
        labels: (M, K), as of `fit_scaling`.
    """
    known = ~labels.isnan()
    probability = logits.double().sigmoid()
    chosen = (probability * BINS).long().clamp_max(BINS - 1)
    gap = torch.where(known, probability - labels.double(), 0.0)
    sums = torch.zeros(BINS, logits.shape[1], dtype=torch.float64, device=logits.device).scatter_add(0, chosen, gap)
    return sums.abs().sum(dim=0) / known.sum(dim=0)
