"""Do edits by reference transfer the details: these glasses, that beard? The renderer knows the ground truth.

    python transfer_check.py --facekit facekit.npz --data DATA --model weights/portraits-256

For each edit the ground truth is rendered: a test portrait with the attribute's parameters of the reference. Beside it
stands a distractor, with those of somebody else who has the attribute too. The details are transferred where the image
is nearer to the ground truth than to the distractor, in pixels and in the features of the model's judge. Chance is one
half. The same is measured on the reconstruction of the ground truth: no edit can be expected to do better.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from render_edits import ATTRIBUTES_OF, GROUPS, shows
from renderer.head import FaceKitError
from renderer.parameters import INDEX, Parameters
from renderer.pictures import Order, render_orders

from stedit import Engine
from stedit.errors import InputError, SteditError
from stedit.imaging.files import Pixels, decode_image
from stedit.storage.embedded import DEFAULT_MODEL
from stedit.storage.jsonl import read_records
from stedit.training.data.images import ImageSet

CHECKED_GROUPS = ("Eyeglasses", "No_Beard", "Hair_Color", "Wearing_Hat", "Bangs", "Wearing_Lipstick")


def load_parameters(records: Path, images: ImageSet) -> NDArray[np.float64]:
    """The renderer's parameters (M, P) of images, by their names. Raises InputError if one has none."""
    rows = {str(row["id"]): row["params"] for row in read_records(records)}
    if missing := [name for name in images.ids if name not in rows]:
        raise InputError(f"{records} has no parameters of the image {missing[0]}: give the records of the images")
    return np.array([rows[name] for name in images.ids], np.float64)


def choose(parameters: NDArray[np.float64], group: str, count: int) -> NDArray[np.int64]:
    """Source, reference, distractor (count, 3): the last two have the attribute, on the first it would be visible."""
    random = np.random.default_rng([5, list(GROUPS).index(group)])
    people = [Parameters(one) for one in parameters]
    first = GROUPS[group][1][0]
    visible = [k for k, one in enumerate(people) if shows(group, one)]
    having = [k for k in visible if people[k].choice(first) or group == "Hair_Color"]
    chosen = [(random.choice(visible), *random.choice(having, 2, replace=False)) for _ in range(count)]
    return np.array(chosen)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the arguments, render, edit, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--facekit", type=Path, default=Path("facekit.npz"))
    parser.add_argument("--data", type=Path, required=True, help="the folder of test-*.zip and test.jsonl.gz")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--count", type=int, default=100, help="images for each group")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args(arguments)
    try:
        engine = Engine.from_pretrained(given.model, device="cpu")
        images = ImageSet.open(sorted(given.data.glob("test-*.zip")), engine.input_size[0])
        parameters = load_parameters(given.data / "test.jsonl.gz", images)
        print(
            "group, images: nearer to ground truth in pixels, in features; reconstructed truth: in pixels, in features"
        )
        for group in CHECKED_GROUPS:
            trios = choose(parameters, group, given.count)
            truth, distractor = (
                render(given, engine.output_size[0], parameters, group, trios[:, (0, k)]) for k in (1, 2)
            )
            source, reference = (
                engine.invert(np.stack([images.read(index)[1] for index in trios[:, k].tolist()])) for k in (0, 1)
            )
            edited = engine.edit_by_reference(source, reference, ATTRIBUTES_OF[group][0])
            shares = [
                share
                for codes in (edited, engine.invert(truth))
                for share in nearer(engine, engine.synthesise(codes), truth, distractor)
            ]
            print(f"{group}, {len(trios)}: " + ", ".join(f"{share:.1%}" for share in shares), flush=True)
    except (FaceKitError, SteditError) as error:
        raise SystemExit(f"error: {error}") from error


def render(
    given: argparse.Namespace,
    size: int,
    parameters: NDArray[np.float64],
    group: str,
    pairs: NDArray[np.int64],
) -> Pixels:
    """Portraits uint8 (M, size, size, 3) of sources with the group's parameters of references; `pairs` (M, 2)."""
    columns = [INDEX[name] for name in GROUPS[group][1]]
    edited = parameters[pairs[:, 0]]
    edited[:, columns] = parameters[pairs[:, 1]][:, columns]
    orders = (Order(str(number), one) for number, one in enumerate(edited))
    made = render_orders(orders, given.facekit, size=size, workers=given.workers)
    return np.stack([decode_image(BytesIO(data), name=name).pixels for name, data, _ in made])


def nearer(engine: Engine, images: Pixels, truth: Pixels, distractor: Pixels) -> tuple[float, float]:
    """The shares of images that are nearer to the ground truth than to the distractor, in pixels and in features."""

    def closer(a: NDArray[np.float32], b: NDArray[np.float32], c: NDArray[np.float32]) -> float:
        near, far = (np.square(a.astype(np.float32) - other).reshape(len(a), -1).mean(axis=1) for other in (b, c))
        return float((near < far).mean())

    pixels = [one.astype(np.float32) for one in (images, truth, distractor)]
    features = [engine.attribute_features(one) for one in (images, truth, distractor)]
    return closer(*pixels), closer(*features)


if __name__ == "__main__":
    main()
