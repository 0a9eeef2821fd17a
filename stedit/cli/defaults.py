"""A user's own defaults: variables STEDIT_NAME of the environment, and `[defaults]` in a config.toml."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stedit.errors import UsageError, describe_cause

PREFIX = "STEDIT"

NAMES = frozenset(
    {
        *("model", "device", "precision", "batch_size", "noise_mode", "seed"),
        *("align", "face", "detector", "max_pixels", "result", "quality", "keep_gps", "no_provenance"),
        *("recursive", "json", "quiet", "verbose", "debug"),
    }
)
"""Options that may have another default: those that say how stedit works, not what is to be made of a file."""


def config_path() -> Path:
    """Where the defaults of this user are, whether or not there are any."""
    from platformdirs import user_config_path

    return user_config_path("stedit", appauthor=False) / "config.toml"


def read_defaults() -> dict[str, Any]:
    """Options and their values, as `[defaults]` says; {} without a file.

    Raises UsageError, with the file's name, for what is no TOML, and for keys that are no such options.
    """
    path = config_path()
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path} ({describe_cause(error)}): repair it, or remove it") from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is no TOML ({describe_cause(error)}): repair it, or remove it") from error
    if unknown := sorted(values.keys() - {"defaults"}):
        raise UsageError(f"{path} has a table or key {unknown[0]!r}, and only [defaults] is read: put defaults there")
    found = values.get("defaults", {})
    if not isinstance(found, dict):
        raise UsageError(f"{path}: defaults is no table: write [defaults] in a line of its own, and keys below it")
    defaults = {key.replace("-", "_"): value for key, value in found.items()}
    for name, value in defaults.items():
        if name not in NAMES:
            listed = ", ".join(sorted(NAMES))
            raise UsageError(f"{path} sets {name!r}, which has no default to set: choose from {listed}")
        if not isinstance(value, str | int | float):
            raise UsageError(f"{path} sets {name!r} to {value!r}: give text, a number, true or false")
    return defaults


def environment() -> dict[str, str]:
    """The variables that set defaults, by option."""
    variables = {f"{PREFIX}_{name.upper()}": name for name in NAMES}
    return {name: os.environ[variable] for variable, name in variables.items() if variable in os.environ}


def spread(group: Any, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """`Context.default_map` of a group: the same for each of its commands but trainings, which have a config."""
    return {
        name: spread(command, defaults) if hasattr(command, "commands") else dict(defaults)
        for name, command in group.commands.items()
        if name != "train"
    }
