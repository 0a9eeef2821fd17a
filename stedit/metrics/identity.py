"""Whether two images show the same person: cosine similarity of embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stedit.engine import Engine
from stedit.imaging.files import Pixels

Embeddings = NDArray[np.float32]


@dataclass(frozen=True)
class Identity:
    """ArcFace where the bundle has it; else the judge's embedding, which knows attributes and hardly persons."""

    engine: Engine
    measure: Literal["ArcFace", "judge embedding"]

    @classmethod
    def of(cls, engine: Engine) -> Identity | None:
        """The best measure that the bundle has, or None."""
        if engine.networks.identity:
            return cls(engine, "ArcFace")
        return cls(engine, "judge embedding") if engine.networks.judge else None

    def embed(self, images: Pixels) -> Embeddings:
        """uint8 (B, H, W, 3), FFHQ-aligned -> (B, E)."""
        if self.measure == "judge embedding":
            return self.engine.attribute_features(images)
        return self.engine.identity_embedding(images)


def similarity(embeddings: Embeddings, others: Embeddings) -> NDArray[np.float64]:
    """Cosine (B,) of the angles between rows, in [-1, 1]."""
    a, b = embeddings.astype(np.float64), others.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(axis=1) / np.maximum(lengths, 1e-12))
