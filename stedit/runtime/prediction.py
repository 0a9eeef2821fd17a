"""What a model's networks read off codes and images: attributes, their features, identity."""

from __future__ import annotations

import torch
from torch import Tensor

from stedit.runtime.model import Model


@torch.no_grad()
def attribute_logits(model: Model, w: Tensor) -> Tensor:
    """Codes (B, N, D) -> the latent classifier's logits (B, K). Raises MissingPartError."""
    logits: Tensor = model.require_classifier()(w)
    return logits


@torch.no_grad()
def predict_attributes(model: Model, images: Tensor) -> Tensor:
    """Images (B, 3, H, W) of the judge's size -> probabilities (B, K), float32. Raises MissingPartError."""
    judge = model.require_judge()
    with model.autocast():
        logits: Tensor = judge(images.to(model.device))
    return logits.float().sigmoid()


@torch.no_grad()
def attribute_features(model: Model, images: Tensor) -> Tensor:
    """Images (B, 3, H, W) of the judge's size -> the features (B, 16 * C) that its logits are linear in, float32."""
    judge = model.require_judge()
    with model.autocast():
        return judge.embed(images.to(model.device)).float()


@torch.no_grad()
def identity_embedding(model: Model, images: Tensor) -> Tensor:
    """FFHQ-aligned faces (B, 3, H, W) in [-1, 1] -> ArcFace embeddings (B, 512) of unit length, float32."""
    network = model.require_identity()
    with model.autocast():
        return network.embed(network.crop(images.to(model.device))).float()
