"""From exceptions to what a person reads: one sentence with the flag or command to give next, and an exit code."""

from __future__ import annotations

from stedit.cli.exit_codes import FAILED, INTERRUPTED, USAGE
from stedit.errors import AttributeNameError, SteditError, UsageError

# the first that an error is an instance of decides; whatever is not here is FAILED
_EXIT_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (KeyboardInterrupt, INTERRUPTED),
    (UsageError, USAGE),
    (AttributeNameError, USAGE),
)

# a parameter of the library -> the option to set it by
_FLAGS = {
    "attention": "--attention",
    "attributes": "--attr",
    "batch_size": "--batch-size",
    "device": "--device",
    "direction": "--direction",
    "encoder_type": "--encoder-type",
    "face": "--face",
    "landmarks": "--landmarks",
    "input_size": "--input-size",
    "label": "--class",
    "layers": "--layers",
    "losses": "--loss",
    "method": "--method",
    "model": "--model",
    "name": "--name",
    "output": "-o",
    "overwrite": "--overwrite",
    "precision": "--precision",
    "ray_address": "--ray-address",
    "references": "--ref",
    "resume": "--resume",
    "run": "--run",
    "steps": "--steps",
    "strengths": "--strength",
    "tuning": "--tune",
    "weights": "--ref-weights",
}

# what to do, in a word of the library -> the command that does it
_COMMANDS = {
    "assemble": "weights assemble",
    "import codes": "codes import",
    "invert": "invert",
    "list": "weights list",
    "pull": "weights pull",
    "train a classifier": "train classifier",
}


def exit_code(error: BaseException) -> int:
    """The exit code of a command that `error` ended."""
    return next((code for kind, code in _EXIT_CODES if isinstance(error, kind)), FAILED)


def format_error(error: BaseException, about: str = "") -> str:
    """What went wrong, in one sentence; an unforeseen error is put down to `about`, an input, and asks for --debug."""
    if isinstance(error, KeyboardInterrupt):
        return "stopped: what is written is whole, and the same command can be given again"
    if isinstance(error, AttributeNameError):
        return f"{error} (see `stedit attributes`)" if str(error).endswith("?") else f"{error}: see `stedit attributes`"
    if isinstance(error, SteditError):
        how = _FLAGS.get(error.argument, "")
        if error.action:
            how = f"`stedit {' '.join([_COMMANDS[error.action], error.on]).strip()}`"
        return f"{error} with {how}" if how else str(error)
    first_line = (str(error).strip() or "no message").splitlines()[0]
    where = f"{about}: " if about else ""
    return f"{where}unexpected {type(error).__name__}: {first_line} (run again with --debug to see where)"
