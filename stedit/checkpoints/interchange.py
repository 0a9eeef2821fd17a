"""Directions as other projects keep them: InterFaceGAN's boundaries and GANSpace's principal components.

    .safetensors    ours, or anybody's tensors by name      stedit.storage.directions
    .pt .pth        a tensor, GANSpace's dictionary of `comp` and `std`, or tensors by name
    .npy            a tensor

All but the first are read by `reader`, which executes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stedit.errors import InputError, describe_cause
from stedit.storage.directions import (
    MAX_FILE_BYTES,
    Directions,
    Vector,
    check_count,
    check_shape,
    printable,
    to_vector,
)

SUFFIXES = (".safetensors", ".pt", ".pth", ".npy")


def load_directions(path: str | Path) -> Directions:
    """Read a file of directions, whoever wrote it. Raises InputError if it is damaged, hostile or something else."""
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path} is no file of directions: give one that ends in {', '.join(SUFFIXES)}")
    if path.suffix.lower() == ".safetensors":
        return Directions.load(path)
    from stedit.checkpoints.reader import read_content

    try:
        if path.is_file() and (size := path.stat().st_size) > MAX_FILE_BYTES:
            raise ValueError(f"it is {size / 1e6:.0f} MB, larger than any file of directions")  # noqa: TRY301
        vectors = directions_of(read_content(path).content, path.name.partition(".")[0])
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: give a file of directions") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {describe_cause(error)}") from error
    except ValueError as error:
        raise InputError(f"{path} cannot be used as directions ({describe_cause(error)}): give another file") from error
    if vectors is None:
        raise InputError(f"{path} holds no directions: give a tensor, tensors by name, or GANSpace's comp and std")
    return Directions(vectors)


def directions_of(content: Any, name: str) -> dict[str, Vector] | None:
    """The directions that a loaded file holds, or None if it holds something else.

    Args:
        content: a tensor, called `name` then; GANSpace's dictionary of `comp` (K, 1, D) and `std` (K,), whose
            components are called name-00, name-01, ... and scaled by their standard deviation; or a dictionary of
            directions only.
        name: of the file, without its suffix.

    Raises:
        ValueError: a direction has a shape or numbers that cannot be used.
    """
    if _is_tensor(content):
        return {printable(name): _vector(content)}
    if not isinstance(content, Mapping):
        return None
    if _is_tensor(content.get("comp")):
        return _components(content["comp"], content.get("std"), name)
    inner = content.get("state_dict", content)  # as a safetensors file is given
    if isinstance(inner, Mapping) and inner and all(_is_direction(value) for value in inner.values()):
        check_count(len(inner))
        return {printable(str(key)): _vector(value) for key, value in inner.items()}
    return None


def _components(components: Any, deviations: Any, name: str) -> dict[str, Vector]:
    if components.ndim != 3 or components.shape[1] != 1:
        raise ValueError(f"its components have the shape {tuple(components.shape)}, which is not GANSpace's (K, 1, D)")
    check_count(len(components))
    rows = components[:, 0].float()
    if _is_tensor(deviations):
        if deviations.shape != components.shape[:1]:
            raise ValueError(f"it has {len(components)} components, and deviations of the shape {deviations.shape}")
        rows = rows * deviations.float()[:, None]
    return {f"{printable(name)}-{index:02d}": _vector(row) for index, row in enumerate(rows)}


def _vector(tensor: Any) -> Vector:
    check_shape(tensor.shape)
    return to_vector(tensor.float().numpy())


def _is_tensor(value: object) -> bool:
    import torch

    return isinstance(value, torch.Tensor) and value.is_floating_point() and value.layout == torch.strided


def _is_direction(value: Any) -> bool:
    if not _is_tensor(value):
        return False
    try:
        check_shape(value.shape)
    except ValueError:
        return False
    return bool(value.shape[-1] > 1)
