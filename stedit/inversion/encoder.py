"""Codes from an encoder: in one pass, corrected by what it sees of its own rendering, or iterated.

A code w of a picture x renders as G(w), and an encoder E that is asked again sees in both what it can see. Where its
answers differ, the code misses something: w + E(x) - E(G(w)) is nearer. So any encoder can correct its code, and one
that was trained to do so does it well.

An iterative encoder (ReStyle, Alaluf et al. 2021) sees picture and rendering together, in three more channels, and
answers with the change of the code. It starts from its mean code, so that its first pass alone is an inversion too.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stedit.errors import MissingPartError
from stedit.inversion.objective import Objective
from stedit.inversion.optimisation import BestCodes, OnStep
from stedit.models.generator import Generator
from stedit.runtime.framing import centre_crop, content_size, resize
from stedit.runtime.model import Model
from stedit.runtime.networks import Encoder


def encode(encoder: Encoder, generator: Generator, images: Tensor, *, corrections: int | None = None) -> Tensor:
    """Pictures (B, 3, H, W) of the encoder's input size -> codes (B, N, D).

    They are corrected as often as the encoder's config says, or as `corrections`. An iterative encoder has one pass.
    """
    if encoder.config.iterative:
        start = encoder.mean[None]
        return _restyle_step(encoder, images, start, generator(start))
    seen: Tensor = encoder(images)
    codes = seen
    for _ in range(encoder.config.corrections if corrections is None else corrections):
        codes = codes + seen - encoder(rendering_to_input(encoder, generator(codes).clamp(-1, 1)))
    return codes


def require_iterative(model: Model) -> Encoder:
    """The encoder, if the method iterative can use it. Raises MissingPartError."""
    encoder = model.require_encoder()
    if not encoder.config.iterative:
        raise MissingPartError(
            f"the encoder of {model.bundle.name!r} was not trained to see its own renderings, as the method iterative "
            "needs it: choose hybrid"
        )
    return encoder


def rendering_to_input(encoder: Encoder, rendered: Tensor) -> Tensor:
    """Renderings (B, 3, R, R) as pictures of the encoder's input size."""
    size = encoder.config.input_height, encoder.config.input_width
    rendered = rendered.float()  # the CPU cannot resize what autocast makes
    return resize(centre_crop(rendered, content_size(rendered.shape[-1], size)), size)


def invert_iteratively(
    encoder: Encoder,
    generator: Generator,
    images: Tensor,
    objective: Objective,
    *,
    steps: int,
    on_step: OnStep | None = None,
) -> Tensor:
    """Feed back what the last code renders, `steps` times.

    Args:
        encoder: an iterative one.
        generator: renders codes.
        images: (B, 3, H, W) of the encoder's input size.
        objective: of the same B pictures, by which the best code is chosen.
        steps: passes of the encoder.
        on_step: called after every pass.

    Returns:
        (B, N, D): for each picture the best code of all passes.
    """
    w = encoder.mean.expand(len(images), -1, -1)
    rendered = generator(encoder.mean[None])
    everyone = torch.arange(len(images), device=images.device)
    best = BestCodes(w)
    for step in range(1, steps + 1):
        w = _restyle_step(encoder, images, w, rendered)
        rendered = generator(w)
        terms = objective.terms(rendered, everyone)
        best.update(everyone, w, objective.total(terms), terms, step=step)
        if on_step is not None:
            on_step(best.progress(step, steps))
    return best.codes


def _restyle_step(encoder: Encoder, images: Tensor, w: Tensor, rendered: Tensor) -> Tensor:
    """Codes (B, N, D) after an iterative pass that sees `images` and what `w` renders, (1 or B, 3, R, R)."""
    seen = rendering_to_input(encoder, rendered).expand_as(images)
    code: Tensor = encoder(torch.cat([images, seen], dim=1))
    return w + code - encoder.mean
