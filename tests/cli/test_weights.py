"""`stedit weights`: list, info and verify."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from stedit.storage.bundle import Bundle
from stedit.storage.embedded import embedded_bundles

Cli = Callable[..., Result]


@pytest.fixture
def damaged(tiny_bundle: Path, tmp_path: Path) -> Path:
    """The small model with one bit of its encoder changed."""
    folder = tmp_path / "damaged"
    folder.mkdir()
    for file in tiny_bundle.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    data = bytearray((folder / "encoder.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "encoder.safetensors").write_bytes(data)
    return folder


@pytest.mark.usefixtures("hub")
def test_weights_list_names_every_embedded_model(cli: Cli) -> None:
    names = [json.loads(line)["name"] for line in cli("weights", "list", "--json").stdout.splitlines()]
    assert names == list(embedded_bundles())
    assert [line.split()[0] for line in cli("weights", "list").stdout.splitlines()] == names


def test_weights_info_shows_what_a_model_holds(cli: Cli, tiny_bundle: Path) -> None:
    facts = json.loads(cli("weights", "info", tiny_bundle, "--json").stdout)
    bundle = Bundle.load(tiny_bundle)
    assert (facts["name"], facts["fingerprint"], facts["license"]) == ("tiny-32", bundle.fingerprint, "MIT")
    assert set(facts["parts"]) == {"generator", "encoder", "classifier", "editor", "judge"}
    assert facts["parts"]["encoder"]["bytes"] == (tiny_bundle / "encoder.safetensors").stat().st_size
    assert facts["attributes"] == ["Smiling", "Eyeglasses", "Bangs", "Blond_Hair", "No_Beard"]
    text = cli("weights", "info").stdout  # the model of STEDIT_MODEL
    assert text.startswith("tiny-32: Random weights, for tests.\n")
    assert bundle.fingerprint in text


def test_weights_info_prints_no_control_character(cli: Cli, tiny_bundle: Path, damaged: Path) -> None:
    config = json.loads((tiny_bundle / "config.json").read_text())
    config["training"] = {"data": "\x1b[2Jfaces\n\x9b", "steps": 3}
    (damaged / "config.json").write_text(json.dumps(config))
    lines = cli("weights", "info", damaged).stdout.splitlines()
    assert lines[-2:] == ["training     data: ?[2Jfaces??", "training     steps: 3"]


def test_weights_verify_finds_damage_that_loading_does_not(cli: Cli, tiny_bundle: Path, damaged: Path) -> None:
    assert cli("weights", "verify", tiny_bundle).stdout == "tiny-32: all 5 files match their checksums\n"
    assert cli("weights", "info", damaged).exit_code == 0
    result = cli("weights", "verify", damaged)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"error: {damaged}/encoder.safetensors is damaged (its checksum differs)")


def test_damaged_model_is_refused_before_any_work(cli: Cli, face: Path, damaged: Path) -> None:
    result = cli("reconstruct", face, "--model", damaged)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "encoder.safetensors is damaged" in result.stderr
    assert not Path("face.reconstruct.png").exists()


@pytest.mark.parametrize("arguments", [["weights", "info", "nowhere"], ["invert", "face.png", "--model", "nowhere"]])
def test_unknown_model_gives_one_sentence(cli: Cli, arguments: list[str]) -> None:
    Path("face.png").touch()
    result = cli(*arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: there is no model 'nowhere'")
