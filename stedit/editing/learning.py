"""Linear directions learned from codes: by the latent classifier's gradients, or from labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from stedit.editing.attributes import resolve_attribute
from stedit.errors import UsageError
from stedit.models.latent_classifier import LatentClassifier
from stedit.runtime.covariance import LatentCovariance
from stedit.runtime.model import Model
from stedit.storage.directions import Vector

LEARNING_CODES = 2000  # random ones to learn a direction from
MIN_LABELLED = 10  # codes with an attribute, and as many without, that a direction can be learned from


@dataclass(frozen=True, eq=False)
class LearnedDirection:
    """A direction that was learned."""

    vector: Vector
    """(N, D), of length 1, towards codes that have the attribute."""
    accuracy: float
    """On codes held back: the share on the right side of the plane across the direction, both labels counting alike."""
    codes: int
    """Learned from and held back, together."""
    method: str

    def __repr__(self) -> str:
        return f"LearnedDirection({self.method!r}, {self.codes} codes, accuracy {self.accuracy:.3f})"


def learn_direction(
    model: Model, attribute: str, w: Tensor | None = None, labels: Sequence[bool] | None = None
) -> LearnedDirection:
    """One direction for all codes that gives them an attribute, from codes (M, N, D) on the model's device.

    Arguments and errors are those of `Engine.learn_direction`.
    """
    if w is None:
        w = model.sample_latents(LEARNING_CODES)
    if labels is not None:
        return learn_from_labels(w, torch.tensor(labels, dtype=torch.bool, device=model.device))
    classifier = model.require_classifier()
    index = model.attributes.index(resolve_attribute(attribute, model.attributes)[0])
    return learn_from_classifier(classifier, w, index, model.covariance)


def learn_from_classifier(
    classifier: LatentClassifier, w: Tensor, attribute: int, covariance: LatentCovariance
) -> LearnedDirection:
    """The mean over codes (M, N, D) of the direction in which an attribute's logit grows for the most plausible change.

    It is S g, with g the gradient and S the codes' covariance, each of them made as long as the others.
    Raises UsageError if the classifier predicts too few codes with the attribute, or without it.
    """
    with torch.enable_grad():
        codes = w.detach().requires_grad_()
        logits = classifier(codes)[:, attribute]
        (gradients,) = torch.autograd.grad(logits.sum(), codes)
    labels = logits.detach() > 0
    along = covariance.multiply(gradients.flatten(1))
    along = along / along.norm(dim=1, keepdim=True).clamp_min(1e-30)
    return _learned(w, labels, lambda learning: along[learning].mean(dim=0), "the classifier's gradients")


def learn_from_labels(w: Tensor, labels: Tensor) -> LearnedDirection:
    """The normal of the plane that parts codes (M, N, D) by their labels (M,). Raises UsageError if there are too few.

    See `logistic_direction`.
    """
    flat = w.flatten(1)
    return _learned(w, labels, lambda learning: logistic_direction(flat[learning], labels[learning]), "labelled codes")


def logistic_direction(codes: Tensor, labels: Tensor, *, ridge: float = 1e-3) -> Tensor:
    """Logistic regression of labels (M,) on codes (M, N*D): its normal, a unit vector (N*D,) towards label 1.

    Both labels count alike, and the squared length of the normal is a penalty: where codes hardly vary, a direction
    would cost more than it gains, so the normal keeps to where codes are. It takes the place of InterFaceGAN's support
    vector machine (Shen et al. 2020). `ridge` weighs the penalty, the codes' numbers having a mean square of 1.
    """
    x = (codes - codes.mean(dim=0)).cpu().double()  # the CPU, since not every device has long numbers
    x = x / x.square().mean().sqrt()
    y = labels.cpu().double()
    weight = torch.where(y > 0, 0.5 / y.mean(), 0.5 / (1 - y).mean())
    normal = torch.zeros(x.shape[1] + 1, dtype=x.dtype, device=x.device, requires_grad=True)  # and the intercept
    optimizer = torch.optim.LBFGS([normal], max_iter=200, tolerance_grad=1e-7, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        fit = F.binary_cross_entropy_with_logits(x @ normal[:-1] + normal[-1], y, weight)
        total = fit + ridge * normal[:-1].square().sum()
        torch.autograd.backward(total)
        return total

    with torch.enable_grad():
        optimizer.step(loss)  # type: ignore[no-untyped-call]
    found = normal.detach()[:-1]
    return cast("Tensor", (found / found.norm()).to(codes))


def _learned(w: Tensor, labels: Tensor, direction: Callable[[Tensor], Tensor], method: str) -> LearnedDirection:
    """Learn from four fifths of the codes, and measure on the rest."""
    order = torch.randperm(len(w), generator=torch.Generator().manual_seed(0)).to(w.device)
    held = [places[: max(len(places) // 5, 1)] for places in (order[labels[order]], order[~labels[order]])]
    counts = [int(labels.sum()), int((~labels).sum())]
    if min(counts) < MIN_LABELLED:
        raise UsageError(
            f"of {len(w)} codes {counts[0]} have the attribute and {counts[1]} have not: give {MIN_LABELLED} of each"
        )
    testing = torch.cat(held)
    learning = order[~torch.isin(order, testing)]
    found = direction(learning)
    found = found / found.norm()
    places = w.flatten(1) @ found
    has = labels[learning]
    middle = (places[learning][has].mean() + places[learning][~has].mean()) / 2
    right = [(places[held[0]] > middle).float().mean(), (places[held[1]] <= middle).float().mean()]
    return LearnedDirection(found.view(w.shape[1:]).cpu().numpy(), float(sum(right) / 2), len(w), method)
