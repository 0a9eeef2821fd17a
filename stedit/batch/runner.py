"""The batch engine: a request for many inputs, planned and done on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from stedit.batch.plan import Plan, plan_request
from stedit.batch.record import Summary
from stedit.batch.reporter import Reporter, SilentReporter
from stedit.batch.request import Request
from stedit.batch.worker import Task, file_writer, is_made_since
from stedit.errors import UsageError
from stedit.hub.find import find_bundle
from stedit.storage.atomic import sweep
from stedit.storage.bundle import Bundle
from stedit.storage.embedded import DEFAULT_MODEL

if TYPE_CHECKING:
    from stedit.batch.pipeline import Write
    from stedit.engine import Engine
    from stedit.runtime.devices import Precision

Spread = Literal["local", "ray"]
"""What a run is done by: this machine, or a cluster of Ray."""


def run(
    request: Request,
    inputs: Sequence[str | Path],
    *,
    output: str | Path | None = None,
    file_format: str | None = None,
    recursive: bool = False,
    overwrite: bool = False,
    model: str | Path | Engine = DEFAULT_MODEL,
    device: str = "auto",
    precision: Precision = "float32",
    batch_size: int = 8,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    shard: tuple[int, int] | None = None,
    fail_fast: bool = False,
    spread: Spread = "local",
    ray_address: str | None = None,
    reporter: Reporter | None = None,
) -> Summary:
    """Make what `request` says of every input, and write it; an input that cannot be used costs itself only.

    Args:
        request: an InversionRequest, Reconstruction, LabelEdit, ReferenceEdit, Mix or Classification.
        inputs: images, latent codes and folders of them.
        output: a file, or a folder that mirrors the tree of an input folder; None for beside each input.
        file_format: of the outputs, one of `request.formats`; None for that of `output`, else the first.
        recursive: look into the folders of folders.
        overwrite: make all outputs anew, and replace whatever is in their places; see `plan_request`.
        model: an embedded model, a folder, one on the Hub, or an engine; loaded only if there is something to compute.
        device: of a model that is to be loaded; several, separated by commas, share the work: a process for each.
        precision: of a model that is to be loaded.
        batch_size: inputs computed at a time on a GPU; on a CPU one or, where there are many, four.
        include, exclude: patterns of the files that are taken from folders, such as `*.jpg`.
        shard: (i, n) for the i-th of n parts of the inputs, from 1; see `plan_request`.
        fail_fast: stop at the first input that fails.
        spread: "ray" has a cluster of Ray do it, or several processes here if there is none.
        ray_address: of the cluster; None for that of RAY_ADDRESS.
        reporter: told of every input and of how it goes on; None for nobody.

    Returns:
        How many inputs are done, failed or skipped. What became of each is told to the reporter.

    Raises:
        AttributeNameError: the model does not know an attribute.
        UsageError: the request contradicts itself, two inputs share an output, an output would replace its input, or
            several outputs are to go to one place.
        OutputError: an output folder cannot be written to.
        BundleError: the model is missing or damaged, or lacks a part that the request needs.
        InputError: a reference of the request cannot be used.
        DeviceError: the device or precision is not available here.
    """
    bundle = Bundle.load(find_bundle(model)) if isinstance(model, str | Path) else model.bundle
    plan = plan_request(
        request,
        inputs,
        bundle,
        output=output,
        file_format=file_format,
        recursive=recursive,
        overwrite=overwrite,
        precision=model.precision if not isinstance(model, str | Path) else precision,
        include=include,
        exclude=exclude,
        shard=shard,
    )
    if plan.writes_to_stdout:
        raise UsageError("an output has no file to go to: name a file or a folder as output")
    return run_plans(
        [plan],
        model=model,
        device=device,
        precision=precision,
        batch_size=batch_size,
        fail_fast=fail_fast,
        spread=spread,
        ray_address=ray_address,
        reporter=reporter or SilentReporter(),
    )


def run_plans(
    plans: Sequence[Plan],
    *,
    model: str | Path | Engine,
    device: str = "auto",
    precision: Precision = "float32",
    batch_size: int = 8,
    fail_fast: bool = False,
    spread: Spread = "local",
    ray_address: str | None = None,
    reporter: Reporter,
    write: Write | None = None,
    details: bool = True,
) -> Summary:
    """Do what `plan_request` has planned, one plan after the other, with a model that is loaded once.

    `run` says what the other arguments mean.

    Args:
        plans: at least one.
        write: takes outputs to their places; None for the files of their jobs.
        details: whether edits report the probabilities of their attributes.
    """
    summary = Summary()
    whole = _together(plans)
    for record in whole.undone():
        summary.count(record)
        reporter.record(record)
    reporter.planned(whole)
    if whole.jobs and not (fail_fast and summary.failed):
        how = _How(model, device, precision, batch_size, fail_fast, details)
        if spread == "ray" or "," in device:
            if write is not None:
                raise UsageError("several processes write files: name a file or a folder as output", argument="output")
            do = _by_workers(how, spread, ray_address, reporter)
        else:
            do = _by_this_process(how, write, reporter)
        for plan in plans:
            done = do(plan) if plan.jobs else Summary()
            summary += done
            if done.untried:
                break
    summary.untried = len(whole.jobs) + len(whole.undone()) - (summary.done + summary.failed + summary.skipped)
    _sweep(whole)
    return summary


@dataclass(frozen=True)
class _How:
    model: str | Path | Engine
    device: str
    precision: Precision
    batch_size: int
    fail_fast: bool
    details: bool


def _by_this_process(how: _How, write: Write | None, reporter: Reporter) -> Callable[[Plan], Summary]:
    """Load the model; gives what does a plan."""
    from stedit.batch import pipeline, process
    from stedit.engine import Engine

    model = how.model
    if isinstance(model, str | Path):
        model = Engine.from_pretrained(model, device=how.device, precision=how.precision)
    reporter.loaded(model)

    def do(plan: Plan) -> Summary:
        prepared = process.start(plan.request, model, reporter, file_format=plan.format, details=how.details)
        return pipeline.run(
            plan.jobs,
            prepared,
            reporter,
            write=write or file_writer(plan),
            batch_size=how.batch_size,
            fail_fast=how.fail_fast,
            made_since=partial(is_made_since, plan),
        )

    return do


def _by_workers(how: _How, spread: Spread, ray_address: str | None, reporter: Reporter) -> Callable[[Plan], Summary]:
    """Processes that load the model each. Raises UsageError if it is in this one."""
    if not isinstance(how.model, str | Path):
        raise UsageError("several processes load the model each: give its name or folder instead of an engine")
    model = str(how.model)
    reporter.loaded(None)

    def do(plan: Plan) -> Summary:
        task = Task(plan, model, how.device, how.precision, how.batch_size, how.details, how.fail_fast)
        began = time.perf_counter()
        if spread == "ray":
            from stedit.batch.ray import run_on_ray

            done = run_on_ray(task, ray_address, reporter)
        else:
            from stedit.batch.devices import run_on_devices

            done = run_on_devices(task, how.device.split(","), reporter)
        done.seconds = time.perf_counter() - began
        done.untried = len(plan.jobs) - done.total
        return done

    return do


def _together(plans: Sequence[Plan]) -> Plan:
    """All jobs as those of one plan, for whoever counts them."""
    return replace(
        plans[0],
        jobs=tuple(job for plan in plans for job in plan.jobs),
        skipped=tuple(job for plan in plans for job in plan.skipped),
        refused=tuple(pair for plan in plans for pair in plan.refused),
        others=sum(plan.others for plan in plans),
    )


def _sweep(plan: Plan) -> None:
    """Remove what killed runs have left in the folders of the outputs."""
    for folder in {job.output.parent for job in (*plan.jobs, *plan.skipped) if job.output}:
        sweep(folder)
