"""Random changes of training images that keep what they show: mirrored, moved, recoloured, softened, noisier."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

MAX_SHIFT = 2  # pixels of 128, in `perturb`


def random_flip(images: Tensor) -> Tensor:
    """Each image (B, 3, H, W) mirrored with probability 1/2."""
    chosen = torch.rand(len(images), device=images.device) < 0.5
    return torch.where(chosen[:, None, None, None], images.flip(-1), images)


def jitter(images: Tensor, strength: float) -> Tensor:
    """Each image (B, 3, H, W) in [-1, 1] turned, scaled, shifted and recoloured a little, so that few serve as many.

    `strength` 1 stands for these standard deviations: 4 degrees, 5 % of scale, 2.5 % of the size for shifts, and about
    10 % of brightness, contrast and saturation. Borders are mirrored. The result stays in [-1, 1]; with `strength` 0
    the images come back as they are.
    """
    if strength <= 0:
        return images
    count = len(images)

    def normal(deviation: float, *shape: int) -> Tensor:
        return torch.randn(count, *shape, device=images.device) * (strength * deviation)

    scale = torch.exp2(normal(0.07))
    matrix = rotation(normal(0.07)) @ scaling(scale, scale) @ shift(normal(0.05), normal(0.05))
    grid = F.affine_grid(matrix[:, :2], list(images.shape), align_corners=False)
    moved = F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    grey = moved.mean(dim=1, keepdim=True)
    moved = grey + (moved - grey) * torch.exp2(normal(0.25, 1, 1, 1))  # saturation
    moved = moved * torch.exp2(normal(0.15, 1, 1, 1)) + normal(0.08, 1, 1, 1) + normal(0.03, 3, 1, 1)
    return moved.clamp(-1, 1)


def perturb(images: Tensor, *, flip: bool) -> Tensor:
    """Images (B, 3, H, W) softened, shifted, brightened and made noisier at random, and mirrored if `flip`.

    So a network that learns from them also predicts from reconstructions, which are softer than originals.
    """
    count, size, device = len(images), images.shape[-1], images.device
    if flip:
        mirrored = torch.rand(count).to(device) < 0.5
        images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
    if torch.rand(()) < 0.5:
        small = F.interpolate(images, scale_factor=1 / (1.2 + 0.8 * torch.rand(()).item()), mode="area")
        images = F.interpolate(small, size=size, mode="bilinear")
    gain, offset = 1 + 0.1 * torch.randn(count, 1, 1, 1), 0.05 * torch.randn(count, 1, 1, 1)
    noise = 0.06 * torch.rand(()).item() * torch.randn(images.shape, device=device)
    most = max(1, MAX_SHIFT * size // 128)
    shift = torch.randint(-most, most + 1, (2,)).tolist()
    return torch.roll(images * gain.to(device) + offset.to(device) + noise, shift, dims=(2, 3))


def scaling(x: Tensor, y: Tensor) -> Tensor:
    """Affine matrices (B, 3, 3) that scale by `x` and `y`, (B,) each."""
    return torch.diag_embed(torch.stack([x, y, torch.ones_like(x)], dim=1))  # (B, 3, 3)


def rotation(angle: Tensor) -> Tensor:
    """Affine matrices (B, 3, 3) that turn by `angle` (B,), in radians."""
    cos, sin, zero, one = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle), torch.ones_like(angle)
    return torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], dim=1).view(-1, 3, 3)


def shift(x: Tensor, y: Tensor) -> Tensor:
    """Affine matrices (B, 3, 3) that shift by `x` and `y`, (B,) each; 2 is the image's size."""
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    return torch.stack([one, zero, x, zero, one, y, zero, zero, one], dim=1).view(-1, 3, 3)
