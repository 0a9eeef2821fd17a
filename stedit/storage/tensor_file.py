"""Small safetensors files, written byte for byte alike each time: the library puts metadata in a random order."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

_TYPES = {np.dtype(np.float32): ("F32", "<f4"), np.dtype(np.float16): ("F16", "<f2")}


def encode_tensors(tensors: Mapping[str, npt.NDArray[Any]], texts: Mapping[str, str]) -> bytes:
    """A safetensors file of float32 and float16 tensors with string metadata, both in the order given."""
    header: dict[str, Any] = {"__metadata__": {key: _unicode(text) for key, text in texts.items()}}
    payloads: list[bytes] = []
    start = 0
    for name, tensor in tensors.items():
        kind, stored = _TYPES[tensor.dtype]
        payloads.append(tensor.astype(stored).tobytes())
        end = start + len(payloads[-1])
        header[name] = {"dtype": kind, "shape": tensor.shape, "data_offsets": (start, end)}
        start = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # tensors start at a multiple of 8
    return b"".join((struct.pack("<Q", len(text)), text, *payloads))


def _unicode(text: str) -> str:
    """Replace what is no Unicode, as in a file name with stray bytes, since JSON readers refuse it."""
    return text.encode("utf-8", "replace").decode()
