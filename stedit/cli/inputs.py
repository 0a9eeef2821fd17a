"""From what a person names as inputs to files that are there; whatever is wrong with a name is said before any work."""

from __future__ import annotations

import difflib
import glob
import os
import re
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

from stedit.errors import UsageError

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")
_IMAGE = re.compile(r"\.(png|jpe?g|webp|avif|tiff?|gif|bmp|safetensors)$", re.IGNORECASE)


def expand_inputs(names: Sequence[str]) -> list[str]:
    """The files and folders that `names` stand for; standard input if there are none and a pipe leads there.

    `~` and patterns in quotes are expanded, as the shell does without quotes. Raises UsageError for what is not there.
    """
    if not names:
        if _is_piped():
            return ["-"]
        raise UsageError("no input is named: name images, folders or latent files, or - for standard input")
    found = [file for name in names for file in _expand(name)]
    missing = [name for name in found if name not in {"", "-"} and not _is_there(name)]
    if missing:
        raise UsageError(_describe_missing(missing, found))
    return found


def expand_path(text: str) -> str:
    """`~` in a name, which a shell leaves alone in quotes and after `=`."""
    return text if os.path.lexists(text) else str(Path(text).expanduser()) if text.startswith("~") else text


def require_file(path: Path, what: str) -> Path:
    """A file that an option names. Raises UsageError if it is not there."""
    _refuse_url(str(path))
    path = Path(expand_path(str(path)))
    if not _is_there(str(path)):
        raise UsageError(f"{what} {path} does not exist: {_advice(str(path))}")
    return path


def _expand(name: str) -> list[str]:
    _refuse_url(name)
    path = expand_path(name)
    if _is_there(path) or not glob.has_magic(path):
        return [path]
    matches = sorted(glob.glob(path, recursive=True))  # noqa: PTH207 - names as the shell gives them
    if not matches and not set(path) & {"*", "?"}:  # brackets alone are in names, too
        return [path]
    if not matches:
        raise UsageError(f"no file matches {name}: check the pattern and the folder")
    return matches


def _is_there(name: str) -> bool:
    """Whether it is a file or folder, or a code of a file, such as `latents.npy:face`."""
    from stedit.batch.naming import split_item

    return os.path.lexists(name) or bool(split_item(Path(name))[1])


def _refuse_url(name: str) -> None:
    if _URL.match(name):
        raise UsageError(f"{name} is an address, and stedit reads files: download it first: curl -LO {name}")


def _is_piped() -> bool:
    """Whether standard input is a pipe or a file, rather than a terminal or nothing."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError, AttributeError):  # closed, or none at all
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)


def _describe_missing(missing: Sequence[str], found: Sequence[str]) -> str:
    from stedit.cli.hints import is_attribute

    first, others = missing[0], [name for name in found if name not in missing]
    if others and len(missing) == 1:
        if is_attribute(first):
            return f"{first} is an attribute and no file: name it with --attr, as in -a {first} {others[0]}"
        if first == found[-1] and _IMAGE.search(first):
            return f"{first} does not exist: outputs go after -o, as in {others[-1]} -o {first}"
    if len(missing) > 1:
        listed = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        return f"{len(missing)} inputs do not exist, so nothing was done: {listed}"
    return f"{first} does not exist: {_advice(first)}"


def _advice(name: str) -> str:
    folder, base = os.path.split(name)
    if folder and not Path(folder).is_dir():
        return f"there is no folder {folder}"
    try:
        beside = [path.name for path in Path(folder).iterdir()]
    except OSError:
        beside = []
    near = difflib.get_close_matches(base, beside, n=1, cutoff=0.7)
    return f"did you mean {Path(folder, near[0])}?" if near else "check the spelling"
