"""rosinality's StyleGAN2: `g_ema` of its .pt files, and the decoder inside Style Transformer checkpoints."""

from __future__ import annotations

from itertools import count as count_up

import numpy as np
import torch
from torch import Tensor

from stedit.checkpoints.state_dicts import Checkpoint, Part, Tensors, count, finite, remap, size, subtree
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
    return {"generator": generator(checkpoint)}


def generator(checkpoint: Checkpoint, prefix: str = "") -> tuple[GeneratorConfig, dict[str, Tensor]]:
    """Generator whose names start with `prefix`.

    Without `latent_avg`, as in checkpoints of training, its mean w is estimated; noise maps that old files lack are
    drawn, the same ones every time. Both are noted.
    """
    tensors = subtree(checkpoint.tensors, prefix)
    config = generator_config(tensors)
    names = generator_names(config)
    drawn = {theirs: noise_map(theirs) for theirs in names.values() if _is_noise(theirs) and theirs not in tensors}
    if drawn:
        checkpoint.notes.append(f"{len(drawn)} noise maps are not in the file, so they were drawn by a fixed seed")
    state = remap(lambda: Generator(config), names.get, {**tensors, **drawn})
    mean = checkpoint.latent_avg
    if mean is None:
        state["mapping.mean"] = mapping_network(config, state).estimate_mean()
        checkpoint.notes.append("the mean of w is not in the file, so it was estimated from 10000 codes")
    elif mean.shape[-1:] == (config.style_dim,):
        rows = finite("latent_avg", mean).reshape(-1, config.style_dim)
        state["mapping.mean"] = rows.mean(dim=0)  # one row, or equal ones
    else:
        raise ValueError(f"latent_avg has the shape {tuple(mean.shape)} for styles of size {config.style_dim}")
    return config, state


def noise_map(name: str) -> Tensor:
    """The fixed map that stands in for `noises.noise_K`: layers 2n-1 and 2n work at 4 * 2^n px."""
    index = int(name.rpartition("_")[2])
    size = 4 * 2 ** ((index + 1) // 2)
    # NumPy's stream, because torch draws other numbers on other processors
    return torch.from_numpy(np.random.default_rng([0, index]).standard_normal((1, 1, size, size), dtype=np.float32))


def _is_noise(name: str) -> bool:
    return name.startswith("noises.")


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
    network = MappingNetwork(config.style_dim, config.mapping_layers, config.z_dim)
    network.load_state_dict({"mean": network.mean, **subtree(state, "mapping.")})
    return network.eval().requires_grad_(False)


def _prefixed(names: dict[str, str], ours: str, theirs: str) -> dict[str, str]:
    return {f"{ours}.{key}": f"{theirs}.{value}" for key, value in names.items()}
