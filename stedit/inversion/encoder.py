"""Codes from an encoder: in one pass, corrected by its code of the rendering, or iterated.

The code w of an image x renders as G(w). Where the encoder's codes of both differ, w misses something, and
w + E(x) - E(G(w)) is nearer. So any encoder E can correct its code; one that was trained to do so does it well.

An iterative encoder (ReStyle, Alaluf et al. 2021) takes image and rendering together, in three more channels, and
returns the change of the code. It starts from its mean code, so that its first pass alone is an inversion too.
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
    """Images (B, 3, H, W) of the encoder's input size -> codes (B, N, D).

    Codes are corrected as often as the encoder's config says, or as `corrections`. An iterative encoder has one pass.
    """
    if encoder.config.iterative:
        start = encoder.mean[None]
        return _restyle_step(encoder, images, start, generator(start))
    first: Tensor = encoder(images)
    codes = first
    for _ in range(encoder.config.corrections if corrections is None else corrections):
        codes = codes + first - encoder(rendering_to_input(encoder, generator(codes).clamp(-1, 1)))
    return codes


def require_iterative(model: Model) -> Encoder:
    """The encoder, if the method iterative can use it. Raises MissingPartError."""
    encoder = model.require_encoder()
    if not encoder.config.iterative:
        raise MissingPartError(
            f"the encoder of {model.bundle.name!r} was not trained on its own renderings, which the method iterative "
            "needs: choose hybrid"
        )
    return encoder


def rendering_to_input(encoder: Encoder, rendered: Tensor) -> Tensor:
    """Renderings (B, 3, R, R) as images of the encoder's input size."""
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
    """Codes by `steps` passes, each of the images beside what the last codes render.

    Args:
        encoder: an iterative one.
        generator: renders codes.
        images: (B, 3, H, W) of the encoder's input size.
        objective: of the same B images, by which the best code is chosen.
        steps: passes of the encoder.
        on_step: called after every pass.

    Returns:
        (B, N, D): for each image the best code of all passes.
    """
    w = encoder.mean.expand(len(images), -1, -1)
    rendered = generator(encoder.mean[None])
    every = torch.arange(len(images), device=images.device)
    best = BestCodes(w)
    for step in range(1, steps + 1):
        w = _restyle_step(encoder, images, w, rendered)
        rendered = generator(w)
        terms = objective.terms(rendered, every)
        best.update(every, w, objective.total(terms), terms, step=step)
        if on_step is not None:
            on_step(best.progress(step, steps))
    return best.codes


def _restyle_step(encoder: Encoder, images: Tensor, w: Tensor, rendered: Tensor) -> Tensor:
    """Codes (B, N, D) after an iterative pass over `images` beside what `w` renders, (1 or B, 3, R, R)."""
    beside = rendering_to_input(encoder, rendered).expand_as(images)
    code: Tensor = encoder(torch.cat([images, beside], dim=1))
    return w + code - encoder.mean
