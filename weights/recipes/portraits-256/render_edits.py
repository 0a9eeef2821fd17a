"""Render ground-truth edits: a picture's parameters with one attribute's taken from another picture.

    python render_edits.py --facekit facekit.npz --data DATA --output EDITS --count 6000

A colour of hair does not show on a bald head, nor bangs in short hair. So some edits give such heads the reference's
hair as well, and others change hair or hat altogether. The last ones are for what comes in many kinds: their references
have it, and of the very last both heads show it.

DATA holds the records of the training pictures. Writes edits-*.zip and edits.jsonl.gz, whose records name the group,
source and reference (numbers of training records) beside the labels of the picture that was made.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from renderer.head import FaceKitError
from renderer.parameters import BUZZ, INDEX, SHORT, Parameters
from renderer.pictures import Order, render_orders, write_pictures

from stedit.storage.jsonl import read_records

# group: (share, parameters that are taken together)
GROUPS: dict[str, tuple[int, tuple[str, ...]]] = {
    "Smiling": (10, ("smile_on", "smile_amt")),
    "Mouth_Slightly_Open": (8, ("open_on", "open_amt")),
    "Eyeglasses": (
        14,
        ("glasses_on", "glasses_shape", "glasses_size", "glasses_thick", "glasses_color", "sun_on", "lens_tint"),
    ),
    "No_Beard": (12, ("beard", "beard_len", "beard_dens")),
    "Bangs": (10, ("bangs_on", "bangs_len", "bangs_side")),
    "Hair_Color": (16, ("hair_color", "hair_light", "hair_warm")),
    "Wearing_Lipstick": (8, ("lipstick_on", "lipstick_hue", "lipstick_dark")),
    "Pale_Skin": (7, ("pale_on",)),
    "Wearing_Hat": (8, ("hat_on", "hat_type", "hat_h", "hat_s", "hat_v")),
    "Young": (8, ("old_on", "age_amt")),
    "Bald": (3, ("hair_style", "hair_len")),
    "Heavy_Makeup": (3, ("makeup_on", "shadow_hue")),
    "Wavy_Hair": (3, ("wavy_on", "curl_amt", "curl_freq")),
    "Rosy_Cheeks": (2, ("rosy_on", "rosy_amt")),
    "Bushy_Eyebrows": (2, ("bushy_on", "brow_thick")),
    "Arched_Eyebrows": (2, ("arch_on", "brow_arch")),
    "Bags_Under_Eyes": (2, ("bags_on", "bags_amt")),
    "Sideburns": (2, ("sideburns_on",)),
}

# the attributes by which an edit of the group may be asked for
ATTRIBUTES_OF: dict[str, tuple[str, ...]] = {name: (name,) for name in GROUPS} | {
    "Hair_Color": ("Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair"),
    "No_Beard": ("No_Beard", "Mustache", "Goatee", "5_o_Clock_Shadow"),
    "Wavy_Hair": ("Wavy_Hair", "Straight_Hair"),
}

COUNT = 53_468
ABOUT_HAIR = range(10_468, 13_468)  # edits that are about hair, and of later ones every fourth
ABOUT_KINDS = range(33_468, 41_468)  # but for these
MORE_ABOUT_KINDS = range(41_468, COUNT)  # and these
HAIR = ("hair_style", "hair_len")
HAIR_SHARES = {"Hair_Color": 4, "Bangs": 3, "Wavy_Hair": 1, "Bald": 2, "Wearing_Hat": 2}
KIND_SHARES = {"Wearing_Hat": 4, "Bangs": 4, "Eyeglasses": 4, "Wearing_Lipstick": 3, "No_Beard": 2, "Young": 2}
MORE_KIND_SHARES = {
    "Eyeglasses": 5,
    "Young": 5,
    "No_Beard": 4,
    "Bangs": 4,
    "Hair_Color": 3,
    "Wearing_Lipstick": 3,
    "Wearing_Hat": 2,
}
LEAST_HAIR = {"Hair_Color": BUZZ, "Bangs": SHORT, "Wavy_Hair": SHORT}  # hair_style in which the attribute shows


def choose(parameters: NDArray[np.float64], number: int) -> tuple[str, int, int]:
    """Group, source and reference of edit `number`: mostly pairs that differ in the group's first parameter."""
    random = np.random.default_rng([77, number])
    names = list(GROUPS)
    shares = np.array([share for share, _ in GROUPS.values()], float)
    group = names[random.choice(len(names), p=shares / shares.sum())]
    first = GROUPS[group][1][0]
    for _ in range(60):
        source, reference = (int(index) for index in random.integers(len(parameters), size=2))
        person = Parameters(parameters[source])
        old, new = person.choice(first), Parameters(parameters[reference]).choice(first)
        differ = random.random() < 0.85
        if group == "Bangs" and person.choice("hair_style") < SHORT:
            continue
        if group in ("Hair_Color", "Wavy_Hair") and not person.choice("hair_style"):
            continue
        if old != new or (not differ and old > 0):
            break
    return group, source, reference


def choose_about_hair(parameters: NDArray[np.float64], number: int) -> tuple[str, int, int]:
    """Group, source and reference of an edit that changes how much hair there is, or covers it."""
    random = np.random.default_rng([77, number])
    names = list(HAIR_SHARES)
    shares = np.array(list(HAIR_SHARES.values()), float)
    group = names[random.choice(len(names), p=shares / shares.sum())]
    first = GROUPS[group][1][0]
    for _ in range(200):
        source, reference = (int(index) for index in random.integers(len(parameters), size=2))
        old, new = Parameters(parameters[source]), Parameters(parameters[reference])
        if group not in LEAST_HAIR:
            fits = old.choice(first) != new.choice(first)
        else:
            fits = old.choice("hair_style") < LEAST_HAIR[group] <= new.choice("hair_style")
            fits = fits and (group == "Hair_Color" or new.choice(first) > 0)
        if fits:
            break
    return group, source, reference


def choose_kind(parameters: NDArray[np.float64], number: int) -> tuple[str, int, int]:
    """Group, source and reference of an edit whose reference has what the group is about, in a kind of its own."""
    random = np.random.default_rng([77, number])
    by_name = KIND_SHARES if number in ABOUT_KINDS else MORE_KIND_SHARES
    names = list(by_name)
    shares = np.array(list(by_name.values()), float)
    group = names[random.choice(len(names), p=shares / shares.sum())]
    for _ in range(200):
        source, reference = (int(index) for index in random.integers(len(parameters), size=2))
        old, new = Parameters(parameters[source]), Parameters(parameters[reference])
        if number in ABOUT_KINDS:
            seen = group != "Bangs" or shows(group, old)
        else:
            seen = all(shows(group, one) for one in (old, new))
        if seen and (group == "Hair_Color" or new.choice(GROUPS[group][1][0])):
            break
    return group, source, reference


def shows(group: str, person: Parameters) -> bool:
    """Whether what the group is about can be seen on a head, if it is there."""
    hidden = group == "Bangs" and person.choice("hat_on")
    return person.choice("hair_style") >= LEAST_HAIR.get(group, 0) and not hidden


def is_about_hair(number: int) -> bool:
    """Whether edit `number` gives a head hair, or changes how much there is."""
    return number in ABOUT_HAIR or (ABOUT_HAIR.stop <= number < ABOUT_KINDS.start and number % 4 == 0)


def edit_orders(parameters: NDArray[np.float64], count: int) -> Iterator[Order]:
    """`count` of the COUNT edits, evenly spread, of the portraits whose parameters (M, P) are given."""
    for number in (round((index + 0.5) * COUNT / count - 0.5) for index in range(count)):
        about_hair = is_about_hair(number)
        about_kinds = number in ABOUT_KINDS or number in MORE_ABOUT_KINDS
        choice = choose_about_hair if about_hair else choose_kind if about_kinds else choose
        group, source, reference = choice(parameters, number)
        taken = GROUPS[group][1] + (HAIR if about_hair and group in LEAST_HAIR else ())
        z = parameters[source].copy()
        for name in taken:
            z[INDEX[name]] = parameters[reference][INDEX[name]]
        yield Order(f"{number:06d}", z, {"group": group, "source": source, "reference": reference})


def render_edits(facekit: Path, data: Path, output: Path, *, count: int, size: int, workers: int) -> int:
    """Render them all; returns how many. Raises FaceKitError, InputError."""
    parameters = np.array([row["params"] for row in read_records(data / "train.jsonl.gz")])
    made = render_orders(edit_orders(parameters, count), facekit, size=size, workers=workers)
    return write_pictures(made, output, "edits")


def main() -> None:
    """Read the arguments, render."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--facekit", type=Path, default=Path("facekit.npz"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    try:
        written = render_edits(
            arguments.facekit,
            arguments.data,
            arguments.output,
            count=arguments.count,
            size=arguments.size,
            workers=arguments.workers,
        )
    except FaceKitError as error:
        raise SystemExit(f"error: {error}") from error
    print(f"{written} pictures in {arguments.output}")


if __name__ == "__main__":
    main()
