"""Descent on the code: Adam, a ramped learning rate, and noise that decays (Karras et al. 2020, appendix D).

The paper optimises the noise maps of the synthesis layers as well, and regularises them; here they are the model's
constants, as they are wherever stedit renders, so that a code alone brings the picture back.

Each picture descends on its own: it has its own loss, moments, best code and end, so that what else is in its batch
makes no difference but in rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from stedit.inversion.objective import MSE, Objective
from stedit.inversion.options import InversionOptions, InversionProgress
from stedit.models.generator import Generator
from stedit.runtime.networks import Encoder

LEARNING_RATE = 0.1
RAMP_UP, RAMP_DOWN = 0.05, 0.25  # shares of the steps
NOISE = 0.05  # of the codes' standard deviation
NOISE_STEPS = 0.75  # share of the steps that have noise
IMPROVEMENT = 1e-3  # a loss that falls by a smaller share has not fallen

_BETAS, _EPSILON = (0.9, 0.999), 1e-8

OnStep = Callable[[InversionProgress], None]
Prior = Callable[[Tensor, Tensor], Tensor]
"""From codes (b, N, D) and the numbers of their pictures (b,) to what is added to their losses, (b,)."""


@dataclass(frozen=True)
class CodeStatistics:
    """Where a generator's codes lie."""

    mean: Tensor
    """(N, D)."""
    w_std: float
    """Root of the mean squared distance of a w from the mean of w, as the paper's appendix D has it."""


def code_statistics(generator: Generator, encoder: Encoder | None) -> CodeStatistics:
    """Statistics of W, from 10,000 draws of z.

    The mean is the one stored with the mapping network, else the encoder's, else that of the draws: converted
    checkpoints may lack either, which shows as zeros.
    """
    mapping = generator.mapping
    source = torch.Generator().manual_seed(0)
    with torch.no_grad():
        z = torch.randn(10_000, generator.config.style_dim, generator=source).to(mapping.mean)
        w = mapping(z)
        centre = w.mean(dim=0)
        deviation = float((w - centre).square().sum(dim=1).mean().sqrt())
    if mapping.mean.any():
        centre = mapping.mean
    elif encoder is not None and encoder.mean.any():
        centre = encoder.mean
    return CodeStatistics(centre.expand(generator.config.style_count, -1), deviation)


def invert_by_optimisation(
    generator: Generator,
    objective: Objective,
    statistics: CodeStatistics,
    options: InversionOptions,
    *,
    steps: int,
    on_step: OnStep | None = None,
) -> Tensor:
    """Codes (B, N, D) of the objective's B pictures, found without an encoder: from the mean, at first with noise."""
    start = statistics.mean.expand(objective.count, -1, -1)
    noise = NOISE * statistics.w_std
    return optimise_latents(generator, objective, start, options, steps=steps, noise=noise, on_step=on_step)


def optimise_latents(
    render: Callable[[Tensor], Tensor],
    objective: Objective,
    start: Tensor,
    options: InversionOptions,
    *,
    steps: int,
    noise: float = 0.0,
    learning_rate: float = LEARNING_RATE,
    prior: Prior | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """Improve codes.

    Args:
        render: codes (b, N, D) -> pictures (b, 3, R, R), in evaluation.
        objective: tells how good the renderings of B codes are.
        start: (B, N, D); in the space W, the descent starts from the mean of its styles.
        options: space, patience and seed.
        steps: at most as many for each picture.
        noise: standard deviation of the noise on the code at the first step.
        learning_rate: of Adam, between the ramps.
        prior: added to the losses.
        on_step: called after every step.

    Returns:
        (B, N, D): for each picture the code whose rendering had the smallest loss; it may be the start.
    """
    styles = start.shape[1]
    w = (start.mean(dim=1, keepdim=True) if options.space == "w" else start).clone()  # (B, 1 or N, D)
    moments = torch.zeros_like(w), torch.zeros_like(w)
    source = torch.Generator().manual_seed(options.seed)
    best = BestCodes(w)
    kept = torch.arange(len(w), device=w.device)  # the pictures that still descend
    for step in range(steps + 1):
        sigma = noise * max(0.0, 1 - step / steps / NOISE_STEPS) ** 2
        tried = w[kept]
        if sigma:  # the same for every picture, lest it depend on the others
            tried = tried + sigma * torch.randn(1, *w.shape[1:], generator=source).to(w)
        with torch.enable_grad():
            code = tried.requires_grad_().expand(-1, styles, -1)
            terms = objective.terms(render(code), kept)
            loss = objective.total(terms)
            if prior is not None:
                loss = loss + prior(code, kept)
            (gradient,) = torch.autograd.grad(loss.sum(), tried)
        best.update(kept, tried.detach(), loss.detach(), terms, step=step, noisy=sigma > 0)
        if on_step is not None and step:
            on_step(best.progress(step, steps))
        going = step - best.improved[kept] < options.patience
        kept, gradient = kept[going], gradient[going]
        if not len(kept):
            break
        w[kept] -= _adam(moments, gradient, kept, step + 1) * learning_rate * _ramp(step / steps)
    return best.codes.expand(-1, styles, -1).contiguous()


class BestCodes:
    """The best code of each picture so far, and since when."""

    def __init__(self, w: Tensor) -> None:
        self.codes = w.clone()
        self.losses = w.new_full((len(w),), math.inf)
        self.terms: dict[str, Tensor] = {}
        self.steps_taken = torch.zeros(len(w), dtype=torch.long, device=w.device)
        self.improved = self.steps_taken.clone()  # the step of the last improvement that counts
        self._mark = self.losses.clone()  # and the loss at that step

    def update(
        self,
        kept: Tensor,
        tried: Tensor,
        loss: Tensor,
        terms: Mapping[str, Tensor],
        *,
        step: int,
        noisy: bool = False,
    ) -> None:
        """Look at the codes `tried` (b, 1 or N, D) of the pictures `kept` (b,), whose loss is (b,)."""
        self.steps_taken[kept] = step
        better = loss < self.losses[kept]
        self.codes[kept[better]] = tried[better]
        self.losses[kept[better]] = loss[better]
        for name, value in terms.items():
            self.terms.setdefault(name, self._mark.new_full(self.losses.shape, math.inf))
            self.terms[name][kept[better]] = value.detach()[better]
        counts = loss < (1 - IMPROVEMENT) * self._mark[kept]
        self._mark[kept[counts]] = loss[counts]
        if noisy:  # a loss may rise while there is noise: patience starts after it
            self.improved[kept] = step
        self.improved[kept[counts]] = step

    def progress(self, step: int, steps: int) -> InversionProgress:
        """How the pictures stand after `step` of `steps`."""
        terms: list[dict[str, float]] = [{} for _ in self.losses]
        for name, values in self.terms.items():
            for one, value in zip(terms, values.tolist(), strict=True):
                one[name] = value
        psnr = [-10 * math.log10(max(one.pop(MSE), 1e-10) / 4) for one in terms]  # colours go from -1 to 1
        return InversionProgress(
            step, steps, tuple(terms), tuple(self.losses.tolist()), tuple(psnr), tuple(self.steps_taken.tolist())
        )


def _adam(moments: tuple[Tensor, Tensor], gradient: Tensor, kept: Tensor, count: int) -> Tensor:
    """Adam's direction (Kingma and Ba 2015, algorithm 1) for the pictures `kept`, whose moments it updates."""
    first, second = moments
    first[kept] = torch.lerp(gradient, first[kept], _BETAS[0])
    second[kept] = torch.lerp(gradient.square(), second[kept], _BETAS[1])
    unbiased = first[kept] / (1 - _BETAS[0] ** count)
    return unbiased / ((second[kept] / (1 - _BETAS[1] ** count)).sqrt() + _EPSILON)


def _ramp(progress: float) -> float:
    """Up linearly, down by a cosine; `progress` is in 0..1."""
    down = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (1 - progress) / RAMP_DOWN))
    return down * min(1.0, progress / RAMP_UP)
