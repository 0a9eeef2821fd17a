"""Checkpoints of other projects -> the parts of a bundle, recognised by their tensors' names, sized by their shapes.

    convert(checkpoint)
        canonicalise    unwrap `g_ema` or `state_dict`, drop DataParallel's `module.`      state_dicts.py
        recognise       the first of FORMATS whose key tensors are all there
        build           deduce the config, rename the tensors, compute what is missing     one file for each format

Nothing here reads a file: dictionaries of tensors in, (config, state dict) of our networks out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from stedit.checkpoints import arcface, lcnet, reference_edit, rosinality, style_transformer
from stedit.checkpoints.state_dicts import Checkpoint, Part, canonicalise
from stedit.errors import InputError


@dataclass(frozen=True)
class Format:
    """A kind of checkpoint: what it is called, the tensors that give it away, and how to build its parts."""

    name: str
    keys: frozenset[str]
    build: Callable[[Checkpoint], dict[str, Part]]


FORMATS = (
    Format(
        "a Style Transformer inversion checkpoint",
        frozenset({"encoder.z", "encoder.transformerlayer_fine.linear1.weight", "decoder.input.input"}),
        style_transformer.build,
    ),
    Format(
        "a Style Transformer reference-edit checkpoint",
        frozenset({"encoder.transformerlayer.linear1.weight", "decoder.input.input"}),
        reference_edit.build,
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
    ),
    Format(
        "an ArcFace IR-SE network",
        frozenset({"input_layer.0.weight", "body.0.res_layer.1.weight", "output_layer.3.weight"}),
        arcface.build,
    ),
)


def convert(checkpoint: Mapping[str, Any]) -> dict[str, Part]:
    """Build the parts that a loaded checkpoint holds.

    Args:
        checkpoint: what `torch.load` gives: tensors by name, or such a dictionary wrapped in another.

    Returns:
        "generator", "encoder", "classifier", "editor" or "identity" -> (config, state dict, float32).

    Raises:
        InputError: no known format, a tensor missing or of the wrong shape, or sizes that no network here can have.
    """
    canonical = canonicalise(checkpoint)
    found = recognise(canonical)
    try:
        return found.build(canonical)
    except (ValueError, RuntimeError) as error:  # RuntimeError is torch's word for shapes that do not fit together
        raise InputError(f"the checkpoint looks like {found.name}, but {error}") from error


def recognise(checkpoint: Checkpoint) -> Format:
    """The format of a canonical checkpoint. Raises InputError if it is none of FORMATS."""
    for known in FORMATS:
        if known.keys <= checkpoint.tensors.keys():
            return known
    raise InputError(f"the checkpoint is of no known format: expected {', '.join(known.name for known in FORMATS)}")
