"""A process of several that share a run: it loads the model, and does parts of the jobs as `run` does all of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from stedit.batch.inputs import Inputs
from stedit.batch.naming import face_path
from stedit.batch.origins import foreign_output, signature
from stedit.batch.plan import Job, Plan
from stedit.batch.record import Record, Summary
from stedit.batch.reporter import Reporter, SilentReporter
from stedit.errors import SteditError

if TYPE_CHECKING:
    from stedit.batch.output import Output
    from stedit.batch.pipeline import Write
    from stedit.runtime.devices import Precision

MOST_JOBS = 64  # in a part: what is computed again if a worker dies
PARTS_EACH = 4  # for each worker, at least, so that none is idle for long at the end

Part = tuple[Job, ...]


@dataclass(frozen=True)
class Task:
    """What workers are to do, but for the jobs."""

    plan: Plan
    model: str
    device: str
    precision: Precision
    batch_size: int
    details: bool
    fail_fast: bool
    folder: str = field(default_factory=os.getcwd)
    """Which relative paths are in."""

    @property
    def bare(self) -> Task:
        """Without what only the planning of the run had a use for."""
        return replace(self, plan=replace(self.plan, jobs=(), skipped=(), refused=(), inputs=Inputs()))


@dataclass(frozen=True)
class Answer:
    """What became of a part."""

    records: tuple[Record, ...] = ()
    notes: tuple[str, ...] = ()
    error: SteditError | None = None
    """That every input would meet."""
    stopped: bool = False
    """Before all of it was tried."""


class Worker:
    """Does parts of a task."""

    def __init__(self, task: Task) -> None:
        os.chdir(task.folder)
        self._task = task
        self._collected = _Collected()
        self._prepare: SteditError | None = None
        try:
            from stedit.batch import process
            from stedit.engine import Engine

            engine = Engine.from_pretrained(task.model, device=task.device, precision=task.precision)
            self._process = process.start(
                task.plan.request, engine, self._collected, file_format=task.plan.format, details=task.details
            )
        except SteditError as error:
            self._prepare = error

    def __call__(self, part: Part) -> Answer:
        """Do the jobs of `part`."""
        from stedit.batch import pipeline

        if self._prepare:
            return Answer(error=self._prepare)
        plan = self._task.plan
        try:
            summary = pipeline.run(
                part,
                self._process,
                self._collected,
                write=file_writer(plan),
                batch_size=self._task.batch_size,
                fail_fast=self._task.fail_fast,
                made_since=partial(is_made_since, plan),
            )
        except SteditError as error:
            return Answer(*self._collected.take(), error)
        return Answer(*self._collected.take(), stopped=summary.untried > 0)


class _Collected(SilentReporter):
    def __init__(self) -> None:
        self._records: list[Record] = []
        self._notes: list[str] = []

    def record(self, record: Record) -> None:
        self._records.append(record)

    def note(self, text: str) -> None:
        self._notes.append(text)

    def take(self) -> tuple[tuple[Record, ...], tuple[str, ...]]:
        """What was reported since the last time."""
        taken = tuple(self._records), tuple(self._notes)
        self._records, self._notes = [], []
        return taken


class Tally:
    """Reports the answers of workers, each note once, and counts."""

    def __init__(self, reporter: Reporter) -> None:
        self.summary = Summary()
        self._reporter = reporter
        self._noted: set[str] = set()

    def add(self, answer: Answer) -> bool:
        """Whether to go on. Raises the error of an answer."""
        for note in answer.notes:
            if note not in self._noted:
                self._noted.add(note)
                self._reporter.note(note)
        for record in answer.records:
            self.summary.count(record)
            self._reporter.record(record)
        if answer.error:
            raise answer.error
        return not answer.stopped


def parts_of(jobs: Sequence[Job], workers: int, least: int) -> Iterator[Part]:
    """The jobs in parts of one size, from `least` to MOST_JOBS."""
    size = max(least, min(MOST_JOBS, len(jobs) // (PARTS_EACH * workers)), 1)
    for i in range(0, len(jobs), size):
        yield tuple(jobs[i : i + size])


def is_made_since(plan: Plan, job: Job) -> bool:
    """Whether another process has made the output of a job since the plan was made."""
    if plan.recipe is None or job.output is None or signature(job.output) == job.replaces:
        return False
    return plan.recipe.standing(job.output, job.source) == "same"


def file_writer(plan: Plan) -> Write:
    """Puts outputs in their places, with what they are made of."""
    from stedit.batch.writing import write_output

    def write(job: Job, output: Output) -> Sequence[str]:
        if job.output is None:
            return ()
        origin = plan.recipe.origin(output.source) if plan.recipe else None
        places = [face_path(job.output, number) for number, _ in enumerate(output.further, 2)]
        # Something may have come to lie there since the run was planned.
        changed = [job.output] if signature(job.output) != job.replaces else []
        for place in () if plan.overwrite else (*places, *changed):
            if plan.recipe and plan.recipe.standing(place, None) == "foreign":
                raise foreign_output(place)
        for place, crop in zip(places, output.further, strict=True):  # before the first, by which a rerun goes
            write_output(replace(output, made=crop), place, plan.format, origin=origin, mark=plan.mark)
        return write_output(output, job.output, plan.format, origin=origin, mark=plan.mark)

    return write
