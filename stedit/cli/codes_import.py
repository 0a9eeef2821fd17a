"""`stedit codes import`: other tools' latent codes become latent files of a model."""

from __future__ import annotations

from typing import Annotated

from stedit.cli.command import flatten_options
from stedit.cli.console import Console
from stedit.cli.options import CodeInputs, Model, Overwrite, Recursive, about_files
from stedit.storage.embedded import DEFAULT_MODEL

_SAME_SPACE = "Take codes of another model, latent files too: you know that both models share their latent space."


@flatten_options
def import_(
    inputs: CodeInputs,
    console: Console,
    model: Model = DEFAULT_MODEL,
    output: Annotated[
        str | None,
        about_files("--output", "-o", metavar="FILE|FOLDER", show_default="beside each input", help="Where to write."),
    ] = None,
    recursive: Recursive = False,
    overwrite: Overwrite = False,
    same_space: Annotated[bool, about_files("--same-space", help=_SAME_SPACE)] = False,
) -> int:
    """Make latent files of the codes that other tools have saved.

    projected_w.npz gives projected_w.latent.safetensors; of a file with several
    codes, each gives one. The model is the one that the codes belong to: no file
    says it, so only the sizes can be checked. Nothing in a file is executed.

    Other commands take such files as they are.

    [bold]Examples[/]
    stedit codes import projected_w.npz --model my-face
    stedit codes import latents.pt --model my-face -o codes
    stedit codes import latents.npy:jane --model my-face  [dim]# one of several[/]
    stedit codes import jane.latent.safetensors --model toonified --same-space -o toons
    """
    from stedit.batch.exchange import import_codes
    from stedit.cli.batch import TerminalReporter, exit_code, show_summary

    with TerminalReporter(console, "Importing") as reporter:
        summary = import_codes(
            inputs,
            model,
            output=output,
            recursive=recursive,
            overwrite=overwrite,
            same_space=same_space,
            reporter=reporter,
        )
    show_summary(summary, console, "codes")
    return exit_code(summary)
