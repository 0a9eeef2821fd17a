"""The aligner learns to find drawn faces, is measured on scenes held out, resumes exactly, and joins a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from training.aligner.faces import write_faces

from stedit.errors import UsageError
from stedit.runtime.networks import load_network
from stedit.storage.bundle import Bundle
from stedit.training.aligner.compose import Canvases
from stedit.training.aligner.config import AlignerTrainingConfig
from stedit.training.aligner.data import ABSENT, LEARNT, UNSURE, rank
from stedit.training.aligner.train import Hardness, aligner_losses, build, targets
from stedit.training.loop import train


def small(folder: Path, **keys: object) -> AlignerTrainingConfig:
    data, labels = write_faces(folder, 60, 20, 20)
    config = AlignerTrainingConfig(
        data=tuple(data),
        labels=tuple(labels),
        steps=200,
        batch_size=16,
        learning_rate=1e-2,
        warmup=5,
        canvas=64,
        largest=54,
        tilt=15,
        clutter_fraction=0.1,
        val_fraction=0.25,
        ema_images=100,
        eval_interval=100,
        widths=(8, 16, 16, 24, 24),
        device="cpu",
    )
    return replace(config, **keys)  # type: ignore[arg-type]


def canvases(states: list[int], centre: float = 42.0) -> Canvases:
    """One canvas of 96 px with faces of 40 px around (centre, 42), (80, 42), ..."""
    shapes = torch.zeros(1, len(states), 7, 2)
    for number in range(len(states)):
        middle = torch.tensor([centre + 38 * number, 42.0])
        shapes[0, number] = middle + torch.tensor(
            [[-8.0, -6], [8, -6], [0, 2], [-6, 12], [6, 12], [-16, -25], [16, 25]]
        )
    sizes = torch.full((1, len(states)), 40.0)
    return Canvases(torch.zeros(1, 3, 96, 96), shapes, sizes, torch.tensor([states]), torch.tensor([0]))


def test_the_goal_is_one_at_the_nearest_cell_and_falls_off() -> None:
    goal, counted, owner = targets(canvases([LEARNT, LEARNT]), 12, 12)
    assert goal[0, 5, 5] == goal[0, 5, 9] == 1  # cells whose centres are (44, 44) and (76, 44)
    assert 0 < goal[0, 5, 3] < goal[0, 5, 4] < 1
    assert goal[0, :, 0].max() < 0.01
    assert owner[0, 5, 5] == 0
    assert owner[0, 5, 9] == 1
    assert counted.min() == 1


def test_what_nobody_is_sure_of_is_not_counted() -> None:
    goal, counted, _ = targets(canvases([UNSURE, ABSENT]), 12, 12)
    assert goal.max() == 0
    assert counted[0, 5, 5] == 0
    assert counted[0, 5, 9] == 1
    beyond, counted, _ = targets(canvases([LEARNT], centre=-3.0), 12, 12)
    assert beyond.max() == 0  # its centre lies outside, so no cell is its own
    assert counted[0, 5, 0] == 0


def test_a_perfect_answer_costs_nothing() -> None:
    made = canvases([LEARNT])
    goal, _, _ = targets(made, 12, 12)
    shapes = made.shapes[:, :1, None].expand(1, 12, 12, 7, 2)
    losses, faults = aligner_losses(torch.logit(goal, 1e-6), shapes, made)
    assert max(losses.values()) < 1e-3
    assert faults.item() < 0.05
    off = aligner_losses(torch.logit(goal, 1e-6), shapes + torch.tensor([4.0, 0.0]), made)[0]
    assert off["points"].item() == pytest.approx(0.1)  # 4 of 40 px
    wrong, faults = aligner_losses(torch.full((1, 12, 12), 3.0), shapes, made)
    assert wrong["heat"] > 10
    assert faults.item() == pytest.approx(torch.tensor(3.0).sigmoid().item())


def test_scenes_with_faults_are_shown_more_often() -> None:
    hardness = Hardness(4)
    for _ in range(20):
        hardness.learn(torch.tensor([0, 1, 1]), torch.tensor([0.0, 1.0, 0.2]))
    assert hardness.scenes[0] < 0.02 < 0.5 == hardness.scenes[3]
    assert hardness.scenes[1] > 0.98  # the worst of what was seen of it
    chosen = hardness.choose(2000).bincount(minlength=4)
    assert chosen[1] > 1.5 * chosen[3] > 3 * chosen[0]


def test_it_learns_to_find_faces(tmp_path: Path, read_metrics: Callable[..., Any]) -> None:
    config = small(tmp_path)
    task, outcome = train(lambda: build(config), config, tmp_path / "run")
    assert outcome.step == 200
    rows = read_metrics(tmp_path / "run")
    assert rows[-1]["val/recall"] >= 0.7
    assert rows[-1]["val/precision"] >= 0.3
    assert rows[-1]["val/points_error"] < 0.4
    bundle = task.save(tmp_path / "model", overwrite=False)
    assert list(bundle.parts) == ["aligner"]
    facts = bundle.training["aligner"]
    held_out = sum(rank(f"scene_{number}") < config.val_fraction for number in range(60))
    assert 10 <= held_out <= 20
    assert facts["images"] == 100 - held_out
    assert rows[-1]["val/faces_in_clutter"] < 6
    assert facts["validation"]["val/recall"] == pytest.approx(rows[-1]["val/recall"])
    network = load_network(bundle, "aligner")
    assert network.config.largest == 54


def test_a_resumed_run_ends_the_same(tmp_path: Path) -> None:
    config = small(tmp_path, steps=4, batch_size=4, schedule="constant", checkpoint_interval=2, eval_interval=100)
    straight, _ = train(lambda: build(config), config, tmp_path / "straight")
    train(lambda: build(config), replace(config, steps=2), tmp_path / "half")
    resumed, _ = train(lambda: build(config), config, tmp_path / "half", resume=True)
    for name, network in straight.networks.items():
        for key, value in network.state_dict().items():
            assert torch.equal(value, resumed.networks[name].state_dict()[key]), f"{name}/{key}"


def test_it_goes_on_from_an_aligner(tmp_path: Path) -> None:
    config = small(tmp_path, steps=2, batch_size=4, eval_interval=100)
    first, _ = train(lambda: build(config), config, tmp_path / "first")
    first.save(tmp_path / "model", overwrite=False)
    again = build(replace(config, init_from=str(tmp_path / "model")))
    stored = load_network(Bundle.load(tmp_path / "model"), "aligner").state_dict()
    for network in (again.aligner, again.average):
        assert all(torch.equal(value, stored[name]) for name, value in network.state_dict().items())
    with pytest.raises(UsageError, match="has other sizes: set widths, smallest and largest to its own"):
        build(replace(config, init_from=str(tmp_path / "model"), largest=60))


def test_it_is_put_into_a_model(tmp_path: Path, tiny_bundle: Path) -> None:
    config = small(tmp_path, steps=1, model=str(tiny_bundle))
    task, _ = train(lambda: build(config), config, tmp_path / "run")
    bundle, base = task.save(tmp_path / "model", overwrite=False), Bundle.load(tiny_bundle)
    assert set(bundle.parts) == {*base.parts, "aligner"}
    assert bundle.fingerprint == base.fingerprint
    assert bundle.attributes == base.attributes


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"data": ()}, "data is empty"),
        ({"labels": ()}, "labels is empty"),
        ({"canvas": 100}, "canvas is 100: set it to a multiple of 32"),
        ({"widths": (8, 8)}, "widths needs one entry"),
        ({"smallest": 40, "largest": 90}, "largest is 90"),
    ],
)
def test_contradictions_are_refused(keys: dict[str, object], said: str) -> None:
    flags = {"data": ("faces.zip",), "labels": ("faces.jsonl",)} | keys
    with pytest.raises(UsageError, match=said):
        AlignerTrainingConfig.read(None, flags)
