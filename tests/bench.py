"""Time what a user waits for: the start of the command line, one picture through the whole process, one 1024 px image.

Run with `make bench`. Each row is the best of several runs, in seconds.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from stedit.models.config import GeneratorConfig
from stedit.models.generator import Generator
from stedit.photo.compositing import composite
from stedit.photo.transfer import estimate_change
from stedit.runtime.allocator import keep_big_blocks

ROOT = Path(__file__).resolve().parent.parent
STEDIT = Path(sys.executable).with_name("stedit")
FACE = ROOT / "tests/data/faces/serious.jpg"
SCENE = ROOT / "tests/data/scenes/room.jpg"


def best(action: Callable[[], object], repeats: int) -> float:
    """Shortest wall-clock time of `repeats` calls, in seconds; the first call warms the caches and is not counted."""
    action()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def command(*arguments: str | Path) -> Callable[[], object]:
    """Return a call that runs `stedit` with these arguments in a process of its own."""
    return lambda: subprocess.run([STEDIT, *arguments], check=True, capture_output=True)


def carry_over() -> Callable[[], object]:
    """Return a call that carries an edit over to a photograph of 24 megapixels, whose face is 2000 px wide."""
    random = np.random.default_rng(0)
    photograph = random.integers(0, 255, (4000, 6000, 3), np.uint8)
    before, after = random.integers(0, 255, (2, 128, 128, 3), np.uint8)
    quad = np.array([[2000, 1000], [2000, 3000], [4000, 3000], [4000, 1000]])
    crop = np.ascontiguousarray(photograph[1000:3000:2, 2000:4000:2])
    return lambda: composite(photograph, estimate_change(crop, before, after), quad)


def main() -> None:
    keep_big_blocks()  # as the engine does
    generator = Generator(GeneratorConfig()).eval().to(memory_format=torch.channels_last)
    w = torch.randn(1, generator.config.style_count, generator.config.style_dim)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        rows = {
            "stedit --help": best(command("--help"), 5),
            "stedit reconstruct one.jpg": best(
                command("reconstruct", FACE, "--output", Path(folder) / "one.png", "--overwrite"), 3
            ),
            "stedit edit -a smile photo.jpg": best(
                command("edit", "-a", "smile", SCENE, "--output", Path(folder) / "two.jpg", "--overwrite"), 3
            ),
            "edit carried over, 24 MP": best(carry_over(), 3),
            "generator 1024 px, forward": best(lambda: generator(w), 3),
        }
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    for name, seconds in rows.items():
        print(f"{name:<32} {seconds:7.3f} s")


if __name__ == "__main__":
    main()
