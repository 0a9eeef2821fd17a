"""Set the reconstruction error above which a model says that an image is unlike anything it has seen.

    python reconstruction_limit.py MODEL --images PHOTOS/train-000.zip --images RENDERS/train-000.zip [--images …]

Each --images is a zip file or a folder of aligned crops of one kind, all of which the model shall take for its own; of
each, 250 images spread over it are reconstructed. The limit goes into the model's config.json, of which nothing else is
changed. With --dry-run it is only printed. Other --images, after --odd, are reported and set nothing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stedit import Engine
from stedit.imaging.files import fit_image
from stedit.imaging.sources import ImageReader
from stedit.storage.atomic import write_file
from stedit.storage.bundle import CONFIG_NAME, Bundle

IMAGES = 250  # of each source
NOTED = 0.01  # share of a source that may be above the limit
BATCH = 16

Errors = npt.NDArray[np.float64]


def reconstruction_errors(engine: Engine, source: Path, count: int = IMAGES) -> Errors:
    """The errors (count,) of images spread evenly over a zip file or a folder."""
    errors = []
    with ImageReader() as reader:
        images = reader.find(source)
        images = [images[i] for i in np.linspace(0, len(images) - 1, min(count, len(images))).astype(int)]
        for i in range(0, len(images), BATCH):
            batch = np.stack([fit_image(reader.read(image), engine.input_size) for image in images[i : i + BATCH]])
            errors.append(engine.reconstruction_error(batch, engine.invert(batch)))
    return np.concatenate(errors)


def find_limit(errors: Sequence[Errors]) -> float:
    """The error that NOTED of the worst source exceeds, to three digits."""
    return round(float(max(np.quantile(one, 1 - NOTED) for one in errors)), 3)


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
    parser.add_argument("--images", type=Path, action="append", required=True, help="what the model shall know")
    parser.add_argument("--odd", type=Path, action="append", default=[], help="what is reported only")
    parser.add_argument("--count", type=int, default=IMAGES, help="images of each")
    parser.add_argument("--dry-run", action="store_true", help="print the limit and change nothing")
    given = parser.parse_args(arguments)
    engine = Engine.from_pretrained(given.model, device="cpu")
    known = {path: reconstruction_errors(engine, path, given.count) for path in given.images}
    limit = find_limit(list(known.values()))
    odd = {path: reconstruction_errors(engine, path, given.count) for path in given.odd}
    for path, errors in (known | odd).items():
        median, high = np.quantile(errors, (0.5, 0.99))
        noted = (errors > limit).mean()
        print(f"{path}: {len(errors)} images, median {median:.3f}, 99 % below {high:.3f}, noted {noted:.2%}")
    print(f"reconstruction_limit {limit}")
    if not given.dry_run:
        set_limit(given.model, limit)


if __name__ == "__main__":
    main()
