"""What the tests of all trainings share: a monitor, the metrics that a run wrote, and how runs are compared."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from stedit.training import checkpoint


class RecordingMonitor:
    """Records what a training reports, and presses Ctrl-C after step `stop`."""

    def __init__(self, stop: int = 0) -> None:
        self.stop = stop
        self.notes: list[str] = []
        self.metrics: list[Mapping[str, float]] = []

    def advance(self, step: int, steps: int, seconds_left: float, metrics: Mapping[str, float] | None) -> None:
        assert 0 < step <= steps
        assert seconds_left >= 0
        if metrics:
            self.metrics.append(metrics)
        if step == self.stop:
            os.kill(os.getpid(), signal.SIGINT)

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def recording_monitor() -> type[RecordingMonitor]:
    return RecordingMonitor


@pytest.fixture
def read_metrics() -> Callable[[Path], list[dict[str, Any]]]:
    """The lines of a run's metrics.jsonl."""

    def read(run: Path) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]

    return read


@pytest.fixture
def assert_same_state() -> Callable[[Path, Path], None]:
    """Fail unless the newest checkpoints of two runs hold the same networks and optimisers, bit for bit."""

    def compare(one: Path, other: Path) -> None:
        for file in ("networks", "optimizers"):
            a, b = (load_file(checkpoint.require(run) / f"{file}.safetensors") for run in (one, other))
            assert a.keys() == b.keys()
            assert all(torch.equal(a[key], b[key]) for key in a)

    return compare
