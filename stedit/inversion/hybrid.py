"""Optimisation from the encoder's code, held where codes can be edited.

Free optimisation in W+ fits an image by codes that no training image had, and such codes edit badly (Tov et al. 2021,
section 3). So two terms are added to the loss: the squared Mahalanobis distances, per number of the code, from the
encoder's code and from the mean. They let a code move where the codes of images vary.
"""

from __future__ import annotations

from torch import Tensor

from stedit.inversion.objective import Objective
from stedit.inversion.optimisation import CodeStatistics, OnStep, Prior, optimise_latents
from stedit.inversion.options import InversionOptions
from stedit.models.generator import Generator
from stedit.models.latent_classifier import LatentClassifier
from stedit.runtime.covariance import LowRankCovariance

# Weights of the two distances at options.prior_weight = 1. On images of the training split they cost 0.4 dB of PSNR and
# give back the editing success that free optimisation loses; three times as much would cost 0.7 dB more.
TO_ENCODER = 3e-4
TO_MEAN = 3e-4


def invert_hybrid(
    generator: Generator,
    objective: Objective,
    start: Tensor,
    statistics: CodeStatistics,
    classifier: LatentClassifier | None,
    options: InversionOptions,
    *,
    steps: int,
    on_step: OnStep | None = None,
) -> Tensor:
    """Codes (B, N, D) of the objective's B images, improved from the encoder's codes `start`.

    In W+, the result has no larger loss than `start`, because the encoder's code is the first that is tried.
    """
    prior = _locality_prior(start, statistics, classifier, options.prior_weight) if options.prior_weight else None
    return optimise_latents(generator, objective, start, options, steps=steps, prior=prior, on_step=on_step)


def _locality_prior(
    start: Tensor, statistics: CodeStatistics, classifier: LatentClassifier | None, weight: float
) -> Prior:
    covariance = LowRankCovariance.of(classifier)

    def distance(change: Tensor) -> Tensor:
        return squared_distance(change, covariance, statistics)

    def penalty(w: Tensor, active: Tensor) -> Tensor:
        return weight * (TO_ENCODER * distance(w - start[active]) + TO_MEAN * distance(w - statistics.mean))

    return penalty


def squared_distance(change: Tensor, covariance: LowRankCovariance | None, statistics: CodeStatistics) -> Tensor:
    """The squared Mahalanobis length of changes (B, N, D), per number of the code: (B,).

    Without a covariance, codes are taken to vary alike in all directions, as much as the generator's W does.
    """
    flat = change.flatten(1)
    if covariance is None:
        variance = statistics.w_std**2 / statistics.mean.shape[1]
        return flat.square().sum(dim=1) / variance / flat.shape[1]
    return covariance.squared_length(flat) / flat.shape[1]
