"""Small safetensors files: written byte for byte alike each time, and opened only after their size is checked."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import safe_open

from stedit.errors import SteditError

_TYPES = {np.dtype(np.float32): ("F32", "<f4"), np.dtype(np.float16): ("F16", "<f2")}


def encode_tensors(tensors: Mapping[str, npt.NDArray[Any]], texts: Mapping[str, str]) -> bytes:
    """A safetensors file of float32 and float16 tensors with string metadata, both in the order given.

    The library's own writer puts metadata in a random order.
    """
    header: dict[str, Any] = {"__metadata__": {key: _unicode(text) for key, text in texts.items()}}
    payloads: list[bytes] = []
    start = 0
    for name, tensor in tensors.items():
        stored, layout = _TYPES[tensor.dtype]
        payloads.append(tensor.astype(layout).tobytes())
        end = start + len(payloads[-1])
        header[name] = {"dtype": stored, "shape": tensor.shape, "data_offsets": (start, end)}
        start = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # tensors start at a multiple of 8
    return b"".join((struct.pack("<Q", len(text)), text, *payloads))


@contextmanager
def open_tensors(path: Path, what: str, *, max_bytes: int, framework: str = "numpy") -> Iterator[Any]:
    """The file of `what` as `safetensors.safe_open` gives it; types and shapes are known before a tensor is read.

    Raises:
        FileNotFoundError, OSError: the file is not there, or cannot be opened.
        ValueError: it is a folder, is larger than `max_bytes`, or damaged; a part of a sentence, "it ..." or a reason.
    """
    size = path.stat().st_size
    if not path.is_file():
        raise ValueError("it is not a file")
    if size > max_bytes:
        raise ValueError(f"it is {size / 1e6:.1f} MB, larger than any {what}")
    try:
        # opened here too, because safetensors calls every file that it may not open a missing one
        with path.open("rb"), safe_open(path, framework=framework) as file:
            yield file
    except (SteditError, ValueError, OSError):
        raise  # of ours, or the system's
    except Exception as error:  # the classes of safetensors, and of what it calls, are many
        raise ValueError("its header or a tensor is damaged") from error


def _unicode(text: str) -> str:
    """Replace what is no Unicode, as in a file name with stray bytes, since JSON readers refuse it."""
    return text.encode("utf-8", "replace").decode()
