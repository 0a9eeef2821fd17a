"""What a training is made of: the task that is trained, the run that it works in, and the monitor.

The random numbers of a step depend on the seed, the step and the process alone: the loop seeds torch before each
step, and the order of the data is a function of the step. So nothing random need be saved to resume exactly.

Several processes (`torchrun`) share each batch. Gradients are averaged by `Run.update` rather than by a
wrapper of the networks, since adversarial losses call a network several times and differentiate its gradients.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
from torch import Tensor, nn

from stedit.errors import TrainingError, UsageError
from stedit.imaging.files import Pixels
from stedit.runtime.devices import choose_device, require_precision
from stedit.training.config import TrainingConfig

if TYPE_CHECKING:
    from accelerate import PartialState

    from stedit.storage.bundle import Bundle


class Task(Protocol):
    """What is trained, and one step of it. It is built on the CPU; the loop moves its networks to the device."""

    networks: Mapping[str, nn.Module]
    """All that a checkpoint has to keep, moving averages and statistics included; each name without a slash."""
    optimizers: Mapping[str, torch.optim.Optimizer]
    """Built with the learning rates of the config; the loop applies warm-up and schedule."""
    scalars: dict[str, float]
    """Further state, the same in all processes; it is kept too."""

    def step(self, run: Run) -> Mapping[str, Tensor]:
        """Train one step, through `run.update`; gives each loss, a scalar, for the metrics."""

    def evaluate(self, run: Run) -> Mapping[str, float]:
        """Figures on held-out data, every `eval_interval` steps and at the end; {} where there are none.

        Called in the main process alone, so `run.mean` and `run.update` must not be used. `run.stop` ends the training.
        """

    def sample(self) -> Pixels | None:
        """A sheet of images, uint8 (H, W, 3), or None. Called in the main process alone."""

    def save(self, path: Path, *, overwrite: bool) -> Bundle:
        """Write the result as a bundle; for whoever started the training, the loop does not call it."""


class Monitor(Protocol):
    """Receives the progress of a training."""

    def advance(self, step: int, steps: int, seconds_left: float, metrics: Mapping[str, float] | None) -> None:
        """`step` of `steps` are done; `metrics` come every `log_interval` steps."""

    def note(self, text: str) -> None:
        """A sentence for the user."""


class Run:
    """The context of a task: its step, device, precision, processes and batches."""

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
        require_precision(config.precision, self.device)
        if config.batch_size % self.processes:
            raise UsageError(
                f"a batch of {config.batch_size} cannot be shared by {self.processes} processes: "
                f"set batch_size to a multiple of {self.processes}"
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

        All examples come once before one comes again, each time in a new order. `ahead` asks for a later step, to
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

    def log(self, text: str) -> None:
        """Pass a sentence for the user to the monitor."""
        if self._monitor is not None and self.is_main:
            self._monitor.note(text)

    def stop(self, why: str) -> None:
        """End the training after this step; `why` is a reason such as "no better for 10 evaluations"."""
        self.stop_reason = why

    def broadcast(self, networks: Mapping[str, nn.Module]) -> None:
        """Give every process the weights of the first."""
        if self.processes > 1:
            from accelerate.utils import broadcast

            for tensor in _tensors(networks):
                tensor.copy_(broadcast(tensor.contiguous()))

    def average_buffers(self, networks: Mapping[str, nn.Module]) -> None:
        """Average the buffers of networks over all processes, such as the means of batch normalisation."""
        if self.processes > 1:
            found = [b for network in networks.values() for b in network.buffers() if b.is_floating_point()]
            if found:
                flat = self.mean(torch.cat([b.flatten() for b in found]))
                for buffer, value in zip(found, torch.split(flat, [b.numel() for b in found]), strict=True):
                    buffer.copy_(value.view_as(buffer))

    def any_process(self, *flags: bool) -> list[bool]:
        """For each flag, whether any process has raised it."""
        if self.processes == 1:
            return list(flags)
        raised = self.mean(torch.tensor([float(flag) for flag in flags], device=self.device))
        return [value > 0 for value in raised.tolist()]

    def wait(self) -> None:
        """Block until all processes are here."""
        self._state.wait_for_everyone()

    def _choose_device(self) -> torch.device:
        return choose_device(self.config.device) if self.processes == 1 else cast(torch.device, self._state.device)


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
            source = torch.Generator().manual_seed(derive_seed(self._seed, f"order {stream}", number, 0))
            for old in [other for other in self._passes if other[2] == stream and other[1] < number - 1]:
                del self._passes[old]
            self._passes[key] = torch.randperm(count, generator=source)
        return self._passes[key]


def _processes(config: TrainingConfig) -> PartialState:
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise TrainingError("training needs accelerate: pip install 'stedit[train]'") from error
    if torch.distributed.is_available():
        # Its functions keep, as a default, the group of processes that is there when they are imported, at the latest
        # with the first optimiser. A group that is kept outlives `leave`, and its threads, which need the interpreter
        # to let go of a tensor, can abort a program that has done all its work.
        import_module("torch.distributed.nn.functional")
    # accelerate searches for a GPU, and without one would let each process train by itself
    return PartialState(cpu=choose_device(config.device).type == "cpu")


def derive_seed(seed: int, purpose: str, number: int, process: int) -> int:
    """A seed for one purpose, unlike those of all others."""
    name = f"{seed}/{purpose}/{number}/{process}".encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=7).digest(), "big")


def _tensors(networks: Mapping[str, nn.Module]) -> Iterator[Tensor]:
    for network in networks.values():
        yield from (parameter.data for parameter in network.parameters())
        yield from network.buffers()
