"""The models that come with stedit: where they lie, and which is taken where none is named.

The command line imports this on every start, so it imports little itself.
"""

from __future__ import annotations

from pathlib import Path

DEFAULT_MODEL = "portraits-256"


def embedded_bundles() -> dict[str, Path]:
    """The models that come with stedit, by name: `weights/` in a source tree, `stedit/_weights/` in a wheel."""
    from importlib.resources import files

    from stedit.storage.bundle_config import CONFIG_NAME

    package = Path(str(files("stedit"))).resolve()
    folders = sorted((*package.glob("_weights/*"), *package.parent.glob("weights/*")))
    return {folder.name: folder for folder in folders if (folder / CONFIG_NAME).is_file()}
