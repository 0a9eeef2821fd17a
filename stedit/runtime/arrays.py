"""Images and latent codes between numpy, which users hold, and torch, which computes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar, cast, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stedit.errors import InputError, UsageError
from stedit.imaging.files import Pixels, fit_image
from stedit.imaging.memory import rgb_batch

Latents = NDArray[np.float32]
LatentsT = TypeVar("LatentsT", Latents, Tensor)

OVERSHOOT = 1.0  # of a generator's bright spots, or a bicubic resampling at an edge


def to_tensor(pixels: Pixels) -> Tensor:
    """uint8 (B, H, W, 3) -> float32 (B, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_array(images: Tensor) -> Pixels:
    """Float (B, 3, H, W) in [-1, 1] -> uint8 (B, H, W, 3). Raises InputError for numbers that are not finite."""
    _require_finite(images, "a rendering")
    pixels = ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return np.ascontiguousarray(pixels.permute(0, 2, 3, 1).cpu().numpy())


def to_input(images: Pixels | Tensor | Sequence[Pixels | Tensor], size: tuple[int, int], what: str) -> Tensor:
    """Images as a network takes them, (B, 3, *size).

    Args:
        images: arrays as `rgb_batch` takes them, of any size, which are fitted; tensors as `checked` takes them, of the
            right size; or a list of either.
        size: (height, width).
        what: "images for the encoder", for the error.

    Raises:
        UsageError: they are of another type, layout, range or, as tensors, size.
    """
    if isinstance(images, list | tuple):
        if not images:
            raise UsageError("there is no image in the list: give at least one")
        return torch.cat([to_input(image, size, what) for image in images])
    if isinstance(images, np.ndarray):
        return to_tensor(np.stack([fit_image(image, size) for image in rgb_batch(images)]))
    images = checked(cast(Tensor, images))
    if tuple(images.shape[1:]) != (3, *size):
        raise UsageError(f"{what} have the shape {(3, *size)}, not {tuple(images.shape[1:])}")
    return images


def checked(images: Tensor) -> Tensor:
    """Images as (B, 3, H, W), after a look at their numbers.

    Args:
        images: float (B, 3, H, W) or (3, H, W) in [-1, 1]; renderings and resamplings may overshoot that by OVERSHOOT.

    Raises:
        UsageError: another type, layout or range; the sentence says how to get there. Images without a value below 0
            are taken for some in [0, 1].
    """
    given = f"this one is {str(images.dtype).removeprefix('torch.')} {tuple(images.shape)}"
    if not images.is_floating_point():
        advice = "images.float() / 127.5 - 1" if images.dtype == torch.uint8 else "float numbers"
        raise UsageError(f"images as tensors are float in [-1, 1], and {given}: give {advice}")
    batch = images[None] if images.ndim == 3 else images
    if batch.ndim != 4 or batch.shape[1] != 3 or not batch.numel():
        turned = images.ndim in (3, 4) and images.shape[-1] == 3
        axes = (2, 0, 1) if images.ndim == 3 else (0, 3, 1, 2)
        advice = f"images.permute{axes}" if turned else "three channels, and at least one pixel"
        raise UsageError(f"images as tensors are (B, 3, H, W), and {given}: give {advice}")
    low, high = (float(edge) for edge in batch.detach().aminmax())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise UsageError("an image holds numbers that are not finite: look at what made it")
    if low >= 0:
        scale = "images * 2 - 1" if high <= 1 else "images / 127.5 - 1"
        raise UsageError(
            f"images as tensors are in [-1, 1], and these are from {low:.3g} to {high:.3g}: give {scale}; "
            "if they really are that bright, give uint8 arrays"
        )
    if max(-low, high) > 1 + OVERSHOOT:
        raise UsageError(
            f"images as tensors are in [-1, 1], and these are from {low:.3g} to {high:.3g}: scale them, or clamp them"
        )
    return batch


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
    """The result as an array if an array was given, else as a tensor on the device of the one given.

    Raises InputError for numbers that are not finite.
    """
    _require_finite(result, "a result")
    if isinstance(given, np.ndarray):
        return cast(Latents, result.cpu().numpy())
    return result.to(given.device)


def as_numbers(result: Tensor, given: object) -> Latents | Tensor:
    """What networks read off something: a tensor of a tensor, on its device; an array of anything else."""
    return result.to(given.device) if isinstance(given, Tensor) else cast(Latents, result.cpu().numpy())


def _require_finite(result: Tensor, what: str) -> None:
    if not torch.isfinite(result).all():
        raise InputError(
            f"{what} holds numbers that are not finite, so the code is beyond those of the model, or the precision is "
            "too low for it: give another, or float32",
        )
