"""Which kind of glasses or beard, and which hair colour, a picture shows: linear probes on the judge's features.

An attribute says only that there are glasses. Where labels tell their kind, a ridge regression from the judge's
embedding to the kind is fitted on pictures that take no other part in the evaluation, and read off the edits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from stedit.metrics.results import KindResult
from stedit.storage.labels import Label

Kind = Literal["glasses_type", "beard_type", "hair_rgb"]
Matrix = NDArray[np.float64]

KIND_OF: Mapping[str, Kind] = {
    "Eyeglasses": "glasses_type",
    "No_Beard": "beard_type",
    "Black_Hair": "hair_rgb",
    "Blond_Hair": "hair_rgb",
    "Brown_Hair": "hair_rgb",
    "Gray_Hair": "hair_rgb",
}
MIN_PICTURES = 100
"""That show a kind: with fewer, a probe reads little."""
_RIDGE = 0.1  # of the mean squared length of the features
_USEFUL = 0.7  # share of the errors of a guess that a probe may make
_CLEAR = 0.15  # distance of two hair colours that a person would call different


@dataclass(frozen=True)
class Probe:
    """Reads one kind from the judge's embedding."""

    kind: Kind
    values: tuple[int, ...]  # the kinds in the order of the outputs; () for a colour
    mean: Matrix  # (F,)
    weight: Matrix  # (F, outputs)
    bias: Matrix  # (outputs,)

    @classmethod
    def fit(cls, kind: Kind, embeddings: NDArray[Any], labels: Sequence[Label]) -> Self | None:
        """Fit to embeddings (B, F) and their labels.

        None if too few of them show a kind, or if the probe reads pictures held back hardly better than a guess does.
        """
        shown = [i for i, label in enumerate(labels) if shows(kind, label)]
        if len(shown) < MIN_PICTURES:
            return None
        held_back = shown[::5]
        shown = sorted({*shown} - {*held_back})
        told = [labels[i].details[kind] for i in shown]
        values: tuple[int, ...] = ()
        if kind == "hair_rgb":
            targets = np.array(told, float)  # (B, 3)
        else:
            values = tuple(sorted({int(value) for value in told}))
            targets = np.array([[int(value) == one for one in values] for value in told], float)  # (B, kinds)
        features = embeddings[shown].astype(np.float64)
        mean, bias = features.mean(axis=0), targets.mean(axis=0)
        features -= mean
        gram = features @ features.T  # the dual form: fewer pictures than features
        gram[np.diag_indices_from(gram)] += _RIDGE * np.trace(gram) / len(gram)
        weight = features.T @ np.linalg.solve(gram, targets - bias)
        probe, guess = (cls(kind, values, mean, factor, bias) for factor in (weight, 0 * weight))
        tests = embeddings[held_back], [labels[i] for i in held_back]
        return probe if probe.errors(*tests).mean() <= _USEFUL * guess.errors(*tests).mean() else None

    def errors(self, embeddings: NDArray[Any], labels: Sequence[Label]) -> Matrix:
        """How wrong (B,) the labels' kinds are by what is read: 0 or 1 for a kind, the distance for a colour."""
        read = (embeddings.astype(np.float64) - self.mean) @ self.weight + self.bias
        told = [label.details[self.kind] for label in labels]
        if not self.values:
            return np.asarray(np.linalg.norm(read - np.array(told, float), axis=1))
        return np.array([self.values[i] != int(kind) for i, kind in zip(read.argmax(axis=1), told, strict=True)], float)


def shows(kind: Kind, label: Label | None) -> bool:
    """Whether a label tells a kind that there is something of: glasses, a beard, or hair that no hat hides."""
    if label is None or kind not in label.details:
        return False
    if kind == "hair_rgb":
        return not any(label.attributes.get(name, 0) > 0.5 for name in ("Bald", "Wearing_Hat"))
    return int(label.details[kind]) > 0


def differ(kind: Kind, label: Label, other: Label) -> bool:
    """Whether two labels tell different kinds, or hair colours that are clearly different."""
    mine, theirs = label.details.get(kind), other.details.get(kind)
    if mine is None or theirs is None:
        return False
    if kind == "hair_rgb":
        distance = np.linalg.norm(np.array(mine, float) - np.array(theirs, float))
        return shows(kind, label) and bool(distance > _CLEAR)
    return int(mine) != int(theirs)


class KindTally:
    """Adds up, for one attribute, how the kind is read before and after the edit, and off the references."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self._pictures = 0
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
        kind = self.probe.kind
        pairs = list(enumerate(zip(labels, references, strict=True)))
        chosen = [
            i for i, (mine, theirs) in pairs if mine and theirs and shows(kind, theirs) and differ(kind, mine, theirs)
        ]
        wanted = [label for i in chosen if (label := references[i])]
        if chosen:
            self._pictures += len(chosen)
            self._sums += [self.probe.errors(look[chosen], wanted).sum() for look in (before, after, reference)]

    def result(self, method: str, attribute: str) -> KindResult | None:
        """Shares of the reference's kind, or distances from its colour; None if no picture asked for another kind."""
        if not self._pictures:
            return None
        errors = self._sums / self._pictures
        before, after, reference = (1 - errors if self.probe.values else errors).tolist()
        return KindResult(method, attribute, self.probe.kind, self._pictures, before, after, reference)
