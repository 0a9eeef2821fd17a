"""What an output was made of, recorded in the file itself or in `.stedit.jsonl` beside it.

The record is one text of hexadecimal digests, `request=... model=... source=... seal=...`, wherever a format has room
for text: in XMP of pictures, in the metadata of safetensors. The seal is the SHA-256 of the rest of the file, so that
one that somebody has changed since is a stranger's, and is not replaced. A file without room for text has its record
in `.stedit.jsonl` of its folder.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import re
import zlib
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

from stedit.errors import InputError
from stedit.storage.jsonl import read_lines

LEDGER = ".stedit.jsonl"

_UNSEALED = b"0" * 64
_RECORD = re.compile(
    rb"request=([0-9a-f]{32}) model=([0-9a-f]{32}) source=([0-9a-f]{32}) seal=([0-9a-f]{64})"  # as `Origin.text` has it
)
_PNG = b"\x89PNG\r\n\x1a\n"
_MOST_RECORDS = 16  # of one file; another may have been copied along from its source
_BLOCK = 2**20


@dataclass(frozen=True)
class Origin:
    """The digests, of 32 hexadecimal digits each, of what an output was made of."""

    request: str
    """Of what was asked for, with the contents of all files that it names."""
    model: str
    source: str
    """Of the bytes of the input; "0" * 32 where nobody knows them."""

    @property
    def text(self) -> str:
        """The record that `seal` completes once the file is encoded."""
        return f"request={self.request} model={self.model} source={self.source} seal={_UNSEALED.decode()}"


def digest_of(data: bytes) -> str:
    """32 hexadecimal digits of the SHA-256 of some bytes."""
    return hashlib.sha256(data).hexdigest()[:32]


def digest_of_file(path: Path) -> str:
    """The same of a file. Raises OSError."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            total.update(block)
    return total.hexdigest()[:32]


def seal(data: bytes) -> bytes | None:
    """The file with its record completed; None if there is no record in it, or more than one that is not complete."""
    records = [found for found in _RECORD.finditer(data) if found[4] == _UNSEALED]
    if len(records) != 1:
        return None
    start, end = records[0].span(4)
    chunk = _png_chunk_around(data, start)
    sealed = bytearray(data)
    sealed[start:end] = _seal_of(data, start, end, chunk).encode()
    if chunk:
        sealed[chunk[1] : chunk[1] + 4] = zlib.crc32(sealed[chunk[0] : chunk[1]]).to_bytes(4, "big")
    return bytes(sealed)


def read_origin(path: Path) -> Origin | None:
    """What the record in a file says, or that of its folder; None if it has none, or was changed since.

    Raises OSError if the file cannot be read.
    """
    if not path.is_file():
        return None
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return None
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            origin = _origin_within(data)
    return origin or _origin_in_ledger(path)


def note_origin(path: Path, data: bytes, origin: Origin) -> None:
    """Add the record of a file that is about to be written to that of its folder. Raises OSError."""
    record = {"file": path.name, "digest": digest_of(data), **asdict(origin)}
    line = json.dumps(record).encode() + b"\n"
    ledger = path.with_name(LEDGER)
    descriptor = os.open(ledger, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        size = os.fstat(descriptor).st_size
        os.lseek(descriptor, max(0, size - 1), os.SEEK_SET)
        torn = size > 0 and os.read(descriptor, 1) != b"\n"  # the power failed while the last line was written
        os.write(descriptor, b"\n" * torn + line)  # in one call, since other processes may add lines as well
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _origin_within(data: mmap.mmap) -> Origin | None:
    for found in islice(_RECORD.finditer(data), _MOST_RECORDS):
        start, end = found.span(4)
        request, model, source, sealed = (group.decode() for group in found.groups())
        if _seal_of(data, start, end, _png_chunk_around(data, start)) == sealed:
            return Origin(request, model, source)
    return None


def _origin_in_ledger(path: Path) -> Origin | None:
    ledger = path.with_name(LEDGER)
    if not ledger.is_file():
        return None
    status = ledger.stat()
    records = _ledger(ledger, status.st_mtime_ns, status.st_size).get(path.name, {})
    return records.get(digest_of_file(path)) if records else None


@lru_cache(maxsize=16)
def _ledger(path: Path, _changed: int, _size: int) -> dict[str, dict[str, Origin]]:
    """The records of a folder, by the name of a file and the digest of its bytes; damaged lines are passed over."""
    known: dict[str, dict[str, Origin]] = {}
    try:
        for line in read_lines(path):
            try:
                record = json.loads(line)
                file, digest, *values = (record[name] for name in ("file", "digest", "request", "model", "source"))
            except (ValueError, KeyError, TypeError, RecursionError):
                continue
            if all(isinstance(value, str) for value in (file, digest, *values)):
                known.setdefault(file, {})[digest] = Origin(*values)
    except InputError:  # it cannot be read any further
        pass
    return known


def _seal_of(data: bytes | mmap.mmap, start: int, end: int, chunk: tuple[int, int] | None) -> str:
    """The SHA-256 of all but the seal and, in a PNG, the checksum of its chunk."""
    total = hashlib.sha256()
    spans = [(0, start), (end, len(data))]
    if chunk:
        spans = [(0, start), (end, chunk[1]), (chunk[1] + 4, len(data))]
    with memoryview(data) as view:
        for first, last in spans:
            with view[first:last] as part:
                total.update(part)
    return total.hexdigest()


def _png_chunk_around(data: bytes | mmap.mmap, place: int) -> tuple[int, int] | None:
    """Where the name of the chunk of a PNG that holds `place` begins, and its checksum; None in another file."""
    if data[: len(_PNG)] != _PNG:
        return None
    name = len(_PNG) + 4
    while name + 4 < len(data):
        checksum = name + 4 + int.from_bytes(data[name - 4 : name], "big")
        if name < place < checksum:
            return (name, checksum) if checksum + 4 <= len(data) else None
        name = checksum + 8
    return None
