"""Whether a model knows such images at all: how much of an image's structure its reconstruction has.

An encoder answers whatever it is shown, with the nearest face that it knows. Light, colour, grain and background tell
nothing of that, and neither does the length of the code: what tells is whether eyes, nose and mouth are where they are
in the image. So the middle of the image is compared, in luma, between two scales.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import numpy.typing as npt
from torch import Tensor

from stedit.imaging.files import Pixels, fit_image
from stedit.runtime.arrays import to_array
from stedit.runtime.framing import content_size, frame
from stedit.runtime.model import Model
from stedit.runtime.synthesis import synthesise

SIDE = 128  # pixels of the longer side, at most, at which images are compared
FINE, COARSE = 1 / 128, 16 / 128  # of the longer side: standard deviations of the blurs between which structure lies
CENTRE, RADIUS = (0.55, 0.5), 0.25  # of the oval that is compared: row and column, in heights and widths
FLAT = 1e-4  # variance of structure below which there is none: what is flat correlates with nothing


def reconstruction_error(model: Model, images: Pixels, codes: Tensor) -> npt.NDArray[np.float64]:
    """1 - the correlation (B,) of structure in images and in the renderings of their codes: near 0 for equal ones.

    Args:
        model: whose generator renders.
        images: uint8 (B, H, W, 3), framed as the encoder takes them.
        codes: (B, N, D) on the model's device.
    """
    return rendering_error(model, images, frame(to_array(synthesise(model, codes)), model.target_size))


def rendering_error(model: Model, images: Pixels, renderings: Pixels) -> npt.NDArray[np.float64]:
    """The same of codes that are rendered already, uint8 (B, *target_size, 3), with the noise of the model."""
    size = content_size(min(SIDE, model.output_size[0]), model.input_size)
    fitted = (np.stack([fit_image(one, size) for one in several]) for several in (images, renderings))
    return structure_difference(*fitted)


def structure_difference(images: Pixels, others: Pixels) -> npt.NDArray[np.float64]:
    """1 - the correlation (B,) of structure in the middle of images (B, H, W, 3) of at most `SIDE` pixels."""
    return np.array([_difference(a, b) for a, b in zip(images, others, strict=True)])


def _difference(image: Pixels, other: Pixels) -> float:
    a, b = _structure(image), _structure(other)
    a, b = a - a.mean(), b - b.mean()
    return float(1 - (a * b).mean() / np.sqrt(((a * a).mean() + FLAT) * ((b * b).mean() + FLAT)))


def _structure(image: Pixels) -> npt.NDArray[np.float32]:
    """Luma of the oval, in [0, 1], blurred finely less blurred coarsely, (pixels,)."""
    luma = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    side = max(luma.shape)
    band = cv2.GaussianBlur(luma, (0, 0), FINE * side) - cv2.GaussianBlur(luma, (0, 0), COARSE * side)
    return np.asarray(band[_oval(*luma.shape)])


@cache
def _oval(height: int, width: int) -> npt.NDArray[np.bool_]:
    row, column = np.mgrid[:height, :width] + 0.5
    return np.asarray(np.hypot(row / height - CENTRE[0], column / width - CENTRE[1]) < RADIUS)
