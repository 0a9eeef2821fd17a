"""Codes to learn from: latent files, files of many codes, inverted images, samples of the generator."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stedit.checkpoints.codes import CodeFile
from stedit.engine import Engine
from stedit.errors import InputError, LatentError, describe_cause
from stedit.storage.atomic import write_file
from stedit.storage.bundle import Bundle
from stedit.storage.latents import SUFFIX, LatentCode, is_latent_path
from stedit.storage.suffixes import CODE_SUFFIXES
from stedit.storage.tensor_file import encode_tensors, open_tensors
from stedit.training.data.images import ImageSet

MAX_FILE_BYTES = 2**33  # of many codes
MAX_NAMES_BYTES = 2**26
BATCH = 32  # images inverted, or codes rendered, at a time

_STORED = {"F32", "F16", "BF16"}


@dataclass(frozen=True)
class LatentSet:
    """Codes of one model, each with a name by which labels and ground-truth edits refer to it."""

    names: tuple[str, ...]
    """File names without folder and ending."""
    codes: Tensor
    """(M, N, D), float32, on the CPU."""

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def read(cls, sources: Sequence[str], engine: Engine) -> LatentSet:
        """Codes of all sources, in their order.

        A source is a folder or a zip file of images, which the encoder inverts; a folder of latent files, at any
        depth (its images are then left out); a latent file; a .safetensors file of many codes, see `save`; or a
        file of another tool's, see `stedit.checkpoints.codes`.

        Raises:
            InputError: a source holds nothing to learn from, or cannot be read; LatentError if it belongs to another
                model.
            MissingPartError: there are images, but no encoder.
        """
        sets = [_read(Path(source), engine) for source in sources]
        if not sets:
            return cls((), torch.zeros(0, *engine.code_shape))
        return cls(tuple(name for one in sets for name in one.names), torch.cat([one.codes for one in sets]))

    @classmethod
    def sample(cls, count: int, engine: Engine, *, seed: int) -> LatentSet:
        """Codes of random z, through the mapping network: one w for all styles."""
        generator = engine.networks.generator
        source = torch.Generator().manual_seed(seed)
        z = torch.randn(count, generator.config.z_width, generator=source)
        with torch.no_grad():
            parts = [generator.style_mix([part.to(engine.device)]).float().cpu() for part in torch.split(z, 1024)]
        codes = torch.cat(parts) if parts else torch.zeros(0, *engine.code_shape)
        return cls(tuple(f"sample-{number}" for number in range(count)), codes)

    def join(self, other: LatentSet) -> LatentSet:
        """Both, this one first."""
        return LatentSet(self.names + other.names, torch.cat([self.codes, other.codes]))

    def save(self, path: Path, bundle: Bundle) -> None:
        """Write one .safetensors file: `w` (M, N, D) in float32, and as metadata `names` (a JSON list) and the model.

        `names` may be left out of such a file, and then its codes are called 0, 1, 2, ... Raises OutputError.
        """
        metadata = {"model": bundle.name, "fingerprint": bundle.fingerprint, "names": json.dumps(self.names)}
        write_file(path, encode_tensors({"w": self.codes.numpy()}, metadata))


def validation_mask(count: int, fraction: float) -> Tensor:
    """Which of `count` examples are kept from training, (count,) bool: `fraction` of them, evenly spread."""
    chosen = torch.zeros(count, dtype=torch.bool)
    wanted = round(fraction * count)
    if wanted:
        chosen[((torch.arange(wanted, dtype=torch.float64) + 0.5) * count / wanted).long()] = True
    return chosen


def _read(source: Path, engine: Engine) -> LatentSet:
    if source.is_dir():
        latents = sorted(path for path in source.rglob(f"*{SUFFIX}") if path.is_file())
        return _latents(latents, engine) if latents else _images(source, engine)
    if is_latent_path(source):
        return _latents([source], engine)
    if source.suffix.lower() == ".safetensors":
        return _many(source, engine)
    if source.suffix.lower() in CODE_SUFFIXES:
        found = CodeFile.read(source)
        codes = [torch.from_numpy(found.code(name, engine.code_shape)) for name in found.codes]
        return LatentSet(tuple(found.codes), torch.stack(codes))
    return _images(source, engine)


def _latents(paths: Sequence[Path], engine: Engine) -> LatentSet:
    codes = []
    for path in paths:
        latent = LatentCode.load(path)
        latent.require(
            model=engine.bundle.name,
            fingerprint=engine.bundle.fingerprint,
            shape=engine.code_shape,
            path=path,
            derived_from=engine.bundle.derived_from,
        )
        codes.append(latent.w)
    return LatentSet(tuple(path.name[: -len(SUFFIX)] for path in paths), torch.from_numpy(np.stack(codes)))


def _images(source: Path, engine: Engine) -> LatentSet:
    images = ImageSet.open([source], max(engine.input_size))
    codes = []
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as threads:
        for start in range(0, len(images), BATCH):
            batch = list(
                threads.map(lambda index: images.read(index)[1], range(start, min(start + BATCH, len(images))))
            )
            codes.append(torch.from_numpy(engine.invert(np.stack(batch))))
    if images.unreadable:  # a neighbour replaces each, which has another name
        unreadable = min(image.name for image in images.unreadable)
        raise InputError(f"{unreadable} cannot be read: remove it, or get a whole copy of it")
    return LatentSet(images.ids, torch.cat(codes))


def _many(path: Path, engine: Engine) -> LatentSet:
    """A file of many codes, whose size and header are checked before any tensor is read."""
    try:
        with open_tensors(path, "file of codes", max_bytes=MAX_FILE_BYTES, framework="pt") as file:
            if "w" not in file.keys():  # noqa: SIM118 - it is no dict
                raise InputError(f"{path} holds no codes (no tensor 'w'): give codes of shape (count, N, D) as 'w'")
            shape, stored = tuple(file.get_slice("w").get_shape()), file.get_slice("w").get_dtype()
            metadata: dict[str, str] = file.metadata() or {}
            _require_codes(path, shape, stored, metadata, engine)
            w = file.get_tensor("w").float()
    except FileNotFoundError:
        raise InputError(f"there are no codes at {path}: check the spelling") from None
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the codes {path} ({describe_cause(error)}): get a whole copy of it") from error
    if not bool(torch.isfinite(w).all()):
        raise InputError(f"{path} holds numbers that are not finite: make it again")
    return LatentSet(_names(path, metadata, len(w)), w)


def _require_codes(path: Path, shape: tuple[int, ...], stored: str, metadata: dict[str, str], engine: Engine) -> None:
    bundle = engine.bundle
    if not bundle.takes_codes_of(metadata.get("fingerprint", bundle.fingerprint)):
        made_with = f"the model {metadata.get('model', 'unknown')!r} (fingerprint {metadata['fingerprint']!r})"
        raise LatentError(
            f"{path} was made with {made_with}, not with {bundle.name!r} ({bundle.fingerprint!r}): use that model, or "
            "invert the images again"
        )
    if len(shape) != 3 or shape[1:] != engine.code_shape:
        raise LatentError(f"{path} holds codes of {shape}, but {bundle.name!r} takes (count, {engine.code_shape})")
    if stored not in _STORED:
        raise InputError(f"{path} holds codes in {stored}: give them in F32, F16 or BF16")


def _names(path: Path, metadata: dict[str, str], count: int) -> tuple[str, ...]:
    if "names" not in metadata:
        return tuple(map(str, range(count)))
    try:
        names = json.loads(metadata["names"]) if len(metadata["names"]) <= MAX_NAMES_BYTES else None
    except ValueError:
        names = None
    if not isinstance(names, list) or len(names) != count or not all(isinstance(name, str) for name in names):
        raise InputError(f"the names in {path} are not a list of {count} texts: make it again")
    return tuple(names)
