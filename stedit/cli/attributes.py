"""`stedit attributes`: what the classifier sees in a picture, and which attributes it knows at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from stedit.cli.command import spread
from stedit.cli.console import DONE, Console
from stedit.cli.options import FaceFlags, ModelOptions, Recursive, TalkOptions, photo_options

if TYPE_CHECKING:
    from stedit.storage.bundle import Bundle


@spread
def attributes(
    model: ModelOptions,
    faces: FaceFlags,
    talk: TalkOptions,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILES", help="Pictures, folders of pictures, latent files, or -; none to list what is known."
        ),
    ] = None,
    recursive: Recursive = False,
) -> int:
    """Say how probable each attribute of a picture is.

    The most probable come first. Without a file, list the names that --attr takes.

    [bold]Examples[/]
    stedit attributes           [dim]# the names[/]
    stedit attributes face.png
    stedit attributes --json -r photos > attributes.jsonl
    """
    from stedit.batch import Classification, plan_request
    from stedit.cli.batch import TerminalReporter, run
    from stedit.hub.find import find_bundle
    from stedit.storage.bundle import Bundle

    bundle = Bundle.load(find_bundle(model.model))
    console = Console(talk)
    if not inputs:
        return _list_known(bundle, console)
    plan = plan_request(Classification(photo_options(faces)), inputs, bundle, recursive=recursive)
    return run(plan, model, TerminalReporter(console, "Classifying", result=lambda record: record.summary))


def _list_known(bundle: Bundle, console: Console) -> int:
    from stedit.editing.attributes import friendly_name

    names = {attribute.name: friendly_name(attribute.name, 1) for attribute in bundle.attributes}
    if console.json:
        console.data({"model": bundle.name, "attributes": names})
    else:
        width = max((len(friendly) for friendly in names.values()), default=0)
        for name, friendly in names.items():
            console.result(f"{friendly:{width}}  {name}")
    return DONE
