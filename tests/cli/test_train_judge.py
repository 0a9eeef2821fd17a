"""`stedit train judge`: a judge alone, which compares pictures and joins a model, and one that is put into a model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

from stedit.imaging.files import write_image
from stedit.models.config import GeneratorConfig
from stedit.storage.bundle import Bundle

Cli = Callable[..., Result]

SMALL = ("--steps", 4, "--batch-size", 8, "--val-fraction", 0.25, "--eval-interval", 2, "--device", "cpu")
SIZES = ("--resolution", 32, "--widths", 4, "--widths", 8)


LABELLED = ("--data", "photos", "--labels", "attributes.csv")


@pytest.fixture(autouse=True)
def _files(tiny_bundle: Path) -> None:
    """40 pictures, each labelled with two attributes, and a generator alone."""
    tiny = Bundle.load(tiny_bundle)
    part = (GeneratorConfig.from_dict(tiny.parts["generator"].config), tiny.read_part("generator"))
    Bundle.save("bare", name="bare", domain="", license="MIT", parts={"generator": part}, readme="")
    random = np.random.default_rng(0)
    Path("photos").mkdir()
    lines = ["id,Smiling,Bangs"]
    for number in range(40):
        write_image(f"photos/{number}.png", random.integers(0, 256, (32, 32, 3), np.uint8))
        lines.append(f"{number}.png,{number % 2},{number % 3 == 0:d}")
    Path("attributes.csv").write_text("\n".join(lines))


def test_judge_alone_compares_images_and_joins_a_model(cli: Cli) -> None:
    result = cli("train", "judge", "--run", "judge", *LABELLED, *SIZES, *SMALL, "--name", "seer", "--license", "MIT")
    assert result.stdout == "judge/model\n"
    judge = Bundle.load("judge/model")
    assert (judge.name, judge.license, set(judge.parts)) == ("seer", "MIT", {"judge"})
    assert judge.training["judge"]["images"] == 30
    assert "seer" in Path("judge/model/README.md").read_text()
    assert cli("weights", "info", "judge/model").exit_code == 0
    small = ("--encoder-size", 32, "--encoder-stem", 4, "--encoder-reduction", 4, "--encoder-heads", 2)
    widths = [part for width in (4, 4, 8, 16) for part in ("--encoder-widths", width, "--encoder-blocks", 1)]
    seen = ("--model", "bare", "--judge", "judge/model", "--perceptual", "judge", "--encoder-feedforward", 8)
    result = cli("train", "inversion", "--run", "inversion", *seen, *small, *widths, "--steps", 1, "--device", "cpu")
    assert "the perceptual loss is that of the judge's features" in result.stderr
    assert result.stdout == "inversion/model\n"
    assert cli("weights", "assemble", "inversion/model", "judge/model", "--output", "whole").exit_code == 0
    whole = Bundle.load("whole")
    assert set(whole.parts) == {"generator", "encoder", "judge"}
    assert [item.name for item in whole.attributes] == ["Smiling", "Bangs"]


def test_judge_in_a_model_is_resumed(cli: Cli) -> None:
    Path("judge.toml").write_text('model = "bare"\ndata = "photos"\nlabels = "attributes.csv"\n')
    assert cli("train", "judge", "judge.toml", *SIZES, *SMALL).stdout == "judge.run/model\n"
    bundle, first = Bundle.load("judge.run/model"), Bundle.load("bare")
    assert bundle.fingerprint == first.fingerprint
    assert set(bundle.parts) == {"generator", "judge"}
    assert [item.name for item in bundle.attributes] == ["Smiling", "Bangs"]
    assert cli("train", "judge", "--run", "judge.run", "--resume", "--steps", 6).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "data is empty: name folders or zip files of images"),
        (("--data", "photos"), "labels is empty: name the CSV or JSONL file that labels the images"),
        (("--data", "photos", "--labels", "nowhere.csv"), "cannot read nowhere.csv (no such file or directory)"),
        ((*LABELLED, "--attributes", "smirk"), "unknown attribute 'smirk'"),
        ((*LABELLED, "--model", "nowhere"), "there is no model 'nowhere'"),
        ((*LABELLED, "--val-fraction", 0), "calibrate is true, but val_fraction is 0"),
        ((*LABELLED, "--val-fraction", 0, "--no-calibrate", "--patience", 3), "there is nothing to measure on"),
        ((*LABELLED, "--resolution", 16, *("--widths", 9) * 5), "input_height"),
    ],
)
def test_wrong_requests(cli: Cli, arguments: tuple[object, ...], message: str) -> None:
    result = cli("train", "judge", "--run", "run", *arguments, "--device", "cpu", "--steps", 1)
    assert result.exit_code in (1, 2)
    assert message in result.stderr
    assert not Path("run/checkpoints").exists()
