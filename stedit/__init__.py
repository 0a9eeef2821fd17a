"""Invert and edit faces (and other domains) with StyleGAN2 and the Style Transformer.

    from stedit import Engine

    engine = Engine.from_pretrained()
    engine.edit("me.jpg", "smile").save("smiling.jpg")

Names are imported when they are first used, so that `import stedit` costs no torch.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

from stedit._version import __version__ as __version__

# Threads that spin while they wait for each other make torch several times slower beside other work on the machine.
# OpenMP reads this when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if TYPE_CHECKING:  # "as" makes a name public
    from stedit import batch as batch
    from stedit.engine import Engine as Engine
    from stedit.errors import AttributeNameError as AttributeNameError
    from stedit.errors import BundleError as BundleError
    from stedit.errors import DeviceError as DeviceError
    from stedit.errors import HubError as HubError
    from stedit.errors import ImageError as ImageError
    from stedit.errors import InputError as InputError
    from stedit.errors import LatentError as LatentError
    from stedit.errors import MissingPartError as MissingPartError
    from stedit.errors import OutputError as OutputError
    from stedit.errors import SteditError as SteditError
    from stedit.errors import TrainingError as TrainingError
    from stedit.errors import UsageError as UsageError
    from stedit.imaging.edited import WriteOptions as WriteOptions
    from stedit.imaging.edited import write_edited as write_edited
    from stedit.imaging.files import DecodedImage as DecodedImage
    from stedit.imaging.files import decode_image as decode_image
    from stedit.imaging.files import read_image as read_image
    from stedit.imaging.files import write_image as write_image
    from stedit.imaging.provenance import Provenance as Provenance
    from stedit.imaging.provenance import read_provenance as read_provenance
    from stedit.imaging.sheets import sheet as sheet
    from stedit.imaging.sources import ImageReader as ImageReader
    from stedit.inversion.options import InversionOptions as InversionOptions
    from stedit.inversion.options import InversionProgress as InversionProgress
    from stedit.inversion.options import TuningOptions as TuningOptions
    from stedit.photo.compositing import composite as composite
    from stedit.photo.photograph import FaceSearch as FaceSearch
    from stedit.photo.photograph import Photo as Photo
    from stedit.photo.transfer import estimate_change as estimate_change
    from stedit.storage.bundle import Bundle as Bundle
    from stedit.storage.directions import Directions as Directions
    from stedit.storage.latents import LatentCode as LatentCode
    from stedit.storage.tunings import Tuning as Tuning

_MODULES = {  # of each, the public names
    "stedit.engine": "Engine",
    "stedit.errors": "AttributeNameError BundleError DeviceError HubError ImageError InputError "
    "LatentError MissingPartError OutputError SteditError TrainingError UsageError",
    "stedit.imaging.edited": "WriteOptions write_edited",
    "stedit.imaging.files": "DecodedImage decode_image read_image write_image",
    "stedit.imaging.provenance": "Provenance read_provenance",
    "stedit.imaging.sheets": "sheet",
    "stedit.imaging.sources": "ImageReader",
    "stedit.inversion.options": "InversionOptions InversionProgress TuningOptions",
    "stedit.photo.compositing": "composite",
    "stedit.photo.photograph": "FaceSearch Photo",
    "stedit.photo.transfer": "estimate_change",
    "stedit.storage.bundle": "Bundle",
    "stedit.storage.directions": "Directions",
    "stedit.storage.latents": "LatentCode",
    "stedit.storage.tunings": "Tuning",
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names.split()}

__all__ = [*sorted(_HOMES), "__version__", "batch"]  # noqa: PLE0604


def __getattr__(name: str) -> object:
    if name == "batch":
        return import_module("stedit.batch")
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
