"""Options of inversions, and their progress. Nothing here imports torch, so that a command line is read without it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal, get_args

from stedit.errors import UsageError
from stedit.models.config import MAX_TUNING_RANK

Method = Literal["encoder", "optimise", "hybrid", "iterative"]
Space = Literal["w", "w+"]
Loss = Literal["l1", "l2", "perceptual", "identity"]

METHODS: tuple[str, ...] = get_args(Method)
LOSSES: tuple[str, ...] = get_args(Loss)

DEFAULT_STEPS: Mapping[str, int] = MappingProxyType({"encoder": 1, "optimise": 300, "hybrid": 100, "iterative": 5})
"""`optimise` has the way from the mean to go; `iterative` is ReStyle's count (Alaluf et al. 2021, section 4.1)."""

DEFAULT_WEIGHTS: Mapping[str, float] = MappingProxyType({"l1": 0.1, "l2": 1.0, "perceptual": 0.02, "identity": 0.1})
"""Of a loss that is named without a weight. l2 leads, so that a better loss is a better PSNR; identity as in pSp."""

MAX_STEPS = 100_000
MAX_WEIGHT = 1e6


@dataclass(frozen=True)
class InversionOptions:
    """Options of a search for codes; a method ignores those of others. Raises UsageError for a value out of bounds."""

    steps: int | None = None
    """Of optimisation, or passes of the encoder; None: DEFAULT_STEPS of the method."""
    space: Space = "w+"
    """"w+": a style for each layer; "w": the same style for all, which fits worse and edits best."""
    losses: Mapping[str, float] = field(default_factory=dict)
    """Weights by name, of LOSSES; {}: l2, and perceptual where a network for it is at hand."""
    prior_weight: float = 1.0
    """How strongly `hybrid` is held near the encoder's code and the mean; 0: not at all."""
    patience: int = 25
    """Steps without an improvement of the loss after which an image is done."""
    seed: int = 0
    """Of the noise on the code in `optimise`."""

    def __post_init__(self) -> None:
        if self.steps is not None:
            _check_steps(self.steps)
        _check_losses(self.losses)
        if self.space not in get_args(Space):
            raise UsageError(f"there is no space {self.space!r}: choose w or w+")
        if not 0 <= self.prior_weight <= MAX_WEIGHT:
            raise UsageError(
                f"the pull to the encoder's code is {self.prior_weight:g}: give a number from 0 to {MAX_WEIGHT:g}"
            )
        if self.patience < 1:
            raise UsageError(f"the patience is {self.patience} steps: give at least 1")


@dataclass(frozen=True)
class TuningOptions:
    """Options of tuning the generator to an image. Raises UsageError for a value out of bounds."""

    steps: int = 60
    rank: int = 8
    """Of the change of each layer's weights: it bounds the size of the file and what can be changed."""
    losses: Mapping[str, float] = field(default_factory=dict)
    """As in InversionOptions."""
    seed: int = 0
    """Of the factors that the change starts from."""

    def __post_init__(self) -> None:
        _check_steps(self.steps)
        _check_losses(self.losses)
        if not 1 <= self.rank <= MAX_TUNING_RANK:
            raise UsageError(f"the rank is {self.rank}: give 1 to {MAX_TUNING_RANK}")


@dataclass(frozen=True)
class InversionProgress:
    """Progress of the inversion of B images, after one step."""

    step: int
    """1 to `steps`."""
    steps: int
    terms: tuple[Mapping[str, float], ...]
    """For each image, the unweighted losses of its best code so far, by name."""
    losses: tuple[float, ...]
    """For each image, their weighted sum; with what `hybrid` adds to stay near the encoder's code."""
    psnr: tuple[float, ...]
    """For each image, the PSNR of its best code's rendering, in dB, at the size of the renderings."""
    steps_taken: tuple[int, ...]
    """For each image, the steps it has taken; below `step` once it is done."""


def resolve_options(method: Method, options: InversionOptions | None, steps: int | None) -> InversionOptions | None:
    """The options with `steps`, which is short for them. Raises UsageError for what contradicts itself."""
    if method not in METHODS:
        raise UsageError(f"there is no method {method!r}: choose from {', '.join(METHODS)}")
    if steps is None:
        return options
    if method == "encoder":
        raise UsageError("the encoder takes no steps: choose the method 'hybrid' or 'optimise'")
    if options is not None and options.steps not in (None, steps):
        raise UsageError(f"there are to be {steps} steps, and {options.steps} in the options: leave one of them out")
    return replace(options or InversionOptions(), steps=steps)


def parse_losses(text: str) -> dict[str, float]:
    """Read `l2`, `l2,perceptual` or `l2,perceptual=0.05`. Raises UsageError."""
    losses: dict[str, float] = {}
    for part in text.split(","):
        name, equals, number = part.strip().partition("=")
        if name not in LOSSES:
            raise UsageError(f"the losses {text!r} name {name!r}, which is not a loss: choose from {', '.join(LOSSES)}")
        if name in losses:
            raise UsageError(f"the losses {text!r} name {name} twice: name it once")
        try:
            losses[name] = float(number) if equals else DEFAULT_WEIGHTS[name]
        except ValueError:
            losses[name] = math.nan
        if not 0 < losses[name] <= MAX_WEIGHT:
            raise UsageError(f"the losses {text!r} give {name} the weight {number!r}: give a number above 0")
    return losses


def _check_steps(steps: int) -> None:
    if not 1 <= steps <= MAX_STEPS:
        raise UsageError(f"{steps} steps are too few or too many: give 1 to {MAX_STEPS}")


def _check_losses(losses: Mapping[str, float]) -> None:
    for name, weight in losses.items():
        if name not in LOSSES:
            raise UsageError(f"there is no loss {name!r}: choose from {', '.join(LOSSES)}")
        if not 0 < weight <= MAX_WEIGHT:
            raise UsageError(f"the loss {name} has the weight {weight:g}: give a number above 0 up to {MAX_WEIGHT:g}")
