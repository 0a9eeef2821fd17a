"""The networks of a bundle: built from its sizes, filled with its tensors, and typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self, cast

import torch
from torch import nn

from stedit.errors import BundleError
from stedit.models.aligner import Aligner
from stedit.models.attribute_network import Judge
from stedit.models.backbone import IdentityNetwork
from stedit.models.config import EncoderConfig
from stedit.models.edit_transformer import EditTransformer
from stedit.models.generator import Generator
from stedit.models.latent_classifier import LatentClassifier
from stedit.models.psp_encoder import PspEncoder
from stedit.models.style_transformer import StyleTransformer
from stedit.storage.bundle import Bundle
from stedit.storage.bundle_config import PART_CONFIGS, PartConfig, part_type

Encoder = StyleTransformer | PspEncoder

_NETWORKS: dict[str, type[nn.Module]] = {
    "generator": Generator,
    "encoder": StyleTransformer,
    "classifier": LatentClassifier,
    "editor": EditTransformer,
    "judge": Judge,
    "aligner": Aligner,
    "identity": IdentityNetwork,
}


@dataclass(frozen=True, eq=False)
class Networks:
    """The networks of a model; None for those that it lacks."""

    generator: Generator
    encoder: Encoder | None = None
    classifier: LatentClassifier | None = None
    """The attribute classifier in latent space."""
    judge: Judge | None = None
    """The attribute predictor in image space."""
    aligner: Aligner | None = None
    """What finds faces in photographs."""
    identity: IdentityNetwork | None = None
    editors: Mapping[str, EditTransformer] = field(default_factory=dict)
    """Edit transformers by part: "editor" of all attributes, "editor-Smiling" of one."""

    @classmethod
    def load(cls, bundle: Bundle, device: torch.device) -> Self:
        """Every part of a bundle that has a generator, frozen. Raises BundleError if tensors do not fit their sizes."""
        networks: dict[str, Any] = {name: load_network(bundle, name).to(device) for name in bundle.parts}
        editors = {name: networks.pop(name) for name in bundle.parts if part_type(name) == "editor"}
        return cls(**networks, editors=editors)

    def parts(self) -> dict[str, nn.Module]:
        """Those that are there, by the names of their parts in a bundle."""
        networks = {name: getattr(self, name) for name in _NETWORKS if name != "editor"}
        return {name: network for name, network in networks.items() if network is not None} | dict(self.editors)

    def __repr__(self) -> str:
        return f"Networks({', '.join(self.parts())})"


def build_network(name: str, config: PartConfig) -> nn.Module:
    """The network of a part, untrained."""
    if isinstance(config, EncoderConfig) and config.kind != "style-transformer":
        return PspEncoder(config)
    return _NETWORKS[part_type(name)](config)


def load_network(bundle: Bundle, name: str) -> nn.Module:
    """The network of a part with its weights, frozen. Raises BundleError if they do not fit its sizes."""
    config = PART_CONFIGS[part_type(name)].from_dict(bundle.parts[name].config)
    with torch.device("meta"):
        network = build_network(name, config)
    tensors = bundle.read_part(name)
    try:
        network.load_state_dict(tensors, strict=True, assign=True)
    except RuntimeError as error:
        line = str(error).splitlines()[1].strip()
        raise BundleError(
            f"the {name} of {bundle.path} does not fit its sizes ({line}): get the model again"
        ) from error
    network.eval().requires_grad_(False)
    return cast(nn.Module, cast(Any, network).to(memory_format=torch.channels_last))
