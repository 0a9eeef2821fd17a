"""From a name, a folder or an id on the Hub to the folder of a bundle."""

from __future__ import annotations

from pathlib import Path

from stedit.errors import BundleError
from stedit.hub.model_id import HubModelId
from stedit.hub.repository import find_or_pull
from stedit.storage.embedded import embedded_bundles


def find_bundle(name_or_path: str | Path) -> Path:
    """The folder of an embedded model, the folder given, or that of a model on the Hub, fetched if it is not here.

    Raises BundleError, listing the embedded models, and HubError if a model cannot be fetched.
    """
    embedded = embedded_bundles()
    if str(name_or_path) in embedded:
        return embedded[str(name_or_path)]
    if (path := Path(name_or_path)).is_dir():
        return path
    if isinstance(name_or_path, str) and not path.exists() and (model := HubModelId.parse(name_or_path)):
        return find_or_pull(model)
    names = ", ".join(embedded) or "none"
    raise BundleError(
        f"there is no model {str(name_or_path)!r}: give a model folder, a model on the Hub as OWNER/NAME, or an "
        f"embedded model ({names})"
    )
