"""`stedit invert`: pictures to latent codes; `stedit reconstruct`: the pictures that their codes stand for."""

from __future__ import annotations

from stedit.cli.command import spread
from stedit.cli.console import Console
from stedit.cli.options import (
    FaceFlags,
    FileOptions,
    Inputs,
    ModelOptions,
    PictureFormat,
    RenderOptions,
    SearchOptions,
    Sheet,
    TalkOptions,
)


@spread
def invert(
    inputs: Inputs,
    search: SearchOptions,
    faces: FaceFlags,
    files: FileOptions,
    model: ModelOptions,
    talk: TalkOptions,
) -> int:
    """Find the latent code of each picture.

    face.png gives face.latent.safetensors. Other commands take such a latent
    file in place of a picture, and need not look at the picture again.

    [bold]Examples[/]
    stedit invert face.png
    stedit invert --method hybrid face.png         [dim]# closer, in seconds[/]
    stedit invert --method hybrid --tune face.png  [dim]# closer still[/]
    stedit invert -r photos -o codes               [dim]# a tree of folders[/]
    stedit invert - -o face.latent.safetensors < face.png
    """
    from stedit.cli.batch import run_request
    from stedit.hub.find import find_bundle
    from stedit.storage.bundle import Bundle

    request = search.to_request(faces)
    bundle = Bundle.load(find_bundle(model.model))
    return run_request(request, inputs, bundle, verb="Inverting", files=files, model=model, console=Console(talk))


@spread
def reconstruct(
    inputs: Inputs,
    search: SearchOptions,
    faces: FaceFlags,
    files: FileOptions,
    model: ModelOptions,
    render: RenderOptions,
    talk: TalkOptions,
    format_: PictureFormat = None,
    sheet: Sheet = False,
) -> int:
    """Draw each picture again from its latent code.

    face.png gives face.reconstruct.png. It shows what the model sees in a
    picture, and so what an edit can keep of it.

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

    request = Reconstruction(search.to_request(faces), sheet, render.to_rendering())
    bundle = Bundle.load(find_bundle(model.model))
    return run_request(
        request,
        inputs,
        bundle,
        verb="Reconstructing",
        files=files,
        model=model,
        console=Console(talk),
        file_format=format_,
    )
