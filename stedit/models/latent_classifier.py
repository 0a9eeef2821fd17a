"""The latent classifier: attributes of a W+ code, with an embedding per attribute (Hu et al. 2022, section 3.3)."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stedit.models.config import ClassifierConfig
from stedit.models.layers import gaussian


class LatentClassifier(nn.Module):
    """MLP on the flattened code; each attribute has its own embedding and its own logit."""

    covariance_factor: Tensor  # U: (rank, N*D)
    covariance_rest: Tensor

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        sizes = (config.style_count * config.style_dim, *config.hidden)
        self.trunk = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(sizes))
        # the K attributes' small layers, stacked so that one batched product serves them all
        self.embedding_weight = gaussian(config.attributes, config.embedding, sizes[-1], std=sizes[-1] ** -0.5)
        self.embedding_bias = nn.Parameter(torch.zeros(config.attributes, config.embedding))
        self.logit_weight = gaussian(config.attributes, config.embedding, std=config.embedding**-0.5)
        self.logit_bias = nn.Parameter(torch.zeros(config.attributes))
        if config.covariance_rank:
            factor_shape = (config.covariance_rank, config.style_count * config.style_dim)
            self.register_buffer("covariance_factor", torch.zeros(factor_shape))
            self.register_buffer("covariance_rest", torch.ones(()))

    def embed(self, w: Tensor) -> Tensor:
        """(B, N, D) -> (B, K, E): an embedding of each attribute."""
        x = w.flatten(1)
        for layer in self.trunk:
            x = F.leaky_relu(layer(x), 0.2)
        return torch.einsum("bh,keh->bke", x, self.embedding_weight) + self.embedding_bias

    def logits(self, embeddings: Tensor) -> Tensor:
        """(B, K, E) -> (B, K)."""
        # a product for each attribute, not one for all: it rounds as the published classifier does, to the last bit
        heads = zip(embeddings.unbind(1), self.logit_weight, self.logit_bias, strict=True)
        return torch.cat([F.linear(e, weight[None], bias[None]) for e, weight, bias in heads], dim=1)

    def forward(self, w: Tensor) -> Tensor:
        """(B, N, D) -> logits (B, K), in the order of the bundle's attributes."""
        return self.logits(self.embed(w))

    @torch.no_grad()
    def logits_and_gradients(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, D) -> logits (B, K), and the gradient of each with respect to the flattened code, (B, K, N*D).

        By the chain rule through the trunk, once for all logits: autograd imports sympy for the gradients of several
        outputs, which takes longer than an edit.
        """
        x, slopes = w.flatten(1), []
        for layer in self.trunk:
            x = layer(x)
            slopes.append(torch.where(x > 0, x.new_tensor(1.0), x.new_tensor(0.2)))  # (B, h)
            x = F.leaky_relu(x, 0.2)
        gradients = torch.einsum("ke,keh->kh", self.logit_weight, self.embedding_weight)
        for layer, slope in zip(reversed(self.trunk), reversed(slopes), strict=True):
            gradients = (gradients * slope[:, None]) @ cast(nn.Linear, layer).weight  # (B, K, h of the layer before)
        return self(w), gradients
