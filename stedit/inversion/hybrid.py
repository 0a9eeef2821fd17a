"""Descent from the encoder's code, held where codes can be edited.

An unconstrained descent in W+ fits a picture by codes that no picture of the training had, and such codes edit badly
(Tov et al. 2021, section 3). So two terms are added to the loss: the squared Mahalanobis distances, per number of the
code, from the encoder's code and from the mean. They let a code move where the codes of pictures vary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stedit.inversion.objective import Objective
from stedit.inversion.optimisation import CodeStatistics, Prior, Report, descend
from stedit.inversion.options import InversionOptions
from stedit.models.generator import Generator
from stedit.models.latent_classifier import LatentClassifier

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
    distance = Mahalanobis(classifier, statistics)

    def penalty(w: Tensor, kept: Tensor) -> Tensor:
        return weight * (TO_ENCODER * distance(w - start[kept]) + TO_MEAN * distance(w - statistics.mean))

    return penalty


class Mahalanobis:
    """The squared length of changes of a code, in units of how codes vary, per number of the code.

    The classifier's covariance S = U'U + rest * I is inverted by Woodbury's identity; where there is none, codes are
    taken to vary alike in all directions, as much as the generator's W does.
    """

    def __init__(self, classifier: LatentClassifier | None, statistics: CodeStatistics) -> None:
        self._factor: Tensor | None = None
        self._variance: float | Tensor = statistics.deviation**2 / statistics.mean.shape[1]
        if classifier is not None and classifier.config.covariance_rank:
            self._factor, self._variance = classifier.covariance_factor, classifier.covariance_rest
            gram = self._factor @ self._factor.T
            identity = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
            self._inner = torch.linalg.inv(self._variance * identity + gram)  # (rank, rank)

    def __call__(self, change: Tensor) -> Tensor:
        """(B, N, D) -> (B,)."""
        flat = change.flatten(1)
        square = flat.square().sum(dim=1)
        if self._factor is not None:
            along = flat @ self._factor.T
            square = square - (along @ self._inner * along).sum(dim=1)
        return square / self._variance / flat.shape[1]
