"""The parameter vector: about two hundred numbers, each about N(0, 1), that a picture is a function of.

A choice, such as the hair colour, is a number too: the normal quantile of the middle of its probability bin, so that
the vector as a whole looks normal and a choice has one fixed code.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

IDENTITIES = 60  # of the 100 principal shapes of ICT-FaceKit, those of the largest energy
CLIP = 2.5  # standard deviations
DECIMALS = 4

BALD, BUZZ, SHORT, MEDIUM, LONG = range(5)  # cases of "hair_style"
NO_BEARD, STUBBLE, MOUSTACHE, GOATEE, FULL_BEARD = range(5)  # cases of "beard"

Shares = tuple[float, ...]
Dimension = tuple[str, Shares | None]


def _normals(*names: str) -> list[Dimension]:
    return [(name, None) for name in names]


def _choice(name: str, *shares: float) -> list[Dimension]:
    return [(name, shares)]


def _switch(name: str, share: float) -> list[Dimension]:
    """0 or 1; `share` is that of 1."""
    return [(name, (1 - share, share))]


DIMENSIONS: tuple[Dimension, ...] = (
    *_normals(*[f"id_{k:02d}" for k in range(IDENTITIES)]),
    *_normals("yaw", "pitch", "roll", "cam_dist"),
    # expression
    *_switch("smile_on", 0.48),
    *_normals("smile_amt"),
    *_switch("open_on", 0.42),
    *_normals("open_amt", "asym", "brow_up", "brow_down", "squint", "blink", "pucker", "frown", "cheek_puff"),
    *_normals("mouth_side", "gaze_x", "gaze_y"),
    # skin
    *_switch("pale_on", 0.26),
    *_normals("skin_melanin", "skin_red", "skin_yellow"),
    *_switch("rosy_on", 0.27),
    *_normals("rosy_amt"),
    *_switch("freckle_on", 0.15),
    *_normals("freckle_amt", "skin_ph0", "skin_ph1", "skin_rough", "oily"),
    *_switch("bags_on", 0.27),
    *_normals("bags_amt"),
    *_switch("old_on", 0.45),
    *_normals("age_amt", "lip_red"),
    # make-up
    *_switch("lipstick_on", 0.33),
    *_normals("lipstick_hue", "lipstick_dark"),
    *_switch("makeup_on", 0.30),
    *_normals("shadow_hue"),
    # brows and eyes
    *_switch("bushy_on", 0.30),
    *_normals("brow_thick"),
    *_switch("arch_on", 0.30),
    *_normals("brow_arch", "brow_tint"),
    *_choice("iris", 0.24, 0.24, 0.16, 0.12, 0.16, 0.08),
    *_normals("iris_var"),
    # hair
    *_choice("hair_style", 0.13, 0.12, 0.27, 0.20, 0.28),
    *_normals("hair_len"),
    *_switch("bangs_on", 0.42),
    *_normals("bangs_len", "bangs_side"),
    *_choice("hair_color", 0.28, 0.27, 0.25, 0.15, 0.05),  # black, brown, blond, grey, red
    *_normals("hair_light", "hair_warm"),
    *_switch("wavy_on", 0.42),
    *_normals("curl_amt", "curl_freq", "part", "frame"),
    *_choice("sweep", 0.34, 0.33, 0.33),  # forward, back, sideways
    *_normals("volume", "hairline", "recede", "hair_ph"),
    *_switch("sideburns_on", 0.28),
    *_choice("beard", 0.56, 0.14, 0.09, 0.10, 0.11),
    *_normals("beard_len", "beard_dens"),
    # glasses
    *_switch("glasses_on", 0.30),
    *_choice("glasses_shape", 0.28, 0.22, 0.2, 0.15, 0.15),  # rectangular, round, oval, aviator, cat-eye
    *_normals("glasses_size", "glasses_thick"),
    *_choice("glasses_color", 0.34, 0.18, 0.16, 0.14, 0.09, 0.09),  # black, tortoise, gold, silver, red, blue
    *_switch("sun_on", 0.2),
    *_normals("lens_tint"),
    # hat and clothes
    *_switch("hat_on", 0.12),
    *_choice("hat_type", 0.6, 0.4),  # beanie, cap
    *_normals("hat_h", "hat_s", "hat_v"),
    *_choice("cloth", 0.4, 0.35, 0.25),  # low, middle, high collar
    *_normals("cloth_h", "cloth_s", "cloth_v"),
    *_choice("cloth_pat", 0.55, 0.2, 0.25),  # plain, striped, checked
    *_normals("cloth_h2", "cloth_v2"),
    # light
    *_normals("key_az", "key_el", "key_int", "key_warm", "fill_int", "amb_int", "amb_warm", "rim_int", "rim_side"),
    *_normals("exposure", "contrast"),
    # background
    *_choice("bg", 0.35, 0.4, 0.25),  # gradient, blobs, bokeh
    *_normals("bg_h0", "bg_s0", "bg_v0", "bg_h1", "bg_s1", "bg_v1", "bg_ang"),
    *[dimension for k in range(5) for dimension in _normals(*[f"bg{k}_{what}" for what in "xyrhv"])],
)
NAMES = [name for name, _ in DIMENSIONS]
INDEX = {name: index for index, name in enumerate(NAMES)}
SHARES = {name: shares for name, shares in DIMENSIONS if shares}


def normal_cdf(z: float) -> float:
    """Share of a standard normal distribution below `z`."""
    return 0.5 * (1 + math.erf(z / math.sqrt(2)))


def _normal_quantile(share: float) -> float:
    low, high = -6.0, 6.0
    for _ in range(60):
        middle = (low + high) / 2
        if normal_cdf(middle) < share:
            low = middle
        else:
            high = middle
    return (low + high) / 2


CODES = {
    name: [round(_normal_quantile(sum(shares[:k]) + shares[k] / 2), DECIMALS) for k in range(len(shares))]
    for name, shares in SHARES.items()
}
"""For each choice, the number that stands for each of its cases."""


def sample_parameters(seed: int, number: int) -> NDArray[np.float64]:
    """Draw the parameter vector of picture `number` of the data set `seed`; shape (len(DIMENSIONS),)."""
    random = np.random.default_rng([seed, number])
    z = np.clip(random.standard_normal(len(DIMENSIONS)), -CLIP, CLIP)
    for index, (name, shares) in enumerate(DIMENSIONS):
        if shares:
            share = normal_cdf(random.standard_normal())
            case = 0
            while case < len(shares) - 1 and share > sum(shares[: case + 1]):
                case += 1
            z[index] = CODES[name][case]
    return np.round(z, DECIMALS)


class Parameters:
    """Named reading of one parameter vector."""

    def __init__(self, z: ArrayLike) -> None:
        self.z = np.asarray(z, np.float64)

    def normal(self, name: str) -> float:
        """The number itself, about N(0, 1)."""
        return float(self.z[INDEX[name]])

    def uniform(self, name: str, low: float = 0.0, high: float = 1.0) -> float:
        """The number as one that is uniform between `low` and `high`."""
        return low + (high - low) * normal_cdf(self.normal(name))

    def choice(self, name: str) -> int:
        """Which case of a choice; 0 or 1 for a switch."""
        return int(np.argmin([abs(self.normal(name) - code) for code in CODES[name]]))


PAIRS = {
    "Smiling": ("smile_on", 0, 1),
    "Mouth_Slightly_Open": ("open_on", 0, 1),
    "Eyeglasses": ("glasses_on", 0, 1),
    "No_Beard": ("beard", 4, 0),
    "Bangs": ("bangs_on", 0, 1),
    "Blond_Hair": ("hair_color", 1, 2),
    "Wearing_Lipstick": ("lipstick_on", 0, 1),
    "Pale_Skin": ("pale_on", 0, 1),
}
"""Attributes of the set of pairs: the parameter that is toggled, its case without and with the attribute."""


def pair_parameters(seed: int, identity: int, attribute: str, present: bool) -> NDArray[np.float64]:
    """One half of a pair: the two halves differ in one number. The base settings make every edit visible."""
    z = sample_parameters(seed, identity)

    def choose(name: str, case: int) -> None:
        z[INDEX[name]] = CODES[name][case]

    random = np.random.default_rng([seed, identity, 99])
    if Parameters(z).choice("hair_style") < 2:
        choose("hair_style", int(random.integers(2, 5)))
    choose("hat_on", 0)
    choose("sun_on", 0)
    if Parameters(z).choice("hair_color") == 2:
        choose("hair_color", int(random.choice([0, 1])))
    if attribute in ("Wearing_Lipstick", "Bangs", "Blond_Hair"):
        choose("beard", 0)
    name, absent_case, present_case = PAIRS[attribute]
    if attribute == "No_Beard":
        absent_case = int(random.choice([3, 4]))
    if attribute == "Blond_Hair":
        absent_case = int(random.choice([0, 1]))
    choose(name, present_case if present else absent_case)
    return z
