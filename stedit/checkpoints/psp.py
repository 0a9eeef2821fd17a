"""pSp's and e4e's checkpoints: encoder and generator. Their tensors are alike; `opts` tells which of the two it is."""

from __future__ import annotations

from dataclasses import asdict

from stedit.checkpoints import rosinality
from stedit.checkpoints.arcface import backbone_config
from stedit.checkpoints.state_dicts import Checkpoint, Part, count, remap, size, subtree
from stedit.checkpoints.style_transformer import MODULES, input_size, mean_of_styles
from stedit.models.config import EncoderConfig
from stedit.models.psp_encoder import PspEncoder, head_depths, level_of

KINDS = {"GradualStyleEncoder": "psp", "Encoder4Editing": "e4e"}  # opts.encoder_type -> ours
CHANNELS = 3


def build(checkpoint: Checkpoint) -> dict[str, Part]:
    """Encoder and generator, whose mapping network is untouched by the encoder's training."""
    kind = _kind(checkpoint.opts.get("encoder_type"))
    tensors = subtree(checkpoint.tensors, "encoder.")
    channels = size(tensors, "input_layer.0.weight", 1)
    if channels != CHANNELS:
        raise ValueError(f"its encoder takes pictures of {channels} channels (a sketch, a segmentation, or ReStyle's)")
    generator, state = rosinality.generator(checkpoint, "decoder.")
    height, width = input_size(checkpoint.opts, generator.resolution)
    config = EncoderConfig(
        **asdict(backbone_config(tensors)),
        kind=kind,
        input_height=height,
        input_width=width,
        style_count=count(tensors, "styles.{}.linear.weight"),
        style_dim=size(tensors, "styles.0.linear.weight", 0),
    )
    if config.style_count != generator.style_count:
        raise ValueError(f"its encoder gives {config.style_count} styles, its generator takes {generator.style_count}")
    depths = head_depths(config)
    for style in range(config.style_count):
        # they stand between activations, so only even numbers are taken
        found = sum(f"styles.{style}.convs.{2 * k}.weight" in tensors for k in range(2 * depths[2]))
        if found != depths[level_of(style)]:
            raise ValueError(f"its encoder reads style {style} by {found} convolutions: this variant is unknown")
    own = remap(lambda: PspEncoder(config), encoder_name, tensors)
    mean = state["mapping.mean"] if checkpoint.latent_avg is None else checkpoint.latent_avg
    started_from_mean = checkpoint.opts.get("start_from_latent_avg", True) is not False
    own["mean"] = mean_of_styles(mean if started_from_mean else None, config)
    return {"generator": (generator, state), "encoder": (config, own)}


def encoder_name(ours: str) -> str | None:
    """Our name of one of the encoder's tensors -> theirs."""
    first, _, rest = ours.partition(".")
    if first == "heads":
        style, kind, *more = rest.split(".")
        if kind == "convs":
            return f"styles.{style}.convs.{2 * int(more[0])}.{more[1]}"
        return f"styles.{style}.{kind}.{more[0]}"
    for module, foreign in MODULES.items():
        if ours.startswith(f"{module}."):
            return ours.replace(module, foreign, 1)
    return None  # mean


def _kind(encoder_type: object) -> str:
    if encoder_type is None:
        raise ValueError("its opts, which tell pSp from e4e (encoder_type), are missing: their tensors are alike")
    if encoder_type not in KINDS:
        raise ValueError(f"its encoder is {str(encoder_type)[:60]!r}, and only {' and '.join(KINDS)} are supported")
    return KINDS[str(encoder_type)]
