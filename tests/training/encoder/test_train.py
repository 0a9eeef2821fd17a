"""An encoder learns to invert a generator that does not change, with every loss that it can be given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from stedit.engine import Engine
from stedit.errors import InputError, MissingPartError, TrainingError, UsageError
from stedit.imaging.files import read_image, write_image
from stedit.models.config import GeneratorConfig
from stedit.models.generator import Generator
from stedit.models.style_transformer import StyleTransformer
from stedit.storage.bundle import Bundle
from stedit.storage.bundle_config import PART_CONFIGS
from stedit.training import checkpoint
from stedit.training.encoder.config import EncoderTrainingConfig
from stedit.training.encoder.train import EncoderTask
from stedit.training.generator.config import GeneratorTrainingConfig
from stedit.training.generator.stylegan2 import StyleGan2Task
from stedit.training.loop import train

SMALL = EncoderTrainingConfig(
    steps=4,
    batch_size=8,
    learning_rate=3e-3,
    encoder_size=16,
    encoder_stem=8,
    encoder_widths=(8, 8, 16, 16),
    encoder_blocks=(1, 1, 1, 1),
    encoder_reduction=4,
    encoder_heads=2,
    encoder_feedforward=32,
    encoder_positions=True,
    ema_images=50,
    eval_interval=1000,
    checkpoint_interval=1000,
    device="cpu",
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A 16 px generator with random weights, stored in half precision."""
    torch.manual_seed(4)
    config = GeneratorConfig(resolution=16, style_dim=16, mapping_layers=2, channels=(16, 16, 8))
    generator = Generator(config)
    generator.mapping.mean.copy_(generator.mapping.estimate_mean(1000))
    parts = {"generator": (config, generator.state_dict())}
    path = tmp_path_factory.mktemp("models") / "base"
    return Bundle.save(path, name="base", domain="noise", license="MIT", parts=parts, readme="# base\n")


@pytest.fixture
def pictures(model: Bundle, tmp_path: Path) -> str:
    """Twenty pictures that the generator can draw."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    engine = Engine.from_pretrained(model.path, device="cpu")
    torch.manual_seed(9)
    codes = engine.networks.generator.mapping(torch.randn(20, 16))[:, None].expand(-1, 6, -1)
    for number, pixels in enumerate(engine.synthesise(codes.numpy())):
        write_image(folder / f"{number:02}.png", pixels)
    return str(folder)


def test_training_without_data_learns_known_codes(
    model: Bundle, tmp_path: Path, recording_monitor: Callable[..., Any], read_metrics: Callable[..., Any]
) -> None:
    config = replace(
        SMALL,
        model=str(model.path),
        steps=200,
        log_interval=20,
        learning_rate=6e-3,
        w_norm_weight=0.0,
        schedule="cosine",
    )
    monitor = recording_monitor()
    task, _ = train(lambda: EncoderTask(config), config, tmp_path / "run", monitor=monitor)
    assert any("all images are samples" in note for note in monitor.notes)
    assert any("give lpips_backbone, judge or discriminator" in note for note in monitor.notes)
    assert any("model_ir_se50.pth" in note and "moco" in note for note in monitor.notes)
    rows = read_metrics(tmp_path / "run")
    assert rows[-1]["codes"] < 0.7 * rows[0]["codes"]
    assert rows[-1]["l2"] < 0.6 * rows[0]["l2"]
    bundle = task.save(tmp_path / "model", overwrite=False)
    engine = Engine.from_pretrained(bundle.path, device="cpu")
    codes = task.generator.mapping(torch.randn(50, 16))[:, None].expand(-1, 6, -1)
    images = engine.synthesise(codes).clamp(-1, 1)
    unlike = F.mse_loss(images, images.mean(dim=0).expand_as(images))
    assert F.mse_loss(engine.reconstruct(images), images) < 0.75 * unlike


def test_training_keeps_generator_and_fingerprint(
    model: Bundle,
    pictures: str,
    tmp_path: Path,
    recording_monitor: Callable[..., Any],
    read_metrics: Callable[..., Any],
) -> None:
    config = replace(
        SMALL, model=str(model.path), data=(pictures,), synthetic_fraction=0.5, val_images=4, identity_weight=0.0
    )
    before = (model.path / "generator.safetensors").read_bytes()
    torch.manual_seed(config.seed)
    fresh = EncoderTask(config)
    monitor = recording_monitor()
    task, _ = train(lambda: EncoderTask(config), config, tmp_path / "run", monitor=monitor)
    bundle = task.save(tmp_path / "model", overwrite=False)
    assert (bundle.path / "generator.safetensors").read_bytes() == before
    assert bundle.fingerprint == model.fingerprint
    assert bundle.training["encoder"]["losses"] == ["l2", "w_norm"]
    assert not any("identity" in note for note in monitor.notes)
    assert {"l2", "w_norm", "codes", "val/l2", "val/psnr"} <= set(read_metrics(tmp_path / "run")[-1])
    for key, value in task.tokens.named_parameters():  # the copy of the mapping network learns
        assert not torch.equal(value, dict(fresh.tokens.named_parameters())[key])
    torch.testing.assert_close(task.encoder.queries, task.tokens())


def test_resumed_run_equals_the_unbroken_run(
    model: Bundle, pictures: str, tmp_path: Path, recording_monitor: Callable[..., Any]
) -> None:
    config = replace(SMALL, model=str(model.path), data=(pictures,), synthetic_fraction=0.25)
    train(lambda: EncoderTask(config), config, tmp_path / "whole")
    train(lambda: EncoderTask(config), config, tmp_path / "broken", monitor=recording_monitor(stop=2))
    train(lambda: EncoderTask(config), config, tmp_path / "broken", resume=True)
    a, b = (
        load_file(checkpoint.checkpoints(tmp_path / name)[-1] / "networks.safetensors") for name in ("whole", "broken")
    )
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_discriminator_of_a_run_gives_the_perceptual_loss(
    model: Bundle,
    pictures: str,
    tmp_path: Path,
    recording_monitor: Callable[..., Any],
    read_metrics: Callable[..., Any],
) -> None:
    gan = GeneratorTrainingConfig(
        steps=1, batch_size=4, resolution=16, style_dim=8, mapping_layers=1, channels=(8, 8, 8), data=(pictures,),
        device="cpu",
    )  # fmt: skip
    judged, _ = train(lambda: StyleGan2Task(gan), gan, tmp_path / "gan")
    config = replace(SMALL, model=str(model.path), data=(pictures,), discriminator=str(tmp_path / "gan"))
    monitor = recording_monitor()
    task, _ = train(lambda: EncoderTask(config), config, tmp_path / "run", monitor=monitor)
    assert monitor.notes[0] == "the perceptual loss is that of the discriminator's features"
    assert read_metrics(tmp_path / "run")[-1]["discriminator"] > 0
    pairs = zip(judged.discriminator.network.parameters(), task.perceptual.network.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    with pytest.raises(UsageError, match="holds no checkpoint with a discriminator"):
        EncoderTask(replace(config, discriminator=str(tmp_path / "nowhere")))
    newest = checkpoint.checkpoints(tmp_path / "gan")[-1]
    save_file({"a": torch.zeros(1)}, newest / "networks.safetensors")
    with pytest.raises(TrainingError, match="holds no usable discriminator"):
        EncoderTask(config)


def test_loss_resolution_shrinks_images_before_comparison(model: Bundle, pictures: str, tmp_path: Path) -> None:
    config = replace(SMALL, model=str(model.path), data=(pictures,), synthetic_fraction=0.5, loss_resolution=8)
    task, _ = train(lambda: EncoderTask(config), config, tmp_path / "run")
    images = task.data.images([0, 1])
    assert images.shape == task._reconstruct(images).shape == (2, 3, 8, 8)


def test_finetune_with_corrections_improves_corrected_codes(
    model: Bundle, pictures: str, tmp_path: Path, read_metrics: Callable[..., Any]
) -> None:
    common = replace(SMALL, data=(pictures,), flip=False, w_norm_weight=0.0, image_weight=1.0, identity_weight=0.0)
    first = replace(common, model=str(model.path), steps=60)
    task, _ = train(lambda: EncoderTask(first), first, tmp_path / "first")
    trained = task.save(tmp_path / "trained", overwrite=False)
    second = replace(
        common, model=str(trained.path), finetune=True, corrections=2, steps=60, eval_interval=60, val_images=4,
        learning_rate=1e-3, encoder_widths=(8, 8, 8, 8),
    )  # fmt: skip
    untrained = EncoderTask(second)
    before = load_file(trained.path / "encoder.safetensors")
    assert all(torch.equal(value, before[key].float()) for key, value in untrained.encoder.state_dict().items()
               if value.is_floating_point())  # fmt: skip
    images = untrained.held_out.images(range(4))
    missed = F.mse_loss(untrained._reconstruct(images), images).item()
    task, _ = train(lambda: EncoderTask(second), second, tmp_path / "second")
    assert set(task.networks) == {"encoder", "average"}
    assert not torch.equal(task.encoder.queries, untrained.encoder.queries)  # they learn too, without a mapping network
    last = read_metrics(tmp_path / "second")[-1]
    assert last["val/l2"] < 0.9 * missed
    assert last["image"] > 0
    bundle = task.save(tmp_path / "model", overwrite=False)
    assert bundle.training["encoder"]["losses"] == ["l2", "w_norm", "image"]
    engine = Engine.from_pretrained(bundle.path, device="cpu")
    assert engine.networks.encoder.config.corrections == 2
    error = F.mse_loss(engine.synthesise(engine.invert(images)).clamp(-1, 1), images).item()
    assert error == pytest.approx(last["val/l2"], rel=0.02)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_corrections_cover_every_image(model: Bundle, pictures: str, tmp_path: Path, precision: str) -> None:
    config = replace(SMALL, model=str(model.path), data=(pictures,), corrections=1, precision=precision, steps=1)
    task, _ = train(lambda: EncoderTask(config), config, tmp_path / "run")
    torch.manual_seed(0)
    images = task.data.images(range(8))
    corrected = torch.zeros(8)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        task.encoder.eval()
        first = task.encoder(task._to_input(images)).float()
        for _ in range(12):
            codes = task._codes(images)
            corrected += ((codes - first).abs().amax(dim=(1, 2)) > 0.05).float()
    assert ((corrected > 0) & (corrected < 12)).all()  # each now and then
    task.optimizers["encoder"].zero_grad(set_to_none=True)
    codes.sum().backward()
    first = task.encoder.backbone.input_layer[0].weight
    assert first.grad is not None
    assert first.grad.any()


def test_finetune_of_another_encoder_is_refused(model: Bundle, tmp_path: Path) -> None:
    with pytest.raises(MissingPartError, match="has no style transformer of one pass over squares to train on: leave"):
        EncoderTask(replace(SMALL, model=str(model.path), finetune=True))
    parts = {
        name: (PART_CONFIGS[name].from_dict(model.parts[name].config), model.read_part(name)) for name in model.parts
    }
    for number, change in enumerate(({"iterative": True}, {"input_height": 16, "input_width": 32})):
        config = replace(SMALL.encoder_config(6, 16), **change)
        parts["encoder"] = (config, StyleTransformer(config).state_dict())
        path = tmp_path / str(number)
        Bundle.save(path, name="other", domain="noise", license="MIT", parts=parts, readme="")
        with pytest.raises(MissingPartError, match="of one pass over squares"):
            EncoderTask(replace(SMALL, model=str(path), finetune=True))


def test_build_refuses_wrong_sizes(model: Bundle) -> None:
    with pytest.raises(UsageError, match="encoder_widths ends in 8, not in the style dimension 16"):
        EncoderTask(replace(SMALL, model=str(model.path), encoder_widths=(8, 8, 8, 8)))
    with pytest.raises(InputError, match="there are no pictures at nowhere"):
        EncoderTask(replace(SMALL, model=str(model.path), data=("nowhere",)))


def test_unreadable_images_are_reported(
    model: Bundle, pictures: str, tmp_path: Path, recording_monitor: Callable[..., Any]
) -> None:
    (Path(pictures) / "03.png").write_bytes(b"no picture")
    config = replace(SMALL, model=str(model.path), data=(pictures,), steps=3)
    monitor = recording_monitor()
    train(lambda: EncoderTask(config), config, tmp_path / "run", monitor=monitor)
    (note,) = (note for note in monitor.notes if note.startswith("1 of 20 images cannot be read, such as "))
    assert note.endswith("03.png")
    sheet = read_image(tmp_path / "run" / "samples" / "00000003.png")
    assert sheet.shape == (2 * 16 + 3 * 4, 8 * 16 + 9 * 4, 3)
