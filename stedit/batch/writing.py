"""What was made goes to its file, whole or not at all."""

from __future__ import annotations

from pathlib import Path

from stedit.errors import OutputError, cause
from stedit.imaging.animation import Animation
from stedit.imaging.files import Pixels, encode_image, write_image
from stedit.storage.atomic import write_file
from stedit.storage.latents import LatentCode
from stedit.storage.tunings import Tuning, tuning_path


def write(made: Pixels | LatentCode | Animation, path: Path, kind: str, tuning: Tuning | None = None) -> None:
    """Put what was made at `path`, making its folder; `kind` is how an animation is encoded.

    A code's tuning is put beside it, first, so that no code is there without it. Raises OutputError.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {path.parent} ({cause(error)}): choose another one") from error
    if isinstance(made, LatentCode):
        if tuning:
            tuning.save(tuning_path(path))
        made.save(path)
    elif isinstance(made, Animation):
        write_file(path, made.encode(kind))
    else:
        write_image(path, made)


def encode_output(made: Pixels | LatentCode | Animation, kind: str) -> bytes:
    """The bytes of what was made, a picture as a file of that kind."""
    if isinstance(made, LatentCode):
        return made.encode()
    return made.encode(kind) if isinstance(made, Animation) else encode_image(made, kind)
