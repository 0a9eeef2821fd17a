"""`stedit mix`: style mixing and interpolation between two faces."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from stedit.cli.command import flatten_options
from stedit.cli.console import Console
from stedit.cli.options import FaceFlags, FileOptions, ModelOptions, RenderOptions, ResultFlags, photo_options
from stedit.errors import UsageError


@flatten_options
def mix(
    source: Annotated[
        str,
        typer.Argument(metavar="FILES", show_default=False, help="An image, a latent file, a folder of them, or -."),
    ],
    other: Annotated[
        Path, typer.Argument(metavar="OTHER", show_default=False, help="The image or latent file to mix in.")
    ],
    faces: FaceFlags,
    result: ResultFlags,
    files: FileOptions,
    model: ModelOptions,
    render: RenderOptions,
    console: Console,
    strength: Annotated[
        str | None,
        typer.Option(
            "--strength",
            "-s",
            metavar="NUMBERS",
            show_default="0.5, or 1 with --layers",
            help="How far to go: 0 is the first, 1 is the other. A list makes a strip or an animation.",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps", metavar="COUNT", min=2, max=300, show_default=False, help="The number of strengths from 0 to 1."
        ),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(
            "--layers", metavar="RANGES", show_default="all", help="Mix these styles only, such as 0-3 for the shape."
        ),
    ] = None,
    format_: Annotated[
        Literal["png", "jpg", "webp", "avif", "tif", "gif", "latent", "npz", "npy", "pt"] | None,
        typer.Option(
            "--format",
            "-f",
            rich_help_panel="Files",
            show_default="as -o says, or as the photograph",
            help="Several images are a strip in png and jpg, an animation in webp and gif.",
        ),
    ] = None,
) -> int:
    """Mix two faces, or turn one into the other.

    a.png and b.png give a.mix-b.png, half-way between them. With --layers, the
    styles of these layers are those of the other: the first hold pose, shape
    and hair, the last colours.

    [bold]Examples[/]
    stedit mix a.png b.png
    stedit mix a.png b.png --layers 0-3             [dim]# the shape of b[/]
    stedit mix a.png b.png --steps 7                [dim]# a strip[/]
    stedit mix a.png b.png --steps 24 -o morph.webp [dim]# an animation[/]
    """
    from stedit.batch import Mix
    from stedit.batch.notation import parse_layers
    from stedit.cli.batch import run_request
    from stedit.cli.inputs import expand_inputs
    from stedit.hub.find import find_bundle
    from stedit.storage.bundle import Bundle

    names = expand_inputs([source])
    (second,) = expand_inputs([str(other)])
    request = Mix(
        Path(second),
        _strengths(strength, steps),
        None if layers is None else parse_layers(layers),
        render.to_rendering(),
        photo_options(faces, result),
    )
    bundle = Bundle.load(find_bundle(model.model))
    return run_request(
        request,
        names,
        bundle,
        verb="Mixing",
        files=files,
        model=model,
        console=console,
        file_format=format_,
    )


def _strengths(text: str | None, steps: int | None) -> tuple[float, ...]:
    """The strength of each image; () for the default. Raises UsageError."""
    from stedit.batch.notation import parse_strengths

    if text is not None and steps is not None:
        raise UsageError("--strength and --steps both say how far to go: leave one of them out")
    if steps is not None:
        return tuple(step / (steps - 1) for step in range(steps))
    return () if text is None else parse_strengths(text)
