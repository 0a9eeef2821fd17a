"""`stedit label-edit`, `reference-edit` and `edit`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

from stedit.engine import Engine
from stedit.imaging.files import Pixels, read_image, write_image
from stedit.latents import LatentCode

Cli = Callable[..., Result]
WIDTH = 32  # of the model's pictures, and 4 px of gap on either side of each


@pytest.fixture
def engine(tiny_bundle: Path) -> Engine:
    return Engine.from_pretrained(tiny_bundle)


@pytest.fixture
def jane(face_image: Pixels) -> Path:
    write_image("jane.doe.png", 255 - face_image[:, ::-1])
    return Path("jane.doe.png")


def columns(sheet: Pixels) -> list[Pixels]:
    """The pictures of a sheet, from left to right."""
    count = (sheet.shape[1] - 4) // (WIDTH + 4)
    assert sheet.shape[1] == 4 + count * (WIDTH + 4)
    return [sheet[-WIDTH - 4 : -4, 4 + i * (WIDTH + 4) :][:, :WIDTH] for i in range(count)]


def difference(one: Pixels, other: Pixels) -> int:
    return int(abs(one.astype(int) - other.astype(int)).max())


def test_label_edit_is_the_engines(cli: Cli, face: Path, engine: Engine) -> None:
    result = cli("label-edit", "--attr", "smile", face)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "face.smile.png\n", "")
    edited = engine.edit_by_label(engine.invert(read_image(face)), "smile")
    assert difference(read_image("face.smile.png"), engine.synthesise(edited)[0]) <= 1


def test_reference_edit_is_the_engines(cli: Cli, face: Path, jane: Path, engine: Engine) -> None:
    result = cli("reference-edit", "--ref", jane, "--attr", "glasses", face)
    assert (result.exit_code, result.stdout) == (0, "face.glasses-from-jane_doe.png\n")
    source, reference = (engine.invert(read_image(path)) for path in (face, jane))
    edited = engine.edit_by_reference(source, reference, "glasses")
    assert difference(read_image("face.glasses-from-jane_doe.png"), engine.synthesise(edited)[0]) <= 1


def test_edit_is_by_reference_where_there_is_one(cli: Cli, face: Path, jane: Path) -> None:
    cli("label-edit", "-a", "smile", face, "-o", "label.png")
    cli("reference-edit", "-a", "smile", "--ref", jane, face, "-o", "reference.png")
    assert cli("edit", "-a", "smile", face).stdout == "face.smile.png\n"
    assert cli("edit", "-a", "smile", "--ref", jane, face).stdout == "face.smile-from-jane_doe.png\n"
    assert Path("face.smile.png").read_bytes() == Path("label.png").read_bytes()
    assert Path("face.smile-from-jane_doe.png").read_bytes() == Path("reference.png").read_bytes()


def test_reference_may_be_a_latent_file(cli: Cli, face: Path, jane: Path) -> None:
    cli("invert", jane)
    cli("edit", "-a", "smile", "--ref", jane, face, "-o", "picture.png")
    result = cli("edit", "-a", "smile", "--ref", "jane.doe.latent.safetensors", face)
    assert result.stdout == "face.smile-from-jane_doe.png\n"
    assert difference(read_image("face.smile-from-jane_doe.png"), read_image("picture.png")) <= 1


def test_bad_reference_is_refused(cli: Cli, face: Path) -> None:
    result = cli("edit", "-a", "smile", "--ref", "nobody.png", face)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "error: nobody.png does not exist: check the spelling\n"


def test_several_attributes_are_edited_together(cli: Cli, face: Path, engine: Engine) -> None:
    arguments = ("--attr", "Smiling", "--attr", "no-glasses", "--attr", "smile")
    assert cli("label-edit", *arguments, face).stdout == "face.smile+no-glasses.png\n"
    edited = engine.edit_by_label(engine.invert(read_image(face)), ["smile", "no-glasses"])
    assert difference(read_image("face.smile+no-glasses.png"), engine.synthesise(edited)[0]) <= 1


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        (["--strength", "-1"], "face.smile@-1.png"),
        (["--strength=-1"], "face.smile@-1.png"),
        (["-s", "0.5"], "face.smile@0.5.png"),
        (["--strength", "-2,-1,0,1,2"], "face.smile@-2to2.png"),
        (["--strength=-2,-1,0,1,2"], "face.smile@-2to2.png"),
        (["--strength", "1"], "face.smile.png"),
    ],
)
def test_strength_may_begin_with_a_minus(cli: Cli, face: Path, arguments: list[str], output: str) -> None:
    assert cli("label-edit", "-a", "smile", *arguments, face).stdout == f"{output}\n"


def test_several_strengths_make_a_strip(cli: Cli, face: Path) -> None:
    for strength in ("-1", "0", "2"):
        cli("edit", "-a", "smile", "-s", strength, face, "-o", f"{strength}.png")
    cli("reconstruct", face, "-o", "reconstruction.png")
    cli("edit", "-a", "smile", "-s", "-1,0,2", face, "-o", "strip.png")
    strip = columns(read_image("strip.png"))
    assert len(strip) == 3
    for picture, strength in zip(strip, ("-1", "0", "2"), strict=True):
        assert difference(picture, read_image(f"{strength}.png")) <= 1
    assert difference(strip[1], read_image("reconstruction.png")) <= 1
    assert difference(strip[0], strip[2]) > 50


@pytest.mark.parametrize("strength", ["", "one", "1,,2", "nan", "1,inf"])
def test_strength_that_is_no_number_is_refused(cli: Cli, face: Path, strength: str) -> None:
    result = cli("edit", "-a", "smile", f"--strength={strength}", face)
    assert result.exit_code == 2
    assert "is no number" in result.stderr


def test_sheet_shows_source_reconstruction_and_edit(cli: Cli, face: Path) -> None:
    cli("reconstruct", face)
    cli("edit", "-a", "smile", face)
    assert cli("edit", "-a", "smile", "--sheet", face).stdout == "face.smile.sheet.png\n"
    source, reconstruction, edit = columns(read_image("face.smile.sheet.png"))
    assert difference(reconstruction, read_image("face.reconstruct.png")) <= 1
    assert difference(edit, read_image("face.smile.png")) <= 1
    assert difference(source, reconstruction) > 50


@pytest.mark.parametrize("form", ["picture", "latent file"])
def test_sheet_shows_the_reference_too(cli: Cli, face: Path, jane: Path, form: str) -> None:
    cli("invert", jane)
    ref = jane if form == "picture" else "jane.doe.latent.safetensors"
    cli("edit", "-a", "smile", "--ref", ref, face, "-o", "edit.png")
    cli("edit", "-a", "smile", "--ref", ref, "--sheet", face, "-o", "sheet.png")
    _, _, reference, edit = columns(read_image("sheet.png"))
    cli("reconstruct", ref, "--sheet", "-o", "alone.png")
    assert difference(reference, columns(read_image("alone.png"))[0]) <= 1
    assert difference(edit, read_image("edit.png")) <= 1


def test_sheet_of_a_strip_has_a_column_for_each_strength(cli: Cli, face: Path) -> None:
    cli("edit", "-a", "smile", "-s", "-1,1", "--sheet", face, "-o", "sheet.png")
    assert len(columns(read_image("sheet.png"))) == 4


def test_edited_code_can_be_kept_and_edited_further(cli: Cli, face: Path) -> None:
    cli("edit", "-a", "smile", face)
    assert cli("edit", "-a", "smile", "--format", "latent", face).stdout == "face.smile.latent.safetensors\n"
    code = LatentCode.load("face.smile.latent.safetensors")
    assert (code.method, code.source) == ("edit smile", "face.png")
    cli("reconstruct", "face.smile.latent.safetensors")
    assert difference(read_image("face.smile.reconstruct.png"), read_image("face.smile.png")) <= 1
    assert cli("edit", "-a", "bangs", "face.smile.latent.safetensors").stdout == "face.smile.bangs.png\n"


@pytest.mark.parametrize("arguments", [["--sheet"], ["--strength", "0,1"]])
def test_latent_file_of_several_pictures_is_refused(cli: Cli, face: Path, arguments: list[str]) -> None:
    result = cli("edit", "-a", "smile", "--format", "latent", *arguments, face)
    assert result.exit_code == 2
    assert "holds one code" in result.stderr


def test_unknown_attribute_names_the_nearest_and_the_known(cli: Cli, face: Path) -> None:
    result = cli("edit", "--attr", "smil", face)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "unknown attribute 'smil': did you mean smil" in result.stderr
    assert "Bangs, Blond_Hair, Eyeglasses, No_Beard, Smiling" in result.stderr


def test_attribute_asked_both_ways_is_refused(cli: Cli, face: Path) -> None:
    result = cli("edit", "-a", "smile", "-a", "no-smile", face)
    assert result.exit_code == 2
    assert "both ways" in result.stderr


def test_record_tells_what_the_classifier_makes_of_it(cli: Cli, face: Path, engine: Engine) -> None:
    record = json.loads(cli("edit", "-a", "smile", "-a", "bangs", "-s", "-1,1", "--json", face).stdout)
    assert (record["input"], record["output"], record["status"], record["error"]) == (
        "face.png",
        "face.smile+bangs@-1to1.png",
        "done",
        None,
    )
    assert record["strength"] == [-1, 1]
    before = engine.classify(engine.invert(read_image(face)))[0]
    assert record["before"] == pytest.approx({"Smiling": before[0], "Bangs": before[2]}, abs=1e-3)
    assert record["after"]["Smiling"][0] < 0.1 < 0.9 < record["after"]["Smiling"][1]
    assert 0 < record["seconds"] < 60


def test_verbose_tells_the_same_in_words(cli: Cli, face: Path) -> None:
    result = cli("edit", "-a", "smile", "-v", face)
    assert result.stdout == "face.smile.png\n"
    assert "tiny-32 on cpu, float32\n" in result.stderr
    assert "face.png: Smiling 0." in result.stderr


def test_rerun_in_a_folder_edits_no_edit(cli: Cli, photos: Path) -> None:
    first = cli("edit", "-a", "smile", photos)
    assert len(first.stdout.splitlines()) == 3
    for arguments in (["-a", "smile"], ["-a", "smile", "--sheet"], ["-a", "bangs", "-s", "-2,2"]):
        cli("edit", *arguments, photos)
        again = cli("edit", *arguments, photos)
        assert (again.exit_code, again.stdout) == (3, "")
        assert "3 skipped" in again.stderr
    assert len(list(photos.glob("*.png"))) == 1 + 3 * 3


def test_arrays_are_not_shared_between_pictures(cli: Cli, photos: Path) -> None:
    cli("edit", "-a", "smile", photos, "-o", "out")
    a, b = (read_image(f"out/{name}.smile.png") for name in "ab")
    assert not np.array_equal(a, b)
