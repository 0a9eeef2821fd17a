"""Losses in the features of a frozen network: LPIPS, features of a network of our own, identity.

The networks of LPIPS, ArcFace and MoCo are files that the user supplies, since their licences are their authors'.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from stedit.checkpoints import arcface
from stedit.checkpoints.perceptual import LPIPS_SOURCE, filled, load_lpips, read_weights
from stedit.checkpoints.state_dicts import count, require_tensor
from stedit.errors import InputError, MissingPartError, UsageError, describe_cause
from stedit.hub.find import find_bundle
from stedit.models.attribute_network import AttributeNetwork
from stedit.models.backbone import IdentityNetwork
from stedit.models.config import BackboneConfig
from stedit.models.resnet import ResNet50
from stedit.runtime.networks import load_network
from stedit.storage.bundle import Bundle
from stedit.training.image_config import ReconstructionTrainingConfig
from stedit.training.losses import Distance, FeatureLoss, FeatureNetwork, feature_distance, shifted

ARCFACE_SOURCE = "model_ir_se50.pth, which https://github.com/TreB1eN/InsightFace_Pytorch names"
MOCO_SOURCE = "moco_v2_800ep_pretrain.pth.tar from https://github.com/facebookresearch/moco"


class IdentityLoss(nn.Module):
    """1 - cos of two images' embeddings; ArcFace's is the pSp loss for faces, MoCo's the one for other things."""

    def __init__(self, network: nn.Module, embed: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network = network
        self._embed = embed

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """Two batches (B, 3, H, W) in [-1, 1] -> a scalar."""
        with torch.no_grad():
            wanted = self._embed(target)
        return (1 - (self._embed(image) * wanted).sum(dim=1)).mean()


def load_identity(path: str) -> IdentityLoss:
    """ArcFace's IR-SE network or MoCo's ResNet-50, recognised by the names in the file. Raises InputError."""
    found = read_weights(path)
    if "body.0.res_layer.1.weight" in found.tensors:
        try:
            config, state = arcface.build(found)["identity"]
        except ValueError as error:
            raise InputError(
                f"{path} is no ArcFace network ({describe_cause(error)}): give {ARCFACE_SOURCE}"
            ) from error
        face = filled(IdentityNetwork(cast(BackboneConfig, config)), state, path, ARCFACE_SOURCE)
        return IdentityLoss(face, lambda x: face.embed(face.crop(x)))
    tensors = {key.removeprefix("encoder_q."): value for key, value in found.tensors.items()}
    network = ResNet50()
    if "layer4.2.conv3.weight" not in tensors:
        raise InputError(f"{path} is neither ArcFace nor MoCo: give {ARCFACE_SOURCE}; for other things {MOCO_SOURCE}")
    state = {key: value for key, value in tensors.items() if not key.startswith("fc.") and "encoder_k." not in key}
    network = filled(network, {key: state[key] for key in network.state_dict() if key in state}, path, MOCO_SOURCE)
    return IdentityLoss(network, network.embed)


@dataclass(frozen=True)
class Perceptual:
    """A perceptual loss and what it is, for metrics and for the user."""

    name: str
    """"lpips", "judge" or "discriminator"."""
    description: str
    """The same in a sentence."""
    distance: Distance
    network: nn.Module
    """To be moved to the device."""


def choose_perceptual(
    config: ReconstructionTrainingConfig, *, judge: AttributeNetwork | None, discriminator: nn.Module | None
) -> Perceptual | None:
    """The perceptual loss that a config asks for; with "auto" the first for which there are weights, or None.

    Args:
        config: its keys `perceptual…`, `lpips_backbone`, `lpips_heads`, `judge` and `logit_weight`.
        judge: of the model in training, for where the key `judge` names no other.
        discriminator: of the generator in training; its features change while it learns.

    Raises:
        UsageError: what is asked for is not there; it says where to get it.
        InputError, BundleError: a file or model cannot be used.
    """
    chosen = _choose(config, judge, discriminator)
    if chosen is None or not config.perceptual_shift:
        return chosen
    distance = chosen.distance
    return replace(chosen, distance=lambda a, b: distance(*shifted((a, b), config.perceptual_shift)))


def _choose(
    config: ReconstructionTrainingConfig, judge: AttributeNetwork | None, discriminator: nn.Module | None
) -> Perceptual | None:
    wanted = config.perceptual
    if wanted == "none":
        return None
    if wanted == "lpips" and not config.lpips_backbone:
        raise UsageError(f"perceptual is lpips, but lpips_backbone names no file: give {LPIPS_SOURCE}")
    if config.lpips_backbone and wanted in ("auto", "lpips"):
        lpips = load_lpips(config.lpips_backbone, config.lpips_heads)
        heads = "with" if config.lpips_heads else "without"
        return Perceptual("lpips", f"the perceptual loss is LPIPS, {heads} trained heads", lpips, lpips)
    if wanted in ("auto", "judge"):
        networks = [load_attribute_network(name) for name in config.judge] or ([] if judge is None else [judge])
        if networks:
            loss = FeatureLoss(*networks, logit_weight=config.logit_weight)
            whose = "the judge's" if len(networks) == 1 else f"{len(networks)} judges'"
            logits = " and logits" if config.logit_weight else ""
            return Perceptual("judge", f"the perceptual loss is that of {whose} features{logits}", loss, loss)
        if wanted == "judge":
            raise UsageError("perceptual is judge, but there is none: name a model that has one with judge")
    if discriminator is not None:
        network, features = discriminator, cast(FeatureNetwork, discriminator)
        description = "the perceptual loss is that of the discriminator's features"
        return Perceptual("discriminator", description, lambda a, b: feature_distance(features, a, b), network)
    if wanted == "discriminator":
        raise UsageError("perceptual is discriminator, but there is none: name the generator's run with discriminator")
    return None


def load_attribute_network(name: str) -> AttributeNetwork:
    """The judge of a model, or an attribute network from a .safetensors file. Raises InputError, BundleError."""
    if name.endswith(".safetensors"):
        tensors = dict(read_weights(name).tensors)
        try:
            widths = [len(require_tensor(tensors, "stem.0.weight"))]
            widths += [
                len(tensors[f"stages.{stage}.down.0.weight"])
                for stage in range(count(tensors, "stages.{}.down.0.weight"))
            ]
            network = AttributeNetwork(len(require_tensor(tensors, "head.weight")), tuple(widths))
        except ValueError as error:
            raise InputError(
                f"{name} is no attribute network ({describe_cause(error)}): name a model with a judge"
            ) from error
        return filled(network, tensors, name, "the weights of an attribute network")
    bundle = Bundle.load(find_bundle(name))
    if "judge" not in bundle.parts:
        raise MissingPartError(f"the model {name!r} has no judge: name one that has, or a .safetensors file of one")
    return cast(AttributeNetwork, load_network(bundle, "judge"))
