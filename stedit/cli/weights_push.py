"""`stedit weights push`: share a model on the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stedit.cli.command import flatten_options
from stedit.cli.console import Console
from stedit.cli.exit_codes import DONE
from stedit.cli.weights_models import require_hub_id


@flatten_options
def push(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", show_default=False, help="A folder that holds a model.")],
    model: Annotated[str, typer.Argument(metavar="OWNER/NAME", show_default=False, help="What to call it on the Hub.")],
    console: Console,
    private: Annotated[bool, typer.Option("--private", help="Let only the owner see it.")] = False,
    message: Annotated[
        str | None, typer.Option("--message", metavar="TEXT", show_default=False, help="What the commit says.")
    ] = None,
) -> int:
    """Share a model on the Hugging Face Hub.

    The repository is made if there is none. The files of the model and its
    README.md are sent, nothing else of the folder, in one commit.

    [bold]Examples[/]
    hf auth login  [dim]# once[/]
    stedit weights push ./my-face jane/my-face --private
    stedit weights push ./my-face jane/my-face --message "Longer training"
    """
    from stedit import hub

    name = require_hub_id(model)
    commit = hub.push(folder, name, private=private, message=message)
    console.emit({"model": str(name), "commit": commit}, f"{name}@{commit}")
    return DONE
