"""`stedit mix`."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from stedit.imaging.files import Pixels, read_image, write_image
from stedit.inversion.options import TuningOptions
from stedit.storage.latents import LatentCode

Cli = Callable[..., Result]
WIDTH = 32  # of the model's pictures


@pytest.fixture
def jane(face_image: Pixels) -> Path:
    write_image("jane.png", 255 - face_image[:, ::-1])
    return Path("jane.png")


@pytest.fixture
def codes(cli: Cli, face: Path, jane: Path) -> tuple[np.ndarray, np.ndarray]:
    cli("invert", face, "-o", "x/face.latent.safetensors")
    cli("invert", jane, "-o", "x/jane.latent.safetensors")
    a, b = (LatentCode.load(f"x/{name}.latent.safetensors").w for name in ("face", "jane"))
    return a, b


def test_mix_output_name_holds_the_options(cli: Cli, face: Path, jane: Path) -> None:
    for arguments, output in (
        ((), "face.mix-jane.png"),
        (("--layers", "0-3,6"), "face.mix-jane-layers-0-3+6.png"),
        (("-s", "0.25"), "face.mix-jane@0.25.png"),
        (("--steps", "3"), "face.mix-jane@0to1x3.png"),
        (("--steps", "3", "-f", "gif"), "face.mix-jane@0to1x3.gif"),
        (("-f", "latent"), "face.mix-jane.latent.safetensors"),
    ):
        result = cli("mix", face, jane, *arguments)
        assert (result.exit_code, result.stdout, result.stderr) == (0, f"{output}\n", "")
        assert Path(output).is_file()
    again = cli("mix", ".", jane, "-n")
    assert again.stdout == "jane.png -> jane.mix-jane.png\n"  # outputs of earlier runs are no inputs
    assert "left out as outputs of earlier runs" in again.stderr


def test_mix_at_zero_and_one_gives_the_codes(cli: Cli, codes: tuple[np.ndarray, np.ndarray]) -> None:
    jane = Path("x/jane.latent.safetensors")
    for strength, expected in (("0", codes[0]), ("1", codes[1])):
        cli("mix", "x/face.latent.safetensors", jane, "-s", strength, "-o", f"{strength}.latent.safetensors")
        found = LatentCode.load(f"{strength}.latent.safetensors")
        assert found.w.tobytes() == expected.tobytes()
        assert found.method.startswith("mix-jane")
    cli("mix", "x/face.latent.safetensors", jane, "--layers", "2-4", "-o", "some.latent.safetensors")
    some = LatentCode.load("some.latent.safetensors").w
    assert some[2:5].tobytes() == codes[1][2:5].tobytes()
    assert some[[0, 1, 5, 6, 7]].tobytes() == codes[0][[0, 1, 5, 6, 7]].tobytes()


def test_mix_steps_make_a_strip(cli: Cli, face: Path, jane: Path) -> None:
    cli("mix", face, jane, "--steps", 3, "-o", "strip.png")
    cli("mix", face, jane, "-o", "half.png")
    for name in (face, jane):
        cli("reconstruct", name)
    strip = read_image("strip.png")
    assert strip.shape[1] == 4 + 3 * (WIDTH + 4)
    for place, name in enumerate(("face.reconstruct.png", "half.png", "jane.reconstruct.png")):
        shown = strip[-WIDTH - 4 : -4, 4 + place * (WIDTH + 4) :][:, :WIDTH]
        assert np.abs(shown.astype(int) - read_image(name)).max() <= 1


@pytest.mark.parametrize("kind", ["webp", "gif"])
def test_mix_steps_in_webp_and_gif_make_an_animation(cli: Cli, face: Path, jane: Path, kind: str) -> None:
    assert cli("mix", face, jane, "--steps", 5, "-o", f"morph.{kind}").stdout == f"morph.{kind}\n"
    with Image.open(f"morph.{kind}") as opened:
        assert (opened.n_frames, opened.size) == (8, (WIDTH, WIDTH))  # there and back


def test_mix_single_webp_is_an_image_and_stdout_takes_an_animation(cli: Cli, face: Path, jane: Path) -> None:
    cli("mix", face, jane, "-o", "one.webp")
    with Image.open("one.webp") as opened:
        assert opened.n_frames == 1
    result = cli("mix", face, jane, "--steps", 3, "-f", "gif", "-o", "-")
    assert result.stdout_bytes.startswith(b"GIF89a")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--steps", "3", "-s", "1"], "both say how far to go"),
        (["-o", "one.gif"], "needs several images: give several strengths with --strength"),
        (["--steps", "3", "-f", "latent"], "holds one code"),
        (["--layers", "8"], "this model has layers 0-7"),
        (["--layers", "3-1"], "not understood"),
        (["--layers", ""], "not understood"),
        (["-s", "half"], "is not a number"),
    ],
)
def test_mix_contradiction_is_refused(cli: Cli, face: Path, jane: Path, arguments: list[str], words: str) -> None:
    result = cli("mix", face, jane, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr


def test_mix_missing_other_is_refused(cli: Cli, face: Path) -> None:
    result = cli("mix", face, "nobody.png")
    assert (result.exit_code, result.stderr) == (2, "error: nobody.png does not exist: check the spelling\n")


def test_mix_of_a_tuned_code_notes_that_its_tuning_is_unused(
    cli: Cli, face: Path, jane: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stedit.inversion.options.TuningOptions", functools.partial(TuningOptions, steps=2))
    for image in (face, jane):
        assert cli("invert", image, "--tune", "--loss", "l2", "-o", "x/").exit_code == 0
    tuned, other = "x/face.latent.safetensors", "x/jane.latent.safetensors"
    note = "its tuning is left out: a mix is rendered by the model's own generator\n"
    assert cli("mix", tuned, jane, "-o", "a.png").stderr == f"{tuned}: {note}"
    assert cli("mix", face, other, "-o", "b.png").stderr == f"{other}: {note}"
    record = json.loads(cli("mix", tuned, jane, "-o", "c.png", "--json").stdout)
    assert record["notes"] == [note.rstrip()]
    assert cli("mix", face, jane, "-o", "d.png").stderr == ""
