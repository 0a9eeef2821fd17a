"""How codes vary: the covariance S of W+ codes, which tells a plausible change of a code from one that no face has."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from stedit.models.generator import Generator
from stedit.models.latent_classifier import LatentClassifier

Spread = Callable[[Tensor], Tensor]
"""Multiplies flattened codes (…, N*D) by S."""

SAMPLES = 10_000
MIXING = 0.9  # share of style-mixed codes in the training of a StyleGAN2 (Karras et al. 2019, section 3.1)


def spread_of(classifier: LatentClassifier | None, generator: Generator) -> Spread:
    """S as the classifier knows it from the codes it was trained on, else as the mapping network makes codes."""
    if classifier is not None and classifier.config.covariance_rank:
        return classifier.spread
    return mapping_spread(generator)


@torch.no_grad()
def mapping_spread(generator: Generator, *, samples: int = SAMPLES, seed: int = 0) -> Spread:
    """S of the codes on which a generator is trained: mixtures of two w that swap at a random style.

    Styles i and j of such a code are of the same w unless the swap falls between them, so their covariance is
    (1 - 0.9 |i - j| / (N - 1)) * Sigma, with Sigma the covariance of w over `samples` draws of z. It is of full rank
    over the styles, unlike that of codes in W, which would let an edit move all styles alike only.
    """
    count, dim = generator.config.style_count, generator.config.style_dim
    mean = generator.mapping.mean
    z = torch.randn(samples, dim, generator=torch.Generator().manual_seed(seed)).to(mean)
    sigma = torch.cov(cast(Tensor, generator.mapping(z)).T)  # (D, D)
    sigma += 1e-3 * sigma.trace() / dim * torch.eye(dim, dtype=sigma.dtype, device=sigma.device)  # no direction is shut
    places = torch.arange(count, dtype=sigma.dtype, device=sigma.device)
    shared = 1 - MIXING * (places[:, None] - places).abs() / max(count - 1, 1)  # (N, N)

    def spread(vectors: Tensor) -> Tensor:
        styles = vectors.reshape(*vectors.shape[:-1], count, dim)
        spread_out: Tensor = (shared.to(styles) @ styles @ sigma.to(styles)).flatten(-2)
        return spread_out

    return spread


def one_deviation(direction: Tensor, spread: Spread) -> Tensor:
    """A direction (N, D), of any length, made as long as one standard deviation of the codes along it.

    The deviation of codes along the unit vector u is sqrt(u' S u).
    """
    flat = direction.flatten()
    variance = flat @ spread(flat)
    return direction * (variance.clamp_min(0).sqrt() / flat.square().sum())
