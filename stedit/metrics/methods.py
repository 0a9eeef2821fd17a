"""The results of one method of inversion on the images of an evaluation, added up."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stedit.errors import UsageError
from stedit.imaging.files import Pixels
from stedit.imaging.sources import ImageRef
from stedit.metrics import distortion
from stedit.metrics.attribute_transfer import FINE_ATTRIBUTE_OF, FineAttribute, Probe, TransferTally
from stedit.metrics.distortion import Measure
from stedit.metrics.editing import EditTally, code_distance, logit_drift, set_attribute
from stedit.metrics.frechet import Inception, Moments, frechet_distance
from stedit.metrics.ground_truth import GroundTruthTally
from stedit.metrics.identity import similarity
from stedit.metrics.predictions import Evaluation, FaceRef, ImageBatch, Predictions
from stedit.metrics.results import (
    Gallery,
    GroundTruthSample,
    ReconstructionResult,
    Sample,
    SampleEdit,
)
from stedit.runtime.arrays import Latents

REFERENCES = 64
"""Images that references are chosen from; their codes are held in memory."""


class FrechetAccumulator:
    """Moments of images over the features of the judge and of Inception."""

    def __init__(self, inception: Inception | None) -> None:
        self.judge, self.inception = Moments(), Moments()
        self._inception = inception

    def add(self, images: Pixels, predictions: Predictions) -> None:
        """Take in images (B, H, W, 3)."""
        if predictions.features.shape[1]:
            self.judge.add(predictions.features.reshape(len(images), -1, 16).mean(axis=2))  # over the 4 x 4 places
        if self._inception:
            self.inception.add(self._inception.features(images))


@dataclass(frozen=True)
class Rendered:
    """Codes (B, N, D) of a batch by one method, their renderings (B, H, W, 3), and the predictions from these."""

    codes: Latents
    images: Pixels
    predictions: Predictions


@dataclass(frozen=True)
class Edit:
    """One edit of a batch, rendered."""

    attribute: str
    rendered: Rendered
    wanted: NDArray[np.bool_]  # (B,): whether the attribute is to be predicted
    shown: NDArray[np.bool_]  # (B,): whether it is
    references: Pixels | None = None  # (B, H, W, 3)


@dataclass(frozen=True)
class References:
    """Faces to take attributes from."""

    entries: Sequence[FaceRef]
    rendered: Mapping[str, Rendered]  # by method
    chosen: Mapping[ImageRef, int]  # for each image, the number of its reference

    @classmethod
    def choose(
        cls, evaluation: Evaluation, methods: Sequence[MethodEvaluator], images: Sequence[ImageRef]
    ) -> References:
        """Choose a pool of faces, and one of it for each image, by the seed alone."""
        random = np.random.default_rng(evaluation.settings.seed)
        chosen = [images[i] for i in random.permutation(len(images))[:REFERENCES]]
        batches = list(evaluation.read(chosen, report=False))  # what is left out is reported when its turn comes
        pool = [entry for batch in batches for entry in batch.entries]
        if len(pool) < 2:
            raise UsageError("references are chosen from the images: give two images at least")
        rendered = {}
        for method in methods:
            parts = [method.render(method.invert(batch)[0]) for batch in batches]
            rendered[method.name] = _join(parts)
        return cls(
            pool, rendered, dict(zip(images, random.integers(len(pool), size=len(images)).tolist(), strict=True))
        )

    def of(self, batch: ImageBatch) -> NDArray[np.int64]:
        """The numbers (B,) of the references of a batch; nobody is their own."""
        chosen = np.array([self.chosen[entry.image] for entry in batch.entries])
        for i, entry in enumerate(batch.entries):
            if self.entries[chosen[i]] == entry:
                chosen[i] = (chosen[i] + 1) % len(self.entries)
        return chosen


class MethodEvaluator:
    """The sums of one method of inversion."""

    def __init__(
        self,
        evaluation: Evaluation,
        name: str,
        inception: Inception | None,
        lpips: Measure | None,
        first: MethodEvaluator | None,
    ) -> None:
        self.evaluation, self.name, self._lpips, self._first = evaluation, name, lpips, first
        self._psnr = np.zeros(0)  # of the last batch
        self._min_psnr_gain = math.inf
        self._moments = FrechetAccumulator(inception)
        self._sums: defaultdict[str, float] = defaultdict(float)
        self._images = 0
        settings, attributes = evaluation.settings, evaluation.attributes
        places = {name: attributes.index(name) for name in settings.attributes}
        self._labels = {
            key: EditTally(places[key[2]], attributes)
            for key in product(settings.directions, settings.strengths, settings.attributes)
        }
        self._references = {
            key: EditTally(places[key[1]], attributes)
            for key in product(settings.strengths if settings.references else (), settings.attributes)
        }
        self._transfer: dict[str, TransferTally] = {}
        self._ground_truth: defaultdict[tuple[str, float, str], GroundTruthTally] = defaultdict(GroundTruthTally)

    def invert(self, batch: ImageBatch) -> tuple[Latents, float]:
        """Codes (B, N, D), and the seconds it took."""
        began = time.perf_counter()
        codes = self.evaluation.invert(batch, self.name)
        return codes, time.perf_counter() - began

    def render(self, codes: Latents) -> Rendered:
        """Render codes, and predict from the renderings."""
        images = self.evaluation.synthesise(codes)
        return Rendered(codes, images, self.evaluation.predict(images))

    def measure(
        self,
        batch: ImageBatch,
        source: Predictions,
        references: References | None,
        probes: Mapping[FineAttribute, Probe],
    ) -> None:
        """Reconstruct and edit a batch of images."""
        codes, seconds = self.invert(batch)
        began = time.perf_counter()
        images = self.evaluation.synthesise(codes)
        seconds += time.perf_counter() - began
        reconstruction = Rendered(codes, images, self.evaluation.predict(images))
        self._images += len(images)
        self._sums["seconds"] += seconds
        self._compare(batch, source, reconstruction)
        for (direction, strength, attribute), tally in self._labels.items():
            wanted = ~reconstruction.predictions.attributes[:, tally.attribute]
            began = time.perf_counter()
            edited = set_attribute(self.evaluation.engine, codes, attribute, wanted, strength, direction)
            edit = self._add_edit(tally, reconstruction, edited, wanted, time.perf_counter() - began)
            self._keep(batch, (self.name, direction, strength), reconstruction, edit)
        if references:
            self._edit_by_reference(batch, reconstruction, references, probes)

    def measure_pairs(self, batch: ImageBatch, attribute: str) -> None:
        """Edit images without the attribute, and as many with it, towards each other."""
        engine, settings = self.evaluation.engine, self.evaluation.settings
        codes, _ = self.invert(batch)
        reconstruction = self.evaluation.synthesise(codes)
        half = len(codes) // 2
        wanted = np.arange(len(codes)) < half
        swapped = np.roll(np.arange(len(codes)), half)  # each image's counterpart
        for direction, strength in product(settings.directions, settings.strengths):
            edited = set_attribute(engine, codes, attribute, wanted, strength, direction)
            edits = self.evaluation.synthesise(edited)
            tally = self._ground_truth[direction, strength, attribute]
            samples = self.evaluation.out.ground_truth_samples.setdefault((self.name, direction, strength), [])
            if not tally.images:
                for i in (0, half):
                    truth = batch.shown[swapped[i]]
                    samples.append(
                        GroundTruthSample(
                            attribute, bool(wanted[i]), batch.shown[i], reconstruction[i], edits[i], truth
                        )
                    )
            tally.add(
                engine,
                reconstructions=reconstruction,
                edits=edits,
                best=reconstruction[swapped],
                truth=batch.shown[swapped],
            )

    def finish(self, sources: FrechetAccumulator) -> None:
        """Add means and shares to the results."""
        out = self.evaluation.out
        if self._images:
            means = {name: total / self._images for name, total in self._sums.items()}
            known = self._sums["labels_known"]
            out.reconstructions.append(
                ReconstructionResult(
                    method=self.name,
                    images=self._images,
                    l2=means["l2"],
                    psnr=means["psnr"],
                    min_psnr_gain=self._min_psnr_gain if self._first else None,
                    ssim=means.get("ssim"),
                    ms_ssim=means.get("ms_ssim"),
                    lpips=means.get("lpips"),
                    identity=means.get("identity"),
                    attribute_agreement=means.get("attribute_agreement"),
                    label_agreement=self._sums["labels_confirmed"] / known if known else None,
                    fid=_distance(sources.inception, self._moments.inception),
                    judge_frechet=_distance(sources.judge, self._moments.judge),
                    seconds=means["seconds"],
                )
            )
        for (direction, strength, attribute), tally in self._labels.items():
            out.edits.append(tally.result("label", self.name, direction, strength, attribute))
        for (strength, attribute), tally in self._references.items():
            out.edits.append(tally.result("reference", self.name, None, strength, attribute))
        for attribute, transfer in self._transfer.items():
            if found := transfer.result(self.name, attribute):
                out.attribute_transfer.append(found)
        for (direction, strength, attribute), truths in self._ground_truth.items():
            out.ground_truth.append(truths.result(self.name, direction, strength, attribute))

    def _compare(self, batch: ImageBatch, source: Predictions, reconstruction: Rendered) -> None:
        """Add up the distances of reconstructions to their images."""
        measures: dict[str, Measure] = {"l2": distortion.l2, "psnr": distortion.psnr}
        if distortion.has_structural_similarity():
            measures |= {"ssim": distortion.ssim, "ms_ssim": distortion.ms_ssim}
        if self._lpips:
            measures["lpips"] = self._lpips
        for name, measure in measures.items():
            values = measure(batch.shown, reconstruction.images)
            self._sums[name] += float(values.sum())
            if name == "psnr":
                self._psnr = values
        if self._first:
            self._min_psnr_gain = min(self._min_psnr_gain, float((self._psnr - self._first._psnr).min()))  # noqa: SLF001 - of its own class
        if self.evaluation.identity:
            self._sums["identity"] += float(similarity(source.identity, reconstruction.predictions.identity).sum())
        if self.evaluation.judge:
            self._sums["attribute_agreement"] += float(
                (source.attributes == reconstruction.predictions.attributes).mean(axis=1).sum()
            )
            labels, known = self.evaluation.labels_of(batch)
            self._sums["labels_confirmed"] += int((known & (reconstruction.predictions.attributes == labels)).sum())
            self._sums["labels_known"] += int(known.sum())
        self._moments.add(reconstruction.images, reconstruction.predictions)

    def _add_edit(
        self, tally: EditTally, reconstruction: Rendered, edited: Latents, wanted: NDArray[np.bool_], seconds: float
    ) -> Edit:
        rendered = self.render(edited)
        tally.add(
            reconstruction.predictions.attributes,
            rendered.predictions.attributes,
            wanted,
            identity=similarity(reconstruction.predictions.identity, rendered.predictions.identity),
            logit_drift=logit_drift(self.evaluation.engine, reconstruction.codes, edited, tally.others),
            code_distance=code_distance(reconstruction.codes, edited),
            seconds=seconds,
        )
        name = self.evaluation.attributes[tally.attribute]
        return Edit(name, rendered, wanted, rendered.predictions.attributes[:, tally.attribute])

    def _edit_by_reference(
        self, batch: ImageBatch, reconstruction: Rendered, references: References, probes: Mapping[FineAttribute, Probe]
    ) -> None:
        chosen, pool = references.of(batch), references.rendered[self.name]
        labels = [self.evaluation.labels.get(entry.id) for entry in batch.entries]
        reference_labels = [self.evaluation.labels.get(references.entries[number].id) for number in chosen]
        for (strength, attribute), tally in self._references.items():
            wanted = pool.predictions.attributes[chosen, tally.attribute]
            began = time.perf_counter()
            edited = self.evaluation.engine.edit_by_reference(
                reconstruction.codes, pool.codes[chosen], attribute, strength=strength
            )
            edit = self._add_edit(tally, reconstruction, edited, wanted, time.perf_counter() - began)
            shown = replace(edit, references=pool.images[chosen])
            self._keep(batch, (self.name, "reference", strength), reconstruction, shown)
            fine = FINE_ATTRIBUTE_OF.get(attribute)
            if fine and fine in probes and strength == self.evaluation.settings.strengths[0]:
                transfer = self._transfer.setdefault(attribute, TransferTally(probes[fine]))
                features = (
                    reconstruction.predictions.features,
                    edit.rendered.predictions.features,
                    pool.predictions.features[chosen],
                )
                transfer.add(labels, reference_labels, before=features[0], after=features[1], reference=features[2])

    def _keep(self, batch: ImageBatch, gallery: Gallery, reconstruction: Rendered, edit: Edit) -> None:
        """Keep the first images for the report."""
        samples = self.evaluation.out.samples.setdefault(gallery, [])
        for i in range(min(len(batch.entries), self.evaluation.settings.samples - batch.first)):
            if len(samples) <= batch.first + i:
                reference = None if edit.references is None else edit.references[i]
                samples.append(Sample(batch.shown[i], reconstruction.images[i], reference))
            wanted = bool(edit.wanted[i])
            image = edit.rendered.images[i]
            samples[batch.first + i].edits[edit.attribute] = SampleEdit(image, wanted, bool(edit.shown[i] == wanted))


def _join(parts: Sequence[Rendered]) -> Rendered:
    def whole(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
        return np.concatenate(arrays)

    all_predictions = [part.predictions for part in parts]
    predictions = Predictions(
        whole([x.attributes for x in all_predictions]),
        whole([x.features for x in all_predictions]),
        whole([x.identity for x in all_predictions]),
    )
    return Rendered(whole([part.codes for part in parts]), whole([part.images for part in parts]), predictions)


def _distance(sources: Moments, results: Moments) -> float | None:
    """None without features, and for a single image, which has no covariance."""
    return frechet_distance(sources, results) if min(sources.count, results.count) > 1 else None
