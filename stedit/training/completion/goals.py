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

    def effects(self, edited: Tensor, chosen: Tensor, attribute: str) -> tuple[Tensor, Tensor]:
        """Of the codes `chosen` (M,), edited (C, N, D): which show the attribute after, and side effects, (C,) each."""
        attributes = self.renderer.labeller.attributes
        after = self.renderer.logits(edited) > 0
        before = self.before[chosen]
        changed = side_effects((after != before).numpy(), attribute, attributes)
        return after[:, attributes.index(attribute)], torch.from_numpy(changed)

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
        state = self.before[:, index]
        with_it, without = state.nonzero()[:, 0], (~state).nonzero()[:, 0]
        reference = torch.zeros(len(state), dtype=torch.int64)
        for rows, others in ((with_it, without), (without, with_it)):
            if len(others):
                reference[rows] = others[torch.arange(len(rows)) % len(others)]
        chosen = torch.full_like(state, bool(len(with_it) and len(without)))
        edit = partial(
            Engine.edit_by_reference,
            codes=self.codes[chosen],
            references=self.codes[reference[chosen]],
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
            figures[kind] = round((shown == wanted).float().mean().item(), 4)
            figures[f"{kind}_side_effects"] = round(effects.mean().item(), 4)
            figures[f"{kind}_edits"] = int(chosen.sum())
    return figures


def _least(
    engine: Engine, probes: Probes, candidates: Sequence[AttributeSpec], chosen: Tensor, wanted: Tensor, edit: Edit
) -> AttributeSpec:
    """The candidate after which the next is worse: by the share in which its edit shows, less its side effects."""
    best, found = -math.inf, candidates[0]
    weight = SIDE_EFFECTS * min(1.0, unrelated(found.name, engine.attributes).sum() / FEW)
    for candidate in candidates if chosen.any() else ():
        shown, effects = probes.effects(edit(with_spec(engine, candidate)), chosen, candidate.name)
        score = (shown == wanted).float().mean().item() - weight * effects.mean().item()
        if score <= best:
            break
        best, found = score, candidate
    return found


def with_spec(engine: Engine, spec: AttributeSpec) -> Engine:
    """The engine with another spec of one attribute."""
    specs = tuple(spec if item.name == spec.name else item for item in engine.bundle.attributes)
    return Engine(replace(engine.model, bundle=replace(engine.bundle, attributes=specs)))
