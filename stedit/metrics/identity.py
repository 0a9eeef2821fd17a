"""Whether two pictures show the same person: cosine similarity of embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray

from stedit.engine import Engine
from stedit.imaging.files import Pixels
from stedit.models.backbone import IdentityNetwork

Embeddings = NDArray[np.float32]


@dataclass(frozen=True)
class Identity:
    """ArcFace where the bundle has it; else the judge's embedding, which knows attributes and hardly persons."""

    engine: Engine
    measure: Literal["ArcFace", "judge embedding"]

    @classmethod
    def of(cls, engine: Engine) -> Identity | None:
        """The best measure that the bundle has, or None."""
        if "identity" in engine.networks:
            return cls(engine, "ArcFace")
        return cls(engine, "judge embedding") if "judge" in engine.networks else None

    def embed(self, pictures: Pixels) -> Embeddings:
        """uint8 (B, H, W, 3), FFHQ-aligned -> (B, E)."""
        if self.measure == "judge embedding":
            return self.engine.judge_embedding(pictures)
        images = torch.from_numpy(pictures).permute(0, 3, 1, 2).float().to(self.engine.device) / 127.5 - 1
        with torch.no_grad():
            network = cast(IdentityNetwork, self.engine.networks["identity"])
            return cast(Embeddings, network.embed(network.crop(images)).float().cpu().numpy())


def similarity(embeddings: Embeddings, others: Embeddings) -> NDArray[np.float64]:
    """Cosine (B,) of the angles between rows, in [-1, 1]."""
    a, b = embeddings.astype(np.float64), others.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(axis=1) / np.maximum(lengths, 1e-12))
