"""What outputs are made of, as digests, and what an output that is there already was made of."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from stedit.batch.inputs import Source
from stedit.batch.naming import split_item
from stedit.batch.request import LabelEdit, ReferenceEdit, Request
from stedit.editing.directions import LinearDirection, parse_direction
from stedit.errors import LatentError, OutputError
from stedit.storage.latents import LatentCode, is_latent_path
from stedit.storage.origin import Origin, digest_of, read_origin
from stedit.storage.tunings import Tuning, tuning_path

if TYPE_CHECKING:
    from stedit.storage.bundle import Bundle

ALGORITHM = 1  # raise it where the same request comes to give other pictures
UNKNOWN = "0" * 32

_WITHOUT_EFFECT = {"attention", "max_pixels"}  # on an output that is there
_SPELLED = {"attributes", "direction", "keep", "references"}  # in several ways; `Recipe.of` puts what they mean

Standing = Literal["absent", "same", "earlier", "foreign"]
"""Of what lies where an output is to go: nothing; made by the same request of the same bytes; by another; not by us."""


@dataclass(frozen=True)
class Recipe:
    """What all outputs of a run are made of, but for their sources."""

    request: str
    model: str

    @classmethod
    def of(cls, request: Request, bundle: Bundle, file_format: str, precision: str) -> Self:
        """Digest a request with the contents of the files that it names, and a model."""
        values = {
            "algorithm": ALGORITHM,
            "request": _plain(request),
            "suffix": request.suffix(bundle),
            "format": file_format,
            "precision": precision,
        }
        if isinstance(request, LabelEdit):
            values["attributes"] = request.names(bundle)
            direction = parse_direction(request.direction)
            values["direction"] = _plain(direction) if isinstance(direction, LinearDirection) else direction
        if isinstance(request, ReferenceEdit):
            values["attributes"] = request.celeba_names(bundle)
            values["references"] = [_digest_of_input(Path(path)) for path in request.references]
        parts = {name: [part.sha256, part.config] for name, part in bundle.parts.items()}
        model = {
            "parts": parts,
            "attributes": [asdict(attribute) for attribute in bundle.attributes],
            "alignment": bundle.alignment,
        }
        return cls(_digest_of_values(values), _digest_of_values(model))

    def origin(self, source: str) -> Origin:
        """That of an output, from the digest of its source."""
        return Origin(self.request, self.model, source)

    def standing(self, output: Path, source: Source | None) -> Standing:
        """Of what is where the output of `source` is to go. Raises OSError if it cannot be read."""
        tuning = tuning_path(output) if is_latent_path(output) else None
        if not os.path.lexists(output):
            return "foreign" if tuning and os.path.lexists(tuning) and read_origin(tuning) is None else "absent"
        if output.exists() and not (output.is_file() or output.is_dir()):
            return "absent"  # a device or a pipe, which is written into
        origin = read_origin(output)
        if origin is None:
            return "foreign"
        if (origin.request, origin.model) != (self.request, self.model) or source is None or source.path is None:
            return "earlier"
        try:
            same = origin.source == source.digest()
        except OSError:  # which the reader of the source will tell
            return "earlier"
        return "same" if same and (tuning is None or _has_its_tuning(output, tuning)) else "earlier"


def foreign_output(path: Path) -> OutputError:
    """What is said of a file that is in the way."""
    return OutputError(
        f"{path} exists, and is not, or no longer, what stedit wrote there: name another output, or replace it",
        argument="overwrite",
    )


def signature(path: Path) -> tuple[int, ...] | None:
    """What tells that a file is the same as before, without reading it; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _has_its_tuning(latent: Path, tuning: Path) -> bool:
    try:
        digest = LatentCode.load(latent).tuning
        return not digest or Tuning.load(tuning).digest == digest
    except LatentError:
        return False


def _digest_of_input(path: Path) -> str:
    """Of the bytes of a file; UNKNOWN if it cannot be read, which whoever reads it will tell."""
    path, item = split_item(path)
    try:
        return Source(path, item=item).digest()
    except OSError:
        return UNKNOWN


def _plain(value: Any) -> Any:
    """Anything in a request as what JSON can hold: a file is its contents."""
    if is_dataclass(value) and not isinstance(value, type):
        inner = {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
        return {"type": type(value).__name__, **{k: v for k, v in inner.items() if k not in _WITHOUT_EFFECT | _SPELLED}}
    if isinstance(value, Path):
        return _digest_of_input(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(inner) for inner in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _digest_of_values(values: Mapping[str, Any]) -> str:
    return digest_of(json.dumps(values, sort_keys=True, default=str).encode("utf-8", "surrogateescape"))
