"""Calls of libraries that read strangers' files, whose exceptions no list of classes keeps up with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from stedit.errors import SteditError


@contextmanager
def library_reads(reason: str) -> Iterator[None]:
    """Turn whatever a library raises in the block into ValueError(reason); what the system says stays an OSError.

    Errors of ours pass.
    """
    try:
        yield
    except SteditError:
        raise
    except MemoryError as error:
        raise ValueError("it asks for too much memory") from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise ValueError(reason) from error
    except Exception as error:
        raise ValueError(reason) from error
