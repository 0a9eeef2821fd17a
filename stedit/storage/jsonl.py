"""What is known of pictures or codes: text files of a line for each, JSON objects above all, gzipped or not."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stedit.errors import InputError, describe_cause

MAX_BYTES = 2**30  # of a file, unpacked
MAX_LINE_BYTES = 2**20
PACKED = 50  # times its size a gzipped file may unpack to, beyond FEW_BYTES; tables pack to a tenth
FEW_BYTES = 2**26
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # as spreadsheets on Windows write it


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a .jsonl or .jsonl.gz file, one for each line. Raises InputError."""
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"line {number} of {path} is not JSON ({describe_cause(error)}), {shown(line)}: repair or leave it out"
            ) from error
        if not isinstance(record, dict):
            raise InputError(f"line {number} of {path} is no JSON object, {shown(line)}: give one object a line")
        yield record


def shown(line: str) -> str:
    """A line of a stranger's file, as a sentence can show it."""
    return f"{line.strip()!r:.80}"


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a text file in UTF-8 or UTF-16, gzipped or not, up to MAX_BYTES of them. Raises InputError."""
    try:
        room = MAX_BYTES
        if path.suffix.lower() == ".gz":
            room = min(room, FEW_BYTES + PACKED * path.stat().st_size)
        with gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb") as file:
            encoding = "utf-8-sig"  # the first line may begin with a byte order mark
            if file.peek(2)[:2] in _UTF_16:
                data = file.read(room + 1)
                if len(data) > room:
                    raise InputError(f"{path} unpacks to more than such a table holds: split it, or unpack it first")
                yield from io.StringIO(data.decode("utf-16"), newline="")
                return
            while line := file.readline(MAX_LINE_BYTES + 1):
                room -= len(line)
                if len(line) > MAX_LINE_BYTES:
                    raise InputError(
                        f"{path} has a line longer than {MAX_LINE_BYTES // 2**20} MB: give a table of text"
                    )
                if room < 0:
                    raise InputError(f"{path} unpacks to more than such a table holds: split it, or unpack it first")
                yield line.decode(encoding)
                encoding = "utf-8"
    # gzip damage comes as any of three, bad UTF-8 as a ValueError
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(
            f"cannot read {path} ({describe_cause(error)}): give a whole text file, such as .jsonl or .csv, gzipped or "
            "not"
        ) from error
