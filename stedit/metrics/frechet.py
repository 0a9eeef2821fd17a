"""The Fréchet distance between two sets of images, over the features of a network (Heusel et al. 2017).

Over Inception's features it is the FID, comparable with published figures; over another network's it is not, and must
not be called so.
"""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stedit.checkpoints.reader import load_file
from stedit.errors import InputError, UsageError, describe_cause
from stedit.imaging.files import Pixels

INCEPTION_WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"
"""As torch-fidelity releases them."""

Matrix = NDArray[np.float64]


class Moments:
    """Mean and covariance of features, gathered batch by batch in memory that does not grow."""

    def __init__(self) -> None:
        self.count = 0
        self._sum: Matrix = np.zeros(0)
        self._products: Matrix = np.zeros((0, 0))

    def add(self, features: NDArray[Any]) -> None:
        """Take in (B, F)."""
        values = features.astype(np.float64)
        if not self.count:
            self._sum, self._products = np.zeros(values.shape[1]), np.zeros((values.shape[1],) * 2)
        self.count += len(values)
        self._sum += values.sum(axis=0)
        self._products += values.T @ values

    @property
    def mean(self) -> Matrix:
        """(F,)."""
        return self._sum / self.count

    @property
    def covariance(self) -> Matrix:
        """(F, F), unbiased. Needs two images."""
        mean = self.mean
        return (self._products - self.count * np.outer(mean, mean)) / (self.count - 1)


def frechet_distance(first: Moments, second: Moments) -> float:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), which is 0 for equal Gaussians."""
    difference = first.mean - second.mean
    covariance, other = first.covariance, second.covariance
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    # (S1 S2)^(1/2) has the trace of (R S2 R)^(1/2), where R R = S1; that one is symmetric, so no root is complex
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ other @ root), 0)).sum()
    return max(float(difference @ difference + np.trace(covariance) + np.trace(other) - 2 * shared), 0.0)


class Inception:
    """Inception-v3 as the FID takes it: torch-fidelity's network with the weights of TensorFlow's, 2048 features."""

    def __init__(self, weights: Path, device: torch.device) -> None:
        """Load a file of INCEPTION_WEIGHTS. Raises UsageError, InputError."""
        if importlib.util.find_spec("torch_fidelity") is None:
            raise UsageError("the FID needs torch-fidelity: pip install 'stedit[metrics]'")
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        state = load_file(weights).content
        try:
            with tempfile.TemporaryDirectory() as folder:
                # torch-fidelity unpickles its file, so it gets one that is written here
                copy = Path(folder) / "inception.pth"
                torch.save(state, copy)
                self._network = FeatureExtractorInceptionV3(
                    "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(copy)
                )
        except Exception as error:  # whatever a damaged file makes torch raise
            raise InputError(
                f"cannot read Inception's weights {weights} ({describe_cause(error)}): give {INCEPTION_WEIGHTS}"
            ) from error
        self._network.to(device).eval()
        self._device = device

    def features(self, images: Pixels) -> NDArray[np.float32]:
        """uint8 (B, H, W, 3) of any size -> (B, 2048)."""
        with torch.no_grad():
            (features,) = self._network(torch.from_numpy(images).permute(0, 3, 1, 2).to(self._device))
        assert isinstance(features, Tensor)
        return features.float().cpu().numpy()
