"""Whole processes, each timed as the system accounts for it, and a folder of images through the batch engine."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from stedit import Engine, batch
from stedit.imaging.files import fit_image, read_image, write_image
from stedit.models.config import EncoderConfig, GeneratorConfig
from stedit.photo.compositing import composite
from stedit.photo.transfer import estimate_change
from stedit.runtime.networks import build_network
from stedit.storage.bundle import Bundle

ROOT = Path(__file__).resolve().parents[2]
FACE = ROOT / "tests/data/faces/serious.jpg"
SCENE = ROOT / "tests/data/scenes/room.jpg"
LOAD = "import sys, stedit; stedit.Engine.from_pretrained(sys.argv[1], device='cpu')"


def commands(folder: Path) -> dict[str, list[str]]:
    """What each process runs; its outputs and the models that it loads are in `folder`."""
    stedit = [sys.executable, "-m", "stedit"]
    one, two = (str(folder / name) for name in ("one.png", "two.jpg"))
    return {
        "python -c pass": [sys.executable, "-c", "pass"],
        "python -c 'import torch'": [sys.executable, "-c", "import torch"],
        "stedit --help": [*stedit, "--help"],
        "stedit reconstruct face.jpg": [*stedit, "reconstruct", str(FACE), "-o", one, "--overwrite"],
        "stedit edit -a smile photo.jpg": [*stedit, "edit", "-a", "smile", str(SCENE), "-o", two, "--overwrite"],
        "load a 1024 px model, float16": [sys.executable, "-c", LOAD, str(folder / "float16")],
        "load a 1024 px model, float32": [sys.executable, "-c", LOAD, str(folder / "float32")],
    }


def measure_processes(group: str, *, rounds: int) -> list[dict[str, Any]]:
    """The rows of a group of PROCESSES, which it prints too."""
    print(f"\n### {group}\n", flush=True)
    return PROCESSES[group](rounds)


def print_commands(rounds: int) -> list[dict[str, Any]]:
    """Each command as a whole process, in turns."""
    times: dict[str, list[tuple[float, float, float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        _save_large_models(Path(name))
        runs = commands(Path(name))
        for turn in range(rounds + 1):
            for what, command in runs.items():
                taken = _run(command)
                if turn:  # the first one fills caches
                    times.setdefault(what, []).append(taken)
    rows = []
    print("| process | wall, s | CPU, s | memory, MB |")
    print("|---|---|---|---|")
    for what, taken in times.items():
        wall, cpu, peak = (median(column) for column in zip(*taken, strict=True))
        print(f"| `{what}` | {wall:.2f} | {cpu:.2f} | {peak:.0f} |", flush=True)
        rows.append({"process": what, "wall": wall, "cpu": cpu, "peak_mb": peak, "rounds": rounds})
    return rows


def _run(command: Sequence[str]) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and peak of memory in MB of a process."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr
    complaint = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, complaint.decode()
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def _save_large_models(folder: Path) -> None:
    """Models of the published sizes, of random weights."""
    configs = {"generator": GeneratorConfig(), "encoder": EncoderConfig()}
    parts = {name: (config, build_network(name, config).state_dict()) for name, config in configs.items()}
    for dtype in ("float16", "float32"):
        Bundle.save(
            folder / dtype, name="large", domain="noise", license="MIT", parts=parts, readme="Noise.", dtype=dtype
        )


def best(action: Callable[[], object], repeats: int) -> float:
    """Shortest wall-clock time of `repeats` calls, in seconds; the first call warms the caches and is not counted."""
    action()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


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


def print_folder(rounds: int) -> list[dict[str, Any]]:
    """A folder of crops, edited by the embedded model: images a second, against inference alone, and memory."""
    engine = Engine.from_pretrained()
    memory = Memory()
    crop = fit_image(read_image(FACE), engine.input_size)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        for i in range(int(os.environ.get("COUNT", "400"))):
            write_image(folder / f"in/{i:05}.jpg", crop)
        request = batch.LabelEdit("smile", photo=batch.PhotoOptions(align="never", result="render"))
        summary = batch.run(request, [folder / "in"], output=folder / "out", model=engine, reporter=memory)
    figures = {f"folder of {summary.done}, images/s": summary.done / summary.seconds}
    for size in (1, 8):
        images = np.stack([crop] * size)
        alone = best(lambda: engine.synthesise(engine.edit_by_label(engine.invert(images), "smile")), rounds)  # noqa: B023
        figures[f"inference alone, batches of {size}, images/s"] = size / alone
    figures["memory, growth per image, kB"] = memory.slope()
    figures["edit carried over, 24 MP, s"] = best(carry_over(), rounds)
    figures["threads"] = torch.get_num_threads()
    for name, figure in figures.items():
        print(f"- {name}: {figure:.2f}", flush=True)
    return [figures]


PROCESSES = {"processes": print_commands, "folder": print_folder}
