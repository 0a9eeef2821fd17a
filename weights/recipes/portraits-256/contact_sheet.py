"""Sheets of photographs of the test split with each edit of the card, as rendered and as carried over, to look at.

    python contact_sheet.py MODEL --photos PHOTOS --output FOLDER

Each photograph is edited towards the opposite of what the classifier reads off its code. FOLDER must lie outside of
the project, since nobody's edited face is to be published.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from evaluation import EVALUATED
from measures import Crops, carry, evenly, records_of, shrunk
from PIL import Image

from stedit import Engine
from stedit.editing.attributes import friendly_name
from stedit.errors import OutputError, SteditError
from stedit.imaging.files import Pixels
from stedit.imaging.sheets import enlarged, sheet

ROOT = Path(__file__).resolve().parents[3]
SIDE = 176  # px of a picture
ROWS = 8  # of a sheet


def edited_rows(engine: Engine, crop: Pixels) -> tuple[list[Pixels], list[Pixels]]:
    """The crop, its reconstruction, and each edit: as rendered, and as carried over."""
    code = engine.invert(crop[None])
    before, predicted = engine.synthesise(code)[0], engine.classify(code)[0]
    rendered, carried = [crop, before], [crop, before]
    for name in EVALUATED:
        if name in engine.attributes:
            sign = -1.0 if predicted[engine.attributes.index(name)] > 0.5 else 1.0
            after = engine.synthesise(engine.edit_by_label(code, name, strength=sign))[0]
            rendered.append(after)
            carried.append(carry(crop, before, after))
    return rendered, carried


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the arguments, write the sheets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="a folder outside of the project")
    parser.add_argument("--count", type=int, default=60, help="photographs, spread over the split")
    given = parser.parse_args(arguments)
    try:
        if given.output.resolve().is_relative_to(ROOT):
            raise OutputError(f"{given.output} lies in the project, where no photograph belongs: name another folder")
        engine = Engine.from_pretrained(given.model, device="cpu")
        crops = Crops.open(given.photos, "test", evenly(records_of(given.photos, "test"), given.count))
        given.output.mkdir(parents=True, exist_ok=True)
        names = [friendly_name(name, 1) for name in EVALUATED if name in engine.attributes]
        for start in range(0, len(crops), ROWS):
            rows = [edited_rows(engine, crop) for crop in crops.images[start : start + ROWS]]
            for kind, made in zip(("rendered", "carried"), zip(*rows, strict=True), strict=True):
                tiles = [[enlarged(shrunk(one[None], min(len(one), SIDE))[0], SIDE) for one in row] for row in made]
                path = given.output / f"{kind}-{start // ROWS + 1:02}.png"
                Image.fromarray(sheet(tiles, titles=["photograph", "reconstruction", *names])).save(path)
                print(path, flush=True)
    except (OSError, SteditError) as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
