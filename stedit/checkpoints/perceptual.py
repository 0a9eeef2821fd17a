"""LPIPS from files that the user supplies, and a reader of such files, which come from strangers."""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor, nn

from stedit.checkpoints.reader import load_file
from stedit.checkpoints.search import candidates
from stedit.checkpoints.state_dicts import Checkpoint
from stedit.errors import InputError, describe_cause
from stedit.models.lpips import WIDTHS, Backbone, Lpips

Network = TypeVar("Network", bound=nn.Module)

LPIPS_SOURCE = (
    "torchvision's alexnet-owt-7be5be79.pth or vgg16-397923af.pth from https://download.pytorch.org/models/, and the "
    "heads alex.pth or vgg.pth from lpips/weights/v0.1 of https://github.com/richzhang/PerceptualSimilarity"
)


def load_lpips(backbone: str, heads: str) -> Lpips:
    """LPIPS from the files of a backbone and of its heads ("" for none). Raises InputError."""
    tensors = read_weights(backbone).tensors
    first = tensors.get("features.0.weight")
    backbones: dict[tuple[int, ...], Backbone] = {(64, 3, 11, 11): "alex", (64, 3, 3, 3): "vgg"}
    architecture = backbones.get(tuple(first.shape)) if first is not None else None
    if architecture is None:
        raise InputError(f"{backbone} is neither AlexNet nor VGG16: give {LPIPS_SOURCE}")
    network = Lpips(architecture, heads=bool(heads))
    state = {key: value for key, value in tensors.items() if key.startswith("features.")}
    if heads:
        linear = read_weights(heads).tensors
        for level, width in enumerate(WIDTHS[architecture]):
            name = f"lin{level}.model.1.weight"
            if name not in linear or linear[name].shape != (1, width, 1, 1):
                raise InputError(f"{heads} holds no LPIPS heads for the network of {backbone}: give {LPIPS_SOURCE}")
            state[f"heads.{level}.weight"] = linear[name]
    return filled(network, state, backbone, LPIPS_SOURCE)


def read_weights(path: str) -> Checkpoint:
    """A checkpoint without wrapping. Raises InputError."""
    content = load_file(path).content
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no weights by name: give a state dictionary")
    return next(candidates(content), Checkpoint({}))


def filled(network: Network, state: dict[str, Tensor], path: str, source: str) -> Network:
    """The network with the tensors of a file, frozen; `source` is where to get the right one. Raises InputError."""
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"{path} does not fit ({describe_cause(error)}): give {source}") from error
    return network.eval().requires_grad_(False)
