"""Make the pictures of the documentation from the sample scenes.

python docs/images/make.py
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from stedit import Engine
from stedit.imaging.files import Pixels
from stedit.photo.photograph import Photo

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
WIDTH, CAPTION, GAP = 480, 40, 8  # pixels, of each panel
FACE = (430, 290, 890, 750)  # in the room: left, top, right, bottom


def panel(pixels: Pixels, caption: str) -> Image.Image:
    """One picture, with a line of text below."""
    height = round(WIDTH * pixels.shape[0] / pixels.shape[1])
    result = Image.new("RGB", (WIDTH, height + CAPTION), "white")
    result.paste(Image.fromarray(np.asarray(cv2.resize(pixels, (WIDTH, height), interpolation=cv2.INTER_AREA))))
    draw = ImageDraw.Draw(result)
    draw.text((WIDTH / 2, height + CAPTION / 2), caption, "#24292f", ImageFont.load_default(19), anchor="mm")
    return result


def grid(panels: list[Image.Image], columns: int, name: str) -> None:
    """Write rows of panels."""
    width, height = panels[0].size
    rows = -(-len(panels) // columns)
    sheet = Image.new("RGB", (columns * (width + GAP) - GAP, rows * height), "white")
    for number, one in enumerate(panels):
        sheet.paste(one, (number % columns * (width + GAP), number // columns * height))
    sheet.save(HERE / name, quality=88, optimize=True)
    print(HERE / name)


def main() -> None:
    """Edit the scenes, and put them side by side."""
    engine = Engine.from_pretrained()
    room, park = (Photo.open(ROOT / "tests/data/scenes" / f"{name}.jpg") for name in ("room", "park"))

    def edited(photo: Photo, attribute: str, strength: float = 1.0) -> Image.Image:
        options = f" --strength {strength}" if strength != 1 else ""
        command = f"stedit edit -a {attribute}{options} {Path(photo.name).name}"
        return panel(engine.edit_photo(photo, attribute, strength=strength), command)

    scenes = [
        *[panel(room.pixels, "room.jpg"), edited(room, "smile", 1.5), edited(room, "blond")],
        *[panel(park.pixels, "park.jpg"), edited(park, "no-beard"), edited(park, "glasses")],
    ]
    grid(scenes, 3, "edits.jpg")
    left, top, right, bottom = FACE
    faces = [
        panel(engine.edit_photo(room, "smile", strength=strength)[top:bottom, left:right], f"--strength {strength:g}")
        for strength in (0, 0.5, 1, 1.5)
    ]
    grid(faces, 4, "strength.jpg")


if __name__ == "__main__":
    main()
