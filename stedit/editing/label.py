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
    classifier: LatentClassifier, w: Tensor, goals: Mapping[int, Tensor], *, keep: Tensor, ridge: float = 0.02
) -> Tensor:
    """Bring the logits of some attributes to given values, changing little else.

    Each step solves for the change d of the code that moves the wanted logits by their share of the way and minimises
    sum_j (g_j . d + r_j)^2 + lambda * d' S^-1 d over the attributes j to keep, with g their gradients, r what they have
    drifted so far, and S the covariance of codes. For one attribute k and no drift, d is along
    (sum_j g_j g_j' + lambda * S^-1)^-1 g_k: the attribute-preserving direction.

    Args:
        classifier: gives the gradients and S.
        w: (B, N, D) codes.
        goals: attribute index -> (B,) logit to reach.
        keep: (K,) bool, the attributes to hold where they are.
        ridge: weight of plausibility, the Mahalanobis length of the change, against side effects; in units of the
            wanted logits' variance, so that it means the same for every classifier.

    Returns:
        (B, N, D) edited codes.
    """
    wanted = list(goals)
    goal = torch.stack([goals[index] for index in wanted], dim=1)  # (B, W)
    keep = keep.clone()
    keep[wanted] = False
    start = classifier(w)[:, keep]
    for remaining in (*range(STEPS, 0, -1), *[1] * CORRECTIONS):
        logits, gradients = logits_and_gradients(classifier, w)
        logit_variance = (gradients[:, wanted] * classifier.spread(gradients[:, wanted])).sum(dim=2).mean(dim=1)
        change = _preserving_step(
            classifier,
            wanted=gradients[:, wanted],
            kept=gradients[:, keep],
            step=(goal - logits[:, wanted]) / remaining,
            drift=logits[:, keep] - start,
            weight=ridge * logit_variance,
        )
        w = w + change.view_as(w)
    return w


def logits_and_gradients(classifier: LatentClassifier, w: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (B, K) of codes (B, N, D), and the gradient of each with respect to the flattened code, (B, K, N*D)."""
    with torch.enable_grad():
        w = w.detach().requires_grad_()
        logits = classifier(w)
        count = logits.shape[1]
        one_hot = torch.eye(count, dtype=w.dtype, device=w.device)[:, None].expand(-1, w.shape[0], -1)  # (K, B, K)
        (gradients,) = torch.autograd.grad(logits, w, one_hot, is_grads_batched=True)
    return logits.detach(), gradients.flatten(2).transpose(0, 1)


def _preserving_step(
    classifier: LatentClassifier, *, wanted: Tensor, kept: Tensor, step: Tensor, drift: Tensor, weight: Tensor
) -> Tensor:
    """Find the change of the code (B, N*D).

    From gradients (B, W, N*D) and (B, J, N*D), changes of logits (B, W), drifts (B, J) and lambda (B,).
    """
    weight = weight[:, None, None]
    spread_kept = classifier.spread(kept) / weight  # S g / lambda
    inner = torch.eye(kept.shape[1], dtype=kept.dtype, device=kept.device) + kept @ spread_kept.mT  # (B, J, J)

    def solve(vectors: Tensor) -> Tensor:
        """(sum_j g_j g_j' + lambda * S^-1)^-1 v by Woodbury's identity: J unknowns in place of the code's N*D."""
        spread = classifier.spread(vectors) / weight
        solution: Tensor = spread - torch.linalg.solve(inner, kept @ spread.mT).mT @ spread_kept
        return solution

    directions = solve(wanted)  # (B, W, N*D)
    restore = -solve(drift[:, None] @ kept)[:, 0]  # (B, N*D): undoes the drift, whatever it does to the wanted
    response = wanted @ directions.mT  # (B, W, W): how each direction moves each wanted logit
    missing = step - (wanted @ restore[:, :, None])[:, :, 0]
    amounts = torch.linalg.solve(response, missing[:, :, None])  # (B, W, 1)
    change: Tensor = restore + (amounts * directions).sum(dim=1)
    return change
