"""What is known of a picture: CelebA attributes, measured quantities, landmarks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from renderer.camera import Pose
from renderer.colours import BLACK, BLOND, BROWN, GREY, IRISES, Colours, srgb_of
from renderer.head import Head, Shape
from renderer.identity import LOW_EYES
from renderer.parameters import BALD, DECIMALS, FULL_BEARD, GOATEE, MOUSTACHE, NO_BEARD, SHORT, STUBBLE, Parameters


def record_of(
    person: Parameters, head: Head, shape: Shape, colours: Colours, pose: Pose, landmarks: NDArray[np.floating]
) -> dict[str, Any]:
    """The record of a picture, ready for JSON; landmarks (68, 2) in its pixels."""
    return {
        "attributes": _attributes(person, head, shape),
        "continuous": _continuous(person, shape, colours, pose),
        "params": [round(float(value), DECIMALS) for value in person.z],
        "landmarks": [[round(float(x), 1), round(float(y), 1)] for x, y in landmarks],
    }


def _attributes(person: Parameters, head: Head, shape: Shape) -> dict[str, int]:
    """CelebA's names, 0 or 1. Colour and cut of hair are of a head that has some; a hat hides that it is bald."""
    style, beard, hair = person.choice("hair_style"), person.choice("beard"), person.choice("hair_color")
    hairy, combed = style > BALD, style >= SHORT
    wavy = person.choice("wavy_on") and combed
    measured, threshold = shape.measures, head.identity_space.thresholds
    present = {
        "Smiling": person.choice("smile_on"),
        "Mouth_Slightly_Open": person.choice("open_on"),
        "Eyeglasses": person.choice("glasses_on"),
        "Bald": not hairy and not person.choice("hat_on"),
        "Bangs": person.choice("bangs_on") and combed,
        "Black_Hair": hairy and hair == BLACK,
        "Brown_Hair": hairy and hair == BROWN,
        "Blond_Hair": hairy and hair == BLOND,
        "Gray_Hair": hairy and hair == GREY,
        "Wavy_Hair": wavy,
        "Straight_Hair": combed and not wavy,
        "No_Beard": beard == NO_BEARD,
        "Goatee": beard == GOATEE,
        "Mustache": beard in (MOUSTACHE, GOATEE, FULL_BEARD),
        "Sideburns": (person.choice("sideburns_on") and hairy) or beard == FULL_BEARD,
        "Bushy_Eyebrows": person.choice("bushy_on"),
        "Arched_Eyebrows": person.choice("arch_on"),
        "Narrow_Eyes": shape.eye_opening < threshold[LOW_EYES] * 0.85,
        "Big_Nose": measured["nose_size"] > threshold["nose_size"],
        "Pointy_Nose": measured["nose_point"] > threshold["nose_point"],
        "Big_Lips": measured["lip_height"] > threshold["lip_height"],
        "Oval_Face": measured["face_oval"] > threshold["face_oval"],
        "Chubby": measured["chubby"] > threshold["chubby"],
        "High_Cheekbones": measured["cheekbone"] > threshold["cheekbone"],
        "Pale_Skin": person.choice("pale_on"),
        "Rosy_Cheeks": person.choice("rosy_on"),
        "Wearing_Lipstick": person.choice("lipstick_on"),
        "Heavy_Makeup": person.choice("makeup_on"),
        "Wearing_Hat": person.choice("hat_on"),
        "5_o_Clock_Shadow": beard == STUBBLE,
        "Bags_Under_Eyes": person.choice("bags_on"),
        "Young": not person.choice("old_on"),
    }
    return {name: int(bool(value)) for name, value in present.items()}


def _continuous(person: Parameters, shape: Shape, colours: Colours, pose: Pose) -> dict[str, Any]:
    expression, beard, glasses = shape.expression, person.choice("beard"), person.choice("glasses_on")
    wavy = person.choice("wavy_on") and person.choice("hair_style") >= SHORT
    numbers = {
        "smile": expression.smile,
        "jaw_open": expression.jaw,
        "yaw": pose.yaw,
        "pitch": pose.pitch,
        "roll": pose.roll,
        "cam_dist": pose.distance,
        "gaze_x": expression.gaze_x,
        "gaze_y": expression.gaze_y,
        "blink": expression.blink,
        "melanin": colours.melanin,
        "hair_style": person.choice("hair_style"),
        "hair_len": person.uniform("hair_len"),
        "curl": person.uniform("curl_amt") * wavy,
        "beard_type": beard,
        "beard_len": person.uniform("beard_len") if beard else 0.0,
        "glasses_type": (1 + person.choice("glasses_shape")) * glasses,
        "sunglasses": glasses * person.choice("sun_on"),
        "hat_type": (1 + person.choice("hat_type")) * person.choice("hat_on"),
        "eye_open_final": float(shape.eye_opening),
        "rosy": rosiness(person),
        "freckles": person.choice("freckle_on"),
        "age": age(person),
        **shape.measures,
    }
    return {name: round(float(value), 3) for name, value in numbers.items()} | {
        "skin_rgb": srgb_of(colours.skin),
        "hair_rgb": srgb_of(colours.hair),
        "iris_rgb": srgb_of(IRISES[person.choice("iris")]),
    }


def rosiness(person: Parameters) -> float:
    """0, or 0.75 to 1.15."""
    return person.uniform("rosy_amt", 0.75, 1.15) if person.choice("rosy_on") else 0.0


def age(person: Parameters) -> float:
    """How deep the lines of age are, 0 to 1."""
    return person.uniform("age_amt", 0.55, 1.0) if person.choice("old_on") else person.uniform("age_amt", 0, 0.12)
