"""How well pictures come back: figures on held-out pictures, and sheets of them."""

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

SHOWN = 8  # pictures of a sheet


def measure(reconstruct: Callable[[Tensor], Tensor], pictures: ImageSet, run: Run) -> dict[str, float]:
    """Mean squared error in [-1, 1], and mean PSNR in dB over the range of 2, of `pictures`."""
    errors = []
    for start in range(0, len(pictures), run.share):
        images = pictures.images(range(start, min(start + run.share, len(pictures)))).to(run.device)
        with run.autocast():
            seen = reconstruct(images).float()
        errors.append(F.mse_loss(seen.clamp(-1, 1), images, reduction="none").mean(dim=(1, 2, 3)))
    error = torch.cat(errors)
    psnr = 10 * torch.log10(4 / error.clamp_min(1e-10))
    return {"val/l2": error.mean().item(), "val/psnr": psnr.mean().item()}


def reconstruction_sheet(reconstruct: Callable[[Tensor], Tensor], pictures: ImageSet, device: torch.device) -> Pixels:
    """The first pictures of a set above their reconstructions; uint8 (H, W, 3)."""
    images = pictures.images(range(min(SHOWN, len(pictures)))).to(device)
    return sheet([list(to_array(one.float())) for one in (images, reconstruct(images))])
