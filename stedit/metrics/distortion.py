"""How far a reconstruction is from its image, pixel by pixel and window by window.

Images are uint8 (B, H, W, 3); every function gives one number for each, computed on values in [0, 1].
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stedit.checkpoints.perceptual import load_lpips
from stedit.imaging.files import Pixels
from stedit.models.lpips import Lpips

Numbers = NDArray[np.float64]
Measure = Callable[[Pixels, Pixels], Numbers]

MAX_PSNR = 100.0  # dB, of images that are equal
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003, section 3.2
_WINDOW = 11


def l2(images: Pixels, others: Pixels) -> Numbers:
    """Mean squared difference of values in [0, 1]."""
    difference = images.astype(np.float64) - others
    return np.asarray(np.square(difference / 255).mean(axis=(1, 2, 3)))


def psnr(images: Pixels, others: Pixels) -> Numbers:
    """Peak signal-to-noise ratio in dB: 10 log10(1 / L2), at most MAX_PSNR."""
    return np.asarray(-10 * np.log10(np.maximum(l2(images, others), 10 ** (-MAX_PSNR / 10))))


def has_structural_similarity() -> bool:
    """Whether torchmetrics is installed, which `ssim` and `ms_ssim` need: the extra stedit[metrics]."""
    return importlib.util.find_spec("torchmetrics") is not None


def ssim(images: Pixels, others: Pixels) -> Numbers:
    """Structural similarity (Wang et al. 2004), at most 1: 11 x 11 Gaussian windows of sigma 1.5."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    values = structural_similarity_index_measure(
        _to_tensor(images), _to_tensor(others), data_range=1.0, reduction="none"
    )
    assert isinstance(values, Tensor)
    return values.double().reshape(-1).numpy()


def lpips(network: Lpips, images: Pixels, others: Pixels) -> Numbers:
    """Perceptual distance (Zhang et al. 2018) in the features of a network with its weights; 0 for equal images."""
    device = network.shift.device
    with torch.no_grad():
        given, other = (_to_tensor(part).to(device) * 2 - 1 for part in (images, others))
        values = network.distances(given, other)
    return values.cpu().double().numpy()


def lpips_measure(weights: Path, heads: Path | None, device: torch.device) -> Measure:
    """`lpips` by torchvision's weights of AlexNet or VGG16, and the heads that LPIPS trained for them, if given.

    Raises InputError if a file cannot be used.
    """
    return partial(lpips, load_lpips(str(weights), str(heads or "")).to(device))


def scales_of(height: int, width: int) -> int:
    """How many scales `ms_ssim` compares images of this size at: 5, as published, from 176 px on; 4 at 128 px."""
    scales = 1
    # a window must fit into the smallest image; torchmetrics asks for scales^2 windows besides
    while scales < len(_SCALE_WEIGHTS) and _WINDOW * max(2**scales, scales**2) <= min(height, width):
        scales += 1
    return scales


def ms_ssim(images: Pixels, others: Pixels) -> Numbers:
    """SSIM over several scales (Wang et al. 2003), whose published weights are scaled to sum to 1 over `scales_of`."""
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    weights = _SCALE_WEIGHTS[: scales_of(*images.shape[1:3])]
    if len(weights) == 1:  # torchmetrics takes no image smaller than a window
        return ssim(images, others)
    values = multiscale_structural_similarity_index_measure(
        _to_tensor(images),
        _to_tensor(others),
        data_range=1.0,
        reduction="none",
        betas=tuple(weight / sum(weights) for weight in weights),
    )
    return values.double().reshape(-1).numpy()


def _to_tensor(images: Pixels) -> Tensor:
    """uint8 (B, H, W, 3) -> float32 (B, 3, H, W) in [0, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
