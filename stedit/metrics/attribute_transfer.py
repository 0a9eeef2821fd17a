"""Which type of glasses or beard, and which hair colour, an image shows: linear probes on the judge's features.

An attribute says only that there are glasses. Where labels give their type, a ridge regression from the judge's
features to the type is fitted on images that take no other part in the evaluation, and applied to the edits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from stedit.metrics.results import TransferResult
from stedit.storage.labels import Label

FineAttribute = Literal["glasses_type", "beard_type", "hair_rgb"]
Matrix = NDArray[np.float64]

FINE_ATTRIBUTE_OF: Mapping[str, FineAttribute] = {
    "Eyeglasses": "glasses_type",
    "No_Beard": "beard_type",
    "Black_Hair": "hair_rgb",
    "Blond_Hair": "hair_rgb",
    "Brown_Hair": "hair_rgb",
    "Gray_Hair": "hair_rgb",
}
MIN_IMAGES = 100
"""With a label of the fine attribute: with fewer, a probe predicts little."""
_RIDGE = 0.1  # of the mean squared length of the features
_USEFUL = 0.7  # share of the errors of a guess that a probe may make
_CLEAR = 0.15  # distance of two hair colours that a person would call different


@dataclass(frozen=True)
class Probe:
    """Predicts one fine attribute from the judge's features."""

    fine_attribute: FineAttribute
    values: tuple[int, ...]  # the types in the order of the outputs; () for a colour
    mean: Matrix  # (F,)
    weight: Matrix  # (F, outputs)
    bias: Matrix  # (outputs,)

    @classmethod
    def fit(cls, fine: FineAttribute, embeddings: NDArray[Any], labels: Sequence[Label]) -> Self | None:
        """Fit to embeddings (B, F) and their labels.

        None if too few of them have it, or if the probe is hardly better on held-out images than a guess is.
        """
        shown = [i for i, label in enumerate(labels) if shows(fine, label)]
        if len(shown) < MIN_IMAGES:
            return None
        held_out = shown[::5]
        shown = sorted({*shown} - {*held_out})
        known = [labels[i].details[fine] for i in shown]
        values: tuple[int, ...] = ()
        if fine == "hair_rgb":
            targets = np.array(known, float)  # (B, 3)
        else:
            values = tuple(sorted({int(value) for value in known}))
            targets = np.array([[int(value) == one for one in values] for value in known], float)  # (B, types)
        features = embeddings[shown].astype(np.float64)
        mean, bias = features.mean(axis=0), targets.mean(axis=0)
        features -= mean
        gram = features @ features.T  # the dual form: fewer images than features
        gram[np.diag_indices_from(gram)] += _RIDGE * np.trace(gram) / len(gram)
        weight = features.T @ np.linalg.solve(gram, targets - bias)
        probe, guess = (cls(fine, values, mean, factor, bias) for factor in (weight, 0 * weight))
        tests = embeddings[held_out], [labels[i] for i in held_out]
        return probe if probe.errors(*tests).mean() <= _USEFUL * guess.errors(*tests).mean() else None

    def errors(self, embeddings: NDArray[Any], labels: Sequence[Label]) -> Matrix:
        """Errors (B,) of the predictions: 0 or 1 for a type, the distance for a colour."""
        predicted = (embeddings.astype(np.float64) - self.mean) @ self.weight + self.bias
        known = [label.details[self.fine_attribute] for label in labels]
        if not self.values:
            return np.asarray(np.linalg.norm(predicted - np.array(known, float), axis=1))
        return np.array(
            [self.values[i] != int(one) for i, one in zip(predicted.argmax(axis=1), known, strict=True)], float
        )


def shows(fine: FineAttribute, label: Label | None) -> bool:
    """Whether a label gives the type of something that is there: glasses, a beard, or hair that no hat hides."""
    if label is None or fine not in label.details:
        return False
    if fine == "hair_rgb":
        return not any(label.attributes.get(name, 0) > 0.5 for name in ("Bald", "Wearing_Hat"))
    return int(label.details[fine]) > 0


def differ(fine: FineAttribute, label: Label, other: Label) -> bool:
    """Whether two labels give different types, or hair colours that are clearly different."""
    mine, theirs = label.details.get(fine), other.details.get(fine)
    if mine is None or theirs is None:
        return False
    if fine == "hair_rgb":
        distance = np.linalg.norm(np.array(mine, float) - np.array(theirs, float))
        return shows(fine, label) and bool(distance > _CLEAR)
    return int(mine) != int(theirs)


class TransferTally:
    """Adds up, for one attribute, errors of the fine attribute before and after the edit, and of the references."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self._images = 0
        self._sums = np.zeros(3)

    def add(
        self,
        labels: Sequence[Label | None],
        references: Sequence[Label | None],
        *,
        before: NDArray[Any],
        after: NDArray[Any],
        reference: NDArray[Any],
    ) -> None:
        """Take in the judge's embeddings (B, F) of reconstructions, edits and the references' reconstructions."""
        fine = self.probe.fine_attribute
        pairs = list(enumerate(zip(labels, references, strict=True)))
        chosen = [
            i for i, (mine, theirs) in pairs if mine and theirs and shows(fine, theirs) and differ(fine, mine, theirs)
        ]
        targets = [label for i in chosen if (label := references[i])]
        if chosen:
            self._images += len(chosen)
            self._sums += [
                self.probe.errors(features[chosen], targets).sum() for features in (before, after, reference)
            ]

    def result(self, method: str, attribute: str) -> TransferResult | None:
        """Shares of the reference's type, or distances from its colour; None if no edit was to change it."""
        if not self._images:
            return None
        errors = self._sums / self._images
        before, after, reference = (1 - errors if self.probe.values else errors).tolist()
        return TransferResult(method, attribute, self.probe.fine_attribute, self._images, before, after, reference)
