"""Make the pictures of the documentation from the sample scenes.

python docs/images/make.py
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from stedit import Engine
from stedit.editing.attributes import friendly_name
from stedit.imaging.files import Pixels
from stedit.photo.photograph import Photo

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
WIDTH, CAPTION, GAP = 480, 40, 8  # pixels, of each panel
SMALL_WIDTH, COLUMNS = 200, 6  # of the sheet of all attributes
FACE = (430, 290, 890, 750)  # in the room: left, top, right, bottom


def panel(pixels: Pixels, caption: str, width: int = WIDTH) -> Image.Image:
    """One picture, with a line of text below."""
    height = round(width * pixels.shape[0] / pixels.shape[1])
    result = Image.new("RGB", (width, height + CAPTION), "white")
    result.paste(Image.fromarray(np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA))))
    draw = ImageDraw.Draw(result)
    draw.text((width / 2, height + CAPTION / 2), caption, "#24292f", ImageFont.load_default(19), anchor="mm")
    return result


def attribute_panels(engine: Engine, photos: list[Photo]) -> list[Image.Image]:
    """The faces of `photos`, then each attribute given to the first of them that lacks it, as far as the model sees."""
    faces = [engine.edit_photo(photo, "smile", strength=0, result="crop") for photo in photos]
    seen = engine.classify(np.concatenate([engine.invert(face) for face in faces]))  # (photos, attributes)
    panels = [panel(face, Path(photo.name).name, SMALL_WIDTH) for photo, face in zip(photos, faces, strict=True)]
    for number, attribute in enumerate(engine.attributes):
        sign = -1 if friendly_name(attribute, 1).startswith("no-") else 1
        lacking = [photo for photo, row in zip(photos, seen, strict=True) if (row[number] > 0.5) != (sign > 0)]
        name = friendly_name(attribute, sign if lacking else -sign)
        edited = engine.edit_photo((lacking or photos)[0], name, result="crop")
        panels.append(panel(edited, name, SMALL_WIDTH))
    return panels


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

    def edited(photo: Photo, attribute: str) -> Image.Image:
        return panel(engine.edit_photo(photo, attribute), f"stedit edit -a {attribute} {Path(photo.name).name}")

    scenes = [
        *[panel(room.pixels, "room.jpg"), edited(room, "smile"), edited(room, "blond")],
        *[panel(park.pixels, "park.jpg"), edited(park, "no-beard"), edited(park, "glasses")],
    ]
    grid(scenes, 3, "edits.jpg")
    left, top, right, bottom = FACE
    faces = [
        panel(engine.edit_photo(room, "smile", strength=strength)[top:bottom, left:right], f"--strength {strength:g}")
        for strength in (0, 0.5, 1, 1.3)
    ]
    grid(faces, 4, "strength.jpg")
    grid(attribute_panels(engine, [room, park]), COLUMNS, "attributes.jpg")


if __name__ == "__main__":
    main()
