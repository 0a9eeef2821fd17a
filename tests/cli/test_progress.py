"""Bars count down, and fit 80 columns with all that a person needs of them."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from stedit.cli import progress
from stedit.cli.progress import Countdown, TerminalBar, TrainingBar


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(progress.time, "monotonic", found)
    return found


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=80, markup=False)


def shown(console: Console, bar: TerminalBar | TrainingBar) -> str:
    """The line of the bar, without colours."""
    with console.capture() as captured:
        console.print(bar._progress.get_renderable())
    return re.sub(r"\x1b\[[\d;]*m", "", captured.get())


def test_countdown_never_climbs_between_two_steps(clock: Clock) -> None:
    countdown = Countdown()
    assert countdown.left() == ""
    clock.now += 10
    countdown.move(0.25)
    assert countdown.left() == "0:00:30 left"
    clock.now += 20
    assert countdown.left() == "0:00:10 left"
    clock.now += 20
    assert countdown.left() == ""  # it takes longer than was thought, and nobody knows how long


def test_bar_of_a_batch_moves_before_its_first_image_is_done(console: Console, clock: Clock) -> None:
    bar = TerminalBar(console, 60, "Editing")
    bar.begin()
    clock.now += 5
    bar.describe("reading 4 of 8", 1.0)
    line = shown(console, bar)
    assert "Editing" in line
    assert "0/60" in line
    assert "0:04:55 left" in line
    assert "reading 4 of 8" in line
    assert bar._progress.tasks[0].completed == 1.0
    bar.advance()
    assert "1/60" in shown(console, bar)
    bar._progress.stop()


def test_bar_of_one_image_shows_its_steps(console: Console, clock: Clock) -> None:
    bar = TerminalBar(console, 1, "Inverting")
    bar.begin()
    clock.now += 10
    bar.describe("step 50 of 100, loss 0.0123", 0.5)
    line = shown(console, bar)
    assert "0/1" not in line
    assert "0:00:10 left" in line
    assert "step 50 of 100, loss 0.0123" in line
    bar._progress.stop()


def test_bar_of_a_training_keeps_count_and_time_at_80_columns(console: Console) -> None:
    bar = TrainingBar(console, 100_000)
    metrics = ", ".join(f"metric_{number} 0.1234" for number in range(9))
    bar.update(1234, 100_000, 3600, metrics)
    line = shown(console, bar).rstrip("\n")
    assert "1234/100000" in line
    assert "1:00:00 left" in line
    assert "metric_0 0.1" in line
    assert "[dim]" not in line
    assert "\n" not in line
    assert len(line) <= 80
