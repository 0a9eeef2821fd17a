"""The edit transformer's changes of codes, by reference or by label, and which transformer makes them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from stedit.errors import MissingPartError
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


@torch.no_grad()
def change_by_reference(editor: EditTransformer, w: Tensor, references: Tensor, index: int) -> Tensor:
    """How the edit transformer changes codes (B, N, D) to follow as many references (Hu et al. 2022, section 3.3)."""
    answer: Tensor = editor(w, references, condition_for(editor, w, index)).float()
    return answer - w


@torch.no_grad()
def change_by_label(editor: EditTransformer, w: Tensor, index: int, *, present: bool) -> Tensor:
    """How the edit transformer changes codes (B, N, D) to give them an attribute that it knows, or to take it away."""
    targets = torch.full((w.shape[0],), present, device=w.device)
    return editor.by_label(w, targets, condition_for(editor, w, index)).float() - w


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
    """The condition of an editor: (B,), the attribute's index for every code; None for an unconditional one."""
    return torch.full((w.shape[0],), index, device=w.device) if editor.config.attributes else None
