"""Learning attributes from labels: which of them, the weight of each label, the accuracy.

The latent classifier learns them from codes, the judge from images.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from stedit.editing.attributes import resolve_attribute
from stedit.errors import InputError, UsageError
from stedit.models.config import NAME
from stedit.storage.bundle import Bundle
from stedit.storage.bundle_config import PART_CONFIGS
from stedit.training.calibration import calibration_error, fit_scaling

MAX_ATTRIBUTES = 1024  # as many as a classifier may have


def attributes_to_learn(
    bundle: Bundle | None, learned: str, labelled: Sequence[str], wanted: Sequence[str]
) -> tuple[str, ...]:
    """Attributes in the order of the logits. Other parts of the model that name attributes decide, if any do.

    Args:
        bundle: the model, if there is one.
        learned: the part that is trained.
        labelled: attributes of which there are labels.
        wanted: those to choose of them; none: all.

    Raises:
        AttributeNameError: what is wanted is not labelled.
        UsageError: one is named twice or by its opposite, or another part of the model knows other attributes.
        InputError: there are too many, or one has a name that no model can hold.
    """
    if unfit := next((name for name in labelled if not NAME.fullmatch(name)), None):
        raise InputError(f"the labels name the attribute {unfit!r:.40}: use letters, digits, '.', '_' and '-' only")
    chosen: tuple[str, ...] = ()
    for name in wanted:
        attribute, sign = (name, 1) if name in labelled else resolve_attribute(name, labelled)
        if sign < 0:
            raise UsageError(f"attributes names {name!r}, which is learned as its opposite: say {attribute}")
        if attribute in chosen:
            raise UsageError(f"attributes names {attribute} twice, as {name!r} too: name each once")
        chosen = (*chosen, attribute)
    chosen = chosen or tuple(labelled)
    if len(chosen) > MAX_ATTRIBUTES:
        raise InputError(f"the labels name {len(chosen)} attributes: choose at most {MAX_ATTRIBUTES} with attributes")
    parts = [name for name in ("classifier", "editor", "judge") if name != learned and _names_attributes(bundle, name)]
    if bundle is None or not parts:
        return chosen
    fixed = tuple(item.name for item in bundle.attributes)
    if missing := [name for name in fixed if name not in chosen]:
        raise UsageError(
            f"the {parts[0]} of {bundle.name!r} knows {missing[0]}, which is not to be learned: label and choose all "
            "attributes of the model, or start from a model without that part"
        )
    extra = [name for name in chosen if name not in fixed]
    if extra and wanted:
        raise UsageError(
            f"the {parts[0]} of {bundle.name!r} does not know {extra[0]}: leave it out of attributes, or start from a "
            "model without that part"
        )
    return fixed


def class_weights(labels: Tensor, *, balance: bool, attributes: Sequence[str], examples: str) -> Tensor:
    """Weights (2, K) of having, and of not having, each attribute; their mean over examples is 1.

    Args:
        labels: (M, K), probabilities, mostly 1 or 0, or NaN where unknown.
        balance: whether having and not having an attribute count the same in all.
        attributes: their names.
        examples: what they are, such as "codes".

    Raises:
        InputError: an attribute is never or always there, so that nothing can be learned.
    """
    positive, negative = (labels > 0.5).sum(dim=0), (labels <= 0.5).sum(dim=0)
    for k, name in enumerate(attributes):
        if not positive[k] or not negative[k]:
            raise InputError(
                f"of the {examples} to learn from, {int(positive[k])} have {name} and {int(negative[k])} do not: give "
                f"{examples} of both classes, or choose others with attributes"
            )
    if not balance:
        return torch.ones(2, len(attributes))
    positive, negative = labels.nansum(dim=0), (1 - labels).nansum(dim=0)
    return (positive + negative) / (2 * torch.stack([positive, negative]))


def cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Binary cross-entropy, a scalar, over all labels (M, K) that are known, with the weights of `class_weights`."""
    known, labels = ~labels.isnan(), labels.nan_to_num()
    errors = -weights[0] * labels * F.logsigmoid(logits) - weights[1] * (1 - labels) * F.logsigmoid(-logits)
    return torch.where(known, errors, 0.0).sum() / known.sum().clamp_min(1)


def measure(logits: Tensor, labels: Tensor, weights: Tensor) -> dict[str, float]:
    """Figures of held-out examples, for the metrics: the loss, and means over the attributes.

    logits: (M, K); labels: (M, K), as of `class_weights`; weights: those of `class_weights`.
    """
    return {
        "val/loss": cross_entropy(logits, labels, weights).item(),
        "val/accuracy": accuracy(logits, labels).nanmean().item(),
        "val/calibration_error": calibration_error(logits, labels).nanmean().item(),
    }


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of right predictions for each attribute, (K,), of those known; NaN where none is.

    logits: (M, K); labels: (M, K), as of `class_weights`.
    """
    known = ~labels.isnan()
    return (((logits > 0) == (labels > 0.5)) & known).sum(dim=0) / known.sum(dim=0)


def calibrate_and_score(
    logits: Tensor, labels: Tensor, attributes: Sequence[str], *, calibrate: bool
) -> tuple[Tensor, Tensor, dict[str, dict[str, float]]]:
    """Calibration by one half of the held-out examples, and figures by the other half.

    Args:
        logits: (M, K), in an order that both halves may take every other one of.
        labels: (M, K), as of `class_weights`.
        attributes: their names.
        calibrate: else logits stay as they are.

    Returns:
        Scale and shift, (K,) each, that make logits true; and figures by attribute.
    """
    scale, shift = torch.ones(logits.shape[1]), torch.zeros(logits.shape[1])
    if calibrate:
        scale, shift = fit_scaling(logits[::2], labels[::2])
    before, labels = logits[1::2], labels[1::2]
    after = before * scale + shift
    figures = {
        "accuracy": accuracy(after, labels),
        "positive": (labels > 0.5).sum(dim=0) / (~labels.isnan()).sum(dim=0),
        "calibration_error": calibration_error(after, labels),
        "uncalibrated_error": calibration_error(before, labels),
    }
    return (
        scale,
        shift,
        {
            name: {key: round(values[k].item(), 4) for key, values in figures.items() if not values[k].isnan()}
            for k, name in enumerate(attributes)
        },
    )


def _names_attributes(bundle: Bundle | None, name: str) -> bool:
    """Whether a part is tied to the order of the model's attributes."""
    if bundle is None or name not in bundle.parts:
        return False
    return PART_CONFIGS[name].from_dict(bundle.parts[name].config).attributes > 0  # type: ignore[union-attr]
