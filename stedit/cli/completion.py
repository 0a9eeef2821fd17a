"""What the shell offers: names of attributes, directions and models. Nothing is fetched or loaded for it."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from stedit.errors import SteditError
from stedit.storage.embedded import DEFAULT_MODEL, embedded_bundles


def complete_attribute(context: typer.Context, incomplete: str) -> list[str]:
    """Offer the friendly names of the model's attributes, also after a comma; `no-` ones once that is typed."""
    from stedit.editing.attributes import aliases, friendly_name

    known = attributes_of(context.params.get("model") or "")
    before, comma, name = incomplete.rpartition(",")
    offered = [friendly_name(attribute, sign) for attribute in known for sign in (1, -1)]
    offered += [alias for attribute in known for sign in (1, -1) for alias in aliases(attribute, sign)]
    offered = sorted(offer for offer in offered if name.startswith("no-") or not offer.startswith("no-"))
    return [before + comma + offer for offer in dict.fromkeys(offered) if offer.startswith(name)]


def complete_direction(incomplete: str) -> list[str]:
    """Offer the directions that need no file."""
    from stedit.editing.directions import DIRECTION_NAMES

    return [name for name in (*DIRECTION_NAMES, "linear:", "sefa:") if name.startswith(incomplete)]


def complete_model(incomplete: str) -> list[str]:
    """Offer the embedded models and those pulled from the Hub; the shell itself offers folders."""
    from stedit.hub import cached_models

    names = [*embedded_bundles(), *(model.name for model in cached_models())]
    return [name for name in names if name.startswith(incomplete)]


def attributes_of(model: str = "") -> list[str]:
    """CelebA's names of what a model knows, by default the usual one; none of a model that is not on this machine."""
    from stedit.hub import HubModelId, find_cached
    from stedit.storage.bundle import Bundle

    name = model or os.environ.get("STEDIT_MODEL") or DEFAULT_MODEL
    try:
        if name in (embedded := embedded_bundles()):
            path = embedded[name]
        elif Path(name).is_dir():
            path = Path(name)
        elif (model_id := HubModelId.parse(name)) and (cached := find_cached(model_id)):
            path = cached.path
        else:
            return []
        return [attribute.name for attribute in Bundle.load(path).attributes]
    except SteditError:
        return []
