"""The loop of every training: steps, metrics, samples, checkpoints; interruption, divergence, exact resumption.

    RUN/config.toml         the effective config
    RUN/metrics.jsonl       a line every `log_every` steps: the mean of each loss since the line before
    RUN/samples/            a sheet of pictures every `sample_every` steps, if the training has pictures
    RUN/checkpoints/        see `checkpoint`

Whatever a step draws at random depends on the seed, the step and the process alone: the loop seeds torch before each
step, and the order of the data is a function of the step. So nothing random need be saved to resume exactly.

Several processes (`accelerate launch`) share each batch. Gradients are averaged by `Run.update` rather than by a
wrapper of the networks, since adversarial losses call a network several times and differentiate its gradients.
"""

from __future__ import annotations

import hashlib
import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn

from stedit.atomic import write_file
from stedit.errors import DeviceError, OutputError, TrainingError, UsageError, cause
from stedit.imaging.files import Pixels, encode_image
from stedit.training import checkpoint
from stedit.training.config import TrainingConfig

if TYPE_CHECKING:
    from accelerate import PartialState

    from stedit.bundle import Bundle

CONFIG_NAME = "config.toml"
METRICS_NAME = "metrics.jsonl"
SAMPLES = "samples"


class Task(Protocol):
    """What is trained, and one step of it. It is built on the CPU; the loop moves its networks to the device."""

    kind: str
    """The command: "generator", "inversion", "classifier" or "editor"."""
    networks: Mapping[str, nn.Module]
    """All that a checkpoint has to keep, moving averages and statistics included; each name without a slash."""
    optimizers: Mapping[str, torch.optim.Optimizer]
    """Built with the learning rates of the config; the loop applies warm-up and schedule."""
    numbers: dict[str, float]
    """Further state, the same in all processes; it is kept too."""

    def step(self, run: Run) -> Mapping[str, Tensor]:
        """Train one step, through `run.update`; gives each loss, a scalar, for the metrics."""

    def evaluate(self, run: Run) -> Mapping[str, float]:
        """Figures on held-out data, every `sample_every` steps and at the end; {} where there are none.

        Called in the main process alone, so `run.mean` and `run.update` must not be used. `run.stop` ends the training.
        """

    def sample(self) -> Pixels | None:
        """A sheet of pictures, uint8 (H, W, 3), or None. Called in the main process alone."""

    def save(self, path: Path, *, overwrite: bool) -> Bundle:
        """Write the result as a bundle; for whoever started the training, the loop does not call it."""


class Monitor(Protocol):
    """Who watches."""

    def advance(self, step: int, steps: int, seconds_left: float, metrics: Mapping[str, float] | None) -> None:
        """Tell that `step` of `steps` are done; `metrics` come every `log_every` steps."""

    def note(self, text: str) -> None:
        """Say a sentence."""


@dataclass(frozen=True)
class Outcome:
    """How a training ended."""

    step: int
    """Steps done, in all."""
    reason: Literal["done", "stopped", "interrupted"]
    """All steps were done; the task asked to stop early; or Ctrl-C. In all cases the state is saved."""
    why: str = ""
    """What the task said when it asked to stop."""
    is_main: bool = True
    """Whether this is the process that speaks and saves for all."""


class Run:
    """What a task sees of the loop in which it runs."""

    def __init__(self, config: TrainingConfig, folder: Path, monitor: Monitor | None = None) -> None:
        self.folder = folder
        self._monitor = monitor
        self.config = config
        self.step = 0
        """Steps done before this one."""
        self.stop_reason = ""
        self._state = _processes(config)
        self.process: int = self._state.process_index
        self.processes: int = self._state.num_processes
        self.is_main: bool = self._state.is_main_process
        self.device = self._choose_device()
        if config.precision == "float16" and self.device.type == "cpu":
            raise DeviceError("the CPU has no fast float16: choose --precision bfloat16 or float32")
        if config.batch_size % self.processes:
            raise UsageError(
                f"a batch of {config.batch_size} cannot be shared by {self.processes} processes: "
                f"set --batch-size to a multiple of {self.processes}"
            )
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.precision == "float16")
        self._order = _Order(config.seed)

    @property
    def share(self) -> int:
        """Examples of each batch that fall to this process."""
        return self.config.batch_size // self.processes

    def autocast(self, enabled: bool = True) -> Any:
        """Compute the block in the config's precision; `enabled=False` in float32, for gradients of gradients."""
        if self.config.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=getattr(torch, self.config.precision), enabled=enabled)

    def indices(self, count: int, *, ahead: int = 0, stream: int = 0) -> Tensor:
        """Which of `count` examples are this process's share of the batch, (share,), int64 on the CPU.

        All examples come once before one comes again, each time in a new order. `ahead` looks into a later step, to
        prepare its data; `stream` gives independent orders for data sets that are read side by side.
        """
        start = (self.step + ahead) * self.config.batch_size + self.process * self.share
        return self._order.take(count, start, self.share, stream)

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a tensor over all processes."""
        if self.processes == 1:
            return value
        from accelerate.utils import reduce

        return cast(Tensor, reduce(value, "mean"))

    def update(self, optimizer: torch.optim.Optimizer, loss: Tensor, *, clip: float | None = None) -> None:
        """Descend along the gradient of `loss`, averaged over all processes.

        Args:
            optimizer: whose parameters change; those of other networks must be frozen.
            loss: a scalar, the mean over this process's examples.
            clip: the greatest norm of the gradient.
        """
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(self.scaler.scale(loss))
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if self.processes > 1 and parameters:
            flat = self.mean(torch.cat([p.grad.flatten() for p in parameters]))
            for p, grad in zip(parameters, torch.split(flat, [p.numel() for p in parameters]), strict=True):
                p.grad.copy_(grad.view_as(p))
        if clip is not None:
            self.scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(parameters, clip)
        self.scaler.step(optimizer)
        self.scaler.update()

    def say(self, text: str) -> None:
        """Tell whoever watches a sentence."""
        if self._monitor is not None and self.is_main:
            self._monitor.note(text)

    def stop(self, why: str) -> None:
        """End the training after this step, since `why`, such as "no better for 10 evaluations"."""
        self.stop_reason = why

    def broadcast(self, networks: Mapping[str, nn.Module]) -> None:
        """Give every process the weights of the first."""
        if self.processes > 1:
            from accelerate.utils import broadcast

            for tensor in _tensors(networks):
                tensor.copy_(broadcast(tensor.contiguous()))

    def share_statistics(self, networks: Mapping[str, nn.Module]) -> None:
        """Average what networks count rather than learn, such as the means of batch normalisation."""
        if self.processes > 1:
            found = [b for network in networks.values() for b in network.buffers() if b.is_floating_point()]
            if found:
                flat = self.mean(torch.cat([b.flatten() for b in found]))
                for buffer, value in zip(found, torch.split(flat, [b.numel() for b in found]), strict=True):
                    buffer.copy_(value.view_as(buffer))

    def agree(self, *flags: bool) -> list[bool]:
        """Each flag, if any process has raised it."""
        if self.processes == 1:
            return list(flags)
        raised = self.mean(torch.tensor([float(flag) for flag in flags], device=self.device))
        return [value > 0 for value in raised.tolist()]

    def wait(self) -> None:
        """Go on when all processes are here."""
        self._state.wait_for_everyone()

    def _choose_device(self) -> torch.device:
        from stedit.networks import choose_device

        return choose_device(self.config.device) if self.processes == 1 else cast(torch.device, self._state.device)


T = TypeVar("T", bound=Task)


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
        monitor: told how it goes.

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
    log = _Log(run, resumed_at=loop.state.step if resume else None)
    run.wait()
    with _determinism(), _interruption() as interrupted:
        outcome = loop.go(log, interrupted)
    log.close()
    return task, outcome


class _Loop:
    """A task and where it is."""

    def __init__(self, task: Task, run: Run, monitor: Monitor | None) -> None:
        self.task, self.run, self.config = task, run, run.config
        self.state = checkpoint.State(task.kind)
        self._monitor = monitor
        self._rates = {name: [group["lr"] for group in one.param_groups] for name, one in task.optimizers.items()}
        self._saved = -1  # the step of the newest checkpoint

    def resume(self) -> None:
        """Take up the newest checkpoint."""
        folder = self.run.folder
        checkpoint.require(folder)
        self.config.require_same(type(self.config).read(folder / CONFIG_NAME, {}, check=False), folder / CONFIG_NAME)
        self.state = checkpoint.load(folder, self.task.kind, self.task.networks, self.task.optimizers)
        self._saved = self.state.step
        self.task.numbers.update(self.state.numbers)
        if self.state.scaler:
            self.run.scaler.load_state_dict(self.state.scaler)

    def go(self, log: _Log, interrupted: threading.Event) -> Outcome:
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
            stopped, asked = self.run.agree(bool(self.run.stop_reason), interrupted.is_set())
            if step % self.config.checkpoint_every == 0 or last or stopped or asked:
                self._save()
            if stopped and not last:
                return Outcome(step, "stopped", self.run.stop_reason, is_main=self.run.is_main)
            if asked and not last:
                return Outcome(step, "interrupted", is_main=self.run.is_main)
        return Outcome(self.state.step, "done", is_main=self.run.is_main)

    def _step(self) -> None:
        run, state = self.run, self.state
        run.step = state.step
        factor = _rate(self.config, state.step)
        for name, optimizer in self.task.optimizers.items():
            for group, base in zip(optimizer.param_groups, self._rates[name], strict=True):
                group["lr"] = base * factor
        torch.manual_seed(_draw(self.config.seed, "step", state.step, run.process))
        losses = {name: run.mean(loss.detach().float()) for name, loss in self.task.step(run).items()}
        run.share_statistics(self.task.networks)
        for name, value in zip(losses, torch.stack(list(losses.values())).tolist(), strict=True):
            if not math.isfinite(value):
                raise TrainingError(_divergence(name, value, state.step, run.folder))
            state.sums[name] = state.sums.get(name, 0.0) + value
            state.summed[name] = state.summed.get(name, 0) + 1
        state.step += 1
        run.step = state.step

    def _metrics(self, log: _Log, *, last: bool) -> dict[str, float]:
        """Write what is due after this step; gives the line of the metrics, {} if none is due."""
        state, metrics = self.state, {}
        if state.step % self.config.log_every == 0 or last:
            metrics = {name: total / state.summed[name] for name, total in sorted(state.sums.items())}
            state.sums, state.summed = {}, {}
        if self.run.is_main:
            if state.step % self.config.sample_every == 0 or last:
                metrics |= self._look(log)
            if metrics:
                log.write(state.step, metrics, state.seconds)
        return metrics

    def _look(self, log: _Log) -> dict[str, float]:
        """Evaluate and draw a sheet."""
        torch.manual_seed(_draw(self.config.seed, "sample", 0, 0))  # the same for every sheet, so that they compare
        with torch.no_grad():
            figures = dict(self.task.evaluate(self.run))
            sheet = self.task.sample()
        if sheet is not None:
            log.sheet(self.state.step, sheet)
        return figures

    def _save(self) -> None:
        if self.run.is_main and self._saved != self.state.step:
            self.state.numbers = dict(self.task.numbers)
            self.state.scaler = self.run.scaler.state_dict()
            checkpoint.save(self.run.folder, self.state, self.task.networks, self.task.optimizers)
        self._saved = self.state.step
        self.run.wait()


def leave() -> None:
    """Part from the other processes, at the end of the program."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the moving average (Karras et al. 2018) of a network's parameters; statistics are copied.

    `decay` in 0..1 is how much of the average stays.
    """
    with torch.no_grad():
        for kept, new in zip(average.parameters(), network.parameters(), strict=True):
            kept.lerp_(new, 1 - decay)
        for statistic, now in zip(average.buffers(), network.buffers(), strict=True):
            statistic.copy_(now)


class _Order:
    """Endless passes over `count` examples, each shuffled by seed, stream and pass alone."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._passes: dict[tuple[int, int, int], Tensor] = {}

    def take(self, count: int, start: int, length: int, stream: int) -> Tensor:
        """Positions `start` to `start + length` of the endless sequence."""
        wanted = torch.arange(start, start + length)
        numbers = torch.div(wanted, count, rounding_mode="floor")
        result = torch.empty_like(wanted)
        for number in torch.unique(numbers).tolist():
            chosen = numbers == number
            result[chosen] = self._pass(count, number, stream)[wanted[chosen] % count]
        return result

    def _pass(self, count: int, number: int, stream: int) -> Tensor:
        key = (count, number, stream)
        if key not in self._passes:
            source = torch.Generator().manual_seed(_draw(self._seed, f"order {stream}", number, 0))
            for old in [other for other in self._passes if other[2] == stream and other[1] < number - 1]:
                del self._passes[old]
            self._passes[key] = torch.randperm(count, generator=source)
        return self._passes[key]


class _Log:
    """The files of a run that a person reads; the main process alone writes them."""

    def __init__(self, run: Run, *, resumed_at: int | None) -> None:
        self._folder = run.folder
        self._metrics = run.folder / METRICS_NAME
        self._board: Any = None
        if not run.is_main:
            return
        if resumed_at is None and checkpoint.checkpoints(run.folder):
            raise UsageError(
                f"{run.folder} holds a training already: --resume continues it, --run starts one elsewhere"
            )
        checkpoint.make_folder(run.folder)
        write_file(run.folder / CONFIG_NAME, run.config.to_toml().encode())
        self._truncate(resumed_at or 0)
        if run.config.tensorboard:
            self._board = _tensorboard(run.folder)

    def write(self, step: int, metrics: Mapping[str, float], seconds: float) -> None:
        line = json.dumps({"step": step, "seconds": round(seconds, 3), **metrics})
        try:
            with self._metrics.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise OutputError(f"cannot write {self._metrics}: {cause(error)}") from error
        if self._board is not None:
            for name, value in metrics.items():
                self._board.add_scalar(name, value, step)

    def sheet(self, step: int, pixels: Pixels) -> None:
        checkpoint.make_folder(self._folder / SAMPLES)
        write_file(self._folder / SAMPLES / f"{step:08d}.png", encode_image(pixels, "png"))

    def close(self) -> None:
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
            raise OutputError(f"{self._metrics} is damaged ({cause(error)}): move it away") from error
        write_file(self._metrics, "".join(f"{line}\n" for line in kept).encode())


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise TrainingError("TensorBoard is not installed: pip install tensorboard, or leave --tensorboard out") from (
            error
        )
    return SummaryWriter(str(folder / "tensorboard"))


def _processes(config: TrainingConfig) -> PartialState:
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise TrainingError("training needs accelerate: pip install 'stedit[train]'") from error
    return PartialState(cpu=config.device == "cpu")


def _rate(config: TrainingConfig, step: int) -> float:
    """The factor of the learning rate."""
    factor = min(1.0, (step + 1) / config.warmup) if config.warmup else 1.0
    if config.schedule == "cosine":
        factor *= 0.5 * (1 + math.cos(math.pi * step / config.steps))
    return factor


def _draw(seed: int, purpose: str, number: int, process: int) -> int:
    """A seed for one purpose, unlike those of all others."""
    name = f"{seed}/{purpose}/{number}/{process}".encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=7).digest(), "big")


def _divergence(name: str, value: float, step: int, folder: Path) -> str:
    found = checkpoint.checkpoints(folder)
    kept = f"{found[-1]} is sound" if found else "nothing was saved yet"
    return (
        f"training diverged: the loss {name!r} is {value} at step {step}; {kept}: start a run with a lower "
        "--learning-rate, or in float32"
    )


def _tensors(networks: Mapping[str, nn.Module]) -> Iterator[Tensor]:
    for network in networks.values():
        yield from (parameter.data for parameter in network.parameters())
        yield from network.buffers()


@contextmanager
def _determinism() -> Iterator[None]:
    """Choose the same algorithms in every run."""
    before = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
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
