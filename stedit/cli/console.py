"""The one way out of every command: results go to stdout, everything else to stderr."""

from __future__ import annotations

import codecs
import io
import json
import logging
import math
import os
import sys
import traceback
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, TextIO

from stedit.cli.errors import format_error
from stedit.cli.options import MessageOptions
from stedit.errors import OutputError, describe_cause

if TYPE_CHECKING:
    from rich.console import Console as RichConsole

    from stedit.batch import Record
    from stedit.cli.progress import Bar


class Console:
    """Prints results, notes and errors, as the options of a command say."""

    def __init__(self, options: MessageOptions) -> None:
        self.json = options.json
        self.verbose = options.verbose and not options.quiet
        self._quiet = options.quiet
        self._debug = options.debug

    def attach_logging(self) -> None:
        """Show what the library logs, such as a download, as notes; only errors with --quiet."""
        library = logging.getLogger("stedit")
        library.handlers = [_NoteHandler(self)]
        library.setLevel(logging.ERROR if self._quiet else logging.WARNING)

    def emit(self, values: Mapping[str, Any], text: str, *, styled: bool = False) -> None:
        """Print one result to stdout: a line of JSON with --json, else `text`, if there is any.

        `styled` text holds commands of ours to the terminal.
        """
        if self.json:
            self.result(json.dumps(_finite(values), allow_nan=False))
        elif text:
            self.result(text, styled=styled)

    def emit_record(self, record: Record, text: str = "", *, notes: Sequence[str] | None = None) -> None:
        """Report what became of one input: a result on stdout, as `emit`; `notes`, by default its own, on stderr."""
        for note in record.notes if notes is None else notes:
            self.note(f"{record.input}: {note}")
        if record.error is not None:
            self.error(record.error, record.input)
        self.emit(record_values(record), text)

    def result(self, text: str, *, styled: bool = False) -> None:
        """Print to stdout, at once, since a program may wait at the other end of a pipe."""
        with standard_output() as stdout:
            stdout.write(f"{escape(text) if stdout.isatty() and not styled else text}\n")

    def note(self, text: str) -> None:
        """Print to stderr what a person should know."""
        if not self._quiet:
            self._stderr.print(escape(text))

    def verbose_note(self, text: str) -> None:
        """Print to stderr what a person may want to know who asked for more."""
        if self.verbose:
            self._stderr.print(escape(text), style="dim")

    def error(self, error: BaseException, about: str = "") -> None:
        """Print to stderr what went wrong, in one sentence; with --debug, where as well."""
        from rich.text import Text

        if self._debug:
            self._stderr.print(escape("".join(traceback.format_exception(error)).rstrip()), style="dim")
        self._stderr.print(Text.assemble(("error: ", "bold red"), escape(format_error(error, about), lines=False)))

    @contextmanager
    def bar(self, total: int, verb: str) -> Iterator[Bar]:
        """Show how far a loop over images is while the block runs, if a person is watching."""
        from stedit.cli.progress import NoBar, TerminalBar

        if self.terminal is None:
            yield NoBar()
            return
        with TerminalBar(self.terminal, total, verb) as bar:
            yield bar

    @property
    def terminal(self) -> RichConsole | None:
        """Where a bar can be shown: stderr, if a person is watching it."""
        return None if self._quiet or not self._stderr.is_terminal else self._stderr

    @cached_property
    def _stderr(self) -> RichConsole:
        from rich.console import Console as RichConsole

        # Text is data: file names may hold brackets and colons. It wraps between words on a terminal, never in a log.
        console = RichConsole(stderr=True, highlight=False, markup=False, emoji=False)
        console.soft_wrap = not console.is_terminal
        return console


class _NoteHandler(logging.Handler):
    """Passes what the library logs on as notes."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        self._console.note(record.getMessage())


def escape(text: str, *, lines: bool = True) -> str:
    r"""Text with `\x1b` and the like in place of what would command a terminal, or hide what stands there.

    Names of files, tensors and models come from strangers. Line breaks stay, unless `lines` is False.
    """
    if text.isprintable():
        return text
    return "".join(
        letter.encode("unicode_escape").decode() if _commands(letter) and not (lines and letter == "\n") else letter
        for letter in text
    )


def _commands(letter: str) -> bool:
    """Whether it is a control, a format or no character, or separates lines (Unicode's general categories)."""
    category = unicodedata.category(letter)
    return category[0] == "C" or category in ("Zl", "Zp")


def encode_names() -> None:
    """Let standard output take any file's name: for a program as its bytes, for a person escaped."""

    def encode(error: UnicodeError) -> tuple[str | bytes, int]:
        assert isinstance(error, UnicodeEncodeError)
        if sys.stdout.isatty():
            return codecs.backslashreplace_errors(error)
        return os.fsencode(error.object[error.start : error.end]), error.end

    codecs.register_error("stedit.names", encode)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="stedit.names")


def _finite(value: Any) -> Any:
    """The value with null for numbers that are not finite, which JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def record_values(record: Record) -> dict[str, Any]:
    """The JSON object of a record; `error` and `output` are None where there is none."""
    return {
        "input": record.input,
        "output": record.output,
        **({"outputs": record.outputs} if record.further else {}),
        "status": record.status,
        "error": None if record.error is None else format_error(record.error),
        "seconds": round(record.seconds, 4),
        "notes": record.notes,
        "size": record.size,
        **record.details,
    }


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
        raise OutputError(
            f"cannot write to standard output ({describe_cause(error)}): send it somewhere else"
        ) from error


def discard_unwritten() -> None:
    """Drop what stdout could not take, which has been reported, so that Python does not report it when it ends."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
