"""How far edits must go to show, and how often they do, as the labeller sees the images of held-out codes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from stedit.engine import Engine
from stedit.metrics.editing import set_attribute, side_effects, unrelated
from stedit.storage.bundle_config import AttributeSpec
from stedit.training.completion.samples import Renderer

TARGET_LOGITS = (2.0, 3.5, 5.5, 8.0, 12.0, 18.0)  # candidates for edits along the classifier's direction
REFERENCE_TARGET_LOGITS = (0.0, 3.0, 5.0, 8.0, 12.0)  # and for edits by reference, beyond the edit transformer
SIDE_EFFECTS = 2.0  # how much a share of side effects weighs against the share of images in which an edit shows
SURE = 3.0  # logit, a probability of 0.95: no edit need be seen more surely
FEW = 10  # unrelated attributes: of fewer, a single one that changes is a large share, and weighs less

Edit = Callable[[Engine], Tensor]


@dataclass(frozen=True)
class Probes:
    """Codes that are edited, always the same, and what the labeller sees of them."""

    renderer: Renderer
    codes: Tensor
    """(M, N, D)."""
    before: Tensor
    """(M, K) bool."""
    references: Tensor
    """(R, N, D), of which those with or without an attribute are taken as references, and"""
    logits: Tensor
    """(R, K), what the labeller gives these."""

    def effects(self, edited: Tensor, chosen: Tensor, attribute: str) -> tuple[Tensor, Tensor]:
        """Of the codes `chosen` (M,), edited (C, N, D): the attribute's logit after, and side effects, (C,) each."""
        attributes = self.renderer.labeller.attributes
        after = self.renderer.logits(edited)
        changed = side_effects(((after > 0) != self.before[chosen]).numpy(), attribute, attributes)
        return after[:, attributes.index(attribute)], torch.from_numpy(changed)

    def surely(self, index: int, wanted: Tensor, logits: Tensor) -> Tensor:
        """Which edits (C,) the labeller sees as surely as it does in half of the codes that are so without an edit.

        Just beyond its boundary is not enough: it may be another's to be seen there, and its own to err.
        """
        known = self.logits[:, index]
        least, most = (
            part.median().clamp(-SURE, SURE) if len(part) else known.new_zeros(())
            for part in (known[known <= 0], known[known > 0])
        )
        return torch.where(wanted, logits >= most, logits <= least)

    def by_label(self, index: int) -> tuple[Tensor, Tensor, Edit]:
        """The edit by label of each code to the opposite of what is seen: the codes, what is wanted, the edit."""
        wanted = ~self.before[:, index]
        chosen = torch.ones_like(wanted)
        name = self.renderer.labeller.attributes[index]
        edit = partial(
            set_attribute, codes=self.codes, attribute=name, wanted=wanted, strength=1.0, direction="preserving"
        )
        return chosen, wanted, edit

    def by_reference(self, index: int) -> tuple[Tensor, Tensor, Edit]:
        """The edit of each code by a reference that is seen to differ; where none differs, of no code."""
        state, chosen = self.before[:, index], torch.zeros(len(self.codes), dtype=torch.bool)
        reference = torch.zeros(len(state), dtype=torch.int64)
        for wanted in (True, False):
            rows = (state != wanted).nonzero()[:, 0]
            others = ((self.logits[:, index] > 0) == wanted).nonzero()[:, 0]
            if len(others):
                reference[rows], chosen[rows] = others[torch.arange(len(rows)) % len(others)], True
        edit = partial(
            Engine.edit_by_reference,
            codes=self.codes[chosen],
            references=self.references[reference[chosen]],
            attributes=self.renderer.labeller.attributes[index],
        )
        return chosen, ~state[chosen], edit


def fit_goals(engine: Engine, probes: Probes, index: int) -> AttributeSpec:
    """The spec of an attribute with the logits at which its edits show, by label and by reference."""
    spec = engine.bundle.attributes[index]
    candidates = [replace(spec, target_logit=value) for value in TARGET_LOGITS]
    spec = _least(engine, probes, candidates, *probes.by_label(index))
    candidates = [replace(spec, reference_target_logit=value) for value in REFERENCE_TARGET_LOGITS]
    return _least(engine, probes, candidates, *probes.by_reference(index))


def measure_edits(engine: Engine, probes: Probes, index: int) -> dict[str, Any]:
    """Shares of edits that show, and of unrelated attributes that change, by label and by reference."""
    name = engine.attributes[index]
    figures: dict[str, Any] = {}
    for kind, (chosen, wanted, edit) in (("label", probes.by_label(index)), ("reference", probes.by_reference(index))):
        if chosen.any():
            shown, effects = probes.effects(edit(engine), chosen, name)
            figures[kind] = round(((shown > 0) == wanted).float().mean().item(), 4)
            figures[f"{kind}_side_effects"] = round(effects.mean().item(), 4)
            figures[f"{kind}_edits"] = int(chosen.sum())
    return figures


def _least(
    engine: Engine, probes: Probes, candidates: Sequence[AttributeSpec], chosen: Tensor, wanted: Tensor, edit: Edit
) -> AttributeSpec:
    """The candidate after which the next is worse: by the share of sure edits, less their side effects."""
    best, found = -math.inf, candidates[0]
    index = engine.attributes.index(found.name)
    weight = SIDE_EFFECTS * min(1.0, unrelated(found.name, engine.attributes).sum() / FEW)
    for candidate in candidates if chosen.any() else ():
        shown, effects = probes.effects(edit(with_spec(engine, candidate)), chosen, candidate.name)
        sure = probes.surely(index, wanted, shown)
        score = sure.float().mean().item() - weight * effects.mean().item()
        if score <= best:
            break
        best, found = score, candidate
    return found


def with_spec(engine: Engine, spec: AttributeSpec) -> Engine:
    """The engine with another spec of one attribute."""
    specs = tuple(spec if item.name == spec.name else item for item in engine.bundle.attributes)
    return Engine(replace(engine.model, bundle=replace(engine.bundle, attributes=specs)))
