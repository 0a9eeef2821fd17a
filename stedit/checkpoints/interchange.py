"""Directions as other projects keep them: InterFaceGAN's boundaries, GANSpace's components, rosinality's factors.

    .safetensors    ours, or anybody's tensors by name      stedit.storage.directions
    .pt .pth        a tensor, a list or tensors by name, of PyTorch or NumPy; GANSpace's `comp` and `std`; rosinality's
                    `eigvec`, whose columns are directions
    .npy            an array, or a dictionary of arrays by name
    .npz            arrays by name; GANSpace's own `lat_comp` and `lat_stdev`

Numbers may be whole, and (N * D,) is (N, D) in a row. All but the first are read by `arrays`, which executes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stedit.checkpoints.arrays import Array, as_array, read_arrays
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

SUFFIXES = (".safetensors", ".pt", ".pth", ".npy", ".npz")
_COMPONENTS = (
    ("comp", "std"),
    ("lat_comp", "lat_stdev"),
)  # GANSpace's, as shared in e4e and as its own tool writes them


def load_directions(path: str | Path) -> Directions:
    """Read a file of directions, whoever wrote it. Raises InputError if it is damaged, hostile or something else."""
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path} is no file of directions: give one that ends in {', '.join(SUFFIXES)}")
    if path.suffix.lower() == ".safetensors":
        return Directions.load(path)
    try:
        if path.is_file() and (size := path.stat().st_size) > MAX_FILE_BYTES:
            raise ValueError(f"it is {size / 1e6:.0f} MB, larger than any file of directions")  # noqa: TRY301
        vectors = directions_of(read_arrays(path), path.name.partition(".")[0])
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
        content: an array or tensor, called `name` then; a list of them, called name-00, name-01, ...; GANSpace's
            dictionary of components (K, 1, D) and deviations (K,), which scale them; rosinality's of eigenvectors
            (D, D), in columns; or a dictionary of directions only. Components and eigenvectors are numbered like lists.
        name: of the file, without its suffix.

    Raises:
        ValueError: a direction has a shape or numbers that cannot be used.
    """
    if (array := as_array(content)) is not None:
        return {printable(name): _vector(array)}
    if isinstance(content, Sequence) and not isinstance(content, str | bytes):
        rows = [as_array(row) for row in content]
        known = [row for row in rows if row is not None]
        return _numbered(known, name) if known and len(known) == len(rows) else None
    if not isinstance(content, Mapping):
        return None
    for key, scale in _COMPONENTS:
        if (components := as_array(content.get(key))) is not None:
            return _components(components, as_array(content.get(scale)), name)
    if (eigenvectors := as_array(content.get("eigvec"))) is not None:
        if eigenvectors.ndim != 2:
            raise ValueError(f"its eigenvectors have the shape {eigenvectors.shape}, which is not (D, D)")
        return _numbered(list(eigenvectors.T), name)
    inner = content.get("state_dict", content)  # as a safetensors file is given
    if isinstance(inner, Mapping) and inner and all(_is_direction(value) for value in inner.values()):
        check_count(len(inner))
        arrays = {printable(str(key)): as_array(value) for key, value in inner.items()}
        return {key: _vector(array) for key, array in arrays.items() if array is not None}
    return None


def _components(components: Array, deviations: Array | None, name: str) -> dict[str, Vector]:
    if components.ndim != 3 or components.shape[1] != 1:
        raise ValueError(f"its components have the shape {components.shape}, which is not GANSpace's (K, 1, D)")
    rows = np.asarray(components[:, 0], np.float32)
    if deviations is not None:
        if deviations.shape != components.shape[:1]:
            raise ValueError(f"it has {len(components)} components, and deviations of the shape {deviations.shape}")
        rows = rows * np.asarray(deviations, np.float32)[:, None]
    return _numbered(list(rows), name)


def _numbered(rows: Sequence[Array], name: str) -> dict[str, Vector]:
    check_count(len(rows))
    return {f"{printable(name)}-{index:02d}": _vector(row) for index, row in enumerate(rows)}


def _vector(array: Array) -> Vector:
    check_shape(array.shape)
    return to_vector(np.asarray(array, np.float32))


def _is_direction(value: Any) -> bool:
    array = as_array(value)
    if array is None:
        return False
    try:
        check_shape(array.shape)
    except ValueError:
        return False
    return bool(array.shape[-1] > 1)
