"""NVIDIA's StyleGAN2 pickles, of stylegan2-ada-pytorch and of the stylegan3 repository: `G_ema` is taken.

The pickles carry Python source that NVIDIA's code executes on loading; here it is text that nobody reads (see
`unpickler`), and the networks are trees of states.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from stedit.checkpoints import rosinality
from stedit.checkpoints.state_dicts import (
    Checkpoint,
    Part,
    Tensors,
    UndecidedError,
    count,
    finite,
    remap,
    require_tensor,
    size,
)
from stedit.models.config import MAX_CLAMP, GeneratorConfig
from stedit.models.generator import Generator

MAX_MODULES = 10_000
CONVOLUTION = {"conv.weight": "weight", "conv.affine.weight": "affine.weight", "conv.affine.bias": "affine.bias"}
SYNTHESIS_LAYER = {**CONVOLUTION, "noise_strength": "noise_strength", "noise": "noise_const", "bias": "bias"}
TO_RGB = {**CONVOLUTION, "bias": "bias"}


def network_of(checkpoint: Mapping[str, Any]) -> Checkpoint | None:
    """The tensors of `G_ema`, or of a network that was pickled alone; None if it is no such pickle."""
    found = checkpoint.get("G_ema", checkpoint)
    if not isinstance(found, dict) or set(found) != {"class_name", "state"} or not isinstance(found["state"], dict):
        return None
    options = found["state"].get("_init_kwargs")
    opts = {**(options if isinstance(options, dict) else {}), **_clamp_of_layer(found["state"])}
    return Checkpoint(_tensors(found["state"]), opts=opts)


def build(checkpoint: Checkpoint) -> dict[str, Part]:
    """The generator. Only what shapes can tell is used; variants that ours cannot compute are refused by name."""
    tensors = checkpoint.tensors
    refuse_variants(tensors)
    blocks = count_blocks(tensors)
    style_dim = size(tensors, "mapping.w_avg", 0)
    labelled = "mapping.embed.weight" in tensors
    if labelled:
        tensors = _of_one_class(checkpoint)
    z_dim = size(tensors, "mapping.fc0.weight", 1)
    config = GeneratorConfig(
        resolution=4 * 2 ** (blocks - 1),
        style_dim=style_dim,
        mapping_layers=count(tensors, "mapping.fc{}.weight"),
        channels=tuple(size(tensors, f"synthesis.b{4 * 2**block}.conv1.weight", 0) for block in range(blocks)),
        z_dim=0 if z_dim == style_dim else z_dim,
        clamp=_clamp(checkpoint.opts),
    )
    names = generator_names(config)
    state = remap(lambda: Generator(config), lambda ours: names.get(ours, ours), tensors)
    if labelled:
        state["mapping.mean"] = rosinality.mapping_network(config, state).estimate_mean()
    else:
        state["mapping.mean"] = finite("mapping.w_avg", require_tensor(tensors, "mapping.w_avg"))
    return {"generator": (config, state)}


def _of_one_class(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The tensors of a class-conditional network with one class made part of its first layer.

    That layer takes the normalised z beside the normalised embedding y of the class: W_z z + (W_y y + b), scaled by the
    root of the length of both (stylegan2-ada-pytorch, MappingNetwork).
    """
    tensors, label = dict(checkpoint.tensors), checkpoint.hints.label
    embedding = finite("mapping.embed.weight", tensors.pop("mapping.embed.weight"))  # (E, C)
    if embedding.ndim != 2:
        raise ValueError(f"the tensor mapping.embed.weight has the shape {tuple(embedding.shape)}")
    width, classes = embedding.shape
    if label is None or not 0 <= label < classes:
        raise UndecidedError(f"it is class-conditional: choose one of its classes, 0 to {classes - 1},", "label")
    y = embedding[:, label] / math.sqrt(classes) + finite("embed.bias", require_tensor(tensors, "mapping.embed.bias"))
    y = y * torch.rsqrt(y.square().mean() + 1e-8)
    first = finite("mapping.fc0.weight", require_tensor(tensors, "mapping.fc0.weight"))  # (D, Z + E)
    both = first.shape[-1]
    if first.ndim != 2 or both <= width:
        raise ValueError("its first layer takes the class alone, and no z")
    bias = finite("mapping.fc0.bias", require_tensor(tensors, "mapping.fc0.bias"))
    tensors["mapping.fc0.weight"] = first[:, :-width] * math.sqrt((both - width) / both)
    tensors["mapping.fc0.bias"] = bias + first[:, -width:] @ y / math.sqrt(both)
    checkpoint.notes.append(f"its codes and their mean are of the class {label} of {classes}")
    return tensors


def _clamp(options: Mapping[str, Any]) -> float:
    """To what features are clamped, as the options or one of the layers say."""
    nested = options.get("synthesis_kwargs")
    found = nested.get("conv_clamp") if isinstance(nested, dict) else None
    found = options.get("conv_clamp") if found is None else found
    return float(found) if isinstance(found, int | float) and 0 < found <= MAX_CLAMP else 0.0


def refuse_variants(tensors: Tensors) -> None:
    """Raise ValueError, naming it, if it is a network of NVIDIA's other than the StyleGAN2 of the paper."""
    if "synthesis.input.freqs" in tensors or "synthesis.input.weight" in tensors:
        first = next((key for key in tensors if key.startswith("synthesis.L1_") and key.endswith(".weight")), None)
        kernel = tensors[first].shape[-1] if first is not None and tensors[first].ndim else 0
        variant = {1: "stylegan3-r", 3: "stylegan3-t"}.get(kernel, "StyleGAN3")
        raise ValueError(f"it is {variant}, whose layers differ from StyleGAN2's: only StyleGAN2 can be converted")
    if any(".skip.weight" in key for key in tensors):
        raise ValueError("its architecture is 'resnet', and only 'skip' (StyleGAN2's default) can be converted")
    if "synthesis.b4.torgb.weight" not in tensors:
        raise ValueError("its architecture is 'orig', and only 'skip' (StyleGAN2's default) can be converted")


def count_blocks(tensors: Tensors) -> int:
    """How many of b4, b8, b16 and so on there are."""
    blocks = 0
    while f"synthesis.b{4 * 2**blocks}.torgb.weight" in tensors:
        blocks += 1
    return blocks


def generator_names(config: GeneratorConfig) -> dict[str, str]:
    """Our names -> NVIDIA's. Shapes differ by unit axes; nothing is transposed, flipped or scaled."""
    names = {"constant": "synthesis.b4.const", "mapping.mean": "mapping.w_avg"}
    for layer in range(config.mapping_layers):
        names |= {f"mapping.layers.{layer}.{kind}": f"mapping.fc{layer}.{kind}" for kind in ("weight", "bias")}
    for block in range(len(config.channels)):
        place = f"synthesis.b{4 * 2**block}"
        for index, layer_name in enumerate(("conv0", "conv1") if block else ("conv1",)):
            ours = f"blocks.{block}.layers.{index}"
            names |= {f"{ours}.{mine}": f"{place}.{layer_name}.{theirs}" for mine, theirs in SYNTHESIS_LAYER.items()}
        names |= {f"blocks.{block}.to_rgb.{mine}": f"{place}.torgb.{theirs}" for mine, theirs in TO_RGB.items()}
    return names


def _clamp_of_layer(state: Any) -> dict[str, Any]:
    """What the first layer says, where the options leave it to a default."""
    for name in ("synthesis", "b4", "conv1"):
        children = state.get("_modules") if isinstance(state, dict) else None
        child = children.get(name) if isinstance(children, dict) else None
        state = child.get("state") if isinstance(child, dict) else None
    return {"conv_clamp": state["conv_clamp"]} if isinstance(state, dict) and "conv_clamp" in state else {}


def _tensors(state: dict[str, Any]) -> dict[str, Tensor]:
    """Parameters and buffers of a tree of modules, by their full names."""
    found: dict[str, Tensor] = {}
    waiting, visited = [("", state)], 0
    while waiting:
        prefix, module = waiting.pop()
        visited += 1
        if visited > MAX_MODULES:
            raise ValueError("its networks are nested without end")
        for group in ("_parameters", "_buffers"):
            named = module.get(group)
            if isinstance(named, dict):
                found |= {f"{prefix}{key}": value for key, value in named.items() if isinstance(value, Tensor)}
        children = module.get("_modules")
        for name, child in children.items() if isinstance(children, dict) else ():
            inner = child.get("state") if isinstance(child, dict) else None
            if isinstance(inner, dict):
                waiting.append((f"{prefix}{name}.", inner))
    return found
