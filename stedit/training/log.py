"""The files of a run for people: config, metrics, samples."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stedit.errors import OutputError, TrainingError, UsageError, describe_cause
from stedit.imaging.files import Pixels, encode_image
from stedit.storage.atomic import write_file
from stedit.training import checkpoint
from stedit.training.run import Run

CONFIG_NAME = "config.toml"
METRICS_NAME = "metrics.jsonl"
SAMPLES = "samples"


class Log:
    """The files of a run that a person reads; the main process alone writes them."""

    def __init__(self, run: Run, *, resumed_at: int | None) -> None:
        self._folder = run.folder
        self._metrics = run.folder / METRICS_NAME
        self._board: Any = None
        if not run.is_main:
            return
        if resumed_at is None and checkpoint.checkpoints(run.folder):
            raise UsageError(
                f"{run.folder} holds a training already: start one in another folder, or resume it", argument="resume"
            )
        checkpoint.make_folder(run.folder)
        write_file(run.folder / CONFIG_NAME, run.config.to_toml().encode())
        self._truncate(resumed_at or 0)
        if run.config.tensorboard:
            self._board = _tensorboard(run.folder)

    def write(self, step: int, metrics: Mapping[str, float], seconds: float) -> None:
        """Add a line of metrics. Raises OutputError."""
        line = json.dumps({"step": step, "seconds": round(seconds, 3), **metrics})
        try:
            with self._metrics.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise OutputError(f"cannot write {self._metrics}: {describe_cause(error)}") from error
        if self._board is not None:
            for name, value in metrics.items():
                self._board.add_scalar(name, value, step)

    def sheet(self, step: int, pixels: Pixels) -> None:
        """Save a sheet (H, W, 3) of samples. Raises OutputError."""
        checkpoint.make_folder(self._folder / SAMPLES)
        write_file(self._folder / SAMPLES / f"{step:08d}.png", encode_image(pixels, "png"))

    def close(self) -> None:
        """Let TensorBoard finish."""
        if self._board is not None:
            self._board.close()

    def _truncate(self, step: int) -> None:
        """Drop lines of steps that are going to be done again."""
        try:
            lines = self._metrics.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if json.loads(line)["step"] <= step]
        except FileNotFoundError:
            kept = []
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise OutputError(f"{self._metrics} is damaged ({describe_cause(error)}): move it away") from error
        write_file(self._metrics, "".join(f"{line}\n" for line in kept).encode())


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise TrainingError("TensorBoard is not installed: pip install tensorboard, or set tensorboard to false") from (
            error
        )
    return SummaryWriter(str(folder / "tensorboard"))
