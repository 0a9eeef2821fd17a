"""Reconstruction of held-out images: figures, and sheets."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from stedit.imaging.files import Pixels
from stedit.imaging.sheets import sheet
from stedit.runtime.arrays import to_array
from stedit.training.data.images import ImageSet
from stedit.training.run import Run

SHOWN = 8  # images of a sheet


def measure(reconstruct: Callable[[Tensor], Tensor], data: ImageSet, run: Run) -> dict[str, float]:
    """Mean squared error in [-1, 1], and mean PSNR in dB over the range of 2."""
    errors = []
    for start in range(0, len(data), run.share):
        images = data.images(range(start, min(start + run.share, len(data)))).to(run.device)
        with run.autocast():
            output = reconstruct(images).float()
        errors.append(F.mse_loss(output.clamp(-1, 1), images, reduction="none").mean(dim=(1, 2, 3)))
    error = torch.cat(errors)
    psnr = 10 * torch.log10(4 / error.clamp_min(1e-10))
    return {"val/l2": error.mean().item(), "val/psnr": psnr.mean().item()}


def reconstruction_sheet(reconstruct: Callable[[Tensor], Tensor], data: ImageSet, device: torch.device) -> Pixels:
    """The first images of a set above their reconstructions; uint8 (H, W, 3)."""
    images = data.images(range(min(SHOWN, len(data)))).to(device)
    return sheet([list(to_array(one.float())) for one in (images, reconstruct(images))])
