"""`stedit label-edit`, `reference-edit` and `edit`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from stedit.engine import Engine
from stedit.imaging.files import Pixels, read_image, write_image
from stedit.storage.latents import LatentCode

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


def test_label_edit_gives_the_engines_image(cli: Cli, face: Path, engine: Engine) -> None:
    result = cli("label-edit", "--attr", "smile", face)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "face.smile.png\n", "")
    edited = engine.edit_by_label(engine.invert(read_image(face)), "smile")
    assert difference(read_image("face.smile.png"), engine.synthesise(edited)[0]) <= 1


def test_reference_edit_gives_the_engines_image(cli: Cli, face: Path, jane: Path, engine: Engine) -> None:
    result = cli("reference-edit", "--ref", jane, "--attr", "glasses", face)
    assert (result.exit_code, result.stdout) == (0, "face.glasses-from-jane_doe.png\n")
    source, reference = (engine.invert(read_image(path)) for path in (face, jane))
    edited = engine.edit_by_reference(source, reference, "glasses")
    assert difference(read_image("face.glasses-from-jane_doe.png"), engine.synthesise(edited)[0]) <= 1


def test_edit_with_ref_is_a_reference_edit(cli: Cli, face: Path, jane: Path) -> None:
    cli("label-edit", "-a", "smile", face, "-o", "label.png")
    cli("reference-edit", "-a", "smile", "--ref", jane, face, "-o", "reference.png")
    assert cli("edit", "-a", "smile", face).stdout == "face.smile.png\n"
    assert cli("edit", "-a", "smile", "--ref", jane, face).stdout == "face.smile-from-jane_doe.png\n"
    assert Path("face.smile.png").read_bytes() == Path("label.png").read_bytes()
    assert Path("face.smile-from-jane_doe.png").read_bytes() == Path("reference.png").read_bytes()


def test_reference_edit_takes_a_latent_file(cli: Cli, face: Path, jane: Path) -> None:
    cli("invert", jane)
    cli("edit", "-a", "smile", "--ref", jane, face, "-o", "picture.png")
    result = cli("edit", "-a", "smile", "--ref", "jane.doe.latent.safetensors", face)
    assert result.stdout == "face.smile-from-jane_doe.png\n"
    assert difference(read_image("face.smile-from-jane_doe.png"), read_image("picture.png")) <= 1


def test_reference_edit_missing_reference_is_refused(cli: Cli, face: Path) -> None:
    result = cli("edit", "-a", "smile", "--ref", "nobody.png", face)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "error: the reference nobody.png does not exist: check the spelling\n"


def test_label_edit_several_attributes_edits_them_together(cli: Cli, face: Path, engine: Engine) -> None:
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
        (["--strength", "-2,-1,0,1,2"], "face.smile@-2to2x5.png"),
        (["--strength=-2,-1,0,1,2"], "face.smile@-2to2x5.png"),
        (["--strength", "1"], "face.smile.png"),
    ],
)
def test_strength_may_begin_with_a_minus(cli: Cli, face: Path, arguments: list[str], output: str) -> None:
    assert cli("label-edit", "-a", "smile", *arguments, face).stdout == f"{output}\n"


def test_strength_list_makes_a_strip(cli: Cli, face: Path) -> None:
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


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_strength_list_in_gif_and_webp_makes_an_animation(cli: Cli, face: Path, kind: str) -> None:
    arguments = ("-a", "smile", "--direction", "first-order", "-s", "-9,0,9")
    assert cli("edit", *arguments, face, "-o", f"smile.{kind}").exit_code == 0
    with Image.open(f"smile.{kind}") as animation:
        assert animation.n_frames == 4  # there and back
        assert animation.size == (32, 32)
    assert cli("edit", *arguments, face, "-o", "strip.png").exit_code == 0
    assert read_image("strip.png").shape[1] > 3 * 32


def test_strength_of_one_in_gif_is_refused(cli: Cli, face: Path) -> None:
    result = cli("edit", "-a", "smile", face, "-o", "smile.gif")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "error: an animation needs several images: give several strengths with --strength\n"


@pytest.mark.parametrize("strength", ["", "one", "1,,2", "nan", "1,inf"])
def test_strength_that_is_no_number_is_refused(cli: Cli, face: Path, strength: str) -> None:
    result = cli("edit", "-a", "smile", f"--strength={strength}", face)
    assert result.exit_code == 2
    assert "is not a number" in result.stderr


def test_sheet_of_label_edit_shows_source_reconstruction_and_edit(cli: Cli, face: Path) -> None:
    cli("reconstruct", face)
    cli("edit", "-a", "smile", face)
    assert cli("edit", "-a", "smile", "--sheet", face).stdout == "face.smile.sheet.png\n"
    source, reconstruction, edit = columns(read_image("face.smile.sheet.png"))
    assert difference(reconstruction, read_image("face.reconstruct.png")) <= 1
    assert difference(edit, read_image("face.smile.png")) <= 1
    assert difference(source, reconstruction) > 50


@pytest.mark.parametrize("form", ["picture", "latent file"])
def test_sheet_of_reference_edit_shows_the_reference(cli: Cli, face: Path, jane: Path, form: str) -> None:
    cli("invert", jane)
    ref = jane if form == "picture" else "jane.doe.latent.safetensors"
    cli("edit", "-a", "smile", "--ref", ref, face, "-o", "edit.png")
    cli("edit", "-a", "smile", "--ref", ref, "--sheet", face, "-o", "sheet.png")
    _, _, reference, edit = columns(read_image("sheet.png"))
    cli("reconstruct", ref, "--sheet", "-o", "alone.png")
    assert difference(reference, columns(read_image("alone.png"))[0]) <= 1
    assert difference(edit, read_image("edit.png")) <= 1


def test_sheet_of_strengths_has_a_column_for_each(cli: Cli, face: Path) -> None:
    cli("edit", "-a", "smile", "-s", "-1,1", "--sheet", face, "-o", "sheet.png")
    assert len(columns(read_image("sheet.png"))) == 4


def test_format_latent_keeps_a_code_to_edit_further(cli: Cli, face: Path) -> None:
    cli("edit", "-a", "smile", face)
    assert cli("edit", "-a", "smile", "--format", "latent", face).stdout == "face.smile.latent.safetensors\n"
    code = LatentCode.load("face.smile.latent.safetensors")
    assert (code.method, code.source) == ("edit smile", "face.png")
    cli("reconstruct", "face.smile.latent.safetensors")
    assert difference(read_image("face.smile.reconstruct.png"), read_image("face.smile.png")) <= 1
    assert cli("edit", "-a", "bangs", "face.smile.latent.safetensors").stdout == "face.smile.bangs.png\n"


@pytest.mark.parametrize("arguments", [["--sheet"], ["--strength", "0,1"]])
def test_format_latent_of_several_images_is_refused(cli: Cli, face: Path, arguments: list[str]) -> None:
    result = cli("edit", "-a", "smile", "--format", "latent", *arguments, face)
    assert result.exit_code == 2
    assert "holds one code" in result.stderr


def test_unknown_attribute_names_the_nearest(cli: Cli, face: Path) -> None:
    result = cli("edit", "--attr", "smil", face)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "error: unknown attribute 'smil': did you mean smile? (see `stedit attributes`)\n"


def test_attribute_asked_both_ways_is_refused(cli: Cli, face: Path) -> None:
    result = cli("edit", "-a", "smile", "-a", "no-smile", face)
    assert result.exit_code == 2
    assert "both ways" in result.stderr


def test_json_record_has_probabilities_before_and_after(cli: Cli, face: Path, engine: Engine) -> None:
    record = json.loads(cli("edit", "-a", "smile", "-a", "bangs", "-s", "-1,1", "--json", face).stdout)
    assert (record["input"], record["output"], record["status"], record["error"]) == (
        "face.png",
        "face.smile+bangs@-1,1.png",
        "done",
        None,
    )
    assert record["strength"] == [-1, 1]
    before = engine.classify(engine.invert(read_image(face)))[0]
    assert record["before"] == pytest.approx({"Smiling": before[0], "Bangs": before[2]}, abs=1e-3)
    assert record["after"]["Smiling"][0] < 0.1 < 0.9 < record["after"]["Smiling"][1]
    assert 0 < record["seconds"] < 60


def test_verbose_notes_the_probabilities(cli: Cli, face: Path) -> None:
    result = cli("edit", "-a", "smile", "-v", "--device", "cpu", face)
    assert result.stdout == "face.smile.png\n"
    assert "tiny-32 on cpu, float32\n" in result.stderr
    assert "face.png: smile 0." in result.stderr


def test_rerun_in_a_folder_leaves_its_outputs_out(cli: Cli, photos: Path) -> None:
    first = cli("edit", "-a", "smile", photos)
    assert len(first.stdout.splitlines()) == 3
    for arguments in (["-a", "smile"], ["-a", "smile", "--sheet"], ["-a", "bangs", "-s", "-2,2"]):
        cli("edit", *arguments, photos)
        again = cli("edit", *arguments, photos)
        assert (again.exit_code, again.stdout) == (0, "")
        assert "3 skipped" in again.stderr
    assert len(list(photos.glob("*.png"))) == 1 + 3 * 3


def test_batch_of_edits_gives_each_image_its_own(cli: Cli, photos: Path) -> None:
    cli("edit", "-a", "smile", photos, "-o", "out")
    a, b = (read_image(f"out/{name}.smile.png") for name in "ab")
    assert not np.array_equal(a, b)


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        (["-a", "smile", "--direction", "first-order"], "face.smile-along-first-order.png"),
        (["-a", "smile", "--direction", "auto"], "face.smile.png"),
        (["-a", "smile", "--direction", "preserving"], "face.smile-along-preserving.png"),
        (["-a", "smile", "--keep", "bangs", "--keep", "no-glasses"], "face.smile-keep-bangs+glasses.png"),
        (["-a", "smile", "--layers", "0-3,6"], "face.smile-layers-0-3+6.png"),
        (["--direction", "sefa:3", "-s", "2"], "face.along-sefa-3@2.png"),
        (["-a", "smile", "--direction", "linear:a.b.npy"], "face.smile-along-a.png"),
        (["--direction", "linear:a.b.npy", "--sheet"], "face.along-a.sheet.png"),
    ],
)
def test_output_name_holds_the_options_and_is_known_again(
    cli: Cli, face: Path, arguments: list[str], output: str
) -> None:
    np.save("a.b.npy", np.random.default_rng(0).standard_normal((1, 16)))
    assert cli("edit", *arguments, face).stdout == f"{output}\n"
    assert cli("edit", "-a", "bangs", ".", "-n").stdout == "face.png -> face.bangs.png\n"


def test_label_edit_options_give_the_engines_image(cli: Cli, face: Path, engine: Engine) -> None:
    way = ("--direction", "second-order", "--keep", "bangs", "--layers", "2-5")
    cli("label-edit", "-a", "no-smile", *way, face, "-f", "latent", "-o", "edit.latent.safetensors")
    w = engine.invert(read_image(face))
    expected = engine.edit_by_label(w, "no-smile", direction="second-order", keep="bangs", layers=[2, 3, 4, 5])
    np.testing.assert_allclose(LatentCode.load("edit.latent.safetensors").w, expected[0], atol=1e-5)


def test_linear_direction_needs_no_attribute(cli: Cli, face: Path, engine: Engine) -> None:
    record = json.loads(cli("edit", "--direction", "sefa:0", "-s", "-2,0,2", face, "--json").stdout)
    assert (record["output"], record["strength"], record["after"]) == ("face.along-sefa-0@-2to2x3.png", [-2, 0, 2], {})
    strip = columns(read_image("face.along-sefa-0@-2to2x3.png"))
    expected = engine.edit_by_label(engine.invert(read_image(face)), (), direction="sefa:0", strength=2)
    assert difference(strip[2], engine.synthesise(expected)[0]) <= 1
    assert difference(strip[0], strip[2]) > 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give a linear direction, or name an attribute with --attr"),
        (["-a", "smile", "--direction", "third"], "unknown direction 'third'"),
        (["-a", "smile", "--keep", "smile"], "both to be edited and to be kept"),
        (["-a", "smile", "--keep", "smil"], "unknown attribute 'smil'"),
        (["-a", "smile", "--layers", "0-8"], "this model has layers 0-7"),
        (["-a", "smile", "-a", "bangs", "--direction", "sefa:0"], "cannot serve 2 attributes"),
        (["-a", "smile", "--ref-weights", "1"], "name one with --ref"),
        (["--ref", "jane.doe.png"], "nothing is named to take from the reference"),
        (["-a", "no-glasses", "--ref", "jane.doe.png"], "contradicts a reference"),
        (["-a", "glasses", "--ref", "jane.doe.png", "--keep", "smile"], "are for edits by label"),
        (["-a", "glasses", "--ref", "jane.doe.png", "--ref-weights", "1,2"], "are not 1 numbers above 0"),
        (["-a", "glasses", "--ref", "jane.doe.png", "--ref-weights", "x"], "are not 1 numbers above 0"),
        (["-a", "glasses", "--ref", "jane.doe.png", "--attention", "a.txt"], "end its name in .png"),
        (["-a", "glasses", "--ref", "jane.doe.png", "--attention", "face.png"], "another file of this run"),
    ],
)
@pytest.mark.usefixtures("jane")
def test_edit_contradiction_is_refused(cli: Cli, face: Path, arguments: list[str], words: str) -> None:
    before = sorted(Path().iterdir())
    result = cli("edit", *arguments, face)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
    assert sorted(Path().iterdir()) == before


def test_direction_file_that_is_bad_is_refused(cli: Cli, face: Path) -> None:
    result = cli("edit", "-a", "smile", "--direction", "linear:nowhere.pt", face)
    assert (result.exit_code, result.stderr) == (1, "error: nowhere.pt does not exist: give a file of directions\n")


def test_references_with_weights_are_averaged_and_shown(cli: Cli, face: Path, jane: Path, engine: Engine) -> None:
    cli("invert", face, "-o", "joe.latent.safetensors")
    refs = ("--ref", jane, "--ref", "joe.latent.safetensors", "--ref-weights", "3,1")
    assert cli("edit", "-a", "glasses", *refs, face).stdout == "face.glasses-from-jane_doe+joe-weights-75-25.png\n"
    w, other = (engine.invert(read_image(path)) for path in (face, jane))
    edited = engine.edit_by_reference(w, [other, w], "glasses", weights=[3, 1])
    found = read_image("face.glasses-from-jane_doe+joe-weights-75-25.png")
    assert difference(found, engine.synthesise(edited)[0]) <= 1
    cli("edit", "-a", "glasses", *refs, "--sheet", face, "-o", "sheet.png")
    assert len(columns(read_image("sheet.png"))) == 5
    assert cli("edit", "-a", "bangs", ".", "-n").stdout.startswith("face.png -> ")


def test_attention_writes_a_plot(cli: Cli, face: Path, jane: Path) -> None:
    edit = ("edit", "-a", "glasses", "-a", "smile", "--ref", jane, face, "--attention", "attention.png")
    assert cli(*edit).stdout == "face.glasses+smile-from-jane_doe.png\n"
    one = read_image("attention.png")
    assert one.shape[0] > 2 * 8 * 20  # a matrix of eight styles for each attribute
    again = cli(*edit, "--sheet")
    assert again.exit_code == 2
    assert "attention.png exists" in again.stderr
    cli(*edit, "--overwrite")
    assert np.array_equal(read_image("attention.png"), one)
    several = cli(*edit, jane, "--overwrite")
    assert several.exit_code == 2
    assert "one input, not for 2" in several.stderr
