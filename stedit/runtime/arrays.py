"""Pictures and codes between numpy, which users hold, and torch, which computes."""

from __future__ import annotations

from typing import TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stedit.imaging.files import Pixels

CodeArray = NDArray[np.float32]
Codes = TypeVar("Codes", CodeArray, Tensor)


def to_tensor(pixels: Pixels) -> Tensor:
    """uint8 (B, H, W, 3) -> float32 (B, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_array(images: Tensor) -> Pixels:
    """Float (B, 3, H, W) in [-1, 1] -> uint8 (B, H, W, 3)."""
    pixels = ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return np.ascontiguousarray(pixels.permute(0, 2, 3, 1).cpu().numpy())


def to_half(tensor: Tensor) -> NDArray[np.float16]:
    """Any shape -> the same on the CPU."""
    return cast("NDArray[np.float16]", tensor.to(torch.float16).cpu().numpy())


def from_half(array: NDArray[np.float16]) -> Tensor:
    """Any shape -> the same as float32."""
    return torch.from_numpy(array).float()


def like(result: Tensor, given: Codes) -> Codes:
    """The result as what was given was: an array, or a tensor on the same device."""
    if isinstance(given, np.ndarray):
        return cast(Codes, result.cpu().numpy())
    return result.to(given.device)
