"""Early stopping: keep the weights that did best on held-out examples, and stop when they stay the best for long."""

from __future__ import annotations

import copy
import math
from typing import Generic, TypeVar

from torch import nn

from stedit.training.run import Run

BEST = "best"  # the main process alone evaluates, and so knows it

Network = TypeVar("Network", bound=nn.Module)


class Best(Generic[Network]):
    """The weights of a network that the training results in; put `network` among those of the task, under `BEST`."""

    def __init__(self, network: Network, numbers: dict[str, float], patience: int) -> None:
        """`patience` is how many evaluations may be no better before the training stops; 0: the last weights count.

        `numbers` are the task's.
        """
        self.network: Network = copy.deepcopy(network).eval().requires_grad_(False)
        self._numbers, self._patience = numbers, patience
        numbers |= {"best": math.inf, "waited": 0.0}

    def offer(self, network: Network, loss: float, run: Run) -> None:
        """Take the weights of `network`, if they are the best so far by the held-out `loss`; infinity: not measured."""
        if self._patience and self._numbers["best"] <= loss < math.inf:
            self._numbers["waited"] += 1
            if self._numbers["waited"] >= self._patience:
                run.stop(f"no better on held-out examples for {self._patience} evaluations")
            return
        self._numbers |= {"best": loss, "waited": 0.0}
        self.network.load_state_dict(network.state_dict())
