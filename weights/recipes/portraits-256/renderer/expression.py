"""From parameters to the weights of the kit's expressions (blend shapes after FACS)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from renderer.parameters import Parameters

MAX_YAW, MAX_PITCH, MAX_ROLL = 30, 12, 10  # degrees


def yaw_of(person: Parameters) -> float:
    """Degrees to which the head turns to the right of the picture."""
    return float(np.clip(11.5 * person.normal("yaw"), -MAX_YAW, MAX_YAW))


def pitch_of(person: Parameters) -> float:
    """Degrees to which the head bends down."""
    return float(np.clip(5.0 * person.normal("pitch"), -MAX_PITCH, MAX_PITCH))


@dataclass(frozen=True)
class Expression:
    """Weights of the blend shapes, and the quantities behind them."""

    weights: NDArray[np.float64]  # (E,)
    smile: float  # 0 to 1
    jaw: float  # 0 to 0.48
    gaze_x: float  # degrees, as is gaze_y
    gaze_y: float
    blink: float

    @classmethod
    def of(cls, person: Parameters, names: Mapping[str, int]) -> Expression:
        """Decode the parameters; `names` numbers the blend shapes."""
        weights = _Weights(names)
        smiling, opened = person.choice("smile_on"), person.choice("open_on")
        smile = person.uniform("smile_amt", 0.55, 1.0) if smiling else person.uniform("smile_amt", 0.0, 0.10)
        jaw = person.uniform("open_amt", 0.16, 0.48) if opened else 0.0
        _put_mouth(weights, person, smile, jaw)
        blink = _put_eyes(weights, person)
        side = 0.12 * person.normal("mouth_side")
        weights.put("cheekPuff", max(0, 0.18 * person.normal("cheek_puff")))
        weights.put("mouthLeft", max(0, side))
        weights.put("mouthRight", max(0, -side))
        gaze_x, gaze_y = _put_gaze(weights, person)
        return cls(weights.values, smile, jaw, gaze_x, gaze_y, blink)


class _Weights:
    """Weights by name; a name without a side stands for the left and the right shape."""

    def __init__(self, names: Mapping[str, int]) -> None:
        self._names = names
        self.values = np.zeros(len(names), np.float64)

    def put(self, name: str, amount: float, asymmetry: float = 0.0) -> None:
        if name in self._names:
            self.values[self._names[name]] += amount
        else:
            self.values[self._names[f"{name}_L"]] += amount * (1 + asymmetry)
            self.values[self._names[f"{name}_R"]] += amount * (1 - asymmetry)


def _put_mouth(weights: _Weights, person: Parameters, smile: float, jaw: float) -> None:
    smiling, opened = person.choice("smile_on"), person.choice("open_on")
    asymmetry = 0.10 * person.normal("asym")
    weights.put("mouthSmile", smile, asymmetry)
    weights.put("cheekSquint", 0.55 * smile * smiling)
    weights.put("eyeSquint", 0.30 * smile * smiling)
    weights.put("mouthDimple", 0.25 * smile * smiling)
    weights.put("mouthStretch", 0.12 * smile * smiling)
    weights.put("jawOpen", jaw)
    if opened:
        weights.put("mouthUpperUp", 0.18 + 0.32 * smile * smiling)
        weights.put("mouthLowerDown", 0.16 + 0.10 * smile * smiling)
    elif smiling:
        weights.put("mouthPress", 0.12)
    if not smiling:
        weights.put("mouthFrown", max(0, 0.16 * person.normal("frown")), asymmetry)
        weights.put("mouthPucker", 0.28 * max(0, person.normal("pucker")))
        if opened:
            weights.put("mouthFunnel", 0.10 * max(0, person.normal("pucker")))
        else:
            weights.put("mouthShrugLower", max(0, 0.12 * -person.normal("frown")))


def _put_eyes(weights: _Weights, person: Parameters) -> float:
    """Brows and lids; returns how far the lids close."""
    up, squint = person.normal("brow_up"), person.normal("squint")
    weights.put("browInnerUp", max(0, 0.30 * up))
    weights.put("browOuterUp", max(0, 0.30 * up), 0.10 * person.normal("asym"))
    weights.put("browDown", max(0, 0.17 * person.normal("brow_down")))
    weights.put("eyeSquint", max(0, 0.26 * squint))
    weights.put("eyeWide", max(0, -0.22 * squint))
    blink = max(0.0, 0.15 * person.normal("blink") - 0.02)
    weights.put("eyeBlink", blink)
    weights.put("eyeWide", 0.11)
    return blink


def _put_gaze(weights: _Weights, person: Parameters) -> tuple[float, float]:
    """Turn the eyes against the head's turn, about toward the camera; returns degrees."""
    x = np.clip(-0.65 * yaw_of(person) + 6 * person.normal("gaze_x"), -22, 22) / 35
    y = np.clip(-0.6 * pitch_of(person) + 3.0 * person.normal("gaze_y") + 1.0, -10, 12) / 30
    weights.put("eyeLookOut_L", max(0, x))
    weights.put("eyeLookIn_R", max(0, x))
    weights.put("eyeLookIn_L", max(0, -x))
    weights.put("eyeLookOut_R", max(0, -x))
    weights.put("eyeLookUp", max(0, y))
    weights.put("eyeLookDown", max(0, -y))
    return x * 35, y * 30
