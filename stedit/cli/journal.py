"""Files that tell how a run went: `--log`, a JSON record of each input, and `--failures`, a list for `--from-file`."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Self

from stedit.batch import Record
from stedit.cli.console import record_values
from stedit.errors import OutputError, describe_cause


class Journal:
    """Writes each record at once, so that it is there however the run ends; use it as a context manager."""

    def __init__(self, log: Path | None, failures: Path | None) -> None:
        self._paths = log, failures
        self._log: BinaryIO | None = None
        self._failures: BinaryIO | None = None
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        """Open the files: the log goes on, the failures are those of this run. Raises OutputError."""
        self._log, self._failures = (
            self._open(path, mode) for path, mode in zip(self._paths, ("ab", "wb"), strict=True)
        )
        return self

    def __exit__(self, *_error: object) -> None:
        self._closing.close()

    def record(self, record: Record) -> None:
        """Note what became of an input. Raises OutputError."""
        if self._log:
            values = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **record_values(record)}
            self._write(self._log, json.dumps(values).encode())
        if self._failures and record.error:
            self._write(self._failures, os.fsencode(record.input))

    def _open(self, path: Path | None, mode: str) -> BinaryIO | None:
        if path is None:
            return None
        try:
            return self._closing.enter_context(path.open(mode, buffering=0))  # type: ignore[return-value]
        except OSError as error:
            raise OutputError(f"cannot write {path} ({describe_cause(error)}): name another file") from error

    def _write(self, file: BinaryIO, line: bytes) -> None:
        try:
            file.write(line + b"\n")
        except OSError as error:
            raise OutputError(f"cannot write {file.name} ({describe_cause(error)}): name another file") from error
