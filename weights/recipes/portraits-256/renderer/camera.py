"""How the head is turned, and how its picture is cropped."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from renderer.expression import MAX_ROLL, pitch_of, yaw_of
from renderer.noise import F
from renderer.parameters import Parameters


class Pose(NamedTuple):
    """The head's turn in degrees, its rotation matrix, and the distance (cm) of a pinhole camera."""

    yaw: float
    pitch: float
    roll: float
    rotation: NDArray[np.float32]  # (3, 3): head -> world
    distance: float


class Crop(NamedTuple):
    """The square of the image plane that becomes the picture: its centre, and half its side as a vector."""

    x: float
    y: float
    right_x: float
    right_y: float


class Frame(NamedTuple):
    """How a picture is framed, compared with FFHQ's square of the face."""

    zoom: float = 1.0  # how many times as wide the picture is
    tilt: float = 0.0  # degrees that the camera is turned by, about its axis
    x: float = 0.0  # where the face is, in halves of the picture's side off its middle
    y: float = 0.0


PORTRAIT = Frame()


def pose_of(person: Parameters) -> Pose:
    """Decode the parameters."""
    roll = np.clip(4 * person.normal("roll"), -MAX_ROLL, MAX_ROLL)
    angles = np.deg2rad([yaw_of(person), pitch_of(person), roll])
    (cy, cp, cr), (sy, sp, sr) = map(math.cos, angles), map(math.sin, angles)
    around_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    around_x = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    around_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    rotation = (around_z @ around_x @ around_y).astype(F)
    return Pose(*(math.degrees(angle) for angle in angles), rotation, float(person.uniform("cam_dist", 75, 150)))


def project(points: NDArray[np.float32], distance: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """World points (M, 3) -> image plane x and y (down), each (M,), and distance from the camera."""
    depth = distance - points[:, 2]
    return points[:, 0] / depth, -points[:, 1] / depth, depth


def crop_around(landmarks: NDArray[np.floating]) -> Crop:
    """FFHQ's square (Karras et al. 2019) by the projected landmarks (68, 2): from the eyes and the mouth."""
    left, right = landmarks[36:42].mean(0), landmarks[42:48].mean(0)
    eyes, across = (left + right) / 2, right - left
    to_mouth = (landmarks[48] + landmarks[54]) / 2 - eyes
    half = across - np.array([-to_mouth[1], to_mouth[0]])
    half /= np.hypot(*half)
    half *= max(np.hypot(*across) * 2.0, np.hypot(*to_mouth) * 1.8)
    centre = eyes + to_mouth * 0.1
    return Crop(centre[0], centre[1], half[0], half[1])


def framed(crop: Crop, frame: Frame) -> Crop:
    """The square of a picture that shows more than the face's own."""
    angle = math.radians(frame.tilt)
    right = complex(crop.right_x, crop.right_y) * frame.zoom * complex(math.cos(angle), math.sin(angle))
    centre = complex(crop.x, crop.y) - complex(frame.x, frame.y) * right
    return Crop(centre.real, centre.imag, right.real, right.imag)


def into_crop(crop: Crop, x: np.ndarray, y: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Image plane -> pixels of a picture of size x size."""
    dx, dy = x - crop.x, y - crop.y
    half = np.array([crop.right_x, crop.right_y])
    squared = half @ half
    u = ((dx * half[0] + dy * half[1]) / squared + 1) * 0.5 * size
    v = ((-dx * half[1] + dy * half[0]) / squared + 1) * 0.5 * size
    return u.astype(F), v.astype(F)
