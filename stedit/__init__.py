"""Invert and edit faces (and other domains) with StyleGAN2 and the Style Transformer.

    from stedit import Engine, read_image, write_image

    engine = Engine.from_pretrained("synthface-128")
    codes = engine.invert(read_image("face.jpg"))
    write_image("smiling.png", engine.synthesise(engine.edit_by_label(codes, "smile"))[0])

Names are imported when they are first used, so that `import stedit` costs no torch.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

from stedit._version import __version__

# Threads that spin while they wait for each other make torch several times slower beside other work on the machine.
# OpenMP reads this when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if TYPE_CHECKING:
    from stedit.engine import Engine
    from stedit.errors import (
        AttributeNameError,
        BundleError,
        DeviceError,
        HubError,
        ImageError,
        InputError,
        LatentError,
        MissingPartError,
        OutputError,
        SteditError,
        TrainingError,
        UsageError,
    )
    from stedit.imaging.files import read_image, write_image
    from stedit.inversion.options import InversionOptions, InversionProgress, TuningOptions
    from stedit.photo.photograph import FaceSearch, Photo
    from stedit.storage.bundle import Bundle
    from stedit.storage.directions import Directions
    from stedit.storage.latents import LatentCode
    from stedit.storage.tunings import Tuning

__all__ = [
    "AttributeNameError",
    "Bundle",
    "BundleError",
    "DeviceError",
    "Directions",
    "Engine",
    "FaceSearch",
    "HubError",
    "ImageError",
    "InputError",
    "InversionOptions",
    "InversionProgress",
    "LatentCode",
    "LatentError",
    "MissingPartError",
    "OutputError",
    "Photo",
    "SteditError",
    "TrainingError",
    "Tuning",
    "TuningOptions",
    "UsageError",
    "__version__",
    "read_image",
    "write_image",
]

_MODULES = {
    "stedit.engine": ("Engine",),
    "stedit.imaging.files": ("read_image", "write_image"),
    "stedit.inversion.options": ("InversionOptions", "InversionProgress", "TuningOptions"),
    "stedit.photo.photograph": ("FaceSearch", "Photo"),
    "stedit.storage.bundle": ("Bundle",),
    "stedit.storage.directions": ("Directions",),
    "stedit.storage.latents": ("LatentCode",),
    "stedit.storage.tunings": ("Tuning",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in __all__:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    value = getattr(import_module(_HOMES.get(name, "stedit.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
