"""`stedit invert`: images to latent codes."""

from __future__ import annotations

from typing import Annotated, Literal

from stedit.cli.command import flatten_options
from stedit.cli.console import Console
from stedit.cli.options import BatchOptions, FaceFlags, FileOptions, Inputs, InversionFlags, ModelOptions, about_files


@flatten_options
def invert(
    inversion: InversionFlags,
    faces: FaceFlags,
    files: FileOptions,
    many: BatchOptions,
    model: ModelOptions,
    console: Console,
    inputs: Inputs = None,
    format_: Annotated[
        Literal["latent", "npz", "npy", "pt"] | None,
        about_files(
            "--format",
            "-f",
            show_default="as -o says, or latent",
            help="The format to write; the last three are other tools'.",
        ),
    ] = None,
) -> int:
    """Find the latent code of each image.

    face.png gives face.latent.safetensors. Other commands take such a latent
    file in place of an image, and need not invert the image again. With
    --face all, further faces of a photograph give face.face-2.latent.safetensors
    and so on.

    [bold]Examples[/]
    stedit invert face.png
    stedit invert --method hybrid face.png         [dim]# closer, in seconds[/]
    stedit invert --method hybrid --tune face.png  [dim]# closer still[/]
    stedit invert -r photos -o codes               [dim]# a tree of folders[/]
    stedit invert face.png -o face.npz             [dim]# as other tools keep codes[/]
    stedit invert - -o face.latent.safetensors < face.png
    """
    from stedit.cli.batch import run_request
    from stedit.hub.find import find_bundle
    from stedit.storage.bundle import Bundle

    request = inversion.to_request(faces)
    names = many.names(inputs)
    bundle = Bundle.load(find_bundle(model.model))
    return run_request(
        request,
        names,
        bundle,
        verb="Inverting",
        files=files,
        many=many,
        model=model,
        console=console,
        file_format=format_,
    )
