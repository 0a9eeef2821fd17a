"""Adaptive discriminator augmentation for small sets of images (Karras et al. 2020a, arXiv 2006.06676).

Of the paper's pipeline the groups that helped most, "blit, geometric, colour", each operation with probability p:
horizontal flip, quarter turns, whole-pixel shift; scale, rotation, anisotropic scale, shift; brightness, contrast, luma
flip, hue, saturation. Image-space filtering, noise and cutout are left out, and images are resampled bilinearly,
without the paper's wavelet low-pass. Everything is differentiable with respect to the images, once.
"""

from __future__ import annotations

import math
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional as F

from stedit.training.data.augmentation import rotation, scaling, shift

MAX_SHIFT = 0.125  # of the image's size
SCALE_DEVIATION = 0.2  # of log2
SHIFT_DEVIATION = 0.125  # of the image's size
BRIGHTNESS_DEVIATION = 0.2
CONTRAST_DEVIATION = 0.5  # of log2
SATURATION_DEVIATION = 1.0  # of log2
ADJUST_EVERY = 4  # steps


def augment(images: Tensor, p: float) -> Tensor:
    """Transform each image at random.

    Args:
        images: (B, 3, H, W), about [-1, 1].
        p: probability of each operation, 0..1; at 0 the images come back as they are.
    """
    if p <= 0:
        return images
    return _recolour(_move(images, p), p)


def adjusted(p: float, sign: float, *, target: float, images: int, speed: int) -> float:
    """Move p towards where the discriminator overfits as much as `target` says.

    Args:
        p: now.
        sign: r_t, the mean sign of its logits for real images (the paper's equation 1): 0 does not overfit, 1 does.
        target: of r_t.
        images: real images shown since the last adjustment.
        speed: images in which p can go from 0 to 1.
    """
    step = images / speed
    return min(max(p + (step if sign > target else -step), 0.0), 1.0)


def _move(images: Tensor, p: float) -> Tensor:
    """One affine map for each image, from the target's coordinates to the source's, with mirrored borders."""
    count, _, height, width = images.shape

    def chance(probability: float = p) -> Tensor:
        return (torch.rand(count, device=images.device) < probability).float()

    def normal(deviation: float) -> Tensor:
        return torch.randn(count, device=images.device) * deviation

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, device=images.device)

    turning = 1 - math.sqrt(1 - p)  # twice, before and after the anisotropic scale, so that one happens with p
    shift_x, shift_y = ((uniform(-1, 1) * MAX_SHIFT * size).round() * 2 / size for size in (width, height))
    steps = [
        scaling(1 - 2 * chance() * uniform(0, 2).floor(), torch.ones(count, device=images.device)),
        rotation(chance() * uniform(0, 4).floor() * (math.pi / 2)),
        shift(shift_x * (moved := chance()), shift_y * moved),
        scaling(isotropic := torch.exp2(chance() * normal(SCALE_DEVIATION)), isotropic),
        rotation(chance(turning) * uniform(-math.pi, math.pi)),
        scaling(stretch := torch.exp2(chance() * normal(SCALE_DEVIATION)), 1 / stretch),
        rotation(chance(turning) * uniform(-math.pi, math.pi)),
        shift(normal(2 * SHIFT_DEVIATION) * (drifted := chance()), normal(2 * SHIFT_DEVIATION) * drifted),
    ]
    matrix = reduce(torch.matmul, steps)  # (B, 3, 3)
    grid = F.affine_grid(matrix[:, :2], list(images.shape), align_corners=False)
    moved_images = F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return moved_images.to(images.dtype)


def _recolour(images: Tensor, p: float) -> Tensor:
    """One affine map of colours for each image (the paper's appendix B, in YUV-like axes around the grey one)."""
    count = len(images)
    device = images.device

    def chance() -> Tensor:
        return (torch.rand(count, device=device) < p).float()[:, None, None]

    def normal() -> Tensor:
        return torch.randn(count, 1, 1, device=device)

    grey = torch.full((3, 1), 1 / math.sqrt(3), device=device)
    luma = grey @ grey.T  # projects on the grey axis
    identity = torch.eye(3, device=device)
    cross = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]], device=device) / math.sqrt(3)

    brighter = images.float() + (chance() * normal() * BRIGHTNESS_DEVIATION)[..., None]
    matrix = torch.exp2(chance() * normal() * CONTRAST_DEVIATION) * identity
    flip = chance() * (torch.rand(count, 1, 1, device=device) * 2).floor()
    matrix = (identity - 2 * luma * flip) @ matrix
    angle = chance() * (2 * torch.rand(count, 1, 1, device=device) - 1) * math.pi
    hue = luma + torch.cos(angle) * (identity - luma) + torch.sin(angle) * cross  # Rodrigues
    matrix = hue @ matrix
    saturation = torch.exp2(chance() * normal() * SATURATION_DEVIATION)
    matrix = (luma + saturation * (identity - luma)) @ matrix
    return torch.einsum("bij,bjhw->bihw", matrix, brighter).to(images.dtype)
