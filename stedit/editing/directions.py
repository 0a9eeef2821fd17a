"""Directions by name; and linear ones, one change for every code: read from files, found in a generator, or learned.

    auto                                     transformer where it has learned the attribute, else preserving
    transformer                              the edit transformer's change, see `transformer`
    preserving, first-order, second-order    found anew for every code, see `gradient`
    linear:FILE                              the only direction of a file, or that of the attribute that is edited
    linear:FILE:NAME                         a direction of a file
    sefa:3                                   the fourth of the generator's own (Shen and Zhou 2021)

A file is one of safetensors (every tensor is a direction: what `save_directions` writes), of torch (`.pt`: a tensor
of InterFaceGAN or the principal components of GANSpace), or of numpy (`.npy`). Files come from strangers: nothing in
them is run, and sizes are checked before memory is taken. Torch is imported only to read its own files and to compute.
"""

from __future__ import annotations

import json
import pickle
import re
import struct
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from stedit.editing.attributes import ALIASES
from stedit.errors import InputError, UsageError, describe_cause
from stedit.models.config import MAX_WIDTH
from stedit.storage.atomic import write_file
from stedit.storage.latents import MAX_STYLES

LabelDirection = Literal["preserving", "first-order", "second-order"]
Direction = Literal["auto", "transformer"] | LabelDirection
FORMER_NAMES = {"learned": "transformer"}  # read for one more version
DIRECTION_NAMES = ("auto", "transformer", *get_args(LabelDirection))
Vector = npt.NDArray[np.float32]

SUFFIX = ".directions.safetensors"
FORMAT = "1"
MAX_FILE_BYTES = 2**26
MAX_DIRECTIONS = 4096

_SAFETENSORS_TYPES = {"F16", "F32", "F64"}
_SEFA = re.compile(r"sefa:(\d{1,4})")


@dataclass(frozen=True, eq=False)
class Directions:
    """Directions by name, and where they come from."""

    vectors: Mapping[str, Vector]
    """float32 (1, D), the same for every style, or (N, D); all finite, none zero."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Of a file that stedit wrote: `model`, `fingerprint`, `method`, `accuracy`."""

    def select(self, name: str | None, attribute: str | None, where: str) -> Vector:
        """The direction of this name; else the only one, or that of the attribute. Raises UsageError."""
        if name is None and len(self.vectors) == 1:
            return next(iter(self.vectors.values()))
        wanted = name if name is not None else attribute
        aliases = [alias for alias, meaning in ALIASES.items() if name is None and meaning[0] == attribute]
        called = {text.casefold() for text in (wanted, *aliases) if text is not None}
        for known, vector in self.vectors.items():
            if known.casefold() in called:
                return vector
        names = list(self.vectors)
        listed = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        if wanted is None:
            raise UsageError(f"{where} holds {len(names)} directions: name one, as in linear:{where}:{names[0]}")
        raise UsageError(f"{where} holds no direction {wanted!r}: it holds {listed}")


@dataclass(frozen=True)
class LinearDirection:
    """What `linear:FILE:NAME` or `sefa:3` asks for."""

    file: Path | None
    """None for one of the generator's own."""
    name: str | None
    """In the file; None for the only one, or that of the attribute."""
    index: int = 0
    """Of the generator's own."""

    def __str__(self) -> str:
        if self.file is None:
            return f"sefa:{self.index}"
        return f"linear:{self.file}" + (f":{self.name}" if self.name else "")

    @property
    def title(self) -> str:
        """What file names call it."""
        if self.file is None:
            return f"sefa-{self.index}"
        return self.name or self.file.name.partition(".")[0]


def parse_direction(text: str) -> Direction | LinearDirection:
    """Understand `preserving`, `linear:FILE:NAME`, `sefa:3` and so on. Raises UsageError.

    A colon belongs to the file's name if there is a file of that name.
    """
    text = FORMER_NAMES.get(text, text)
    if text in DIRECTION_NAMES:
        return cast("Direction", text)
    if found := _SEFA.fullmatch(text):
        return LinearDirection(None, None, int(found[1]))
    rest = text.removeprefix("linear:")
    if rest in {text, ""}:
        raise UsageError(
            f"unknown direction {text!r}: say {', '.join(DIRECTION_NAMES)}, linear:FILE, linear:FILE:NAME, or sefa: "
            "and a number"
        )
    file, _, name = rest.rpartition(":")
    if not file or not name or Path(rest).is_file():
        return LinearDirection(Path(rest), None)
    return LinearDirection(Path(file), name)


def load_directions(path: str | Path) -> Directions:
    """Read a file of directions. Raises InputError if it is damaged, hostile or of no known kind."""
    path = Path(path)
    readers = {".safetensors": _read_safetensors, ".pt": _read_torch, ".pth": _read_torch, ".npy": _read_numpy}
    if path.suffix.lower() not in readers:
        raise InputError(f"{path} is no file of directions: give one that ends in {', '.join(readers)}")
    try:
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "does not exist"
            raise InputError(f"{path} {what}: give a file of directions")
        if (size := path.stat().st_size) > MAX_FILE_BYTES:
            raise InputError(f"{path} is {size / 1e6:.0f} MB, larger than any file of directions: give another one")
        path.open("rb").close()  # safetensors calls every file that it may not open a missing one
        return readers[path.suffix.lower()](path)
    except OSError as error:
        raise InputError(f"cannot read {path}: {describe_cause(error)}") from error
    except (ValueError, SafetensorError, RuntimeError, pickle.UnpicklingError, EOFError, KeyError) as error:
        raise InputError(f"{path} cannot be used as directions ({describe_cause(error)}): give another file") from error


def save_directions(path: str | Path, directions: Directions) -> None:
    """Write directions to a safetensors file, whole or not at all; the same ones give the same bytes.

    Raises OutputError.
    """
    # not by the safetensors library, which would put the metadata in a random order
    header: dict[str, object] = {"__metadata__": {"format": FORMAT, **directions.metadata}}
    payload = b""
    for name, vector in directions.vectors.items():
        data = vector.astype("<f4").tobytes()
        offsets = (len(payload), len(payload) + len(data))
        header[name] = {"dtype": "F32", "shape": vector.shape, "data_offsets": offsets}
        payload += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # tensors start at a multiple of 8
    write_file(Path(path), struct.pack("<Q", len(text)) + text + payload)


def _read_safetensors(path: Path) -> Directions:
    with safe_open(path, framework="numpy") as file:
        names = list(file.keys())
        _check_count(len(names))
        for name in names:
            tensor = file.get_slice(name)
            _check_shape(tensor.get_shape())
            if tensor.get_dtype() not in _SAFETENSORS_TYPES:
                raise ValueError(f"{name!r} is of the type {tensor.get_dtype()}, none of F16, F32, F64")
        vectors = {_printable(name): _vector(file.get_tensor(name)) for name in names}
        metadata = {_printable(key): _printable(text) for key, text in (file.metadata() or {}).items()}
    return Directions(vectors, metadata)


def _read_numpy(path: Path) -> Directions:
    array = np.load(path, mmap_mode="r", allow_pickle=False)  # mapped: the header may claim any size
    if array.dtype.kind != "f":
        raise ValueError(f"it holds {array.dtype}, not floating-point numbers")
    _check_shape(array.shape)
    return Directions({_stem(path): _vector(array)})


def _read_torch(path: Path) -> Directions:
    """A tensor, or GANSpace's `comp`, whose rows are named by their number."""
    import torch

    if not zipfile.is_zipfile(path):
        raise ValueError("it is no file that torch.save has written since 2020")
    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > MAX_FILE_BYTES:
            raise ValueError("it grows beyond all measure when it is unpacked")
    content = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(content, Mapping) and "comp" in content:
        content = content["comp"]
    if not isinstance(content, torch.Tensor) or not content.is_floating_point() or content.layout != torch.strided:
        raise ValueError("it holds neither a tensor of floating-point numbers nor the 'comp' of GANSpace")
    if content.ndim == 3 and content.shape[1] == 1:  # GANSpace: (80, 1, D)
        _check_count(len(content))
        _check_shape(content.shape[1:])
        rows = content.float().numpy()
        return Directions({str(number): _vector(row) for number, row in enumerate(rows)})
    _check_shape(content.shape)
    return Directions({_stem(path): _vector(content.float().numpy())})


def _check_count(count: int) -> None:
    if not count:
        raise ValueError("it holds no direction")
    if count > MAX_DIRECTIONS:
        raise ValueError(f"it holds {count} directions, more than {MAX_DIRECTIONS}")


def _check_shape(shape: Sequence[int]) -> None:
    """Of one direction: (D,), (N, D), or one of them behind axes of length 1."""
    lengths = list(shape)
    while len(lengths) > 2 and lengths[0] == 1:
        lengths = lengths[1:]
    rows, width = ([1, *lengths])[-2:] if lengths else (0, 0)
    if len(lengths) > 2 or not (1 <= rows <= MAX_STYLES and 1 <= width <= MAX_WIDTH):
        raise ValueError(f"a direction has the shape {tuple(shape)}, neither (D,) nor (N, D) of a code")


def _vector(array: npt.NDArray[np.floating]) -> Vector:
    """Float32 (1 or N, D) of an array whose shape has been checked."""
    with np.errstate(over="ignore"):
        vector = np.array(array, dtype=np.float32).reshape(-1, array.shape[-1])
    if not np.isfinite(vector).all():
        raise ValueError("a direction holds numbers that are not finite")
    if not vector.any():
        raise ValueError("a direction is zero, which leads nowhere")
    return vector


def _stem(path: Path) -> str:
    return _printable(path.name.partition(".")[0])


def _printable(text: str) -> str:
    """Without codes that rewrite a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:200])
