"""Label editing: move a code until the classifier is sure of an attribute, and of the others as much as before.

The direction is recomputed at every step, so it adapts to the image and follows the classifier's curvature.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from stedit.models.latent_classifier import LatentClassifier

STEPS = 8
CORRECTIONS = 2  # steps that only make up for the classifier's curvature in the last one


def edit_by_label(
    classifier: LatentClassifier, w: Tensor, goals: Mapping[int, Tensor], *, keep: Tensor, ridge: float = 0.1
) -> Tensor:
    """Bring the logits of some attributes to given values, changing little else.

    Each step solves for the change d of the code that moves the wanted logits by their share of the way and minimises
    sum_j (g_j . d)^2 + ridge * d' S^-1 d over the attributes j to keep, with g their gradients and S the covariance of
    codes. For one attribute k, d is (sum_j g_j g_j' + ridge * S^-1)^-1 g_k: the attribute-preserving direction.

    Args:
        classifier: gives the gradients and S.
        w: (B, N, D) codes.
        goals: attribute index -> (B,) logit to reach.
        keep: (K,) bool, the attributes to hold where they are.
        ridge: weight of plausibility, the Mahalanobis length of the change, against side effects.

    Returns:
        (B, N, D) edited codes.
    """
    wanted = list(goals)
    goal = torch.stack([goals[index] for index in wanted], dim=1)  # (B, W)
    keep = keep.clone()
    keep[wanted] = False
    for remaining in (*range(STEPS, 0, -1), *[1] * CORRECTIONS):
        logits, gradients = logits_and_gradients(classifier, w)
        step = (goal - logits[:, wanted]) / remaining
        w = w + _preserving_step(classifier, gradients[:, wanted], gradients[:, keep], step, ridge).view_as(w)
    return w


def logits_and_gradients(classifier: LatentClassifier, w: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (B, K) of codes (B, N, D), and the gradient of each with respect to the flattened code, (B, K, N*D)."""
    with torch.enable_grad():
        w = w.detach().requires_grad_()
        logits = classifier(w)
        count = logits.shape[1]
        one_hot = torch.eye(count, device=w.device)[:, None].expand(-1, w.shape[0], -1)  # (K, B, K)
        (gradients,) = torch.autograd.grad(logits, w, one_hot, is_grads_batched=True)
    return logits.detach(), gradients.flatten(2).transpose(0, 1)


def _preserving_step(classifier: LatentClassifier, wanted: Tensor, kept: Tensor, step: Tensor, ridge: float) -> Tensor:
    """Gradients (B, W, N*D) and (B, J, N*D), wanted logit changes (B, W) -> the change of the code (B, N*D)."""
    spread_wanted = classifier.spread(wanted) / ridge  # S g / ridge, (B, W, N*D)
    spread_kept = classifier.spread(kept) / ridge
    # Woodbury: invert in the J kept directions instead of the N*D dimensions of the code
    inner = torch.eye(kept.shape[1], device=kept.device) + kept @ spread_kept.transpose(1, 2)
    directions = spread_wanted - (
        torch.linalg.solve(inner, kept @ spread_wanted.transpose(1, 2)).transpose(1, 2) @ spread_kept
    )  # (B, W, N*D): one direction for each wanted attribute
    response = wanted @ directions.transpose(1, 2)  # (B, W, W): how each direction moves each wanted logit
    weights = torch.linalg.solve(response, step[:, :, None])
    change: Tensor = (weights * directions).sum(dim=1)
    return change
