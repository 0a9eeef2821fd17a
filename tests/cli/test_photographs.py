"""Photographs on the command line: found, edited, and written as the kind of file that they were."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from photo.scenes import backdrop, place
from PIL import Image
from typer.testing import Result

from stedit.engine import Engine
from stedit.imaging.files import decode_image, read_image
from stedit.imaging.provenance import read_provenance
from stedit.storage.embedded import DEFAULT_MODEL
from stedit.storage.latents import LatentCode

Cli = Callable[..., Result]
FACES = Path(__file__).parents[1] / "data" / "faces"


@pytest.fixture
def photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """me.jpg in the current folder: one tilted person in a scene, with EXIF and a place."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STEDIT_MODEL", DEFAULT_MODEL)
    picture = backdrop(480, 640, seed=7)
    place(picture, read_image(FACES / "serious.jpg"), (300, 240), 170, angle=-15)
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif.get_ifd(0x8825)[1] = "N"
    Image.fromarray(picture).save("me.jpg", quality=88, subsampling=2, exif=exif)
    return Path("me.jpg")


def exif_of(path: str) -> Image.Exif:
    with Image.open(path) as image:
        return image.getexif()


def test_edit_photograph_changes_its_face_only(cli: Cli, photo: Path) -> None:
    result = cli("edit", "-a", "smile", photo)
    assert (result.exit_code, result.stdout) == (0, "me.smile.jpg\n"), result.stderr
    before, after = (read_image(path).astype(int) for path in ("me.jpg", "me.smile.jpg"))
    assert after.shape == before.shape
    difference = np.abs(after - before).max(axis=2)
    assert difference[200:300, 220:380].mean() > 1.5  # the mouth
    assert difference[:, :60].mean() < 1.5  # encoded anew by the same tables
    exif = exif_of("me.smile.jpg")
    assert exif[0x010F] == "Maker"
    assert not exif.get_ifd(0x8825)
    mark = read_provenance("me.smile.jpg")
    assert mark is not None
    assert (mark.model, mark.edit) == (DEFAULT_MODEL, "smile")


def test_edit_photograph_gps_and_provenance_follow_options(cli: Cli, photo: Path) -> None:
    assert cli("edit", "-a", "smile", photo, "--keep-gps", "--no-provenance", "-o", "kept.jpg").exit_code == 0
    assert exif_of("kept.jpg").get_ifd(0x8825)[1] == "N"
    assert read_provenance("kept.jpg") is None


def test_edit_photograph_keeps_pixels_outside_of_the_edit(cli: Cli, photo: Path) -> None:
    source = decode_image(photo).pixels
    assert cli("edit", "-a", "glasses", photo, "-o", "glasses.png").exit_code == 0
    after = read_image("glasses.png")
    changed = (after != source).any(axis=2)
    assert 0.003 < changed.mean() < 0.3
    assert not changed[:100].any()


def test_edit_strength_zero_gives_the_photograph(cli: Cli, photo: Path) -> None:
    assert cli("edit", "-a", "smile", "-s", "0", photo, "-o", "same.png").exit_code == 0
    assert np.array_equal(read_image("same.png"), read_image(photo))


def test_result_option_gives_photo_crop_or_render(cli: Cli, photo: Path, embedded: Engine) -> None:
    shapes = {}
    for name in ("photo", "crop", "render"):
        assert cli("edit", "-a", "smile", photo, "--result", name, "-o", f"{name}.png").exit_code == 0
        shapes[name] = read_image(f"{name}.png").shape
    assert shapes["photo"] == (480, 640, 3)
    assert shapes["render"] == (*embedded.output_size, 3)
    side = shapes["crop"][0]
    assert shapes["crop"] == (side, side, 3)
    assert 230 < side < 320  # 170 / 0.625 = 272


def test_into_puts_a_code_back_into_its_photograph(cli: Cli, photo: Path) -> None:
    assert cli("invert", photo).exit_code == 0
    crop = json.loads(LatentCode.load("me.latent.safetensors").crop)
    assert crop["photo"] == [480, 640]
    direct = cli("edit", "-a", "smile", photo, "-o", "direct.png")
    pasted = cli("edit", "-a", "smile", "me.latent.safetensors", "--into", photo, "-o", "pasted.png")
    assert (direct.exit_code, pasted.exit_code) == (0, 0), pasted.stderr
    away = np.abs(read_image("direct.png").astype(int) - read_image("pasted.png")).max()
    assert away <= 8  # the quad is rounded to thousandths of a pixel


def test_into_another_photograph_is_refused(cli: Cli, photo: Path) -> None:
    assert cli("invert", photo).exit_code == 0
    Image.new("RGB", (300, 200)).save("other.png")
    result = cli("edit", "-a", "smile", "me.latent.safetensors", "--into", "other.png", "-o", "x.png")
    assert result.exit_code == 1
    assert "was made of a photograph of 640 x 480 px, and other.png has 300 x 200" in result.stderr
    assert not Path("x.png").exists()


def test_align_crops_the_face_upright(cli: Cli, photo: Path) -> None:
    assert cli("align", photo, "--size", "128", "-o", "crop.png").exit_code == 0
    crop, own = read_image("crop.png").astype(float), read_image(FACES / "serious.jpg").astype(float)
    middle = slice(40, 100)
    alike = np.corrcoef(crop[middle, middle].ravel(), own[middle, middle].ravel())[0, 1]
    assert alike > 0.8


@pytest.fixture
def party(photo: Path) -> Path:
    """party.jpg beside it: three people, the largest on the right and the smallest in the middle."""
    path = photo.with_name("party.jpg")
    picture = backdrop(480, 960, seed=8)
    for name, centre, size in (("hat", (180, 240), 130), ("smile", (480, 240), 90), ("glasses", (760, 240), 180)):
        place(picture, read_image(FACES / f"{name}.jpg"), centre, size)
    Image.fromarray(picture).save(path, quality=92)
    return path


CROPS = ["party.aligned.jpg", "party.aligned.face-2.jpg", "party.aligned.face-3.jpg"]


def test_align_all_faces_gives_a_crop_of_each_by_size(cli: Cli, photo: Path, party: Path) -> None:
    result = cli("align", "--face", "all", "--size", 96, photo, party)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines() == ["me.aligned.jpg", *CROPS]
    for number, name in enumerate(CROPS, 1):
        assert cli("align", "--face", number, "--size", 96, party, "-o", "one.jpg", "--overwrite").exit_code == 0
        assert np.array_equal(read_image(name), read_image("one.jpg"))
    assert len({read_image(name).tobytes() for name in CROPS}) == 3


def test_align_asks_no_network_but_the_aligner(
    cli: Cli, photo: Path, party: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(Engine, "invert", lambda *_, **__: asked.append("encoder"))
    monkeypatch.setattr(Engine, "synthesise", lambda *_, **__: asked.append("generator"))
    result = cli("align", photo, party)
    assert (result.exit_code, len(result.stdout.splitlines()), asked) == (0, 2, []), result.stderr


def test_align_all_faces_json_names_each_output_and_its_square(cli: Cli, photo: Path, party: Path) -> None:
    result = cli("align", "--face", "all", photo, party, "--json")
    one, three = map(json.loads, result.stdout.splitlines())
    assert "outputs" not in one
    assert (three["output"], three["outputs"]) == (CROPS[0], CROPS)
    assert three["quad"] == three["quads"][0]
    sides = [np.hypot(quad[2] - quad[0], quad[3] - quad[1]) for quad in three["quads"]]
    assert sides == sorted(sides, reverse=True)
    assert [quad[0] > 500 for quad in three["quads"]] == [True, False, False]


def test_align_all_faces_again_skips_what_is_there(cli: Cli, party: Path) -> None:
    assert cli("align", "--face", "all", ".").stdout.count("party.aligned") == 3
    again = cli("align", "--face", "all", ".", "--json")
    records = [json.loads(line) for line in again.stdout.splitlines()]
    assert [(record["input"], record["status"]) for record in records] == [
        ("me.jpg", "skipped"),
        ("party.jpg", "skipped"),
    ]
    globbed = cli("align", "--face", "all", *sorted(Path().glob("party*.jpg")))  # as a shell has it
    assert (globbed.exit_code, globbed.stdout) == (0, ""), globbed.stderr
    assert sorted(path.name for path in Path().glob("party*")) == sorted([*CROPS, "party.jpg"])
    Path(CROPS[0]).unlink()  # written last, so that a run that was killed goes on
    assert cli("align", "--face", "all", party).stdout.splitlines() == CROPS


def test_align_all_faces_leaves_a_foreign_file_alone(cli: Cli, party: Path) -> None:
    Path(CROPS[1]).write_bytes(b"mine")
    result = cli("align", "--face", "all", party)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"{CROPS[1]} exists, and is not" in result.stderr
    assert Path(CROPS[1]).read_bytes() == b"mine"
    assert [name for name in CROPS if Path(name).exists()] == [CROPS[1]]
    assert cli("align", "--face", "all", party, "--overwrite").stdout.splitlines() == CROPS


def test_align_all_faces_to_standard_output_is_refused(cli: Cli, party: Path) -> None:
    result = cli("align", "--face", "all", party, "-o", "-")
    assert result.exit_code == 2
    assert "standard output takes one face" in result.stderr


def test_invert_all_faces_gives_a_code_of_each_that_goes_back_into_its_place(cli: Cli, party: Path) -> None:
    files = ["party.latent.safetensors", "party.face-2.latent.safetensors", "party.face-3.latent.safetensors"]
    result = cli("invert", "--face", "all", party)
    assert (result.exit_code, result.stdout.splitlines()) == (0, files), result.stderr
    for number, name in enumerate(files, 1):
        assert cli("invert", "--face", number, party, "-o", "one.latent.safetensors", "--overwrite").exit_code == 0
        one, found = LatentCode.load("one.latent.safetensors"), LatentCode.load(name)
        assert (found.crop, found.source) == (one.crop, "party.jpg")
        assert np.abs(found.w - one.w).max() < 1e-3  # of a batch, rounded in another order
    Path("one.latent.safetensors").unlink()
    assert cli("edit", "-a", "glasses", files[1], "--into", party, "-o", "second.png").exit_code == 0
    changed = (read_image("second.png") != read_image(party)).any(axis=(0, 2))
    assert changed[60:300].any()
    assert not changed[320:].any()
    listed = cli("edit", "-a", "smile", ".", "--face", "all", "--json").stdout.splitlines()
    assert [json.loads(line)["input"] for line in listed] == ["me.jpg", "party.jpg", "second.png"]
    assert cli("invert", "--face", "all", *sorted(Path().glob("party*"))).stdout == ""
    assert cli("invert", "--face", "all", party, "-f", "npz").stdout.splitlines()[1] == "party.face-2.npz"


def test_reconstruct_all_faces_gives_a_rendering_of_each(cli: Cli, party: Path) -> None:
    files = ["party.reconstruct.png", "party.reconstruct.face-2.png", "party.reconstruct.face-3.png"]
    result = cli("reconstruct", "--face", "all", party, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["outputs"] == files
    again = cli("reconstruct", "--face", "all", *sorted(Path().glob("party*")))  # as a shell has it
    assert (again.exit_code, again.stdout) == (0, ""), again.stderr
    assert cli("reconstruct", "--face", "all", "--sheet", party).exit_code == 0
    for number, name in enumerate(files, 1):
        assert cli("reconstruct", "--face", number, party, "-o", "one.png", "--overwrite").exit_code == 0
        one = read_image("one.png").astype(int)
        assert np.abs(read_image(name) - one).max() <= 2  # of a batch, rounded in another order
        sheet = name.replace("reconstruct", "reconstruct.sheet")
        assert cli("reconstruct", "--sheet", "--face", number, party, "-o", "two.png", "--overwrite").exit_code == 0
        assert np.abs(read_image(sheet).astype(int) - read_image("two.png")).max() <= 2
    refused = cli("reconstruct", "--face", "all", party, "-o", "-")
    assert refused.exit_code == 2
    assert "standard output takes one face" in refused.stderr


def test_attributes_of_all_faces_are_those_of_each(cli: Cli, party: Path) -> None:
    record = json.loads(cli("attributes", "--face", "all", party, "--json").stdout)
    each = [json.loads(cli("attributes", "--face", n, party, "--json").stdout) for n in (1, 2, 3)]
    assert [one["attributes"] for one in record["faces"]] == [one["attributes"] for one in each]
    assert record["attributes"] == each[0]["attributes"]
    assert not any("faces" in one for one in each)
    hat, glasses = "Wearing_Hat", "Eyeglasses"
    assert [one["attributes"][hat] > 0.5 for one in record["faces"]] == [False, True, False]
    assert [one["attributes"][glasses] > 0.5 for one in record["faces"]] == [True, False, False]
    lines = cli("attributes", "--face", "all", party).stdout.splitlines()
    assert [line for line in lines if line[0] != " "] == ["party.jpg", "party.jpg, face 2", "party.jpg, face 3"]


def test_photograph_without_face_fails_alone(cli: Cli, photo: Path) -> None:
    Image.fromarray(backdrop(300, 400, seed=4)).save("sky.jpg")
    result = cli("edit", "-a", "smile", "sky.jpg", photo)
    assert result.exit_code == 1
    assert result.stdout == "me.smile.jpg\n"
    assert "sky.jpg: no face was found" in result.stderr
    assert not Path("sky.smile.jpg").exists()


def test_sheet_of_a_photograph_shows_renderings_and_result(cli: Cli, photo: Path) -> None:
    assert cli("edit", "-a", "smile", photo, "--sheet").exit_code == 0
    height, width = read_image("me.smile.sheet.png").shape[:2]
    assert 3.5 < width / height < 4.2


def test_strip_of_a_photograph_shows_faces(cli: Cli, photo: Path) -> None:
    assert cli("edit", "-a", "smile", "-s", "-1,0,1", photo).exit_code == 0
    height, width = read_image("me.smile@-1to1x3.png").shape[:2]
    assert 2.6 < width / height < 3.1


def test_reference_edit_takes_a_photograph(cli: Cli, photo: Path) -> None:
    picture = backdrop(400, 400, seed=9)
    place(picture, read_image(FACES / "glasses.jpg"), (200, 200), 150, angle=20)
    Image.fromarray(picture).save("jane.png")
    result = cli("edit", "--ref", "jane.png", "-a", "glasses", photo)
    assert (result.exit_code, result.stdout) == (0, "me.glasses-from-jane.jpg\n"), result.stderr


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--face", "second", "the face is 'second'"),
        ("--landmarks", "none.json", "there are no landmarks none.json"),
        ("--detector", "none.onnx", "there is no detector none.onnx"),
        ("--face", "2", "has 1 face, so there is no face 2"),
    ],
)
def test_photograph_wrong_request_gives_one_sentence(
    cli: Cli, photo: Path, option: str, value: str, sentence: str
) -> None:
    result = cli("edit", "-a", "smile", photo, option, value)
    assert result.exit_code in (1, 2)
    assert sentence in result.stderr
    assert not Path("me.smile.jpg").exists()


def test_heic_in_a_folder_without_the_extra_is_reported(cli: Cli, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stedit.imaging.heic.find_spec", lambda _name: None)
    Path("trip").mkdir()
    photo.rename("trip/me.jpg")
    Path("trip/IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    result = cli("edit", "-a", "smile", "trip", "-o", "out")
    assert (result.exit_code, result.stdout) == (0, "out/me.smile.jpg\n")
    assert "1 HEIC left out, such as trip/IMG_1.HEIC: install `pip install 'stedit[heic]'`" in result.stderr
