"""The judge learns attributes from pictures, is calibrated, resumes exactly, and becomes a part of a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stedit.errors import AttributeNameError, InputError, UsageError
from stedit.imaging.files import Pixels, write_image
from stedit.runtime.arrays import to_tensor
from stedit.runtime.networks import load_network
from stedit.storage.bundle import Bundle
from stedit.training.calibration import calibration_error
from stedit.training.data.augmentation import perturb
from stedit.training.judge.config import JudgeTrainingConfig
from stedit.training.judge.train import JudgeTask, build
from stedit.training.loop import train


def squares(count: int, seed: int = 0) -> tuple[Pixels, Pixels]:
    """32 px pictures (count, 32, 32, 3) of a square, and labels (count, 2): whether it is red, and whether large."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, (count, 2), np.uint8)
    pictures = random.integers(100, 156, (count, 32, 32, 3), np.uint8)
    for picture, (red, large) in zip(pictures, labels, strict=True):
        side = 20 if large else 8
        top, left = random.integers(2, 30 - side, 2)
        picture[top : top + side, left : left + side] = (230, 30, 30) if red else (30, 30, 230)
    return pictures, labels


def write(folder: Path, count: int = 240) -> JudgeTrainingConfig:
    """Pictures, and labels of which one in seven is unknown."""
    (folder / "squares").mkdir()
    lines = ["id,Smiling,Eyeglasses"]
    for number, (picture, (red, large)) in enumerate(zip(*squares(count), strict=True)):
        write_image(folder / "squares" / f"{number:03d}.png", picture)
        lines.append(f"{number:03d}.png,{red},{'' if number % 7 == 3 else large}")
    (folder / "labels.csv").write_text("\n".join(lines))
    return JudgeTrainingConfig(
        data=(str(folder / "squares"),),
        labels=str(folder / "labels.csv"),
        steps=120,
        batch_size=32,
        learning_rate=1e-2,
        warmup=10,
        val_fraction=0.25,
        eval_interval=40,
        resolution=32,
        widths=(8, 16, 16),
        device="cpu",
    )


def test_training_learns_and_calibrates(tmp_path: Path, read_metrics: Callable[..., Any]) -> None:
    config = write(tmp_path)
    task, outcome = train(lambda: build(config), config, tmp_path / "run")
    assert outcome.step == 120
    bundle = task.save(tmp_path / "model", overwrite=False)
    assert [item.name for item in bundle.attributes] == ["Smiling", "Eyeglasses"]
    facts = bundle.training["judge"]
    assert facts["images"] == 180
    assert min(row["accuracy"] for row in facts["validation"].values()) > 0.9
    pictures, labels = squares(400, seed=1)
    predicted = load_network(bundle, "judge")(to_tensor(pictures)).sigmoid().numpy()
    assert ((predicted > 0.5) == labels).mean(axis=0).min() > 0.93
    assert calibration_error(torch.from_numpy(predicted).logit(), torch.from_numpy(labels).float()).max() < 0.12
    rows = read_metrics(tmp_path / "run")
    assert rows[-1]["val/accuracy"] > 0.93


def test_resumed_run_equals_the_unbroken_run(
    tmp_path: Path, recording_monitor: Callable[..., Any], assert_same_state: Callable[..., Any]
) -> None:
    config = replace(write(tmp_path, 60), steps=20, eval_interval=6, patience=5)
    train(lambda: build(config), config, tmp_path / "whole")
    assert train(lambda: build(config), config, tmp_path / "part", monitor=recording_monitor(stop=9))[1].step == 9
    train(lambda: build(config), config, tmp_path / "part", resume=True)
    assert_same_state(tmp_path / "whole", tmp_path / "part")


def test_judge_in_a_model_keeps_the_order_of_its_attributes(tmp_path: Path, tiny_bundle: Path) -> None:
    names = [item.name for item in Bundle.load(tiny_bundle).attributes]
    config = replace(write(tmp_path, 60), model=str(tiny_bundle), steps=2)
    with pytest.raises(UsageError, match="the classifier of 'tiny-32' knows Bangs, which is not to be learned"):
        build(config)
    random = np.random.default_rng(0)
    lines = [",".join(["id", "Young", *names[::-1]])]
    lines += [",".join([f"{number:03d}", *map(str, random.integers(0, 2, len(names) + 1))]) for number in range(60)]
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    task, _ = train(lambda: build(config), config, tmp_path / "run")
    bundle, first = task.save(tmp_path / "model", overwrite=False), Bundle.load(tiny_bundle)
    assert bundle.attributes == first.attributes
    assert bundle.fingerprint == first.fingerprint
    assert bundle.parts["judge"].sha256 != first.parts["judge"].sha256
    assert bundle.parts["encoder"].sha256 == first.parts["encoder"].sha256
    with pytest.raises(UsageError, match="does not know Young: leave it out"):
        build(replace(config, attributes=("Young", *names)))


def test_unreadable_image_leaves_labels_with_their_images(tmp_path: Path) -> None:
    config = write(tmp_path, 40)
    for damaged in ("002", "003", "009"):
        (tmp_path / "squares" / f"{damaged}.png").write_bytes(b"nothing")
    task = build(config)
    _, labels = task._answers(task.judge)
    for index in range(len(task.held_out)):
        assert labels[index, 0] == (task.held_out.read(index)[1][..., 0] > 200).any()
    for index in range(len(task.data)):
        red = (task.data.read(index)[1][..., 0] > 200).any()
        assert task._labels[task.data.readable_index(index), 0] == red


def test_two_processes_keep_the_best_weights(
    tmp_path: Path, together: Callable[..., str], read_metrics: Callable[..., Any]
) -> None:
    """Statistics of batches are shared by all processes, but the best weights are the main one's alone."""
    config = replace(write(tmp_path, 60), steps=12, batch_size=8, eval_interval=2, patience=9, learning_rate=0.2)
    script = tmp_path / "two.py"
    script.write_text(TWO_PROCESSES.format(config=repr(config), run=str(tmp_path / "run")))
    processes, best, again = map(float, together(script).split())
    assert processes == 2
    rows = read_metrics(tmp_path / "run")
    assert rows[-1]["val/loss"] > best + 0.01  # it had become worse again, so the best weights were kept for a while
    assert again == pytest.approx(best, abs=1e-4)


TWO_PROCESSES = """
import torch
from accelerate import PartialState
from pathlib import Path
from stedit.training.attributes import measure
from stedit.training.judge.train import build
from stedit.training.judge.config import JudgeTrainingConfig
from stedit.training.loop import leave, train

config = {config}
task, outcome = train(lambda: build(config), config, Path({run!r}))
if outcome.is_main:
    with torch.no_grad():
        logits, labels = task._answers(task.best.network)
    processes = PartialState().num_processes
    print(processes, task.scalars["best"], measure(logits, labels, task._weights)["val/loss"])
leave()
"""


def test_judge_joins_a_partial_bundle(tmp_path: Path) -> None:
    """Such as another judge, which it replaces."""
    config = replace(write(tmp_path, 60), steps=2)
    first = train(lambda: build(config), config, tmp_path / "run")[0].save(tmp_path / "first", overwrite=False)
    config = replace(config, model=str(first.path), seed=1)
    second = train(lambda: build(config), config, tmp_path / "again")[0].save(tmp_path / "second", overwrite=False)
    assert set(second.parts) == {"judge"}
    assert second.parts["judge"].sha256 != first.parts["judge"].sha256


def test_images_without_labels_are_left_out(tmp_path: Path) -> None:
    config = write(tmp_path, 40)
    for picture in squares(8)[0]:
        write_image(tmp_path / "squares" / f"other-{picture[0, 0, 0]}.png", picture)
    task = build(config)
    assert len(task.data) + len(task.held_out) == 40


@pytest.mark.parametrize(
    ("keys", "error", "message"),
    [
        ({"data": ("nowhere",)}, InputError, "there are no pictures at nowhere"),
        ({"attributes": ("smirk",)}, AttributeNameError, "unknown attribute 'smirk'"),
        ({"labels": "other.csv"}, InputError, "names none of the images"),
        ({"labels": "same.csv"}, InputError, "of the images to learn from, 0 have Smiling"),
        ({"labels": "unknown.csv"}, InputError, "unknown.csv labels no image with Smiling"),
        ({"val_fraction": 0.1}, InputError, "2 of 20 images are too few to hold out for calibrate or patience"),
        ({"attributes": ("no-smile",)}, UsageError, "'no-smile', which is learned as its opposite: say Smiling"),
        ({"labels": "odd.csv", "attributes": ()}, InputError, "the labels name the attribute 'Smi"),
        ({"attributes": ("smile", "Smiling")}, UsageError, "attributes names Smiling twice"),
    ],
)
def test_build_refuses_wrong_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: dict[str, object], error: type[Exception], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    config = replace(write(tmp_path, 20), val_fraction=0.4)
    Path("unknown.csv").write_text("id,Smiling\n000,\n001,\n")
    Path("odd.csv").write_text("id,Smi\x1bling\n000,1\n")
    Path("other.csv").write_text("id,Smiling\nnobody,1\n")
    Path("same.csv").write_text("id,Smiling\n" + "".join(f"{number:03d},0\n" for number in range(20)))
    with pytest.raises(error, match=message):
        build(replace(config, **keys))  # type: ignore[arg-type]


def test_perturb_changes_images_in_every_way() -> None:
    half = torch.full((400, 3, 32, 32), -1.0)
    half[..., 16:] = 1.0  # bright on the right
    right = [
        (perturb(half, flip=flip)[..., 20:].mean(dim=(1, 2, 3)) > 0).float().mean().item() for flip in (True, False)
    ]
    assert right == [pytest.approx(0.5, abs=0.1), 1.0]  # mirrored half of the time, or never
    grey = torch.zeros(64, 3, 32, 32)
    assert perturb(grey, flip=False).mean(dim=(1, 2, 3)).std() == pytest.approx(0.05, abs=0.02)  # each by itself
    edges = [perturb(half[:4], flip=False).diff(dim=-1).abs().amax().item() for _ in range(20)]
    assert min(edges) < 1.6 < max(edges)  # softened at times
    assert len({perturb(half[:1], flip=False)[0, 0, 0].argmax().item() for _ in range(30)}) > 1  # shifted


def test_task_satisfies_the_protocol(tmp_path: Path) -> None:
    task: JudgeTask = build(write(tmp_path, 40))
    assert task.sample() is None
    assert set(task.networks) == {"judge", "best"}
