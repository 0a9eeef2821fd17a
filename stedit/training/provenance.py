"""What a training leaves: a bundle with its new parts, their provenance and a model card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from stedit._version import __version__
from stedit.storage.bundle import CARD_NAME, PART_CONFIGS, AttributeSpec, Bundle, PartConfig, Precision, part_type
from stedit.training.config import TrainingConfig

_PRECISIONS: dict[str, Precision] = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def provenance(config: TrainingConfig, **facts: Any) -> dict[str, Any]:
    """What a bundle's `training` says of a part: the command, the code, the keys that decide the result, and facts."""
    values = {"stedit": __version__, **facts, "config": config.provenance_keys()}
    return {"command": f"stedit train {config.command}", **values}


def started_from(init_from: str) -> dict[str, str]:
    """The name of the model that a training began with, if there is one, for its record."""
    return {"init_from": Path(init_from).name} if init_from else {}


def model_card(name: str, domain: str, license_name: str, facts: Mapping[str, str]) -> str:
    """A model card with the Hub's front matter, to be filled in by who trained the model."""
    lines = ["---", f"license: {license_name}", "library_name: stedit", "---", "", f"# {name}", ""]
    lines += [domain or "Describe here what the images show.", ""]
    lines += [f"- {fact}: {value}" for fact, value in facts.items()]
    lines += [
        "",
        "State here the source and licence of the images, how good the model is, and what it is weak at.",
        "",
    ]
    return "\n".join(lines)


def with_parts(
    base: Bundle,
    path: Path,
    parts: Mapping[str, tuple[PartConfig, Mapping[str, Tensor]]],
    training: Mapping[str, Any],
    *,
    attributes: tuple[AttributeSpec, ...] | None = None,
    overwrite: bool,
) -> Bundle:
    """Write `base` with new or replaced parts to `path`; without a new generator its fingerprint stays the same.

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
    kept: dict[str, tuple[PartConfig, Mapping[str, Tensor]]] = {
        name: parts[name]
        if name in parts
        else (PART_CONFIGS[part_type(name)].from_dict(part.config), base.read_part(name))
        for name, part in base.parts.items()
    }
    return Bundle.save(
        path,
        name=base.name,
        domain=base.domain,
        license=base.license,
        description=base.description,
        alignment=base.alignment,
        attributes=base.attributes if attributes is None else attributes,
        training={**base.training, **training},
        parts={**kept, **parts},
        readme=(base.path / CARD_NAME).read_text(encoding="utf-8") if (base.path / CARD_NAME).is_file() else "",
        dtype=_precision(base),
        generator_fingerprint=base.generator_fingerprint,
        reconstruction_limit=None if {"generator", "encoder"} & set(parts) else base.reconstruction_limit,
        overwrite=overwrite,
    )


def _precision(base: Bundle) -> Precision:
    """Which numbers the base's generator is stored in; storing it in others would change its fingerprint."""
    part = base.parts.get("generator") or next(iter(base.parts.values()))
    with safe_open(base.path / part.file, framework="numpy") as file:
        types = Counter(file.get_slice(key).get_dtype() for key in file.keys())  # noqa: SIM118 - it is no dict
    return next(_PRECISIONS[name] for name, _ in types.most_common() if name in _PRECISIONS)
