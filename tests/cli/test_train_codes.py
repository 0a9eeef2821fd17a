"""`stedit train classifier` and `stedit train editor`, one after the other, as the manual shows them."""

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

SMALL = ("--steps", 4, "--batch-size", 8, "--val-fraction", 0.25, "--eval-interval", 2, "--device", "cpu")


@pytest.fixture(autouse=True)
def _files(tiny_bundle: Path) -> None:
    """40 pictures, each labelled with all attributes of the small model."""
    names = [attribute.name for attribute in Bundle.load(tiny_bundle).attributes]
    random = np.random.default_rng(0)
    Path("photos").mkdir()
    lines = [",".join(["id", *names])]
    for number in range(40):
        write_image(f"photos/{number}.png", random.integers(0, 256, (32, 32, 3), np.uint8))
        lines.append(",".join([f"{number}.png", *map(str, random.integers(0, 2, len(names)))]))
    Path("attributes.csv").write_text("\n".join(lines))


def test_classifier_then_editor_then_an_edit(cli: Cli, tiny_bundle: Path, face: Path) -> None:
    assert cli("invert", "photos", "-o", "latents").exit_code == 0
    model = ("--model", tiny_bundle)
    labelled = ("--codes", "latents", "--labels", "attributes.csv")
    result = cli("train", "classifier", "--run", "classifier", *model, *labelled, "--hidden", 8, *SMALL)
    assert result.stdout == "classifier/model\n"
    bundle, first = Bundle.load("classifier/model"), Bundle.load(tiny_bundle)
    assert bundle.fingerprint == first.fingerprint
    assert bundle.attributes == first.attributes
    assert bundle.parts["classifier"].config["hidden"] == [8]
    assert bundle.parts["classifier"].sha256 != first.parts["classifier"].sha256
    assert bundle.parts["encoder"].sha256 == first.parts["encoder"].sha256
    assert set(bundle.training["classifier"]["validation"]) == {item.name for item in first.attributes}
    Path("editor.toml").write_text('model = "classifier/model"\ncodes = "photos"\nheads = 2\nfeedforward = 8\n')
    result = cli("train", "editor", "editor.toml", *SMALL, "--json")
    assert json.loads(result.stdout)["model"] == "editor.run/model"
    edited = Bundle.load("editor.run/model")
    assert edited.parts["classifier"].sha256 == bundle.parts["classifier"].sha256
    assert edited.training["editor"]["codes"] == 30
    result = cli("edit", "-m", "editor.run/model", "-a", "smile", "--ref", "photos/1.png", face)
    assert result.exit_code == 0


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        ("classifier", (), "model is empty: name the model that the codes belong to"),
        ("classifier", ("--model", "nowhere", "--synthetic-latents", 9), "there is no model 'nowhere'"),
        ("classifier", ("--model", "tiny", "--synthetic-latents", 9), "of the codes to learn from, 0 have Smiling"),
        ("classifier", ("--model", "tiny", "--codes", "photos"), "labels is empty"),
        ("classifier", ("--model", "tiny", "--codes", "x", "--labels", "attributes.csv"), "there are no pictures at x"),
        ("editor", ("--model", "tiny", "--codes", "photos", "--attribute", "smirk"), "unknown attribute 'smirk'"),
        (
            "editor",
            ("--model", "tiny", "--codes", "photos", "--edits", "x"),
            "cannot read x (no such file",
        ),
        ("editor", ("--model", "tiny", "--synthetic-latents", 1), "1 codes are too few to learn from"),
    ],
)
def test_wrong_requests(cli: Cli, tiny_bundle: Path, kind: str, arguments: tuple[object, ...], message: str) -> None:
    named = [tiny_bundle if argument == "tiny" else argument for argument in arguments]
    result = cli("train", kind, "--run", "run", *named, "--device", "cpu")
    assert result.exit_code in (1, 2)
    assert message in result.stderr
    assert not Path("run/checkpoints").exists()
