"""`stedit sheet`: folders of images side by side in one image, to compare results by eye."""

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
    folders: Annotated[
        list[Path], typer.Argument(metavar="FOLDERS", show_default=False, help="Folders of images, one per column.")
    ],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE|-", help="The sheet to write.", rich_help_panel="Files")
    ],
    console: Console,
    overwrite: Overwrite = False,
) -> int:
    """Lay folders of images side by side.

    Each folder is a column. Images share a row if their names agree up to
    the first dot, as face.jpg and face.smile.png do; the others are left out.

    [bold]Examples[/]
    stedit sheet photos smiling -o sheet.png
    stedit sheet photos smiling with-bangs -o sheet.jpg --overwrite
    """
    from stedit.batch.comparison import Comparison
    from stedit.batch.plan import OutputTarget
    from stedit.batch.process import Output
    from stedit.batch.request import IMAGE_FORMATS
    from stedit.batch.writing import encode_output, write_output
    from stedit.cli.batch import require_free_stdout, write_to_stdout

    target = OutputTarget.parse(output, None, IMAGE_FORMATS)
    if target.place == "folder":
        raise UsageError(f"-o {output} is a folder: name a file in it, such as sheet.png")
    path = target.path if target.place == "file" else None
    if path is None:
        require_free_stdout(console)
    comparison = Comparison.of_folders(folders)
    listed = ", ".join(map(str, folders))
    if path and path.exists():
        comparison.require_other(path)
        if not overwrite:
            raise OutputError(f"{path} exists: choose another place for the sheet, or replace it", argument="overwrite")

    rows, image = comparison.sheet(console.error)
    if image is not None:
        if path:
            write_output(Output(image), path, target.format)
        else:
            write_to_stdout(encode_output(Output(image), target.format))
        console.emit_record(Record(listed, output, details={"rows": rows}), str(path or ""))
    return DONE if len(rows) == len(comparison.names) else FAILED
