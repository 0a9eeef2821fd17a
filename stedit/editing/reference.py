"""The edit transformer's answers, by as much as was asked for: from one reference or several, or to a label alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from stedit.errors import MissingPartError, UsageError
from stedit.models.edit_transformer import EditTransformer
from stedit.models.latent_classifier import LatentClassifier

MOST = 2.0  # times that a change may be made for the classifier to see it
TRIED = 9  # multiples up to that


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
def change_by_reference(
    editor: EditTransformer, w: Tensor, references: Sequence[Tensor], index: int, weights: Sequence[float]
) -> Tensor:
    """How the edit transformer changes codes to follow references (Hu et al. 2022, section 3.3).

    Several references are weighed by their answers, not by their codes: the transformer has been trained on codes of
    faces, and the mean of a face with glasses and one without is none. All answers are the source with one attribute
    exchanged, so the space between them is safe, and a weight means the same as a strength.

    Args:
        editor: takes the index if it is conditional.
        w: (B, N, D) source codes.
        references: each (1 or B, N, D).
        index: of the attribute.
        weights: of the references, with the sum 1.

    Returns:
        (B, N, D) the change.
    """
    condition = condition_for(editor, w, index)
    answer = torch.zeros_like(w)
    for reference, weight in zip(references, weights, strict=True):
        answer += weight * editor(w, reference.expand_as(w), condition).float()
    return answer - w


@torch.no_grad()
def change_by_label(editor: EditTransformer, w: Tensor, index: int, *, present: bool) -> Tensor:
    """How the edit transformer changes codes (B, N, D) to give them an attribute that it knows, or to take it away."""
    wanted = torch.full((w.shape[0],), present, device=w.device)
    return editor.by_label(w, wanted, condition_for(editor, w, index)).float() - w


@torch.no_grad()
def until_seen(classifier: LatentClassifier, w: Tensor, change: Tensor, index: int, goal: Tensor) -> Tensor:
    """How many times a change is to be made until the classifier sees it, or sees it best, from 1 to `MOST`.

    What is learned from many examples is near their mean, and falls short where the right change is large.

    Args:
        classifier: tells how far the attribute has come.
        w: (B, N, D) codes.
        change: (B, N, D) of these.
        index: of the attribute.
        goal: (B,) logits to reach, from above or below as their sign says; 0 where the change is made once.

    Returns:
        (B, 1, 1) multiples.
    """
    if not goal.any():
        return torch.ones_like(w[:, :1, :1])
    multiples = torch.linspace(1, MOST, TRIED, device=w.device)
    reached = torch.stack([goal.sign() * classifier(w + times * change)[:, index] for times in multiples])  # (T, B)
    enough = reached >= goal.abs()
    first = torch.where(enough.any(dim=0), enough.int().argmax(dim=0), reached.argmax(dim=0))
    before = (first - 1).clamp_min(0)
    low, high = (reached.gather(0, place[None])[0] for place in (before, first))
    share = torch.where(high > low, (goal.abs() - low) / (high - low), 1.0).clamp(0, 1)  # of the last step
    return torch.lerp(multiples[before], multiples[first], share)[:, None, None]


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
