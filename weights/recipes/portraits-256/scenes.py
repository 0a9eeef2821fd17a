"""Render scenes, which stand for photographs: a person before a background, the head tilted, 1280 x 960 px.

    python scenes.py --facekit facekit.npz --output ../../../tests/data/scenes
    python scenes.py --facekit facekit.npz --output DRAFTS --width 320

pack.py makes facekit.npz.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from renderer.camera import Frame
from renderer.head import FaceKitError
from renderer.parameters import CODES, IDENTITIES, INDEX, SHORT, sample_parameters
from renderer.portrait import Pixels, Renderer
from renderer.scenery import SCENERY

SEED, SCENERY_SEED, QUALITY = 2026, 3, 90
GRAIN = 1.2  # standard deviation, in levels of 255, of a camera's noise
CALM = (
    *("asym", "brow_up", "brow_down", "squint", "blink", "pucker", "frown", "cheek_puff", "mouth_side"),
    *("gaze_x", "gaze_y", "yaw", "pitch", "roll"),
)
PLAIN = (
    *("hat_on", "glasses_on", "rosy_on", "bags_on", "freckle_on", "cloth_pat", "bangs_on", "lipstick_on", "makeup_on"),
    *("pale_on", "old_on"),
)


@dataclass(frozen=True)
class Scene:
    """A person, by the number of a portrait and what differs from it, and where that person is."""

    number: int
    cases: dict[str, int]
    scenery: str
    frame: Frame
    numbers: dict[str, float] = field(default_factory=dict)

    def parameters(self) -> NDArray[np.float64]:
        """Those of the portrait, nearer to the mean in shape and expression."""
        z = sample_parameters(SEED, self.number)
        z[[INDEX[f"id_{k:02d}"] for k in range(IDENTITIES)]] *= 0.6
        z[[INDEX[name] for name in CALM]] *= 0.35
        z[[INDEX["key_az"], INDEX["key_el"]]] *= 0.7
        for name, case in {**dict.fromkeys(PLAIN, 0), **self.cases}.items():
            z[INDEX[name]] = CODES[name][case]
        for name, value in self.numbers.items():
            z[INDEX[name]] = value
        return z


SCENES = {
    "room": Scene(
        106,
        {
            "hair_style": 4,
            "hair_color": 1,
            "iris": 4,
            **dict.fromkeys(("beard", "smile_on", "open_on", "wavy_on", "arch_on"), 0),
        },
        "room",
        Frame(zoom=2.2, tilt=-9, x=0.03, y=-0.12),
        {"hair_light": -0.6, "exposure": 0.3, "asym": 0, "brow_up": 0},
    ),
    "park": Scene(
        118,
        {"hair_style": SHORT, "hair_color": 1, "beard": 4, "smile_on": 1, "open_on": 1},
        "park",
        Frame(zoom=2.2, tilt=9, x=-0.08, y=-0.12),
        {"hair_light": -0.6, "exposure": 0.3, "cloth_h": 1.9, "cloth_s": 0.6, "cloth_v": 0.4},
    ),
}


def render_scene(renderer: Renderer, scene: Scene) -> Pixels:
    """Uint8 (3/4 of the renderer's size, size, 3)."""
    size = renderer.size
    pixels, _ = renderer.render(scene.parameters(), scene.frame, SCENERY[scene.scenery](SCENERY_SEED, size))
    top = size // 16
    grain = np.random.default_rng(scene.number).normal(0, GRAIN, pixels.shape)
    return np.clip(np.round(pixels + grain), 0, 255).astype(np.uint8)[top : top + size * 3 // 4]


def main() -> None:
    """Read the arguments, render."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--facekit", type=Path, default=Path("facekit.npz"))
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--width", type=int, default=1280)
    arguments = parser.parse_args()
    try:
        renderer = Renderer(arguments.facekit, arguments.width, supersampling=2)
    except FaceKitError as error:
        raise SystemExit(f"error: {error}") from error
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name, scene in SCENES.items():
        path = arguments.output / f"{name}.jpg"
        Image.fromarray(render_scene(renderer, scene)).save(path, quality=QUALITY, optimize=True)
        print(path)


if __name__ == "__main__":
    main()
