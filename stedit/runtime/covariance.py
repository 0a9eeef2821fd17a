"""The covariance S of latent codes, which parts a plausible change of a code from one that no face has."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, cast

import torch
from torch import Tensor

from stedit.models.generator import Generator
from stedit.models.latent_classifier import LatentClassifier

SAMPLES = 10_000
MIXING = 0.9  # share of style-mixed codes in the training of a StyleGAN2 (Karras et al. 2019, section 3.1)


class LatentCovariance(Protocol):
    """S, (N*D, N*D), without its N*D squared numbers."""

    def multiply(self, vectors: Tensor) -> Tensor:
        """S v of flattened codes (…, N*D)."""


def latent_covariance(classifier: LatentClassifier | None, generator: Generator) -> LatentCovariance:
    """S of the codes that the classifier was trained on if it holds it, else of those of the mapping network."""
    return LowRankCovariance.of(classifier) or MixingCovariance.sample(generator)


@dataclass(frozen=True, eq=False)
class LowRankCovariance:
    """S = U'U + r I: the leading axes of codes, and one variance for all others."""

    factor: Tensor
    """U, (rank, N*D)."""
    rest: Tensor
    """r, a scalar."""

    @classmethod
    def of(cls, classifier: LatentClassifier | None) -> LowRankCovariance | None:
        """S as a classifier holds it, or None."""
        if classifier is None or not classifier.config.covariance_rank:
            return None
        return cls(classifier.covariance_factor, classifier.covariance_rest)

    def multiply(self, vectors: Tensor) -> Tensor:
        """S v of flattened codes (…, N*D)."""
        return vectors @ self.factor.T @ self.factor + self.rest * vectors

    def squared_length(self, vectors: Tensor) -> Tensor:
        """V' S^-1 v of flattened codes (B, N*D): (B,). The inverse is that of Woodbury's identity."""
        along = vectors @ self.factor.T
        square = vectors.square().sum(dim=1) - (along @ self._inner * along).sum(dim=1)
        length: Tensor = square / self.rest
        return length

    @cached_property
    def _inner(self) -> Tensor:
        gram = self.factor @ self.factor.T
        identity = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        inverse: Tensor = torch.linalg.inv(self.rest * identity + gram)  # (rank, rank)
        return inverse


@dataclass(frozen=True, eq=False)
class MixingCovariance:
    """S of the codes on which a generator is trained: mixtures of two w that swap at a random style.

    Styles i and j of such a code are of the same w unless the swap falls between them, so their covariance is
    (1 - 0.9 |i - j| / (N - 1)) * Sigma, with Sigma the covariance of w. It is of full rank over the styles, unlike
    that of codes in W, which would let an edit move all styles alike only.
    """

    shared: Tensor
    """The factor before Sigma, (N, N)."""
    sigma: Tensor
    """(D, D)."""

    @classmethod
    @torch.no_grad()
    def sample(cls, generator: Generator, *, samples: int = SAMPLES, seed: int = 0) -> MixingCovariance:
        """S with the Sigma of w over random draws of z."""
        count, dim = generator.config.style_count, generator.config.style_dim
        mean = generator.mapping.mean
        z = torch.randn(samples, dim, generator=torch.Generator().manual_seed(seed)).to(mean)
        sigma = torch.cov(cast(Tensor, generator.mapping(z)).T)
        sigma += 1e-3 * sigma.trace() / dim * torch.eye(dim, dtype=sigma.dtype, device=sigma.device)  # of full rank
        places = torch.arange(count, dtype=sigma.dtype, device=sigma.device)
        shared = 1 - MIXING * (places[:, None] - places).abs() / max(count - 1, 1)
        return cls(shared, sigma)

    def multiply(self, vectors: Tensor) -> Tensor:
        """S v of flattened codes (…, N*D)."""
        styles = vectors.reshape(*vectors.shape[:-1], len(self.shared), len(self.sigma))
        product: Tensor = (self.shared.to(styles) @ styles @ self.sigma.to(styles)).flatten(-2)
        return product
