"""Measures of faces, and an identity space in which they vary enough to be seen at 128 px."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from renderer.parameters import CLIP, IDENTITIES

Measures = dict[str, NDArray[np.floating]]

# measure: how much further identities go along it
STRETCH = {
    "nose_size": 0.9,
    "lip_height": 0.9,
    "chubby": 0.95,
    "eye_open": 0.7,
    "face_oval": 0.6,
    "nose_point": 0.6,
}
BOUND = 2.7  # standard deviations that a stretched coordinate stays within
SAMPLES, SAMPLE_SEED = 4000, 12345  # faces by which the thresholds of attributes are set
HIGH, LOW = 0.7, 0.3  # an attribute of geometry is present above, narrow eyes below, this quantile
LOW_EYES = "eye_open_lo"


def measures(landmarks: NDArray[np.floating]) -> Measures:
    """Lengths (cm) and their ratios, each (n,), of the 68 landmarks (n, 68, 3) of neutral faces."""
    L = landmarks

    def d(a: int, b: int) -> NDArray[np.floating]:
        return np.linalg.norm(L[:, a] - L[:, b], axis=-1)

    nose_width = d(31, 35)
    protrusion = L[:, 30, 2] - L[:, [31, 35], 2].mean(1)
    nose_length = L[:, 27, 1] - L[:, 33, 1]
    height = L[:, 27, 1] - L[:, 8, 1]
    cheeks, jaw, lower_jaw = d(1, 15), d(4, 12), d(5, 11)
    eye_height = (d(37, 41) + d(38, 40) + d(43, 47) + d(44, 46)) / 4
    eye_width = (d(36, 39) + d(42, 45)) / 2
    return {
        "nose_size": nose_width * 0.6 + 0.35 * nose_length + 0.6 * protrusion,
        "nose_width": nose_width,
        "nose_point": protrusion / nose_width,
        "lip_height": (L[:, 51, 1] - L[:, 62, 1]) + (L[:, 66, 1] - L[:, 57, 1]),
        "face_oval": height / cheeks - 0.6 * jaw / cheeks,
        "chubby": (jaw + lower_jaw) / (2 * height),
        "cheekbone": cheeks / jaw + 0.06 * (L[:, [1, 15], 1].mean(1) - L[:, 30, 1]),
        "eye_open": eye_height / eye_width,
    }


def eye_opening(landmarks: NDArray[np.floating]) -> float:
    """Height of both eyes over their width, of the landmarks (68, 3) of a face with its expression."""
    L = landmarks
    heights = [np.linalg.norm(L[a] - L[b]) for a, b in ((37, 41), (38, 40), (43, 47), (44, 46))]
    return np.mean(heights) / ((np.linalg.norm(L[36] - L[39]) + np.linalg.norm(L[42] - L[45])) / 2)


class IdentitySpace:
    """Coefficients of the kit's identities, stretched along the directions in which the measures grow."""

    def __init__(self, landmarks: NDArray[np.float32], displacements: NDArray[np.float32]) -> None:
        """Take the mean face's landmarks (68, 3) and what each identity adds to them, (IDENTITIES, 68, 3)."""
        base = measures(landmarks[None])
        directions: list[NDArray[np.floating]] = []
        for key in STRETCH:
            g = np.array([measures((landmarks + 0.5 * step)[None])[key][0] - base[key][0] for step in displacements])
            g /= np.linalg.norm(g) + 1e-9
            for other in directions:
                g -= (g @ other) * other
            directions.append(g / np.linalg.norm(g))
        self._directions = np.array(directions)  # (6, IDENTITIES), orthonormal
        self._stretch = np.array(list(STRETCH.values()))
        random = np.random.default_rng(SAMPLE_SEED)
        drawn = np.clip(random.standard_normal((SAMPLES, IDENTITIES)), -CLIP, CLIP)
        found = measures(landmarks + np.tensordot(self.coefficients(drawn), displacements, 1))
        self.thresholds = {key: np.quantile(values, HIGH) for key, values in found.items()}
        self.thresholds[LOW_EYES] = np.quantile(found["eye_open"], LOW)

    def coefficients(self, drawn: NDArray[np.float64]) -> NDArray[np.float64]:
        """Normal numbers (…, IDENTITIES) -> weights of the kit's identities."""
        along = drawn @ self._directions.T
        stretched = BOUND * np.tanh(along * (1 + self._stretch) / BOUND)
        return drawn + (stretched - along) @ self._directions
