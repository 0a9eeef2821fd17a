"""Descent from the encoder's code, held where codes can be edited.

An unconstrained descent in W+ fits a picture by codes that no picture of the training had, and such codes edit badly
(Tov et al. 2021, section 3). So two terms are added to the loss: the squared Mahalanobis distances, per number of the
code, from the encoder's code and from the mean. They let a code move where the codes of pictures vary.
"""

from __future__ import annotations

from torch import Tensor

from stedit.inversion.objective import Objective
from stedit.inversion.optimisation import CodeStatistics, Prior, Report, descend
from stedit.inversion.options import InversionOptions
from stedit.models.generator import Generator
from stedit.models.latent_classifier import LatentClassifier
from stedit.runtime.covariance import LowRankCovariance

# Weights of the two distances at options.stay = 1. On pictures of the training split they cost 0.4 dB of PSNR and give
# back the editing success that a free descent loses; three times as much would cost 0.7 dB more.
TO_ENCODER = 3e-4
TO_MEAN = 3e-4


def from_encoder(
    generator: Generator,
    objective: Objective,
    start: Tensor,
    statistics: CodeStatistics,
    classifier: LatentClassifier | None,
    options: InversionOptions,
    *,
    steps: int,
    report: Report | None = None,
) -> Tensor:
    """Improve the encoder's codes `start` (B, N, D), of the objective's B pictures.

    In W+, the result has no larger loss than `start`, because the encoder's code is the first that is tried.
    """
    prior = _stay_near(start, statistics, classifier, options.stay) if options.stay else None
    return descend(generator, objective, start, options, steps=steps, prior=prior, report=report)


def _stay_near(start: Tensor, statistics: CodeStatistics, classifier: LatentClassifier | None, weight: float) -> Prior:
    covariance = LowRankCovariance.of(classifier)

    def distance(change: Tensor) -> Tensor:
        return squared_distance(change, covariance, statistics)

    def penalty(w: Tensor, kept: Tensor) -> Tensor:
        return weight * (TO_ENCODER * distance(w - start[kept]) + TO_MEAN * distance(w - statistics.mean))

    return penalty


def squared_distance(change: Tensor, covariance: LowRankCovariance | None, statistics: CodeStatistics) -> Tensor:
    """The squared Mahalanobis length of changes (B, N, D), per number of the code: (B,).

    Without a covariance, codes are taken to vary alike in all directions, as much as the generator's W does.
    """
    flat = change.flatten(1)
    if covariance is None:
        variance = statistics.deviation**2 / statistics.mean.shape[1]
        return flat.square().sum(dim=1) / variance / flat.shape[1]
    return covariance.squared_length(flat) / flat.shape[1]
