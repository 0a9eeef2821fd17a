"""`stedit attributes`: what the classifier sees, and the names that it knows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from stedit.editing.attributes import friendly_name
from stedit.engine import Engine
from stedit.imaging.files import read_image

Cli = Callable[..., Result]


def test_attributes_json_gives_the_engines_probabilities_highest_first(cli: Cli, face: Path, tiny_bundle: Path) -> None:
    engine = Engine.from_pretrained(tiny_bundle)
    expected = dict(zip(engine.attributes, engine.classify(engine.invert(read_image(face)))[0], strict=True))
    result = cli("attributes", "--json", face)
    assert result.exit_code == 0
    record = json.loads(result.stdout)
    assert (record["input"], record["output"], record["status"]) == ("face.png", None, "done")
    assert record["attributes"] == pytest.approx(expected, abs=1e-4)
    assert list(record["attributes"].values()) == sorted(record["attributes"].values(), reverse=True)


def test_attributes_table_gives_the_probabilities_of_the_json(cli: Cli, face: Path) -> None:
    attributes = json.loads(cli("attributes", "--json", face).stdout)["attributes"]
    lines = [f"  {probability:.3f}  {friendly_name(name, 1)}" for name, probability in attributes.items()]
    assert cli("attributes", face).stdout.splitlines() == ["face.png", *lines]


def test_attributes_folder_reads_all_files_and_writes_none(cli: Cli, photos: Path) -> None:
    cli("invert", photos)
    cli("edit", "-a", "smile", photos)
    before = sorted(photos.rglob("*"))
    inputs = [json.loads(line)["input"] for line in cli("attributes", "--json", "-r", photos).stdout.splitlines()]
    assert len(inputs) == 4 + 3 + 3  # pictures, codes, edits
    assert sorted(photos.rglob("*")) == before


def test_attributes_stdin_reads_an_image(cli: Cli, face: Path) -> None:
    result = cli("attributes", "-", stdin=face.read_bytes())
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1:] == cli("attributes", face).stdout.splitlines()[1:]


def test_attributes_without_file_lists_names(cli: Cli) -> None:
    result = cli("attributes")
    assert result.exit_code == 0
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["smile", "no-smile", "happy,", "laugh,", "grin,", "Smiling"],
        ["glasses", "no-glasses", "spectacles,", "Eyeglasses"],
        ["bangs", "no-bangs", "fringe,", "Bangs"],
        ["blond", "no-blond", "blonde,", "blonde-hair,", "Blond_Hair"],
        ["beard", "no-beard", "bearded", "/", "clean-shaven,", "shaved,", "No_Beard"],
    ]
    record = json.loads(cli("attributes", "--json").stdout)
    assert record["attributes"]["Eyeglasses"] == "glasses"
    assert record["aliases"]["Eyeglasses"] == ["glasses", "spectacles", "Eyeglasses", "no-glasses"]


def test_attributes_bad_file_reports_it_and_goes_on(cli: Cli, face: Path) -> None:
    Path("nobody.png").write_bytes(b"junk")
    result = cli("attributes", face, "nobody.png")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: nobody.png is not a picture")
    assert result.stdout.startswith("face.png\n")


def test_attributes_without_classifier_fails_once(cli: Cli, photos: Path, tiny_bundle: Path) -> None:
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
