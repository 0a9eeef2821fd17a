"""Effects of edits, as the judge predicts attributes of the rendered images.

An edit aims at a state of one attribute, and succeeds where that state is predicted afterwards. Every other attribute
whose prediction changes is a side effect. Left out are those related to the edited one by definition, and those that
one of these excludes where it changes: a bald head with bangs is bald no longer, so its hair has a colour.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stedit.editing.attributes import excluded_by, related
from stedit.engine import Engine
from stedit.metrics.results import EditResult
from stedit.runtime.arrays import Latents, LatentsT

Predicted = NDArray[np.bool_]  # (B, K): which attributes the judge predicts
Numbers = NDArray[np.float64]


class EditTally:
    """Adds up what one edit does, batch by batch."""

    def __init__(self, attribute: int, attributes: Sequence[str]) -> None:
        self.attribute, self._attributes = attribute, attributes
        self.others = unrelated(attributes[attribute], attributes)
        self._asked = np.zeros(2, int)  # images that lacked the target state: to be removed, to be added
        self._done = np.zeros(2, int)
        self._images = self._followed = 0
        self._sums = dict.fromkeys(("side_effects", "identity", "logit_drift", "code_distance", "seconds"), 0.0)

    def add(
        self,
        before: Predicted,
        after: Predicted,
        wanted: NDArray[np.bool_],
        *,
        identity: Numbers,
        logit_drift: Numbers,
        code_distance: Numbers,
        seconds: float,
    ) -> None:
        """Take in a batch: attributes predicted before and after (B, K), and the target state (B,)."""
        reached = after[:, self.attribute] == wanted
        lacking = before[:, self.attribute] != wanted
        for state in (0, 1):
            asked = lacking & (wanted == state)
            self._asked[state] += asked.sum()
            self._done[state] += (asked & reached).sum()
        self._images += len(before)
        self._followed += int(reached.sum())
        if self.others.any():
            self._sums["side_effects"] += float(
                side_effects(after != before, self._attributes[self.attribute], self._attributes).sum()
            )
        self._sums["identity"] += float(identity.sum())
        self._sums["logit_drift"] += float(logit_drift.sum())
        self._sums["code_distance"] += float(code_distance.sum())
        self._sums["seconds"] += seconds

    def result(
        self, by: Literal["label", "reference"], method: str, direction: str | None, strength: float, attribute: str
    ) -> EditResult:
        """Shares and means over all images that were added."""
        means: dict[str, float | None] = {name: _share(total, self._images) for name, total in self._sums.items()}
        if not self.others.any():
            means["side_effects"] = means["logit_drift"] = None
        return EditResult(
            by=by,
            method=method,
            direction=direction,
            strength=strength,
            attribute=attribute,
            images=self._images,
            success=_share(self._followed, self._images),
            added_images=int(self._asked[1]),
            added=_share(self._done[1], self._asked[1]),
            removed_images=int(self._asked[0]),
            removed=_share(self._done[0], self._asked[0]),
            **means,
        )


def unrelated(attribute: str, attributes: Sequence[str]) -> NDArray[np.bool_]:
    """(K,): which attributes an edit of `attribute` must not change."""
    free = related(attribute)
    return np.array([name not in free for name in attributes], bool)


def side_effects(changed: Predicted, attribute: str, attributes: Sequence[str]) -> Numbers:
    """Share (B,) of the attributes that an edit of `attribute` must not change, but does: `changed` (B, K).

    What a related attribute that changed excludes does not count.
    """
    others = unrelated(attribute, attributes)
    excludes = np.array([[other in excluded_by(name) for other in attributes] for name in attributes], bool)
    counted = others & ~((changed & ~others) @ excludes)
    return np.asarray((changed & counted).sum(axis=1) / np.maximum(counted.sum(axis=1), 1), np.float64)


def set_attribute(
    engine: Engine, codes: LatentsT, attribute: str, wanted: NDArray[np.bool_] | Tensor, strength: float, direction: str
) -> LatentsT:
    """Give codes (B, N, D) the attribute where `wanted` (B,), and take it away elsewhere; arrays, or tensors."""
    edited = copy.deepcopy(codes)
    for chosen, sign in ((wanted, 1), (~wanted, -1)):
        if chosen.any():
            edited[chosen] = engine.edit_by_label(
                codes[chosen], attribute, strength=sign * strength, direction=direction
            )
    return edited


def logit_drift(engine: Engine, codes: Latents, edited: Latents, others: NDArray[np.bool_]) -> Numbers:
    """Mean absolute change (B,) of the latent classifier's logits of the `others`; 0 without a classifier."""
    network = engine.networks.classifier
    if network is None or not others.any():
        return np.zeros(len(codes))
    moved = np.abs(_logits(network, edited, engine.device) - _logits(network, codes, engine.device))
    return np.asarray(moved[:, others].mean(axis=1), np.float64)


def code_distance(codes: Latents, edited: Latents) -> Numbers:
    """Root mean square change (B,) of the numbers in a code."""
    return np.asarray(np.sqrt(np.square(edited.astype(np.float64) - codes).mean(axis=(1, 2))))


def _logits(network: nn.Module, codes: Latents, device: torch.device) -> NDArray[np.float32]:
    with torch.no_grad():
        return cast("NDArray[np.float32]", network(torch.from_numpy(codes).to(device)).cpu().numpy())


def _share(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None
