"""Several processes share a run, here and on a cluster: the same bytes, though one of them is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from stedit import batch
from stedit.batch.devices import run_on_devices
from stedit.batch.worker import Task
from stedit.engine import Engine
from stedit.errors import MissingPartError, UsageError
from stedit.imaging.files import Pixels, fit_image, read_image, write_image
from stedit.storage.bundle import Bundle

COUNT = 12
HAS_RAY = find_spec("ray") is not None and find_spec("pyarrow") is not None  # which Ray Data needs
pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds its processes as Linux lists them")


def contents(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def descendants(process: int) -> dict[int, str]:
    """The processes that came of one, and what they are called."""
    parents, names = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            names[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
        except OSError:  # it has ended
            continue
    found = {process}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return {child: names[child] for child in found - {process}}


def kill_one(process: int, name: str, *, once: Callable[[], bool]) -> None:
    """Kill a process that came of one and has this in its name, as soon as something holds."""
    end = time.monotonic() + 300
    while not once():
        assert time.monotonic() < end, "nothing has been written"
        time.sleep(0.05)
    os.kill(max(child for child, words in descendants(process).items() if name in words), signal.SIGKILL)


@pytest.fixture
def pictures(face_image: Pixels) -> None:
    """In `in`, of which the fourth is none."""
    Path("in").mkdir()
    for i in range(COUNT):
        write_image(f"in/{i:02}.png", np.roll(face_image, 7 * i, axis=1)[i:])
    Path("in/03.png").write_bytes(b"no picture")


@pytest.mark.usefixtures("pictures")
def test_devices_share_a_folder_and_give_the_same_bytes(tiny_bundle: Path) -> None:
    whole = batch.run(batch.LabelEdit("smile"), ["in"], output="whole", model=tiny_bundle)
    shared = batch.run(
        batch.LabelEdit("smile"), ["in"], output="out", model=tiny_bundle, device="cpu,cpu", batch_size=2
    )
    assert (shared.done, shared.failed, shared.untried) == (whole.done, whole.failed, 0) == (COUNT - 1, 1, 0)
    assert contents("out") == contents("whole")
    again = batch.run(batch.LabelEdit("smile"), ["in"], output="out", model=tiny_bundle, device="cpu,cpu")
    assert (again.done, again.skipped, again.failed) == (0, COUNT - 1, 1)


@pytest.mark.usefixtures("pictures")
def test_what_no_input_can_meet_ends_the_run_in_its_own_error(tiny_bundle: Path) -> None:
    request = batch.InversionRequest(method="iterative")
    with pytest.raises(MissingPartError, match="was not trained on its own renderings"):
        batch.run(request, ["in"], output="out", model=tiny_bundle, device="cpu,cpu")
    with pytest.raises(UsageError, match="load the model each"):
        batch.run(request, ["in"], output="out", model=Engine.from_pretrained(tiny_bundle), device="cpu,cpu")


@pytest.mark.usefixtures("pictures")
def test_the_parts_of_a_process_that_dies_are_done_by_the_others(tiny_bundle: Path) -> None:
    class Killer(batch.SilentReporter):
        def __init__(self) -> None:
            self.names: list[str] = []

        def record(self, record: batch.Record) -> None:
            if not self.names:
                kill_one(os.getpid(), "spawn_main", once=lambda: True)
            self.names.append(Path(record.input).stem)

    plan = batch.plan_request(batch.LabelEdit("smile"), ["in"], Bundle.load(tiny_bundle), output="out")
    killer = Killer()
    task = Task(plan, str(tiny_bundle), "", "float32", 2, details=False, fail_fast=False)
    summary = run_on_devices(task, ["cpu", "cpu"], killer)
    assert set(killer.names) == {f"{i:02}" for i in range(COUNT)}
    assert (summary.total, summary.failed) == (COUNT, 1)
    batch.run(batch.LabelEdit("smile"), ["in"], output="whole", model=tiny_bundle)
    assert contents("out") == contents("whole")


@pytest.mark.skipif(not HAS_RAY, reason="Ray is not installed")
def test_a_cluster_gives_the_same_bytes_though_a_worker_is_killed() -> None:
    faces = sorted((Path(__file__).resolve().parents[1] / "data/faces").glob("*.jpg"))
    Path("in").mkdir()
    for i in range(48):
        image = np.roll(read_image(faces[i % len(faces)]), 3 * i, axis=1)
        write_image(f"in/{i:02}.png", fit_image(image, (128, 128)))
    batch.run(batch.Reconstruction(), ["in"], output="whole")
    program = (
        "import ray; from stedit import batch; ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)\n"
        "done = batch.run(batch.Reconstruction(), ['in'], output='out', spread='ray')\n"
        "open('counts', 'w').write(f'{done.done + done.skipped} {done.failed} {done.untried}')"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as run:
        kill_one(run.pid, "MapWorker", once=lambda: len(list(Path().glob("out/*.png"))) > 4)
        said, _ = run.communicate(timeout=500)
    assert run.returncode == 0, said.decode()
    assert Path("counts").read_text() == "48 0 0"
    assert contents("out") == contents("whole")
