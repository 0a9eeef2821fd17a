"""The bar that a person watches while a folder is computed. It needs rich, so it is imported for a terminal only."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Self

from rich import progress as bars
from rich.console import Console
from rich.text import Text


class _RateColumn(bars.ProgressColumn):
    """`3.1 images/s, 0:00:12 left`, over all that is done: images finish in batches, so recent steps tell nothing."""

    def render(self, task: bars.Task) -> Text:
        if not task.completed or not task.elapsed or task.total is None:
            return Text("")
        rate = task.completed / task.elapsed
        left = timedelta(seconds=round((task.total - task.completed) / rate))
        return Text(f"{rate:.1f} images/s, {left} left", style="dim")


class Progress:
    """A spinner while the model loads, then a bar over the images, which vanishes at the end."""

    def __init__(self, console: Console, total: int, verb: str) -> None:
        self._verb = verb
        self._bars = bars.Progress(
            bars.SpinnerColumn(),
            bars.TextColumn("{task.description}"),
            bars.BarColumn(bar_width=30),
            bars.MofNCompleteColumn(),
            _RateColumn(),
            console=console,
            transient=True,
            # Results may be printed above the bar only where stdout is the same terminal; a pipe must get them itself.
            redirect_stdout=sys.stdout.isatty(),
        )
        self._task = self._bars.add_task("Loading the model", total=total, start=False)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._bars.stop()

    def begin(self) -> None:
        """The model is loaded: from now on, time counts."""
        self._bars.start_task(self._task)
        self._bars.update(self._task, description=self._verb)

    def describe(self, state: str) -> None:
        """Say how the images that are being computed stand."""
        self._bars.update(self._task, description=f"{self._verb}, {state}")

    def advance(self) -> None:
        """One image is done, or has failed."""
        self._bars.advance(self._task)
