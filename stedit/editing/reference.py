"""Edits of latent codes by reference: the attribute as another face has it, by the edit transformer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stedit.editing.attributes import NEGATED_ATTRIBUTES, resolve_reference_attribute
from stedit.editing.label import lacks, learned_change, push_to_logit
from stedit.editing.transformer import change_by_reference, condition_for, editor_for, learned_editor
from stedit.errors import UsageError
from stedit.models.edit_transformer import EditTransformer
from stedit.runtime.model import Model
from stedit.runtime.prediction import attribute_logits


def edit_by_reference(
    model: Model,
    w: Tensor,
    references: Sequence[Tensor],
    attributes: str | Sequence[str],
    *,
    strength: float = 1.0,
    weights: Sequence[float] | None = None,
) -> Tensor:
    """Codes (B, N, D), on the model's device, with attributes as references (1 or B, N, D) have them.

    Arguments and errors are those of `Engine.edit_by_reference`.
    """
    shares = normalise_weights(weights, len(references))
    keep = model.attribute_mask(())
    for editor, index in _editors(model, attributes):
        w = w + strength * _change_by_references(model, editor, w, references, index, shares, keep)
        keep = keep | model.attribute_mask([model.bundle.attributes[index].name])
    return w


def attention(
    model: Model, w: Tensor, references: Sequence[Tensor], attributes: str | Sequence[str]
) -> list[list[Tensor]]:
    """The attention of `edit_by_reference` at strength 1, (layers, B, heads, N, N), by attribute and reference.

    See `Engine.attention`.
    """
    shares = normalise_weights(None, len(references))
    maps, keep = [], model.attribute_mask(())
    for editor, index in _editors(model, attributes):
        with torch.no_grad(), model.autocast():
            condition = condition_for(editor, w, index)
            maps.append([editor.attention(w, one.expand_as(w), condition).float() for one in references])
        w = w + _change_by_references(model, editor, w, references, index, shares, keep)
        keep = keep | model.attribute_mask([model.bundle.attributes[index].name])
    return maps


def normalise_weights(weights: Sequence[float] | None, count: int) -> list[float]:
    """Weights of references divided by their sum; equal ones if None. Raises UsageError unless they fit and are > 0."""
    if weights is None:
        return [1 / count] * count
    if len(weights) != count:
        raise UsageError(f"there are {len(weights)} weights for {count} references: give one for each")
    if any(not 0 < weight < float("inf") for weight in weights):
        raise UsageError("weights of references are numbers above 0: give such as 0.7,0.3")
    return [weight / sum(weights) for weight in weights]


def _editors(model: Model, attributes: str | Sequence[str]) -> list[tuple[EditTransformer, int]]:
    """The edit transformer of each attribute, and the attribute's index."""
    editors, names = model.require_editors(), [item.name for item in model.bundle.attributes]
    found = []
    for name in [attributes] if isinstance(attributes, str) else attributes:
        attribute = resolve_reference_attribute(name, names)
        found.append((editor_for(editors, attribute, model.bundle.name), names.index(attribute)))
    return found


def _change_by_references(
    model: Model,
    editor: EditTransformer,
    w: Tensor,
    references: Sequence[Tensor],
    index: int,
    weights: Sequence[float],
    keep: Tensor,
) -> Tensor:
    """The change (B, N, D) that an edit by references (1 or B, N, D) of strength 1 makes.

    They are weighed by their answers, not by their codes: the edit transformer has been trained on codes of faces,
    and the mean of a face with glasses and one without is none. All answers are the source with one attribute
    exchanged, so the space between them is safe, and a weight means the same as a strength.
    """
    changes = [_change_by_reference(model, editor, w, one.expand_as(w), index, keep) for one in references]
    return torch.stack([weight * change for weight, change in zip(weights, changes, strict=True)]).sum(dim=0)


def _change_by_reference(
    model: Model, editor: EditTransformer, w: Tensor, reference: Tensor, index: int, keep: Tensor
) -> Tensor:
    """The change of codes (B, N, D) by as many references.

    Where a reference has, by the classifier, what the source has not, it goes on to `reference_target_logit`.
    """
    with model.autocast():
        change = change_by_reference(editor, w, reference, index)
    if model.networks.classifier is None:
        return change
    spec = model.bundle.attributes[index]
    if spec.transfer_weight and learned_editor(model.networks.editors, spec.name, index):
        removed = _removal_change(model, w, index) - _removal_change(model, reference, index)
        change = torch.lerp(change, removed, spec.transfer_weight)
    present = attribute_logits(model, reference)[:, index] > 0
    differs = present != (attribute_logits(model, w)[:, index] > 0)
    goal = torch.where(present, spec.reference_target_logit, -spec.reference_target_logit)
    return push_to_logit(model, w + change, index, torch.where(differs, goal, 0.0), keep=keep) - w


def _removal_change(model: Model, w: Tensor, index: int) -> Tensor:
    """The change that takes an attribute off codes (B, N, D) by label; 0 where there is nothing to take.

    What is learned by reference is near the mean of all that one might mean; the reference's own attribute is there
    as it is.
    """
    present = model.attributes[index] in NEGATED_ATTRIBUTES
    change = learned_change(model, w, index, present=present)
    return torch.where(lacks(model, w, index, present=present)[:, None, None], change, 0.0)
