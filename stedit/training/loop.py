"""The loop of every training: steps, metrics, samples, checkpoints; interruption, divergence, exact resumption.

RUN/config.toml         the effective config
RUN/metrics.jsonl       a line every `log_interval` steps: the mean of each loss since the line before
RUN/samples/            a sheet of images every `eval_interval` steps, if the training has images
RUN/checkpoints/        see `checkpoint`
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import torch

from stedit.errors import TrainingError
from stedit.training import checkpoint
from stedit.training.config import TrainingConfig
from stedit.training.early_stopping import BEST
from stedit.training.log import CONFIG_NAME, Log
from stedit.training.run import Monitor, Run, Task, derive_seed

T = TypeVar("T", bound=Task)


@dataclass(frozen=True)
class Outcome:
    """How a training ended."""

    step: int
    """Steps done, in all."""
    reason: Literal["done", "stopped", "interrupted"]
    """All steps were done; the task asked to stop early; or Ctrl-C. In all cases the state is saved."""
    why: str = ""
    """The reason that the task gave to stop."""
    is_main: bool = True
    """Whether this is the main process, which reports and saves for all."""


def train(
    build: Callable[[], T],
    config: TrainingConfig,
    folder: Path,
    *,
    resume: bool = False,
    monitor: Monitor | None = None,
) -> tuple[T, Outcome]:
    """Build a task and train it.

    Args:
        build: makes the task, on the CPU; torch is seeded with the config's seed before.
        config: of this training.
        folder: the run; made if it is not there.
        resume: go on from the last checkpoint in `folder`, exactly as if there had been no interruption.
        monitor: receives the progress.

    Returns:
        The task with its networks as they are at the end, on the device, and how it ended.

    Raises:
        TrainingError: the extra `train` is not installed, a loss or weight is no longer finite, or a checkpoint is
            damaged.
        UsageError: the folder holds a run already, or none to resume, or one of another config.
        DeviceError, OutputError.
    """
    run = Run(config, folder, monitor)
    torch.manual_seed(config.seed)
    task = build()
    for network in task.networks.values():
        network.to(run.device)
    loop = _Loop(task, run, monitor)
    if resume:
        loop.resume()
    run.broadcast(task.networks)
    log = Log(run, resumed_at=loop.state.step if resume else None)
    run.wait()
    with _cudnn(config.deterministic), _interruption() as interrupted:
        outcome = loop.go(log, interrupted)
    log.close()
    return task, outcome


class _Loop:
    """A task and the state of its training."""

    def __init__(self, task: Task, run: Run, monitor: Monitor | None) -> None:
        self.task, self.run, self.config = task, run, run.config
        self.state = checkpoint.State(run.config.command)
        self._monitor = monitor
        self._rates = {name: [group["lr"] for group in one.param_groups] for name, one in task.optimizers.items()}
        self._saved = -1  # the step of the newest checkpoint

    def resume(self) -> None:
        """Take up the newest checkpoint."""
        folder = self.run.folder
        checkpoint.require(folder)
        self.config.require_same(type(self.config).read(folder / CONFIG_NAME, {}, check=False), folder / CONFIG_NAME)
        self.state = checkpoint.load(folder, self.config.command, self.task.networks, self.task.optimizers)
        self._saved = self.state.step
        self.task.scalars.update(self.state.scalars)
        if self.state.scaler:
            self.run.scaler.load_state_dict(self.state.scaler)

    def go(self, log: Log, interrupted: threading.Event) -> Outcome:
        """Do all steps that are left."""
        began, first = time.monotonic(), self.state.step
        before = self.state.seconds
        while self.state.step < self.config.steps:
            self._step()
            step, last = self.state.step, self.state.step == self.config.steps
            self.state.seconds = before + time.monotonic() - began
            metrics = self._metrics(log, last=last)
            if self._monitor is not None and self.run.is_main:
                rate = (time.monotonic() - began) / (step - first)
                self._monitor.advance(step, self.config.steps, rate * (self.config.steps - step), metrics)
            stopped, interrupt = self.run.any_process(bool(self.run.stop_reason), interrupted.is_set())
            if step % self.config.checkpoint_interval == 0 or last or stopped or interrupt:
                self._save()
            if stopped and not last:
                return Outcome(step, "stopped", self.run.stop_reason, is_main=self.run.is_main)
            if interrupt and not last:
                return Outcome(step, "interrupted", is_main=self.run.is_main)
        return Outcome(self.state.step, "done", is_main=self.run.is_main)

    def _step(self) -> None:
        run, state = self.run, self.state
        run.step = state.step
        factor = _rate(self.config, state.step)
        for name, optimizer in self.task.optimizers.items():
            for group, base in zip(optimizer.param_groups, self._rates[name], strict=True):
                group["lr"] = base * factor
        torch.manual_seed(derive_seed(self.config.seed, "step", state.step, run.process))
        losses = {name: run.mean(loss.detach().float()) for name, loss in self.task.step(run).items()}
        run.average_buffers({name: one for name, one in self.task.networks.items() if name != BEST})
        for name, value in zip(losses, torch.stack(list(losses.values())).tolist(), strict=True):
            if not math.isfinite(value):
                raise TrainingError(_divergence(name, value, state.step, run.folder))
            state.sums[name] = state.sums.get(name, 0.0) + value
            state.summed[name] = state.summed.get(name, 0) + 1
        state.step += 1
        run.step = state.step

    def _metrics(self, log: Log, *, last: bool) -> dict[str, float]:
        """Write what is due after this step; gives the line of the metrics, {} if none is due."""
        state, metrics = self.state, {}
        if state.step % self.config.log_interval == 0 or last:
            metrics = {name: total / state.summed[name] for name, total in sorted(state.sums.items())}
            state.sums, state.summed = {}, {}
        if self.run.is_main:
            if state.step % self.config.eval_interval == 0 or last:
                metrics |= self._evaluate(log)
            if metrics:
                log.write(state.step, metrics, state.seconds)
        return metrics

    def _evaluate(self, log: Log) -> dict[str, float]:
        """Figures on held-out data; a sheet of samples is saved."""
        torch.manual_seed(
            derive_seed(self.config.seed, "sample", 0, 0)
        )  # the same for every sheet, so that they compare
        with torch.no_grad():
            figures = dict(self.task.evaluate(self.run))
            sheet = self.task.sample()
        if sheet is not None:
            log.sheet(self.state.step, sheet)
        return figures

    def _save(self) -> None:
        if self.run.is_main and self._saved != self.state.step:
            self.state.scalars = dict(self.task.scalars)
            self.state.scaler = self.run.scaler.state_dict()
            checkpoint.save(self.run.folder, self.state, self.task.networks, self.task.optimizers)
        self._saved = self.state.step
        self.run.wait()


def leave() -> None:
    """Part from the other processes, at the end of the program."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _rate(config: TrainingConfig, step: int) -> float:
    """The factor of the learning rate."""
    factor = min(1.0, (step + 1) / config.warmup) if config.warmup else 1.0
    if config.schedule == "cosine":
        factor *= 0.5 * (1 + math.cos(math.pi * step / config.steps))
    return factor


def _divergence(name: str, value: float, step: int, folder: Path) -> str:
    found = checkpoint.checkpoints(folder)
    kept = f"{found[-1]} is sound" if found else "nothing was saved yet"
    return (
        f"training diverged: the loss {name!r} is {value} at step {step}; {kept}: start a run with a lower "
        "learning_rate, or in float32"
    )


@contextmanager
def _cudnn(deterministic: bool) -> Iterator[None]:
    """Choose the same algorithms in every run, or the fastest ones."""
    before = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = deterministic, not deterministic
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before


@contextmanager
def _interruption() -> Iterator[threading.Event]:
    """Let the first Ctrl-C (or SIGTERM) only raise a flag, so that the step is finished; the second one interrupts."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(_number: int, _frame: object) -> None:
        event.set()
        restore()

    for number in before:
        signal.signal(number, note)
    try:
        yield event
    finally:
        restore()
