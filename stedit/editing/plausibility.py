"""Whether an edit leaves the codes that a model knows, behind which renderings fall apart."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from stedit.runtime.codes import to_latents
from stedit.runtime.covariance import LowRankCovariance
from stedit.runtime.model import Model

# In squares of the Mahalanobis distance from the mean code, of which codes have 1 on average for each of their numbers.
# With the embedded model, smiles break up at a strength of 5 to 7, hats at 3 to 4 and blond hair at 3: all near 0.5.
LARGEST_EXCESS = 0.5


def leaves_known_codes(
    model: Model, codes: npt.NDArray[np.float32], edited: npt.NDArray[np.float32]
) -> npt.NDArray[np.bool_]:
    """Whether each of the `edited` codes is much less likely than the one it was made of: both (B, N, D), gives (B,).

    Always false for a model whose classifier does not hold the covariance of codes.
    """
    covariance = model.covariance
    if not isinstance(covariance, LowRankCovariance):
        return np.zeros(len(codes), bool)
    mean = model.networks.generator.mapping.mean.repeat(codes.shape[1])
    before, after = (to_latents(model, one).flatten(1) - mean for one in (codes, edited))
    with torch.no_grad():
        excess = covariance.squared_length(after) - covariance.squared_length(before)
    found: npt.NDArray[np.bool_] = (excess / before.shape[1] > LARGEST_EXCESS).cpu().numpy()
    return found
