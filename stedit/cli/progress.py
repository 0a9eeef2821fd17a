"""The bar that a person watches while a folder is computed."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Task
    from rich.text import Text


class Bar(Protocol):
    """How far a loop over images is."""

    def begin(self) -> None:
        """The model is loaded: from now on, time counts."""

    def describe(self, state: str) -> None:
        """Say how the images that are being computed stand."""

    def advance(self) -> None:
        """One image is done, or has failed."""


class NoBar:
    """For nobody, or for a program."""

    def begin(self) -> None:
        """Show nothing."""

    def describe(self, state: str) -> None:
        """Show nothing."""

    def advance(self) -> None:
        """Show nothing."""


class TerminalBar:
    """A spinner while the model loads, then a bar over the images, which vanishes at the end."""

    def __init__(self, console: Console, total: int, verb: str) -> None:
        from rich import progress

        class RateColumn(progress.ProgressColumn):
            """`3.1 images/s, 0:00:12 left`, over all that is done, since images finish in batches."""

            def render(self, task: Task) -> Text:
                return _rate(task)

        self._verb = verb
        self._progress = progress.Progress(
            progress.SpinnerColumn(),
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=30),
            progress.MofNCompleteColumn(),
            RateColumn(),
            console=console,
            transient=True,
            # Results may be printed above the bar only where stdout is the same terminal; a pipe must get them itself.
            redirect_stdout=sys.stdout.isatty(),
        )
        self._task = self._progress.add_task("Loading the model", total=total, start=False)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._progress.stop()

    def begin(self) -> None:
        """The model is loaded: from now on, time counts."""
        self._progress.start_task(self._task)
        self._progress.update(self._task, description=self._verb)

    def describe(self, state: str) -> None:
        """Say how the images that are being computed stand."""
        self._progress.update(self._task, description=f"{self._verb}, {state}")

    def advance(self) -> None:
        """One image is done, or has failed."""
        self._progress.advance(self._task)


def _rate(task: Task) -> Text:
    from rich.text import Text

    if not task.completed or not task.elapsed or task.total is None:
        return Text("")
    rate = task.completed / task.elapsed
    left = timedelta(seconds=round((task.total - task.completed) / rate))
    return Text(f"{rate:.1f} images/s, {left} left", style="dim")
