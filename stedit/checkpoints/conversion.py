"""From checkpoints of other projects, and parts of models, to one model or one file of directions on disk."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from stedit.checkpoints.arrays import read_arrays
from stedit.checkpoints.codes import is_surely_codes
from stedit.checkpoints.interchange import directions_of
from stedit.checkpoints.merge import ModelParts, from_bundle, from_checkpoint, merge, table
from stedit.checkpoints.psp import KINDS
from stedit.checkpoints.reader import load_file
from stedit.checkpoints.state_dicts import Hints
from stedit.errors import BundleError, InputError, OutputError, UsageError
from stedit.models.config import NAME, GeneratorConfig
from stedit.storage.bundle import Bundle, Precision
from stedit.storage.bundle_config import Alignment
from stedit.storage.directions import Directions, Vector
from stedit.storage.latents import is_latent_path
from stedit.storage.model_card import model_card, read_card

_ENCODER_TYPES = {"psp": "GradualStyleEncoder", "e4e": "Encoder4Editing"}
DIRECTIONS_SUFFIX = ".safetensors"
MAX_CODES_BYTES = 2**26  # of a file that may hold latent codes instead


@dataclass(frozen=True)
class ModelFacts:
    """What a model is to say of itself; None for what its parts say."""

    name: str | None = None
    license: str | None = None
    domain: str | None = None
    alignment: Alignment | None = None
    parent: Bundle | None = None
    """The model from whose generator this one's was fine-tuned; None if there is none, or the parts say it."""

    def __post_init__(self) -> None:
        if self.name is not None and not NAME.fullmatch(self.name):
            raise UsageError(
                f"the name {self.name!r} is not allowed: give letters, digits, ., _ and - only, at most 100"
            )


@dataclass(frozen=True)
class SavedModel:
    """The model that has been written."""

    bundle: Bundle
    probe: dict[str, Any]
    """Of each part: what it answered when it was run once."""
    notes: tuple[str, ...]


def read_checkpoints(
    paths: Sequence[Path], *, precision: Precision = "float32", attribute: str = "", hints: Hints | None = None
) -> tuple[list[ModelParts], dict[str, Vector]]:
    """The parts of the checkpoints, and the directions, by name, of the files that hold some.

    `precision` is that of the parts on disk; `attribute` is what a reference-edit checkpoint was trained for, which is
    not in the file, and `hints` what else is not. Raises InputError for a file that cannot be used, and UsageError for
    directions beside parts, or two of one name.
    """
    if attribute and not NAME.fullmatch(attribute):
        raise UsageError(f"the attribute {attribute!r} is not a name: give letters, digits, - and _ only")
    sources: list[ModelParts] = []
    found: dict[str, Vector] = {}
    for path in paths:
        _refuse_codes(path)
        is_numpy = path.suffix.lower() in {".npy", ".npz"} and path.is_file()
        file = None if is_numpy else load_file(path)
        try:
            some = directions_of(file.content if file else read_arrays(path), path.stem)
        except ValueError as error:
            raise InputError(f"{path} holds directions, but {error}") from error
        if some is None and file is None:
            raise InputError(f"{path} holds neither a model nor directions: give another file")
        if file and some is None:
            sources.append(from_checkpoint(file, precision=precision, attribute=attribute, hints=hints))
            continue
        assert some is not None
        if bad := next((name for name in some if not NAME.fullmatch(name)), None):
            raise InputError(f"{path} holds directions, but one cannot be called {bad!r}: rename the file")
        if twice := sorted(found.keys() & some.keys()):
            raise UsageError(f"two files hold a direction {twice[0]!r}: rename one of them")
        found |= some
    if found and sources:
        raise UsageError("directions go to a file of their own: convert them apart, into NAME.safetensors")
    return sources, found


def _refuse_codes(path: Path) -> None:
    """Raise InputError for a file of latent codes, which are no model and lead nowhere as directions."""
    if not path.is_file() or path.stat().st_size > MAX_CODES_BYTES:
        return
    try:
        holds_codes = is_latent_path(path) or is_surely_codes(read_arrays(path), path.stem)
    except (ValueError, OSError):
        return  # whoever reads it says what is wrong
    if holds_codes:
        raise InputError(
            f"{path} holds latent codes, which are no part of a model: import them",
            action="import codes",
            on=str(path),
        )


def hints_of(encoder_type: str | None = None, input_size: str | None = None, label: int | None = None) -> Hints:
    """Hints in words: "psp", "e4e" or the name of a class; width and height as in "256x192". Raises UsageError."""
    named = _ENCODER_TYPES.get((encoder_type or "").lower(), encoder_type)
    if named is not None and named not in KINDS:
        raise UsageError(f"{named!r} is no type of encoder: choose psp, e4e, or from {', '.join(KINDS)}")
    size = re.fullmatch(r"(\d{1,5})(?:[x×,](\d{1,5}))?", input_size or "256")
    if size is None:
        raise UsageError(f"{input_size!r} is no size: give width and height, such as 256x192")
    width, height = int(size[1]), int(size[2] or size[1])
    return Hints(named, (height, width) if input_size else None, label)


def find_target(path: Path) -> Bundle | None:
    """The model that is at `path` already. Raises OutputError if nothing can be written there."""
    if not path.resolve().parent.is_dir():
        raise OutputError(f"cannot write {path}: its folder does not exist, so create it first")
    if path.is_file() and path.suffix != DIRECTIONS_SUFFIX:
        raise OutputError(f"cannot write {path}: a model is a folder, and this is a file, so choose another name")
    if path.suffix == DIRECTIONS_SUFFIX or not path.is_dir() or not any(path.iterdir()):
        return None
    return Bundle.load(path)


def save_model(
    path: Path,
    sources: Sequence[ModelParts],
    facts: ModelFacts,
    *,
    target: Bundle | None = None,
    replacing: bool = False,
) -> SavedModel:
    """Join the parts of `sources` and write the model; what is at `path` stays as it is if anything fails.

    Args:
        path: a folder.
        sources: what to join.
        facts: what the model says of itself.
        target: the model that is there already, to which the parts are added.
        replacing: parts may take the place of those of `target`.

    Raises:
        BundleError: the parts do not belong together.
        UsageError: the path is a file's, or gives the model no name.
        OutputError: it cannot be written.
    """
    if path.suffix == DIRECTIONS_SUFFIX:
        raise UsageError(f"a model is a folder, and {path} names a file: leave out the suffix")
    if facts.parent is not None:
        sources = [_derived(one, facts.parent) for one in sources]
    joined = merge([*([from_bundle(target)] if target else []), *sources], replacing=replacing)
    name = facts.name or (target.name if target else re.sub(r"[^A-Za-z0-9._-]+", "-", path.resolve().name))
    if not NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot be the name of a model: give one", argument="name")
    training = dict(target.training) if target else {}
    probe = dict(joined.probes)
    training |= {"parts": dict(joined.origin), "probe": probe}
    bundle = Bundle.save(
        path,
        name=name,
        domain=facts.domain if facts.domain is not None else joined.domain,
        license=facts.license if facts.license is not None else joined.license,
        description=target.description if target else "",
        alignment=facts.alignment or joined.alignment,
        attributes=joined.attributes,
        training=training,
        parts=joined.parts,
        generator_fingerprint=joined.fingerprint,
        reconstruction_limit=joined.reconstruction_limit,
        derived_from=joined.derived_from,
        readme=_card(joined, name, sources, target),
        overwrite=target is not None,
    )
    return SavedModel(bundle, probe, joined.notes)


def _derived(source: ModelParts, parent: Bundle) -> ModelParts:
    """The same parts, a generator's as fine-tuned from that of `parent`. Raises BundleError."""
    if "generator" not in source.parts:
        return source
    config = cast(GeneratorConfig, source.parts["generator"][0])
    if not parent.space or parent.code_shape != (config.style_count, config.style_dim):
        raise BundleError(
            f"{source.label} cannot derive from {parent.name!r}: its codes are of {config.style_count} x "
            f"{config.style_dim} numbers, not of {parent.code_shape}; name the model that it was fine-tuned from"
        )
    return replace(source, derived_from=parent.space)


def save_directions(path: Path, found: dict[str, Vector], *, overwrite: bool = False) -> None:
    """Write directions to a file. Raises UsageError and OutputError."""
    if path.suffix != DIRECTIONS_SUFFIX:
        raise UsageError(f"directions go to a file: write them to {path.name}{DIRECTIONS_SUFFIX}")
    if path.exists() and not overwrite:
        raise OutputError(
            f"cannot write {path}: it exists already, so choose another name or replace it", argument="overwrite"
        )
    Directions(found).save(path)


def _card(joined: ModelParts, name: str, sources: Sequence[ModelParts], target: Bundle | None) -> str:
    """That of the target with what is added, or a new one."""
    if target and (old := read_card(target)):
        added = [row for one in sources for row in table(one)]
        return "\n".join([old.rstrip(), "", "## Added", "", *dict.fromkeys(added), ""])
    lines = ["Put together by `stedit weights` from the files below.", "", *table(joined), ""]
    lines += [f"Licence: {joined.license or 'unknown, so treat it as non-commercial'}."]
    return model_card(name, "other", lines, tags=("stylegan2", "gan-inversion", "image-editing"))
