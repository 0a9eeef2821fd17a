"""`stedit attributes`: the probability of each attribute of an image, and which attributes a model knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from stedit.cli.command import flatten_options
from stedit.cli.console import Console
from stedit.cli.exit_codes import DONE
from stedit.cli.options import BatchOptions, FaceFlags, ModelOptions, Recursive, photo_options

if TYPE_CHECKING:
    from stedit.storage.bundle import Bundle


@flatten_options
def attributes(
    model: ModelOptions,
    faces: FaceFlags,
    many: BatchOptions,
    console: Console,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILES", help="Images, folders of images, latent files, or -; none to list what is known."
        ),
    ] = None,
    recursive: Recursive = False,
) -> int:
    """Predict the probability of each attribute of an image.

    The most probable come first. Without a file, list the names that --attr takes.

    [bold]Examples[/]
    stedit attributes           [dim]# the names[/]
    stedit attributes face.png
    stedit attributes --json -r photos > attributes.jsonl
    """
    from stedit.batch import Classification, plan_request
    from stedit.cli.batch import TerminalReporter, run_all
    from stedit.hub.find import find_bundle
    from stedit.storage.bundle import Bundle

    bundle = Bundle.load(find_bundle(model.model))
    if not (inputs or many.from_file or many.null):
        return _list_known(bundle, console)
    plan = plan_request(
        Classification(photo_options(faces)),
        many.names(inputs),
        bundle,
        recursive=recursive,
        include=many.include or (),
        exclude=many.exclude or (),
        shard=many.parsed_shard,
    )
    reporter = TerminalReporter(console, "Classifying", result=lambda record: record.summary)
    return run_all([plan], model, reporter, many)


def _list_known(bundle: Bundle, console: Console) -> int:
    from stedit.editing.attributes import friendly_name

    names = {attribute.name: friendly_name(attribute.name, 1) for attribute in bundle.attributes}
    width = max((len(friendly) for friendly in names.values()), default=0)
    lines = [f"{friendly:{width}}  {name}" for name, friendly in names.items()]
    console.emit({"model": bundle.name, "attributes": names}, "\n".join(lines))
    return DONE
