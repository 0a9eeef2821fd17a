"""Directions in W or W+ that others found: InterFaceGAN's boundaries and GANSpace's principal components.

They become a directions file: safetensors, each tensor one direction, (D,) for all styles or (N, D) for each, float32,
named by what it changes, with the metadata `format` = `stedit-directions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from stedit.checkpoints.state_dicts import finite
from stedit.models.config import MAX_WIDTH, NAME

FORMAT = "stedit-directions"
MAX_STYLES = 64
MAX_DIRECTIONS = 4096


def directions_of(content: Any, name: str) -> dict[str, Tensor] | None:
    """The directions that a loaded file holds, or None if it holds something else.

    Args:
        content: a tensor, called `name` then; GANSpace's dictionary of `comp` and `std`, whose components are called
            name-00, name-01, ... and scaled by their standard deviation, so that strength counts in deviations; or a
            dictionary of nothing but directions.
        name: of the file, without its suffix.

    Raises:
        ValueError: a direction has a name or numbers that cannot be used.
    """
    if isinstance(content, Tensor):
        return _checked({name: content})
    if not isinstance(content, Mapping):
        return None
    if {"comp", "std"} <= set(content) and all(isinstance(content[key], Tensor) for key in ("comp", "std")):
        return _components(content["comp"], content["std"], name)
    inner = content.get("state_dict", content)  # as a safetensors file is given
    if isinstance(inner, Mapping) and inner and all(_is_direction(value) for value in inner.values()):
        return _checked(dict(inner))
    return None


def _components(components: Tensor, deviations: Tensor, name: str) -> dict[str, Tensor]:
    """`components` (K, 1, D), `deviations` (K,)."""
    if components.ndim != 3 or components.shape[1] != 1 or deviations.shape != components.shape[:1]:
        raise ValueError(f"its components have the shape {tuple(components.shape)}, which is not GANSpace's (K, 1, D)")
    scaled = finite("comp", components)[:, 0] * finite("std", deviations)[:, None]
    return _checked({f"{name}-{index:02d}": row for index, row in enumerate(scaled[:MAX_DIRECTIONS])})


def _is_direction(value: object) -> bool:
    """(D,), (1, D), (N, D), or (1, N, D)."""
    if not isinstance(value, Tensor) or not value.is_floating_point() or value.ndim not in (1, 2, 3):
        return False
    if value.ndim == 3 and value.shape[0] != 1:
        return False
    return 2 <= value.shape[-1] <= MAX_WIDTH and value.numel() <= MAX_STYLES * value.shape[-1]


def _checked(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    checked = {}
    for name, value in found.items():
        if not NAME.fullmatch(name):
            raise ValueError(f"a direction cannot be called {name[:100]!r}: rename the file")
        if not _is_direction(value):
            raise ValueError(f"a tensor of the shape {tuple(value.shape)} is no direction")
        rows = finite(name, value).reshape(-1, value.shape[-1])
        if not rows.any():
            raise ValueError(f"the direction {name} is zero")
        checked[name] = (rows[0] if len(rows) == 1 else rows).clone()
    return checked


def encode(found: Mapping[str, Tensor]) -> bytes:
    """The bytes of a directions file; the same directions give the same bytes."""
    from safetensors.torch import save

    data: bytes = save(
        {name: tensor.to(torch.float32).contiguous() for name, tensor in found.items()}, {"format": FORMAT}
    )
    return data
