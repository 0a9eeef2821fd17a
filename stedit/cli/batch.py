"""What commands that work on many inputs share: the batch engine does a request, and a person or a program hears of it.

The exit code follows from how many inputs are done, failed or skipped.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from stedit.batch import Job, Plan, Record, Request, Summary, plan_request, run_plans
from stedit.cli.console import Console, standard_output
from stedit.cli.exit_codes import DONE, FAILED, INTERRUPTED, NOTHING_TO_DO
from stedit.cli.inputs import expand_path
from stedit.cli.journal import Journal
from stedit.cli.options import BatchOptions, FileOptions, ModelOptions
from stedit.cli.progress import Bar, NoBar
from stedit.errors import UsageError
from stedit.imaging import heic

if TYPE_CHECKING:
    from stedit.batch.output import Output
    from stedit.engine import Engine
    from stedit.storage.bundle import Bundle

HEARTBEAT_SECONDS = 30.0
MADE_BEFORE = "skipped, made by the same request before (--overwrite makes them anew)"
OFTEN_ENOUGH = 3  # inputs of which the same is said, before it is counted only


def run_request(
    request: Request,
    inputs: Sequence[str],
    bundle: Bundle,
    *,
    verb: str,
    files: FileOptions,
    model: ModelOptions,
    console: Console,
    many: BatchOptions | None = None,
    file_format: str | None = None,
) -> int:
    """Do a request that writes files, or with --dry-run only show what it would write; returns the exit code."""
    many = many or BatchOptions()
    plan = plan_request(
        request,
        inputs,
        bundle,
        output=None if files.output is None else expand_path(files.output),
        file_format=file_format,
        recursive=files.recursive,
        overwrite=files.overwrite,
        precision=model.precision,
        include=many.include or (),
        exclude=many.exclude or (),
        shard=many.parsed_shard,
    )
    if files.dry_run:
        return show_plans([plan], console)
    if plan.writes_to_stdout:
        require_free_stdout(console)
    return run_all([plan], model, TerminalReporter(console, verb), many)


def run_all(plans: Sequence[Plan], model: ModelOptions, reporter: TerminalReporter, many: BatchOptions) -> int:
    """Do plans with a model that is loaded only if there is something to do; returns the exit code."""
    console = reporter.console
    to_stdout = plans[0].writes_to_stdout

    def write(_job: Job, output: Output) -> Sequence[str]:
        from stedit.batch.writing import encode_output

        plan = plans[0]
        origin = plan.recipe.origin(output.source) if plan.recipe else None
        write_to_stdout(encode_output(output, plan.format, origin=origin, mark=plan.mark))
        return ()

    try:
        with reporter, Journal(many.log, many.failures) as journal:
            reporter.journal = journal
            summary = run_plans(
                plans,
                model=model.model,
                device=model.device,
                precision=model.precision,
                batch_size=model.batch_size,
                fail_fast=many.fail_fast,
                spread=many.engine,
                ray_address=many.ray_address,
                reporter=reporter,
                write=write if to_stdout else None,
                details=console.json or console.verbose,
            )
    except KeyboardInterrupt:
        console.note(reporter.stopped)
        return INTERRUPTED
    reporter.finish(summary, fail_fast=many.fail_fast)
    others = any(plan.others for plan in plans)  # a shard may be empty where the whole is not
    return DONE if others and not summary.total else exit_code(summary)


def exit_code(summary: Summary) -> int:
    """What the command ends with."""
    if summary.failed:
        return FAILED
    return DONE if summary.done or summary.skipped else NOTHING_TO_DO


class TerminalReporter:
    """Prints the record of each input, and shows a bar to a person who is watching."""

    def __init__(
        self,
        console: Console,
        verb: str,
        *,
        result: Callable[[Record], str] | None = None,
        errors_only: bool = False,
    ) -> None:
        """How to report.

        Args:
            console: where to.
            verb: what is done, for the bar.
            result: gives what to print for an input that is done; by default the file that was written.
            errors_only: print nothing else of an input, since the result of the command is another one.
        """
        self.console = console
        self._verb = verb
        self._result = result
        self._errors_only = errors_only
        self._closing = ExitStack()
        self._bar: Bar = NoBar()
        self._heartbeat: Heartbeat | None = None
        self._planned = self._tried = 0
        self._said: Counter[str] = Counter()
        self._sizes: set[tuple[int, int]] = set()
        self.journal: Journal | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._closing.close()

    def record(self, record: Record) -> None:
        """The result on standard output; notes and an error on standard error."""
        if self.journal:
            self.journal.record(record)
        self._bar.advance()
        self._tried += 1
        if record.size:
            self._sizes.add(record.size)
        if self._heartbeat:
            self._heartbeat.count(record)
        if self._errors_only:
            if record.error:
                self.console.error(record.error, record.input)
            return
        if record.status == "done" and record.summary and not self._result:
            self.console.verbose_note(f"{record.input}: {record.summary}")
        text = ""
        if record.status == "done":
            text = self._result(record) if self._result else "\n".join(record.outputs)
        self.console.emit_record(record, text, notes=self._new(record.notes))
        if record.status == "skipped":
            self.console.verbose_note(f"{record.input}: skipped, since {record.output} is there by the same request")

    def _new(self, notes: Sequence[str]) -> list[str]:
        """Those that have not been said of other inputs so often that one more says nothing."""
        self._said.update(notes)
        return [note for note in notes if self._said[note] <= OFTEN_ENOUGH]

    def planned(self, plan: Plan) -> None:
        """Say what is left out, and start the bar."""
        _note_left_out(plan, self.console)
        self._planned, self._tried = len(plan.jobs), 0
        if plan.jobs:
            self._bar = self._closing.enter_context(self.console.bar(len(plan.jobs), self._verb))
            self._heartbeat = None if self.console.terminal else Heartbeat(len(plan.jobs), self.console)

    def loaded(self, engine: Engine | None) -> None:
        """Name the model and the device, for those who ask for more."""
        if engine:
            self.console.verbose_note(f"{engine.bundle.name} on {engine.device}, {engine.precision}")
        self._bar.begin()

    def note(self, text: str) -> None:
        """On standard error."""
        self.console.note(text)

    def progress(self, state: str, done: float = 0.0) -> None:
        """Beside the bar."""
        self._bar.describe(state, done)

    def finish(self, summary: Summary, *, fail_fast: bool = False) -> None:
        """Add up: how many, how fast and how large; how often what was said before was so again."""
        for note, count in self._said.items():
            if count > OFTEN_ENOUGH:
                self.console.note(f"{count - OFTEN_ENOUGH} more: {note}")
        show_summary(summary, self.console, sizes=self._sizes, fail_fast=fail_fast)

    @property
    def stopped(self) -> str:
        """What to say after Ctrl-C."""
        count = f"stopped after {self._tried} of {self._planned}"
        return count if self._result or self._errors_only else f"{count}: the same command goes on"


def require_free_stdout(console: Console) -> None:
    """Raise UsageError if standard output cannot take an image or a code."""
    if console.json:
        raise UsageError("--json and the output both ask for standard output: name an output file with -o")
    if sys.stdout is not None and sys.stdout.isatty():
        raise UsageError("a terminal cannot show the output: redirect it, or name an output file with -o")


def write_to_stdout(data: bytes) -> None:
    """Print the bytes of an image or a code. Raises OutputError."""
    with standard_output() as stdout:
        stdout.buffer.write(data)


class Heartbeat:
    """A line once in a while on a standard error that is no terminal, so that a log shows that a run is alive."""

    def __init__(self, total: int, console: Console) -> None:
        self._total, self._console = total, console
        self._done = self._failed = 0
        self._began = self._last = time.monotonic()

    def count(self, record: Record) -> None:
        """Count one more input, and say how it goes if that is due."""
        self._done += 1
        self._failed += record.status == "failed"
        now = time.monotonic()
        if now - self._last < HEARTBEAT_SECONDS or self._done == self._total:
            return
        self._last = now
        rate = self._done / (now - self._began)
        left = timedelta(seconds=round((self._total - self._done) / rate))
        failed = f", {self._failed} failed" if self._failed else ""
        self._console.note(f"{self._done} of {self._total}{failed}, {rate:.1f} images/s, {left} left")


def show_plans(plans: Sequence[Plan], console: Console) -> int:
    """Answer --dry-run."""
    codes = [_show(plan, console) for plan in plans]
    return max(code if code != NOTHING_TO_DO or len(codes) == 1 else DONE for code in codes)


def _show(plan: Plan, console: Console) -> int:
    reporter = TerminalReporter(console, "")
    for record in plan.undone():
        reporter.record(record)
    _note_left_out(plan, console)
    for job in plan.jobs:
        place = str(job.output) if job.output else "-"
        console.emit_record(Record(job.source.name, place, "planned"), f"{job.source.name} -> {place}")
    if plan.skipped:
        console.note(f"{len(plan.skipped)} {MADE_BEFORE}")
    elif not plan.jobs and not plan.refused:
        console.note("nothing to do")
    if plan.inputs.unreadable or plan.refused:
        return FAILED
    return DONE if plan.jobs or plan.skipped or plan.others else NOTHING_TO_DO


def _note_left_out(plan: Plan, console: Console) -> None:
    for folder in plan.inputs.empty:
        console.note(f"{folder} holds no images to work on (--recursive looks into its folders)")
    if heic_files := plan.inputs.unsupported:
        console.note(f"{len(heic_files)} HEIC left out, such as {heic_files[0]}: {heic.ADVICE}")
    if no_files := plan.inputs.no_files:
        console.note(f"{len(no_files)} left out as pipes, sockets or devices, such as {no_files[0]}")
    if left_out := plan.inputs.left_out:
        console.note(f"{len(left_out)} left out as outputs of earlier runs, such as {left_out[0]}")


def show_summary(
    summary: Summary,
    console: Console,
    what: str = "images",
    *,
    sizes: Collection[tuple[int, int]] = (),
    fail_fast: bool = False,
) -> None:
    """How many, of which size; of a single image its size, to a person who watches, since its result says the rest."""
    done, seconds, parts = summary.done, summary.seconds, []
    size = "of several sizes" if len(sizes) > 1 else "".join(f"{width} x {height} px" for width, height in sizes)
    if done:
        parts.append(f"{done} done in {seconds:.1f} s ({done / seconds:.1f} {what}/s)" + (f", {size}" if size else ""))
    if summary.failed:
        parts.append(f"{summary.failed} failed")
    if summary.skipped:
        parts.append(f"{summary.skipped} {MADE_BEFORE}")
    if summary.untried:
        reason = "of the failure" if fail_fast else "nothing more can be written"
        parts.append(f"{summary.untried} not tried because {reason}")
    if summary.total > 1 or summary.skipped:
        console.note(", ".join(parts))
    elif done and size and console.terminal:
        console.note(f"{size} in {seconds:.1f} s")
    elif not summary.total:
        console.note("nothing to do")
