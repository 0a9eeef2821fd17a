"""From a request to what is done with each batch of codes: `start(request, engine, ...)` gives a `Process`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_never

import numpy as np
import numpy.typing as npt

from stedit.batch.inputs import Source
from stedit.batch.inverter import Inverted, Inverter, summarise
from stedit.batch.reading import LoadedInput, read_input
from stedit.batch.reporter import Reporter, SilentReporter
from stedit.batch.request import (
    LATENT_FORMAT,
    Classification,
    InversionRequest,
    LabelEdit,
    Mix,
    Reconstruction,
    ReferenceEdit,
    Rendering,
    Request,
)
from stedit.imaging.animation import FORMATS as ANIMATION_FORMATS
from stedit.imaging.animation import Animation
from stedit.imaging.files import Pixels, write_image
from stedit.imaging.heatmap import matrix
from stedit.imaging.sheets import sheet
from stedit.storage.latents import LatentCode
from stedit.storage.tunings import Tuning

if TYPE_CHECKING:
    from stedit.engine import Engine

Latents = npt.NDArray[np.float32]


@dataclass(frozen=True)
class CodeBatch:
    """Inputs that are computed together: their codes, and what else is known of each."""

    sources: Sequence[Source]
    codes: Latents  # (B, N, D)
    originals: Sequence[Pixels | None]  # None for latent files, and where nobody asked for them
    tunings: Sequence[Tuning | None]
    details: Sequence[dict[str, Any]]  # how each code was found


@dataclass(frozen=True)
class Output:
    """What was made of one input: an image, an animation, a latent code, or nothing but what `details` say."""

    made: Pixels | LatentCode | Animation | None
    details: dict[str, Any] = field(default_factory=dict)  # for the JSON record
    summary: str = ""  # the same for a person
    tuning: Tuning | None = None  # of a code


ProcessBatch = Callable[[CodeBatch], Sequence[Output]]


@dataclass(frozen=True)
class Process:
    """All that a pipeline needs to turn inputs into outputs, but for the engine."""

    inverter: Inverter
    compute: ProcessBatch
    """Gives an output for each code of a batch. Raises SteditError for what the model cannot do."""
    keep_originals: bool = False


def start(request: Request, engine: Engine, reporter: Reporter, *, file_format: str, details: bool = True) -> Process:
    """Prepare `request`: read and invert its references, and check that the model can do it.

    Args:
        request: what to make.
        engine: what makes it.
        reporter: told how inversions stand.
        file_format: of the outputs, one of `request.formats`; any for a request that writes nothing.
        details: whether edits report the probabilities of their attributes.

    Raises:
        InputError: a reference cannot be used.
        MissingPartError: the model lacks a network that the method needs.
    """
    latent = file_format == LATENT_FORMAT
    inverter = Inverter(engine, InversionRequest(), reporter)
    match request:
        case InversionRequest():
            return Process(Inverter(engine, request, reporter), partial(_to_latents, engine, request))
        case Reconstruction():
            inverter = Inverter(engine, request.inversion, reporter)
            return Process(inverter, partial(_reconstruct, engine, request), request.sheet)
        case LabelEdit():
            edit = _Editor(engine, request, latent=latent, details=details)
            return Process(inverter, edit, request.sheet)
        case ReferenceEdit():
            references = _read_codes(engine, request.references, keep_originals=request.sheet)
            edit = _Editor(engine, request, latent=latent, details=details, references=references)
            return Process(inverter, edit, request.sheet)
        case Mix():
            other = _read_codes(engine, [request.other]).codes
            return Process(inverter, partial(_mix, engine, request, file_format, other))
        case Classification():
            return Process(inverter, partial(_classify, engine))
    assert_never(request)


def to_batch(loaded: Sequence[LoadedInput], inverter: Inverter) -> CodeBatch:
    """Invert the images, together, and put their codes in line with those that were read."""
    inverted = iter(inverter([(one.image, one.target) for one in loaded if one.image is not None]))
    found = [next(inverted) if one.code is None else Inverted(one.code, one.tuning) for one in loaded]
    return CodeBatch(
        [one.source for one in loaded],
        np.stack([one.code for one in found]),
        [one.original for one in loaded],
        [one.tuning for one in found],
        [one.details for one in found],
    )


def _read_codes(engine: Engine, paths: Sequence[str | Path], *, keep_originals: bool = False) -> CodeBatch:
    """The codes of references. Raises InputError."""
    inverter = Inverter(engine, InversionRequest(), SilentReporter())
    loaded = [read_input(Source(Path(path)), engine, inverter, keep_original=keep_originals) for path in paths]
    return to_batch(loaded, inverter)


def _to_latents(engine: Engine, request: InversionRequest, batch: CodeBatch) -> list[Output]:
    return [
        Output(_latent(engine, code, source, request.method, tuning), details, summarise(details), tuning)
        for code, source, tuning, details in zip(batch.codes, batch.sources, batch.tunings, batch.details, strict=True)
    ]


def _reconstruct(engine: Engine, request: Reconstruction, batch: CodeBatch) -> list[Output]:
    images = _render(engine, batch.codes, batch.tunings, request.rendering)
    if request.sheet:
        pairs = zip(batch.originals, images, strict=True)
        images = [_side_by_side([("source", source), ("reconstruction", image)]) for source, image in pairs]
    return [Output(image, details, summarise(details)) for image, details in zip(images, batch.details, strict=True)]


def _mix(engine: Engine, request: Mix, file_format: str, other: Latents, batch: CodeBatch) -> list[Output]:
    """`other` is the code (1, N, D) of the face to mix in."""
    mixed = [engine.mix(batch.codes, other, strength=amount, layers=request.layers) for amount in request.strengths]
    if file_format == LATENT_FORMAT:
        # the file's method has always been the suffix of its name
        method = request.suffix(engine.bundle)
        return [
            Output(_latent(engine, code, source, method)) for code, source in zip(mixed[0], batch.sources, strict=True)
        ]
    columns = [_render(engine, codes, (), request.rendering) for codes in mixed]
    rows = list(zip(*columns, strict=True))  # one for each input
    if len(request.strengths) > 1 and file_format in ANIMATION_FORMATS:
        return [Output(Animation(row)) for row in rows]
    titles = [f"{amount:.3g}" for amount in request.strengths]
    return [Output(_side_by_side(list(zip(titles, row, strict=True)))) for row in rows]


def _classify(engine: Engine, batch: CodeBatch) -> list[Output]:
    outputs = []
    for source, row in zip(batch.sources, engine.classify(batch.codes), strict=True):
        named = sorted(zip(engine.attributes, map(float, row), strict=True), key=lambda pair: -pair[1])
        listing = "\n".join([source.name, *(f"  {probability:.3f}  {name}" for name, probability in named)])
        outputs.append(Output(None, {"attributes": {name: round(p, 6) for name, p in named}}, listing))
    return outputs


@dataclass(frozen=True)
class _Editor:
    """Turns a batch into its edits: images, strips of several strengths, sheets, or codes."""

    engine: Engine
    request: LabelEdit | ReferenceEdit
    latent: bool
    details: bool
    references: CodeBatch | None = None  # of a ReferenceEdit

    def __call__(self, batch: CodeBatch) -> list[Output]:
        """Edit every code of `batch` at every strength."""
        edits = [self._edit(batch.codes, strength) for strength in self.request.strengths]
        if isinstance(self.request, ReferenceEdit) and self.request.attention:
            write_image(self.request.attention, self._plot_attention(batch.codes))
        made: Sequence[Pixels | LatentCode]
        if self.latent:
            method = f"edit {self.request.name(self.engine.bundle)}"
            made = [
                _latent(self.engine, code, source, method, tuning)
                for code, source, tuning in zip(edits[0], batch.sources, batch.tunings, strict=True)
            ]
        else:
            columns = [*self._columns_before(batch), *self._columns(batch, edits)]
            made = [_side_by_side([(title, column[i]) for title, column in columns]) for i in range(len(batch.sources))]
        details = self._details(batch.codes, edits)
        return [
            Output(one, detail, _summarise_edit(detail), tuning)
            for one, detail, tuning in zip(made, details, batch.tunings, strict=True)
        ]

    def _edit(self, codes: Latents, strength: float) -> Latents:
        """Edit codes (B, N, D)."""
        request, bundle = self.request, self.engine.bundle
        if isinstance(request, LabelEdit):
            return self.engine.edit_by_label(
                codes,
                request.names(bundle),
                strength=strength,
                direction=request.direction,
                keep=request.keep,
                layers=request.layers,
            )
        return self.engine.edit_by_reference(
            codes, self._reference_codes, request.celeba_names(bundle), strength=strength, weights=request.weights
        )

    @property
    def _reference_codes(self) -> list[Latents]:
        assert self.references is not None
        return [code[None] for code in self.references.codes]

    def _plot_attention(self, codes: Latents) -> Pixels:
        """Which styles of a code (1, N, D) take from which of the references, as the mean over the heads.

        A row for each attribute and reference, a column for each layer of the edit transformer.
        """
        assert self.references is not None
        attributes = self.request.celeba_names(self.engine.bundle)
        maps = self.engine.attention(codes, self._reference_codes, attributes)
        rows = [
            [
                matrix(layer[0].mean(axis=0), rows=f"{attribute}: source style", columns=f"style of {source.stem}")
                for layer in weights
            ]
            for attribute, of_references in zip(attributes, maps, strict=True)
            for source, weights in zip(self.references.sources, of_references, strict=True)
        ]
        return sheet(rows, titles=[f"layer {number}" for number in range(len(rows[0]))])

    def _columns_before(self, batch: CodeBatch) -> Iterator[tuple[str, Sequence[Pixels | None]]]:
        """What a sheet shows on the left of the edits."""
        if not self.request.sheet:
            return
        yield "source", batch.originals
        yield "reconstruction", self._render(batch.codes, batch.tunings)
        if self.references:
            for i, image in enumerate(self.references.originals):
                if image is None:  # it is a latent file
                    image = self._render(self.references.codes[i : i + 1], self.references.tunings[i : i + 1])[0]
                yield "reference", [image] * len(batch.sources)

    def _columns(self, batch: CodeBatch, edits: Sequence[Latents]) -> Iterator[tuple[str, Sequence[Pixels]]]:
        bundle, strengths = self.engine.bundle, self.request.strengths
        title = " + ".join(self.request.names(bundle)) or self.request.name(bundle)
        for strength, codes in zip(strengths, edits, strict=True):
            yield f"{strength:g}" if len(strengths) > 1 else title, self._render(codes, batch.tunings)

    def _render(self, codes: Latents, tunings: Sequence[Tuning | None]) -> Sequence[Pixels]:
        return _render(self.engine, codes, tunings, self.request.rendering)

    def _details(self, codes: Latents, edits: Sequence[Latents]) -> list[dict[str, Any]]:
        """For each input, the probability of the edited attributes to the classifier, before and at each strength."""
        if not (self.details and self.engine.attributes):
            return [{} for _ in codes]
        before = self.engine.classify(codes)  # (B, K)
        after = [self.engine.classify(edit) for edit in edits]
        names = self.request.celeba_names(self.engine.bundle)
        places = {name: self.engine.attributes.index(name) for name in names}
        return [
            {
                "strength": list(self.request.strengths),
                "before": {name: round(float(before[i, k]), 4) for name, k in places.items()},
                "after": {name: [round(float(edit[i, k]), 4) for edit in after] for name, k in places.items()},
            }
            for i in range(len(codes))
        ]


def _summarise_edit(details: dict[str, Any]) -> str:
    """`Smiling 0.02 -> 0.97`; "" without details."""
    changes = [
        f"{name} {before:.2f} -> {', '.join(f'{after:.2f}' for after in details['after'][name])}"
        for name, before in details.get("before", {}).items()
    ]
    return "; ".join(changes)


def _render(engine: Engine, codes: Latents, tunings: Sequence[Tuning | None], rendering: Rendering) -> Sequence[Pixels]:
    """The images (R, R, 3) of codes (B, N, D), each by the generator that was tuned for it, if one was."""
    return list(engine.synthesise(codes, noise=rendering.noise, seed=rendering.seed, tunings=tunings))


def _latent(engine: Engine, code: Latents, source: Source, method: str, tuning: Tuning | None = None) -> LatentCode:
    """A code (N, D) with all that a latent file says of it."""
    file_name = source.path.name if source.path else ""  # in which folder it lay is nobody's business
    digest = tuning.digest if tuning else ""
    return LatentCode(code, engine.bundle.name, engine.bundle.fingerprint, method, file_name, tuning=digest)


def _side_by_side(columns: Sequence[tuple[str, Pixels | None]]) -> Pixels:
    """One image of titled images, or the only one as it is; the source of a latent file, None, is left out."""
    shown = [(title, image) for title, image in columns if image is not None]
    if len(columns) == 1:
        return shown[0][1]
    return sheet([[image for _, image in shown]], titles=[title for title, _ in shown])
