"""Render labelled portraits: pictures in zip files, and their records.

    python render.py --facekit facekit.npz --output DATA --prefix train --seed 1 --count 16000
    python render.py --facekit facekit.npz --output DATA --prefix test  --seed 2 --count 1000
    python render.py --facekit facekit.npz --output DATA --prefix pairs --seed 3 --pairs 24

pack.py makes facekit.npz. A core renders about a dozen pictures of 128 px a second; --size 256 works too.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from renderer.head import FaceKitError
from renderer.pictures import pair_orders, random_orders, render_orders, write_pictures


def main() -> None:
    """Read the arguments, render."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--facekit", type=Path, default=Path("facekit.npz"))
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--prefix", default="train", help="how files and pictures are named")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", type=int, default=0, help="number of the first picture")
    parser.add_argument("--count", type=int, default=16_000)
    parser.add_argument("--pairs", type=int, default=0, help="render so many identities with and without attributes")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    count = arguments.pairs or arguments.count
    numbers = range(arguments.start, arguments.start + count)
    orders = (pair_orders if arguments.pairs else random_orders)(arguments.prefix, arguments.seed, numbers)
    made = render_orders(orders, arguments.facekit, size=arguments.size, workers=arguments.workers)
    try:
        written = write_pictures(made, arguments.output, arguments.prefix)
    except FaceKitError as error:
        raise SystemExit(f"error: {error}") from error
    print(f"{written} pictures in {arguments.output}")


if __name__ == "__main__":
    main()
