"""`stedit align`: the squares of faces, cropped from photographs as models take them."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from stedit.cli.command import flatten_options
from stedit.cli.console import Console
from stedit.cli.options import BatchOptions, FaceFlags, FileOptions, Inputs, ModelOptions, photo_options


@flatten_options
def align(
    faces: FaceFlags,
    files: FileOptions,
    many: BatchOptions,
    model: ModelOptions,
    console: Console,
    size: Annotated[
        int | None,
        typer.Option(
            "--size", metavar="PIXELS", min=16, show_default="the photograph's own", help="Side of the crop in pixels."
        ),
    ] = None,
    format_: Annotated[
        Literal["png", "jpg", "webp", "avif", "tif"] | None,
        typer.Option(
            "--format",
            "-f",
            rich_help_panel="Files",
            show_default="as -o says, or as the photograph",
            help="The format to write.",
        ),
    ] = None,
    inputs: Inputs = None,
) -> int:
    """Crop the face of each photograph, rotated and framed as FFHQ does it.

    me.jpg gives me.aligned.jpg; with --face all, further faces give
    me.aligned.face-2.jpg and so on, from the largest to the smallest. Other
    commands find faces by themselves; this one is for training data and for
    other tools.

    [bold]Examples[/]
    stedit align me.jpg
    stedit align --size 256 --face all -r photos -o crops
    stedit align --face 2 party.jpg
    """
    from stedit.batch import AlignedCrop
    from stedit.cli.batch import run_request
    from stedit.hub.find import find_bundle
    from stedit.storage.bundle import Bundle

    request = AlignedCrop(size, photo_options(faces))
    names = many.names(inputs)
    bundle = Bundle.load(find_bundle(model.model))
    return run_request(
        request,
        names,
        bundle,
        verb="Aligning",
        files=files,
        many=many,
        model=model,
        console=console,
        file_format=format_,
    )
