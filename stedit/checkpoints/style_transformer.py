"""The Style Transformer's inversion checkpoints: encoder and generator, faces at 1024 px or cars at 512 px."""

from __future__ import annotations

from dataclasses import asdict

import torch
from torch import Tensor

from stedit.checkpoints import rosinality
from stedit.checkpoints.arcface import backbone_config
from stedit.checkpoints.state_dicts import Checkpoint, Part, Tensors, adopt, size, subtree
from stedit.models.config import EncoderConfig
from stedit.models.generator import MappingNetwork
from stedit.models.style_transformer import StyleTransformer

HEADS = 4  # of the published layers; shapes do not tell

# Height and width that the encoder was trained on, by the generator's resolution: the only one of 512 px draws cars.
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
    config, state = rosinality.generator(subtree(checkpoint.tensors, "decoder."), checkpoint.latent_avg)
    mapping = rosinality.mapping_network(config, state)
    encoder_part = encoder(subtree(checkpoint.tensors, "encoder."), mapping, checkpoint.latent_avg, config.resolution)
    return {"generator": (config, state), "encoder": encoder_part}


def encoder(tensors: Tensors, mapping: MappingNetwork, latent_avg: Tensor | None, resolution: int) -> Part:
    """The encoder for a generator of this resolution; its queries are its z tokens as `mapping` maps them."""
    height, width = INPUT_SIZES.get(resolution, DEFAULT_INPUT_SIZE)
    config = EncoderConfig(
        **asdict(backbone_config(tensors)),
        input_height=height,
        input_width=width,
        # the tokens, not the generator's styles: files with fewer styles may have 18, which read each other's values
        style_count=size(tensors, "z", 1),
        style_dim=size(tensors, "z", 2),
        heads=HEADS,
        feedforward=size(tensors, "transformerlayer_fine.linear1.weight", 0),
    )
    state = adopt(lambda: StyleTransformer(config), encoder_name, tensors)
    state["queries"] = mapping(tensors["z"][0].float())
    state["mean"] = mean_of_styles(latent_avg, config)
    return config, state


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
    if latent_avg.shape not in {shape, (1, *shape[1:]), shape[1:]}:
        raise ValueError(f"latent_avg has the shape {tuple(latent_avg.shape)}, which cannot be added to codes {shape}")
    return latent_avg.float().expand(shape).clone()
