"""The latent classifier: attributes of a W+ code, with an embedding per attribute (Hu et al. 2022, section 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stedit.models.config import ClassifierConfig


class LatentClassifier(nn.Module):
    """MLP on the flattened code; each attribute has its own embedding and its own logit."""

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        sizes = (config.style_count * config.style_dim, *config.hidden)
        self.trunk = nn.ModuleList(nn.Linear(before, after) for before, after in zip(sizes, sizes[1:], strict=False))
        # the K attributes' small layers, stacked so that one batched product serves them all
        self.embedding_weight = nn.Parameter(torch.empty(config.attributes, config.embedding, sizes[-1]))
        self.embedding_bias = nn.Parameter(torch.zeros(config.attributes, config.embedding))
        self.logit_weight = nn.Parameter(torch.empty(config.attributes, config.embedding))
        self.logit_bias = nn.Parameter(torch.zeros(config.attributes))
        nn.init.normal_(self.embedding_weight, std=sizes[-1] ** -0.5)
        nn.init.normal_(self.logit_weight, std=config.embedding**-0.5)

    def embed(self, w: Tensor) -> Tensor:
        """(B, N, D) -> (B, K, E): what the code says of each attribute, and of its kind."""
        x = w.flatten(1)
        for layer in self.trunk:
            x = F.leaky_relu(layer(x), 0.2)
        return torch.einsum("bh,keh->bke", x, self.embedding_weight) + self.embedding_bias

    def logits(self, embeddings: Tensor) -> Tensor:
        """(B, K, E) -> (B, K)."""
        return (embeddings * self.logit_weight).sum(dim=-1) + self.logit_bias

    def forward(self, w: Tensor) -> Tensor:
        """(B, N, D) -> logits (B, K), in the order of the bundle's attributes."""
        return self.logits(self.embed(w))
