"""Set the reconstruction error above which a model says that an image is unlike anything it has seen.

    python reconstruction_limit.py MODEL --images PHOTOS/train-*.zip --images RENDERS/train-000.zip [--odd …]

The zip files or folders of one --images are of one kind, which the model shall take for its own, as aligned crops; of
each, 250 images spread over it are reconstructed. The limit goes into the model's config.json, of which nothing else is
changed; with --dry-run it is only printed. What is after --odd is reported and sets nothing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stedit import Engine
from stedit.imaging.files import fit_image
from stedit.imaging.sources import ImageReader
from stedit.storage.atomic import write_file
from stedit.storage.bundle import CONFIG_NAME, Bundle

IMAGES = 250  # of each file
NOTED = 0.0075  # share of a kind that may be above the limit
BATCH = 16

Errors = npt.NDArray[np.float64]


def reconstruction_errors(engine: Engine, sources: Sequence[Path], count: int = IMAGES) -> Errors:
    """The errors of `count` images of each zip file or folder, spread evenly over it."""
    errors = []
    with ImageReader() as reader:
        for source in sources:
            found = reader.find(source)
            images = [found[i] for i in np.linspace(0, len(found) - 1, min(count, len(found))).astype(int)]
            for i in range(0, len(images), BATCH):
                batch = np.stack([fit_image(reader.read(image), engine.input_size) for image in images[i : i + BATCH]])
                errors.append(engine.reconstruction_error(batch, engine.invert(batch)))
    return np.concatenate(errors)


def find_limit(kinds: Sequence[Errors]) -> float:
    """The error that NOTED of the worst kind exceeds, to three digits."""
    return round(float(max(np.quantile(errors, 1 - NOTED) for errors in kinds)), 3)


def set_limit(folder: Path, limit: float) -> Bundle:
    """Write the limit into the config.json of the model in `folder`."""
    values = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
    values["reconstruction_limit"] = limit
    write_file(folder / CONFIG_NAME, (json.dumps(values, indent=2) + "\n").encode())
    return Bundle.load(folder)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    add_kind = partial(parser.add_argument, type=Path, nargs="+", action="append", metavar="FILE")
    add_kind("--images", required=True, help="what the model shall know")
    add_kind("--odd", default=[], help="what is reported only")
    parser.add_argument("--count", type=int, default=IMAGES, help="images of each file")
    parser.add_argument("--dry-run", action="store_true", help="print the limit and change nothing")
    given = parser.parse_args(arguments)
    engine = Engine.from_pretrained(given.model, device="cpu")
    known = [(kind, reconstruction_errors(engine, kind, given.count)) for kind in given.images]
    odd = [(kind, reconstruction_errors(engine, kind, given.count)) for kind in given.odd]
    limit = find_limit([errors for _, errors in known])
    for kind, errors in known + odd:
        median, high = np.quantile(errors, (0.5, 0.99))
        noted = (errors > limit).mean()
        names = ", ".join(map(str, kind))
        print(f"{names}: {len(errors)} images, median {median:.3f}, 99 % below {high:.3f}, noted {noted:.2%}")
    print(f"reconstruction_limit {limit}")
    if not given.dry_run:
        set_limit(given.model, limit)


if __name__ == "__main__":
    main()
