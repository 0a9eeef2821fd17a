"""StyleGAN2 learns a handful of pictures, resumes exactly, and leaves a bundle that the engine can use."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from stedit.engine import Engine
from stedit.imaging.files import write_image
from stedit.training.generator.config import GeneratorTrainingConfig
from stedit.training.generator.discriminator import DiscriminatorTrainer
from stedit.training.generator.stylegan2 import StyleGan2Task, build
from stedit.training.loop import train
from stedit.training.run import Run

SMALL = GeneratorTrainingConfig(
    steps=6,
    batch_size=4,
    resolution=8,
    style_dim=8,
    mapping_layers=2,
    channels=(8, 8),
    r1_interval=2,
    path_length_interval=3,
    ada_images=40,
    ada_target=0.0,
    eval_interval=100,
    checkpoint_interval=100,
    device="cpu",
    name="small",
    domain="squares",
    license="CC0-1.0",
)


@pytest.fixture
def squares(tmp_path: Path) -> str:
    """Twelve 8 px pictures of bright squares on dark ground."""
    folder = tmp_path / "squares"
    folder.mkdir()
    for number in range(12):
        pixels = np.full((8, 8, 3), 30, np.uint8)
        pixels[2:6, 2:6] = (200, 20 * number, 60)
        write_image(folder / f"{number:02}.png", pixels)
    return str(folder)


def test_resumed_run_equals_the_unbroken_run(
    squares: str, tmp_path: Path, recording_monitor: Callable[..., Any], assert_same_state: Callable[..., Any]
) -> None:
    """Through lazy regularisation, augmentation, style mixing, moving averages and both optimisers."""
    config = replace(SMALL, data=(squares,))
    whole, _ = train(lambda: build(config), config, tmp_path / "whole")
    train(lambda: build(config), config, tmp_path / "broken", monitor=recording_monitor(stop=3))
    resumed, outcome = train(lambda: build(config), config, tmp_path / "broken", resume=True)
    assert outcome.step == 6
    assert whole.scalars == resumed.scalars
    assert whole.scalars["p"] == pytest.approx(16 / 40)  # it rose once, for a target that is always exceeded
    assert_same_state(tmp_path / "whole", tmp_path / "broken")


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_step_trains_every_network_and_reports_every_loss(
    squares: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    precision: Literal["bfloat16", "float16"],
    read_metrics: Callable[..., Any],
) -> None:
    monkeypatch.setattr("stedit.training.run.require_precision", lambda *_: None)  # float16 on the CPU
    config = replace(SMALL, data=(squares,), precision=precision, log_interval=1)
    torch.manual_seed(config.seed)
    before = StyleGan2Task(config)
    task, _ = train(lambda: StyleGan2Task(config), config, tmp_path / "run")
    for name in ("generator", "average", "discriminator"):
        pairs = zip(before.networks[name].named_parameters(), task.networks[name].parameters(), strict=True)
        still = [key for (key, a), b in pairs if torch.equal(a, b)]
        assert not still
    rows = read_metrics(tmp_path / "run")
    assert {"generator", "discriminator", "real", "augmentation"} <= set(rows[0])
    assert [row["step"] for row in rows if "r1" in row] == [1, 3, 5]
    assert [row["step"] for row in rows if "path_length" in row] == [1, 4]


class TensorCounter:
    """Counts the tensors that are alive after some steps."""

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}

    def advance(self, step: int, *_: object) -> None:
        if step % 6 == 0:  # the period of all that is done lazily
            gc.collect()
            self.counts[step] = sum(issubclass(type(one), torch.Tensor) for one in gc.get_objects())

    def note(self, text: str) -> None:
        raise AssertionError(text)


def test_training_keeps_memory_flat(squares: str, tmp_path: Path) -> None:
    config = replace(SMALL, data=(squares,), steps=18, checkpoint_interval=6)
    counter = TensorCounter()
    train(lambda: build(config), config, tmp_path / "run", monitor=counter)
    assert counter.counts[18] <= counter.counts[6]


def test_training_learns_the_mean_colours_of_the_images(squares: str, tmp_path: Path) -> None:
    config = replace(SMALL, data=(squares,), steps=120, augmentation="none", ema_images=100, learning_rate=5e-3)
    torch.manual_seed(config.seed)
    before = StyleGan2Task(config)
    task, _ = train(lambda: StyleGan2Task(config), config, tmp_path / "run")
    wanted = before.data.images(range(12)).mean(dim=0)

    def distance(one: StyleGan2Task) -> float:
        with torch.no_grad():
            codes = one.average.mapping(torch.randn(64, 8))
            return F.mse_loss(one.average(codes).mean(dim=0), wanted).item()

    assert distance(task) < 0.25 * distance(before)


def test_saved_model_renders_as_the_moving_average(squares: str, tmp_path: Path) -> None:
    config = replace(SMALL, data=(squares,), steps=2)
    task, _ = train(lambda: StyleGan2Task(config), config, tmp_path / "run")
    bundle = task.save(tmp_path / "model", overwrite=False)
    assert (bundle.name, bundle.domain, bundle.license) == ("small", "squares", "CC0-1.0")
    assert bundle.training["images"] == 12
    assert bundle.training["config"]["resolution"] == 8
    assert "data" not in bundle.training["config"]
    engine = Engine.from_pretrained(tmp_path / "model", device="cpu")
    codes = task.average.mapping(torch.randn(3, 8))
    rendered = engine.synthesise(codes[:, None].expand(-1, 4, -1))
    torch.testing.assert_close(rendered, task.average(codes), atol=2e-2, rtol=0)
    assert "license: CC0-1.0" in (tmp_path / "model" / "README.md").read_text()


def test_discriminator_step_compares_matched_and_mismatched_codes(tmp_path: Path) -> None:
    """It sees real pictures with their codes, fakes with the same, and real ones with those of their neighbours."""
    calls = []

    class Noted(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(()))

        def forward(self, images: Tensor, codes: Tensor) -> Tensor:
            calls.append((images.flatten(1)[:, 0].tolist(), codes.flatten().tolist()))
            return self.scale * images.mean(dim=(1, 2, 3)) * codes.flatten()

    config = replace(SMALL, r1_gamma=0.0, augmentation="none")
    trainer = DiscriminatorTrainer(config, {}, 1e-3, Noted())
    real, codes = torch.arange(1.0, 4.0)[:, None, None, None].expand(-1, 3, 8, 8), torch.arange(3.0).view(3, 1, 1)
    run = Run(config, tmp_path)
    loss = trainer.step(run, real, -real, codes)["discriminator"]
    assert calls == [([1, 2, 3], [0, 1, 2]), ([1, 2, 3], [2, 0, 1]), ([-1, -2, -3], [0, 1, 2])]
    matched, others = torch.tensor([0.0, 2, 6]), torch.tensor([2.0, 0, 3])
    assert loss.item() == pytest.approx((2 * F.softplus(-matched) + F.softplus(others) / 2).mean().item())
    del calls[:]
    trainer.step(run, real[:1], -real[:1], codes[:1])
    assert len(calls) == 2  # there is no neighbour
