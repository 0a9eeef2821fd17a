"""`stedit train`: configs, flags, resuming, interruption and several processes, as a person meets them."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import Result

from stedit.imaging.files import write_image
from stedit.storage.bundle import Bundle
from stedit.training.aligner.config import AlignerTrainingConfig
from stedit.training.classifier.config import ClassifierTrainingConfig
from stedit.training.completion.config import CompletionConfig
from stedit.training.config import Config, TrainingConfig
from stedit.training.editor.config import EditorFinetuneConfig, EditorTrainingConfig
from stedit.training.encoder.config import EncoderTrainingConfig
from stedit.training.generator.config import (
    AutoencoderTrainingConfig,
    DiscriminatorConfig,
    GeneratorFinetuneConfig,
    GeneratorTrainingConfig,
    NewGeneratorConfig,
)
from stedit.training.image_config import EncoderSizesConfig, ImageTrainingConfig, ReconstructionTrainingConfig
from stedit.training.judge.config import JudgeTrainingConfig
from stedit.training.latent_config import LatentTrainingConfig

Cli = Callable[..., Result]
Process = Callable[..., "subprocess.Popen[bytes]"]

FACES = """
data = "pictures"
steps = 3
batch_size = 4
resolution = 8
style_dim = 8
mapping_layers = 1
channels = [8, 8]
device = "cpu"
name = "faces"
"""


@pytest.fixture(autouse=True)
def _files() -> None:
    Path("faces.toml").write_text(FACES)
    Path("pictures").mkdir()
    for number in range(6):
        write_image(f"pictures/{number}.png", np.full((8, 8, 3), 40 * number, np.uint8))


def weights(run: str) -> dict[str, torch.Tensor]:
    newest = max(Path(run, "checkpoints").iterdir())
    return {**load_file(newest / "networks.safetensors"), **load_file(newest / "optimizers.safetensors")}


def test_train_writes_run_and_model_beside_the_config(cli: Cli) -> None:
    result = cli("train", "generator", "faces.toml", "--style-mixing-prob", "0.5", "--no-flip")
    assert result.exit_code == 0
    assert result.stdout == "faces.run/model\n"
    assert re.search(r"^step 3/3: augmentation 0, .*generator [\d.]+, .* left\)$", result.stderr, re.MULTILINE)
    config = GeneratorTrainingConfig.read(Path("faces.run/config.toml"), {})
    assert (config.style_mixing_prob, config.flip, config.channels) == (0.5, False, (8, 8))
    assert Bundle.load("faces.run/model").name == "faces"
    assert cli("weights", "info", "faces.run/model").exit_code == 0
    assert sorted(path.name for path in Path("faces.run").iterdir()) == [
        "checkpoints", "config.toml", "metrics.jsonl", "model", "samples",
    ]  # fmt: skip


def test_second_run_is_refused_unless_it_resumes(cli: Cli) -> None:
    cli("train", "generator", "faces.toml")
    again = cli("train", "generator", "faces.toml")
    assert again.exit_code == 2
    assert "or resume it with --resume" in again.stderr
    result = cli("train", "generator", "--run", "faces.run", "--resume", "--steps", "5", "--json")
    assert json.loads(result.stdout) == {
        "model": "faces.run/model", "run": "faces.run", "steps": 5, "outcome": "done",
    }  # fmt: skip
    changed = cli("train", "generator", "faces.toml", "--resume", "--style-mixing-prob", "0")
    assert changed.exit_code == 2
    assert "style_mixing_prob is 0.9 in faces.run/config.toml, not 0.0" in changed.stderr


def test_ctrl_c_saves_and_the_resumed_run_equals_the_unbroken_one(cli: Cli, process: Process) -> None:
    arguments = ("train", "generator", "faces.toml", "--log-interval", "1", "--steps")
    with process(*arguments, "100000") as running:
        assert running.stderr is not None
        for line in running.stderr:
            if line.startswith(b"step 2/"):
                running.send_signal(signal.SIGINT)
                break
        said = running.stderr.read().decode()
    assert running.returncode == 130
    found = re.search(r"stopped after step (\d+), which is saved in faces\.run: add --resume to go on", said)
    assert found is not None
    assert not Path("faces.run/model").exists()
    steps = int(found[1]) + 2
    assert cli(*arguments, steps, "--resume").exit_code == 0
    assert cli(*arguments, steps, "--run", "whole").exit_code == 0
    broken, whole = weights("faces.run"), weights("whole")
    assert broken.keys() == whole.keys()
    assert all(torch.equal(broken[key], whole[key]) for key in whole)
    assert (Path("faces.run/model") / "generator.safetensors").read_bytes() == (
        Path("whole/model") / "generator.safetensors"
    ).read_bytes()


def test_two_processes_train_one_generator(cli: Cli, together: Callable[..., str]) -> None:
    """Every process must hold the same weights, so resuming with one process goes on from what both did."""
    command = [
        "train",
        "generator",
        "faces.toml",
        "--path-length-interval",
        "2",
        "--r1-interval",
        "2",
        "--batch-size",
        "4",
    ]
    assert together("--module", "stedit", *command) == "faces.run/model\n"  # one process speaks
    assert len(Path("faces.run/metrics.jsonl").read_text().splitlines()) == 1
    assert cli("train", "generator", "--run", "faces.run", "--resume", "--steps", "4").exit_code == 0
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--module", "stedit"]
    odd = subprocess.run(
        [*launch, "train", "generator", str(Path("faces.toml").rename("odd.toml")), "--batch-size", "3"],
        check=False,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert "a batch of 3 cannot be shared by 2 processes" in odd.stderr


def test_inversion_of_the_trained_generator(cli: Cli) -> None:
    cli("train", "generator", "faces.toml")
    sizes = {"size": (16,), "stem": (4,), "reduction": (2,), "heads": (2,), "feedforward": (8,), "blocks": (1, 1, 1, 1)}
    sizes["widths"] = (4, 4, 4, 8)
    small = [part for name, values in sizes.items() for value in values for part in (f"--encoder-{name}", str(value))]
    options = ("--data", "pictures", "--steps", "2", "--run", "inversion.run", "--device", "cpu", "-o", "inverter")
    result = cli("train", "inversion", "--model", "faces.run/model", *small, *options)
    assert result.exit_code == 0, result.stderr
    assert "there is no identity loss: for faces give model_ir_se50.pth" in result.stderr
    assert set(Bundle.load("inverter").parts) == {"generator", "encoder"}
    assert cli("reconstruct", "pictures/3.png", "-m", "inverter", "-o", "3.png").exit_code == 0
    refused = cli("train", "inversion", "--model", "faces.run/model", *small, *options)
    assert refused.exit_code == 1
    assert "cannot write inverter: it exists already, so choose another folder or give --overwrite" in refused.stderr


def test_print_config_prints_the_effective_config(cli: Cli) -> None:
    shown = cli("train", "generator", "faces.toml", "--print-config", "--steps", "7").stdout
    assert "\nsteps = 7\n" in shown
    assert 'data = ["pictures"]' in shown
    assert "# Probability that an image has the styles of two codes.\nstyle_mixing_prob = 0.9" in shown
    Path("all.toml").write_text(cli("train", "inversion", "--print-config").stdout)
    assert "model is empty" in cli("train", "inversion", "all.toml").stderr


def test_flags_of_old_names_are_hidden_and_work(cli: Cli) -> None:
    shown = cli("train", "autoencoder", "--print-config", "--r1-weight", "2.5", "--no-flip", "--held-out", "3").stdout
    assert "r1_gamma = 2.5" in shown
    assert "val_images = 3" in shown
    help_text = cli("train", "generator", "--help").stdout
    assert "--r1-gamma" in help_text
    assert "--r1-weight" not in help_text
    both = cli("train", "generator", "--print-config", "--r1-weight", "2.5", "--r1-gamma", "1")
    assert "give --r1-gamma or --r1-weight, its old name, not both" in both.stderr


def test_train_generator_with_a_former_mode_trains_what_it_chose(cli: Cli) -> None:
    """Before version 0.2, a key `mode` made an autoencoder of what `train generator` trains."""
    sizes = "encoder_size = 16\nencoder_stem = 4\nencoder_widths = [4, 4, 8, 8]\nencoder_blocks = [1, 1, 1, 1]\n"
    sizes += "encoder_reduction = 2\nencoder_heads = 2\nencoder_feedforward = 8\n"
    faces = FACES.replace("resolution = 8", "resolution = 16").replace("[8, 8]", "[8, 8, 8]")
    for name, mode, flags in (("file", 'mode = "joint"\n', ()), ("flag", "", ("--mode", "joint"))):
        Path(f"{name}.toml").write_text(faces + sizes + mode)
        result = cli("train", "generator", f"{name}.toml", *flags, "--supervision", "0.1")
        assert result.exit_code == 0, result.stderr
        model = Bundle.load(f"{name}.run/model")
        assert set(model.parts) == {"generator", "encoder"}
        assert model.training["command"] == "stedit train autoencoder"
        assert model.training["config"]["supervision_weight"] == 0.1
        assert cli("train", "autoencoder", "--run", f"{name}.run", "--resume", "--steps", 4).exit_code == 0
    state = next(iter(sorted(Path("file.run/checkpoints").iterdir()))) / "state.json"
    state.write_text(state.read_text().replace('"autoencoder"', '"generator"'))  # as the former version wrote it
    shutil.rmtree(max(Path("file.run/checkpoints").iterdir()))
    assert cli("train", "autoencoder", "--run", "file.run", "--resume", "--steps", 4, "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    "config",
    [
        TrainingConfig,
        ImageTrainingConfig,
        ReconstructionTrainingConfig,
        EncoderSizesConfig,
        DiscriminatorConfig,
        NewGeneratorConfig,
        GeneratorTrainingConfig,
        AutoencoderTrainingConfig,
        GeneratorFinetuneConfig,
        EncoderTrainingConfig,
        LatentTrainingConfig,
        ClassifierTrainingConfig,
        EditorTrainingConfig,
        EditorFinetuneConfig,
        JudgeTrainingConfig,
        AlignerTrainingConfig,
        CompletionConfig,
    ],
)
def test_every_key_is_in_the_manual(config: type[Config]) -> None:
    """With the default that its command has, and in the words of the help."""
    manual = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    for field in fields(config):
        inherited = next((one for one in config.__mro__[1:] if field.name in getattr(one, "__annotations__", {})), None)
        if inherited and field.name not in config.__annotations__:
            continue  # it is in the table of the class that declares it
        default = json.dumps(field.default)
        row = f"| `{field.name}` | `{default}` | {field.metadata['text']} |"
        assert row in manual


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "neither a config nor a run is given: name a CONFIG.toml, or a folder with --run"),
        (("nowhere.toml",), "there is no config nowhere.toml: check the spelling"),
        (("faces.toml", "--batch-size", "0"), "--batch-size is 0: it must be at least 1"),
        (("faces.toml", "--batch-size", "x"), "invalid value for '--batch-size': 'x' is not a whole number"),
        (("faces.toml", "--learning-rate", "fast"), "invalid value for '--learning-rate': 'fast' is not a number"),
        (("faces.toml", "--stepz", "3"), "no such option: --stepz"),
        (("faces.toml", "--mode", "other"), "mode is 'other': leave it out, and choose another training"),
        (("faces.toml", "--code-noise", "1"), "the training 'generator' has no --code-noise: leave it out"),
        (("faces.toml", "--resume"), "faces.run holds no checkpoint to resume from: begin without resuming"),
        (("faces.toml", "--resolution", "9"), "faces.toml: resolution is 9, not a power of two"),
        (("faces.toml", "--data", "nothing"), "there are no pictures at nothing: check the spelling"),
        (("faces.toml", "--device", "cuda:77"), "the device 'cuda:77' is not available here"),
    ],
)
def test_wrong_requests(cli: Cli, arguments: tuple[str, ...], message: str) -> None:
    result = cli("train", "generator", *arguments)
    assert result.exit_code in (1, 2)
    assert message in result.stderr
    assert not Path("faces.run/checkpoints").exists()


def test_divergence_is_reported_in_a_sentence(cli: Cli) -> None:
    result = cli("train", "generator", "faces.toml", "--learning-rate", "1e30", "--steps", "20")
    assert result.exit_code == 1
    assert "error: training diverged: " in result.stderr
    assert "lower learning_rate" in result.stderr or "not finite" in result.stderr
