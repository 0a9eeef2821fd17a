"""Checkpoint files -> what they hold: dictionaries of tensors and plain values. Nothing in a file is ever executed.

    .pt .pth   torch.save's zip container (PyTorch 1.6 and later) and the legacy one before it
    .pkl       NVIDIA's networks: a plain pickle, its tensors nested in it as legacy torch.save files
    .safetensors, and .npy for a direction

Files come from strangers: every size is compared with the size of the file before memory is taken for it, and the
pickles go through `unpickler`, which knows tensors and plain containers only.
"""

from __future__ import annotations

import hashlib
import io
import mmap
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from stedit.checkpoints.pickle_names import STORAGES, Budget, Global, PickleContext, Placeholder
from stedit.checkpoints.unpickler import unpickle
from stedit.errors import InputError, describe_cause
from stedit.storage.library import library_reads

MAX_FILE_BYTES = 2**33
MAX_HEADER_BYTES = 2**22  # of a .safetensors file
MAX_ARRAY_NUMBERS = 2**20  # in a .npy file, which can only hold a direction
LEGACY_MAGIC, LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
SHARE = 4  # bytes that a file may make us hold for each of its own: nested, as a storage, as tensors of it, twice
NESTING = 2  # NVIDIA's pickles hold torch.save files, which hold none

AGAIN = "download it again"

View = mmap.mmap | bytes


@dataclass(frozen=True)
class LoadedFile:
    """What a checkpoint file holds."""

    path: Path
    sha256: str
    content: Any
    """Most often a dictionary; tensors share the file's memory where they can, so do not write into them."""


def load_file(path: str | Path) -> LoadedFile:
    """Read a checkpoint of any container. Raises InputError if it is none, is damaged, or asks for anything unsafe."""
    try:
        return read_content(Path(path))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: check the spelling") from None
    except ValueError as error:
        raise InputError(f"{path} cannot be used as a checkpoint: {describe_cause(error)}") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {describe_cause(error)}") from error


def read_content(path: Path) -> LoadedFile:
    """`load_file` for callers with a sentence of their own. Raises ValueError, whose text is a reason, and OSError."""
    try:
        with _mapped(path) as view:
            sha256 = hashlib.sha256(view).hexdigest()
            return LoadedFile(path, sha256, _read(path, view))
    except MemoryError as error:
        raise ValueError("it asks for too much memory") from error


@contextmanager
def _mapped(path: Path) -> Iterator[View]:
    """The bytes of a file, read when they are touched; writing would change a copy only."""
    if path.exists() and not path.is_file():
        raise ValueError("it is not a file")
    size = path.stat().st_size
    if not size:
        raise ValueError(f"it is empty, so {AGAIN}")
    if size > MAX_FILE_BYTES:
        raise ValueError(f"it is {size / 2**30:.1f} GB, larger than any checkpoint known")
    with path.open("rb") as file:
        # never closed by name: tensors keep it open for as long as they need it
        yield mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)


def _read(path: Path, view: View) -> Any:
    start = view[:512].lstrip().lower()
    if start.startswith((b"<!doctype", b"<html")):
        raise ValueError(f"it is a web page, so the download went wrong (a quota, perhaps): {AGAIN}")
    if start.startswith(b"pk"):
        return _read_zip(path, view)
    if start.startswith(b"\x93numpy"):
        return _read_array(path)
    if len(view) > 9 and view[8:9] == b"{":
        return _read_safetensors(path, view)
    with path.open("rb") as stream:
        return _read_pickle(stream, view, Budget(SHARE * len(view)))


def _read_safetensors(path: Path, view: View) -> dict[str, Any]:
    """Tensors, and the texts of the metadata as `opts`, where a checkpoint's options belong."""
    if struct.unpack("<Q", view[:8])[0] > MAX_HEADER_BYTES:
        raise ValueError("its header claims to be larger than any checkpoint's")
    with library_reads(f"its header is damaged, so {AGAIN}"), safe_open(path, framework="pt") as file:
        tensors = {key: _without_float8(file.get_tensor(key)) for key in file.keys()}  # noqa: SIM118 - it is no dict
        opts = dict(file.metadata() or {})
    mean = tensors.pop("latent_avg", None)
    return {"state_dict": tensors, "latent_avg": mean, "opts": opts}


def _without_float8(tensor: Tensor) -> Tensor:
    """NumPy, and most of PyTorch, know no floating-point numbers of one byte."""
    return tensor.float() if tensor.is_floating_point() and tensor.element_size() == 1 else tensor


def _read_array(path: Path) -> Tensor:
    """A direction of InterFaceGAN's; mapped, so that a header that lies cannot make NumPy take memory."""
    with library_reads("it is damaged, or holds objects in place of numbers"):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.size > MAX_ARRAY_NUMBERS or array.dtype.kind != "f":
        raise ValueError(f"it holds an array of {array.shape} {array.dtype}, which is no direction")
    return torch.from_numpy(array.astype(np.float32))


def _read_pickle(stream: IO[bytes], view: View, budget: Budget, depth: int = 0) -> Any:
    """A legacy torch.save file, or NVIDIA's plain pickle, which holds such files."""

    def nested(data: bytes) -> Any:
        if depth >= NESTING:
            raise ValueError("it nests files in files")
        return _read_pickle(io.BytesIO(data), data, budget, depth + 1)

    def no_storage(_: Any) -> Tensor:
        raise ValueError("its pickle is damaged (a storage where none can be)")

    source = PickleContext(no_storage, nested, budget)
    first = unpickle(stream, source)
    if type(first) is int and first == LEGACY_MAGIC:
        return _read_legacy(stream, view, source)
    return first


def _read_legacy(stream: IO[bytes], view: View, source: PickleContext) -> Any:
    """What follows the magic number: version, system, the pickle, the names of its storages, and their numbers."""
    version, system = unpickle(stream, source), unpickle(stream, source)
    if type(version) is not int or version != LEGACY_PROTOCOL or not isinstance(system, dict):
        raise ValueError("it is of an unknown version of torch.save's format")
    if system.get("little_endian") is not True:
        raise ValueError("it was written on a big-endian machine, which is not supported")
    storages: dict[str, Tensor] = {}

    def reserve(identity: Any) -> Tensor | Global:
        """A storage, filled later, since its numbers lie behind the pickle that speaks of them; or a class."""
        if type(identity) is tuple and len(identity) == 4 and isinstance(identity[1], Global):
            return identity[1]  # with the source of its module
        key, dtype, count, part = _storage_identity(identity)
        if key not in storages:
            source.budget.take(count * dtype.itemsize)
            storages[key] = torch.empty(count, dtype=dtype)
        flat = _same(storages[key], dtype, count)
        if part is None:
            return flat
        return flat[part]

    content = unpickle(stream, PickleContext(reserve, source.nested, source.budget))
    keys = unpickle(stream, source)
    if type(keys) is not list or any(type(key) is not str for key in keys) or sorted(keys) != sorted(storages):
        raise ValueError("it is damaged (the list of its storages is wrong)")
    _fill([storages[key] for key in keys], view, stream.tell())
    return content


def _fill(storages: list[Tensor], view: View, position: int) -> None:
    """Read the numbers of a legacy file: of each storage the count, then the bytes."""
    for flat in storages:
        start, end = position + 8, position + 8 + flat.numel() * flat.element_size()
        if end > len(view):
            raise ValueError(f"it is truncated, so {AGAIN}")
        if struct.unpack("<q", view[position:start])[0] != flat.numel():
            raise ValueError("it is damaged (a storage of another size than its tensors)")
        if flat.numel():
            flat.view(torch.uint8).numpy()[:] = np.frombuffer(view, np.uint8, end - start, start)
        position = end


def _read_zip(path: Path, view: View) -> Any:
    """The zip container: `NAME/data.pkl`, and each storage as a file `NAME/data/KEY`, none of them compressed."""
    entries = _entries(path, len(view))
    pickles = [name for name in entries if name.endswith("data.pkl") and name.count("/") <= 1]
    if len(pickles) != 1:
        raise ValueError("it is an archive, but none of torch.save's: unpack it first")
    root = pickles[0].removesuffix("data.pkl")
    order = entries.get(f"{root}byteorder")
    if order is not None and bytes(_stored(view, order)) != b"little":
        raise ValueError("it was written on a big-endian machine, which is not supported")
    storages: dict[str, Tensor] = {}

    def find(identity: Any) -> Tensor | Placeholder:
        kind = identity[1] if type(identity) is tuple and len(identity) > 1 else None
        if isinstance(kind, Global) and kind not in STORAGES:  # numbers that no weights are made of
            return Placeholder(str(kind))
        key, dtype, count, _ = _storage_identity(identity)
        if key not in storages:
            entry = entries.get(f"{root}data/{key}")
            if entry is None or entry.file_size != count * dtype.itemsize:
                raise ValueError("it is damaged (a storage is missing, or of another size than its tensors)")
            storages[key] = _numbers(_stored(view, entry), dtype)
        return _same(storages[key], dtype, count)

    def nested(_: bytes) -> Any:
        raise ValueError("it nests files in files")

    data = bytes(_stored(view, entries[pickles[0]]))
    return unpickle(io.BytesIO(data), PickleContext(find, nested, Budget(SHARE * len(view))))


def _entries(path: Path, size: int) -> dict[str, zipfile.ZipInfo]:
    """The files of a zip archive, which must lie in it as they are."""
    with library_reads(f"it is a damaged or truncated archive, so {AGAIN}"), zipfile.ZipFile(path) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
    for entry in entries.values():
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size or entry.flag_bits & 1:
            raise ValueError("it is a compressed or encrypted archive, which torch.save never writes: unpack it first")
    if sum(entry.file_size for entry in entries.values()) > size:
        raise ValueError("its files overlap, so it claims to hold more than it does")
    return entries


def _stored(view: View, entry: zipfile.ZipInfo) -> memoryview:
    """The bytes of an uncompressed file in a zip archive, where they lie."""
    header = view[entry.header_offset : entry.header_offset + 30]
    if len(header) < 30 or header[:4] != b"PK\x03\x04":
        raise ValueError("it is damaged (a file of the archive is not where it should be)")
    name_length, extra_length = struct.unpack("<HH", header[26:30])
    start = entry.header_offset + 30 + name_length + extra_length
    data = memoryview(view)[start : start + entry.file_size]
    if len(data) < entry.file_size:
        raise ValueError(f"it is truncated, so {AGAIN}")
    if zlib.crc32(data) != entry.CRC:
        raise ValueError(f"it is damaged (a checksum differs), so {AGAIN}")
    return data


def _numbers(data: memoryview, dtype: torch.dtype) -> Tensor:
    """The numbers in bytes, without a copy if they lie at a multiple of their size, as torch.save puts them."""
    if not len(data):
        return torch.empty(0, dtype=dtype)
    address = np.frombuffer(data, np.uint8).ctypes.data
    aligned = data if address % dtype.itemsize == 0 else bytearray(data)
    return torch.frombuffer(aligned, dtype=dtype)


def _same(flat: Tensor, dtype: torch.dtype, count: int) -> Tensor:
    """The storage, if it is what it is said to be this time too."""
    if flat.dtype != dtype or len(flat) != count:
        raise ValueError("its pickle is damaged (a storage of two sizes)")
    return flat


def _storage_identity(identity: Any) -> tuple[str, torch.dtype, int, slice | None]:
    """Key, kind and length of a storage, and the part of it; where it was (a GPU, say) does not matter."""
    if type(identity) is not tuple or len(identity) not in (5, 6) or type(identity[0]) is not str:
        raise ValueError("its pickle refers to something other than a storage")
    _, kind, key, _, count, *rest = identity
    if not isinstance(kind, Global) or type(key) is not str or type(count) is not int or count < 0:
        raise ValueError("its pickle refers to an impossible storage")
    if kind not in STORAGES:
        raise ValueError(f"it holds tensors of a kind that is not read, {kind}")
    return key, STORAGES[kind], count, _part(rest[0]) if rest and rest[0] is not None else None


def _part(view: Any) -> slice:
    """A part of another storage, as PyTorch wrote before 0.4: its key, where it begins, its length."""
    if type(view) is not tuple or len(view) != 3 or any(type(number) is not int or number < 0 for number in view[1:]):
        raise ValueError("its pickle refers to an impossible part of a storage")
    return slice(view[1], view[1] + view[2])
