"""`stedit directions list` and `learn`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

from stedit.checkpoints.interchange import load_directions
from stedit.engine import Engine
from stedit.imaging.files import Pixels, write_image
from stedit.storage.directions import Directions
from stedit.storage.latents import LatentCode

Cli = Callable[..., Result]


@pytest.fixture
def codes(tiny_bundle: Path) -> np.ndarray:
    """The folder `codes` of forty latent files; in half of them the first number is large."""
    engine = Engine.from_pretrained(tiny_bundle, device="cpu")
    Path("codes").mkdir()
    w = np.random.default_rng(0).standard_normal((40, 8, 16)).astype(np.float32)
    w[::2, 0, 0] += 4
    for number, code in enumerate(w):
        latent = LatentCode(code, engine.bundle.name, engine.bundle.fingerprint)
        latent.save(f"codes/{number}.latent.safetensors")
    return w


def test_directions_list_shows_attributes_and_sefa(cli: Cli) -> None:
    result = cli("directions", "list")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[:2] == ["--attr smile", "--attr glasses"]
    assert lines[5].startswith("--direction sefa:0  ")
    assert "sefa:15" in result.stderr
    record = json.loads(cli("directions", "list", "--json").stdout)
    assert record["attributes"][:2] == ["smile", "glasses"]
    assert len(record["sefa"]) == 16
    assert sum(record["sefa"]) == pytest.approx(1, abs=1e-4)
    assert record["sefa"] == sorted(record["sefa"], reverse=True)


def test_directions_list_file_shows_what_it_holds(cli: Cli) -> None:
    np.save("old.npy", np.ones((1, 16), np.float32))
    vectors = {"a": np.ones((1, 16), np.float32), "b": np.ones((8, 16), np.float32)}
    Directions(vectors, {"accuracy": "0.9"}).save("two.safetensors")
    Path("bad.pt").write_bytes(b"")
    result = cli("directions", "list", "old.npy", "bad.pt", "two.safetensors")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "linear:old.npy  1 x 16",
        "linear:two.safetensors:a  1 x 16  accuracy 0.9",
        "linear:two.safetensors:b  8 x 16  accuracy 0.9",
    ]
    assert result.stderr.startswith("error: bad.pt cannot be used as directions (")
    record = json.loads(cli("directions", "list", "two.safetensors", "--json").stdout)
    assert record["directions"] == {"a": [1, 16], "b": [8, 16]}


def test_directions_learn_gives_a_direction_to_edit_along(cli: Cli, face: Path, tiny_bundle: Path) -> None:
    result = cli("directions", "learn", "--attr", "smile")
    assert (result.exit_code, result.stdout) == (0, "smile.directions.safetensors\n")
    assert result.stderr.startswith("Smiling: right for ")
    assert result.stderr.endswith("of the codes held out, of 2000 in all\n")
    found = load_directions("smile.directions.safetensors")
    assert list(found.vectors) == ["Smiling"]
    assert found.metadata["fingerprint"] == Engine.from_pretrained(tiny_bundle).bundle.fingerprint
    before = Path("smile.directions.safetensors").read_bytes()
    assert cli("directions", "learn", "--attr", "smile").exit_code == 3
    cli("directions", "learn", "--attr", "smile", "--overwrite")
    assert Path("smile.directions.safetensors").read_bytes() == before
    edit = ("edit", "-a", "smile", "--direction", "linear:smile.directions.safetensors", face, "--json")
    record = json.loads(cli(*edit).stdout)
    assert record["output"] == "face.smile-along-smile.png"
    assert record["after"]["Smiling"][0] > record["before"]["Smiling"]


@pytest.mark.parametrize("form", ["csv", "jsonl"])
@pytest.mark.usefixtures("codes")
def test_directions_learn_labels_uses_labelled_files(cli: Cli, form: str) -> None:
    if form == "csv":
        lines = ["file,winking", *(f"{number}.png,{1 - number % 2}" for number in range(38))]
    else:
        shares = [0.9 - 0.8 * (number % 2) for number in range(38)]
        lines = [json.dumps({"input": f"x/{k}.jpg", "attributes": {"winking": p}}) for k, p in enumerate(shares)]
    Path(f"labels.{form}").write_text("\n".join(lines))
    arguments = ("directions", "learn", "-a", "winking", "--labels", f"labels.{form}", "codes", "-o", "w.safetensors")
    result = cli(*arguments, "--json")
    assert result.exit_code == 0
    record = json.loads(result.stdout)
    assert (record["output"], record["attribute"], record["codes"]) == ("w.safetensors", "winking", 38)
    assert record["accuracy"] > 0.8
    assert "2 left out because they have no label" in result.stderr
    vector = load_directions("w.safetensors").vectors["winking"]
    assert vector[0, 0] > 0.5
    assert np.abs(vector).max() == vector[0, 0]


def test_directions_learn_images_inverts_them(cli: Cli, face_image: Pixels) -> None:
    Path("photos").mkdir()
    for number in range(40):
        write_image(f"photos/{number}.png", np.roll(face_image, number, axis=1))
    Path("photos/bad.png").write_bytes(b"")
    lines = ["name,left", *(f"{number}.png,{'yes' if number < 20 else 'no'}" for number in range(40)), "bad.png,no"]
    Path("labels.csv").write_text("\n".join(lines))
    result = cli("directions", "learn", "-a", "left", "--labels", "labels.csv", "photos")
    assert (result.exit_code, result.stdout) == (1, "left.directions.safetensors\n")
    assert "bad.png is empty" in result.stderr
    assert load_directions("left.directions.safetensors").vectors["left"].shape == (8, 16)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,other\n1.png,1\n", "labels.csv holds no labels of winking"),
        ("file,winking\n1.png,maybe\n", "line 2: winking is 'maybe', not 1, 0, a probability or empty"),
        ("file,winking\n1.png\n", "line 2, has 1 cells, not 2"),
        ("", "labels.csv has no header line"),
        ("file,winking\nnobody.png,1\n", "no input is an image or code that has a label"),
        ("file,winking\n1.png,1\n2.png,1\n", "2 have the attribute and 0 have not"),
    ],
)
@pytest.mark.usefixtures("codes")
def test_directions_learn_bad_labels_are_refused(cli: Cli, text: str, words: str) -> None:
    Path("labels.csv").write_text(text)
    result = cli("directions", "learn", "-a", "winking", "--labels", "labels.csv", "codes")
    assert result.exit_code in {1, 2}
    assert result.stdout == ""
    assert words in result.stderr
    assert result.stderr.count("error: ") == 1


@pytest.mark.usefixtures("codes")
def test_directions_learn_bad_json_lines_are_refused(cli: Cli) -> None:
    for text in ("{", "[1]", '{"winking": 1}', '{"file": 3}', '{"file": "1.png", "winking": [1]}'):
        Path("labels.jsonl").write_text(text)
        result = cli("directions", "learn", "-a", "winking", "--labels", "labels.jsonl", "codes")
        assert result.exit_code == 1
        assert "labels.jsonl" in result.stderr
        assert result.stderr.count("error: ") == 1


@pytest.mark.usefixtures("codes")
def test_directions_learn_contradiction_is_refused(cli: Cli) -> None:
    for arguments, words in (
        (("-a", "winking"), "unknown attribute 'winking'"),
        (("-a", "no-smile"), "is learned as its opposite, Smiling"),
        (("-a", "smile", "-o", "smile.pt"), "end it in .directions.safetensors"),
        (("-a", "smile", "--labels", "labels.csv"), "name these files"),
    ):
        result = cli("directions", "learn", *arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert words in result.stderr
