"""What a person or a program sees: results go to stdout, everything else to stderr; errors become sentences here."""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, TextIO

from stedit.batch.record import Record
from stedit.cli.options import TalkOptions
from stedit.errors import AttributeNameError, OutputError, SteditError, UsageError, cause

if TYPE_CHECKING:
    from rich.console import Console as RichConsole

    from stedit.cli.progress import Progress

DONE, FAILED, USAGE, NOTHING_TO_DO, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit codes: all done, some inputs failed, wrong request, nothing to do, Ctrl-C."""


def exit_code(error: BaseException) -> int:
    """Return the exit code of a command that `error` ended."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    return USAGE if isinstance(error, UsageError | AttributeNameError) else FAILED


def sentence(error: BaseException, about: str = "") -> str:
    """Say what went wrong; an unforeseen error is put down to `about`, an input, and says how to learn more."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted: what is written is whole, so give the same command again to go on"
    if isinstance(error, SteditError):
        return str(error)
    first_line = (str(error).strip() or "no message").splitlines()[0]
    where = f"{about}: " if about else ""
    return f"{where}unexpected {type(error).__name__}: {first_line} (run again with --debug to see where)"


@contextmanager
def standard_output() -> Iterator[TextIO]:
    """Give stdout, and flush it.

    Raises OutputError if it is closed or its disk is full, but BrokenPipeError if its reader has gone.
    """
    if sys.stdout is None:
        raise OutputError("cannot write to standard output (it is closed): send it somewhere else")
    try:
        yield sys.stdout
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write to standard output ({cause(error)}): send it somewhere else") from error


def forget_unwritten() -> None:
    """Drop what stdout could not take, which has been told, so that Python does not tell it again when it ends."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def record_as_json(record: Record) -> str:
    """One line of JSON; `error` and `output` are null where there is none."""
    return json.dumps(
        {
            "input": record.input,
            "output": record.output,
            "status": record.status,
            "error": None if record.error is None else sentence(record.error),
            "seconds": round(record.seconds, 4),
            "notes": record.notes,
            **record.details,
        }
    )


class _Notes(logging.Handler):
    """Passes what the library logs on as notes."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        self._console.note(record.getMessage())


class Console:
    """The one way out of every command."""

    def __init__(self, talk: TalkOptions) -> None:
        self.json = talk.json
        self.verbose = talk.verbose and not talk.quiet
        self._quiet = talk.quiet
        self._debug = talk.debug

    def listen(self) -> None:
        """Tell a person what the library logs, such as a download, or nothing with --quiet."""
        library = logging.getLogger("stedit")
        library.handlers = [_Notes(self)]
        library.setLevel(logging.ERROR if self._quiet else logging.WARNING)

    def report(self, record: Record, text: str = "") -> None:
        """Say what became of one input: its record or `text` on stdout, notes and an error on stderr."""
        for note in record.notes:
            self.note(f"{record.input}: {note}")
        if record.error is not None:
            self.error(record.error, record.input)
        if self.json or text:
            self.result(record_as_json(record) if self.json else text)

    def result(self, text: str) -> None:
        """Print to stdout, at once, since a program may wait at the other end of a pipe."""
        with standard_output() as stdout:
            stdout.write(f"{text}\n")

    def data(self, values: dict[str, Any]) -> None:
        """Print one line of JSON to stdout."""
        self.result(json.dumps(values))

    def note(self, text: str) -> None:
        """Tell a person something worth knowing."""
        if not self._quiet:
            self._stderr.print(text)

    def detail(self, text: str) -> None:
        """Tell a person who asked for more."""
        if self.verbose:
            self._stderr.print(text, style="dim")

    def error(self, error: BaseException, about: str = "") -> None:
        """Tell what went wrong, in one sentence; with --debug, where as well."""
        from rich.text import Text

        if self._debug:
            self._stderr.print("".join(traceback.format_exception(error)).rstrip(), style="dim")
        self._stderr.print(Text.assemble(("error: ", "bold red"), sentence(error, about)))

    @contextmanager
    def progress(self, total: int, verb: str) -> Iterator[Progress | None]:
        """Show a bar while the block runs; gives None where no person is watching."""
        if self._quiet or not self._stderr.is_terminal:
            yield None
            return
        from stedit.cli.progress import Progress

        with Progress(self._stderr, total, verb) as progress:
            yield progress

    @property
    def terminal(self) -> RichConsole | None:
        """Where a bar can be drawn: stderr, if a person is watching it."""
        return None if self._quiet or not self._stderr.is_terminal else self._stderr

    @cached_property
    def _stderr(self) -> RichConsole:
        from rich.console import Console as RichConsole

        # Text is data: file names may hold brackets and colons, and must not be wrapped at 80 columns in a log.
        return RichConsole(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False)
