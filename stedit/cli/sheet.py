"""`stedit sheet`: folders of pictures side by side in one picture, for an eye that compares results."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stedit.batch.record import Record
from stedit.cli.command import spread
from stedit.cli.console import DONE, FAILED, NOTHING_TO_DO, Console
from stedit.cli.options import Overwrite, TalkOptions
from stedit.errors import ImageError, InputError, UsageError, cause

if TYPE_CHECKING:
    from stedit.imaging.files import Pixels


@spread
def sheet(
    folders: Annotated[
        list[Path], typer.Argument(metavar="FOLDERS", show_default=False, help="Folders of pictures, one per column.")
    ],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE|-", help="The sheet to write.", rich_help_panel="Files")
    ],
    *,
    overwrite: Overwrite = False,
    talk: TalkOptions,
) -> int:
    """Lay folders of pictures side by side.

    Each folder is a column. Pictures share a row if their names agree up to
    the first dot, as face.jpg and face.smile.png do; the others are left out.

    [bold]Examples[/]
    stedit sheet photos smiling -o sheet.png
    stedit sheet photos smiling with-bangs -o sheet.jpg --overwrite
    """
    from stedit.batch.plan import PICTURE_FORMATS, Target
    from stedit.cli.batch import require_free_stdout, write
    from stedit.imaging import sheets

    console = Console(talk)
    target = Target.parse(output, None, PICTURE_FORMATS)
    if target.place == "folder":
        raise UsageError(f"-o {output} is a folder: name a file in it, such as sheet.png")
    path = target.path if target.place == "file" else None
    if path is None:
        require_free_stdout(console)
    columns = [_pictures(folder) for folder in folders]
    names = sorted(set.intersection(*map(set, columns)))
    if not names:
        raise InputError(f"{_listed(folders)} share no name: names count up to the first dot, as in face.smile.png")
    if path and path.exists():
        _require_other(path, [column[name] for column in columns for name in names])
        if not overwrite:
            console.report(Record(_listed(folders), output, "skipped"))
            console.note(f"skipped because {path} exists (--overwrite replaces it)")
            return NOTHING_TO_DO

    rows = _read_rows(columns, names, console)
    if rows:
        titles = [Path(os.path.abspath(folder)).name for folder in folders]
        write(sheets.sheet(list(rows.values()), titles=titles), path, target.format)
        console.report(Record(_listed(folders), output, details={"rows": list(rows)}, text=str(path or "")))
    return DONE if len(rows) == len(names) else FAILED


def _pictures(folder: Path) -> dict[str, Path]:
    """The pictures right in `folder`, by what stands before the first dot of their names.

    A picture goes before what was made of it: face.png before face.smile.png. Raises InputError if two are equal.
    """
    from stedit.storage.suffixes import IMAGE_SUFFIXES

    try:
        files = sorted(file for file in folder.iterdir() if not file.name.startswith("."))
    except OSError as error:
        raise InputError(f"cannot list the folder {folder}: {cause(error)}") from error
    pictures: dict[str, Path] = {}
    for file in sorted(files, key=lambda file: "." in file.stem):  # face.png first, before face.smile.png beside it
        if file.suffix.lower() in IMAGE_SUFFIXES:
            other = pictures.setdefault(file.name.partition(".")[0], file)
            if other is not file and ("." in other.stem) == ("." in file.stem):
                raise InputError(f"{other} and {file} would share a row: give folders with one picture of each name")
    return pictures


def _require_other(path: Path, pictures: Sequence[Path]) -> None:
    for picture in pictures:
        if picture.samefile(path):
            raise UsageError(f"{picture} would be replaced by the sheet: choose another place with -o")


def _read_rows(
    columns: Sequence[Mapping[str, Path]], names: Sequence[str], console: Console
) -> dict[str, list[Pixels]]:
    """The pictures of each row, all as small as its smallest; a row with one that cannot be read is left out, and told.

    Raises UsageError if they are too many for one picture.
    """
    from stedit.imaging.files import MAX_PIXELS, fit_picture, read_image

    rows: dict[str, list[Pixels]] = {}
    room = MAX_PIXELS
    for name in names:
        try:
            row = [read_image(column[name]) for column in columns]
        except ImageError as error:
            console.error(error)
            continue
        height, width = min((picture.shape[:2] for picture in row), key=math.prod)
        room -= len(row) * height * width
        if room < 0:
            raise UsageError(f"the sheet would exceed {MAX_PIXELS // 10**6} megapixels: give fewer or smaller pictures")
        rows[name] = [fit_picture(picture, (height, width)) for picture in row]
    return rows


def _listed(folders: Sequence[Path]) -> str:
    return ", ".join(map(str, folders))
