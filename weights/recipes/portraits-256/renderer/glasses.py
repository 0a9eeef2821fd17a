"""Glasses of five shapes, fitted to the face that wears them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from renderer.colours import GOLD, SILVER
from renderer.head import Head, Shape
from renderer.mesh import FRAME, LENS, MeshBuilder, tube
from renderer.parameters import Parameters

RECTANGULAR, ROUND, OVAL, AVIATOR, CAT_EYE = range(5)  # cases of "glasses_shape"
# half width and half height of a lens (cm), and the exponent of its superellipse
LENSES = ((2.75, 1.75, 4.0), (2.25, 2.2, 2.0), (2.65, 1.8, 2.5), (2.75, 2.2, 2.6), (2.75, 1.85, 3.0))
RIM_POINTS = 40
BRIDGE_GAP = 0.62  # cm, half of it, on a head of the mean width


@dataclass(frozen=True)
class _Fit:
    """The sizes of one pair of glasses, in cm."""

    width: float  # half of a lens
    height: float
    exponent: float
    wire: float  # radius
    gap: float  # from the middle of the face to a lens
    temple: float  # from the middle of the face to the side of the head
    middle: float  # height of the lenses
    front: float  # how far forward the bridge is

    def z(self, x: NDArray[np.floating]) -> NDArray[np.floating]:
        """How far forward the frame is; it bends around the face."""
        return self.front - 0.030 * x**2


def add_glasses(builder: MeshBuilder, head: Head, shape: Shape, person: Parameters) -> None:
    """Add frame and lenses to the picture's meshes, if the person wears any."""
    if not person.choice("glasses_on"):
        return
    kind = person.choice("glasses_shape")
    landmarks = shape.neutral[head.landmarks]
    eyes = [landmarks[36:42].mean(0), landmarks[42:48].mean(0)]
    fit = _fit(head, shape, person, landmarks, eyes)
    for side, eye in ((-1, eyes[0]), (1, eyes[1])):
        centre = side * max(abs(eye[0]), fit.width + fit.gap)
        rim = _rim(fit, kind, side, centre)
        builder.add(*tube(rim, fit.wire, 6, closed=True), FRAME)
        fan = np.array([[0, 1 + k, 1 + (k + 1) % RIM_POINTS] for k in range(RIM_POINTS)])
        builder.add(np.concatenate([[[centre, fit.middle, fit.z(centre)]], rim]), fan, LENS)
        builder.add(*tube(_arm(fit, head, shape, side, rim), fit.wire * 0.9, 5), FRAME)
    inner = max(abs(eyes[1][0]), fit.width + fit.gap) - fit.width
    q = np.linspace(-1, 1, 9)
    height = fit.middle + (0.35 if kind != AVIATOR else 0.75) * fit.height * 0.5 + 0.25 * (1 - q**2)
    bridge = np.stack([q * (inner + 0.05), height, fit.z(q * inner) + 0.06], 1)
    builder.add(*tube(bridge, fit.wire * 0.95, 6), FRAME)
    if kind == AVIATOR:
        bar = np.stack([q * (inner + 0.6), height + 0.62 - 0.2 * (1 - q**2), fit.z(q * inner) + 0.04], 1)
        builder.add(*tube(bar, fit.wire * 0.8, 5), FRAME)


def _fit(head: Head, shape: Shape, person: Parameters, landmarks: np.ndarray, eyes: list[np.ndarray]) -> _Fit:
    """Scale a pair to the head, and hold the lenses apart."""
    dark, metal = person.choice("sun_on"), person.choice("glasses_color") in (GOLD, SILVER)
    size = person.uniform("glasses_size", 0.92, 1.12) * (1.06 if dark else 1.0)
    wire = person.uniform("glasses_thick", 0.11, 0.24) * (0.62 if metal else 1.0)
    width, height, exponent = LENSES[person.choice("glasses_shape")]
    temple = np.abs(shape.neutral[head.temples, 0]).max() + 0.08
    gap = BRIDGE_GAP * temple / 7.45
    size = min(size * temple / 7.4, (temple - 0.72 - gap) / (2 * width))
    front = max(landmarks[27, 2], landmarks[28, 2] - 0.4) + 0.55
    middle = (eyes[0][1] + eyes[1][1]) / 2 - 0.25
    return _Fit(width * size, height * size, exponent, wire, gap, temple, middle, front)


def _rim(fit: _Fit, kind: int, side: int, centre: float) -> NDArray[np.floating]:
    """The outline (RIM_POINTS, 3) of a lens."""
    angle = np.linspace(0, 2 * np.pi, RIM_POINTS + 1)[:-1]
    c, s = np.cos(angle), np.sin(angle)
    x = np.sign(c) * abs(c) ** (2 / fit.exponent) * fit.width
    y = np.sign(s) * abs(s) ** (2 / fit.exponent) * fit.height
    if kind == AVIATOR:  # a drop
        x = x * (1 + 0.10 * s) + 0.12 * np.where(s < 0, -s, 0)
        y = y - 0.18 * c * (s < 0) * fit.height * 0.5
    if kind == CAT_EYE:  # a raised outer corner
        y = y + 0.55 * np.clip(c, 0, 1) ** 2 * np.clip(s + 0.4, 0, 1)
    x = centre + side * x
    return np.stack([x, fit.middle + y, fit.z(x) + 0.04 * y], 1)


def _arm(fit: _Fit, head: Head, shape: Shape, side: int, rim: np.ndarray) -> NDArray[np.floating]:
    """A path from the outer upper corner of the rim over the ear."""
    rest = head.vertices
    at_ear = abs(shape.vertices[:, 0] - side * 8.0) + abs(rest[:, 1] - 4.8) + abs(rest[:, 2] - 0.3)
    ear_point = shape.neutral[np.argmin(at_ear + 99 * ~head.is_head)]
    corner = rim[np.argmax(side * rim[:, 0] + 0.8 * rim[:, 1])]
    hinge = np.array([side * max(abs(corner[0]) + 0.1, fit.temple - 0.55), corner[1] + 0.02, corner[2] - 0.35])
    ear = np.array([side * (fit.temple + 0.10), ear_point[1] + 0.2, ear_point[2] - 0.5])
    along = hinge[None] + np.linspace(0, 1, 12)[:, None] * (ear - hinge)
    return np.concatenate([[corner], along, [ear + np.array([0, -1.2, -1.5])]])
