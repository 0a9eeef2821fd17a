"""A training small enough to be followed number by number; run as a script, one process of several."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from stedit.imaging.files import Pixels
from stedit.storage.bundle import Bundle
from stedit.training.config import TrainingConfig, key
from stedit.training.ema import update_ema
from stedit.training.loop import leave, train
from stedit.training.run import Run

SLOPE = torch.tensor([[1.0, -2.0, 0.5, 3.0]])


@dataclass(frozen=True, kw_only=True)
class LinesConfig(TrainingConfig):
    command: ClassVar[str] = "lines"

    noise: float = key(0.0, text="Standard deviation added to the inputs of each step.", low=0)
    spoil_at: int = key(-1, text="The step whose loss is no number.")
    enough: float = key(0.0, text="The held-out error at which to stop.", resumable=True)


class Lines:
    """Linear regression on 20 points, with a moving average, batch statistics and a number of its own."""

    def __init__(self, config: LinesConfig) -> None:
        self.config = config
        source = torch.Generator().manual_seed(7)
        self.inputs = torch.randn(20, 4, generator=source)
        model = nn.Sequential(nn.BatchNorm1d(4, affine=False), nn.Linear(4, 1))
        average = nn.Sequential(nn.BatchNorm1d(4, affine=False), nn.Linear(4, 1)).eval()
        average.load_state_dict(model.state_dict())
        self.networks: dict[str, nn.Module] = {"model": model, "average": average}
        self.optimizers = {"adam": torch.optim.Adam(model.parameters(), lr=config.learning_rate)}
        self.scalars = {"examples": 0.0}
        self.asked: list[list[int]] = []

    def step(self, run: Run) -> Mapping[str, Tensor]:
        index = run.indices(len(self.inputs))
        self.asked.append(index.tolist())
        x = self.inputs[index] + self.config.noise * torch.randn(len(index), 4)
        model = self.networks["model"].eval()  # its statistics would differ with the share of the batch
        with run.autocast():
            loss = (model(x).float() - x @ SLOPE.T).square().mean()
        if run.step == self.config.spoil_at:
            loss = loss * float("nan")
        run.update(self.optimizers["adam"], loss, clip=1.0)
        update_ema(self.networks["average"], model, 0.9)
        self.scalars["examples"] += len(index) * run.processes
        lazy = {"lazy": torch.tensor(run.step / 2)} if run.step % 4 == 0 else {}
        return {"loss": loss, **lazy}

    def evaluate(self, run: Run) -> Mapping[str, float]:
        x = torch.eye(4)
        error = (self.networks["average"](x) - x @ SLOPE.T).square().mean().item()
        if error < self.config.enough:
            run.stop(f"the error is {error:.3f}")
        return {"held_out": error}

    def sample(self) -> Pixels | None:
        slope = self.networks["average"][1].weight.detach()  # type: ignore[index]
        return (slope.clamp(0, 1) * 255).to(torch.uint8).reshape(2, 2, 1).expand(2, 2, 3).contiguous().numpy()

    def save(self, path: Path, *, overwrite: bool) -> Bundle:
        raise NotImplementedError


if __name__ == "__main__":
    folder, *flags = sys.argv[1:]
    given = LinesConfig.read(Path(flags[0]), {})
    _, ended = train(lambda: Lines(given), given, Path(folder))
    if ended.is_main:
        sys.stdout.write(f"{torch.distributed.get_world_size()} processes\n")
    group = weakref.ref(torch.distributed.group.WORLD)
    leave()
    if group() is not None:
        sys.exit("somebody keeps the group of processes, whose threads may abort the program at its end")
