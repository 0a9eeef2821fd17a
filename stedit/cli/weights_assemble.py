"""`stedit weights assemble`: parts of several models become one model."""

from __future__ import annotations

from typing import Annotated

import typer

from stedit.cli.command import flatten_options
from stedit.cli.completion import complete_model
from stedit.cli.console import Console
from stedit.cli.weights_result import ResultOptions, save_model

Models = Annotated[
    list[str],
    typer.Argument(
        metavar="MODELS",
        show_default=False,
        help="Folders of models, whole or in parts, or embedded models.",
        autocompletion=complete_model,
    ),
]


@flatten_options
def assemble(result: ResultOptions, console: Console, models: Models) -> int:
    """Join the parts of several models, such as a classifier that was trained for a generator, into one model.

    Files are taken as they are, so codes of the first model stay valid.

    [bold]Examples[/]
    stedit weights assemble my-generator my-encoder my-classifier -o my-model
    stedit weights assemble my-model my-editor -o edited --overwrite   [dim]# mine in the place of its editor[/]
    """
    from stedit.checkpoints.conversion import find_target
    from stedit.checkpoints.merge import from_bundle
    from stedit.hub.find import find_bundle
    from stedit.storage.bundle import Bundle

    result.facts()  # what is wrong with them is said before anything is read
    target = find_target(result.output)
    sources = [from_bundle(Bundle.load(find_bundle(model))) for model in models]
    return save_model(sources, target, result, console)
