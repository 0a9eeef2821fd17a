"""What was made goes to its file, whole or not at all, with a record of what it was made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from stedit.batch.output import Output
from stedit.batch.photographs import EditedPhoto
from stedit.batch.request import SOURCE_FORMAT
from stedit.checkpoints.codes import CodeFormat, encode_codes
from stedit.errors import OutputError, describe_cause
from stedit.imaging.animation import Animation
from stedit.imaging.files import encode_image
from stedit.imaging.provenance import Provenance
from stedit.storage.atomic import write_file
from stedit.storage.latents import LatentCode
from stedit.storage.origin import Origin, note_origin, seal
from stedit.storage.tunings import tuning_path

_FOREIGN: dict[str, CodeFormat] = {"npz": "npz", "npy": "npy", "pt": "pt", "pth": "pt"}
_TUNING_LOST = "written without its tuning, which files of other tools have no place for"


def write_output(
    output: Output, path: Path, file_format: str, *, origin: Origin | None = None, mark: Provenance | None = None
) -> tuple[str, ...]:
    """Put what was made at `path`, making its folder. Raises OutputError.

    A code's tuning is put beside it, first, so that no code is there without it.

    Args:
        output: what was made.
        path: where it goes.
        file_format: how an animation is encoded.
        origin: what it was made of, recorded in the file; or in its folder, where the file has no room for it, or is to
            have no mark.
        mark: how a rendering or a sheet was made, for its file; None leaves that out.

    Returns:
        Notes on what could not be kept of a photograph.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make the folder {path.parent} ({describe_cause(error)}): choose another one"
        ) from error
    if output.made is None:
        return ()
    notes: tuple[str, ...] = ()
    if output.tuning and path.suffix.lower().removeprefix(".") in _FOREIGN:
        notes = (_TUNING_LOST,)
    elif output.tuning:
        record = origin.text if origin else ""
        _write(tuning_path(path), replace(output.tuning, origin=record).encode(), origin)
    format_ = file_format if isinstance(output.made, Animation) else path.suffix.lower().removeprefix(".")
    data, more = _encode(output, format_, origin, mark)
    _write(path, data, origin)
    return (*notes, *more)


def encode_output(
    output: Output, file_format: str, *, origin: Origin | None = None, mark: Provenance | None = None
) -> bytes:
    """The same bytes, for a stream. Raises OutputError for a tuned code, which is two files."""
    if output.tuning:
        raise OutputError("a tuned code is two files, and standard output takes one: name an output", argument="output")
    if file_format == SOURCE_FORMAT:
        file_format = "" if isinstance(output.made, EditedPhoto) else "png"
    data, _ = _encode(output, file_format, origin, mark)
    return seal(data) or data


def _encode(
    output: Output, file_format: str, origin: Origin | None, mark: Provenance | None
) -> tuple[bytes, tuple[str, ...]]:
    """The file, and notes; a photograph is encoded as what it was for the format ""."""
    made = output.made
    if isinstance(made, LatentCode) and (foreign := _FOREIGN.get(file_format)):
        return encode_codes(made.w[None], foreign), ()
    if isinstance(made, LatentCode):
        return replace(made, origin=origin.text if origin else "").encode(), ()
    if isinstance(made, Animation):
        return made.encode(file_format), ()
    if isinstance(made, EditedPhoto):
        encoded = made.encode(f".{file_format}" if file_format else None, origin)
        return encoded.data, encoded.notes
    assert made is not None
    return encode_image(made, file_format, provenance=mark and replace(mark, origin=origin)), ()


def _write(path: Path, data: bytes, origin: Origin | None) -> None:
    sealed = seal(data) if origin else None
    if origin and sealed is None and (path.is_file() or not path.exists()):
        try:
            note_origin(path, data, origin)  # first, so that no file is there without its record
        except OSError as error:
            raise OutputError(
                f"cannot note in the folder {path.parent} what {path.name} is made of ({describe_cause(error)}): "
                "choose another one"
            ) from error
    write_file(path, sealed or data)
