"""The edit transformer's answers, by as much as was asked for: from one reference or several, or to a label alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from stedit.errors import MissingPartError, UsageError
from stedit.models.edit_transformer import EditTransformer


def editor_for(editors: Mapping[str, EditTransformer], attribute: str, model: str) -> EditTransformer:
    """The edit transformer of an attribute: one of its own, or the one of the model. Raises MissingPartError.

    Args:
        editors: parts of the model: "editor", "editor-Smiling".
        attribute: CelebA's name.
        model: its name, for the error.
    """
    found = editors.get(f"editor-{attribute}") or editors.get("editor")
    if found:
        return found
    if editors:
        names = ", ".join(sorted(name.removeprefix("editor-") for name in editors))
        raise MissingPartError(f"the model {model!r} has no editor for {attribute}: it has those for {names}")
    raise MissingPartError(f"the model {model!r} has no editor: choose a model that has one")


def shares(weights: Sequence[float] | None, count: int) -> list[float]:
    """Weights of references divided by their sum; equal ones if None. Raises UsageError unless they fit and are > 0."""
    if weights is None:
        return [1 / count] * count
    if len(weights) != count:
        raise UsageError(f"there are {len(weights)} weights for {count} references: give one for each")
    if any(not 0 < weight < float("inf") for weight in weights):
        raise UsageError("weights of references are numbers above 0: give such as 0.7,0.3")
    return [weight / sum(weights) for weight in weights]


@torch.no_grad()
def edit_by_reference(
    editor: EditTransformer,
    w: Tensor,
    references: Sequence[Tensor],
    index: int,
    *,
    weights: Sequence[float],
    strength: float = 1.0,
) -> Tensor:
    """Move codes to the edit transformer's answer (Hu et al. 2022, section 3.3).

    Several references are weighed by their answers, not by their codes: the transformer has been trained on codes of
    faces, and the mean of a face with glasses and one without is none. All answers are the source with one attribute
    exchanged, so the space between them is safe, and a weight means the same as a strength.

    Args:
        editor: takes the index if it is conditional.
        w: (B, N, D) source codes.
        references: each (1 or B, N, D).
        index: of the attribute.
        weights: of the references, with the sum 1.
        strength: 1 goes to the answer, 0 nowhere, others in proportion.

    Returns:
        (B, N, D) edited codes.
    """
    condition = condition_for(editor, w, index)
    answer = torch.zeros_like(w)
    for reference, weight in zip(references, weights, strict=True):
        answer += weight * editor(w, reference.expand_as(w), condition).float()
    return torch.lerp(w, answer, strength)


@torch.no_grad()
def edit_by_learned_label(editor: EditTransformer, w: Tensor, index: int, *, strength: float) -> Tensor:
    """Move codes by what the edit transformer has learned of an attribute, without a reference.

    Args:
        editor: one that knows the label.
        w: (B, N, D) source codes.
        index: of the attribute.
        strength: above 0 gives the attribute, below 0 takes it away; times the transformer's change.

    Returns:
        (B, N, D) edited codes.
    """
    present = torch.full((w.shape[0],), strength > 0, device=w.device)
    answer = editor.by_label(w, present, condition_for(editor, w, index)).float()
    return torch.lerp(w, answer, abs(strength))


def learned_editor(editors: Mapping[str, EditTransformer], attribute: str, index: int) -> EditTransformer | None:
    """The edit transformer that makes the edit of an attribute without a reference, if there is one.

    Args:
        editors: parts of the model: "editor", "editor-Smiling".
        attribute: CelebA's name.
        index: its number.
    """
    own, general = editors.get(f"editor-{attribute}"), editors.get("editor")
    if own and own.config.labels:
        return own
    return general if general and general.config.attributes and index in general.config.labels else None


def condition_for(editor: EditTransformer, w: Tensor, index: int) -> Tensor | None:
    """What tells a conditional editor the attribute: (B,), the index for every code; None for an unconditional one."""
    return torch.full((w.shape[0],), index, device=w.device) if editor.config.attributes else None
