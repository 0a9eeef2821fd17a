"""`stedit weights verify`: whether the files of a model are sound."""

from __future__ import annotations

from stedit.cli.command import flatten_options
from stedit.cli.console import Console
from stedit.cli.exit_codes import DONE
from stedit.cli.weights_models import Model, find_local
from stedit.storage.embedded import DEFAULT_MODEL


@flatten_options
def verify(console: Console, model: Model = DEFAULT_MODEL) -> int:
    """Compare every file of a model with its checksum.

    [bold]Examples[/]
    stedit weights verify
    stedit weights verify ./my-model
    stedit weights verify jane/my-face
    """
    from stedit.storage.bundle import Bundle

    bundle = Bundle.load(find_local(model))
    bundle.verify()
    console.emit(
        {"name": bundle.name, "path": str(bundle.path), "sound": True},
        f"{bundle.name}: all {len(bundle.parts)} files match their checksums",
    )
    return DONE
