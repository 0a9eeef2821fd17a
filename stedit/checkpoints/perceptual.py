"""LPIPS from files that the user supplies, and a reader of such files, which come from strangers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from stedit.checkpoints.state_dicts import Checkpoint, canonicalise
from stedit.errors import InputError, cause
from stedit.models.lpips import WIDTHS, Backbone, Lpips

MAX_FILE_BYTES = 2**31

Network = TypeVar("Network", bound=nn.Module)

LPIPS_SOURCE = (
    "torchvision's alexnet-owt-7be5be79.pth or vgg16-397923af.pth from https://download.pytorch.org/models/, and the "
    "heads alex.pth or vgg.pth from lpips/weights/v0.1 of https://github.com/richzhang/PerceptualSimilarity"
)


def load_lpips(backbone: str, heads: str) -> Lpips:
    """LPIPS from the files of a backbone and of its heads ("" for none). Raises InputError."""
    tensors = read_weights(backbone).tensors
    first = tensors.get("features.0.weight")
    kinds: dict[tuple[int, ...], Backbone] = {(64, 3, 11, 11): "alex", (64, 3, 3, 3): "vgg"}
    kind = kinds.get(tuple(first.shape)) if first is not None else None
    if kind is None:
        raise InputError(f"{backbone} is neither AlexNet nor VGG16: give {LPIPS_SOURCE}")
    network = Lpips(kind, heads=bool(heads))
    state = {key: value for key, value in tensors.items() if key.startswith("features.")}
    if heads:
        linear = read_weights(heads).tensors
        for level, width in enumerate(WIDTHS[kind]):
            name = f"lin{level}.model.1.weight"
            if name not in linear or linear[name].shape != (1, width, 1, 1):
                raise InputError(f"{heads} holds no LPIPS heads for the network of {backbone}: give {LPIPS_SOURCE}")
            state[f"heads.{level}.weight"] = linear[name]
    return filled(network, state, backbone, LPIPS_SOURCE)


def read_weights(path: str) -> Checkpoint:
    """A checkpoint without wrapping. Raises InputError."""
    file = Path(path)
    try:
        too_large = file.stat().st_size > MAX_FILE_BYTES
        loaded: Any = None
        if not too_large and file.suffix == ".safetensors":
            loaded = load_file(file)
        elif not too_large:
            loaded = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"there is no weights file {path}: check the spelling") from None
    except Exception as error:  # torch.load meets damage with nearly every exception there is
        raise InputError(f"cannot read the weights {path} ({cause(error)}): get a whole copy of it") from error
    if too_large:
        raise InputError(f"{path} is larger than {MAX_FILE_BYTES // 2**30} GB: give another file")
    if not isinstance(loaded, dict):
        raise InputError(f"{path} holds no weights by name: give a state dictionary")
    return canonicalise(loaded)


def filled(network: Network, state: dict[str, Tensor], path: str, source: str) -> Network:
    """The network with the tensors of a file, frozen; `source` is where to get the right one. Raises InputError."""
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"{path} does not fit ({cause(error)}): give {source}") from error
    return network.eval().requires_grad_(False)
