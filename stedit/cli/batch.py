"""The loop behind every command that computes: read a batch, run it through the model, deliver each result, go on.

A bad file costs itself only: it is reported in one sentence, and the rest of its batch is done.
"""

from __future__ import annotations

import errno
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stedit.atomic import write_file
from stedit.cli.console import DONE, FAILED, NOTHING_TO_DO, Console, Record, standard_output
from stedit.cli.inverter import Found, Inverter, Search
from stedit.cli.options import FileOptions, ModelOptions, RenderOptions
from stedit.cli.plan import Job, Plan, Source, Target
from stedit.errors import InputError, OutputError, SteditError, UsageError, cause
from stedit.imaging.animation import Animation
from stedit.imaging.files import Pixels, encode_image, fit_picture, read_picture, write_image
from stedit.imaging.sheets import sheet
from stedit.latents import LatentCode, is_latent_path
from stedit.tunings import Tuning, tuning_path

if TYPE_CHECKING:
    from stedit.engine import Engine

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
    """What a command made of one input: a picture, a latent code, or nothing but words."""

    made: Pixels | LatentCode | Animation | None
    details: dict[str, Any] = field(default_factory=dict)  # for the JSON record
    text: str = ""  # the same for a person
    tuning: Tuning | None = None  # of a code


Work = Callable[[Batch], Sequence[Product]]
Deliver = Callable[[Job, Product], str]


def write_all(
    plan: Plan,
    target: Target,
    start: Callable[[Engine], Work],
    *,
    verb: str,
    files: FileOptions,
    model: ModelOptions,
    console: Console,
    keep_pictures: bool = False,
    search: Search | None = None,
) -> int:
    """Do `plan`, writing every product to its place, or with --dry-run only tell it; returns the exit code."""
    if files.dry_run:
        return _tell(plan, console)
    if any(job.output is None for job in plan.jobs):
        require_free_stdout(console)

    def deliver(job: Job, product: Product) -> str:
        assert product.made is not None
        write(product.made, job.output, target.format, product.tuning)
        if product.text:
            console.detail(f"{job.source.name}: {product.text}")
        return str(job.output or "")

    return run(plan, start, deliver, verb, model, console, keep_pictures=keep_pictures, search=search)


def run(
    plan: Plan,
    start: Callable[[Engine], Work],
    deliver: Deliver,
    verb: str,
    model: ModelOptions,
    console: Console,
    *,
    keep_pictures: bool = False,
    search: Search | None = None,
) -> int:
    """Do `plan` batch by batch and report every input; returns the exit code.

    The model is loaded only if there is something to do. `start` gets the engine and returns what turns a batch into
    products; `deliver` is given a product as soon as its batch is done, and returns what to print for it. `search` says
    how codes are found where it is not by the encoder at once.
    """
    tally = _report_undone(plan, console)
    began = time.perf_counter()
    if plan.jobs:
        with console.progress(len(plan.jobs), verb) as progress:
            from stedit.engine import Engine

            engine = Engine.from_pretrained(model.model, device=model.device, precision=model.precision)
            console.detail(f"{engine.bundle.name} on {engine.device}, {model.precision}")
            work = start(engine)
            inverter = Inverter(engine, search, console, progress) if search else None
            began = time.perf_counter()
            if progress:
                progress.begin()
            for record in _records(engine, plan.jobs, work, deliver, model.batch_size, keep_pictures, inverter):
                tally[record.status] += 1
                console.report(record)
                if progress:
                    progress.advance()
                if _is_out_of_space(record.cause):
                    break  # all that follows would be computed in vain
    _summarise(tally, plan, console, time.perf_counter() - began)
    if tally["failed"]:
        return FAILED
    return DONE if tally["done"] else NOTHING_TO_DO


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
    engine: Engine, codes: Codes, options: RenderOptions, tunings: Sequence[Tuning | None] = ()
) -> Sequence[Pixels]:
    """The pictures (R, R, 3) of codes (B, N, D), each by the generator that was tuned for it, if one was."""
    return list(engine.synthesise(codes, noise=options.noise, seed=options.seed, tunings=tunings))


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


def require_free_stdout(console: Console) -> None:
    """Raise UsageError if standard output cannot take a picture or a code."""
    if console.json:
        raise UsageError("--json and the output both ask for standard output: name an output file with -o")
    if sys.stdout is not None and sys.stdout.isatty():
        raise UsageError("a terminal cannot show the output: redirect it, or name an output file with -o")


def write(made: Pixels | LatentCode | Animation, path: Path | None, kind: str, tuning: Tuning | None = None) -> None:
    """Put what was made at `path`, making its folder, or as `kind` on standard output.

    A code's tuning is put beside it, first, so that no code is there without it. Raises OutputError.
    """
    if path is None:
        if isinstance(made, LatentCode) and tuning:
            raise OutputError("a tuned code is two files, and standard output takes one: name an output with -o")
        with standard_output() as stdout:
            stdout.buffer.write(_encode(made, kind))
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {path.parent} ({cause(error)}): choose another one") from error
    if isinstance(made, LatentCode):
        if tuning:
            tuning.save(tuning_path(path))
        made.save(path)
    elif isinstance(made, Animation):
        write_file(path, made.encode(kind))
    else:
        write_image(path, made)


def _encode(made: Pixels | LatentCode | Animation, kind: str) -> bytes:
    if isinstance(made, LatentCode):
        return made.encode()
    return made.encode(kind) if isinstance(made, Animation) else encode_image(made, kind)


def _records(
    engine: Engine,
    jobs: Sequence[Job],
    work: Work,
    deliver: Deliver,
    batch_size: int,
    keep_pictures: bool,
    inverter: Inverter | None,
) -> Iterator[Record]:
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


def _tell(plan: Plan, console: Console) -> int:
    """Answer --dry-run."""
    tally = _report_undone(plan, console)
    for job in plan.jobs:
        text = f"{job.source.name} -> {_name(job)}"
        console.report(Record(job.source.name, _name(job), "planned", text=text))
    if tally["failed"]:
        return FAILED
    return DONE if plan.jobs else NOTHING_TO_DO


def _report_undone(plan: Plan, console: Console) -> Counter[str]:
    """Tell what is not going to be done, and why; gives how many inputs failed or are skipped already."""
    for error in plan.gathered.unreadable:
        console.report(Record.failed(*error))
    for job in plan.skipped:
        console.report(Record(job.source.name, _name(job), "skipped"))
        console.detail(f"{job.source.name}: skipped, because {_name(job)} exists")
    for folder in plan.gathered.empty:
        console.note(f"{folder} holds no pictures to work on (--recursive looks into its folders)")
    if left_out := plan.gathered.left_out:
        console.note(f"{len(left_out)} left out as outputs of earlier runs, such as {left_out[0]}")
    return Counter(failed=len(plan.gathered.unreadable), skipped=len(plan.skipped))


def _summarise(tally: Counter[str], plan: Plan, console: Console, seconds: float) -> None:
    """Add up, unless there is but one input and its result says it all."""
    done, parts = tally["done"], []
    if done:
        parts.append(f"{done} done in {seconds:.1f} s ({done / seconds:.1f} images/s)")
    if tally["failed"]:
        parts.append(f"{tally['failed']} failed")
    if plan.skipped:
        parts.append(f"{tally['skipped']} skipped because the output exists (--overwrite replaces it)")
    untried = len(plan.jobs) + tally["skipped"] + len(plan.gathered.unreadable) - tally.total()
    if untried:
        parts.append(f"{untried} not tried because nothing more can be written")
    if tally.total() + untried > 1 or plan.skipped:
        console.note(", ".join(parts))
    elif not tally.total():
        console.note("nothing to do")


def _is_out_of_space(error: Exception | None) -> bool:
    cause = error.__cause__ if isinstance(error, OutputError) else None
    return isinstance(cause, OSError) and cause.errno in {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


def _name(job: Job) -> str:
    return str(job.output) if job.output else "-"
