"""Read a batch, run it through the model, deliver each result, go on.

A bad file costs itself only: it is reported in one sentence, and the rest of its batch is done.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stedit.batch.inverter import Found, Inverter
from stedit.batch.plan import Job, Source
from stedit.batch.record import Record
from stedit.errors import InputError, OutputError, SteditError
from stedit.imaging.animation import Animation
from stedit.imaging.files import Pixels, fit_picture, read_picture
from stedit.imaging.sheets import sheet
from stedit.storage.latents import LatentCode, is_latent_path
from stedit.storage.tunings import Tuning, tuning_path

if TYPE_CHECKING:
    from stedit.engine import Engine
    from stedit.models.generator import Noise

Codes = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Loaded:
    """One input in memory: a picture that is still to be inverted, or a code."""

    source: Source
    picture: Pixels | None = None  # of the size that the encoder takes
    target: Pixels | None = None  # the picture in the size that renderings are compared with, for methods that do
    code: Codes | None = None  # (N, D)
    tuning: Tuning | None = None  # of the code that was read
    shown: Pixels | None = None  # the picture in the size of the results, for sheets
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Batch:
    """Inputs that are computed together."""

    sources: Sequence[Source]
    codes: Codes  # (B, N, D)
    shown: Sequence[Pixels | None]
    tunings: Sequence[Tuning | None]
    details: Sequence[dict[str, Any]]  # how each code was found


@dataclass(frozen=True)
class Product:
    """What was made of one input: a picture, a latent code, or nothing but words."""

    made: Pixels | LatentCode | Animation | None
    details: dict[str, Any] = field(default_factory=dict)  # for the JSON record
    text: str = ""  # the same for a person
    tuning: Tuning | None = None  # of a code


Work = Callable[[Batch], Sequence[Product]]
Deliver = Callable[[Job, Product], str]


def load(engine: Engine, source: Source, *, keep_picture: bool, inverter: Inverter | None = None) -> Loaded:
    """Read a picture, or a latent code and its tuning. Raises InputError."""
    if source.path and is_latent_path(source.path):
        code = LatentCode.load(source.path)
        bundle = engine.bundle
        code.require(model=bundle.name, fingerprint=bundle.fingerprint, shape=engine.code_shape, path=source.path)
        tuning = None
        if code.tuning:
            tuning = Tuning.load(path := tuning_path(source.path))
            tuning.require(digest=code.tuning, path=path)
        return Loaded(source, code=code.w, tuning=tuning)
    read = read_picture(source.path) if source.path else read_picture(sys.stdin.buffer)
    shown = fit_picture(read.pixels, engine.output_size) if keep_picture else None
    picture, target = inverter.fit(read.pixels) if inverter else (fit_picture(read.pixels, engine.input_size), None)
    return Loaded(source, picture, target, shown=shown, notes=read.notes)


def encode(engine: Engine, loaded: Sequence[Loaded], inverter: Inverter | None = None) -> Batch:
    """Invert the pictures, together, and put their codes in line with those that were read."""
    pictures = [(one.picture, one.target) for one in loaded if one.picture is not None]
    if inverter:
        inverted = iter(inverter(pictures))
    else:
        codes = engine.invert(np.stack([picture for picture, _ in pictures])) if pictures else ()
        inverted = iter([Found(code) for code in codes])
    found = [next(inverted) if one.code is None else Found(one.code, one.tuning) for one in loaded]
    return Batch(
        [one.source for one in loaded],
        np.stack([one.code for one in found]),
        [one.shown for one in loaded],
        [one.tuning for one in found],
        [one.details for one in found],
    )


def draw(
    engine: Engine, codes: Codes, tunings: Sequence[Tuning | None] = (), *, noise: Noise, seed: int
) -> Sequence[Pixels]:
    """The pictures (R, R, 3) of codes (B, N, D), each by the generator that was tuned for it, if one was."""
    return list(engine.synthesise(codes, noise=noise, seed=seed, tunings=tunings))


def to_latent(engine: Engine, code: Codes, source: Source, method: str, tuning: Tuning | None = None) -> LatentCode:
    """A code (N, D) with all that a latent file tells about it."""
    file_name = source.path.name if source.path else ""  # in which folder it lay is nobody's business
    digest = tuning.digest if tuning else ""
    return LatentCode(code, engine.bundle.name, engine.bundle.fingerprint, method, file_name, tuning=digest)


def side_by_side(columns: Sequence[tuple[str, Pixels | None]]) -> Pixels:
    """One picture of titled pictures, or the only one as it is; the source of a latent file, None, is left out."""
    shown = [(title, picture) for title, picture in columns if picture is not None]
    if len(columns) == 1:
        return shown[0][1]
    return sheet([[picture for _, picture in shown]], titles=[title for title, _ in shown])


def run(
    engine: Engine,
    jobs: Sequence[Job],
    work: Work,
    deliver: Deliver,
    *,
    batch_size: int,
    keep_pictures: bool = False,
    inverter: Inverter | None = None,
) -> Iterator[Record]:
    """Do jobs batch by batch, and give a record of each input as soon as it is done or has failed.

    `work` turns a batch into products. `deliver` is given a product as soon as its batch is done, and returns what to
    print for it. `inverter` finds codes where it is not the encoder at once.
    """
    for i in range(0, len(jobs), batch_size):
        loaded: list[tuple[Job, Loaded]] = []
        for job in jobs[i : i + batch_size]:
            try:
                loaded.append((job, load(engine, job.source, keep_picture=keep_pictures, inverter=inverter)))
            except InputError as error:
                yield Record.failed(job.source.name, error)
        if loaded:
            yield from _compute(engine, loaded, work, deliver, inverter)


def _compute(
    engine: Engine, loaded: Sequence[tuple[Job, Loaded]], work: Work, deliver: Deliver, inverter: Inverter | None
) -> Iterator[Record]:
    products: Sequence[Product] | None
    began = time.perf_counter()
    try:
        products = work(encode(engine, [one for _, one in loaded], inverter))
    except SteditError:
        raise  # the model has no such part, say: every picture would meet it
    except Exception as error:  # noqa: BLE001 - out of memory, most likely
        if len(loaded) == 1:
            yield Record.failed(loaded[0][0].source.name, error)
            return
        products = None
    if products is None:  # one at a time then, once the error has let go of the memory
        for pair in loaded:
            yield from _compute(engine, [pair], work, deliver, inverter)
        return
    seconds = (time.perf_counter() - began) / len(loaded)
    for (job, one), product in zip(loaded, products, strict=True):
        try:
            text = deliver(job, product)
        except OutputError as error:
            yield Record.failed(job.source.name, error)
        else:
            yield Record(
                job.source.name,
                str(job.output) if job.output else None,
                seconds=seconds,
                notes=one.notes,
                details=product.details,
                text=text,
            )
