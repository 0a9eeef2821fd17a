"""Images read a batch at a time, and what the model's judge and identity network predict from them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
import torch

from stedit.engine import Engine
from stedit.errors import ImageError
from stedit.imaging.files import Pixels, fit_image
from stedit.imaging.sources import ImageReader, ImageRef
from stedit.metrics import distortion
from stedit.metrics.editing import Predicted
from stedit.metrics.ground_truth import Pair
from stedit.metrics.identity import Embeddings, Identity
from stedit.metrics.results import JudgeResult, Results, Settings
from stedit.runtime.arrays import Latents
from stedit.storage.labels import Label

T = TypeVar("T")


@dataclass(frozen=True)
class ImageBatch:
    """Images in memory."""

    entries: Sequence[ImageRef]
    first: int  # the number of the first, counted over all that could be read
    shown: Pixels  # (B, R, R, 3)
    encoded: Pixels | None  # (B, h, w, 3) as the encoder takes them, if there is one


_Fitted = tuple[ImageRef, Pixels, Pixels | None]  # a picture as `ImageBatch` holds it: shown, encoded


@dataclass(frozen=True)
class Predictions:
    """What networks predict from images (B, R, R, 3)."""

    attributes: Predicted  # (B, K): which of them the judge predicts; all False without a judge
    features: Embeddings  # (B, 16 * C), of the judge; of no columns without one
    identity: Embeddings  # (B, E)


class Evaluation:
    """What all methods of inversion share: the model, images and predictions from them, and the results so far."""

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        reader: ImageReader,
        labels: Mapping[str, Label],
        advance: Callable[[], None],
        failed: Callable[[str, ImageError], None],
    ) -> None:
        self.engine, self.settings, self.reader, self.labels = engine, settings, reader, labels
        self.attributes = tuple(item.name for item in engine.bundle.attributes)
        self.judge = engine.networks.judge
        self.identity = Identity.of(engine)
        self.out = Results(identity_measure=self.identity.measure if self.identity else None)
        self._advance, self._failed = advance, failed
        self._confirmed, self._known = np.zeros(len(self.attributes)), np.zeros(len(self.attributes))

    def read(self, entries: Sequence[ImageRef], *, report: bool = True) -> Iterator[ImageBatch]:
        """Read pictures a batch at a time; unreadable ones are left out, and reported."""
        first = 0
        for some in _chunks(entries, self.settings.batch_size):
            pictures: list[_Fitted] = []
            for entry in some:
                try:
                    pictures.append(self._read(entry))
                except ImageError as error:
                    if report:
                        self._fail(entry.name, error)
            if pictures:
                yield self._batch(pictures, first)
                first += len(pictures)

    def read_pairs(self, pairs: Sequence[Pair]) -> Iterator[tuple[ImageBatch, str]]:
        """Read pairs of one attribute at a time: first all without it, then as many with it."""
        for attribute in dict.fromkeys(pair.attribute for pair in pairs):
            mine = [pair for pair in pairs if pair.attribute == attribute]
            for some in _chunks(mine, max(self.settings.batch_size // 2, 1)):
                without: list[_Fitted] = []
                with_it: list[_Fitted] = []
                for pair in some:
                    try:
                        picture, other = self._read(pair.without), self._read(pair.with_it)
                    except ImageError as error:
                        self._fail(f"the pair {pair.identity} of {attribute}", error)
                        continue
                    without.append(picture)
                    with_it.append(other)
                if without:
                    yield self._batch(without + with_it, 0), attribute

    def invert(self, batch: ImageBatch, method: str) -> Latents:
        """Codes (B, N, D) of pictures."""
        if method == "encoder":  # of the size that `stedit invert` makes of the originals
            return self.engine.invert(batch.shown if batch.encoded is None else batch.encoded)
        return cast(Latents, cast(Any, self.engine).invert(batch.shown, method=method))

    def predict(self, pictures: Pixels) -> Predictions:
        """Attributes, features and identity of images (B, R, R, 3), as far as the model has networks for them."""
        nothing = np.zeros((len(pictures), 0), np.float32)
        features = self.engine.attribute_features(pictures) if self.judge else nothing
        attributes = np.zeros((len(pictures), len(self.attributes)), bool)
        if self.judge:
            with torch.no_grad():
                attributes = (self.judge.logits(torch.from_numpy(features).to(self.engine.device)) > 0).cpu().numpy()
        if self.identity is None:
            return Predictions(attributes, features, nothing)
        by_judge = self.identity.measure == "judge embedding"
        return Predictions(attributes, features, features if by_judge else self.identity.embed(pictures))

    def labels_of(self, batch: ImageBatch) -> tuple[Predicted, Predicted]:
        """Labels (B, K), and which of them are known."""
        values = np.zeros((len(batch.entries), len(self.attributes)), bool)
        known = np.zeros_like(values)
        for i, entry in enumerate(batch.entries):
            labels = self.labels[entry.id].attributes if entry.id in self.labels else {}
            for k, name in enumerate(self.attributes):
                values[i, k], known[i, k] = labels.get(name, 0) > 0.5, name in labels
        return values, known

    def compare_with_labels(self, batch: ImageBatch, predictions: Predictions) -> None:
        """Count how often the judge confirms the labels."""
        values, known = self.labels_of(batch)
        self.out.labelled += int(known.any(axis=1).sum())
        if self.judge:
            self._confirmed += (known & (predictions.attributes == values)).sum(axis=0)
            self._known += known.sum(axis=0)

    def advance_by(self, count: int) -> None:
        """Report that so many images, or pairs, are done."""
        for _ in range(count):
            self._advance()

    def finish(self) -> Results:
        """All that was found."""
        if distortion.has_structural_similarity():
            self.out.ms_ssim_scales = distortion.scales_of(*self.engine.output_size)
        if self._known.any():
            shares = {
                name: float(self._confirmed[k] / self._known[k])
                for k, name in enumerate(self.attributes)
                if self._known[k]
            }
            self.out.judge = JudgeResult(self.out.labelled, float(self._confirmed.sum() / self._known.sum()), shares)
        self.out.peak_memory = _peak_memory(self.engine.device)
        return self.out

    def _read(self, entry: ImageRef) -> _Fitted:
        """Read a picture, and keep of it only the sizes that are needed: it may be large."""
        original = self.reader.read(entry)
        encoded = fit_image(original, self.engine.input_size) if self.engine.networks.encoder else None
        return entry, fit_image(original, self.engine.output_size), encoded

    def _batch(self, pictures: Sequence[_Fitted], first: int) -> ImageBatch:
        shown = np.stack([picture for _, picture, _ in pictures])
        encoded = [picture for *_, picture in pictures if picture is not None]
        return ImageBatch([entry for entry, *_ in pictures], first, shown, np.stack(encoded) if encoded else None)

    def _fail(self, name: str, error: ImageError) -> None:
        self.out.failed += 1
        self._failed(name, error)
        self._advance()


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for i in range(0, len(items), size):
        yield items[i : i + size]


def _peak_memory(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows has none
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
