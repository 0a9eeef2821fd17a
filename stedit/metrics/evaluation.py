"""One pass over pictures that measures a model: reconstructions, edits by label and by reference, and true pairs.

Pictures are read a batch at a time and only sums are kept, so memory does not grow with their number.
"""

from __future__ import annotations

import math
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray

from stedit.arrays import CodeArray
from stedit.engine import Engine
from stedit.errors import ImageError, MissingPartError, UsageError
from stedit.imaging.files import Pixels, fit_picture
from stedit.metrics import distortion
from stedit.metrics.editing import EditTally, Seen, code_distance, edit_towards, logit_drift
from stedit.metrics.frechet import Inception, Moments, frechet_distance
from stedit.metrics.identity import Embeddings, Identity, similarity
from stedit.metrics.kinds import KIND_OF, Kind, KindTally, Probe
from stedit.metrics.pairs import PairTally
from stedit.metrics.pictures import Archives, Entry, Label, Pair
from stedit.metrics.results import (
    Gallery,
    JudgeResult,
    PairSample,
    ReconstructionResult,
    Results,
    Sample,
    SampleEdit,
    Settings,
)
from stedit.models.attribute_network import Judge

T = TypeVar("T")
Measure = Callable[[Pixels, Pixels], distortion.Numbers]

REFERENCES = 64
"""Pictures that references are drawn from; their codes are held in memory."""
PROBE_PICTURES = 2000
"""That a probe is fitted on, at most; their features are held in memory."""


def evaluate(
    engine: Engine,
    entries: Sequence[Entry],
    settings: Settings,
    *,
    archives: Archives,
    labels: Mapping[str, Label] | None = None,
    pairs: Sequence[Pair] = (),
    others: Sequence[Entry] = (),
    inception: Inception | None = None,
    lpips: Measure | None = None,
    advance: Callable[[], None] = lambda: None,
    failed: Callable[[str, ImageError], None] = lambda _name, _error: None,
) -> Results:
    """Measure a model.

    Args:
        engine: the model. Edits need its judge.
        entries: pictures to reconstruct and edit.
        settings: what to measure.
        archives: read the pictures.
        labels: by picture id, where known.
        pairs: pictures with their true edits; each is edited both ways.
        others: further pictures, none of the `entries`: those with labels teach kinds of glasses, beards and hair.
        inception: measures the FID.
        lpips: gives the distance (B,) of pictures (B, H, W, 3).
        advance: called after each picture and pair.
        failed: called with the name of each picture that cannot be read; the others are measured.

    Raises:
        MissingPartError: edits are asked for and the model has no judge, classifier or editor.
        UsageError: references are to be drawn from fewer than two pictures.
    """
    if (settings.attributes or pairs) and "judge" not in engine.networks:
        raise MissingPartError(
            f"the model {engine.bundle.name!r} has no judge to see edits: choose a model that has one"
        )
    run = _Evaluation(engine, settings, archives, labels or {}, advance, failed)
    methods: list[_Method] = []
    for name in settings.methods:
        methods.append(_Method(run, name, inception, lpips, methods[0] if methods else None))
    sources = _FrechetSums(inception)
    references = _References.draw(run, methods, entries) if settings.references and settings.attributes else None
    probes = _fit_probes(run, others) if references else {}
    for batch in run.read(entries):
        look = run.look(batch.shown)
        run.compare_with_labels(batch, look)
        sources.add(batch.shown, look)
        for method in methods:
            method.measure(batch, look, references, probes)
        run.out.pictures += len(batch.entries)
        run.advance_by(len(batch.entries))
    for batch, attribute in run.read_pairs(pairs):
        for method in methods:
            method.measure_pairs(batch, attribute)
        run.advance_by(len(batch.entries) // 2)
    for method in methods:
        method.finish(sources)
    return run.finish()


@dataclass(frozen=True)
class _Batch:
    """Pictures in memory."""

    entries: Sequence[Entry]
    first: int  # the number of the first, counted over all that could be read
    shown: Pixels  # (B, R, R, 3)
    encoded: Pixels | None  # (B, h, w, 3) as the encoder takes them, if there is one


_Fitted = tuple[Entry, Pixels, Pixels | None]  # a picture as `_Batch` holds it: shown, encoded


@dataclass(frozen=True)
class _Look:
    """What can be told of pictures (B, R, R, 3)."""

    seen: Seen  # (B, K); all False without a judge
    judged: Embeddings  # (B, 16 * C): the judge's embedding, of no columns without one
    person: Embeddings  # (B, E)


class _Evaluation:
    """What all methods of inversion share: the model, the pictures, and what is found."""

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        archives: Archives,
        labels: Mapping[str, Label],
        advance: Callable[[], None],
        failed: Callable[[str, ImageError], None],
    ) -> None:
        self.engine, self.settings, self.archives, self.labels = engine, settings, archives, labels
        self.attributes = tuple(item.name for item in engine.bundle.attributes)
        self.judge = cast("Judge | None", engine.networks.get("judge"))
        self.identity = Identity.of(engine)
        self.out = Results(identity_measure=self.identity.measure if self.identity else None)
        self._advance, self._failed = advance, failed
        self._confirmed, self._known = np.zeros(len(self.attributes)), np.zeros(len(self.attributes))

    def read(self, entries: Sequence[Entry], *, tell: bool = True) -> Iterator[_Batch]:
        """Read pictures a batch at a time; those that cannot be read are left out, and told."""
        first = 0
        for some in _chunks(entries, self.settings.batch_size):
            pictures: list[_Fitted] = []
            for entry in some:
                try:
                    pictures.append(self._read(entry))
                except ImageError as error:
                    if tell:
                        self._fail(entry.name, error)
            if pictures:
                yield self._batch(pictures, first)
                first += len(pictures)

    def read_pairs(self, pairs: Sequence[Pair]) -> Iterator[tuple[_Batch, str]]:
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

    def invert(self, batch: _Batch, method: str) -> CodeArray:
        """Codes (B, N, D) of pictures."""
        if method == "encoder":  # of the size that `stedit invert` makes of the originals
            return self.engine.invert(batch.shown if batch.encoded is None else batch.encoded)
        return cast(CodeArray, cast(Any, self.engine).invert(batch.shown, method=method))

    def look(self, pictures: Pixels) -> _Look:
        """Let the judge, and who else is there, look at pictures."""
        nothing = np.zeros((len(pictures), 0), np.float32)
        judged = self.engine.judge_embedding(pictures) if self.judge else nothing
        seen = np.zeros((len(pictures), len(self.attributes)), bool)
        if self.judge:
            with torch.no_grad():
                seen = (self.judge.read(torch.from_numpy(judged).to(self.engine.device)) > 0).cpu().numpy()
        if self.identity is None:
            return _Look(seen, judged, nothing)
        return _Look(
            seen, judged, judged if self.identity.measure == "judge embedding" else self.identity.embed(pictures)
        )

    def labels_of(self, batch: _Batch) -> tuple[Seen, Seen]:
        """Labels (B, K), and which of them are known."""
        values = np.zeros((len(batch.entries), len(self.attributes)), bool)
        known = np.zeros_like(values)
        for i, entry in enumerate(batch.entries):
            told = self.labels[entry.id].attributes if entry.id in self.labels else {}
            for k, name in enumerate(self.attributes):
                values[i, k], known[i, k] = told.get(name, False), name in told
        return values, known

    def compare_with_labels(self, batch: _Batch, look: _Look) -> None:
        """Count how often the judge confirms the labels."""
        values, known = self.labels_of(batch)
        self.out.labelled += int(known.any(axis=1).sum())
        if self.judge:
            self._confirmed += (known & (look.seen == values)).sum(axis=0)
            self._known += known.sum(axis=0)

    def advance_by(self, count: int) -> None:
        """Tell that pictures, or pairs, are done."""
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

    def _read(self, entry: Entry) -> _Fitted:
        """Read a picture, and keep of it only the sizes that are needed: it may be large."""
        original = self.archives.read(entry)
        encoded = fit_picture(original, self.engine.input_size) if "encoder" in self.engine.networks else None
        return entry, fit_picture(original, self.engine.output_size), encoded

    def _batch(self, pictures: Sequence[_Fitted], first: int) -> _Batch:
        shown = np.stack([picture for _, picture, _ in pictures])
        encoded = [picture for *_, picture in pictures if picture is not None]
        return _Batch([entry for entry, *_ in pictures], first, shown, np.stack(encoded) if encoded else None)

    def _fail(self, name: str, error: ImageError) -> None:
        self.out.failed += 1
        self._failed(name, error)
        self._advance()


class _FrechetSums:
    """Moments of pictures over the features of the judge and of Inception."""

    def __init__(self, inception: Inception | None) -> None:
        self.judge, self.inception = Moments(), Moments()
        self._inception = inception

    def add(self, pictures: Pixels, look: _Look) -> None:
        """Take in pictures (B, R, R, 3)."""
        if look.judged.shape[1]:
            self.judge.add(look.judged.reshape(len(pictures), -1, 16).mean(axis=2))  # over the 4 x 4 places
        if self._inception:
            self.inception.add(self._inception.features(pictures))


@dataclass(frozen=True)
class _Rendered:
    """A batch as one method sees it: codes (B, N, D), and what is seen of their pictures (B, R, R, 3)."""

    codes: CodeArray
    pictures: Pixels
    look: _Look


@dataclass(frozen=True)
class _References:
    """Pictures to take attributes from."""

    entries: Sequence[Entry]
    rendered: Mapping[str, _Rendered]  # by method
    drawn: NDArray[np.int64]  # for each picture, the number of its reference

    @classmethod
    def draw(cls, run: _Evaluation, methods: Sequence[_Method], entries: Sequence[Entry]) -> _References:
        """Choose a pool of pictures, and one of it for each picture, by the seed alone."""
        draw = np.random.default_rng(run.settings.seed)
        chosen = [entries[i] for i in draw.permutation(len(entries))[:REFERENCES]]
        batches = list(run.read(chosen, tell=False))  # those that cannot be read are told when their turn comes
        pool = [entry for batch in batches for entry in batch.entries]
        if len(pool) < 2:
            raise UsageError("references are drawn from the pictures: give two pictures at least")
        rendered = {}
        for method in methods:
            parts = [method.render(method.invert(batch)[0]) for batch in batches]
            rendered[method.name] = _join(parts)
        return cls(pool, rendered, draw.integers(len(pool), size=len(entries)))

    def of(self, batch: _Batch) -> NDArray[np.int64]:
        """The numbers (B,) of the references of a batch; nobody is their own."""
        drawn = self.drawn[batch.first : batch.first + len(batch.entries)].copy()
        for i, entry in enumerate(batch.entries):
            if self.entries[drawn[i]] == entry:
                drawn[i] = (drawn[i] + 1) % len(self.entries)
        return drawn


class _Method:
    """The sums of one method of inversion."""

    def __init__(
        self,
        run: _Evaluation,
        name: str,
        inception: Inception | None,
        lpips: Measure | None,
        first: _Method | None,
    ) -> None:
        self.run, self.name, self._lpips, self._first = run, name, lpips, first
        self._psnr = np.zeros(0)  # of the last batch
        self._least_gain = math.inf
        self._moments = _FrechetSums(inception)
        self._sums: defaultdict[str, float] = defaultdict(float)
        self._pictures = 0
        settings, attributes = run.settings, run.attributes
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

    def invert(self, batch: _Batch) -> tuple[CodeArray, float]:
        """Codes (B, N, D), and the seconds it took."""
        began = time.perf_counter()
        codes = self.run.invert(batch, self.name)
        return codes, time.perf_counter() - began

    def render(self, codes: CodeArray) -> _Rendered:
        """Draw codes, and look at them."""
        pictures = self.run.engine.synthesise(codes)
        return _Rendered(codes, pictures, self.run.look(pictures))

    def measure(
        self, batch: _Batch, source: _Look, references: _References | None, probes: Mapping[Kind, Probe]
    ) -> None:
        """Reconstruct and edit a batch of pictures."""
        codes, seconds = self.invert(batch)
        began = time.perf_counter()
        pictures = self.run.engine.synthesise(codes)
        seconds += time.perf_counter() - began
        again = _Rendered(codes, pictures, self.run.look(pictures))
        self._pictures += len(pictures)
        self._sums["seconds"] += seconds
        self._compare(batch, source, again)
        for (direction, strength, attribute), tally in self._labels.items():
            wanted = ~again.look.seen[:, tally.attribute]
            began = time.perf_counter()
            edited = edit_towards(self.run.engine, codes, attribute, wanted, strength, direction)
            edit = self._add_edit(tally, again, edited, wanted, time.perf_counter() - began)
            self._keep(batch, (self.name, direction, strength), attribute, again, edit, wanted, tally.attribute, None)
        if references:
            self._edit_by_reference(batch, again, references, probes)

    def measure_pairs(self, batch: _Batch, attribute: str) -> None:
        """Edit pictures without the attribute, and as many with it, towards each other."""
        engine, settings = self.run.engine, self.run.settings
        codes, _ = self.invert(batch)
        again = engine.synthesise(codes)
        half = len(codes) // 2
        wanted = np.arange(len(codes)) < half
        swapped = np.roll(np.arange(len(codes)), half)  # each picture's counterpart
        for direction, strength in product(settings.directions, settings.strengths):
            edits = engine.synthesise(edit_towards(engine, codes, attribute, wanted, strength, direction))
            tally = self._pairs[direction, strength, attribute]
            samples = self.run.out.pair_samples.setdefault((self.name, direction, strength), [])
            if not tally.pictures:
                for i in (0, half):
                    truth = batch.shown[swapped[i]]
                    samples.append(PairSample(attribute, bool(wanted[i]), batch.shown[i], again[i], edits[i], truth))
            tally.add(engine, reconstructions=again, edits=edits, best=again[swapped], truth=batch.shown[swapped])

    def finish(self, sources: _FrechetSums) -> None:
        """Put means and shares among the results."""
        out = self.run.out
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

    def _compare(self, batch: _Batch, source: _Look, again: _Rendered) -> None:
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
        if self.run.identity:
            self._sums["identity"] += float(similarity(source.person, again.look.person).sum())
        if self.run.judge:
            self._sums["judge_agreement"] += float((source.seen == again.look.seen).mean(axis=1).sum())
            labels, known = self.run.labels_of(batch)
            self._sums["labels_confirmed"] += int((known & (again.look.seen == labels)).sum())
            self._sums["labels_known"] += int(known.sum())
        self._moments.add(again.pictures, again.look)

    def _add_edit(
        self, tally: EditTally, again: _Rendered, edited: CodeArray, wanted: NDArray[np.bool_], seconds: float
    ) -> _Rendered:
        edit = self.render(edited)
        tally.add(
            again.look.seen,
            edit.look.seen,
            wanted,
            identity=similarity(again.look.person, edit.look.person),
            logit_drift=logit_drift(self.run.engine, again.codes, edited, tally.others),
            code_distance=code_distance(again.codes, edited),
            seconds=seconds,
        )
        return edit

    def _edit_by_reference(
        self, batch: _Batch, again: _Rendered, references: _References, probes: Mapping[Kind, Probe]
    ) -> None:
        drawn, pool = references.of(batch), references.rendered[self.name]
        labels = [self.run.labels.get(entry.id) for entry in batch.entries]
        told = [self.run.labels.get(references.entries[number].id) for number in drawn]
        for (strength, attribute), tally in self._references.items():
            wanted = pool.look.seen[drawn, tally.attribute]
            began = time.perf_counter()
            edited = self.run.engine.edit_by_reference(again.codes, pool.codes[drawn], attribute, strength=strength)
            edit = self._add_edit(tally, again, edited, wanted, time.perf_counter() - began)
            gallery = (self.name, "reference", strength)
            self._keep(batch, gallery, attribute, again, edit, wanted, tally.attribute, pool.pictures[drawn])
            kind = KIND_OF.get(attribute)
            if kind and kind in probes and strength == self.run.settings.strengths[0]:
                kinds = self._kinds.setdefault(attribute, KindTally(probes[kind]))
                looks = (again.look.judged, edit.look.judged, pool.look.judged[drawn])
                kinds.add(labels, told, before=looks[0], after=looks[1], reference=looks[2])

    def _keep(
        self,
        batch: _Batch,
        gallery: Gallery,
        attribute: str,
        again: _Rendered,
        edit: _Rendered,
        wanted: NDArray[np.bool_],
        place: int,
        references: Pixels | None,
    ) -> None:
        """Keep the first pictures for the report."""
        samples = self.run.out.samples.setdefault(gallery, [])
        for i in range(min(len(batch.entries), self.run.settings.samples - batch.first)):
            if len(samples) <= batch.first + i:
                reference = None if references is None else references[i]
                samples.append(Sample(batch.shown[i], again.pictures[i], reference))
            success = bool(edit.look.seen[i, place] == wanted[i])
            samples[batch.first + i].edits[attribute] = SampleEdit(edit.pictures[i], bool(wanted[i]), success)


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for i in range(0, len(items), size):
        yield items[i : i + size]


def _join(parts: Sequence[_Rendered]) -> _Rendered:
    def whole(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
        return np.concatenate(arrays)

    looks = [part.look for part in parts]
    look = _Look(whole([x.seen for x in looks]), whole([x.judged for x in looks]), whole([x.person for x in looks]))
    return _Rendered(whole([part.codes for part in parts]), whole([part.pictures for part in parts]), look)


def _fit_probes(run: _Evaluation, entries: Sequence[Entry]) -> dict[Kind, Probe]:
    """Fit a probe for each kind that enough labelled pictures show."""
    wanted = {KIND_OF[name] for name in run.settings.attributes if name in KIND_OF}
    known = [entry for entry in entries if entry.id in run.labels and run.labels[entry.id].details]
    if not wanted or not known:
        return {}
    embeddings, labels = [], []
    for batch in run.read(known[:PROBE_PICTURES], tell=False):
        embeddings.append(run.engine.judge_embedding(batch.shown))
        labels += [run.labels[entry.id] for entry in batch.entries]
    fitted = {kind: Probe.fit(kind, np.concatenate(embeddings), labels) for kind in sorted(wanted)}
    return {kind: probe for kind, probe in fitted.items() if probe}


def _distance(sources: Moments, results: Moments) -> float | None:
    """None without features, and for a single picture, which has no covariance."""
    return frechet_distance(sources, results) if min(sources.count, results.count) > 1 else None


def _peak_memory(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows has none
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
