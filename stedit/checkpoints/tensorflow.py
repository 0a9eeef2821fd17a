"""NVIDIA's StyleGAN pickles of the TensorFlow era, such as stylegan2-ffhq-config-f.pkl, read without TensorFlow.

Such a file holds (G, D, Gs), of which Gs is taken: networks whose variables are plain arrays beside Python source that
is never run. The table gives each variable's place in NVIDIA's later PyTorch layout, from which `nvidia` builds ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor

from stedit.checkpoints.state_dicts import Checkpoint

MAX_NETWORKS = 16


def _turned(kernel: Tensor) -> Tensor:
    """A kernel (k, k, inputs, outputs) as (outputs, inputs, k, k)."""
    return kernel.permute(3, 2, 0, 1)


def _mirrored(kernel: Tensor) -> Tensor:
    """The same of a layer that scales up: TensorFlow's transposed convolution counts from the other end."""
    return _turned(kernel.flip(0, 1))


def _transposed(matrix: Tensor) -> Tensor:
    return matrix.T


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor


def _first(tensor: Tensor) -> Tensor:
    """Without the axis of the batch."""
    return tensor[0]


def _plane(tensor: Tensor) -> Tensor:
    return tensor[0, 0]


def _plus_one(bias: Tensor) -> Tensor:
    """Biases of styles, to which the code there adds one."""
    return bias + 1


# layers of theirs -> of PyTorch's
_LAYERS = {"Conv": "conv1", "Conv0_up": "conv0", "Conv1": "conv1", "ToRGB": "torgb"}
# what a layer holds -> its name there, and what becomes of it
_VARIABLES: Mapping[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "weight": ("weight", _turned),
    "bias": ("bias", _as_it_is),
    "mod_weight": ("affine.weight", _transposed),
    "mod_bias": ("affine.bias", _plus_one),
    "noise_strength": ("noise_strength", _as_it_is),
}
_LAYER = re.compile(r"synthesis/(\d{1,4})x\1/(\w{1,20})/(\w{1,20})")
_NOISE = re.compile(r"synthesis/noise(\d{1,2})")
_DENSE = re.compile(r"mapping/Dense(\d{1,3})/(weight|bias)")


def network_of(content: Any) -> Checkpoint | None:
    """The tensors of Gs in NVIDIA's PyTorch layout; None if it is no such file. Raises ValueError for StyleGAN1."""
    networks = list(content) if isinstance(content, tuple | list) else [content]
    found = [network for network in networks if _is_network(network)]
    if not found:
        return None
    variables = dict(_variables(found[-1]))  # Gs is the last
    if any("StyleMod" in name for name in variables):
        raise ValueError("it is StyleGAN1, whose layers differ from StyleGAN2's: only StyleGAN2 can be converted")
    tensors: dict[str, Tensor] = {}
    for name, tensor in variables.items():
        place = _place(name)
        if place is not None:
            try:
                tensors[place[0]] = place[1](tensor)
            except (RuntimeError, IndexError) as error:
                raise ValueError(f"its variable {name} has the shape {tuple(tensor.shape)}") from error
    if not tensors:
        raise ValueError("it is a network of NVIDIA's TensorFlow era other than StyleGAN2's generator")
    options = found[-1].get("static_kwargs")
    return Checkpoint(tensors, opts=options if isinstance(options, dict) else {})


def _is_network(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("variables"), list) and "components" in value


def _variables(network: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """Names with the component before them, and arrays."""
    components = network["components"] if isinstance(network["components"], dict) else {}
    inner = [(f"{name}/", part) for name, part in list(components.items())[:MAX_NETWORKS] if _is_network(part)]
    for prefix, part in [("", network), *inner]:
        for pair in part["variables"]:
            if isinstance(pair, tuple | list) and len(pair) == 2 and isinstance(pair[0], str):
                name, tensor = pair
                if isinstance(tensor, Tensor):
                    yield f"{prefix}{name.removeprefix(prefix)}", tensor


def _place(name: str) -> tuple[str, Callable[[Tensor], Tensor]] | None:
    """Where a variable goes, and how; None for what the generator has no use for, such as the level of detail."""
    if name in ("dlatent_avg", "mapping/dlatent_avg"):
        return "mapping.w_avg", _as_it_is
    if name == "synthesis/4x4/Const/const":
        return "synthesis.b4.const", _first
    if match := re.fullmatch(r"mapping/LabelEmbed/(weight|bias)", name):
        return f"mapping.embed.{match[1]}", _transposed if match[1] == "weight" else _as_it_is
    if match := _DENSE.fullmatch(name):
        return f"mapping.fc{match[1]}.{match[2]}", _transposed if match[2] == "weight" else _as_it_is
    if match := _NOISE.fullmatch(name):  # noise 2k - 1 and 2k belong to the layers at 4 * 2^k px
        index = int(match[1])
        return f"synthesis.b{4 * 2 ** ((index + 1) // 2)}.conv{(index + 1) % 2}.noise_const", _plane
    match = _LAYER.fullmatch(name)
    if match is None or match[2] not in (*_LAYERS, "Skip") or match[3] not in _VARIABLES:
        return None
    layer = _LAYERS.get(match[2], "skip")
    variable, change = _VARIABLES[match[3]]
    if variable == "weight" and match[2] == "Conv0_up":
        change = _mirrored
    return f"synthesis.b{match[1]}.{layer}.{variable}", change
