"""rosinality's StyleGAN2: `g_ema` of its .pt files, and the decoder inside Style Transformer checkpoints."""

from __future__ import annotations

from itertools import count as count_up

from torch import Tensor

from stedit.checkpoints.state_dicts import Checkpoint, Part, Tensors, adopt, count, size, subtree
from stedit.models.config import GeneratorConfig
from stedit.models.generator import Generator, MappingNetwork

# ours -> theirs
MAPPING_LAYER = {"weight": "weight", "bias": "bias"}
CONVOLUTION = {
    "conv.weight": "conv.weight",  # theirs has a leading unit axis
    "conv.affine.weight": "conv.modulation.weight",
    "conv.affine.bias": "conv.modulation.bias",
}
SYNTHESIS_LAYER = {**CONVOLUTION, "noise_strength": "noise.weight", "bias": "activate.bias"}
TO_RGB = {**CONVOLUTION, "bias": "bias"}


def build(checkpoint: Checkpoint) -> dict[str, Part]:
    """A published or training checkpoint -> its generator."""
    return {"generator": generator(checkpoint.tensors, checkpoint.latent_avg)}


def generator(tensors: Tensors, latent_avg: Tensor | None) -> tuple[GeneratorConfig, dict[str, Tensor]]:
    """Generator with bare names; without `latent_avg` its mean w is estimated, as checkpoints of training need."""
    config = generator_config(tensors)
    state = adopt(lambda: Generator(config), generator_names(config).get, tensors)
    if latent_avg is None:
        state["mapping.mean"] = mapping_network(config, state).estimate_mean()
    elif latent_avg.shape[-1] == config.style_dim:
        state["mapping.mean"] = latent_avg.float().reshape(-1, config.style_dim).mean(dim=0)  # one row, or equal ones
    else:
        raise ValueError(f"latent_avg has the shape {tuple(latent_avg.shape)} for styles of size {config.style_dim}")
    return config, state


def generator_config(tensors: Tensors) -> GeneratorConfig:
    """Sizes from shapes: each resolution above 4 px has two `convs`."""
    blocks = count(tensors, "to_rgbs.{}.bias")
    upsampling = (f"convs.{2 * block}.conv.weight" for block in range(blocks))
    return GeneratorConfig(
        resolution=4 * 2**blocks,
        style_dim=size(tensors, "style.1.weight", 0),
        mapping_layers=count(tensors, "style.{}.weight", first=1),
        channels=(size(tensors, "input.input", 1), *(size(tensors, key, 1) for key in upsampling)),
    )


def generator_names(config: GeneratorConfig) -> dict[str, str]:
    """Our names -> theirs: blocks there are flat lists, and all noise maps stand together."""
    names = {"constant": "input.input"}
    for index in range(config.mapping_layers):
        names |= _prefixed(MAPPING_LAYER, f"mapping.layers.{index}", f"style.{index + 1}")
    noise = count_up()
    for block in range(len(config.channels)):
        layers = [f"convs.{2 * block - 2}", f"convs.{2 * block - 1}"] if block else ["conv1"]
        for index, layer in enumerate(layers):
            names |= _prefixed(SYNTHESIS_LAYER, f"blocks.{block}.layers.{index}", layer)
            names[f"blocks.{block}.layers.{index}.noise"] = f"noises.noise_{next(noise)}"
        names |= _prefixed(TO_RGB, f"blocks.{block}.to_rgb", f"to_rgbs.{block - 1}" if block else "to_rgb1")
    return names


def mapping_network(config: GeneratorConfig, state: Tensors) -> MappingNetwork:
    """The mapping network of a converted generator, ready to be called."""
    network = MappingNetwork(config.style_dim, config.mapping_layers)
    network.load_state_dict({"mean": network.mean, **subtree(state, "mapping.")})
    return network.eval().requires_grad_(False)


def _prefixed(names: dict[str, str], ours: str, theirs: str) -> dict[str, str]:
    return {f"{ours}.{key}": f"{theirs}.{value}" for key, value in names.items()}
