"""What one method of inversion does to the pictures of an evaluation, added up."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stedit.errors import UsageError
from stedit.imaging.files import Pixels
from stedit.imaging.sources import ImageRef
from stedit.metrics import distortion
from stedit.metrics.attribute_transfer import KIND_OF, Kind, KindTally, Probe
from stedit.metrics.editing import EditTally, code_distance, edit_towards, logit_drift
from stedit.metrics.frechet import Inception, Moments, frechet_distance
from stedit.metrics.ground_truth import PairTally
from stedit.metrics.identity import similarity
from stedit.metrics.predictions import Batch, Look, Looker
from stedit.metrics.results import (
    Gallery,
    PairSample,
    ReconstructionResult,
    Sample,
    SampleEdit,
)
from stedit.runtime.arrays import CodeArray

Measure = Callable[[Pixels, Pixels], distortion.Numbers]

REFERENCES = 64
"""Pictures that references are drawn from; their codes are held in memory."""


class FrechetSums:
    """Moments of pictures over the features of the judge and of Inception."""

    def __init__(self, inception: Inception | None) -> None:
        self.judge, self.inception = Moments(), Moments()
        self._inception = inception

    def add(self, pictures: Pixels, look: Look) -> None:
        """Take in pictures (B, R, R, 3)."""
        if look.judged.shape[1]:
            self.judge.add(look.judged.reshape(len(pictures), -1, 16).mean(axis=2))  # over the 4 x 4 places
        if self._inception:
            self.inception.add(self._inception.features(pictures))


@dataclass(frozen=True)
class Rendered:
    """A batch as one method sees it: codes (B, N, D), and what is seen of their pictures (B, R, R, 3)."""

    codes: CodeArray
    pictures: Pixels
    look: Look


@dataclass(frozen=True)
class References:
    """Pictures to take attributes from."""

    entries: Sequence[ImageRef]
    rendered: Mapping[str, Rendered]  # by method
    drawn: NDArray[np.int64]  # for each picture, the number of its reference

    @classmethod
    def draw(cls, looker: Looker, methods: Sequence[Method], entries: Sequence[ImageRef]) -> References:
        """Choose a pool of pictures, and one of it for each picture, by the seed alone."""
        draw = np.random.default_rng(looker.settings.seed)
        chosen = [entries[i] for i in draw.permutation(len(entries))[:REFERENCES]]
        batches = list(looker.read(chosen, tell=False))  # those that cannot be read are told when their turn comes
        pool = [entry for batch in batches for entry in batch.entries]
        if len(pool) < 2:
            raise UsageError("references are drawn from the pictures: give two pictures at least")
        rendered = {}
        for method in methods:
            parts = [method.render(method.invert(batch)[0]) for batch in batches]
            rendered[method.name] = _join(parts)
        return cls(pool, rendered, draw.integers(len(pool), size=len(entries)))

    def of(self, batch: Batch) -> NDArray[np.int64]:
        """The numbers (B,) of the references of a batch; nobody is their own."""
        drawn = self.drawn[batch.first : batch.first + len(batch.entries)].copy()
        for i, entry in enumerate(batch.entries):
            if self.entries[drawn[i]] == entry:
                drawn[i] = (drawn[i] + 1) % len(self.entries)
        return drawn


class Method:
    """The sums of one method of inversion."""

    def __init__(
        self,
        looker: Looker,
        name: str,
        inception: Inception | None,
        lpips: Measure | None,
        first: Method | None,
    ) -> None:
        self.looker, self.name, self._lpips, self._first = looker, name, lpips, first
        self._psnr = np.zeros(0)  # of the last batch
        self._least_gain = math.inf
        self._moments = FrechetSums(inception)
        self._sums: defaultdict[str, float] = defaultdict(float)
        self._pictures = 0
        settings, attributes = looker.settings, looker.attributes
        places = {name: attributes.index(name) for name in settings.attributes}
        self._labels = {
            key: EditTally(places[key[2]], attributes)
            for key in product(settings.directions, settings.strengths, settings.attributes)
        }
        self._references = {
            key: EditTally(places[key[1]], attributes)
            for key in product(settings.strengths if settings.references else (), settings.attributes)
        }
        self._kinds: dict[str, KindTally] = {}
        self._pairs: defaultdict[tuple[str, float, str], PairTally] = defaultdict(PairTally)

    def invert(self, batch: Batch) -> tuple[CodeArray, float]:
        """Codes (B, N, D), and the seconds it took."""
        began = time.perf_counter()
        codes = self.looker.invert(batch, self.name)
        return codes, time.perf_counter() - began

    def render(self, codes: CodeArray) -> Rendered:
        """Draw codes, and look at them."""
        pictures = self.looker.engine.synthesise(codes)
        return Rendered(codes, pictures, self.looker.look(pictures))

    def measure(self, batch: Batch, source: Look, references: References | None, probes: Mapping[Kind, Probe]) -> None:
        """Reconstruct and edit a batch of pictures."""
        codes, seconds = self.invert(batch)
        began = time.perf_counter()
        pictures = self.looker.engine.synthesise(codes)
        seconds += time.perf_counter() - began
        again = Rendered(codes, pictures, self.looker.look(pictures))
        self._pictures += len(pictures)
        self._sums["seconds"] += seconds
        self._compare(batch, source, again)
        for (direction, strength, attribute), tally in self._labels.items():
            wanted = ~again.look.seen[:, tally.attribute]
            began = time.perf_counter()
            edited = edit_towards(self.looker.engine, codes, attribute, wanted, strength, direction)
            edit = self._add_edit(tally, again, edited, wanted, time.perf_counter() - began)
            self._keep(batch, (self.name, direction, strength), attribute, again, edit, wanted, tally.attribute, None)
        if references:
            self._edit_by_reference(batch, again, references, probes)

    def measure_pairs(self, batch: Batch, attribute: str) -> None:
        """Edit pictures without the attribute, and as many with it, towards each other."""
        engine, settings = self.looker.engine, self.looker.settings
        codes, _ = self.invert(batch)
        again = engine.synthesise(codes)
        half = len(codes) // 2
        wanted = np.arange(len(codes)) < half
        swapped = np.roll(np.arange(len(codes)), half)  # each picture's counterpart
        for direction, strength in product(settings.directions, settings.strengths):
            edits = engine.synthesise(edit_towards(engine, codes, attribute, wanted, strength, direction))
            tally = self._pairs[direction, strength, attribute]
            samples = self.looker.out.pair_samples.setdefault((self.name, direction, strength), [])
            if not tally.pictures:
                for i in (0, half):
                    truth = batch.shown[swapped[i]]
                    samples.append(PairSample(attribute, bool(wanted[i]), batch.shown[i], again[i], edits[i], truth))
            tally.add(engine, reconstructions=again, edits=edits, best=again[swapped], truth=batch.shown[swapped])

    def finish(self, sources: FrechetSums) -> None:
        """Put means and shares among the results."""
        out = self.looker.out
        if self._pictures:
            means = {name: total / self._pictures for name, total in self._sums.items()}
            known = self._sums["labels_known"]
            out.reconstructions.append(
                ReconstructionResult(
                    method=self.name,
                    pictures=self._pictures,
                    l2=means["l2"],
                    psnr=means["psnr"],
                    least_gain=self._least_gain if self._first else None,
                    ssim=means.get("ssim"),
                    ms_ssim=means.get("ms_ssim"),
                    lpips=means.get("lpips"),
                    identity=means.get("identity"),
                    judge_agreement=means.get("judge_agreement"),
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
        for attribute, kinds in self._kinds.items():
            if found := kinds.result(self.name, attribute):
                out.kinds.append(found)
        for (direction, strength, attribute), pairs in self._pairs.items():
            out.pairs.append(pairs.result(self.name, direction, strength, attribute))

    def _compare(self, batch: Batch, source: Look, again: Rendered) -> None:
        """Add up how near the reconstructions are to their pictures."""
        measures: dict[str, Measure] = {"l2": distortion.l2, "psnr": distortion.psnr}
        if distortion.has_structural_similarity():
            measures |= {"ssim": distortion.ssim, "ms_ssim": distortion.ms_ssim}
        if self._lpips:
            measures["lpips"] = self._lpips
        for name, measure in measures.items():
            values = measure(batch.shown, again.pictures)
            self._sums[name] += float(values.sum())
            if name == "psnr":
                self._psnr = values
        if self._first:
            self._least_gain = min(self._least_gain, float((self._psnr - self._first._psnr).min()))  # noqa: SLF001 - its own kind
        if self.looker.identity:
            self._sums["identity"] += float(similarity(source.person, again.look.person).sum())
        if self.looker.judge:
            self._sums["judge_agreement"] += float((source.seen == again.look.seen).mean(axis=1).sum())
            labels, known = self.looker.labels_of(batch)
            self._sums["labels_confirmed"] += int((known & (again.look.seen == labels)).sum())
            self._sums["labels_known"] += int(known.sum())
        self._moments.add(again.pictures, again.look)

    def _add_edit(
        self, tally: EditTally, again: Rendered, edited: CodeArray, wanted: NDArray[np.bool_], seconds: float
    ) -> Rendered:
        edit = self.render(edited)
        tally.add(
            again.look.seen,
            edit.look.seen,
            wanted,
            identity=similarity(again.look.person, edit.look.person),
            logit_drift=logit_drift(self.looker.engine, again.codes, edited, tally.others),
            code_distance=code_distance(again.codes, edited),
            seconds=seconds,
        )
        return edit

    def _edit_by_reference(
        self, batch: Batch, again: Rendered, references: References, probes: Mapping[Kind, Probe]
    ) -> None:
        drawn, pool = references.of(batch), references.rendered[self.name]
        labels = [self.looker.labels.get(entry.id) for entry in batch.entries]
        told = [self.looker.labels.get(references.entries[number].id) for number in drawn]
        for (strength, attribute), tally in self._references.items():
            wanted = pool.look.seen[drawn, tally.attribute]
            began = time.perf_counter()
            edited = self.looker.engine.edit_by_reference(again.codes, pool.codes[drawn], attribute, strength=strength)
            edit = self._add_edit(tally, again, edited, wanted, time.perf_counter() - began)
            gallery = (self.name, "reference", strength)
            self._keep(batch, gallery, attribute, again, edit, wanted, tally.attribute, pool.pictures[drawn])
            kind = KIND_OF.get(attribute)
            if kind and kind in probes and strength == self.looker.settings.strengths[0]:
                kinds = self._kinds.setdefault(attribute, KindTally(probes[kind]))
                looks = (again.look.judged, edit.look.judged, pool.look.judged[drawn])
                kinds.add(labels, told, before=looks[0], after=looks[1], reference=looks[2])

    def _keep(
        self,
        batch: Batch,
        gallery: Gallery,
        attribute: str,
        again: Rendered,
        edit: Rendered,
        wanted: NDArray[np.bool_],
        place: int,
        references: Pixels | None,
    ) -> None:
        """Keep the first pictures for the report."""
        samples = self.looker.out.samples.setdefault(gallery, [])
        for i in range(min(len(batch.entries), self.looker.settings.samples - batch.first)):
            if len(samples) <= batch.first + i:
                reference = None if references is None else references[i]
                samples.append(Sample(batch.shown[i], again.pictures[i], reference))
            success = bool(edit.look.seen[i, place] == wanted[i])
            samples[batch.first + i].edits[attribute] = SampleEdit(edit.pictures[i], bool(wanted[i]), success)


def _join(parts: Sequence[Rendered]) -> Rendered:
    def whole(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
        return np.concatenate(arrays)

    looks = [part.look for part in parts]
    look = Look(whole([x.seen for x in looks]), whole([x.judged for x in looks]), whole([x.person for x in looks]))
    return Rendered(whole([part.codes for part in parts]), whole([part.pictures for part in parts]), look)


def _distance(sources: Moments, results: Moments) -> float | None:
    """None without features, and for a single picture, which has no covariance."""
    return frechet_distance(sources, results) if min(sources.count, results.count) > 1 else None
