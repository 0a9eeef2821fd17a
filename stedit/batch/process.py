"""From a request to what is done with each batch of codes: `start(request, engine, ...)` gives a `Process`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, assert_never

import numpy as np
import numpy.typing as npt
import torch

from stedit.batch.inputs import Source
from stedit.batch.inverter import Inverted, Inverter, summarise
from stedit.batch.naming import strength_text
from stedit.batch.origins import UNKNOWN
from stedit.batch.photographs import EditedPhoto, Faces, write_options
from stedit.batch.reading import InputReader, LoadedInput
from stedit.batch.remarks import remark_on_edits
from stedit.batch.reporter import Reporter, SilentReporter
from stedit.batch.request import (
    CODE_FORMATS,
    AlignedCrop,
    Classification,
    InversionRequest,
    LabelEdit,
    Mix,
    PhotoOptions,
    Reconstruction,
    ReferenceEdit,
    Rendering,
    Request,
    Strength,
)
from stedit.checkpoints.interchange import load_directions
from stedit.editing.attributes import friendly_name
from stedit.editing.directions import LinearDirection, parse_direction
from stedit.errors import InputError
from stedit.imaging.animation import FORMATS as ANIMATION_FORMATS
from stedit.imaging.animation import Animation
from stedit.imaging.files import Pixels, write_image
from stedit.imaging.heatmap import heatmap
from stedit.imaging.sheets import enlarged, sheet
from stedit.photo.photograph import crop_of
from stedit.runtime.framing import frame
from stedit.storage.latents import LatentCode
from stedit.storage.tunings import Tuning

if TYPE_CHECKING:
    from stedit.engine import Engine
    from stedit.storage.bundle import Bundle

Latents = npt.NDArray[np.float32]

_UNFAMILIAR = (
    "unlike anything that {} has seen, so what comes of it may be no likeness (its reconstruction error is {:.2f}, "
    "usual is less than {:.2f})"
)
_TUNING_UNUSED = "its tuning is left out: a mix is rendered by the model's own generator"


@dataclass(frozen=True)
class CodeBatch:
    """Inputs that are computed together: their codes, one for each face, and what else is known of each."""

    sources: Sequence[Source]
    codes: Latents  # (B, N, D)
    rows: Sequence[slice]  # which of the codes are of each input
    originals: Sequence[Pixels | None]  # None for latent files, and where nobody asked for them
    tunings: Sequence[Tuning | None]  # of each code
    details: Sequence[dict[str, Any]]  # how the first code of each input was found
    errors: Sequence[float | None]  # of the reconstructions: the greatest of each input, None where it is unknown
    photos: Sequence[Faces | None]  # None for latent files that go into no photograph

    @property
    def first_codes(self) -> Latents:
        """Of each input, (inputs, N, D)."""
        return self.codes[[rows.start for rows in self.rows]]


@dataclass(frozen=True)
class Output:
    """What was made of one input: an image, an animation, a latent code, or nothing but what `details` say."""

    made: Pixels | LatentCode | Animation | EditedPhoto | None
    details: dict[str, Any] = field(default_factory=dict)  # for the JSON record
    summary: str = ""  # the same for a person
    tuning: Tuning | None = None  # of a code
    notes: tuple[str, ...] = ()  # what was not done of what one may expect
    source: str = UNKNOWN  # the digest of the bytes that it was made of

    @property
    def size(self) -> tuple[int, int] | None:
        """(width, height) in pixels; None for what is no image."""
        if self.made is None or isinstance(self.made, LatentCode):
            return None
        pixels = self.made
        if isinstance(pixels, Animation):
            pixels = pixels.frames[0]
        elif isinstance(pixels, EditedPhoto):
            pixels = pixels.pixels
        return pixels.shape[1], pixels.shape[0]


Batching = Literal["alone", "checked", "filled"]
"""How inputs are computed, so that no output depends on the others: each alone; in batches, where these turn out to
round as each alone; or in batches of one size, the last of which is filled up."""

LARGEST_IN_BATCHES = 256  # px, of renderings: where images are larger, a batch is hardly faster, and takes much memory

ProcessBatch = Callable[[CodeBatch], Sequence[Output]]


@dataclass(frozen=True)
class Process:
    """All that a pipeline needs to turn inputs into outputs, but for the engine."""

    inverter: Inverter
    reader: InputReader
    compute: ProcessBatch
    """Gives an output for each input of a batch. Raises SteditError for what the model cannot do."""
    render: Callable[[Latents], npt.NDArray[np.float32]]
    """Codes (B, N, D) to renderings (B, 3, R, R), about [-1, 1], to see how they are rounded."""
    batching: Batching = "alone"


def start(request: Request, engine: Engine, reporter: Reporter, *, file_format: str, details: bool = True) -> Process:
    """Prepare `request`: read and invert its references, and check that the model can do it.

    Args:
        request: what to make.
        engine: what makes it.
        reporter: told how inversions stand.
        file_format: of the outputs, one of `request.formats`; any for a request that writes nothing.
        details: whether edits report the probabilities of their attributes.

    Raises:
        InputError: a reference, or a file of directions, cannot be used.
        MissingPartError: the model lacks a network that the method needs.
    """
    latent = file_format in CODE_FORMATS
    inverter = Inverter(engine, InversionRequest(), reporter)
    several, keep_originals = False, False
    match request:
        case InversionRequest():
            inverter = Inverter(engine, request, reporter)
            compute: ProcessBatch = partial(_to_latents, engine, request)
        case Reconstruction():
            inverter = Inverter(engine, request.inversion, reporter)
            compute, keep_originals = partial(_reconstruct, engine, request), request.sheet
        case LabelEdit():
            _read_direction(request.direction)
            compute, keep_originals = _Editor(engine, request, file_format, details=details), request.sheet
            several = not latent
        case ReferenceEdit():
            references = _read_codes(engine, request.references, request.photo, reporter, keep_originals=request.sheet)
            compute = _Editor(engine, request, file_format, details=details, references=references)
            several, keep_originals = not latent, request.sheet
        case Mix():
            other = _read_codes(engine, [request.other], request.photo, reporter)
            if any(other.tunings):
                reporter.note(f"{request.other}: {_TUNING_UNUSED}")
            compute, several = partial(_mix, engine, request, file_format, other.codes), not latent
        case Classification():
            compute = partial(_classify, engine)
        case AlignedCrop():
            compute = partial(_crop, request)
        case _:
            assert_never(request)
    if not isinstance(request, AlignedCrop):
        compute = partial(_with_familiarity, engine.bundle, compute)
    reader = InputReader(
        engine, inverter, request.photo, keep_originals=keep_originals, several=several, note=reporter.note
    )
    return Process(inverter, reader, compute, partial(_float_renderings, engine), _batching(engine, inverter))


def _read_direction(text: str) -> None:
    """Meet a file of directions that cannot be read before there is any input. Raises InputError."""
    direction = parse_direction(text)
    for part in direction.parts if isinstance(direction, LinearDirection) else ():
        if part.file is not None:
            load_directions(part.file)


def _float_renderings(engine: Engine, codes: Latents) -> npt.NDArray[np.float32]:
    renders: npt.NDArray[np.float32] = engine.synthesise(torch.from_numpy(codes)).numpy()
    return renders


def _each(engine: Engine, function: Callable[[Latents], Latents], codes: Latents) -> Latents:
    """A cheap function of codes (B, N, D); on a CPU of one after the other, so that all are rounded alike."""
    if engine.device.type != "cpu":
        return function(codes)
    return np.concatenate([function(codes[i : i + 1]) for i in range(len(codes))])


def _batching(engine: Engine, inverter: Inverter) -> Batching:
    if engine.device.type != "cpu":
        return "filled"
    small = max(engine.output_size) <= LARGEST_IN_BATCHES
    return "checked" if small and inverter.takes_one_pass and engine.precision == "float32" else "alone"


def _with_familiarity(bundle: Bundle, compute: ProcessBatch, batch: CodeBatch) -> list[Output]:
    """What is made of each input, with a word on whether the model knows such images."""
    outputs = []
    for output, error in zip(compute(batch), batch.errors, strict=True):
        if error is None or bundle.reconstruction_limit is None:
            outputs.append(output)
            continue
        unfamiliar = error > bundle.reconstruction_limit
        details = {**output.details, "reconstruction_error": round(error, 4), "out_of_distribution": unfamiliar}
        note = (_UNFAMILIAR.format(bundle.name, error, bundle.reconstruction_limit),) if unfamiliar else ()
        outputs.append(replace(output, details=details, notes=(*output.notes, *note)))
    return outputs


def to_batch(loaded: Sequence[LoadedInput], inverter: Inverter) -> CodeBatch:
    """Invert the faces, together, and put their codes in line with those that were read."""
    inverted = iter(inverter([face for one in loaded for face in one.faces]))
    found: list[Inverted] = []
    rows = []
    for one in loaded:
        before = len(found)
        found += [Inverted(one.code, one.tuning)] if one.code is not None else [next(inverted) for _ in one.faces]
        rows.append(slice(before, len(found)))
    return CodeBatch(
        [one.source for one in loaded],
        np.stack([one.code for one in found]),
        rows,
        [one.original for one in loaded],
        [one.tuning for one in found],
        [found[place.start].details for place in rows],
        [_greatest([one.reconstruction_error for one in found[place]]) for place in rows],
        [Faces(one.photo, one.quads) if one.photo else None for one in loaded],
    )


def _greatest(errors: Sequence[float | None]) -> float | None:
    return max((error for error in errors if error is not None), default=None)


def _read_codes(
    engine: Engine,
    paths: Sequence[str | Path],
    options: PhotoOptions,
    reporter: Reporter,
    *,
    keep_originals: bool = False,
) -> CodeBatch:
    """The codes of references, of each the largest face. Raises InputError."""
    inverter = Inverter(engine, InversionRequest(), SilentReporter())
    largest = replace(options, face="largest", into=None)
    reader = InputReader(engine, inverter, largest, keep_originals=keep_originals, note=reporter.note)
    return to_batch([reader.read(Source.of(path)) for path in paths], inverter)


def _to_latents(engine: Engine, request: InversionRequest, batch: CodeBatch) -> list[Output]:
    return [
        Output(_latent(engine, batch, i, request.method), batch.details[i], summarise(batch.details[i]), tuning)
        for i, tuning in enumerate(batch.tunings)
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
    made: Sequence[Pixels | LatentCode | Animation | EditedPhoto]
    if file_format in CODE_FORMATS:
        method = request.suffix(engine.bundle)
        made = [_latent(engine, replace(batch, codes=mixed[0]), i, method) for i in range(len(batch.sources))]
    else:
        results = _Results(engine, request, batch, _render(engine, batch.codes, (), request.rendering))
        columns = [_render(engine, codes, (), request.rendering) for codes in mixed]
        made = _strip(request, results, columns, file_format)
    notes = [(_TUNING_UNUSED,) if any(batch.tunings[rows]) else () for rows in batch.rows]
    return [Output(one, notes=note) for one, note in zip(made, notes, strict=True)]


def _strip(
    request: Mix, results: _Results, columns: Sequence[Sequence[Pixels]], file_format: str
) -> Sequence[Pixels | Animation | EditedPhoto]:
    """What is made of each input, from the renderings of the codes at each strength."""
    if len(columns) == 1:
        return results.finished(columns[0])
    rows = list(zip(*(results.tiles(column) for column in columns), strict=True))  # one for each input
    if file_format in ANIMATION_FORMATS:
        return [Animation(row) for row in rows]
    titles = [f"{amount:.3g}" for amount in request.strengths]
    return [_side_by_side(list(zip(titles, row, strict=True))) for row in rows]


def _crop(request: AlignedCrop, batch: CodeBatch) -> list[Output]:
    outputs = []
    for source, faces in zip(batch.sources, batch.photos, strict=True):
        if faces is None:
            raise InputError(f"{source.name} is a latent code, of which there is nothing to crop: give a photograph")
        pixels = faces.photo.pixels
        crop = faces.face(pixels) if request.size is None else faces.quads[0].crop(pixels, request.size)
        outputs.append(Output(crop, {"quad": [round(value, 2) for value in faces.quads[0].values]}))
    return outputs


def _classify(engine: Engine, batch: CodeBatch) -> list[Output]:
    outputs = []
    for source, row in zip(batch.sources, _each(engine, engine.classify, batch.first_codes), strict=True):
        named = sorted(zip(engine.attributes, map(float, row), strict=True), key=lambda pair: -pair[1])
        listing = "\n".join(
            [source.name, *(f"  {probability:.3f}  {friendly_name(name, 1)}" for name, probability in named)]
        )
        outputs.append(Output(None, {"attributes": {name: round(p, 6) for name, p in named}}, listing))
    return outputs


@dataclass(frozen=True)
class _Results:
    """What is made of each input of a batch from the renderings of its codes, as the request asks for it."""

    engine: Engine
    request: LabelEdit | ReferenceEdit | Mix
    batch: CodeBatch
    before: Sequence[Pixels]  # of each code
    """The renderings of the codes as they are."""

    def finished(self, after: Sequence[Pixels]) -> list[Pixels | EditedPhoto]:
        """For each input the photograph, the face or the rendering, from the renderings `after` of its edited codes."""
        made: list[Pixels | EditedPhoto] = []
        options, bundle = self.request.photo, self.engine.bundle
        result = options.result_of(bundle)
        writing = write_options(options, bundle.name, self.request.suffix(bundle))
        for rows, faces in zip(self.batch.rows, self.batch.photos, strict=True):
            if faces is None or result == "render":
                made.append(after[rows.start])
                continue
            pixels = faces.edited(self.before[rows], after[rows])
            made.append(EditedPhoto(faces.photo, pixels, writing) if result == "photo" else faces.face(pixels))
        return made

    def tiles(self, after: Sequence[Pixels]) -> list[Pixels]:
        """The same as squares of one size for each input, for strips and sheets."""
        made = []
        rendered = self.request.photo.result_of(self.engine.bundle) == "render"
        for rows, faces in zip(self.batch.rows, self.batch.photos, strict=True):
            if faces is None or rendered:
                made.append(after[rows.start])
            else:
                made.append(faces.tile(faces.edited(self.before[rows], after[rows]), len(after[rows.start])))
        return made


@dataclass(frozen=True)
class _Editor:
    """Turns a batch into its edits: images, strips or animations of several strengths, sheets, or codes."""

    engine: Engine
    request: LabelEdit | ReferenceEdit
    file_format: str
    details: bool
    references: CodeBatch | None = None  # of a ReferenceEdit

    @property
    def latent(self) -> bool:
        """Whether codes are asked for."""
        return self.file_format in CODE_FORMATS

    def __call__(self, batch: CodeBatch) -> list[Output]:
        """Edit every code of `batch` at every strength."""
        edits = [_each(self.engine, partial(self._edit, strength), batch.codes) for strength in self.request.strengths]
        if isinstance(self.request, ReferenceEdit) and self.request.attention:
            write_image(self.request.attention, self._plot_attention(batch.codes))
        made: Sequence[Pixels | LatentCode | Animation | EditedPhoto]
        if self.latent:
            method = f"edit {self.request.name(self.engine.bundle)}"
            edited = replace(batch, codes=edits[0])
            made = [_latent(self.engine, edited, i, method) for i in range(len(batch.sources))]
        else:
            made = self._finish(batch, edits)
        first = [rows.start for rows in batch.rows]
        details = self._details(batch.first_codes, [codes[first] for codes in edits])
        tunings = [batch.tunings[k] if self.latent else None for k in first]
        notes = remark_on_edits(self.engine, self.request, batch.codes, edits, batch.rows)
        return [
            Output(one, detail, _summarise_edit(detail), tuning, note)
            for one, detail, tuning, note in zip(made, details, tunings, notes, strict=True)
        ]

    def _finish(self, batch: CodeBatch, edits: Sequence[Latents]) -> Sequence[Pixels | Animation | EditedPhoto]:
        before = self._render(batch.codes, batch.tunings)
        results = _Results(self.engine, self.request, batch, before)
        renders = [self._render(codes, batch.tunings) for codes in edits]
        if len(edits) == 1 and not self.request.sheet:
            return results.finished(renders[0])
        if self.file_format in ANIMATION_FORMATS and not self.request.sheet:
            return [Animation(frames) for frames in zip(*(results.tiles(column) for column in renders), strict=True)]
        first = [rows.start for rows in batch.rows]
        columns = [*self._columns_before(batch, [before[k] for k in first])]
        for title, column in zip(self._titles(), renders, strict=True):
            if self.request.sheet and any(batch.photos) and not self._gives_renders:
                columns.append((f"{title}, rendered", [column[k] for k in first]))
            columns.append((title, results.tiles(column)))
        return [_side_by_side([(title, column[i]) for title, column in columns]) for i in range(len(batch.sources))]

    def _edit(self, strength: Strength, codes: Latents) -> Latents:
        """Edit codes (B, N, D)."""
        request, bundle = self.request, self.engine.bundle
        names = request.names(bundle) if isinstance(request, LabelEdit) else request.celeba_names(bundle)
        if not isinstance(strength, Sequence):
            return self._edit_together(codes, names, strength)
        for name, one in zip(names, strength, strict=True):
            codes = self._edit_together(codes, [name], one)
        return codes

    def _edit_together(self, codes: Latents, names: Sequence[str], strength: float) -> Latents:
        request = self.request
        if isinstance(request, LabelEdit):
            return self.engine.edit_by_label(
                codes,
                names,
                strength=strength,
                direction=request.direction,
                keep=request.keep,
                layers=request.layers,
                strength_unit=request.strength_unit,
            )
        return self.engine.edit_by_reference(
            codes, self._reference_codes, names, strength=strength, weights=request.weights
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
                heatmap(layer[0].mean(axis=0), rows=f"{attribute}: source style", columns=f"style of {source.stem}")
                for layer in weights
            ]
            for attribute, of_references in zip(attributes, maps, strict=True)
            for source, weights in zip(self.references.sources, of_references, strict=True)
        ]
        return sheet(rows, titles=[f"layer {number}" for number in range(len(rows[0]))])

    def _columns_before(
        self, batch: CodeBatch, reconstructions: Sequence[Pixels]
    ) -> Iterator[tuple[str, Sequence[Pixels | None]]]:
        """What a sheet shows on the left of the edits."""
        if not self.request.sheet:
            return
        resolution = self.engine.output_size[0]
        if self._gives_renders:
            yield "source", batch.originals
        else:
            yield "source", [faces.tile(faces.photo.pixels, resolution) if faces else None for faces in batch.photos]
        yield "reconstruction", reconstructions
        if self.references:
            for i, image in enumerate(self.references.originals):
                if image is None:  # it is a latent file
                    image = self._render(self.references.codes[i : i + 1], self.references.tunings[i : i + 1])[0]
                yield "reference", [image] * len(batch.sources)

    @property
    def _gives_renders(self) -> bool:
        return self.request.photo.result_of(self.engine.bundle) == "render"

    def _titles(self) -> list[str]:
        """Of each edit."""
        bundle, strengths = self.engine.bundle, self.request.strengths
        title = " + ".join(self.request.names(bundle)) or self.request.name(bundle)
        return [strength_text(strength) if len(strengths) > 1 else title for strength in strengths]

    def _render(self, codes: Latents, tunings: Sequence[Tuning | None]) -> Sequence[Pixels]:
        return _render(self.engine, codes, tunings, self.request.rendering)

    def _details(self, codes: Latents, edits: Sequence[Latents]) -> list[dict[str, Any]]:
        """For each input, the probability of the edited attributes to the classifier, before and at each strength."""
        if not (self.details and self.engine.attributes):
            return [{} for _ in codes]
        before = _each(self.engine, self.engine.classify, codes)  # (B, K)
        after = [_each(self.engine, self.engine.classify, edit) for edit in edits]
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
    """`smile 0.02 -> 0.97`; "" without details."""
    changes = [
        f"{friendly_name(name, 1)} {before:.2f} -> {', '.join(f'{after:.2f}' for after in details['after'][name])}"
        for name, before in details.get("before", {}).items()
    ]
    return "; ".join(changes)


def _render(engine: Engine, codes: Latents, tunings: Sequence[Tuning | None], rendering: Rendering) -> Sequence[Pixels]:
    """The images of codes (B, N, D), each by the generator that was tuned for it, if one was.

    They are of the engine's `target_size`: what a square rendering of something wider is padded with is left out.
    """
    images = engine.synthesise(codes, noise=rendering.noise, seed=rendering.seed, tunings=tunings)
    return list(frame(images, engine.target_size))


def _latent(engine: Engine, batch: CodeBatch, index: int, method: str) -> LatentCode:
    """The code of an input of one face, with all that a latent file says of it."""
    source, row, faces = batch.sources[index], batch.rows[index].start, batch.photos[index]
    file_name = source.path.name if source.path else ""  # in which folder it lay is nobody's business
    tuning, bundle = batch.tunings[row], engine.bundle
    digest = tuning.digest if tuning else ""
    crop = "" if faces is None else crop_of(faces.photo, faces.quads[0])
    return LatentCode(batch.codes[row], bundle.name, bundle.fingerprint, method, file_name, crop, tuning=digest)


def _side_by_side(columns: Sequence[tuple[str, Pixels | None]]) -> Pixels:
    """One image of titled images, or the only one as it is; the source of a latent file, None, is left out."""
    shown = [(title, image) for title, image in columns if image is not None]
    if len(columns) == 1:
        return shown[0][1]
    size = max(len(image) for _, image in shown)
    return sheet([[enlarged(image, size) for _, image in shown]], titles=[title for title, _ in shown])
