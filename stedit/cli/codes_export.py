"""`stedit codes export`: latent codes as other tools read them."""

from __future__ import annotations

from typing import Annotated, Literal

from stedit.cli.command import flatten_options
from stedit.cli.console import Console
from stedit.cli.options import CodeInputs, Overwrite, Recursive, about_files


@flatten_options
def export(
    inputs: CodeInputs,
    console: Console,
    output: Annotated[
        str | None,
        about_files(
            "--output",
            "-o",
            metavar="FILE|FOLDER",
            show_default="beside each input",
            help="Where to write; a file takes all codes together.",
        ),
    ] = None,
    format_: Annotated[
        Literal["npz", "npy", "pt"] | None,
        about_files("--format", "-f", show_default="as -o says, or npz", help="The format to write."),
    ] = None,
    recursive: Recursive = False,
    overwrite: Overwrite = False,
) -> int:
    """Write latent codes as other tools read them.

    npz is what NVIDIA's projector writes: `w` (1, N, D). npy and pt are one
    array or tensor. Several codes in one file are (B, N, D), in an npz one array
    for each, by name.

    [bold]Examples[/]
    stedit codes export face.latent.safetensors             [dim]# face.npz[/]
    stedit codes export face.latent.safetensors -o face.pt
    stedit codes export codes -o latents.pt                 [dim]# all of a folder[/]
    """
    from stedit.batch.exchange import export_codes
    from stedit.cli.batch import TerminalReporter, exit_code, show_summary

    with TerminalReporter(console, "Exporting") as reporter:
        summary = export_codes(
            inputs, output=output, file_format=format_, recursive=recursive, overwrite=overwrite, reporter=reporter
        )
    show_summary(summary, console, "codes")
    return exit_code(summary)
