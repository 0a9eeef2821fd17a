"""`stedit env`: what a report of a bug should say of this machine."""

from __future__ import annotations

import os
import platform
import sys
from typing import Any

from stedit._version import __version__
from stedit.cli.command import flatten_options
from stedit.cli.console import Console
from stedit.cli.defaults import config_path, environment, read_defaults
from stedit.cli.exit_codes import DONE
from stedit.cli.options import ModelOptions

_PACKAGES = ("torch", "numpy", "pillow", "opencv-python-headless", "safetensors", "huggingface_hub", "typer", "rich")
_EXTRAS = ("accelerate", "pillow-heif", "torchmetrics", "torch-fidelity", "ray", "transformers")


@flatten_options
def env(model: ModelOptions, console: Console) -> int:
    """Show versions, device, model and defaults, to report a bug.

    [bold]Examples[/]
    stedit env
    stedit env --json
    """
    from stedit.hub import cached_models
    from stedit.hub.client import cache_folder
    from stedit.runtime.devices import describe_device, thread_count

    values: dict[str, Any] = {
        "stedit": __version__,
        "python": f"{platform.python_version()}, {sys.executable}",
        "system": platform.platform(),
        "packages": _versions(_PACKAGES),
        "extras": _versions(_EXTRAS),
        "device": describe_device(model.device),
        "threads": f"{thread_count()} of {os.cpu_count()} cores",
        "model": _model(model.model),
        "cache": f"{cache_folder()}, {len(cached_models())} models",
        "config": str(config_path()) + ("" if config_path().exists() else ", not there"),
        "defaults": read_defaults(),
        "environment": environment(),
    }
    console.emit(values, "\n".join(f"{name:12} {_in_a_line(value)}" for name, value in values.items()))
    return DONE


def _versions(names: tuple[str, ...]) -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _model(name: str) -> str:
    from stedit.errors import SteditError
    from stedit.hub.find import find_bundle
    from stedit.storage.bundle import Bundle

    try:
        bundle = Bundle.load(find_bundle(name))
    except SteditError as error:
        return str(error)
    return f"{bundle.name}, {bundle.fingerprint}, {bundle.path}"


def _in_a_line(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {text}" for key, text in value.items()) or "none"
    return str(value)
