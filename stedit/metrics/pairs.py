"""Edits beside the truth: pairs of pictures that differ in one attribute and nothing else."""

from __future__ import annotations

from stedit.engine import Engine
from stedit.imaging.files import Pixels
from stedit.metrics.distortion import Numbers, l2
from stedit.metrics.identity import similarity
from stedit.metrics.results import PairResult


class PairTally:
    """Adds up, for one edit, how far from the true pictures the reconstructions and the edits are."""

    def __init__(self) -> None:
        self.pictures = 0
        self._sums = dict.fromkeys((f"{by}_{what}" for by in ("l2", "judge") for what in _WHAT), 0.0)

    def add(self, engine: Engine, *, reconstructions: Pixels, edits: Pixels, best: Pixels, truth: Pixels) -> None:
        """Take in pictures (B, R, R, 3): unedited, edited, the reconstructed truth, and the truth."""
        self.pictures += len(truth)
        for by, distances in (
            ("l2", [l2(pictures, truth) for pictures in (reconstructions, edits, best)]),
            ("judge", [judge_distance(engine, pictures, truth) for pictures in (reconstructions, edits, best)]),
        ):
            before, after, reached = distances
            for what, values in zip(_WHAT, (before, after, reached, after < before), strict=True):
                self._sums[f"{by}_{what}"] += float(values.sum())

    def result(self, method: str, direction: str, strength: float, attribute: str) -> PairResult:
        """Means over all pictures that were added."""
        means = {name: total / self.pictures for name, total in self._sums.items()}
        return PairResult(method, direction, strength, attribute, self.pictures, **means)


_WHAT = ("before", "after", "best", "closer")


def judge_distance(engine: Engine, pictures: Pixels, others: Pixels) -> Numbers:
    """1 - cosine (B,) of the judge's embeddings."""
    return 1 - similarity(engine.attribute_features(pictures), engine.attribute_features(others))
