"""From a request to what is done with each batch of codes: `start(request, engine, ...)` gives a `Process`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Literal, assert_never

import numpy as np
import numpy.typing as npt
import torch

from stedit.batch.code_batch import CodeBatch, read_references
from stedit.batch.editor import Editor
from stedit.batch.inverter import Inverter
from stedit.batch.making import (
    TUNING_UNUSED,
    make_classifications,
    make_crops,
    make_latents,
    make_mixes,
    make_reconstructions,
)
from stedit.batch.output import Output, ProcessBatch
from stedit.batch.reading import InputReader
from stedit.batch.reporter import Reporter
from stedit.batch.request import (
    CODE_FORMATS,
    AlignedCrop,
    Classification,
    InversionRequest,
    LabelEdit,
    Mix,
    Reconstruction,
    ReferenceEdit,
    Request,
)
from stedit.checkpoints.interchange import load_directions
from stedit.editing.directions import LinearDirection, parse_direction
from stedit.inversion.familiarity import rendering_error
from stedit.runtime.arrays import to_array
from stedit.runtime.framing import frame
from stedit.runtime.memory import image_bytes, images_on_device

if TYPE_CHECKING:
    from stedit.engine import Engine

_UNFAMILIAR = (
    "unlike anything that {} has seen, so what comes of it may be no likeness (its reconstruction error is {:.2f}, "
    "usual is less than {:.2f})"
)

Batching = Literal["alone", "checked", "filled"]
"""How inputs are computed, so that no output depends on the others: each alone; in batches, where these turn out to
round as each alone; or in batches of one size, the last of which is filled up."""

LARGEST_IN_BATCHES = 256  # px, of renderings: where images are larger, a batch is hardly faster, and takes much memory


@dataclass(frozen=True)
class Process:
    """All that a pipeline needs to turn inputs into outputs, but for the engine."""

    inverter: Inverter
    reader: InputReader
    compute: ProcessBatch
    render: Callable[[CodeBatch], npt.NDArray[np.float32]]
    """Renders the codes as they are: (B, 3, R, R), about [-1, 1], to see how they are rounded."""
    image_bytes: int
    """Memory that it takes to render one."""
    most: int
    """Images that the device can render at a time."""
    batching: Batching = "alone"
    verdict: list[bool] = field(default_factory=list)
    """Whether a batch rounds as each of its inputs alone, once a run has seen it; the next need not look again."""


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
            compute: ProcessBatch = partial(make_latents, engine, request)
            several = request.tuning is None
        case Reconstruction():
            inverter = Inverter(engine, request.inversion, reporter)
            compute, several = partial(make_reconstructions, engine, request), True
            keep_originals = request.sheet
        case LabelEdit():
            _read_direction(request.direction)
            compute, keep_originals = Editor(engine, request, file_format, details=details), request.sheet
            several = not latent
        case ReferenceEdit():
            references = read_references(
                engine, request.references, request.photo, reporter, keep_originals=request.sheet
            )
            compute = Editor(engine, request, file_format, details=details, references=references)
            several, keep_originals = not latent, request.sheet
        case Mix():
            other = read_references(engine, [request.other], request.photo, reporter)
            if any(other.tunings):
                reporter.note(f"{request.other}: {TUNING_UNUSED}")
            compute, several = partial(make_mixes, engine, request, file_format, other.codes), not latent
        case Classification():
            compute, several = partial(make_classifications, engine), True
        case AlignedCrop():
            inverter = Inverter(engine, InversionRequest(), reporter, faces_alone=True)
            compute, several = partial(make_crops, request), True
        case _:
            assert_never(request)
    if not isinstance(request, AlignedCrop):
        compute = partial(_with_familiarity, engine, compute)
    reader = InputReader(
        engine, inverter, request.photo, keep_originals=keep_originals, several=several, note=reporter.note
    )
    config = engine.networks.generator.config
    return Process(
        inverter,
        reader,
        compute,
        partial(_float_renderings, engine),
        image_bytes(config),
        images_on_device(config, engine.device),
        "alone" if isinstance(request, AlignedCrop) else _batching(engine, inverter),
    )


def _read_direction(text: str) -> None:
    """Meet a file of directions that cannot be read before there is any input. Raises InputError."""
    direction = parse_direction(text)
    for part in direction.parts if isinstance(direction, LinearDirection) else ():
        if part.file is not None:
            load_directions(part.file)


def _float_renderings(engine: Engine, batch: CodeBatch) -> npt.NDArray[np.float32]:
    rendered = engine.synthesise(torch.from_numpy(batch.codes))
    batch.renderings[:] = frame(to_array(rendered), engine.target_size)
    numbers: npt.NDArray[np.float32] = rendered.numpy()
    return numbers


def _batching(engine: Engine, inverter: Inverter) -> Batching:
    if engine.device.type != "cpu":
        return "filled"
    small = max(engine.output_size) <= LARGEST_IN_BATCHES
    return "checked" if small and inverter.takes_one_pass and engine.precision == "float32" else "alone"


def _with_familiarity(engine: Engine, compute: ProcessBatch, batch: CodeBatch) -> list[Output]:
    """What is made of each input, with a word on whether the model knows such images."""
    bundle = engine.bundle
    made = compute(batch)
    if bundle.reconstruction_limit is None:
        return list(made)
    outputs = []
    for output, error in zip(made, _reconstruction_errors(engine, batch), strict=True):
        if error is None:
            outputs.append(output)
            continue
        unfamiliar = error > bundle.reconstruction_limit
        details = {**output.details, "reconstruction_error": round(error, 4), "out_of_distribution": unfamiliar}
        note = (_UNFAMILIAR.format(bundle.name, error, bundle.reconstruction_limit),) if unfamiliar else ()
        outputs.append(replace(output, details=details, notes=(*output.notes, *note)))
    return outputs


def _reconstruction_errors(engine: Engine, batch: CodeBatch) -> list[float | None]:
    """The greatest of each input; None of a code that was read. Codes are rendered only if nobody has done so."""
    shown = [k for k, face in enumerate(batch.faces) if face is not None]
    if not shown:
        return [None for _ in batch.rows]
    faces = np.stack([face for face in batch.faces if face is not None])
    if batch.renderings:
        found = rendering_error(engine.model, faces, np.stack([batch.renderings[k] for k in shown]))
    else:
        found = engine.reconstruction_error(faces, batch.codes[shown])
    errors = dict(zip(shown, found.tolist(), strict=True))
    return [max((errors[k] for k in range(rows.start, rows.stop) if k in errors), default=None) for rows in batch.rows]
