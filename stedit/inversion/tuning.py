"""Pivotal tuning: the generator adapted to one image, whose code stays as it is (Roich et al. 2021, section 3.2).

Beyond the paper, the change of each convolution is a product of two thin matrices (LoRA, Hu et al. 2021): it is small
on disk, and a generator that can change little stays a generator of faces, so that edits go on to work.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stedit.inversion.objective import Objective
from stedit.inversion.optimisation import OnStep, optimise_latents
from stedit.inversion.options import InversionOptions, TuningOptions
from stedit.models.generator import Generator
from stedit.runtime.synthesis import LowRankUpdates, synthesise_tuned

LEARNING_RATE = 3e-2  # 3.2 dB in 60 steps on images of the training split, against 2.0 dB at a tenth of it


def tune(
    generator: Generator, w: Tensor, objective: Objective, options: TuningOptions, *, on_step: OnStep | None = None
) -> LowRankUpdates:
    """Updates of the 3x3 convolutions that adapt the generator to one image.

    Args:
        generator: nothing of it is changed.
        w: (1, N, D), the pivot.
        objective: of that image.
        options: steps, rank and seed.
        on_step: called after every step.

    Returns:
        The factors with the smallest loss; at worst those that change nothing.
    """
    weights = _tunable(generator)
    shapes = [
        shape
        for weight in weights.values()
        for shape in ((weight.shape[0], options.rank), (options.rank, weight[0].numel()))
    ]
    source = torch.Generator().manual_seed(options.seed)
    start: list[Tensor] = []
    for index, shape in enumerate(shapes):  # up from zero: the first rendering is the generator's own
        down = torch.randn(shape, generator=source) / math.sqrt(options.rank)
        start.append(down.flatten() if index % 2 else torch.zeros(math.prod(shape)))

    def factors(flat: Tensor) -> LowRankUpdates:
        sizes = [math.prod(shape) for shape in shapes]
        tensors = [part.view(shape) for part, shape in zip(torch.split(flat.flatten(), sizes), shapes, strict=True)]
        return dict(zip(weights, zip(tensors[::2], tensors[1::2], strict=True), strict=True))

    best = optimise_latents(
        lambda flat: synthesise_tuned(generator, factors(flat), w),
        objective,
        torch.cat(start).to(w)[None, None],
        InversionOptions(),
        steps=options.steps,
        learning_rate=LEARNING_RATE,
        on_step=on_step,
    )
    return factors(best)


def _tunable(generator: Generator) -> dict[str, Tensor]:
    """The 3x3 convolutions, which make the shapes; the others only colour them."""
    return {name: weight for name, weight in generator.named_parameters() if weight.ndim == 4 and weight.shape[-1] == 3}
