"""What a training leaves: a bundle with its new parts, their provenance and a model card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from stedit._version import __version__
from stedit.storage.bundle import Bundle
from stedit.storage.bundle_config import AttributeSpec, PartConfig
from stedit.storage.model_card import model_card, read_card
from stedit.training.config import Config, TrainingConfig


def provenance(config: Config, **facts: Any) -> dict[str, Any]:
    """What a bundle's `training` says of a part: the command, the code, the keys that decide the result, and facts."""
    values = {"stedit": __version__, **facts, "config": config.provenance_keys()}
    return {"command": f"stedit train {config.command}", **values}


def started_from(init_from: str) -> dict[str, str]:
    """The name of the model that a training began with, if there is one, for its record."""
    return {"init_from": Path(init_from).name} if init_from else {}


def training_card(config: TrainingConfig, name: str, license_name: str, images: int, domain: str = "") -> str:
    """The card of a model that a training made from `images` images, to be filled in by who trained it."""
    lines = [
        domain or "Describe here what the images show.",
        "",
        f"- trained on: {images} images",
        f"- steps: {config.steps}",
        "",
        "State here the source and licence of the images, how good the model is, and what it is weak at.",
    ]
    return model_card(name, license_name, lines)


def with_parts(
    base: Bundle,
    path: Path,
    parts: Mapping[str, tuple[PartConfig, Mapping[str, Tensor]]],
    training: Mapping[str, Any],
    *,
    attributes: tuple[AttributeSpec, ...] | None = None,
    overwrite: bool,
) -> Bundle:
    """Write `base` with new or replaced parts to `path`; the other parts stay as they are, byte for byte.

    Args:
        base: the model that the parts belong to; it is not changed, unless `path` is its folder.
        path: of the new bundle.
        parts: by name, (config, state dict).
        training: provenance of each new part, by name.
        attributes: of a new classifier or judge; None keeps the base's.
        overwrite: whether a bundle at `path` may be replaced.

    Raises:
        BundleError, OutputError: as `Bundle.save`.
    """
    return Bundle.save(
        path,
        name=base.name,
        domain=base.domain,
        license=base.license,
        description=base.description,
        alignment=base.alignment,
        attributes=base.attributes if attributes is None else attributes,
        training={**base.training, **training},
        parts={**base.stored_parts(), **parts},
        readme=read_card(base),
        generator_fingerprint=base.generator_fingerprint,
        derived_from=base.space if "generator" in parts and "generator" in base.parts else base.derived_from,
        reconstruction_limit=None if {"generator", "encoder"} & set(parts) else base.reconstruction_limit,
        overwrite=overwrite,
    )
