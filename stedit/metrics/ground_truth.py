"""Ground-truth edits: pairs of images that differ in one attribute and nothing else, and edits compared with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stedit.engine import Engine
from stedit.errors import InputError
from stedit.imaging.files import Pixels
from stedit.imaging.sources import ImageRef
from stedit.metrics.distortion import Numbers, l2
from stedit.metrics.identity import similarity
from stedit.metrics.results import GroundTruthResult
from stedit.storage.jsonl import read_records


@dataclass(frozen=True)
class Pair:
    """An image without an attribute and the same with it."""

    identity: str
    attribute: str
    without: ImageRef
    with_it: ImageRef


def read_pairs(records: Sequence[Path], entries: Iterable[ImageRef]) -> list[Pair]:
    """The pairs of `records`, in their order.

    A record holds "id", "identity", "attribute" and "value": 1 with the attribute, 0 without. Raises InputError if a
    image is not among the `entries`.
    """
    images = {entry.id: entry for entry in entries}
    found: dict[tuple[str, str], dict[int, ImageRef]] = {}
    for path in records:
        for record in read_records(path):
            try:
                key, value = (str(record["identity"]), str(record["attribute"])), int(record["value"])
                name = str(record["id"])
            except (KeyError, TypeError, ValueError) as error:
                raise InputError(
                    f"{path} holds a record without 'id', 'identity', 'attribute' or 'value': give records of pairs"
                ) from error
            if name not in images:
                raise InputError(f"{path} names the image {name}, which is not there: give its folder or archive too")
            found.setdefault(key, {})[value] = images[name]
    return [
        Pair(identity, attribute, values[0], values[1])
        for (identity, attribute), values in found.items()
        if {0, 1} <= set(values)
    ]


class GroundTruthTally:
    """Adds up, for one edit, how far from the true images the reconstructions and the edits are."""

    def __init__(self) -> None:
        self.images = 0
        self._sums = dict.fromkeys((f"{by}_{what}" for by in ("l2", "judge") for what in _WHAT), 0.0)

    def add(self, engine: Engine, *, reconstructions: Pixels, edits: Pixels, best: Pixels, truth: Pixels) -> None:
        """Take in images (B, R, R, 3): unedited, edited, the reconstructed truth, and the truth."""
        self.images += len(truth)
        for by, distances in (
            ("l2", [l2(images, truth) for images in (reconstructions, edits, best)]),
            ("judge", [feature_distance(engine, images, truth) for images in (reconstructions, edits, best)]),
        ):
            before, after, reached = distances
            for what, values in zip(_WHAT, (before, after, reached, after < before), strict=True):
                self._sums[f"{by}_{what}"] += float(values.sum())

    def result(self, method: str, direction: str, strength: float, attribute: str) -> GroundTruthResult:
        """Means over all images that were added."""
        means = {name: total / self.images for name, total in self._sums.items()}
        return GroundTruthResult(method, direction, strength, attribute, self.images, **means)


_WHAT = ("before", "after", "best", "closer")


def feature_distance(engine: Engine, images: Pixels, others: Pixels) -> Numbers:
    """1 - cosine (B,) of the judge's embeddings."""
    return 1 - similarity(engine.attribute_features(images), engine.attribute_features(others))
