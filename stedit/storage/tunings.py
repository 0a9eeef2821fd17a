"""A generator adapted to one picture: the small change of its weights, beside the code: `face.tuning.safetensors`.

The file is a safetensors file with two float16 tensors for each layer changed, `<layer>.up` (O, r) and `<layer>.down`
(r, I * k * k), whose product is what is added to the layer's weight (O, I, k, k); and string metadata: the model that
the change belongs to. A latent file names, in its metadata, the tuning that belongs to it by the tuning's digest.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stedit._version import __version__
from stedit.errors import LatentError, describe_cause
from stedit.models.config import MAX_TUNING_RANK, MAX_WIDTH
from stedit.storage.atomic import write_file
from stedit.storage.latents import SUFFIX as LATENT_SUFFIX
from stedit.storage.tensor_file import encode_tensors, open_tensors

SUFFIX = ".tuning.safetensors"
FORMAT = "1"
MAX_LAYERS = 64
MAX_FILE_BYTES = 2**26

Half = npt.NDArray[np.float16]

_LAYER = re.compile(r"blocks\.\d{1,2}\.(layers\.[01]|to_rgb)\.conv\.weight")


def tuning_path(latent: Path) -> Path:
    """Where the tuning of a latent file lies: `face.tuning.safetensors` beside `face.latent.safetensors`."""
    return latent.with_name(latent.name[: -len(LATENT_SUFFIX)] + SUFFIX)


@dataclass(frozen=True, eq=False)
class Tuning:
    """A change of the generator named by `model` and, exactly, by `fingerprint` (see `Bundle.fingerprint`)."""

    factors: Mapping[str, tuple[Half, Half]]
    """By the name of the weight in the generator: up (O, r) and down (r, I * k * k)."""
    model: str
    fingerprint: str
    stedit_version: str = __version__
    origin: str = ""
    """The record of what it was made of (see `stedit.storage.origin`), or ""."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.factors) <= MAX_LAYERS:
            raise ValueError(f"it changes {len(self.factors)} layers, not 1 to {MAX_LAYERS}")
        for name, (up, down) in self.factors.items():
            if not _LAYER.fullmatch(name):
                raise ValueError(f"it changes {name!r}, which is no convolution of a generator")
            if up.dtype != np.float16 or down.dtype != np.float16 or up.ndim != 2 or down.ndim != 2:
                raise ValueError(f"the factors of {name} are not float16 of two dimensions")
            if up.shape[1] != down.shape[0] or not 1 <= up.shape[1] <= MAX_TUNING_RANK:
                raise ValueError(f"the factors of {name} have the shapes {up.shape} and {down.shape}")
            if up.shape[0] > MAX_WIDTH or down.shape[1] > 9 * MAX_WIDTH:
                raise ValueError(f"the factors of {name} have the shapes {up.shape} and {down.shape}")
            if not (np.isfinite(up).all() and np.isfinite(down).all()):
                raise ValueError(f"the factors of {name} hold numbers that are not finite")

    def __repr__(self) -> str:
        return f"Tuning({self.digest}, {len(self.factors)} layers of {self.model!r})"

    @property
    def digest(self) -> str:
        """16 hex digits of a SHA-256 over all that is in it, by which a latent file names its tuning."""
        total = hashlib.sha256(self.fingerprint.encode())
        for name, factors in sorted(self.factors.items()):
            total.update(name.encode())
            for factor in factors:
                total.update(repr(factor.shape).encode() + factor.astype("<f2").tobytes())
        return total.hexdigest()[:16]

    def save(self, path: str | Path) -> None:
        """Write `encode()` to `path`, whole or not at all. Raises OutputError."""
        write_file(Path(path), self.encode())

    def encode(self) -> bytes:
        """The bytes of the file; the same tuning gives the same bytes."""
        tensors = {}
        for name, (up, down) in self.factors.items():
            tensors[f"{name}.up"], tensors[f"{name}.down"] = up, down
        texts = {
            "format": FORMAT,
            "model": self.model,
            "fingerprint": self.fingerprint,
            "stedit_version": self.stedit_version,
            "origin": self.origin,
        }
        return encode_tensors(tensors, texts)

    @classmethod
    def load(cls, path: str | Path) -> Tuning:
        """Read a tuning of any model. Raises LatentError if the file is missing, damaged, hostile or no tuning."""
        path = Path(path)
        metadata, tensors = _read(path)
        for name in ("format", "model", "fingerprint"):
            if not metadata.get(name):
                raise LatentError(f"{path} does not state the {name} of its tuning: make it again", argument="tuning")
        if metadata["format"] != FORMAT:
            raise LatentError(f"{path} is of the tuning format {metadata['format']!r}: upgrade stedit to read it")
        names = [key.removesuffix(".up") for key in tensors if key.endswith(".up")]
        try:
            if sorted(tensors) != sorted(f"{name}.{side}" for name in names for side in ("up", "down")):
                raise ValueError("its tensors are no pairs of factors")  # noqa: TRY301 - one type for damage
            factors = {name: (tensors[f"{name}.up"], tensors[f"{name}.down"]) for name in names}
            return cls(factors, metadata["model"], metadata["fingerprint"], metadata.get("stedit_version", ""))
        except ValueError as error:
            raise LatentError(f"{path} is damaged ({error}): make it again", argument="tuning") from error

    def require(self, *, digest: str, path: str | Path) -> None:
        """Raise LatentError unless this tuning, read from `path`, is the one that a latent file names by `digest`."""
        if self.digest != digest:
            raise LatentError(
                f"{path} belongs to another code than the latent file beside it: "
                "restore the one that was written with it, or invert the picture again"
            )


def _read(path: Path) -> tuple[dict[str, str], dict[str, Half]]:
    """Metadata and tensors of a file, whose size and header are checked before any tensor is read."""
    try:
        with open_tensors(path, "tuning", max_bytes=MAX_FILE_BYTES) as file:
            keys = list(file.keys())
            if len(keys) > 2 * MAX_LAYERS or any(file.get_slice(key).get_dtype() != "F16" for key in keys):
                raise LatentError(f"{path} holds something other than a tuning: make it again", argument="tuning")
            return file.metadata() or {}, {key: file.get_tensor(key) for key in keys}
    except FileNotFoundError:
        sentence = f"{path} is missing, which a tuned code needs beside it: put it there, or make it again"
        raise LatentError(sentence, argument="tuning") from None
    except ValueError as error:
        sentence = f"{path} is not a tuning, or is damaged ({describe_cause(error)}): make it again"
        raise LatentError(sentence, argument="tuning") from error
    except OSError as error:
        raise LatentError(f"cannot read {path}: {describe_cause(error)}") from error
