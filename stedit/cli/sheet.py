"""`stedit sheet`: images or folders of images side by side in one image, to compare results by eye."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stedit.batch import Record
from stedit.cli.command import flatten_options
from stedit.cli.console import Console
from stedit.cli.exit_codes import DONE, FAILED
from stedit.cli.options import Overwrite
from stedit.errors import OutputError, UsageError


@flatten_options
def sheet(
    columns: Annotated[
        list[str], typer.Argument(metavar="FILES", show_default=False, help="Images, or folders of them: the columns.")
    ],
    console: Console,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE|-",
            help="The sheet to write.",
            rich_help_panel="Files",
            show_default="NAME.sheet.png beside the first image, or sheet.png",
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> int:
    """Lay images, or folders of images, side by side.

    Each image or folder is a column. Images of folders share a row if their
    names agree up to the first dot, as face.jpg and face.smile.png do; the
    others are left out.

    [bold]Examples[/]
    stedit sheet face.jpg face.smile.jpg               [dim]# before and after[/]
    stedit sheet photos smiling -o sheet.png
    stedit sheet photos smiling with-bangs -o sheet.jpg --overwrite
    """
    from stedit.batch.comparison import Comparison
    from stedit.batch.output import Output
    from stedit.batch.plan import OutputTarget
    from stedit.batch.request import IMAGE_FORMATS
    from stedit.batch.writing import encode_output, write_output
    from stedit.cli.batch import require_free_stdout, write_to_stdout
    from stedit.cli.inputs import expand_inputs
    from stedit.imaging.titles import Title

    places = [Path(name) for name in expand_inputs(columns)]
    folders = [place for place in places if place.is_dir()]
    if folders and len(folders) < len(places):
        raise UsageError("images and folders are laid side by side apart: give either images or folders")
    output = output or ("sheet.png" if folders else str(places[0].with_name(f"{places[0].stem}.sheet.png")))
    target = OutputTarget.parse(output, None, IMAGE_FORMATS)
    if target.place == "folder":
        raise UsageError(f"-o {output} is a folder: name a file in it, such as sheet.png")
    path = target.path if target.place == "file" else None
    if path is None:
        require_free_stdout(console)
    comparison = Comparison.of_folders(folders) if folders else Comparison.of_files(places)
    listed = ", ".join(map(str, places))
    if path and path.exists():
        comparison.require_other(path)
        if not overwrite:
            raise OutputError(f"{path} exists: choose another place for the sheet, or replace it", argument="overwrite")

    for title in comparison.titles:
        if (shown := Title.of(title, 10).text) != title:
            console.note(f"the title {title} is written as {shown}: no font here has its letters")
    rows, image = comparison.sheet(console.error)
    if image is not None:
        if path:
            write_output(Output(image), path, target.format)
        else:
            write_to_stdout(encode_output(Output(image), target.format))
        console.emit_record(Record(listed, output, details={"rows": rows}), str(path or ""))
    return DONE if len(rows) == len(comparison.names) else FAILED
