"""What only a machine with an NVIDIA GPU can show: it computes what the CPU does, and trains every part there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import Result

from stedit.imaging.files import read_image, write_image
from stedit.storage.bundle import Bundle
from stedit.storage.embedded import DEFAULT_MODEL
from stedit.storage.latents import LatentCode

Cli = Callable[..., Result]

FACES = Path(__file__).parents[1] / "data" / "faces"
MODEL = DEFAULT_MODEL
COUNT = 40

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")

SIZES = "--resolution 16 --style-dim 16 --mapping-layers 1 --channels 16 --channels 16 --channels 8"
ENCODER = """--encoder-size 32 --encoder-stem 8 --encoder-widths 8 --encoder-widths 8 --encoder-widths 16
    --encoder-widths 16 --encoder-blocks 1 --encoder-blocks 1 --encoder-blocks 1 --encoder-blocks 1
    --encoder-reduction 4 --encoder-heads 2 --encoder-feedforward 32 --ema-images 20"""
TRAININGS = {  # by the name of the run
    "adversarial": f"generator --data pictures {SIZES} --r1-interval 2 --path-length-interval 2 --ada-images 20",
    "joint": f"autoencoder --data pictures {SIZES} {ENCODER} --labels labels.jsonl --supervision-weight 0.1",
    "codes": "finetune-generator --init-from {tiny} --data pictures --codes latents --edits edits.jsonl",
    "inversion": f"inversion --model {{tiny}} --data pictures --val-images 2 --corrections 1 {ENCODER}",
    "judge": "judge --data pictures --labels labels.jsonl --resolution 32 --widths 8 --widths 16 --val-fraction 0.5",
    "classifier": """classifier --model {tiny} --codes latents --labels labels.jsonl --hidden 8 --covariance-rank 2
        --val-fraction 0.5""",
    "pairs": "editor --model {tiny} --codes latents --heads 2 --feedforward 32",
    "edits": "editor --model {tiny} --codes latents --edits edits.jsonl --labels --heads 2 --feedforward 32",
    "pictures": "finetune-editor --model edits/model --codes latents",
}


def difference(first: str, second: str) -> float:
    """Mean difference of two pictures, in levels of 255."""
    a, b = (read_image(path).astype(np.float32) for path in (first, second))
    return float(np.abs(a - b).mean())


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_cuda_images_and_codes_equal_those_of_the_cpu(cli: Cli, precision: str) -> None:
    face, reference = FACES / "serious.jpg", FACES / "glasses.jpg"
    for name, options in (("cpu", ("--device", "cpu")), ("gpu", ("--device", "cuda", "--precision", precision))):
        model = ("--model", MODEL, *options)
        for arguments in (
            ("invert", face, "-o", f"{name}.latent.safetensors"),
            ("reconstruct", face, "-o", f"{name}.reconstructed.png"),
            ("label-edit", "--attr", "smile", face, "-o", f"{name}.label.png"),
            ("reference-edit", "--ref", reference, "--attr", "glasses", face, "-o", f"{name}.reference.png"),
        ):
            result = cli(*arguments, *model)
            assert result.exit_code == 0, result.stderr
    codes = [LatentCode.load(Path(f"{name}.latent.safetensors")).w for name in ("cpu", "gpu")]
    assert np.abs(codes[0] - codes[1]).mean() < 0.025 * np.abs(codes[0]).mean()
    for what in ("reconstructed", "label", "reference"):
        assert difference(f"cpu.{what}.png", f"gpu.{what}.png") < 0.5  # bfloat16 on the CPU: 0.3


@pytest.mark.parametrize("method", ["optimise", "hybrid"])
def test_cuda_optimisation_reaches_the_loss_of_the_cpu(cli: Cli, method: str) -> None:
    face = FACES / "serious.jpg"
    errors = []
    for device in ("cpu", "cuda"):
        result = cli("invert", face, "--model", MODEL, "--method", method, "--steps", 20, "--device", device,
                     "-o", f"{device}.latent.safetensors")  # fmt: skip
        assert result.exit_code == 0, result.stderr
        result = cli("reconstruct", f"{device}.latent.safetensors", "--model", MODEL, "-o", f"{device}.png")
        assert result.exit_code == 0, result.stderr
        errors.append(difference(f"{device}.png", str(face)))
    assert errors[1] == pytest.approx(errors[0], rel=0.1)


@pytest.fixture
def data(cli: Cli, tiny_bundle: Path) -> None:
    """Pictures of two attributes and their codes, labels and true edits."""
    Path("pictures").mkdir()
    random = np.random.default_rng(0)
    names = [item.name for item in Bundle.load(tiny_bundle).attributes]
    labels, edits = [], []
    for number in range(COUNT):
        source, reference, edited = (f"{(number + ahead) % COUNT:02}" for ahead in range(3))
        write_image(f"pictures/{source}.png", random.integers(0, 256, (32, 32, 3), np.uint8))
        attributes = {name: (number + 3 * k) // 5 % 2 for k, name in enumerate(names)}
        labels.append({"id": source, "attributes": attributes, "params": [number / COUNT]})
        edits.append({"source": source, "reference": reference, "edited": edited, "attribute": "Bangs"})
    for path, rows in (("labels.jsonl", labels), ("edits.jsonl", edits)):
        Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert cli("invert", "pictures", "-o", "latents", "--device", "cpu").exit_code == 0


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_cuda_training_of_every_part_resumes(cli: Cli, tiny_bundle: Path, precision: str) -> None:
    for run, words in TRAININGS.items():
        flags = [word.format(tiny=tiny_bundle) for word in words.split()]
        flags += ["--run", run, "--batch-size", "4", "--eval-interval", "2", "--log-interval", "1"]
        flags += ["--device", "cuda", "--precision", precision]
        result = cli("train", *flags, "--steps", 2)
        assert result.exit_code == 0, f"{run}: {result.stderr}"
        result = cli("train", flags[0], "--run", run, "--resume", "--steps", 4, "--overwrite")
        assert result.exit_code == 0, f"{run}, resumed: {result.stderr}"
        last = json.loads(Path(run, "metrics.jsonl").read_text().splitlines()[-1])
        assert last["step"] == 4
        assert cli("weights", "verify", f"{run}/model").exit_code == 0
