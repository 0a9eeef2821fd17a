"""Finding faces with the aligner network: a pyramid of scales, peaks of the heat map, one answer for each face."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from stedit.models.aligner import POINTS, SHAPE, UNIT, Aligner

OVERLAP = 0.4  # intersection over union of boxes from which two answers are one face


@torch.no_grad()
def search(
    network: Aligner, images: Tensor, threshold: float, *, levels: int | None = None
) -> list[tuple[Tensor, Tensor]]:
    """Find the faces of pictures of one size.

    Args:
        network: the aligner, in evaluation mode.
        images: (B, 3, H, W) in [-1, 1], on its device.
        threshold: least probability of a face.
        levels: scales, each half of the one before; None: until the largest face that fits is in the network's range.

    Returns:
        For each picture, by falling score, the scores (K,) and shapes (K, 7, 2): five points and two corners of the
        box, in pixels of the picture.
    """
    height, width = images.shape[-2:]
    found: list[list[tuple[Tensor, Tensor]]] = [[] for _ in images]
    scale = 1.0
    level = 0
    while True:
        small = images if level == 0 else F.interpolate(images, scale_factor=scale, mode="area")
        for index, answer in enumerate(_peaks(network, small, threshold)):
            found[index].append((answer[0], answer[1] * (height / small.shape[-2])))
        level += 1
        last = max(height, width) * scale <= network.config.largest
        if last if levels is None else level == levels:
            break
        scale /= 2
    return [_one_of_each(torch.cat([a for a, _ in one]), torch.cat([b for _, b in one])) for one in found]


def _peaks(network: Aligner, images: Tensor, threshold: float) -> list[tuple[Tensor, Tensor]]:
    """Scores (K,) and shapes (K, 7, 2) of each picture's local maxima; points are means over the neighbouring cells."""
    height, width = images.shape[-2:]
    padded = F.pad(images, (0, -width % UNIT, 0, -height % UNIT))
    logits, shapes = network(padded)
    scores = logits.sigmoid()  # (B, h, w)
    weight = scores[:, None]
    flat = shapes.flatten(3).permute(0, 3, 1, 2)  # (B, 14, h, w)
    near = F.avg_pool2d(flat * weight, 3, 1, 1) / F.avg_pool2d(weight, 3, 1, 1)
    peak = (scores == F.max_pool2d(scores[:, None], 3, 1, 1)[:, 0]) & (scores >= threshold)
    answers = []
    for index in range(len(images)):
        row, column = peak[index].nonzero(as_tuple=True)
        answers.append((scores[index, row, column], near[index, :, row, column].T.reshape(-1, SHAPE, 2)))
    return answers


def _one_of_each(scores: Tensor, shapes: Tensor) -> tuple[Tensor, Tensor]:
    """Keep of overlapping answers the surest (non-maximum suppression)."""
    order = scores.argsort(descending=True, stable=True)
    scores, shapes = scores[order], shapes[order]
    low, high = shapes[:, POINTS], shapes[:, POINTS + 1]
    area = (high - low).clamp(min=0).prod(dim=-1)
    shared = (torch.minimum(high[:, None], high) - torch.maximum(low[:, None], low)).clamp(min=0).prod(dim=-1)
    same = (shared / (area[:, None] + area - shared).clamp(min=1e-6) > OVERLAP).tolist()
    kept: list[int] = []
    for index in range(len(scores)):
        if not any(same[index][other] for other in kept):
            kept.append(index)
    return scores[kept], shapes[kept]
