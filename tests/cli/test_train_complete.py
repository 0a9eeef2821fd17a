"""`stedit train complete`: a bare model in, a model that edits out, labelled by images with a table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

from stedit.imaging.files import write_image
from stedit.storage.bundle import Bundle

Cli = Callable[..., Result]

SMALL = ("--samples", 200, "--inverted-fraction", 0, "--judge-steps", 12, "--classifier-steps", 4, "--editor-steps", 4)
QUICK = (*SMALL, "--measured-edits", 8, "--device", "cpu")


@pytest.fixture(autouse=True)
def _files(tiny_bundle: Path) -> None:
    """`bare`, a generator alone, and 96 images, bright and dark, with their labels."""
    whole = Bundle.load(tiny_bundle)
    parts = {"generator": whole.stored_parts()["generator"]}
    Bundle.save("bare", name="bare", domain="noise", license="MIT", parts=parts, readme="# bare\n")
    Path("images").mkdir()
    random = np.random.default_rng(0)
    lines = ["id,Bright"]
    for number in range(96):
        low, high = ((0, 130), (100, 256))[number % 2]
        pixels = random.integers(low, high, (16, 16, 3), np.uint8)
        write_image(f"images/{number}.png", pixels)
        lines.append(f"{number},{number % 2}")
    Path("labels.csv").write_text("\n".join(lines))


def test_labelled_images_make_a_bare_model_edit(cli: Cli) -> None:
    labelled = ("--labeller", "images", "--labels", "labels.csv")
    result = cli("train", "complete", "bare", "-o", "whole", *labelled, *QUICK, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout) == {"model": "whole", "run": "whole.run", "outcome": "done"}
    for title in ("training the judge on labelled images", "sampling and labelling codes", "measuring edits"):
        assert title in result.stderr
    assert "shares of samples: Bright " in result.stderr
    bundle = Bundle.load("whole")
    assert [item.name for item in bundle.attributes] == ["Bright"]
    assert bundle.training["classifier"]["labelled_by"] == "a judge trained on labelled images of images"
    assert cli("codes", "info", "whole.run/codes.safetensors").exit_code != 0  # none were given
    again = cli("train", "complete", "bare", "-o", "whole", *labelled, *QUICK)
    assert again.exit_code == 1
    assert "cannot write whole: it exists already" in again.stderr
    resumed = cli("train", "complete", "--run", "whole.run", "-o", "again", "--resume")
    assert resumed.stdout == "again\n"
    assert Bundle.load("again").parts["editor"].sha256 == bundle.parts["editor"].sha256
    assert "step 4/4" not in resumed.stderr  # nothing is trained twice


def test_a_config_is_a_file_like_those_of_other_trainings(cli: Cli) -> None:
    printed = cli("train", "complete", "bare", "--print-config")
    assert 'model = "bare"' in printed.stdout
    assert "samples = 6000" in printed.stdout
    Path("mine.toml").write_text(printed.stdout)
    truncated = ("--truncation", 0.7, "--truncation", 1)
    changed = cli("train", "complete", "mine.toml", "--print-config", "--samples", 32, *truncated)
    assert "samples = 32" in changed.stdout
    assert "truncation = [0.7, 1.0]" in changed.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("bare",), "neither an output nor a run is given: name the folder of the new model with -o"),
        (("bare", "-o", "new", "--model", "other"), "the model is given twice, as bare and with --model"),
        (("bare", "-o", "new"), "has no judge, and nothing says what labels its samples"),
        (("nowhere", "-o", "new"), "there is no model 'nowhere'"),
        (("nowhere.toml", "-o", "new"), "there is no config nowhere.toml"),
        (("bare", "-o", "new", "--attr", "x: y"), "attr lacks words for x"),
        (("bare", "-o", "new", "--labeller", "images"), "the labeller images is no model"),
        (("bare", "-o", "new", "--resume"), "new.run holds no completion to resume"),
    ],
)
def test_wrong_requests(cli: Cli, arguments: tuple[str, ...], message: str) -> None:
    result = cli("train", "complete", *arguments, "--device", "cpu")
    assert result.exit_code in (1, 2)
    assert message in " ".join(result.stderr.split())
    assert not Path("new").exists()
