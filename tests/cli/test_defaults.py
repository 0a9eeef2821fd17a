"""A user's own defaults: from the environment and from config.toml, and `stedit env`, which shows them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from stedit.cli.defaults import config_path

Cli = Callable[..., Result]


def configure(text: str) -> Path:
    path = config_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_environment_sets_options_of_every_command(cli: Cli, face: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEDIT_JSON", "1")
    assert json.loads(cli("reconstruct", face, "-n").stdout)["status"] == "planned"
    assert json.loads(cli("weights", "list").stdout.splitlines()[0])["model"]
    monkeypatch.setenv("STEDIT_DEVICE", "abacus")
    assert cli("reconstruct", face).stderr.startswith("error: 'abacus' is no device")
    assert cli("reconstruct", face, "--device", "cpu").exit_code == 0


def test_environment_does_not_say_what_is_made_of_a_file(cli: Cli, face: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEDIT_OUTPUT", "elsewhere.png")
    monkeypatch.setenv("STEDIT_ATTR", "glasses")
    assert cli("edit", "-a", "smile", face, "-n").stdout == "face.png -> face.smile.png\n"


def test_config_sets_options_and_the_help_shows_them(cli: Cli, face: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure('[defaults]\ndevice = "abacus"\nbatch-size = 3\njson = true\n')
    assert cli("reconstruct", face).stderr.startswith("error: 'abacus' is no device")
    monkeypatch.setenv("STEDIT_DEVICE", "cpu")  # which goes before the file
    assert json.loads(cli("reconstruct", face).stdout)["status"] == "done"
    assert "(default: 3)" in cli("reconstruct", "--help").stdout
    assert "(default: 16)" in cli("train", "generator", "--help").stdout  # a training has a config of its own


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[defaults", "is no TOML"),
        ('device = "cpu"', "has a table or key 'device', and only [defaults] is read"),
        ('[defaults]\noutput = "x"', "sets 'output', which has no default to set: choose from align, "),
        ('[defaults]\ndevice = ["cpu"]', "sets 'device' to ['cpu']: give text, a number, true or false"),
        ("defaults = 3", "defaults is no table"),
    ],
)
def test_wrong_config_is_refused_by_name(cli: Cli, face: Path, text: str, reason: str) -> None:
    path = configure(text)
    result = cli("reconstruct", face)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: {path}")
    assert reason in result.stderr


def test_env_shows_versions_device_and_defaults(cli: Cli, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = configure("[defaults]\nseed = 5\n")
    monkeypatch.setenv("STEDIT_DEVICE", "cpu")
    record = json.loads(cli("env", "--json").stdout)
    assert record["packages"].keys() >= {"torch", "numpy", "pillow", "typer", "rich"}
    assert record["device"] == "cpu"
    assert record["threads"].split()[0].isdigit()
    assert str(tiny_bundle) in record["model"]
    assert record["config"] == str(path)
    assert record["defaults"] == {"seed": 5}
    assert record["environment"] == {"device": "cpu", "model": str(tiny_bundle)}
    assert cli("env").stdout.count("\n") == len(record)
