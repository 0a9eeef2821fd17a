"""Moves of codes that bring the latent classifier's logits to given values.

    first-order     along the gradient of the attribute's logit
    second-order    along the dominant curvature of the divergence of the classifier's prediction from the goal
    preserving      the most change of the logit for the least change of the others and the most plausible code

Directions are computed anew at every step, so they adapt to the code and follow the classifier's curvature.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from stedit.editing.directions import LabelDirection
from stedit.editing.layers import style_mask
from stedit.models.latent_classifier import LatentClassifier
from stedit.runtime.covariance import LatentCovariance

STEPS = 8
CORRECTIONS = 2  # steps that only make up for the classifier's curvature in the last one
LEAST_DEVIATION = 1e-3  # of a logit over plausible codes: whatever moved one that varies less would lead nowhere
POWER_ITERATIONS = 100  # at most; one is enough where the curvature has rank one


def move_to_logits(
    classifier: LatentClassifier,
    w: Tensor,
    goals: Mapping[int, Tensor],
    *,
    keep: Tensor,
    covariance: LatentCovariance,
    direction: LabelDirection = "preserving",
    styles: Sequence[int] | None = None,
    ridge: float = 0.02,
) -> Tensor:
    """Bring the logits of some attributes to given values.

    The preserving direction changes little else. Each of its steps solves for the change d of the code that moves the
    target logits by their share of the way and minimises sum_j (g_j . d + r_j)^2 + lambda * d' S^-1 d over the
    attributes j to keep, with g their gradients, r what they have drifted so far, and S the covariance of codes. For
    one attribute k and no drift, d is along (sum_j g_j g_j' + lambda * S^-1)^-1 g_k.

    The others take the smallest combination of the attributes' own directions, and of the gradients of those to keep,
    that moves the target logits by their share and undoes the drift (Shen et al. 2020, "conditional manipulation").

    Args:
        classifier: gives the logits and their derivatives.
        w: (B, N, D) codes.
        goals: attribute index -> (B,) logit to reach.
        keep: (K,) bool, the attributes to hold where they are.
        covariance: S.
        direction: see above.
        styles: those that may change; None for all of them.
        ridge: weight of plausibility, the Mahalanobis length of the change, against side effects; in units of the
            target logits' variance, so that it means the same for every classifier.

    Returns:
        (B, N, D) edited codes; styles that may not change are those of `w`, bit by bit. What no code moves stays.
    """
    source, targets = w, list(goals)
    goal = torch.stack([goals[index] for index in targets], dim=1)  # (B, W)
    keep = keep.clone()
    keep[targets] = False
    touched = style_mask(w, styles)
    first_logits = classifier(w)
    start, signs = first_logits[:, keep], torch.sign(goal - first_logits[:, targets])
    for remaining in (*range(STEPS, 0, -1), *[1] * CORRECTIONS):
        logits, gradients = classifier.logits_and_gradients(w)
        gradients = gradients * touched
        slopes = gradients[:, targets]
        variance = (slopes * covariance.multiply(slopes)).sum(dim=2)
        step = torch.where(variance > LEAST_DEVIATION**2, (goal - logits[:, targets]) / remaining, 0.0)
        drift = logits[:, keep] - start
        if direction == "preserving":
            change = _preserving_step(
                lambda vectors: covariance.multiply(vectors) * touched,
                targets=slopes,
                preserved=gradients[:, keep],
                step=step,
                drift=drift,
                ridge=ridge,
            )
        else:
            directions = slopes
            if direction == "second-order":
                directions = curvature_directions(classifier, w, targets, signs, touched=touched)
            change = _combined_step(directions, slopes, gradients[:, keep], step, drift)
        w = w + change.view_as(w)
    return torch.where(touched.view(w.shape[1:]) > 0, w, source)


def curvature_directions(
    classifier: LatentClassifier,
    w: Tensor,
    attributes: Sequence[int],
    signs: Tensor,
    *,
    touched: Tensor,
    seed: int = 0,
) -> Tensor:
    """The directions in which the divergence of the classifier's predictions from the goals curves most.

    The divergence KL(goal || prediction) of an attribute with the logit z, present (s = 1) or absent (s = -1), is
    softplus(-s z). Its Hessian is sigmoid(-s z) * (sigmoid(s z) g g' - s H_z), with g the gradient of z and H_z its
    Hessian. The first factor does not turn the eigenvectors, and is left out because it vanishes where the classifier
    is sure. Power iteration multiplies by the rest exactly: H_z v is the gradient of g . v.

    H_z is zero where the classifier is piecewise linear, as one of leaky ReLUs is. There the Hessian has rank one,
    and the direction is that of the gradient, whatever the start.

    Args:
        classifier: any whose logits can be differentiated twice.
        w: (B, N, D) codes.
        attributes: W indices.
        signs: (B, W), 1 where the logit is to grow, -1 where it is to fall.
        touched: (N*D,), 0 where the code may not change.
        seed: of the random start.

    Returns:
        (B, W, N*D) unit vectors along which the logit grows if it is to grow, and falls if it is to fall.
    """
    random = torch.Generator().manual_seed(seed)
    with torch.enable_grad():
        w = w.detach().requires_grad_()
        logits = classifier(w)
        directions = []
        for place, attribute in enumerate(attributes):
            sign = torch.where(signs[:, place] < 0, -1.0, 1.0).to(w)[:, None]
            (gradient,) = torch.autograd.grad(logits[:, attribute].sum(), w, create_graph=True)
            slope = gradient.flatten(1) * touched
            # below 1e-30, only the curvature of the logit itself is left, or nothing if it has none
            share = (sign[:, 0] * logits[:, attribute]).sigmoid().clamp_min(1e-30)[:, None].detach()
            v = _unit(torch.randn(slope.shape, generator=random, dtype=w.dtype).to(w.device) * touched)
            for _ in range(POWER_ITERATIONS):
                bent = torch.autograd.grad(
                    (slope * v).sum(), w, retain_graph=True, allow_unused=True, materialize_grads=True
                )[0].flatten(1)
                with torch.no_grad():
                    product = _unit(share * slope * (slope * v).sum(1, keepdim=True) - sign * bent * touched)
                    settled = (product * v).sum(1).abs().min() > 1 - 1e-6
                    v = product
                if settled:
                    break
            with torch.no_grad():
                directions.append(torch.where((slope * v).sum(1, keepdim=True) * sign < 0, -v, v))
    return torch.stack(directions, dim=1).detach()


def _unit(vectors: Tensor) -> Tensor:
    """Vectors (B, X) of length 1; in two steps, since the squares of small numbers underflow."""
    tiny = torch.finfo(vectors.dtype).tiny
    scaled: Tensor = vectors / vectors.abs().amax(dim=1, keepdim=True).clamp_min(tiny)
    unit: Tensor = scaled / torch.linalg.vector_norm(scaled, dim=1, keepdim=True).clamp_min(tiny)
    return unit


def _combined_step(directions: Tensor, targets: Tensor, preserved: Tensor, step: Tensor, drift: Tensor) -> Tensor:
    """Find the change of the code (B, N*D): along the directions of the targets and the gradients of the others.

    From directions and gradients (B, W, N*D), gradients (B, J, N*D), changes of logits (B, W) and drifts (B, J).
    """
    along = torch.cat([directions, preserved], dim=1)
    response = torch.cat([targets, preserved], dim=1) @ along.mT  # (B, W+J, W+J): how each moves each logit
    amounts = _least_squares(response, torch.cat([step, -drift], dim=1))
    change: Tensor = (amounts * along).sum(dim=1)
    return change


def _least_squares(response: Tensor, change: Tensor) -> Tensor:
    """How far to go along each direction, (B, W, 1), to change logits by (B, W), given how each moves each, (B, W, W).

    The least-squares solution: two attributes may share their direction and have goals apart.
    """
    inverse = torch.linalg.pinv(response.cpu(), rtol=1e-6)  # the CPU, since not every device has its long numbers
    amounts: Tensor = inverse.to(response.device) @ change[:, :, None]
    return amounts


def _preserving_step(
    multiply: Callable[[Tensor], Tensor],
    *,
    targets: Tensor,
    preserved: Tensor,
    step: Tensor,
    drift: Tensor,
    ridge: float,
) -> Tensor:
    """Find the change of the code (B, N*D).

    From S v (`multiply`), gradients (B, W, N*D) and (B, J, N*D), changes of logits (B, W) and drifts (B, J).
    """
    logit_variance = (targets * multiply(targets)).sum(dim=2).mean(dim=1)
    weight = ridge * logit_variance.clamp_min(1e-12)[:, None, None]  # lambda; a classifier may know nothing of a logit
    preserved_multiplied = multiply(preserved) / weight  # S g / lambda
    inner = (
        torch.eye(preserved.shape[1], dtype=preserved.dtype, device=preserved.device)
        + preserved @ preserved_multiplied.mT
    )  # (B, J, J)

    def solve(vectors: Tensor) -> Tensor:
        """(sum_j g_j g_j' + lambda * S^-1)^-1 v by Woodbury's identity: J unknowns in place of the code's N*D."""
        multiplied = multiply(vectors) / weight
        solution: Tensor = multiplied - torch.linalg.solve(inner, preserved @ multiplied.mT).mT @ preserved_multiplied
        return solution

    directions = solve(targets)  # (B, W, N*D)
    restore = -solve(drift[:, None] @ preserved)[:, 0]  # (B, N*D): undoes the drift, whatever it does to the targets
    response = targets @ directions.mT  # (B, W, W): how each direction moves each target logit
    missing = step - (targets @ restore[:, :, None])[:, :, 0]
    amounts = _least_squares(response, missing)
    change: Tensor = restore + (amounts * directions).sum(dim=1)
    return change


def restore_kept(
    classifier: LatentClassifier, w: Tensor, source: Tensor, keep: Tensor, targets: list[int], touched: Tensor
) -> Tensor:
    """Codes `w` with the preserved logits of `source`, by the smallest change that leaves the target logits."""
    if not keep.any():
        return w
    start = classifier(source)[:, keep]
    for _ in range(CORRECTIONS):
        logits, gradients = classifier.logits_and_gradients(w)
        gradients = gradients * touched
        drift, still = logits[:, keep] - start, torch.zeros_like(logits[:, targets])
        change = _combined_step(gradients[:, targets], gradients[:, targets], gradients[:, keep], still, drift)
        w = w + change.view_as(w)
    return w
