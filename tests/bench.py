"""Time what a user waits for: the start of the command line, one picture through the whole process, one 1024 px image.

Run with `make bench`. Each row is the best of several runs, in seconds; and a folder of COUNT images (400), once.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from stedit import Engine, batch
from stedit.imaging.files import fit_image, read_image, write_image
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


class Memory(batch.SilentReporter):
    """How much memory the process takes after each image, in kB, as Linux tells it."""

    def __init__(self) -> None:
        self.sizes: list[float] = []

    def record(self, record: batch.Record) -> None:
        assert record.status == "done", record.error
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.sizes.append(pages * os.sysconf("SC_PAGE_SIZE") / 1024)

    def slope(self) -> float:
        """Growth for each image, in kB, over the second half of the run."""
        half = self.sizes[len(self.sizes) // 2 :]
        return float(np.polyfit(np.arange(len(half)), half, 1)[0])


def print_folder(count: int) -> None:
    """A folder of crops, edited by the embedded model: images a second, against inference alone, and memory."""
    engine = Engine.from_pretrained()
    memory = Memory()
    crop = fit_image(read_image(FACE), engine.input_size)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        for i in range(count):
            write_image(folder / f"in/{i:05}.jpg", crop)
        request = batch.LabelEdit("smile", photo=batch.PhotoOptions(align="never", result="render"))
        summary = batch.run(request, [folder / "in"], output=folder / "out", model=engine, reporter=memory)
    print(f"folder of {summary.done}, {'images/s':<10} {summary.done / summary.seconds:7.2f}")
    for size in (1, 8):
        images = np.stack([crop] * size)
        alone = best(lambda: engine.synthesise(engine.edit_by_label(engine.invert(images), "smile")), 5)  # noqa: B023
        print(f"  inference alone, batches of {size}    {size / alone:7.2f}")
    print(f"  memory, growth per image         {memory.slope():7.2f} kB")


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
    if Path("/proc/self/statm").exists():
        print_folder(int(os.environ.get("COUNT", "400")))


if __name__ == "__main__":
    main()
