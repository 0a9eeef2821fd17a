"""Models by name: the arguments of commands, and what lies on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stedit.cli.completion import complete_model
from stedit.errors import HubError, UsageError

if TYPE_CHECKING:
    from stedit.hub import HubModelId

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        envvar="STEDIT_MODEL",
        help="An embedded model, a folder that holds one, or one on the Hub.",
        autocompletion=complete_model,
    ),
]
OnHubOrYunet = Annotated[
    str,
    typer.Argument(
        metavar="OWNER/NAME[@REV]|yunet",
        show_default=False,
        help="A model on the Hugging Face Hub, or the detector YuNet.",
        autocompletion=lambda incomplete: [
            name for name in (*complete_model(incomplete), "yunet") if "/" in name or name.startswith(incomplete)
        ],
    ),
]


def hub_id(model: str) -> HubModelId | None:
    """Read the name of a model on the Hub; an embedded model and whatever lies under this path go before."""
    from stedit.hub import HubModelId
    from stedit.storage.embedded import embedded_bundles

    return None if model in embedded_bundles() or Path(model).exists() else HubModelId.parse(model)


def require_hub_id(model: str) -> HubModelId:
    """The same for a name that can be nothing else. Raises UsageError."""
    from stedit.hub import HubModelId

    if name := HubModelId.parse(model):
        return name
    raise UsageError(
        f"{model!r} is not a name on the Hub: give OWNER/NAME, or OWNER/NAME@REV for a branch, tag or commit"
    )


def find_local(model: str) -> Path:
    """Find a model without fetching anything."""
    from stedit import hub
    from stedit.hub.find import find_bundle

    name = hub_id(model)
    if not name:
        return find_bundle(model)
    if cached := hub.find_cached(name):
        return cached.path
    raise HubError(f"{model} is not on this machine: run `stedit weights pull {model}` first")
