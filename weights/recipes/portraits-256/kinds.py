"""Do edits by reference carry the kind: these glasses, that beard? Asked of the renderer, which knows the truth.

    python kinds.py --facekit facekit.npz --data DATA --model weights/synthface-128

Each edit is drawn by the model, and its truth rendered: a test portrait with the attribute's parameters of the
reference. Beside it stands a wrong truth, with those of somebody else who has the attribute too. The kind is carried
where the edited picture is nearer to the truth than to the wrong one, in pixels and as the model's judge embeds them;
half of the pictures are by chance. The same is said of the truth as the encoder reads and the generator draws it: no
edit can be expected to do better.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from eye import load_labelled
from numpy.typing import NDArray
from render_edits import ATTRIBUTES_OF, GROUPS, shows
from renderer.head import FaceKitError
from renderer.parameters import INDEX, Parameters
from renderer.pictures import Order, render_orders

from stedit import Engine
from stedit.errors import SteditError
from stedit.imaging.files import Pixels, read_picture

KINDS = ("Eyeglasses", "No_Beard", "Hair_Color", "Wearing_Hat", "Bangs", "Wearing_Lipstick")


def choose(parameters: NDArray[np.float64], group: str, count: int) -> NDArray[np.int64]:
    """Source, reference and somebody else (count, 3): the last two show it, and on the first it would show."""
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
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="synthface-128")
    parser.add_argument("--count", type=int, default=100, help="pictures for each kind")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args(arguments)
    try:
        engine = Engine.from_pretrained(given.model, device="cpu")
        test = load_labelled(given.data / "test.jsonl.gz", sorted(given.data.glob("test-*.zip")))
        parameters = np.round(test.parameters.astype(np.float64), 4)
        print(
            "kind, pictures: nearer to the truth in pixels, to the judge; of the truth itself: in pixels, to the judge"
        )
        for group in KINDS:
            trios = choose(parameters, group, given.count)
            truth, wrong = (render(given, parameters, group, trios[:, 0], trios[:, column]) for column in (1, 2))
            source, reference = (engine.invert(test.pixels[trios[:, column]]) for column in (0, 1))
            edited = engine.edit_by_reference(source, reference, ATTRIBUTES_OF[group][0])
            shares = [
                share
                for codes in (edited, engine.invert(truth))
                for share in nearer(engine, engine.synthesise(codes), truth, wrong)
            ]
            print(f"{group}, {len(trios)}: " + ", ".join(f"{share:.1%}" for share in shares), flush=True)
    except (FaceKitError, SteditError) as error:
        raise SystemExit(f"error: {error}") from error


def render(
    given: argparse.Namespace,
    parameters: NDArray[np.float64],
    group: str,
    sources: NDArray[np.int64],
    references: NDArray[np.int64],
) -> Pixels:
    """Portraits of the sources with the group's parameters of the references; uint8 (M, H, W, 3)."""
    columns = [INDEX[name] for name in GROUPS[group][1]]
    edited = parameters[sources]
    edited[:, columns] = parameters[references][:, columns]
    orders = (Order(str(number), one) for number, one in enumerate(edited))
    made = render_orders(orders, given.facekit, workers=given.workers)
    return np.stack([read_picture(BytesIO(data), name=name).pixels for name, data, _ in made])


def nearer(engine: Engine, drawn: Pixels, truth: Pixels, wrong: Pixels) -> tuple[float, float]:
    """The shares of pictures that are nearer to the truth than to the wrong one, in pixels and to the judge."""

    def closer(a: NDArray[np.float32], b: NDArray[np.float32], c: NDArray[np.float32]) -> float:
        near, far = (np.square(a.astype(np.float32) - other).reshape(len(a), -1).mean(axis=1) for other in (b, c))
        return float((near < far).mean())

    pixels = [one.astype(np.float32) for one in (drawn, truth, wrong)]
    embedded = [engine.judge_embedding(one) for one in (drawn, truth, wrong)]
    return closer(*pixels), closer(*embedded)


if __name__ == "__main__":
    main()
