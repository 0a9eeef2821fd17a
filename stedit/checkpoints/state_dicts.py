"""What the formats share: unwrap a checkpoint, cut a network out of it, give its tensors our names and shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from stedit.models.config import NetworkConfig

Tensors = Mapping[str, Tensor]
Part = tuple[NetworkConfig, dict[str, Tensor]]

FEW_BYTES = 2**20  # of small tensors that may well share their numbers


class UndecidedError(ValueError):
    """The user has to say what the file does not: the field of Hints that is `argument`."""

    def __init__(self, reason: str, argument: str) -> None:
        super().__init__(reason)
        self.argument = argument


@dataclass(frozen=True)
class Hints:
    """What the user says of a checkpoint that the file does not; None for what it says itself."""

    encoder_type: str | None = None
    """A key of `psp.KINDS`."""
    input_size: tuple[int, int] | None = None
    """(height, width) of the images that its encoder was trained on."""
    label: int | None = None
    """Of a class-conditional generator: the class that its codes are to be of."""


@dataclass(frozen=True)
class Checkpoint:
    """A foreign checkpoint without its wrapping."""

    tensors: Tensors
    latent_avg: Tensor | None = None
    """The generator's mean w, (D,), (1, D) or (N, D), where the file holds it."""
    opts: Mapping[str, Any] = field(default_factory=dict)
    """The options that it was trained with, where the file holds them."""
    notes: list[str] = field(default_factory=list)
    """What the conversion had to make up or leave out, for people."""
    hints: Hints = field(default_factory=Hints)


def require_distinct(tensors: Tensors) -> None:
    """Raise ValueError if the tensors would take far more memory apart than together: many names for one tensor."""
    held = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors.values()}
    named = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if named > 2 * sum(held.values()) + FEW_BYTES:
        raise ValueError("it gives the same numbers many names, so it would take more memory than the file has bytes")


def subtree(tensors: Tensors, prefix: str) -> dict[str, Tensor]:
    """The tensors whose names start with `prefix`, without it."""
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def require_tensor(tensors: Tensors, key: str) -> Tensor:
    """The tensor of this name. Raises ValueError if there is none."""
    if key not in tensors:
        raise ValueError(f"the tensor {key} is missing")
    return tensors[key]


def size(tensors: Tensors, key: str, axis: int) -> int:
    """Length of an axis of a tensor. Raises ValueError if there is no such tensor or axis."""
    shape = require_tensor(tensors, key).shape
    if len(shape) <= axis:
        raise ValueError(f"the tensor {key} has the shape {tuple(shape)}, too few axes")
    return shape[axis]


def count(tensors: Tensors, pattern: str, first: int = 0) -> int:
    """How many tensors follow each other: `pattern.format(first)`, `pattern.format(first + 1)` and so on."""
    found = 0
    while pattern.format(first + found) in tensors:
        found += 1
    return found


def remap(build: Callable[[], nn.Module], rename: Callable[[str], str | None], tensors: Tensors) -> dict[str, Tensor]:
    """Give foreign tensors our names.

    Args:
        build: constructs the network that the tensors are for; it is built without memory, for its shapes only.
        rename: our name -> theirs, or None for a tensor that the checkpoint does not hold.
        tensors: of the checkpoint.

    Returns:
        Float32 tensors (counters stay integers) in the network's shapes, which differ from theirs by unit axes at most.

    Raises:
        ValueError: a tensor is missing, its shape does not fit, or it holds NaN.
    """
    with torch.device("meta"):
        wanted = build().state_dict()
    names = {ours: rename(ours) for ours in wanted}
    return {ours: _fit(tensors, theirs, wanted[ours]) for ours, theirs in names.items() if theirs is not None}


def finite(key: str, tensor: Tensor) -> Tensor:
    """The tensor, in float32. Raises ValueError if it holds anything but numbers."""
    if not tensor.is_floating_point():
        raise ValueError(f"the tensor {key} holds {tensor.dtype} in place of weights")
    if not torch.isfinite(tensor).all():
        raise ValueError(f"the tensor {key} holds numbers that are not finite, so its training went wrong")
    return tensor.float()


def _fit(tensors: Tensors, key: str, wanted: Tensor) -> Tensor:
    if key.endswith("num_batches_tracked"):
        return torch.zeros(wanted.shape, dtype=torch.int64)  # unused in evaluation, and absent before PyTorch 0.4.1
    tensor, shape = require_tensor(tensors, key), wanted.shape
    if [n for n in tensor.shape if n != 1] != [n for n in shape if n != 1]:
        raise ValueError(f"the tensor {key} has the shape {tuple(tensor.shape)} in place of {tuple(shape)}")
    return finite(key, tensor).reshape(shape)
