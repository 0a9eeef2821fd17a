"""One pass of the style transformer, or several (ReStyle, Alaluf et al. 2021).

An iterative encoder sees the picture and, in three more channels, how the last code renders; it answers with the change
of the code. It starts from its mean code, so that its first pass alone is an inversion too.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stedit.inversion.objective import Objective, frame, frame_size, resize
from stedit.inversion.optimisation import BestCodes, Report
from stedit.models.generator import Generator
from stedit.models.style_transformer import StyleTransformer


def one_pass(encoder: StyleTransformer, generator: Generator, images: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) of the encoder's input size -> codes (B, N, D)."""
    if not encoder.config.iterative:
        codes: Tensor = encoder(images)
        return codes
    start = encoder.mean[None]
    return _corrected(encoder, images, start, generator(start))


def iterate(
    encoder: StyleTransformer,
    generator: Generator,
    images: Tensor,
    objective: Objective,
    *,
    steps: int,
    report: Report | None = None,
) -> Tensor:
    """Feed back what the last code renders, `steps` times.

    Args:
        encoder: an iterative one.
        generator: renders codes.
        images: (B, 3, H, W) of the encoder's input size.
        objective: of the same B pictures, by which the best code is chosen.
        steps: passes of the encoder.
        report: told after every pass.

    Returns:
        (B, N, D): for each picture the best code of all passes.
    """
    w = encoder.mean.expand(len(images), -1, -1)
    rendered = generator(encoder.mean[None])
    everyone = torch.arange(len(images), device=images.device)
    best = BestCodes(w)
    for step in range(1, steps + 1):
        w = _corrected(encoder, images, w, rendered)
        rendered = generator(w)
        terms = objective.terms(rendered, everyone)
        best.take(everyone, w, objective.total(terms), terms, step=step)
        if report is not None:
            report(best.tell(step, steps))
    return best.codes


def _corrected(encoder: StyleTransformer, images: Tensor, w: Tensor, rendered: Tensor) -> Tensor:
    """Codes (B, N, D) after a pass that sees `images` and what `w` renders, (1 or B, 3, R, R)."""
    size = encoder.config.input_height, encoder.config.input_width
    seen = resize(frame(rendered, frame_size(rendered.shape[-1], size)), size).expand_as(images)
    code: Tensor = encoder(torch.cat([images, seen], dim=1))
    return w + code - encoder.mean
