"""Directions in W or W+ by name, in one small file: `smile.directions.safetensors`.

The file is a safetensors file. Each float32 tensor is a direction, (1, D) or (D,) for all styles or (N, D) for each of
them, named by what it changes. The metadata are `format`, and where known `model`, `fingerprint`, `method`, `accuracy`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stedit.errors import InputError, describe_cause
from stedit.models.config import MAX_WIDTH
from stedit.storage.atomic import write_file
from stedit.storage.latents import MAX_STYLES
from stedit.storage.tensor_file import encode_tensors, open_tensors

SUFFIX = ".directions.safetensors"
FORMAT = "stedit-directions-1"
MAX_FILE_BYTES = 2**26
MAX_DIRECTIONS = 4096

_STORED_TYPES = {"F16", "F32", "F64"}

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Directions:
    """Directions by name, and where they come from."""

    vectors: Mapping[str, Vector]
    """float32 (1, D), the same for every style, or (N, D); all finite, none zero."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Of a file that stedit wrote: `model`, `fingerprint`, `method`, `accuracy`."""

    def __repr__(self) -> str:
        names = ", ".join(map(repr, list(self.vectors)[:3]))
        return f"Directions({names}{', …' if len(self.vectors) > 3 else ''} of {self.metadata.get('model', 'any')!r})"

    def encode(self) -> bytes:
        """The bytes of the file; the same directions give the same bytes."""
        tensors = {name: np.asarray(vector, np.float32) for name, vector in self.vectors.items()}
        return encode_tensors(tensors, {"format": FORMAT, **self.metadata})

    def save(self, path: str | Path) -> None:
        """Write `encode()` to `path`, whole or not at all. Raises OutputError."""
        write_file(Path(path), self.encode())

    @classmethod
    def load(cls, path: str | Path) -> Directions:
        """Read a safetensors file of directions, ours or anybody's. Raises InputError if it is damaged or hostile."""
        path = Path(path)
        try:
            with open_tensors(path, "file of directions", max_bytes=MAX_FILE_BYTES) as file:
                metadata = {printable(key): printable(text) for key, text in (file.metadata() or {}).items()}
                _check_format(metadata.pop("format", FORMAT))
                names = list(file.keys())
                check_count(len(names))
                for name in names:
                    check_shape(file.get_slice(name).get_shape())
                    _check_type(name, file.get_slice(name).get_dtype())
                return cls({printable(name): to_vector(file.get_tensor(name)) for name in names}, metadata)
        except FileNotFoundError:
            raise InputError(f"{path} does not exist: give a file of directions") from None
        except OSError as error:
            raise InputError(f"cannot read {path}: {describe_cause(error)}") from error
        except ValueError as error:
            raise InputError(
                f"{path} cannot be used as directions ({describe_cause(error)}): give another file"
            ) from error


def check_count(count: int) -> None:
    """Raise ValueError unless a file may hold so many directions."""
    if not count:
        raise ValueError("it holds no direction")
    if count > MAX_DIRECTIONS:
        raise ValueError(f"it holds {count} directions, more than {MAX_DIRECTIONS}")


def check_shape(shape: Sequence[int]) -> None:
    """Raise ValueError unless it is that of one direction: (D,), (N, D), or one of them behind axes of length 1.

    (N * D,) is one too, whose N only a model tells.
    """
    lengths = list(shape)
    if len(lengths) == 1 and MAX_WIDTH < lengths[0] <= MAX_STYLES * MAX_WIDTH:
        return
    while len(lengths) > 2 and lengths[0] == 1:
        lengths = lengths[1:]
    rows, width = ([1, *lengths])[-2:] if lengths else (0, 0)
    if len(lengths) > 2 or not (1 <= rows <= MAX_STYLES and 1 <= width <= MAX_WIDTH):
        raise ValueError(f"a direction has the shape {tuple(shape)}, neither (D,) nor (N, D) of a code")


def to_vector(array: npt.NDArray[np.floating]) -> Vector:
    """float32 (1, D) or (N, D) of an array whose shape has been checked. Raises ValueError if it is no direction."""
    with np.errstate(over="ignore"):
        vector = np.array(array, dtype=np.float32).reshape(-1, array.shape[-1])
    if not np.isfinite(vector).all():
        raise ValueError("a direction holds numbers that are not finite")
    if not vector.any():
        raise ValueError("a direction is zero, which leads nowhere")
    return vector


def printable(text: str) -> str:
    """At most 200 characters, without those that rewrite a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:200])


def _check_type(name: str, stored: str) -> None:
    if stored not in _STORED_TYPES:
        raise ValueError(f"{name!r} is of the type {stored}, none of F16, F32, F64")


def _check_format(stated: str) -> None:
    if stated.startswith("stedit-directions-") and stated != FORMAT:
        raise ValueError(f"it is of the format {stated}, which a later stedit wrote: upgrade stedit")
