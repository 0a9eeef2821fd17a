"""`stedit reconstruct`: the images that latent codes stand for."""

from __future__ import annotations

from stedit.cli.command import flatten_options
from stedit.cli.console import Console
from stedit.cli.options import (
    BatchOptions,
    FaceFlags,
    FileOptions,
    ImageFormat,
    Inputs,
    InversionFlags,
    ModelOptions,
    RenderOptions,
    Sheet,
)


@flatten_options
def reconstruct(
    inversion: InversionFlags,
    faces: FaceFlags,
    files: FileOptions,
    many: BatchOptions,
    model: ModelOptions,
    render: RenderOptions,
    console: Console,
    format_: ImageFormat = None,
    sheet: Sheet = False,
    inputs: Inputs = None,
) -> int:
    """Render each image again from its latent code.

    face.png gives face.reconstruct.png. It shows what the model represents of
    an image, and so what an edit can preserve of it. With --face all, further
    faces of a photograph give face.reconstruct.face-2.png and so on.

    [bold]Examples[/]
    stedit reconstruct face.latent.safetensors
    stedit reconstruct --sheet face.png  [dim]# with the source beside it[/]
    stedit reconstruct --method hybrid face.png
    stedit reconstruct - < face.png > again.png
    """
    from stedit.batch import Reconstruction
    from stedit.cli.batch import run_request
    from stedit.hub.find import find_bundle
    from stedit.storage.bundle import Bundle

    request = Reconstruction(inversion.to_request(faces), sheet, render.to_rendering())
    names = many.names(inputs)
    bundle = Bundle.load(find_bundle(model.model))
    return run_request(
        request,
        names,
        bundle,
        verb="Reconstructing",
        files=files,
        many=many,
        model=model,
        console=console,
        file_format=format_,
    )
