"""The edit transformer: source code and reference code, or a label, -> the source with that attribute."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from stedit.models.config import EditorConfig
from stedit.models.layers import TransformerLayer, gaussian


class EditTransformer(nn.Module):
    """Source styles as queries, reference styles as keys and values (Hu et al. 2022, section 3.3).

    The published network does one edit. With `attributes` > 0 a learned token of the edited attribute is added to
    both codes, so that one network serves all edits. For the edits in `labels`, two learned tokens, with and without
    the attribute, can stand in for the reference.
    """

    def __init__(self, config: EditorConfig) -> None:
        super().__init__()
        self.config = config
        width = config.style_dim
        self.layers = nn.ModuleList(
            TransformerLayer(width, config.heads, config.feedforward, doubly_normalised=config.doubly_normalised)
            for _ in range(config.layers)
        )
        if config.attributes:
            self.source_condition = gaussian(config.attributes, config.style_count, width, std=0.1)
            self.reference_condition = gaussian(config.attributes, config.style_count, width, std=0.1)
        if config.labels:
            self.label_tokens = gaussian(len(config.labels), 2, width, std=0.1)
        if config.residual:
            self.output = nn.Linear(width, width)  # the layers end in a norm: this frees the size of the change
            nn.init.zeros_(self.output.weight)
            nn.init.zeros_(self.output.bias)

    def forward(self, source: Tensor, reference: Tensor, attribute: Tensor | None = None) -> Tensor:
        """`source`, `reference` (B, N, D); `attribute` (B,) int64 when the network is conditional -> (B, N, D)."""
        query, memory = self._conditioned(source, reference, attribute)
        for layer in self.layers:
            query = layer(query, memory)
        if self.config.residual:
            return source + cast(Tensor, self.output(query))
        return query

    def by_label(self, source: Tensor, present: Tensor, attribute: Tensor | None = None) -> Tensor:
        """The edit without a reference: `source` (B, N, D); `present` (B,) bool, with or without -> (B, N, D).

        `attribute` (B,) is one of `labels` for each code, or None when the network is unconditional.
        """
        labels = torch.tensor(self.config.labels, device=source.device)
        row = (attribute[:, None] == labels).int().argmax(dim=1) if attribute is not None else torch.zeros_like(present)
        token = self.label_tokens[row.long(), present.long()]  # (B, D)
        return cast(Tensor, self(source, token[:, None].expand_as(source), attribute))

    def attention(self, source: Tensor, reference: Tensor, attribute: Tensor | None = None) -> Tensor:
        """How much each source style takes from each reference style, for the inputs of `forward`.

        Returns:
            (layers, B, heads, N, N), the source styles before the reference styles; each row sums to 1.
        """
        query, memory = self._conditioned(source, reference, attribute)
        weights = []
        for layer in cast("list[TransformerLayer]", self.layers):
            weights.append(layer.attention(query, memory))
            query = layer(query, memory)
        return torch.stack(weights)

    def _conditioned(self, source: Tensor, reference: Tensor, attribute: Tensor | None) -> tuple[Tensor, Tensor]:
        """Both codes, with the tokens of the edited attribute if the network is conditional."""
        if not self.config.attributes:
            return source, reference
        if attribute is None:
            raise ValueError("this edit transformer needs the index of the edited attribute")
        return source + self.source_condition[attribute], reference + self.reference_condition[attribute]
