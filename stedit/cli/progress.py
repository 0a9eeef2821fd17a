"""The bars that a person watches while images are computed or a model is trained."""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Task
    from rich.text import Text

PATIENCE = 2.0  # seconds before the time left is guessed


class Bar(Protocol):
    """How far a loop over images is."""

    def begin(self) -> None:
        """The model is loaded: from now on, time counts."""

    def describe(self, state: str, done: float) -> None:
        """Say how the images that are being computed stand, and how many of them that amounts to."""

    def advance(self) -> None:
        """One image is done, or has failed."""


class NoBar:
    """For nobody, or for a program."""

    def begin(self) -> None:
        """Show nothing."""

    def describe(self, state: str, done: float) -> None:
        """Show nothing."""

    def advance(self) -> None:
        """Show nothing."""


class TerminalBar:
    """A spinner while the model loads, then a bar over the images, which vanishes at the end.

    The work for a single image shows once it has steps, unless its result appears on the same terminal.
    """

    def __init__(self, console: Console, total: int, verb: str) -> None:
        from rich import progress
        from rich.table import Column

        class TimeLeft(progress.ProgressColumn):
            """`0:00:12 left`, counted down between two images."""

            def render(self, _task: Task) -> Text:
                return _dim(bar.time_left())

        class Count(progress.MofNCompleteColumn):
            """`12/60`; nothing for a single image, of which there is no part."""

            def render(self, _task: Task) -> Text:
                return _dim(f"{bar.finished}/{total}" if total > 1 else "")

        bar = self
        self._verb, self._total = verb, total
        self.finished = 0
        self._under_way = 0.0  # images' worth of work beyond the finished ones
        self._clock = Countdown()
        in_one_line = Column(no_wrap=True, overflow="ellipsis", ratio=1)
        self._progress = progress.Progress(
            progress.SpinnerColumn(),
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=20),
            Count(),
            TimeLeft(),
            progress.TextColumn("{task.fields[state]}", style="dim", markup=False, table_column=in_one_line),
            console=console,
            transient=True,
            expand=True,
            # Results may be printed above the bar only where stdout is the same terminal; a pipe must get them itself.
            redirect_stdout=sys.stdout.isatty(),
        )
        self._task = self._progress.add_task("Loading the model", total=None, state="")

    def __enter__(self) -> Self:
        if self._total > 1 or sys.stdout.isatty():
            self._progress.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._progress.stop()

    def begin(self) -> None:
        """The model is loaded: from now on, time counts."""
        self._clock.begin()
        self._progress.update(self._task, description=self._verb)
        if self._total > 1:
            self._progress.update(self._task, total=self._total)

    def describe(self, state: str, done: float) -> None:
        """Say how the images that are being computed stand, and how many of them that amounts to."""
        self._progress.start()
        self._progress.update(self._task, state=state, total=self._total)
        self._move(max(self._under_way, done))

    def advance(self) -> None:
        """One image is done, or has failed."""
        self.finished += 1
        self._move(max(0.0, self._under_way - 1))

    def time_left(self) -> str:
        """`0:00:12 left`, or nothing yet."""
        return self._clock.left()

    def _move(self, under_way: float) -> None:
        self._under_way = under_way
        position = min(self.finished + under_way, self._total)
        self._clock.move(position / self._total)
        self._progress.update(self._task, completed=position)


class Countdown:
    """How long a work of even pace still takes; it counts down between two signs of progress and never climbs then."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Now the work begins."""
        self._began = self._moved = time.monotonic()
        self._left: float | None = None  # seconds, when the work last went on

    def move(self, share: float) -> None:
        """So much of all, from 0 to 1, is done."""
        self._moved = time.monotonic()
        self._left = (self._moved - self._began) * (1 - share) / share if share > 0 else None

    def left(self) -> str:
        """For a person; "" while nothing is known."""
        now = time.monotonic()
        if self._left is None or now - self._began < PATIENCE:
            return ""
        seconds = round(self._left - (now - self._moved))
        return f"{timedelta(seconds=seconds)} left" if seconds > 0 else ""


class TrainingBar:
    """A bar over the steps of a training, with the time left, and as much of the last metrics as the line holds."""

    def __init__(self, console: Console, steps: int) -> None:
        from rich import progress
        from rich.table import Column

        self._console = console
        in_one_line = Column(no_wrap=True, overflow="ellipsis", ratio=1)
        self._progress = progress.Progress(
            progress.BarColumn(bar_width=20),
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[left]}", markup=False, table_column=Column(no_wrap=True)),
            progress.TextColumn("{task.fields[metrics]}", style="dim", markup=False, table_column=in_one_line),
            console=console,
            transient=True,
            expand=True,
        )
        self._task = self._progress.add_task("", total=steps, left="", metrics="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._progress.stop()

    def update(self, step: int, steps: int, seconds_left: float, metrics: str) -> None:
        """Show the step, and new metrics if there are any."""
        fields: dict[str, Any] = {"metrics": metrics} if metrics else {}
        left = timedelta(seconds=round(seconds_left))
        self._progress.update(self._task, completed=step, total=steps, left=f"{left} left", **fields)


def _dim(text: str) -> Text:
    from rich.text import Text

    return Text(text, "dim", no_wrap=True)
