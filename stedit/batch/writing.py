"""What was made goes to its file, whole or not at all."""

from __future__ import annotations

from pathlib import Path

from stedit.batch.photographs import EditedPhoto
from stedit.batch.plan import SUFFIXES
from stedit.batch.process import Output
from stedit.batch.request import SOURCE_FORMAT
from stedit.errors import OutputError, describe_cause
from stedit.imaging.animation import Animation
from stedit.imaging.files import encode_image, write_image
from stedit.storage.atomic import write_file
from stedit.storage.latents import LatentCode
from stedit.storage.tunings import tuning_path


def write_output(output: Output, path: Path, file_format: str) -> tuple[str, ...]:
    """Put what was made at `path`, making its folder; `file_format` is how an animation is encoded.

    A code's tuning is put beside it, first, so that no code is there without it. Gives notes on what could not be kept
    of a photograph. Raises OutputError.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make the folder {path.parent} ({describe_cause(error)}): choose another one"
        ) from error
    made = output.made
    if isinstance(made, LatentCode):
        if output.tuning:
            output.tuning.save(tuning_path(path))
        made.save(path)
    elif isinstance(made, Animation):
        write_file(path, made.encode(file_format))
    elif isinstance(made, EditedPhoto):
        encoded = made.encode(path.suffix.lower())
        write_file(path, encoded.data)
        return encoded.notes
    elif made is not None:
        write_image(path, made)
    return ()


def encode_output(output: Output, file_format: str) -> bytes:
    """The bytes of what was made, for a stream. Raises OutputError for a tuned code, which is two files."""
    made = output.made
    if isinstance(made, LatentCode):
        if output.tuning:
            raise OutputError(
                "a tuned code is two files, and standard output takes one: name an output", argument="output"
            )
        return made.encode()
    if isinstance(made, Animation):
        return made.encode(file_format)
    if isinstance(made, EditedPhoto):
        return made.encode(None if file_format == SOURCE_FORMAT else SUFFIXES[file_format][0]).data
    assert made is not None
    return encode_image(made, "png" if file_format == SOURCE_FORMAT else file_format)
