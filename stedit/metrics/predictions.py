"""Faces of images, read a batch at a time, and what the model's judge and identity network predict from them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch

from stedit.batch.reading import face_search
from stedit.batch.request import PhotoOptions
from stedit.engine import Engine
from stedit.errors import ImageError, InputError
from stedit.imaging.files import Pixels
from stedit.imaging.sources import ImageReader, ImageRef
from stedit.metrics import distortion
from stedit.metrics.editing import Predicted
from stedit.metrics.ground_truth import Pair
from stedit.metrics.identity import Embeddings, Identity
from stedit.metrics.results import JudgeResult, Results, Settings
from stedit.photo.alignment import Quad
from stedit.photo.photograph import Photo, crop_for
from stedit.runtime.arrays import Latents
from stedit.runtime.framing import frame
from stedit.storage.labels import Label


@dataclass(frozen=True)
class FaceRef:
    """A face of an image, or all of an image that is a crop already."""

    image: ImageRef
    number: int = 0
    """Of the faces that were chosen."""

    @property
    def id(self) -> str:
        """What labels call it: as its image."""
        return self.image.id


@dataclass(frozen=True)
class ImageBatch:
    """Faces in memory."""

    entries: Sequence[FaceRef]
    first: int  # the number of the first, counted over all that could be read
    shown: Pixels  # (B, H, W, 3) of the model's target size
    encoded: Pixels | None  # (B, h, w, 3) as the encoder takes them, if there is one


_Fitted = tuple[FaceRef, Pixels, Pixels | None]  # a face as `ImageBatch` holds it: shown, encoded


@dataclass(frozen=True)
class Predictions:
    """What networks predict from images (B, H, W, 3)."""

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
        photo: PhotoOptions,
        advance: Callable[[], None],
        failed: Callable[[str, ImageError], None],
        left_out: Callable[[str, InputError], None],
    ) -> None:
        self.engine, self.settings, self.reader, self.labels = engine, settings, reader, labels
        self._search, self._detector = face_search(photo, engine.model)
        self._quads: dict[ImageRef, tuple[Quad, ...]] = {}  # of what was searched before: references are read twice
        self.attributes = tuple(item.name for item in engine.bundle.attributes)
        self.judge = engine.networks.judge
        self.identity = Identity.of(engine)
        self.out = Results(identity_measure=self.identity.measure if self.identity else None)
        self._on_advance, self._failed, self._left_out = advance, failed, left_out
        self._confirmed, self._known = np.zeros(len(self.attributes)), np.zeros(len(self.attributes))

    def read(self, images: Iterable[ImageRef], *, report: bool = True) -> Iterator[ImageBatch]:
        """Read faces a batch at a time.

        Images that cannot be read, and those without a face, are left out. With `report`, that is reported and counted,
        and so is how far it is, once what is made of a batch is done.
        """
        first, waiting = 0, list[_Fitted]()
        for image in images:
            try:
                waiting += self._read(image)
            except InputError as error:
                if report:
                    self._fail(image.name, error)
            while len(waiting) >= self.settings.batch_size:
                faces, waiting = waiting[: self.settings.batch_size], waiting[self.settings.batch_size :]
                yield self._batch(faces, first)
                first += len(faces)
                self._advance(_images(faces) if report else 0)
        if waiting:
            yield self._batch(waiting, first)
            self._advance(_images(waiting) if report else 0)

    def read_pairs(self, pairs: Sequence[Pair]) -> Iterator[tuple[ImageBatch, str]]:
        """Read pairs of one attribute at a time: first all without it, then as many with it."""
        size = max(self.settings.batch_size // 2, 1)
        for attribute in dict.fromkeys(pair.attribute for pair in pairs):
            waiting: list[tuple[_Fitted, _Fitted]] = []
            for pair in [pair for pair in pairs if pair.attribute == attribute]:
                try:
                    waiting.append((self._read(pair.without)[0], self._read(pair.with_it)[0]))
                except InputError as error:
                    self._fail(f"the pair {pair.identity} of {attribute}", error)
                if len(waiting) == size:
                    yield self._batch_of_pairs(waiting), attribute
                    self._advance(len(waiting))
                    waiting = []
            if waiting:
                yield self._batch_of_pairs(waiting), attribute
                self._advance(len(waiting))

    def invert(self, batch: ImageBatch, method: str) -> Latents:
        """Codes (B, N, D) of faces."""
        if method == "encoder":  # of the size that `stedit invert` makes of the originals
            return self.engine.invert(batch.shown if batch.encoded is None else batch.encoded)
        return cast(Latents, cast(Any, self.engine).invert(batch.shown, method=method))

    def synthesise(self, codes: Latents) -> Pixels:
        """Renderings (B, H, W, 3) of codes (B, N, D) in the model's target size."""
        return frame(self.engine.synthesise(codes), self.engine.target_size)

    def predict(self, images: Pixels) -> Predictions:
        """Attributes, features and identity of images (B, H, W, 3), as far as the model has networks for them."""
        nothing = np.zeros((len(images), 0), np.float32)
        features = self.engine.attribute_features(images) if self.judge else nothing
        attributes = np.zeros((len(images), len(self.attributes)), bool)
        if self.judge:
            with torch.no_grad():
                attributes = (self.judge.logits(torch.from_numpy(features).to(self.engine.device)) > 0).cpu().numpy()
        if self.identity is None:
            return Predictions(attributes, features, nothing)
        by_judge = self.identity.measure == "judge embedding"
        return Predictions(attributes, features, features if by_judge else self.identity.embed(images))

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

    def finish(self) -> Results:
        """All that was found."""
        if distortion.has_structural_similarity():
            self.out.ms_ssim_scales = distortion.scales_of(*self.engine.target_size)
        if self._known.any():
            shares = {
                name: float(self._confirmed[k] / self._known[k])
                for k, name in enumerate(self.attributes)
                if self._known[k]
            }
            self.out.judge = JudgeResult(self.out.labelled, float(self._confirmed.sum() / self._known.sum()), shares)
        self.out.peak_memory = _peak_memory(self.engine.device)
        return self.out

    def _read(self, image: ImageRef) -> list[_Fitted]:
        """Read an image, and keep of its faces only the sizes that are needed: it may be large. Raises InputError."""
        engine, photo = self.engine, Photo(self.reader.decode(image), image.name)
        if image not in self._quads:
            self._quads[image] = photo.find_quads(self._search, self._detector)
        return [
            (
                FaceRef(image, number),
                crop_for(photo.pixels, quad, engine.target_size),
                crop_for(photo.pixels, quad, engine.input_size) if engine.networks.encoder else None,
            )
            for number, quad in enumerate(self._quads[image])
        ]

    def _advance(self, count: int = 1) -> None:
        for _ in range(count):
            self._on_advance()

    def _batch(self, faces: Sequence[_Fitted], first: int) -> ImageBatch:
        shown = np.stack([image for _, image, _ in faces])
        encoded = [image for *_, image in faces if image is not None]
        return ImageBatch([face for face, *_ in faces], first, shown, np.stack(encoded) if encoded else None)

    def _batch_of_pairs(self, pairs: Sequence[tuple[_Fitted, _Fitted]]) -> ImageBatch:
        return self._batch([without for without, _ in pairs] + [with_it for _, with_it in pairs], 0)

    def _fail(self, name: str, error: InputError) -> None:
        if isinstance(error, ImageError):
            self.out.failed += 1
            self._failed(name, error)
        else:
            self.out.without_face += 1
            self._left_out(name, error)
        self._advance()


def _images(faces: Sequence[_Fitted]) -> int:
    """How many images have their first face among these."""
    return sum(face.number == 0 for face, *_ in faces)


def _peak_memory(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows has none
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
