"""Palettes, and the colours of one person; linear RGB, about 0 to 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from renderer.parameters import Parameters

Colour = NDArray[np.float64]

BLACK, BROWN, BLOND, GREY, RED = range(5)  # cases of hair_color
GOLD, SILVER, TORTOISE = 2, 3, 1  # cases of glasses_color


def linear(srgb: ArrayLike) -> Colour:
    """SRGB in [0, 1] -> linear RGB."""
    c = np.asarray(srgb, np.float64)
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def srgb_of(colour: Colour) -> list[float]:
    """Linear RGB -> sRGB in [0, 1], rounded for a record."""
    curved = 1.055 * np.maximum(colour, 1e-9) ** (1 / 2.4) - 0.055
    return [round(float(v), 3) for v in np.clip(np.where(colour < 0.0031308, 12.92 * colour, curved), 0, 1)]


def from_hsv(hue: float, saturation: float, value: float) -> Colour:
    """Hue (in turns), saturation and value of sRGB -> linear RGB."""
    h = (hue % 1.0) * 6
    i = int(h)
    f = h - i
    v = value
    p, q, t = v * (1 - saturation), v * (1 - saturation * f), v * (1 - saturation * (1 - f))
    return linear(np.array([(v, t, p), (q, v, p), (p, v, t), (p, q, v), (t, p, v), (v, p, q)][i % 6]))


def _palette(colours: Sequence[Sequence[int]]) -> Colour:
    return linear(np.array(colours) / 255.0)


SKINS = _palette(  # by melanin, from pale to dark
    [
        [233, 195, 176],
        [226, 181, 156],
        [218, 168, 138],
        [200, 145, 111],
        [174, 119, 86],
        [142, 92, 64],
        [108, 67, 47],
        [81, 51, 38],
    ]
)
HAIRS = [  # darkest and lightest of each case of hair_color
    _palette([[22, 18, 17], [38, 30, 27]]),
    _palette([[74, 46, 29], [122, 80, 50]]),
    _palette([[186, 138, 86], [236, 200, 142]]),
    _palette([[140, 138, 138], [206, 205, 206]]),
    _palette([[132, 58, 26], [178, 88, 42]]),
]
IRISES = _palette([[58, 34, 20], [96, 58, 30], [128, 98, 52], [96, 124, 78], [84, 132, 172], [122, 138, 148]])
FRAMES = _palette([[18, 18, 20], [86, 52, 28], [196, 160, 84], [176, 178, 184], [150, 26, 34], [34, 60, 132]])
LIPSTICK_HUES = (0.985, 0.955, 0.92, 0.01, 0.03)
EYESHADOW_HUES = (0.75, 0.58, 0.06, 0.93, 0.42)
SUNGLASS_HUES = (0.08, 0.6, 0.0, 0.3)


@dataclass(frozen=True)
class Colours:
    """What a person's parts are coloured."""

    melanin: float  # 0 to 1
    skin: Colour
    hair: Colour
    brows: Colour
    beard: Colour
    lips: Colour
    eyeshadow: Colour
    hat: Colour
    cloth: Colour

    @classmethod
    def of(cls, person: Parameters) -> Colours:
        """Decode the parameters."""
        melanin = _melanin(person)
        skin = _skin(person, melanin)
        hair_color = person.choice("hair_color")
        hair = _hair(person, hair_color)
        brows = hair * {BLOND: 0.42, GREY: 0.75}.get(hair_color, 0.8)
        return cls(
            melanin=melanin,
            skin=skin,
            hair=hair,
            brows=np.minimum(brows, skin * 0.55) * (0.8 + 0.15 * person.normal("brow_tint") * 0.5),
            beard=hair * (0.6 if hair_color == BLOND else 0.9) + 0.002,
            lips=_lips(person, skin),
            eyeshadow=from_hsv(EYESHADOW_HUES[min(4, int(person.uniform("shadow_hue") * 5))], 0.5, 0.42),
            hat=from_hsv(person.uniform("hat_h"), person.uniform("hat_s") * 0.8, person.uniform("hat_v", 0.12, 0.85)),
            cloth=from_hsv(
                person.uniform("cloth_h"), person.uniform("cloth_s") * 0.75, person.uniform("cloth_v", 0.08, 0.9)
            ),
        )


def _melanin(person: Parameters) -> float:
    if person.choice("pale_on"):
        return person.uniform("skin_melanin", 0.0, 0.09)
    return 0.24 + 0.72 * person.uniform("skin_melanin") ** 1.15


def _skin(person: Parameters, melanin: float) -> Colour:
    t = melanin * (len(SKINS) - 1)
    k = min(int(t), len(SKINS) - 2)
    skin = SKINS[k] * (1 - t + k) + SKINS[k + 1] * (t - k)
    red, yellow = person.normal("skin_red"), person.normal("skin_yellow")
    return skin * np.array(
        [1 + 0.02 * red + 0.02, 1 - 0.025 * red - 0.01, 1 - 0.02 * red - 0.04 * yellow - 0.03],
    )


def _hair(person: Parameters, hair_color: int) -> Colour:
    dark, light = HAIRS[hair_color]
    hair = dark * (1 - person.uniform("hair_light")) + light * person.uniform("hair_light")
    if hair_color != GREY:
        warmth = person.normal("hair_warm")
        hair = hair * np.array([1 + 0.06 * warmth, 1, 1 - 0.06 * warmth])
    return hair


def _lips(person: Parameters, skin: Colour) -> Colour:
    red = person.normal("lip_red")
    bare = skin * np.array([0.88, 0.655, 0.66]) * np.array([1, 1 - 0.05 * red, 1 - 0.05 * red])
    bare = bare + np.array([0.018, 0, 0.003])
    if not person.choice("lipstick_on"):
        return bare
    hue = LIPSTICK_HUES[min(4, int(person.uniform("lipstick_hue") * 5))]
    dark = person.uniform("lipstick_dark")
    return from_hsv(hue, 0.80 + 0.12 * dark, 0.78 - 0.34 * dark) * 0.9 + 0.1 * bare
