"""Edits of latent codes by label: "smile", "no-glasses", each by the technique that `direction` names.

transformer                              the change that the edit transformer has learned, see `transformer`
preserving, first-order, second-order    by the latent classifier's derivatives, see `gradient`
linear:FILE, sefa:0                      along one direction for all codes, see `linear`
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stedit.editing.attributes import EXCLUDES, related, resolve_attribute
from stedit.editing.directions import Direction, LabelDirection, LinearDirection, StrengthUnit, parse_direction
from stedit.editing.gradient import move_to_logits
from stedit.editing.linear import (
    add_direction,
    follow_direction,
    has_length_of_its_own,
    linear_directions,
    scale_to_one_std,
)
from stedit.editing.transformer import change_by_label, learned_editor
from stedit.errors import MissingPartError, UsageError
from stedit.runtime.model import Model
from stedit.runtime.prediction import attribute_logits

# A probability of 5 %: absent in the image; a goal as far as that of the edited attribute would spoil the edit.
EXCLUDED_LOGIT = 3.0


@dataclass(frozen=True)
class ResolvedLabelEdit:
    """A request, understood."""

    signs: Mapping[int, int]
    """Attribute index -> 1 for with, -1 for without."""
    strength: float
    keep: frozenset[str]
    """CelebA names of attributes to hold where they are."""
    styles: list[int] | None
    """Those that may change; None for all of them."""


def edit_by_label(
    model: Model,
    w: Tensor,
    attributes: str | Sequence[str],
    *,
    strength: float = 1.0,
    direction: str = "auto",
    keep: str | Sequence[str] = (),
    layers: Sequence[int] | None = None,
    strength_unit: StrengthUnit = "auto",
) -> Tensor:
    """Codes (B, N, D), on the model's device, with attributes given or taken away.

    Arguments and errors are those of `Engine.edit_by_label`.
    """
    names = [attributes] if isinstance(attributes, str) else list(attributes)
    chosen = parse_direction(direction)
    if chosen == "auto":
        chosen = "transformer" if names and has_learned_edit(model, names) else "preserving"
    styles = model.styles(layers)
    signs = _signs(model, names)
    kept = {resolve_attribute(name, model.attributes)[0] for name in ([keep] if isinstance(keep, str) else keep)}
    if both := kept & {model.attributes[index] for index in signs}:
        raise UsageError(f"{min(both)} is both to be edited and to be kept: leave one of them out")
    edit = ResolvedLabelEdit(signs, strength, frozenset(kept), styles)
    if isinstance(chosen, LinearDirection):
        return _edit_linear(model, w, edit, chosen, strength_unit)
    if strength_unit in {"sigma", "raw"}:
        raise UsageError(
            f"the unit {strength_unit} is for linear directions, which have a length: give one", argument="direction"
        )
    if not names:
        raise UsageError(
            "no attribute is named, and only linear directions can do without: name one", argument="attributes"
        )
    return _TECHNIQUES[chosen](model, w, edit)


def has_learned_edit(model: Model, attributes: str | Sequence[str]) -> bool:
    """Whether `edit_by_label` has a learned edit of all attributes. Raises AttributeNameError."""
    names = [attributes] if isinstance(attributes, str) else attributes
    editors = model.networks.editors
    return all(learned_editor(editors, model.attributes[index], index) for index in _signs(model, names))


def _edit_linear(
    model: Model, w: Tensor, edit: ResolvedLabelEdit, direction: LinearDirection, unit: StrengthUnit
) -> Tensor:
    """Along one direction for each attribute: to where the classifier is sure, or as far as the strength says."""
    if unit == "auto":
        unit = "sure" if edit.signs else "sigma"
    if unit == "sure" and not edit.signs:
        raise UsageError("where the classifier is sure, only an attribute says: name one", argument="attributes")
    lines = linear_directions(
        direction,
        [model.attributes[index] for index in edit.signs],
        model.networks.generator,
        model.covariance,
        fingerprints=(model.bundle.fingerprint, model.bundle.space),
        styles=edit.styles,
        raw=unit == "raw",
    )
    mask = model.attribute_mask(edit.keep)
    if unit != "sure":
        classifier = model.require_classifier() if edit.keep else None
        change = lines[0]
        if edit.signs:
            change = torch.stack([sign * line for sign, line in zip(edit.signs.values(), lines, strict=True)]).sum(0)
        return add_direction(w, edit.strength * change, classifier, keep=mask, styles=edit.styles)
    goals = _goals(model, attribute_logits(model, w), edit)
    if has_length_of_its_own(direction):  # the way to a goal is looked for in standard deviations
        lines = [scale_to_one_std(line, model.covariance) for line in lines]
    along = dict(zip(goals, lines, strict=True))
    return follow_direction(model.require_classifier(), w, goals, along, keep=mask, styles=edit.styles)


def _edit_learned(model: Model, w: Tensor, edit: ResolvedLabelEdit) -> Tensor:
    """By the edit transformer, one attribute after the other, for codes that are not so already.

    The edit transformer has learned what changes, not when nothing does: the classifier predicts who has it already.
    What follows its change holds the attributes to keep.
    """
    source, keep = w, model.attribute_mask(edit.keep)
    for index, sign in edit.signs.items():
        present = sign * edit.strength > 0
        lacking = lacks(model, w, index, present=present)
        change = learned_change(model, w, index, present=present)
        edited = add_direction(w, change, None, keep=keep, styles=edit.styles)
        goal = (1 if present else -1) * model.bundle.attributes[index].learned_target_logit
        goals = torch.where(lacking, goal, 0.0)
        edited = push_to_logit(model, edited, index, goals, keep=keep, styles=edit.styles)
        w = torch.where(lacking[:, None, None], w + abs(edit.strength) * (edited - w), w)
        keep = keep | model.attribute_mask([model.bundle.attributes[index].name])
    classifier = model.require_classifier() if edit.keep else None
    return add_direction(source, w - source, classifier, keep=model.attribute_mask(edit.keep), styles=edit.styles)


def _edit_preserving(model: Model, w: Tensor, edit: ResolvedLabelEdit) -> Tensor:
    """Along the attribute-preserving direction, which holds all attributes but those related to the ones edited."""
    logits = attribute_logits(model, w)
    goals = _goals(model, logits, edit)
    free = frozenset[str]().union(*(related(model.attributes[index]) for index in goals)) - edit.keep
    given = [model.attributes[index] for index, sign in edit.signs.items() if sign * edit.strength > 0]
    excluded = {name for attribute in given for name in EXCLUDES.get(attribute, ())} & free
    for index, name in enumerate(model.attributes):
        if name in excluded:
            goals.setdefault(index, _goal(logits[:, index], -abs(edit.strength), EXCLUDED_LOGIT))
    return move_to_logits(
        model.require_classifier(),
        w,
        goals,
        keep=~model.attribute_mask(free),
        covariance=model.covariance,
        styles=edit.styles,
    )


def _edit_by_gradient(direction: LabelDirection) -> Callable[[Model, Tensor, ResolvedLabelEdit], Tensor]:
    """Along the attributes' own directions of an order."""

    def technique(model: Model, w: Tensor, edit: ResolvedLabelEdit) -> Tensor:
        return move_to_logits(
            model.require_classifier(),
            w,
            _goals(model, attribute_logits(model, w), edit),
            keep=model.attribute_mask(edit.keep),
            covariance=model.covariance,
            direction=direction,
            styles=edit.styles,
        )

    return technique


_TECHNIQUES: Mapping[Direction, Callable[[Model, Tensor, ResolvedLabelEdit], Tensor]] = {
    "transformer": _edit_learned,
    "preserving": _edit_preserving,
    "first-order": _edit_by_gradient("first-order"),
    "second-order": _edit_by_gradient("second-order"),
}


def lacks(model: Model, w: Tensor, index: int, *, present: bool) -> Tensor:
    """Which codes (B, N, D) lack what is wanted, presence or absence, by the classifier: (B,)."""
    return (attribute_logits(model, w)[:, index] > 0) != present


def learned_change(model: Model, w: Tensor, index: int, *, present: bool) -> Tensor:
    """How the edit transformer gives codes (B, N, D) an attribute by label, or takes it. Raises MissingPartError."""
    editor = learned_editor(model.networks.editors, model.attributes[index], index)
    if editor is None:
        raise MissingPartError(
            f"the model {model.bundle.name!r} has learned no edit of {model.attributes[index]} by label: choose "
            "the direction auto"
        )
    with model.autocast():
        return change_by_label(editor, w, index, present=present)


def push_to_logit(
    model: Model, w: Tensor, index: int, goal: Tensor, *, keep: Tensor, styles: Sequence[int] | None = None
) -> Tensor:
    """Codes (B, N, D), of which those that miss the goal (B,) of an attribute's logit go on to it.

    What is learned from many examples is near their mean, and falls short where the right change is large. The
    preserving direction makes up for it: a greater multiple of the change would also multiply its side effects.
    Goals are reached from above or below as their sign says; 0 is one that every code has reached.
    """
    if not goal.any():
        return w
    missed = goal.sign() * attribute_logits(model, w)[:, index] < goal.abs()
    if not missed.any():
        return w
    unrelated = ~model.attribute_mask(related(model.attributes[index]))
    moved = move_to_logits(
        model.require_classifier(),
        w[missed],
        {index: goal[missed]},
        keep=keep | unrelated,
        covariance=model.covariance,
        styles=styles,
    )
    return w.index_copy(0, missed.nonzero()[:, 0], moved)


def _signs(model: Model, names: Sequence[str]) -> dict[int, int]:
    """Attribute index -> 1 for with, -1 for without. Raises AttributeNameError, MissingPartError, UsageError."""
    if names:
        model.require_classifier()
    signs: dict[int, int] = {}
    for name in names:
        attribute, sign = resolve_attribute(name, model.attributes)
        if signs.setdefault(model.attributes.index(attribute), sign) != sign:
            raise UsageError(f"{attribute} is named both ways: name it once")
    return signs


def _goals(model: Model, logits: Tensor, edit: ResolvedLabelEdit) -> dict[int, Tensor]:
    """Attribute index -> the logits (B,) to reach from `logits` (B, K)."""
    return {
        index: _goal(logits[:, index], sign * edit.strength, model.bundle.attributes[index].target_logit)
        for index, sign in edit.signs.items()
    }


def _goal(logit: Tensor, strength: float, target: float) -> Tensor:
    """The logit that an edit of this strength aims for (see `Engine.edit_by_label`)."""
    direction = 1.0 if strength >= 0 else -1.0
    start, amount = logit * direction, abs(strength)
    goal = torch.where(
        start < target, start + amount * (target - start), torch.maximum(start, start.new_tensor(amount * target))
    )
    return goal * direction
