"""NVIDIA's StyleGAN2 pickles, of stylegan2-ada-pytorch and of the stylegan3 repository: `G_ema` is taken.

The pickles carry Python source that NVIDIA's code executes on loading; here it is text that nobody reads (see
`unpickler`), and the networks are trees of states.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from stedit.checkpoints.state_dicts import Checkpoint, Part, Tensors, count, finite, remap, require_tensor, size
from stedit.models.config import GeneratorConfig
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
    return Checkpoint(_tensors(found["state"]), opts=options if isinstance(options, dict) else {})


def build(checkpoint: Checkpoint) -> dict[str, Part]:
    """The generator. Only what shapes can tell is used; variants that ours cannot compute are refused by name."""
    tensors = checkpoint.tensors
    refuse_variants(tensors)
    blocks = count_blocks(tensors)
    config = GeneratorConfig(
        resolution=4 * 2 ** (blocks - 1),
        style_dim=size(tensors, "mapping.w_avg", 0),
        mapping_layers=count(tensors, "mapping.fc{}.weight"),
        channels=tuple(size(tensors, f"synthesis.b{4 * 2**block}.conv1.weight", 0) for block in range(blocks)),
    )
    names = generator_names(config)
    state = remap(lambda: Generator(config), lambda ours: names.get(ours, ours), tensors)
    synthesis = checkpoint.opts.get("synthesis_kwargs")
    if isinstance(synthesis, dict) and synthesis.get("conv_clamp") is not None:
        checkpoint.notes.append("it was trained with features clamped at 256, which is left out: few values reach that")
    state["mapping.mean"] = finite("mapping.w_avg", require_tensor(tensors, "mapping.w_avg"))
    return {"generator": (config, state)}


def refuse_variants(tensors: Tensors) -> None:
    """Raise ValueError, naming it, if it is a network of NVIDIA's other than the StyleGAN2 of the paper."""
    if "synthesis.input.freqs" in tensors or "synthesis.input.weight" in tensors:
        first = next((key for key in tensors if key.startswith("synthesis.L1_") and key.endswith(".weight")), None)
        kernel = tensors[first].shape[-1] if first is not None and tensors[first].ndim else 0
        variant = {1: "stylegan3-r", 3: "stylegan3-t"}.get(kernel, "StyleGAN3")
        raise ValueError(f"it is {variant}, whose layers differ from StyleGAN2's: only StyleGAN2 can be converted")
    if "mapping.embed.weight" in tensors:
        raise ValueError("it is class-conditional, and only unconditional generators can be converted")
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
