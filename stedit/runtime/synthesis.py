"""Renderings of latent codes by a model's generator, as it is or as it was tuned to an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor
from torch.func import functional_call

from stedit.errors import LatentError, UsageError
from stedit.models.generator import Generator, Noise, SynthesisBlock, SynthesisLayer
from stedit.runtime.arrays import from_half
from stedit.runtime.model import Model
from stedit.runtime.rounding import rounded_as_in_batches
from stedit.storage.tunings import Tuning

LowRankUpdates = Mapping[str, tuple[Tensor, Tensor]]
"""By the name of a weight (O, I, k, k): up (O, r) and down (r, I * k * k), whose product is added to it."""


def synthesise(
    model: Model, w: Tensor, *, noise: Noise = "const", seed: int = 0, tunings: Sequence[Tuning | None] = ()
) -> Tensor:
    """Codes (B, N, D) on the model's device -> images, float32 (B, 3, R, R), about [-1, 1].

    Noise, seed, tunings and errors are those of `Engine.synthesise`.
    """
    if not any(tunings):
        return _render(model, w, noise, seed)
    if len(tunings) != len(w):
        raise UsageError(f"there are {len(w)} codes and {len(tunings)} tunings: give one, or None, for each code")
    # one by one, since each code with a tuning has a generator of its own
    pairs = zip(torch.split(w, 1), tunings, strict=True)
    return torch.cat([_render(model, one, noise, seed, tuning) for one, tuning in pairs])


def synthesise_tuned(
    generator: Generator, updates: LowRankUpdates, w: Tensor, *, noise: Noise | list[Tensor] = "const"
) -> Tensor:
    """Render codes (B, N, D) by the generator with updated weights -> (B, 3, R, R).

    Raises ValueError if the updates do not fit the generator.
    """
    weights = dict(generator.named_parameters())
    changed = {}
    for name, (up, down) in updates.items():
        weight = weights.get(name)
        if weight is None or weight.ndim != 4 or (weight.shape[0], weight[0].numel()) != (up.shape[0], down.shape[1]):
            raise ValueError(f"the tuning of {name} does not fit the generator")
        changed[name] = weight + (up @ down).view_as(weight)
    return cast(Tensor, functional_call(generator, changed, (w,), {"noise": noise}))


def _render(model: Model, w: Tensor, noise: Noise, seed: int, tuning: Tuning | None = None) -> Tensor:
    generator = model.networks.generator
    maps = _random_maps(generator, seed, model.device) if noise == "random" else noise
    updates = None if tuning is None else _updates(model, tuning)
    with torch.no_grad(), model.autocast(), rounded_as_in_batches(model.device):
        if updates is None:
            images: Tensor = generator(w, noise=maps)
        else:
            try:
                images = synthesise_tuned(generator, updates, w, noise=maps)
            except ValueError as error:
                raise LatentError(f"a tuning is damaged ({error}): make it again", argument="tuning") from error
    return images.float()


def _random_maps(generator: Generator, seed: int, device: torch.device) -> list[Tensor]:
    """A map (1, 1, H, W) of noise for each layer, of the CPU's random numbers, so that devices agree."""
    source = torch.Generator().manual_seed(seed)
    blocks = cast("list[SynthesisBlock]", generator.blocks)
    layers = [layer for block in blocks for layer in cast("list[SynthesisLayer]", block.layers)]
    return [torch.randn(layer.noise.shape, generator=source).to(device) for layer in layers]


def _updates(model: Model, tuning: Tuning) -> LowRankUpdates:
    """Raises LatentError if the tuning is of another model."""
    bundle = model.bundle
    if tuning.fingerprint != bundle.fingerprint:
        raise LatentError(
            f"a tuning of the model {tuning.model!r} (fingerprint {tuning.fingerprint!r}) does not fit "
            f"{bundle.name!r} ({bundle.fingerprint!r}): use that model, or invert the image again"
        )
    return {
        name: (from_half(up).to(model.device), from_half(down).to(model.device))
        for name, (up, down) in tuning.factors.items()
    }
