"""The style transformer: image -> W+ code in one pass (Hu et al. 2022, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stedit.models.backbone import Backbone
from stedit.models.config import EncoderConfig
from stedit.models.layers import TransformerLayer, gaussian

SUMMARY_WIDTH = 64  # channels of the coarse features in a summary of the image


class StyleTransformer(nn.Module):
    """N style queries read the image's feature pyramid from coarse to fine.

    The queries are `mapping(z)` of learned z in training; for a trained encoder they are constants, stored as such.
    With `query_rank` they start from the image instead: attention alone is slow to learn where things are, while a
    linear map of the coarse features knows it from the first step.
    """

    mean: Tensor

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        if config.widths[-1] != config.style_dim:
            raise ValueError(f"the last stage is {config.widths[-1]} wide, not style_dim {config.style_dim}")
        self.config = config
        width = config.style_dim
        self.backbone = Backbone(config, channels=(6 if config.iterative else 3) * config.unshuffle**2)
        self.lateral_medium = nn.Conv2d(config.widths[2], width, 1)
        self.lateral_fine = nn.Conv2d(config.widths[1], width, 1)
        self.queries = gaussian(config.style_count + config.extra_queries, width)
        self.coarse, self.medium, self.fine = (
            TransformerLayer(width, config.heads, config.feedforward) for _ in range(3)
        )
        self.register_buffer("mean", torch.zeros(config.style_count, width))
        if config.position_embedding:
            height, wide = config.input_height // config.unshuffle, config.input_width // config.unshuffle
            self.rows = nn.ParameterList(gaussian(width, height // s, 1, std=0.1) for s in (16, 8, 4))
            self.columns = nn.ParameterList(gaussian(width, 1, wide // s, std=0.1) for s in (16, 8, 4))
        if config.query_rank:
            positions = (config.input_height // config.unshuffle // 16) * (config.input_width // config.unshuffle // 16)
            self.summary = nn.Sequential(
                nn.Conv2d(width, SUMMARY_WIDTH, 1),
                nn.Flatten(),
                nn.Linear(SUMMARY_WIDTH * positions, config.query_rank),
                nn.Linear(config.query_rank, len(self.queries) * width),
                nn.Unflatten(1, (len(self.queries), width)),
            )

    def features(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W), or (B, 6, H, W) of an iterative encoder -> the backbone's four maps, fine to coarse."""
        maps: list[Tensor] = self.backbone(F.pixel_unshuffle(x, self.config.unshuffle))
        return maps

    def pyramid(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, H, W) -> maps of width D at 1/16, 1/8 and 1/4 of the folded input: coarse, medium, fine."""
        _, c1, c2, c3 = self.features(x)
        p2 = upsample_like(c3, c2) + self.lateral_medium(c2)
        p1 = upsample_like(p2, c1) + self.lateral_fine(c1)
        return c3, p2, p1

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1], of the config's input size -> W+ codes (B, N, D).

        An iterative encoder takes (B, 6, H, W), an image and a rendering, and returns the change of the code that was
        rendered, plus the mean.
        """
        query = self.queries[None]  # (1, N, D): constant, so its self-attention is the same for every image
        pyramid = self.pyramid(x)
        if self.config.query_rank:
            query = query + self.summary(pyramid[0])
        for level, (stage, features) in enumerate(zip((self.coarse, self.medium, self.fine), pyramid, strict=True)):
            if self.config.position_embedding:
                features = features + self.rows[level] + self.columns[level]
            query = stage(query, features.flatten(2).transpose(1, 2))  # memory (B, H*W, D)
        return query[:, : self.config.style_count] + self.mean


def upsample_like(x: Tensor, target: Tensor) -> Tensor:
    """Enlarge features (B, C, H, W) to the size of `target`, as pSp's feature pyramid does."""
    return F.interpolate(x, size=target.shape[-2:], mode="bilinear", align_corners=True)
