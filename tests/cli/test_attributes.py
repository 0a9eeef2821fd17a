"""`stedit attributes`: what the classifier sees, and the names that it knows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from stedit.engine import Engine
from stedit.imaging.files import read_image

Cli = Callable[..., Result]


def test_attributes_are_the_engines_the_most_probable_first(cli: Cli, face: Path, tiny_bundle: Path) -> None:
    engine = Engine.from_pretrained(tiny_bundle)
    expected = dict(zip(engine.attributes, engine.classify(engine.invert(read_image(face)))[0], strict=True))
    result = cli("attributes", "--json", face)
    assert result.exit_code == 0
    record = json.loads(result.stdout)
    assert (record["input"], record["output"], record["status"]) == ("face.png", None, "done")
    assert record["attributes"] == pytest.approx(expected, abs=1e-4)
    assert list(record["attributes"].values()) == sorted(record["attributes"].values(), reverse=True)


def test_table_says_the_same(cli: Cli, face: Path) -> None:
    attributes = json.loads(cli("attributes", "--json", face).stdout)["attributes"]
    lines = [f"  {probability:.3f}  {name}" for name, probability in attributes.items()]
    assert cli("attributes", face).stdout.splitlines() == ["face.png", *lines]


def test_every_file_is_looked_at_and_nothing_is_written(cli: Cli, photos: Path) -> None:
    cli("invert", photos)
    cli("edit", "-a", "smile", photos)
    before = sorted(photos.rglob("*"))
    inputs = [json.loads(line)["input"] for line in cli("attributes", "--json", "-r", photos).stdout.splitlines()]
    assert len(inputs) == 4 + 3 + 3  # pictures, codes, edits
    assert sorted(photos.rglob("*")) == before


def test_picture_may_come_through_a_pipe(cli: Cli, face: Path) -> None:
    result = cli("attributes", "-", stdin=face.read_bytes())
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1:] == cli("attributes", face).stdout.splitlines()[1:]


def test_without_a_file_the_names_are_listed(cli: Cli) -> None:
    result = cli("attributes")
    assert result.exit_code == 0
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["smile", "Smiling"],
        ["glasses", "Eyeglasses"],
        ["bangs", "Bangs"],
        ["blond", "Blond_Hair"],
        ["no-beard", "No_Beard"],
    ]
    assert json.loads(cli("attributes", "--json").stdout)["attributes"]["Eyeglasses"] == "glasses"


def test_bad_file_is_a_sentence(cli: Cli, face: Path) -> None:
    result = cli("attributes", face, "nobody.png")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[0] == "error: nobody.png does not exist: check the spelling"
    assert result.stdout.startswith("face.png\n")


def test_model_without_a_classifier_is_told_once(cli: Cli, photos: Path, tiny_bundle: Path) -> None:
    config = json.loads((tiny_bundle / "config.json").read_text())
    config["attributes"] = []
    del config["parts"]["classifier"], config["parts"]["editor"], config["parts"]["judge"]
    Path("bare").mkdir()
    for name in ("generator", "encoder"):
        Path(f"bare/{name}.safetensors").write_bytes((tiny_bundle / f"{name}.safetensors").read_bytes())
    Path("bare/config.json").write_text(json.dumps(config))
    result = cli("attributes", photos, "--model", "bare", "-b", 1)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("has no classifier") == 1
