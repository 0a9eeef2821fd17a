"""`stedit weights remove`: delete a model from the Hub's cache on this machine."""

from __future__ import annotations

from pathlib import Path

from stedit.cli.command import flatten_options
from stedit.cli.console import Console
from stedit.cli.exit_codes import DONE
from stedit.cli.weights_models import OnHubOrYunet, require_hub_id
from stedit.errors import UsageError


@flatten_options
def remove(console: Console, model: OnHubOrYunet) -> int:
    """Delete a model from the Hub's cache on this machine.

    Without @REV, all of its revisions go. On the Hub, nothing changes.

    [bold]Examples[/]
    stedit weights remove jane/my-face
    stedit weights remove jane/my-face@v1.0
    """
    from stedit import hub
    from stedit.hub import yunet
    from stedit.storage.embedded import embedded_bundles

    if model in embedded_bundles():
        raise UsageError(f"{model} comes with stedit and cannot be removed alone")
    if Path(model).is_dir():
        raise UsageError(f"{model} is a folder of yours: delete it as any other")
    freed = yunet.remove_yunet() if yunet.is_yunet(model) else hub.remove(require_hub_id(model))
    console.emit({"model": model, "freed": freed}, f"{model}: removed, {freed / 1e6:.1f} MB freed")
    return DONE
