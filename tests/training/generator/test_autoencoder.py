"""The autoencoder learns to reconstruct, with and without labels, a perceptual network and a discriminator."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from stedit.engine import Engine
from stedit.errors import InputError, MissingPartError, UsageError
from stedit.imaging.files import write_image
from stedit.models.attribute_network import AttributeNetwork
from stedit.models.generator import Generator
from stedit.storage.bundle import Bundle
from stedit.training import checkpoint
from stedit.training.generator.autoencoder import AutoencoderTask, Targets, build
from stedit.training.generator.config import AutoencoderTrainingConfig, GeneratorTrainingConfig
from stedit.training.generator.stylegan2 import build as build_generator
from stedit.training.loop import train

SMALL = AutoencoderTrainingConfig(
    steps=4,
    batch_size=8,
    learning_rate=3e-3,
    resolution=16,
    style_dim=16,
    mapping_layers=1,
    channels=(16, 16, 8),
    encoder_size=16,
    encoder_stem=8,
    encoder_widths=(8, 8, 16, 16),
    encoder_blocks=(1, 1, 1, 1),
    encoder_reduction=4,
    encoder_heads=2,
    encoder_feedforward=32,
    encoder_positions=True,
    encoder_query_rank=16,
    eval_interval=1000,
    checkpoint_interval=1000,
    device="cpu",
)


@pytest.fixture
def squares(tmp_path: Path) -> str:
    """Forty 16 px pictures: a square whose colour is given by three parameters; two labels say which are strong."""
    folder = tmp_path / "squares"
    folder.mkdir()
    parameters = np.random.default_rng(0).uniform(-1, 1, (40, 3))
    rows = []
    for number, colour in enumerate(parameters):
        pixels = np.full((16, 16, 3), 128, np.uint8)
        pixels[4:12, 4:12] = (128 + 120 * colour).astype(np.uint8)
        write_image(folder / f"{number:02}.png", pixels)
        labels = {"Smiling": int(colour[0] > 0), "Eyeglasses": None if number % 5 == 0 else int(colour[1] > 0)}
        rows.append({"id": f"{number:02}", "attributes": labels, "params": colour.tolist()})
    (tmp_path / "labels.jsonl").write_text("\n".join(map(json.dumps, rows[:-1])))
    return str(folder)


def test_training_reduces_the_error_and_the_model_reconstructs(
    squares: str, tmp_path: Path, read_metrics: Callable[..., Any]
) -> None:
    run = tmp_path / "run"
    config = replace(
        SMALL,
        data=(squares,),
        labels=str(tmp_path / "labels.jsonl"),
        val_images=5,
        steps=120,
        schedule="cosine",
        log_interval=20,
        ema_images=100,
    )
    task, _ = train(lambda: AutoencoderTask(config), config, run)
    rows = read_metrics(run)
    assert {"image", "labels", "parameters"} <= set(rows[0])
    assert rows[-1]["image"] < 0.65 * rows[0]["image"]
    assert rows[-1]["val/psnr"] > 15
    bundle = task.save(tmp_path / "model", overwrite=False)
    assert set(bundle.parts) == {"generator", "encoder"}
    images = task.held_out.images(range(5))
    engine = Engine.from_pretrained(tmp_path / "model", device="cpu")
    output = engine.synthesise(engine.invert(images), noise="none")
    grey = (images.mean(dim=0) - images).square().mean()
    assert F.mse_loss(output, images) < 0.5 * grey
    torch.testing.assert_close(output, task.average.reconstruct(images).clamp(-1, 1), atol=0.02, rtol=0)
    mean = task.average.encode(images).mean(dim=(0, 1))
    assert (engine.networks.generator.mapping.mean - mean).abs().mean() < 0.5 * mean.abs().mean()


def test_adversarial_loss_trains_discriminator_and_mapping_network(
    squares: str, tmp_path: Path, recording_monitor: Callable[..., Any], read_metrics: Callable[..., Any]
) -> None:
    """It sets in after the steps at half size, which it cannot judge; before, the mapping network stays as it is."""
    config = replace(
        SMALL,
        data=(squares,),
        adversarial_weight=0.5,
        half_resolution_steps=2,
        steps=5,
        perceptual="discriminator",
        log_interval=1,
        r1_interval=2,
    )
    monitor = recording_monitor()
    torch.manual_seed(config.seed)
    before = AutoencoderTask(config)
    task, _ = train(lambda: AutoencoderTask(config), config, tmp_path / "run", monitor=monitor)
    rows = read_metrics(tmp_path / "run")
    assert [row["step"] for row in rows if "adversarial" in row] == [3, 4, 5]
    assert [row["step"] for row in rows if "discriminator" in row] == [3, 4, 5]
    assert monitor.notes == ["the perceptual loss is that of the discriminator's features"]
    for network in ("model", "discriminator"):
        pairs = zip(before.networks[network].named_parameters(), task.networks[network].parameters(), strict=True)
        still = {key for (key, a), b in pairs if torch.equal(a, b)}
        assert all("noise_strength" in key for key in still)


def test_resumed_run_equals_the_unbroken_run(
    squares: str, tmp_path: Path, recording_monitor: Callable[..., Any]
) -> None:
    network = AttributeNetwork(2, widths=(4, 8))
    save_file(network.state_dict(), tmp_path / "network.safetensors")
    config = replace(
        SMALL,
        data=(squares,),
        labels=str(tmp_path / "labels.jsonl"),
        judge=(str(tmp_path / "network.safetensors"),),
        adversarial_weight=0.1,
        precision="bfloat16",
    )
    monitor = recording_monitor(stop=3)
    train(lambda: build(config), config, tmp_path / "whole")
    train(lambda: build(config), config, tmp_path / "broken", monitor=monitor)
    train(lambda: build(config), config, tmp_path / "broken", resume=True)
    assert monitor.notes == ["the perceptual loss is that of the judge's features"]
    a, b = (
        load_file(checkpoint.checkpoints(tmp_path / name)[-1] / "networks.safetensors") for name in ("whole", "broken")
    )
    assert all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.usefixtures("squares")
def test_targets_match_by_name_and_may_be_missing(tmp_path: Path) -> None:
    names = [f"{number:02}" for number in range(40)]
    targets = Targets.read(str(tmp_path / "labels.jsonl"), names)
    assert targets.labels.shape == (40, 2)  # Eyeglasses, Smiling
    assert targets.labels[:, 0].isnan().tolist() == [number % 5 == 0 or number == 39 for number in range(40)]
    assert targets.labels[:, 1].isnan().tolist() == [number == 39 for number in range(40)]
    assert targets.parameters.isnan().any(dim=1).tolist() == [number == 39 for number in range(40)]
    assert Targets.read("", names).labels.shape == (40, 0)
    with pytest.raises(InputError, match="names none of the images"):
        Targets.read(str(tmp_path / "labels.jsonl"), ["other"])
    (tmp_path / "labels.jsonl").write_text('{"id": "00", "attributes": {"Smiling": "yes"}}')
    with pytest.raises(InputError, match="not numbers"):
        Targets.read(str(tmp_path / "labels.jsonl"), names)


def test_init_from_starts_with_weights_and_sizes_of_the_model(squares: str, tmp_path: Path) -> None:
    """A learning rate next to nothing leaves the model as it was, in either mode; another size is not asked for."""
    config = replace(SMALL, data=(squares,), val_images=5, ema_images=100)
    first = AutoencoderTask(config)
    first.average.encoder.config = replace(first.average.encoder.config, corrections=2)  # which joint training drops
    first.save(tmp_path / "model", overwrite=False)
    keys = {"init_from": str(tmp_path / "model"), "data": (squares,), "steps": 2, "batch_size": 8, "device": "cpu"}
    before = Engine.from_pretrained(tmp_path / "model", device="cpu")
    for build_task, config, parts in (
        (build, AutoencoderTrainingConfig(**keys, learning_rate=1e-12), ("generator", "encoder")),
        (build_generator, GeneratorTrainingConfig(**keys, learning_rate=1e-12, path_length_weight=0.0), ("generator",)),
    ):
        run = tmp_path / config.command
        task, _ = train(lambda build_task=build_task, config=config: build_task(config), config, run)
        bundle = task.save(run / "model", overwrite=False)
        assert tuple(bundle.parts) == parts
        assert bundle.training["init_from"] == "model"
        assert "encoder" not in parts or bundle.parts["encoder"].config["corrections"] == 0
        after = Engine.from_pretrained(bundle.path, device="cpu")
        for part in parts:
            for (name, old), new in zip(
                before.networks.parts()[part].named_parameters(), after.networks.parts()[part].parameters(), strict=True
            ):
                torch.testing.assert_close(new, old, atol=1e-3, rtol=0, msg=f"{config.command} {part} {name}")


def test_init_from_an_unfit_model_is_refused(squares: str, tmp_path: Path) -> None:
    config = replace(SMALL, data=(squares,), init_from=str(tmp_path / "model"))
    Bundle.save(
        tmp_path / "model",
        name="model",
        domain="",
        license="MIT",
        parts={"generator": (config.generator_config(), Generator(config.generator_config()).state_dict())},
        readme="",
    )
    with pytest.raises(MissingPartError, match="has no style transformer encoder"):
        build(config)
    with pytest.raises(UsageError, match="discriminator_channels needs 3 widths"):
        build(replace(config, discriminator_channels=(8, 8)))


def test_missing_perceptual_network_is_refused(squares: str) -> None:
    with pytest.raises(UsageError, match="perceptual is judge, but there is none"):
        AutoencoderTask(replace(SMALL, data=(squares,), perceptual="judge"))
