"""Inversion losses: distances of renderings to target images, in pixels and in features."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from stedit.errors import MissingPartError
from stedit.inversion.options import DEFAULT_WEIGHTS
from stedit.models.backbone import IdentityNetwork
from stedit.models.style_transformer import StyleTransformer
from stedit.runtime.framing import centre_crop, resize
from stedit.runtime.networks import Networks

MSE = "mse"
SCALES = 3  # of the pixel losses: full size, a half, a quarter

Features = Callable[[Tensor], list[Tensor]]  # (B, 3, H, W) -> maps (B, C, h, w)


def choose_losses(weights: Mapping[str, float], networks: Networks) -> dict[str, float]:
    """Weights of losses by name: those given, or by default l2, and perceptual where `networks` has features for it.

    Raises MissingPartError if no part of the model can measure one of them.
    """
    part, _ = _perceptual_features(networks)
    if not weights:
        return {name: DEFAULT_WEIGHTS[name] for name in (("l2", "perceptual") if part else ("l2",))}
    if "perceptual" in weights and not part:
        raise MissingPartError("the model has neither judge nor encoder for the loss perceptual: leave it out")
    if "identity" in weights and networks.identity is None:
        raise MissingPartError("the model has no identity network for the loss of that name: leave it out")
    return dict(weights)


def describe_losses(weights: Mapping[str, float], networks: Networks) -> str:
    """The losses that `choose_losses` gives, as a log has them: `l2 + 0.02 perceptual (encoder)`."""
    part, _ = _perceptual_features(networks)
    names = {"perceptual": f"perceptual ({part})"}
    terms = choose_losses(weights, networks).items()
    return " + ".join(("" if weight == 1 else f"{weight:g} ") + names.get(name, name) for name, weight in terms)


class Objective:
    """Weighted distances to B target images, each on its own."""

    def __init__(self, targets: Tensor, weights: Mapping[str, float], networks: Networks) -> None:
        """Measure the targets once.

        Args:
            targets: (B, 3, *content_size) in [-1, 1].
            weights: of the losses by name; {} for l2, and perceptual where `networks` has features for it.
            networks: of the model; encoder, judge and identity give features.

        Raises:
            MissingPartError: no part of the model can measure one of the losses.
        """
        self.weights = choose_losses(weights, networks)
        self.count = len(targets)
        self._size = (targets.shape[-2], targets.shape[-1])
        self._pyramid = _pyramid(targets)
        self._features: Features | None = None
        self._identity: IdentityNetwork | None = None
        if "perceptual" in self.weights:
            self._features = _perceptual_features(networks)[1]
            self._target_features = self._perceptual(targets)
        if "identity" in self.weights:
            self._identity = networks.identity
            self._target_identity = self._identity_embedding(targets)

    def terms(self, images: Tensor, active: Tensor) -> dict[str, Tensor]:
        """Unweighted losses (b,) of renderings (b, 3, R, R) of the targets with the indices `active` (b,), and MSE.

        MSE is the mean squared error of the colours that can be shown, from which PSNR follows.
        """
        images = centre_crop(images, self._size)
        differences = [a - b[active] for a, b in zip(_pyramid(images), self._pyramid, strict=True)]
        values: dict[str, Tensor] = {}
        if "l1" in self.weights:
            values["l1"] = torch.stack([one.abs().mean(dim=(1, 2, 3)) for one in differences]).mean(dim=0)
        if "l2" in self.weights:
            values["l2"] = torch.stack([one.square().mean(dim=(1, 2, 3)) for one in differences]).mean(dim=0)
        if self._features:
            pairs = zip(self._perceptual(images), self._target_features, strict=True)
            levels = [(a - b[active]).square().sum(dim=1).mean(dim=(1, 2)) for a, b in pairs]
            values["perceptual"] = torch.stack(levels).mean(dim=0)
        if self._identity:
            values["identity"] = 1 - (self._identity_embedding(images) * self._target_identity[active]).sum(dim=1)
        with torch.no_grad():
            values[MSE] = (images.clamp(-1, 1) - self._pyramid[0][active]).square().mean(dim=(1, 2, 3))
        return values

    def total(self, terms: Mapping[str, Tensor]) -> Tensor:
        """The weighted sum of `terms`, (b,)."""
        return torch.stack([weight * terms[name] for name, weight in self.weights.items()]).sum(dim=0)

    def _perceptual(self, images: Tensor) -> list[Tensor]:
        """Features, of unit length at every position, as LPIPS compares them (Zhang et al. 2018, section 3)."""
        assert self._features
        return [F.normalize(level, dim=1) for level in self._features(images)]

    def _identity_embedding(self, images: Tensor) -> Tensor:
        assert self._identity
        return self._identity.embed(self._identity.crop(images))


def _pyramid(images: Tensor) -> list[Tensor]:
    levels = [images]
    while len(levels) < SCALES and min(levels[-1].shape[-2:]) >= 2:
        levels.append(F.avg_pool2d(levels[-1], 2))
    return levels


def _perceptual_features(networks: Networks) -> tuple[str, Features | None]:
    """The part that gives perceptual features, by name, and the features: encoder, else judge, else "" and None.

    A judge whose features were matched could no longer measure the result, so it comes second.
    """
    encoder, judge = networks.encoder, networks.judge
    if not isinstance(encoder, StyleTransformer):
        return ("judge", judge.features) if judge else ("", None)
    size = (encoder.config.input_height, encoder.config.input_width)

    def features(images: Tensor) -> list[Tensor]:
        small = resize(images, size)
        return encoder.features(torch.cat([small, small], dim=1) if encoder.config.iterative else small)

    return "encoder", features
