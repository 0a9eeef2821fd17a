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
    stedit attributes --face all party.jpg
    stedit attributes --json -r photos > attributes.jsonl
    """
    from stedit.batch import Classification, plan_request
    from stedit.cli.batch import TerminalReporter, run_all
    from stedit.hub.find import find_bundle
    from stedit.storage.bundle import Bundle

    names = many.names(inputs) if inputs or many.from_file or many.null else None
    bundle = Bundle.load(find_bundle(model.model))
    if names is None:
        return _list_known(bundle, console)
    plan = plan_request(
        Classification(photo_options(faces)),
        names,
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
    rows = [_names_of(attribute.name) for attribute in bundle.attributes]
    width, opposite = (max((len(row[column][0]) for row in rows), default=0) for column in (0, 1))
    lines = []
    for there, absent in rows:
        others = " / ".join(filter(None, (", ".join(there[1:]), ", ".join(absent[1:]))))
        lines.append(f"{there[0]:{width}}  {absent[0]:{opposite}}  {others}")
    aliases = {name: [*there, *absent] for name, (there, absent) in zip(names, rows, strict=True)}
    console.emit({"model": bundle.name, "attributes": names, "aliases": aliases}, "\n".join(lines))
    if console.terminal and not console.json:
        console.note("--attr takes these names: an attribute, the other way, and what else the two are called")
    return DONE


def _names_of(attribute: str) -> tuple[list[str], list[str]]:
    """What --attr calls the presence of an attribute, and its absence; the name in outputs first, CelebA's last."""
    from stedit.editing.attributes import aliases, friendly_name

    with_it, without = (
        [friendly_name(attribute, sign), *aliases(attribute, sign), *([attribute] if sign > 0 else [])]
        for sign in (1, -1)
    )
    return (without, with_it) if with_it[0].startswith("no-") else (with_it, without)  # CelebA's No_Beard: a beard
