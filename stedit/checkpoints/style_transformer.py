"""The Style Transformer's inversion checkpoints: encoder and generator, faces at 1024 px or cars at 512 px."""

from __future__ import annotations

from dataclasses import asdict

import torch
from torch import Tensor

from stedit.checkpoints import rosinality
from stedit.checkpoints.arcface import backbone_config
from stedit.checkpoints.state_dicts import Checkpoint, Part, Tensors, finite, remap, size, subtree
from stedit.models.config import EncoderConfig, GeneratorConfig
from stedit.models.style_transformer import StyleTransformer

HEADS = 4  # of the published layers; shapes do not tell

# Height and width that the encoder was trained on, by the generator's resolution: of cars at 512 px, as published.
INPUT_SIZES = {512: (192, 256)}
DEFAULT_INPUT_SIZE = (256, 256)

# ours -> theirs, the first part of names
MODULES = {
    "backbone.input_layer": "input_layer",
    "backbone.body": "body",
    "lateral_medium": "latlayer1",
    "lateral_fine": "latlayer2",
    "coarse": "transformerlayer_coarse",
    "medium": "transformerlayer_medium",
    "fine": "transformerlayer_fine",
}


def build(checkpoint: Checkpoint) -> dict[str, Part]:
    """Encoder and generator.

    The generator's mapping network was trained on together with the encoder, to map the encoder's z tokens: images of
    random z are not those of the original generator.
    """
    config, state = rosinality.generator(checkpoint, "decoder.")
    return {"generator": (config, state), "encoder": encoder(checkpoint, config, state)}


def encoder(checkpoint: Checkpoint, generator: GeneratorConfig, state: Tensors) -> Part:
    """The encoder for a generator; its queries are its z tokens as that generator's mapping network maps them."""
    tensors = subtree(checkpoint.tensors, "encoder.")
    height, width = input_size(checkpoint, generator.resolution)
    tokens = size(tensors, "z", 1)
    if tokens < generator.style_count:
        raise ValueError(f"its encoder gives {tokens} styles, and its generator takes {generator.style_count}")
    config = EncoderConfig(
        **asdict(backbone_config(tensors)),
        input_height=height,
        input_width=width,
        style_count=generator.style_count,
        style_dim=size(tensors, "z", 2),
        heads=HEADS,
        feedforward=size(tensors, "transformerlayer_fine.linear1.weight", 0),
        extra_queries=tokens - generator.style_count,
    )
    own = remap(lambda: StyleTransformer(config), encoder_name, tensors)
    own["queries"] = rosinality.mapping_network(generator, state)(finite("z", tensors["z"])[0])
    own["mean"] = mean_of_styles(checkpoint.latent_avg, config)
    return config, own


def input_size(checkpoint: Checkpoint, resolution: int) -> tuple[int, int]:
    """(height, width) of the pictures that an encoder was trained on."""
    if checkpoint.hints.input_size is not None:
        return checkpoint.hints.input_size
    data = checkpoint.opts.get("dataset_type")
    if isinstance(data, str):
        return INPUT_SIZES[512] if "cars" in data else DEFAULT_INPUT_SIZE
    return INPUT_SIZES.get(resolution, DEFAULT_INPUT_SIZE)


def encoder_name(ours: str) -> str | None:
    """Our name of one of the encoder's tensors -> theirs."""
    for module, foreign in MODULES.items():
        if ours.startswith(f"{module}."):
            return ours.replace(module, foreign, 1)
    return None  # queries, mean


def mean_of_styles(latent_avg: Tensor | None, config: EncoderConfig) -> Tensor:
    """Spread `latent_avg`, (D,), (1, D) or (N, D), over the styles; it is absent where training started from zero."""
    shape = (config.style_count, config.style_dim)
    if latent_avg is None:
        return torch.zeros(shape)
    rows = latent_avg if latent_avg.ndim == 2 else latent_avg[None]
    # encoders have more styles than their generators read, and so may the mean have
    if rows.ndim != 2 or rows.shape[1] != shape[1] or not (len(rows) == 1 or len(rows) >= shape[0]):
        raise ValueError(f"latent_avg has the shape {tuple(latent_avg.shape)}, which cannot be added to codes {shape}")
    mean = finite("latent_avg", latent_avg)
    return (mean[: config.style_count] if mean.ndim == 2 else mean).expand(shape).clone()
