"""What commands that compute share: they do a plan, report every input, and end in an exit code."""

from __future__ import annotations

import errno
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from stedit.batch import pipeline, writing
from stedit.batch.inverter import Inverter, Search
from stedit.batch.pipeline import Deliver, Product, Work
from stedit.batch.plan import Job, Plan, Target
from stedit.batch.record import Record
from stedit.cli.console import DONE, FAILED, NOTHING_TO_DO, Console, standard_output
from stedit.cli.options import FileOptions, ModelOptions
from stedit.errors import OutputError, UsageError
from stedit.imaging.animation import Animation
from stedit.imaging.files import Pixels
from stedit.storage.latents import LatentCode
from stedit.storage.tunings import Tuning

if TYPE_CHECKING:
    from stedit.engine import Engine


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
            show = progress.describe if progress else lambda _state: None
            inverter = Inverter(engine, search, console.note, show) if search else None
            began = time.perf_counter()
            if progress:
                progress.begin()
            records = pipeline.run(
                engine,
                plan.jobs,
                work,
                deliver,
                batch_size=model.batch_size,
                keep_pictures=keep_pictures,
                inverter=inverter,
            )
            for record in records:
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


def require_free_stdout(console: Console) -> None:
    """Raise UsageError if standard output cannot take a picture or a code."""
    if console.json:
        raise UsageError("--json and the output both ask for standard output: name an output file with -o")
    if sys.stdout is not None and sys.stdout.isatty():
        raise UsageError("a terminal cannot show the output: redirect it, or name an output file with -o")


def write(made: Pixels | LatentCode | Animation, path: Path | None, kind: str, tuning: Tuning | None = None) -> None:
    """Put what was made at `path`, making its folder, or as `kind` on standard output. Raises OutputError."""
    if path is not None:
        writing.write(made, path, kind, tuning)
        return
    if isinstance(made, LatentCode) and tuning:
        raise OutputError("a tuned code is two files, and standard output takes one: name an output with -o")
    with standard_output() as stdout:
        stdout.buffer.write(writing.encode_output(made, kind))


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
