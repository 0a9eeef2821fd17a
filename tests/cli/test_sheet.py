"""`stedit sheet`: folders side by side, row by row."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from stedit.imaging import titles
from stedit.imaging.files import Pixels, read_image, write_image

Cli = Callable[..., Result]


def plain(shade: int, height: int = 40, width: int = 40) -> Pixels:
    return np.full((height, width, 3), shade, np.uint8)


@pytest.fixture(autouse=True)
def _folders() -> None:
    """`before/` a.png, b.jpg, c.png, and `after/` of the first two, smaller, plus what is no part of any sheet."""
    for name, shade in (("before/a.png", 0), ("before/b.png", 50), ("before/c.png", 99)):
        Path(name).parent.mkdir(exist_ok=True)
        write_image(name, plain(shade, 80, 80))
    for name, shade in (("after/a.smile.png", 100), ("after/b.png", 150), ("after/.c.png", 7), ("after/d.png", 7)):
        Path(name).parent.mkdir(exist_ok=True)
        write_image(name, plain(shade))
    Path("after/c.latent.safetensors").touch()


def test_sheet_folders_are_columns_and_shared_names_rows(cli: Cli) -> None:
    result = cli("sheet", "before", "after", "-o", "sheet.png")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "sheet.png\n", "")
    sheet = read_image("sheet.png")[-(2 * 40 + 2 * 4) :]  # below the captions
    assert sheet.shape == (88, 3 * 4 + 2 * 40, 3)
    for shade, top, left in ((0, 0, 4), (100, 0, 48), (50, 44, 4), (150, 44, 48)):
        assert (sheet[top : top + 40, left : left + 40] == shade).all()


def test_sheet_prefers_an_image_to_what_was_made_of_it(cli: Cli) -> None:
    cli("sheet", "before", "-o", "sheet.png")
    for name in ("before/a.2.png", "before/b.smile.png"):
        write_image(name, plain(255))
    cli("sheet", "before", "-o", "same.png")
    assert Path("same.png").read_bytes() == Path("sheet.png").read_bytes()


def test_sheet_titles_are_the_folders_names(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("sheet", "before", "after", "-o", "sheet.png")
    monkeypatch.chdir("after")
    cli("sheet", "../before/", ".", "-o", "../same.png")
    assert Path("../same.png").read_bytes() == Path("../sheet.png").read_bytes()
    captions = read_image("../sheet.png")[: -(2 * 40 + 2 * 4)]
    assert all((captions[:, left : left + 40] < 100).any() for left in (4, 48))


def test_sheet_files_are_columns_and_keep_their_shapes(cli: Cli) -> None:
    write_image("wide.png", plain(30, 40, 60))
    write_image("wide.smile.png", plain(200, 80, 80))
    result = cli("sheet", "wide.png", "wide.smile.png")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "wide.sheet.png\n", "")
    sheet = read_image("wide.sheet.png")[-(40 + 2 * 4) :]
    assert sheet.shape == (48, 3 * 4 + 60 + 40, 3)
    assert (sheet[4:44, 4:64] == 30).all()
    assert (sheet[4:44, 68:108] == 200).all()


def test_sheet_title_without_a_font_is_reported(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(titles, "_SYSTEM_FONTS", ())
    write_image("Zoë.png", plain(30))
    result = cli("sheet", "Zoë.png", "-o", "sheet.png")
    assert result.stderr == "the title Zoë is written as Zoe: no font here has its letters\n"


def test_sheet_to_stdout_gives_the_bytes_of_the_file(cli: Cli) -> None:
    cli("sheet", "before", "after", "-o", "sheet.png")
    result = cli("sheet", "before", "after", "-o", "-")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(result.stdout_bytes))), read_image("sheet.png"))
    assert cli("sheet", "before", "-o", "-", "--json").exit_code == 2


def test_existing_sheet_is_refused_unless_it_may_be_overwritten(cli: Cli) -> None:
    Path("sheet.png").write_bytes(b"kept")
    result = cli("sheet", "before", "after", "-o", "sheet.png")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "error: sheet.png exists: choose another place for the sheet, or replace it with --overwrite\n"
    )
    assert Path("sheet.png").read_bytes() == b"kept"
    assert cli("sheet", "before", "after", "-o", "sheet.png", "--overwrite").exit_code == 0
    assert read_image("sheet.png").shape[1] == 92


def test_sheet_json_record_lists_the_rows(cli: Cli) -> None:
    record = json.loads(cli("sheet", "before", "after", "-o", "new/sheet.png", "--json").stdout)
    assert (record["input"], record["output"], record["status"]) == ("before, after", "new/sheet.png", "done")
    assert record["rows"] == ["a", "b"]


def test_sheet_bad_image_drops_its_row(cli: Cli) -> None:
    Path("after/a.smile.png").write_bytes(b"junk")
    result = cli("sheet", "before", "after", "-o", "sheet.png")
    assert (result.exit_code, result.stdout) == (1, "sheet.png\n")
    assert result.stderr.startswith("error: after/a.smile.png is not a picture")
    assert (read_image("sheet.png")[-44:-4, 4:44] == 50).all()
    Path("after/b.png").write_bytes(b"junk")
    result = cli("sheet", "before", "after", "-o", "none.png")
    assert (result.exit_code, result.stdout) == (1, "")
    assert not Path("none.png").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["before", "empty", "-o", "x.png"], 1, "before, empty share no name: names count up to the first dot"),
        (["before", "nowhere", "-o", "x.png"], 2, "nowhere does not exist: check the spelling"),
        (["before", "before/a.png", "-o", "x.png"], 2, "images and folders are laid side by side apart"),
        (["twins", "-o", "x.png"], 1, "twins/a.1.png and twins/a.2.png would share a row"),
        (["before", "-o", "out"], 2, "-o out is a folder: name a file in it"),
        (["before", "-o", "x.tiff"], 2, "the output x.tiff has an ending that is not written here"),
        (["before", "-o", "before/a.png", "--overwrite"], 2, "before/a.png would be replaced by the sheet"),
        (["-o", "x.png"], 2, "missing argument 'FILES'"),
    ],
)
def test_sheet_wrong_request_gives_one_sentence(cli: Cli, arguments: list[str], code: int, reason: str) -> None:
    Path("empty").mkdir()
    Path("twins").mkdir()
    for name in ("twins/a.1.png", "twins/a.2.png"):
        write_image(name, plain(0))
    result = cli("sheet", *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith(f"error: {reason}")
    assert result.stderr.count("\n") == 1
    assert not Path("x.png").exists()


def test_sheet_of_too_many_pixels_is_refused(cli: Cli) -> None:
    Path("large").mkdir()
    for i in range(2):
        write_image(f"large/{i}.png", plain(0, 5000, 6500))
    result = cli("sheet", "large", "-o", "x.png")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "would exceed 64 megapixels" in result.stderr
