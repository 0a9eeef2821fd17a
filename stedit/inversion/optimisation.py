"""Optimisation of codes: Adam, a ramped learning rate, and noise that decays (Karras et al. 2020, appendix D).

The paper optimises the noise maps of the synthesis layers as well, and regularises them. Here they are the model's
constants, as everywhere in stedit, so that a code alone renders the image.

Each image has its own loss, moments, best code and end, so that the rest of its batch makes no difference but rounding.
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
"""Codes (b, N, D) and the indices of their images (b,) -> what is added to their losses, (b,)."""


@dataclass(frozen=True)
class CodeStatistics:
    """Mean and spread of a generator's codes."""

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
        z = torch.randn(10_000, generator.config.z_width, generator=source).to(mapping.mean)
        w = mapping(z)
        centre = w.mean(dim=0)
        w_std = float((w - centre).square().sum(dim=1).mean().sqrt())
    if mapping.mean.any():
        centre = mapping.mean
    elif encoder is not None and encoder.mean.any():
        centre = encoder.mean
    return CodeStatistics(centre.expand(generator.config.style_count, -1), w_std)


def invert_by_optimisation(
    generator: Generator,
    objective: Objective,
    statistics: CodeStatistics,
    options: InversionOptions,
    *,
    steps: int,
    on_step: OnStep | None = None,
) -> Tensor:
    """Codes (B, N, D) of the objective's B images, found without an encoder: from the mean, at first with noise."""
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
    """Codes improved by gradient descent on the losses of their renderings.

    Args:
        render: codes (b, N, D) -> images (b, 3, R, R), in evaluation.
        objective: the losses of renderings of B codes.
        start: (B, N, D); in the space W, optimisation starts from the mean of its styles.
        options: space, patience and seed.
        steps: maximum for each image.
        noise: standard deviation of the noise on the code at the first step.
        learning_rate: of Adam, between the ramps.
        prior: added to the losses.
        on_step: called after every step.

    Returns:
        (B, N, D): for each image the code whose rendering had the smallest loss, which may be the start.
    """
    styles = start.shape[1]
    w = (start.mean(dim=1, keepdim=True) if options.space == "w" else start).clone()  # (B, 1 or N, D)
    moments = torch.zeros_like(w), torch.zeros_like(w)
    source = torch.Generator().manual_seed(options.seed)
    best = BestCodes(w)
    active = torch.arange(len(w), device=w.device)  # indices of the images that are not done
    for step in range(steps + 1):
        sigma = noise * max(0.0, 1 - step / steps / NOISE_STEPS) ** 2
        candidates = w[active]
        if sigma:  # the same for every image, lest it depend on the others
            candidates = candidates + sigma * torch.randn(1, *w.shape[1:], generator=source).to(w)
        with torch.enable_grad():
            code = candidates.requires_grad_().expand(-1, styles, -1)
            terms = objective.terms(render(code), active)
            loss = objective.total(terms)
            if prior is not None:
                loss = loss + prior(code, active)
            (gradient,) = torch.autograd.grad(loss.sum(), candidates)
        best.update(active, candidates.detach(), loss.detach(), terms, step=step, noisy=sigma > 0)
        if on_step is not None and step:
            on_step(best.progress(step, steps))
        going = step - best.improved[active] < options.patience
        active, gradient = active[going], gradient[going]
        if not len(active):
            break
        w[active] -= _adam(moments, gradient, active, step + 1) * learning_rate * _ramp(step / steps)
    return best.codes.expand(-1, styles, -1).contiguous()


class BestCodes:
    """The best code of each image so far, and the step of its last improvement."""

    def __init__(self, w: Tensor) -> None:
        self.codes = w.clone()
        self.losses = w.new_full((len(w),), math.inf)
        self.terms: dict[str, Tensor] = {}
        self.steps_taken = torch.zeros(len(w), dtype=torch.long, device=w.device)
        self.improved = self.steps_taken.clone()  # the step of the last improvement that counts
        self._mark = self.losses.clone()  # and the loss at that step

    def update(
        self,
        active: Tensor,
        candidates: Tensor,
        loss: Tensor,
        terms: Mapping[str, Tensor],
        *,
        step: int,
        noisy: bool = False,
    ) -> None:
        """Keep the better ones of `candidates` (b, 1 or N, D), codes of the images `active` (b,)."""
        self.steps_taken[active] = step
        better = loss < self.losses[active]
        self.codes[active[better]] = candidates[better]
        self.losses[active[better]] = loss[better]
        for name, value in terms.items():
            self.terms.setdefault(name, self._mark.new_full(self.losses.shape, math.inf))
            self.terms[name][active[better]] = value.detach()[better]
        counts = loss < (1 - IMPROVEMENT) * self._mark[active]
        self._mark[active[counts]] = loss[counts]
        if noisy:  # a loss may rise while there is noise: patience starts after it
            self.improved[active] = step
        self.improved[active[counts]] = step

    def progress(self, step: int, steps: int) -> InversionProgress:
        """The state after `step` of `steps`."""
        terms: list[dict[str, float]] = [{} for _ in self.losses]
        for name, values in self.terms.items():
            for one, value in zip(terms, values.tolist(), strict=True):
                one[name] = value
        psnr = [-10 * math.log10(max(one.pop(MSE), 1e-10) / 4) for one in terms]  # colours go from -1 to 1
        return InversionProgress(
            step, steps, tuple(terms), tuple(self.losses.tolist()), tuple(psnr), tuple(self.steps_taken.tolist())
        )


def _adam(moments: tuple[Tensor, Tensor], gradient: Tensor, active: Tensor, count: int) -> Tensor:
    """Adam's direction (Kingma and Ba 2015, algorithm 1) for the images `active`, whose moments it updates."""
    first, second = moments
    first[active] = torch.lerp(gradient, first[active], _BETAS[0])
    second[active] = torch.lerp(gradient.square(), second[active], _BETAS[1])
    unbiased = first[active] / (1 - _BETAS[0] ** count)
    return unbiased / ((second[active] / (1 - _BETAS[1] ** count)).sqrt() + _EPSILON)


def _ramp(progress: float) -> float:
    """Up linearly, down by a cosine; `progress` is in 0..1."""
    down = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (1 - progress) / RAMP_DOWN))
    return down * min(1.0, progress / RAMP_UP)
