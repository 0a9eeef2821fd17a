"""pSp's and e4e's checkpoints, and their relatives': encoder and generator, or the encoder alone.

Tensors of pSp and e4e are alike; `opts` tells which of the two it is, or else the user. ReStyle's encoders take six
channels, and those of its faces read all styles from the coarsest features. Encoders into W have one linear layer.
"""

from __future__ import annotations

from dataclasses import asdict

from torch import Tensor

from stedit.checkpoints import rosinality
from stedit.checkpoints.arcface import backbone_config
from stedit.checkpoints.state_dicts import Checkpoint, Part, Tensors, UndecidedError, count, remap, size, subtree
from stedit.checkpoints.style_transformer import MODULES, input_size, mean_of_styles
from stedit.models.config import EncoderConfig, GeneratorConfig
from stedit.models.psp_encoder import PspEncoder, head_depths, level_of

KINDS = {  # opts.encoder_type -> ours
    "GradualStyleEncoder": "psp",
    "BackboneEncoder": "psp",
    "Encoder4Editing": "e4e",
    "ProgressiveBackboneEncoder": "e4e",
    "BackboneEncoderUsingLastLayerIntoW": "w",
    "SingleStyleCodeEncoder": "w",
    "WEncoder": "w",
}
CHANNELS = {3: False, 6: True}  # of the input -> iterative: image and rendering


def build(checkpoint: Checkpoint) -> dict[str, Part]:
    """Encoder and, where it is there, the generator, whose mapping network is untouched by the encoder's training."""
    prefix = "encoder." if "encoder.input_layer.0.weight" in checkpoint.tensors else ""
    tensors = subtree(checkpoint.tensors, prefix)
    channels = size(tensors, "input_layer.0.weight", 1)
    if channels not in CHANNELS:
        raise ValueError(f"its encoder takes pictures of {channels} channels (a sketch or a segmentation)")
    if "decoder.input.input" not in checkpoint.tensors:
        return {"encoder": _encoder(checkpoint, tensors, None, None)}
    generator, state = rosinality.generator(checkpoint, "decoder.")
    return {"generator": (generator, state), "encoder": _encoder(checkpoint, tensors, generator, state["mapping.mean"])}


def _encoder(
    checkpoint: Checkpoint, tensors: Tensors, generator: GeneratorConfig | None, generator_mean: Tensor | None
) -> Part:
    kind = _kind(checkpoint, tensors)
    heads = count(tensors, "styles.{}.linear.weight")
    styles = generator.style_count if generator else heads or _styles_of_mean(checkpoint)
    if kind != "w" and heads < styles:
        raise ValueError(f"its encoder gives {heads} styles, its generator takes {styles}")
    if kind != "w" and heads > styles:
        checkpoint.notes.append(f"its encoder gives {heads} styles, of which its generator takes the first {styles}")
    height, width = input_size(checkpoint, 2 ** (styles // 2 + 1))
    pyramid = kind == "w" or "latlayer1.weight" in tensors
    config = EncoderConfig(
        **asdict(backbone_config(tensors)),
        kind=kind,
        input_height=height,
        input_width=width,
        style_count=styles,
        style_dim=size(tensors, "linear.weight" if kind == "w" else "styles.0.linear.weight", 0),
        pyramid=pyramid,
        iterative=CHANNELS[size(tensors, "input_layer.0.weight", 1)],
    )
    if kind != "w":
        _require_depths(tensors, config)
    own = remap(lambda: PspEncoder(config), encoder_name, tensors)
    mean = generator_mean if checkpoint.latent_avg is None else checkpoint.latent_avg
    if mean is None:
        checkpoint.notes.append("the mean of w is not in the file: the encoder's codes begin at zero")
    started_from_mean = checkpoint.opts.get("start_from_latent_avg", True) is not False
    own["mean"] = mean_of_styles(mean if started_from_mean else None, config)
    return config, own


def encoder_name(ours: str) -> str | None:
    """Our name of one of the encoder's tensors -> theirs."""
    first, _, rest = ours.partition(".")
    if first == "linear":
        return ours
    if first == "heads":
        style, kind, *more = rest.split(".")
        if kind == "convs":
            return f"styles.{style}.convs.{2 * int(more[0])}.{more[1]}"
        return f"styles.{style}.{kind}.{more[0]}"
    for module, foreign in MODULES.items():
        if ours.startswith(f"{module}."):
            return ours.replace(module, foreign, 1)
    return None  # mean


def _kind(checkpoint: Checkpoint, tensors: Tensors) -> str:
    """By what the user says, then by the options, then by tensors."""
    stated = checkpoint.hints.encoder_type or checkpoint.opts.get("encoder_type")
    if "styles.0.linear.weight" not in tensors and "linear.weight" in tensors:
        return "w"
    if not isinstance(stated, str):
        if "stylegan_size" in checkpoint.opts:  # e4e's name for what is pSp's output_size
            return "e4e"
        raise UndecidedError("nothing in it tells pSp from e4e, whose tensors are alike: name its type", "encoder_type")
    if stated not in KINDS or KINDS[stated] == "w":
        raise ValueError(f"its encoder is {stated[:60]!r}, and only {', '.join(KINDS)} are supported")
    return KINDS[stated]


def _styles_of_mean(checkpoint: Checkpoint) -> int:
    """Of an encoder into W without its generator: its mean may have a row for each style."""
    mean = checkpoint.latent_avg
    if mean is None or mean.ndim != 2 or len(mean) < 2:
        raise ValueError("it is an encoder into W without its generator, so nothing tells how many styles it is for")
    return len(mean)


def _require_depths(tensors: Tensors, config: EncoderConfig) -> None:
    """Raise ValueError if a head has another number of convolutions than an input of the config's size needs."""
    depths = head_depths(config)
    for style in range(config.style_count):
        # they stand between activations, so only even numbers are taken
        found = sum(f"styles.{style}.convs.{2 * k}.weight" in tensors for k in range(2 * depths[2]))
        if found != depths[level_of(style, config)]:
            raise UndecidedError(
                f"its encoder reads style {style} by {found} convolutions, which is not for images of "
                f"{config.input_width} x {config.input_height} px: state their size",
                "input_size",
            )
