"""The same bytes whatever is computed beside, in whatever order, after kills, and by several processes."""

from __future__ import annotations

import json
import os
import random
import signal
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from stedit import batch
from stedit.batch import pipeline, process
from stedit.batch.code_batch import CodeBatch
from stedit.batch.output import Output
from stedit.engine import Engine
from stedit.imaging.files import Pixels, fit_image, read_image, write_image
from stedit.storage import atomic
from stedit.storage.latents import LatentCode

KILLS = int(os.environ.get("KILLS", "20"))  # `make test-kills` asks for more
COUNT = 9
SMILE = batch.LabelEdit("smile")


class Listener(batch.SilentReporter):
    def __init__(self) -> None:
        self.records: list[batch.Record] = []

    def record(self, record: batch.Record) -> None:
        self.records.append(record)


@pytest.fixture(scope="module")
def engine(tiny_bundle: Path) -> Engine:
    return Engine.from_pretrained(tiny_bundle, device="cpu")


@pytest.fixture
def pictures(face_image: Pixels) -> list[str]:
    """Nine pictures in `in`, of which the fourth is none."""
    Path("in").mkdir()
    for i in range(COUNT):
        write_image(f"in/{i}.png", np.roll(face_image, 7 * i, axis=1)[i:])
    Path("in/3.png").write_bytes(b"no picture")
    return [f"in/{i}.png" for i in range(COUNT)]


def contents(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def in_child(action: Callable[[], None]) -> int:
    """Do something in a process of its own, which has the model already; gives its id."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads of the tests hold no lock that it needs
        child = os.fork()
    if child == 0:
        status = 1
        try:
            action()
            status = 0
        finally:
            os._exit(status)
    return child


@pytest.mark.parametrize(
    "request_", [SMILE, batch.LabelEdit("smile", direction="preserving"), batch.InversionRequest()], ids=repr
)
def test_bytes_do_not_depend_on_batch_size_neighbours_or_order(
    engine: Engine, pictures: list[str], request_: batch.Request
) -> None:
    for size in (1, 2, 3, 7, 8):
        summary = batch.run(request_, pictures, output=f"by-{size}", model=engine, batch_size=size)
        assert (summary.done, summary.failed) == (COUNT - 1, 1)
    batch.run(request_, pictures[::-1], output="turned", model=engine)
    for picture in pictures:
        batch.run(request_, [picture], output="single", model=engine)
    expected = contents("by-8")
    assert len(expected) == COUNT - 1
    assert all(contents(name) == expected for name in ("by-1", "by-2", "by-3", "by-7", "turned", "single"))


def test_many_images_are_computed_in_batches_that_change_no_byte() -> None:
    """The embedded model, of which batches of other sizes, and other numbers of threads, did round otherwise."""
    whole = Engine.from_pretrained(device="cpu")
    faces = sorted((Path(__file__).resolve().parents[1] / "data/faces").glob("*.jpg"))
    Path("in").mkdir()
    for i in range(pipeline.MANY + 3):
        image = np.roll(read_image(faces[i % len(faces)]), 3 * i, axis=1)
        write_image(f"in/{i}.png", fit_image(image, whole.input_size))
    Path("in/7.png").write_bytes(b"no picture")
    for size, threads in ((1, 1), (8, 1), (8, 2)):
        torch.set_num_threads(threads)
        batch.run(SMILE, ["in"], output=f"by-{size}-{threads}", model=whole, batch_size=size)
        assert torch.get_num_threads() == threads
    torch.set_num_threads(1)
    assert contents("by-8-1") == contents("by-1-1")
    assert contents("by-8-2") == contents("by-1-1")


def test_batches_of_one_size_are_filled_up_and_halved_where_memory_ends(engine: Engine, pictures: list[str]) -> None:
    """As on a GPU, whose memory ends at more than two."""
    sizes: list[int] = []
    plan = batch.plan_request(batch.InversionRequest(), pictures, engine.bundle, output="out")
    prepared = process.start(plan.request, engine, Listener(), file_format=plan.format)

    def compute(codes: CodeBatch) -> Sequence[Output]:
        sizes.append(len(codes.sources))
        if len(codes.sources) > 2:
            raise MemoryError
        return prepared.compute(codes)

    heard, made = Listener(), dict[str, LatentCode]()

    def keep(job: batch.Job, output: Output) -> tuple[str, ...]:
        assert isinstance(output.made, LatentCode)
        made[job.source.stem] = output.made
        return ()

    limited = replace(prepared, compute=compute, batching="filled")
    summary = pipeline.run(plan.jobs, limited, heard, write=keep, batch_size=4)
    assert (summary.done, summary.failed, summary.untried) == (COUNT - 1, 1, 0)
    assert [Path(record.input).stem for record in heard.records if not record.error] == list("01245678")
    assert set(sizes) == {4, 2}
    alone = engine.invert(np.stack([np.zeros((32, 32, 3), np.uint8)]))
    assert made["0"].w.shape == alone[0].shape
    batch.run(batch.InversionRequest(), pictures, output="alone", model=engine)
    for name, code in made.items():
        assert np.allclose(code.w, LatentCode.load(f"alone/{name}.latent.safetensors").w, atol=1e-5)


def test_killed_runs_leave_nothing_half_and_end_in_the_same_bytes(
    engine: Engine, pictures: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    began = time.perf_counter()
    batch.run(SMILE, pictures, output="whole", model=engine)
    whole, seconds = contents("whole"), time.perf_counter() - began
    moments, killed = random.Random(0), 0

    def run() -> None:
        batch.run(SMILE, pictures, output="out", model=engine, overwrite=killed % 3 == 0)

    while killed < KILLS:
        child = in_child(run)
        time.sleep(moments.random() * seconds)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        killed += 1
        made = (
            {name: data for name, data in contents("out").items() if not name.startswith(".stedit-")}
            if (Path("out").exists())
            else {}
        )
        made.pop(".stedit.lock", None)
        assert all(whole[name] == data for name, data in made.items())
    Path("out").mkdir(exist_ok=True)
    Path("out/.stedit-0123.part").write_bytes(b"half")
    monkeypatch.setattr(atomic, "LEFTOVER_SECONDS", 0.0)
    batch.run(SMILE, pictures, output="out", model=engine)
    assert contents("out") == whole


def test_processes_on_one_folder_share_the_work(engine: Engine, pictures: list[str]) -> None:
    def run(name: str) -> None:
        summary = batch.run(SMILE, pictures, output="out", model=engine)
        Path(name).write_text(json.dumps([summary.done, summary.skipped, summary.failed, summary.untried]))

    children = [in_child(lambda name=name: run(name)) for name in ("one", "two")]  # type: ignore[misc]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    one, two = (json.loads(Path(name).read_text()) for name in ("one", "two"))
    assert one[0] + two[0] == COUNT - 1  # no output was made twice
    for done, skipped, failed, untried in (one, two):
        assert (done + skipped, failed, untried) == (COUNT - 1, 1, 0)
    batch.run(SMILE, pictures, output="alone", model=engine)
    assert contents("out") == contents("alone")


def test_what_another_process_is_writing_is_not_swept() -> None:
    def write() -> None:
        with atomic.write_folder(Path("model")) as folder:
            (folder / "part").write_bytes(b"half")
            Path("written").touch()
            time.sleep(60)

    child = in_child(write)
    try:
        while not Path("written").exists():
            time.sleep(0.01)
        (leftover,) = Path().glob(".stedit-*.part")
        os.utime(leftover, (0, 0))
        atomic.sweep(Path())
        assert leftover.is_dir()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    atomic.sweep(Path())
    assert not leftover.exists()
