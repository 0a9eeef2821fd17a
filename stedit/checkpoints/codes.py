"""Latent codes as other tools keep them, and as theirs read them.

    .npz        NVIDIA's projector: `w` (1, N, D); also `dlatents`, or arrays by the names of pictures
    .npy        ReStyle, stylegan-encoder: an array, or a dictionary of codes by the names of pictures
    .pt .pth    e4e, PTI, StyleCLIP: a tensor, a list or a dictionary; rosinality's projector: `latent` of each picture
    .safetensors    a file of many codes, as trainings write it: `w` (M, N, D)

A code is (D,) or (1, D), one style for all layers (a code in W), or (N, D); further axes count codes: (1, N, D),
(B, N, D). None of these files says which model its codes are of, but the last. Nothing in a file is executed.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from stedit.checkpoints.arrays import Array, as_array, read_arrays
from stedit.errors import LatentError, describe_cause
from stedit.models.config import MAX_WIDTH
from stedit.storage.latents import MAX_STYLES
from stedit.storage.suffixes import CODE_SUFFIXES, IMAGE_SUFFIXES

CodeFormat = Literal["npz", "npy", "pt"]
MAX_CODES = 100_000  # in a file
NESTING = 4  # of dictionaries and lists

# what projects call the codes among other things, the most telling first
_KEYS = (
    "w",
    "latent",
    "latents",
    "dlatents",
    "dlatent",
    "w_plus",
    "wp",
    "ws",
    "codes",
    "code",
    "latent_code",
    "projected_w",
)
# what files of directions are called: by InterFaceGAN, e4e, GANSpace and StyleCLIP
# fmt: off
_DIRECTION_WORDS = frozenset({
    "age", "bangs", "beard", "boundary", "direction", "directions", "eyeglasses", "eyes", "factor", "gender", "glasses",
    "hair", "pca", "pose", "smile", "smiling", "yaw", "young",
})
# fmt: on
_ADVICE = "give a code of the shape (D,), (N, D) or (B, N, D)"
_LONGEST_DIRECTION = 1.5  # of a style: directions have the length 1, codes in W of published models 4 and more


@dataclass(frozen=True)
class CodeFile:
    """The codes of a file, by name, not yet checked number by number."""

    path: Path
    codes: Mapping[str, Array]
    """(1, D) or (n, D) each."""
    model: str = ""
    fingerprint: str = ""
    """Of their model, where the file says it."""

    @classmethod
    def read(cls, path: Path) -> CodeFile:
        """Read a file of any of the kinds above. Raises LatentError if it holds no codes, is damaged or hostile."""
        try:
            content = read_arrays(path)
            model, fingerprint, names = _metadata(content)
            if names:
                content = content["state_dict"]["w"]
            codes = dict(_named(_codes_in(content), names or (), _stem(path.name)))
        except FileNotFoundError:
            raise LatentError(f"{path} does not exist: check the spelling") from None
        except OSError as error:
            raise LatentError(f"cannot read {path}: {describe_cause(error)}") from error
        except ValueError as error:
            raise LatentError(f"{path} cannot be read as latent codes ({describe_cause(error)}): {_ADVICE}") from error
        return cls(path, codes, model, fingerprint)

    def code(self, name: str, shape: tuple[int, int] | None = None) -> npt.NDArray[np.float32]:
        """The code of this name, (N, D) of a model, or as it is stored. Raises LatentError if it does not fit."""
        where = str(self.path) if len(self.codes) == 1 else f"{self.path}:{name}"
        if name not in self.codes:
            listed = ", ".join(list(self.codes)[:8])
            raise LatentError(f"{self.path} holds no code {name!r}: it holds {listed}")
        with np.errstate(over="ignore"):
            w = np.array(self.codes[name], np.float32)
        if not np.isfinite(w).all():
            raise LatentError(f"the code {where} holds numbers that are not finite: make it again")
        if shape is None:
            return w
        if w.shape[1] != shape[1] or w.shape[0] not in (1, shape[0]):
            raise LatentError(
                f"the code {where} is of {w.shape[0]} x {w.shape[1]} numbers, and the model takes "
                f"{shape[0]} x {shape[1]}: name the model that it belongs to",
                argument="model",
            )
        return np.broadcast_to(w, shape).copy()

    def fits(self, shape: tuple[int, int] | None) -> bool:
        """Whether every code is in the W+ of a model of (N, D), None for any, and none is as short as a direction.

        What has one style could be a direction, which may be of any length.
        """
        return all(
            (len(code) > 1 if shape is None else code.shape == shape) and not is_short(code)
            for code in self.codes.values()
        )


def is_short(array: Array) -> bool:
    """Whether the styles of an array (n, D) are as short as those of a direction."""
    return bool((np.linalg.norm(np.asarray(array, np.float32), axis=-1) < _LONGEST_DIRECTION).all())


def is_surely_codes(content: Any, name: str = "") -> bool:
    """Whether what a file called `name` holds is codes by its keys or shapes, or else by the length of its styles.

    A file of one bare tensor could be a direction, too, and is one if it is called so: age.pt, smile_boundary.npy.
    """
    if _DIRECTION_WORDS & set(re.split(r"[^a-z]+", name.lower())):
        return False
    if isinstance(content, Mapping):
        try:
            found = list(_codes_in(content))
        except ValueError:
            return False
        keyed = _keyed(content) is not None or any(_is_picture(str(key)) for key in content)
        return keyed and bool(found)
    array = as_array(content)
    if array is None or array.dtype.kind != "f":
        return False
    try:
        rows = list(_split(array, ""))
    except ValueError:
        return False
    return len(rows) > 1 or not is_short(rows[0][1])


def encode_named_codes(codes: Mapping[str, npt.NDArray[np.float32]], file_format: CodeFormat) -> bytes:
    """A file of several codes (n, D) of one shape: in an .npz one array (1, n, D) for each name, else one for all."""
    if file_format != "npz" or len(codes) == 1:
        return encode_codes(np.stack(list(codes.values())), file_format)
    return _encode_npz({name: w[None] for name, w in codes.items()})


def encode_codes(codes: npt.NDArray[np.float32], file_format: CodeFormat) -> bytes:
    """A file of codes (B, N, D): NVIDIA's .npz with the array `w`, or .npy or .pt, each holding one array.

    The same codes give the same bytes. `torch.load` reads the .pt with weights_only.
    """
    if file_format == "pt":
        import torch

        buffer = io.BytesIO()
        torch.save(torch.from_numpy(np.ascontiguousarray(codes)), buffer)
        return buffer.getvalue()
    return _encode_npy(codes) if file_format == "npy" else _encode_npz({"w": codes})


def _encode_npy(array: Array) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()


def _encode_npz(arrays: Mapping[str, Array]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:  # numpy.savez would write the time
        for name, array in arrays.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), _encode_npy(array))
    return buffer.getvalue()


def _metadata(content: Any) -> tuple[str, str, list[str] | None]:
    """Model, fingerprint and names that a .safetensors file of many codes states."""
    if not isinstance(content, Mapping) or not isinstance(content.get("opts"), Mapping):
        return "", "", None
    opts = content["opts"]
    try:
        names = json.loads(opts["names"]) if isinstance(opts.get("names"), str) else None
    except (ValueError, RecursionError) as error:
        raise ValueError("its names are no JSON") from error
    w = content["state_dict"].get("w") if isinstance(content.get("state_dict"), Mapping) else None
    if names is not None and (
        not isinstance(names, list)
        or (found := as_array(w)) is None
        or len(names) != len(found)
        or {*map(type, names)} - {str}
    ):
        raise ValueError("its names are not those of its codes")
    return str(opts.get("model", "")), str(opts.get("fingerprint", "")), names


def _codes_in(content: Any, key: str = "", depth: int = 0) -> Iterator[tuple[str, Array]]:
    """Codes (n, D) and what they are called: the key of a dictionary, the place in a list, "" for the only one."""
    if depth > NESTING:
        raise ValueError("it nests too deep")
    if (array := as_array(content)) is not None:
        yield from _split(array, key)
    elif isinstance(content, Mapping):
        inner = content.get("state_dict", content) if "opts" in content else content
        if not isinstance(inner, Mapping):
            raise ValueError("it holds no code")
        if (found := _keyed(inner)) is not None:
            yield from _codes_in(found, key, depth + 1)
            return
        for name, value in inner.items():
            if not isinstance(value, str | int | float | bool | None):
                yield from _codes_in(value, str(name), depth + 1)
    elif isinstance(content, Sequence) and not isinstance(content, str | bytes):
        for number, value in enumerate(content):
            yield from _codes_in(value, f"{_stem(key)}-{number}" if len(content) > 1 else key, depth + 1)
    else:
        raise ValueError(f"it holds a {type(content).__name__} where a code should be")


def _keyed(content: Mapping[Any, Any]) -> Any:
    """What a dictionary of other things too holds under a name that stands for codes; None if there is none."""
    return next((content[key] for key in _KEYS if content.get(key) is not None), None)


def _split(array: Array, key: str) -> Iterator[tuple[str, Array]]:
    """The codes (n, D) of an array; those of a stack are numbered."""
    while array.ndim > 3 and array.shape[0] == 1:
        array = array[0]
    rows, width = (1, *array.shape)[-2:] if array.ndim else (0, 0)
    if array.dtype.kind != "f" or array.ndim > 3 or not (1 <= rows <= MAX_STYLES and 1 < width <= MAX_WIDTH):
        raise ValueError(f"it holds {array.dtype} {array.shape}, which is no code")
    if array.ndim < 3:
        yield key, array.reshape(-1, width)
        return
    if not len(array):
        raise ValueError("it holds no code")
    for number, code in enumerate(array):
        yield f"{_stem(key)}-{number}" if len(array) > 1 else key, code


def _named(found: Iterator[tuple[str, Array]], names: Sequence[str], stem: str) -> Iterator[tuple[str, Array]]:
    """The same with names that files can have, each once: those of pictures without folder and ending."""
    used: set[str] = set()
    for number, (key, code) in enumerate(found):
        if number >= MAX_CODES:
            raise ValueError(f"it holds more than {MAX_CODES} codes")
        called = names[number] if number < len(names) else key
        if not called or re.fullmatch(r"(-\d+)+", called):
            called = stem + called
        name = _file_name(_stem(called))
        if name in used:  # a.jpg and a.png
            name = _file_name(called.replace(".", "-"))
        if name in used:
            raise ValueError(f"two of its codes are called {name!r}")
        used.add(name)
        yield name, code
    if not used:
        raise ValueError("it holds no code")


def _stem(name: str) -> str:
    """`face` for photos/face.png, of Windows too; `face.2` stays so."""
    last = re.split(r"[/\\]", name)[-1]
    path = PurePath(last)
    return path.stem if path.suffix.lower() in IMAGE_SUFFIXES | CODE_SUFFIXES else last


def _file_name(name: str) -> str:
    """What may be part of a file's name anywhere, and of an argument."""
    safe = re.sub(r"[^\w.+@() -]", "_", name).strip(". ")[:100]
    return safe or "code"


def _is_picture(name: str) -> bool:
    return PurePath(name).suffix.lower() in IMAGE_SUFFIXES
