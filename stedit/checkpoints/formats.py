"""The formats of other projects' checkpoints, and the parts that each one holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stedit.checkpoints import arcface, lcnet, nvidia, psp, reference_edit, rosinality, style_transformer, tensorflow
from stedit.checkpoints.search import candidates, describe, missing, prefixes
from stedit.checkpoints.state_dicts import Checkpoint, Hints, Part, require_distinct, subtree
from stedit.errors import InputError
from stedit.storage.directions import printable

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
        "a pSp, e4e or ReStyle encoder",
        frozenset({"input_layer.0.weight", "body.0.res_layer.1.weight", "styles.0.linear.weight"}),
        psp.build,
        license="MIT",
    ),
    Format(
        "an encoder into W",
        frozenset({"input_layer.0.weight", "body.0.res_layer.1.weight", "linear.weight"}),
        psp.build,
        license="MIT",
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


def convert(content: Any, hints: Hints | None = None) -> Conversion:
    """Build the parts that a loaded checkpoint holds.

    Args:
        content: what `load_file` gives: tensors by name, such a dictionary wrapped in others, or NVIDIA's networks.
        hints: what the file does not say.

    Returns:
        The format, the parts, and in `checkpoint.notes` what had to be made up or left out.

    Raises:
        InputError: no known format, a tensor missing or of the wrong shape, or sizes that no network here can have.
    """
    try:
        alone = tensorflow.network_of(content)
        if alone is None and isinstance(content, Mapping):
            alone = nvidia.network_of(content)
    except ValueError as error:
        raise InputError(f"the checkpoint cannot be used: {error}") from error
    if alone is None and not isinstance(content, Mapping):
        raise InputError("it holds no dictionary of tensors: give a checkpoint")
    known, found = recognise(content, [alone] if alone else list(candidates(content)))
    found = replace(found, hints=hints or Hints())
    try:
        require_distinct(found.tensors)
        return Conversion(known, known.build(found), found)
    except (ValueError, RuntimeError) as error:  # RuntimeError is torch's word for shapes that do not fit together
        sentence = f"the checkpoint looks like {known.name}, but {error}"
        raise InputError(sentence, argument=getattr(error, "argument", "")) from error


def recognise(content: Any, found: Sequence[Checkpoint]) -> tuple[Format, Checkpoint]:
    """The first format that one of the dictionaries is of, its names without what stands before them.

    Raises InputError, naming what is there and what it is nearest to, if there is none.
    """
    for one in found:
        if any("hypernet" in name.split(".") for name in one.tensors):
            raise InputError(
                "it is a HyperStyle checkpoint, whose network changes the generator's weights for each picture, which "
                "cannot be converted: convert the W encoder that it was trained with"
            )
        for known in FORMATS:
            for prefix in prefixes(one.tensors, known.keys):
                inner = subtree(one.tensors, prefix)
                if left := [name for name in one.tensors if not name.startswith(prefix)]:
                    one.notes.append(
                        f"{len(left)} tensors outside {prefix}* are left out, such as {printable(left[0])[:60]}"
                    )
                return known, replace(one, tensors=inner)
    lacking = {
        known: min(len(missing(one.tensors, known.keys)) / len(known.keys) for one in found) if found else 1
        for known in FORMATS
    }
    nearest = min(FORMATS, key=lambda known: lacking[known])
    here = describe(content) if isinstance(content, Mapping) and len(found) != 1 else describe(found[0].tensors)
    if lacking[nearest] < 1:
        fullest = min(found, key=lambda one: len(missing(one.tensors, nearest.keys)))
        gap = ", ".join(missing(fullest.tensors, nearest.keys))
        raise InputError(
            f"the checkpoint is of no known format: it holds {here}; nearest is {nearest.name}, which has {gap} too"
        )
    names = ", ".join(known.name for known in FORMATS)
    raise InputError(f"the checkpoint is of no known format: it holds {here}; expected {names}")
