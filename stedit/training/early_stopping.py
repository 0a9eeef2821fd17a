"""Early stopping: keep the weights with the least validation loss, and stop when it has not improved for long."""

from __future__ import annotations

import copy
import math
from typing import Generic, TypeVar

from torch import nn

from stedit.training.run import Run

BEST = "best"  # the main process alone evaluates, and so has it

Network = TypeVar("Network", bound=nn.Module)


class EarlyStopping(Generic[Network]):
    """The weights of a network that a training results in; put `network` among those of the task, under `BEST`."""

    def __init__(self, network: Network, scalars: dict[str, float], patience: int) -> None:
        """Start from a copy of `network`.

        Args:
            network: in training.
            scalars: of the task; the least loss and the evaluations since are kept there.
            patience: evaluations without improvement after which the training stops; 0: the last weights count.
        """
        self.network: Network = copy.deepcopy(network).eval().requires_grad_(False)
        self._scalars, self._patience = scalars, patience
        scalars |= {"best": math.inf, "waited": 0.0}

    def update(self, network: Network, loss: float, run: Run) -> None:
        """Keep the weights of `network` if their validation `loss` is the least so far; infinity: not measured."""
        if self._patience and self._scalars["best"] <= loss < math.inf:
            self._scalars["waited"] += 1
            if self._scalars["waited"] >= self._patience:
                run.stop(f"no better on held-out examples for {self._patience} evaluations")
            return
        self._scalars |= {"best": loss, "waited": 0.0}
        self.network.load_state_dict(network.state_dict())
