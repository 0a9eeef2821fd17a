"""Arrays in the files of other tools: NumPy's own containers, and whatever `reader` reads.

    .npy    an array, or an object wrapped in one, such as a dictionary
    .npz    arrays by name
    others  what `reader.read_content` makes of them

Nothing in a file is executed, and no more memory is taken than a file has bytes, or MAX_UNPACKED where it is packed.
"""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stedit.storage.library import library_reads

if TYPE_CHECKING:
    from torch import Tensor

MAX_UNPACKED = 2**28  # bytes, of the compressed arrays of a file
NPY_MAGIC = b"\x93NUMPY"
NPZ_SUFFIX = ".npy"  # of the arrays inside
DAMAGED = "it is damaged, or of a version that is not read, so get it again"
SHARE = 4  # bytes that a pickle may make us hold for each of its own, as in `reader`

Array = npt.NDArray[Any]


def read_arrays(path: Path) -> Any:
    """What a file holds: arrays or tensors, in dictionaries and lists. Raises ValueError, a reason, and OSError."""
    if path.exists() and not path.is_file():
        raise ValueError("it is not a file")
    with path.open("rb") as file:
        start = file.read(len(NPY_MAGIC))
    if start == NPY_MAGIC:
        return _read_npy(path)
    if start.startswith(b"PK") and (names := _npz_names(path)):
        return _read_npz(path, names)
    from stedit.checkpoints.reader import read_content

    return read_content(path).content


def as_array(value: object) -> Array | None:
    """A tensor or an array of numbers as an array, sharing its memory where it can; None for anything else."""
    if isinstance(value, np.ndarray):
        return value if value.dtype.kind in "fiu" else None
    import torch

    if not isinstance(value, torch.Tensor) or value.layout != torch.strided or value.is_complex():
        return None
    plain: Tensor = value.detach()
    if plain.dtype == torch.bool or plain.is_quantized:
        return None
    known = plain.dtype in {torch.float16, torch.float32, torch.float64} or not plain.is_floating_point()
    return (plain if known else plain.float()).numpy()


def _read_npy(path: Path) -> Any:
    """An array, mapped, so that a header that lies cannot make NumPy take memory; or the object it wraps."""
    with path.open("rb") as file:
        _, dtype = _header(file)
        if dtype.hasobject:
            return _unpickle(file, path.stat().st_size)
    with library_reads(DAMAGED):
        return np.load(path, mmap_mode="r", allow_pickle=False)


def _npz_names(path: Path) -> list[str]:
    """The arrays of an .npz file; none if the archive is another one, such as torch.save's."""
    with library_reads(DAMAGED), zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    return names if all(name.endswith(NPZ_SUFFIX) for name in names) else []


def _read_npz(path: Path, names: list[str]) -> dict[str, Array]:
    arrays = {}
    packed = MAX_UNPACKED
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        for name in names:
            entry = archive.getinfo(name)
            size -= entry.compress_size
            if entry.compress_type != zipfile.ZIP_STORED:
                packed -= entry.file_size
            elif entry.file_size != entry.compress_size:
                raise ValueError(DAMAGED)
            if packed < 0 or size < 0:
                raise ValueError("it unpacks to more than any file of codes or directions holds")
            with library_reads(DAMAGED):
                stream = io.BytesIO(archive.read(entry))
            shape, dtype = _header(stream)
            if dtype.hasobject:
                continue  # a text or an object of Python's
            if len(stream.getbuffer()) - stream.tell() != math.prod(shape) * dtype.itemsize:
                raise ValueError(f"its array {name[:40]!r} is truncated, so get it again")
            stream.seek(0)
            arrays[name.removesuffix(NPZ_SUFFIX)] = np.load(stream, allow_pickle=False)
    return arrays


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of a .npy file, which is left behind its header."""
    with library_reads(DAMAGED):
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    return shape, dtype


def _unpickle(file: IO[bytes], size: int) -> Any:
    from stedit.checkpoints.pickle_names import Budget, PickleContext
    from stedit.checkpoints.unpickler import unpickle

    def refuse(_: Any) -> Any:
        raise ValueError("it nests files in files")

    return unpickle(file, PickleContext(refuse, refuse, Budget(SHARE * size)))
