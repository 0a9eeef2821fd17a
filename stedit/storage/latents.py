"""A W+ code with its provenance, in one small file: `face.latent.safetensors`.

The file is a safetensors file with one float32 tensor, `w` (N, D), and string metadata: the model that the code belongs
to, and where it came from. A code means nothing to a generator other than its own, hence the fingerprint.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stedit._version import __version__
from stedit.errors import LatentError, describe_cause
from stedit.models.config import MAX_WIDTH
from stedit.storage.atomic import write_file
from stedit.storage.tensor_file import encode_tensors, open_tensors

SUFFIX = ".latent.safetensors"
FORMAT = "1"
MAX_STYLES = 64  # 18 is the most that any published StyleGAN2 has
MAX_FILE_BYTES = 4 * MAX_STYLES * MAX_WIDTH + 2**20  # the largest code in float32, and room for metadata


def is_latent_path(path: str | Path) -> bool:
    """Whether a file is named as a latent code: `….latent.safetensors`, in any case."""
    return Path(path).name.lower().endswith(SUFFIX)


@dataclass(frozen=True, eq=False)
class LatentCode:
    """A W+ code `w` of the generator named by `model` and, exactly, by `fingerprint` (see `Bundle.fingerprint`)."""

    w: npt.NDArray[np.float32]
    """float32 (N, D): N styles of D numbers each, all finite."""
    model: str
    fingerprint: str
    method: str = "encoder"
    """How the code was found."""
    source: str = ""
    """The name of the picture that it was found for."""
    crop: str = ""
    """JSON of the crop that took the picture to the encoder, or "" if there was none."""
    stedit_version: str = __version__
    tuning: str = ""
    """The digest of the tuning beside the file (see `stedit.storage.tunings`), or "" for the model's own generator."""
    renderer: Callable[[LatentCode], bytes] | None = field(default=None, repr=False, kw_only=True)
    """What makes a PNG of the code, where an engine gave it: no part of the file, nor of a pickle."""
    origin: str = ""
    """The record of what it was made of (see `stedit.storage.origin`), or ""."""

    def __post_init__(self) -> None:
        if self.w.dtype != np.float32 or self.w.ndim != 2:
            raise ValueError(f"w is {self.w.dtype} {self.w.shape}, not float32 (N, D)")
        if not (1 <= self.w.shape[0] <= MAX_STYLES and 1 <= self.w.shape[1] <= MAX_WIDTH):
            raise ValueError(f"w has the shape {self.w.shape}, outside (1..{MAX_STYLES}, 1..{MAX_WIDTH})")
        if not np.isfinite(self.w).all():
            raise ValueError("w holds numbers that are not finite")

    def __repr__(self) -> str:
        count, dim = self.w.shape
        words = [f"{count} x {dim} of {self.model!r}", self.method and f"method={self.method!r}"]
        words.append(self.source and f"source={self.source!r}")
        return f"LatentCode({', '.join(word for word in words if word)})"

    def _repr_png_(self) -> bytes | None:
        """What a notebook shows: the rendering, for a code that an engine gave."""
        return self.renderer(self) if self.renderer else None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "renderer": None}

    def save(self, path: str | Path) -> None:
        """Write `encode()` to `path`, whole or not at all. Raises OutputError."""
        write_file(Path(path), self.encode())

    def encode(self) -> bytes:
        """The bytes of the file; the same code gives the same bytes."""
        texts = {name: getattr(self, name) for name in _texts()}
        return encode_tensors({"w": self.w}, {"format": FORMAT, **texts})

    @classmethod
    def load(cls, path: str | Path) -> LatentCode:
        """Read a code of any model. Raises LatentError if the file is damaged, hostile or no latent code."""
        path = Path(path)
        metadata, w = _read(path)
        for name in ("format", "model", "fingerprint"):
            if not metadata.get(name):
                raise LatentError(f"{path} does not state the {name} of its code: invert the picture again")
        if metadata["format"] != FORMAT:
            raise LatentError(f"{path} is of the latent format {metadata['format']!r}: upgrade stedit to read it")
        texts: dict[str, Any] = {name: text for name, text in metadata.items() if name in _texts()}
        try:
            return cls(w, **texts)
        except ValueError as error:
            raise LatentError(f"{path} is damaged ({error}): invert the picture again") from error

    def require(
        self, *, model: str, fingerprint: str, shape: tuple[int, int], path: str | Path, derived_from: str = ""
    ) -> None:
        """Raise LatentError, naming both models, unless this code, read from `path`, belongs to the model described.

        It does also if it belongs to the generator that the model's was fine-tuned from, `derived_from`.
        """
        if self.fingerprint not in {fingerprint, derived_from or fingerprint}:
            raise LatentError(
                f"{path} was made with the model {self.model!r} (fingerprint {self.fingerprint!r}), "
                f"not with {model!r} ({fingerprint!r}): use that model, or invert the picture again"
            )
        if self.w.shape != shape:
            raise LatentError(
                f"{path} holds a code of {self.w.shape[0]} x {self.w.shape[1]} numbers, but {model!r} takes "
                f"{shape[0]} x {shape[1]}: invert the picture again"
            )


def _texts() -> list[str]:
    """The fields that a file has as metadata."""
    return [one.name for one in fields(LatentCode) if one.name not in {"w", "renderer"}]


def _read(path: Path) -> tuple[dict[str, str], npt.NDArray[np.float32]]:
    """Metadata and `w` of a file, whose size and header are checked before any tensor is read."""
    again = "invert the picture again"
    try:
        with open_tensors(path, "latent code", max_bytes=MAX_FILE_BYTES) as file:
            if "w" not in file.keys():  # noqa: SIM118 - it is no dict
                raise LatentError(f"{path} holds no latent code (no tensor 'w'): invert a picture to make one")
            tensor = file.get_slice("w")
            if tensor.get_dtype() != "F32":
                raise LatentError(f"{path} holds a code in {tensor.get_dtype()}, not F32: {again}")
            return file.metadata() or {}, file.get_tensor("w")
    except FileNotFoundError:
        raise LatentError(f"{path} does not exist: check the spelling") from None
    except ValueError as error:
        raise LatentError(f"{path} is not a latent code, or is damaged ({describe_cause(error)}): {again}") from error
    except OSError as error:
        raise LatentError(f"cannot read {path}: {describe_cause(error)}") from error
