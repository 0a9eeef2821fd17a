"""Read a batch, run it through a model, write each result, go on.

A bad file costs itself only: it is recorded with its error, and the rest of its batch is done.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator, Sequence

from stedit.batch.plan import Job
from stedit.batch.process import Output, Process, to_batch
from stedit.batch.reading import LoadedInput
from stedit.batch.record import Record, Summary
from stedit.batch.reporter import Reporter
from stedit.errors import InputError, OutputError, SteditError

Write = Callable[[Job, Output], Sequence[str]]
"""Takes an output to where its job says, and gives notes on what could not be kept. Raises OutputError."""


def run(jobs: Sequence[Job], process: Process, reporter: Reporter, *, write: Write, batch_size: int) -> Summary:
    """Do `jobs` batch by batch; `reporter` is given the record of each as soon as it is done or has failed.

    Ends early, with the rest untried, once the disk is full: whatever followed would be computed in vain.
    """
    began = time.perf_counter()
    summary = Summary()
    for record in _records(jobs, process, write, batch_size):
        summary.count(record)
        reporter.record(record)
        if _is_out_of_space(record.error):
            break
    summary.untried = len(jobs) - summary.total
    summary.seconds = time.perf_counter() - began
    return summary


def _records(jobs: Sequence[Job], process: Process, write: Write, batch_size: int) -> Iterator[Record]:
    for i in range(0, len(jobs), batch_size):
        loaded: list[tuple[Job, LoadedInput]] = []
        for job in jobs[i : i + batch_size]:
            try:
                loaded.append((job, process.reader.read(job.source)))
            except InputError as error:
                yield Record.failed(job.source.name, error)
        if loaded:
            yield from _compute(loaded, process, write)


def _compute(loaded: Sequence[tuple[Job, LoadedInput]], process: Process, write: Write) -> Iterator[Record]:
    outputs: Sequence[Output] | None
    began = time.perf_counter()
    try:
        outputs = process.compute(to_batch([one for _, one in loaded], process.inverter))
    except SteditError:
        raise  # the model has no such part, say: every input would meet it
    except Exception as error:  # noqa: BLE001 - out of memory, most likely
        if len(loaded) == 1:
            yield Record.failed(loaded[0][0].source.name, error)
            return
        outputs = None
    if outputs is None:  # one at a time then, once the error has let go of the memory
        for pair in loaded:
            yield from _compute([pair], process, write)
        return
    seconds = (time.perf_counter() - began) / len(loaded)
    for (job, one), output in zip(loaded, outputs, strict=True):
        try:
            written = write(job, output)
        except OutputError as error:
            yield Record.failed(job.source.name, error)
        else:
            path = str(job.output) if job.output else None
            yield Record(
                job.source.name,
                path,
                seconds=seconds,
                notes=(*one.notes, *output.notes, *written),
                details=output.details,
                summary=output.summary,
            )


def _is_out_of_space(error: Exception | None) -> bool:
    cause = error.__cause__ if isinstance(error, OutputError) else None
    return isinstance(cause, OSError) and cause.errno in {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
