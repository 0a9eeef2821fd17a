"""The formats of other projects' checkpoints, and the parts that each one holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from stedit.checkpoints import arcface, lcnet, nvidia, psp, reference_edit, rosinality, style_transformer
from stedit.checkpoints.state_dicts import Checkpoint, Part, canonicalise, require_distinct
from stedit.errors import InputError

NVIDIA_LICENSE = "NVIDIA Source Code License (non-commercial)"


@dataclass(frozen=True)
class Format:
    """A checkpoint format: its name, the tensors by which it is recognised, and how to build its parts."""

    name: str
    keys: frozenset[str]
    build: Callable[[Checkpoint], dict[str, Part]]
    license: str = "unknown, so treat it as non-commercial"
    """Of the published files, for people."""


FORMATS = (
    Format(
        "a Style Transformer inversion checkpoint",
        frozenset({"encoder.z", "encoder.transformerlayer_fine.linear1.weight", "decoder.input.input"}),
        style_transformer.build,
        license=f"none stated by its authors; generator: {NVIDIA_LICENSE}",
    ),
    Format(
        "a Style Transformer reference-edit checkpoint",
        frozenset({"encoder.transformerlayer.linear1.weight", "decoder.input.input"}),
        reference_edit.build,
        license=f"none stated by its authors; generator: {NVIDIA_LICENSE}",
    ),
    Format(
        "a pSp or e4e checkpoint",
        frozenset({"encoder.input_layer.0.weight", "decoder.input.input"}),
        psp.build,
        license=f"MIT; generator: {NVIDIA_LICENSE}",
    ),
    Format(
        "an LCNet latent classifier",
        frozenset({"fcs.0.weight", "indep_fcs.0.weight", "output_fcs.0.weight"}),
        lcnet.build,
    ),
    Format(
        "a rosinality StyleGAN2 checkpoint",
        frozenset({"style.1.weight", "input.input", "conv1.conv.weight"}),
        rosinality.build,
        license=NVIDIA_LICENSE,
    ),
    Format(
        "an NVIDIA StyleGAN pickle",
        frozenset({"mapping.w_avg", "mapping.fc0.weight"}),
        nvidia.build,
        license=NVIDIA_LICENSE,
    ),
    Format(
        "an ArcFace IR-SE network",
        frozenset({"input_layer.0.weight", "body.0.res_layer.1.weight", "output_layer.3.weight"}),
        arcface.build,
        license="MIT code, trained on data for non-commercial research",
    ),
)


@dataclass(frozen=True)
class Conversion:
    """A converted checkpoint."""

    format: Format
    parts: dict[str, Part]
    """"generator", "encoder", "classifier", "editor" or "identity" -> (config, state dict, float32)."""
    checkpoint: Checkpoint


def convert(checkpoint: Mapping[str, Any]) -> Conversion:
    """Build the parts that a loaded checkpoint holds.

    Args:
        checkpoint: what `load_file` gives: tensors by name, or such a dictionary wrapped in another.

    Returns:
        The format, the parts, and in `checkpoint.notes` what had to be made up or left out.

    Raises:
        InputError: no known format, a tensor missing or of the wrong shape, or sizes that no network here can have.
    """
    try:
        canonical = nvidia.network_of(checkpoint) or canonicalise(checkpoint)
        require_distinct(canonical.tensors)
    except ValueError as error:
        raise InputError(f"the checkpoint cannot be used: {error}") from error
    found = recognise(canonical)
    try:
        return Conversion(found, found.build(canonical), canonical)
    except (ValueError, RuntimeError) as error:  # RuntimeError is torch's word for shapes that do not fit together
        raise InputError(f"the checkpoint looks like {found.name}, but {error}") from error


def recognise(checkpoint: Checkpoint) -> Format:
    """The format of a canonical checkpoint. Raises InputError if it is none of FORMATS."""
    for known in FORMATS:
        if known.keys <= checkpoint.tensors.keys():
            return known
    raise InputError(f"the checkpoint is of no known format: expected {', '.join(known.name for known in FORMATS)}")
