"""Images and latent codes between numpy, which users hold, and torch, which computes."""

from __future__ import annotations

from typing import TypeVar, cast, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stedit.errors import UsageError
from stedit.imaging.files import Pixels, fit_image

Latents = NDArray[np.float32]
LatentsT = TypeVar("LatentsT", Latents, Tensor)


def to_tensor(pixels: Pixels) -> Tensor:
    """uint8 (B, H, W, 3) -> float32 (B, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_array(images: Tensor) -> Pixels:
    """Float (B, 3, H, W) in [-1, 1] -> uint8 (B, H, W, 3)."""
    pixels = ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return np.ascontiguousarray(pixels.permute(0, 2, 3, 1).cpu().numpy())


def to_input(images: Pixels | Tensor, size: tuple[int, int], what: str) -> Tensor:
    """Images as a network takes them, (B, 3, *size).

    Args:
        images: uint8 (B, H, W, 3) or (H, W, 3) of any size, which are fitted; or a tensor that has the size already.
        size: (height, width).
        what: "images for the encoder", for the error.

    Raises:
        UsageError: a tensor is of another size.
    """
    if isinstance(images, np.ndarray):
        batch = images if images.ndim == 4 else images[None]
        return to_tensor(np.stack([fit_image(image, size) for image in batch]))
    if tuple(images.shape[1:]) != (3, *size):
        raise UsageError(f"{what} have the shape {(3, *size)}, not {tuple(images.shape[1:])}")
    return images


def to_half(tensor: Tensor) -> NDArray[np.float16]:
    """Any shape -> the same on the CPU."""
    return cast("NDArray[np.float16]", tensor.to(torch.float16).cpu().numpy())


def from_half(array: NDArray[np.float16]) -> Tensor:
    """Any shape -> the same as float32."""
    return torch.from_numpy(array).float()


@overload
def as_given(result: Tensor, given: NDArray[np.float32] | NDArray[np.uint8]) -> Latents: ...
@overload
def as_given(result: Tensor, given: Tensor) -> Tensor: ...
def as_given(result: Tensor, given: NDArray[np.float32] | NDArray[np.uint8] | Tensor) -> Latents | Tensor:
    """The result as an array if an array was given, else as a tensor on the device of the one given."""
    if isinstance(given, np.ndarray):
        return cast(Latents, result.cpu().numpy())
    return result.to(given.device)
