"""Read, compute, write: the three overlap, and no more inputs are in memory than they need.

A file that cannot be used costs itself only: it is recorded with its error, and the others are done.

An output does not depend on which inputs are computed beside it. On a CPU each is computed alone or, where there are
many and it is seen to make no difference, in batches. On a GPU, inputs of one face are computed in batches of one size,
the last of which is filled up.
"""

from __future__ import annotations

import errno
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from pathlib import Path

from stedit.batch.code_batch import to_batch
from stedit.batch.naming import face_path
from stedit.batch.output import Output
from stedit.batch.plan import Job
from stedit.batch.process import Process
from stedit.batch.reading import LoadedInput
from stedit.batch.record import Record, Summary
from stedit.batch.reporter import Reporter
from stedit.errors import InputError, OutputError, SteditError
from stedit.storage.claims import Claims

Write = Callable[[Job, Output], Sequence[str]]
"""Takes an output to where its job says, and gives notes on what could not be kept. Raises OutputError."""

READ_AHEAD = 2  # inputs in memory beside those that are computed
WRITE_BEHIND = 2  # outputs in memory that are not written yet
CHECKED_BATCH = 4  # inputs in a batch on a CPU; larger ones are hardly faster
MANY = 24  # inputs that are worth the check
POLL_SECONDS = 0.5  # between looks at what other processes are working on

Loaded = tuple[Job, LoadedInput]
Finish = tuple[Job, Callable[[], Record]]
"""What is left to be done with a job once it is computed: to write its output and to record that."""


def run(
    jobs: Sequence[Job],
    process: Process,
    reporter: Reporter,
    *,
    write: Write,
    batch_size: int,
    fail_fast: bool = False,
    made_since: Callable[[Job], bool] = lambda _job: False,
) -> Summary:
    """Do `jobs`, on a GPU `batch_size` at a time; `reporter` is given the record of each once it is written.

    `made_since` is whether another process has made the output of a job since the jobs were planned; those that another
    one is working on come last. Ends early, with the rest untried, once the disk is full, since whatever followed would
    be computed in vain; and, if `fail_fast`, once an input fails.
    """
    began = time.perf_counter()
    summary = Summary()
    size = batch_size
    if process.batching != "filled":
        checked = process.batching == "checked" and batch_size >= CHECKED_BATCH and len(jobs) >= MANY
        size = CHECKED_BATCH if checked else 1
    # One thread each: finders of faces are not made for two at a time, and outputs keep their order.
    with (
        Claims() as claims,
        ThreadPoolExecutor(1, "stedit-read") as reading,
        ThreadPoolExecutor(1, "stedit-write") as writing,
    ):
        try:
            shared = _shared(jobs, claims, made_since)
            for job, record in _Pipeline(shared, process, write, size, reading, writing).records():
                if job.output:
                    claims.release(job.output)
                summary.count(record)
                reporter.record(record)
                if _is_out_of_space(record.error) or (fail_fast and record.error):
                    break
        finally:  # an interrupt waits for the files that are being read and written, and for nothing else
            reading.shutdown(wait=False, cancel_futures=True)
            writing.shutdown(wait=True, cancel_futures=True)
    summary.untried = len(jobs) - summary.total
    summary.seconds = time.perf_counter() - began
    return summary


def _shared(
    jobs: Sequence[Job], claims: Claims, made_since: Callable[[Job], bool]
) -> Iterator[tuple[Job, bool] | None]:
    """Each job that no other process is working on, and whether its output is there by now; the others come later.

    None stands for a moment at which all that are left are others'.
    """
    waiting = list(jobs)
    while waiting:
        taken: list[Job] = []
        for job in waiting:
            if job.output is None:
                yield job, False
            elif made_since(job):
                yield job, True
            elif claims.take(job.output):
                yield job, made_since(job)  # which may have happened between the two
            else:
                taken.append(job)
        waiting = taken
        if waiting:
            yield None


@dataclass
class _Pipeline:
    """What is underway: inputs that are being read, and outputs that are being written."""

    jobs: Iterator[tuple[Job, bool] | None]
    process: Process
    write: Write
    size: int
    reading: ThreadPoolExecutor
    writing: ThreadPoolExecutor
    reads: deque[tuple[Job, Future[LoadedInput]]] = field(default_factory=deque)
    writes: deque[tuple[Job, Future[Record]]] = field(default_factory=deque)
    ended: bool = False
    """There are no more jobs to begin with."""
    agrees: bool | None = None
    """Whether a batch rounds as each of its inputs alone; None before there was one."""

    def records(self) -> Iterator[tuple[Job, Record]]:
        """What became of each job, in the order in which they were begun."""
        while self.reads or not self.ended:
            others_at_work = yield from self._begin_to_read()
            for job, finish in self._computed(self._loaded()):
                self.writes.append((job, self.writing.submit(finish)))
                yield from self._written(WRITE_BEHIND)
            if others_at_work and not self.reads:
                yield from self._written(0)
                time.sleep(POLL_SECONDS)
        yield from self._written(0)

    def _begin_to_read(self) -> Generator[tuple[Job, Record], None, bool]:
        """Keep the reader busy; whether nothing is left but what other processes are working on."""
        while len(self.reads) < self.size + READ_AHEAD and not self.ended:
            following = next(self.jobs, ())
            if following is None:
                return True
            if not following:
                self.ended = True
                break
            job, made = following
            if made:
                self.writes.append((job, self.writing.submit(_skipped, job)))
                yield from self._written(WRITE_BEHIND)
            else:
                self.reads.append((job, self._read(job)))
        return False

    def _read(self, job: Job) -> Future[LoadedInput]:
        path = job.source.path
        if path and (path.is_file() or not path.exists()):
            return self.reading.submit(self.process.reader.read, job.source)
        # Standard input and pipes at once: a thread that waits for them could not be ended.
        wait([read for _, read in self.reads])
        read = Future[LoadedInput]()
        try:
            read.set_result(self.process.reader.read(job.source))
        except Exception as error:  # noqa: BLE001 - as a thread does
            read.set_exception(error)
        return read

    def _loaded(self) -> list[Loaded]:
        """The next inputs, as many as are computed together; those that cannot be used are recorded."""
        loaded: list[Loaded] = []
        for _ in range(min(self.size, len(self.reads))):
            job, read = self.reads.popleft()
            try:
                loaded.append((job, read.result()))
            except Exception as error:
                if isinstance(error, SteditError) and not isinstance(error, InputError):
                    raise
                self.writes.append((job, self.writing.submit(Record.failed, job.source.name, error)))
        return loaded

    def _computed(self, loaded: Sequence[Loaded]) -> Iterator[Finish]:
        for group in _alike(loaded):
            if self.process.batching == "filled":
                yield from self._compute(group, self.size if len(group[0][1].faces) < 2 else 1)
            elif 1 < self.size == len(group) and self._rounds_as_alone(group):
                yield from self._compute(group, self.size)
            else:
                for one in group:
                    yield from self._compute([one], 1)

    def _rounds_as_alone(self, group: Sequence[Loaded]) -> bool:
        """Whether a batch is rounded as each of its inputs alone, as the first batch shows bit by bit."""
        if self.agrees is None:
            inputs = [one for _, one in group]
            try:
                together = self._rounded(inputs)
                self.agrees = together == b"".join(self._rounded([one]) for one in inputs)
            except SteditError:
                raise
            except Exception:  # noqa: BLE001 - such as out of memory
                self.agrees = False
        return self.agrees

    def _rounded(self, inputs: Sequence[LoadedInput]) -> bytes:
        """The codes of inputs and their renderings, as they are before anything is rounded to colours."""
        codes = to_batch(inputs, self.process.inverter).codes
        renders = self.process.render(codes)
        return b"".join(code.tobytes() + render.tobytes() for code, render in zip(codes, renders, strict=True))

    def _compute(self, loaded: Sequence[Loaded], size: int) -> Iterator[Finish]:
        """Compute inputs, filled up to `size` with the last of them; in halves, if that fails."""
        if not loaded:
            return
        inputs = [one for _, one in loaded]
        filled = inputs + inputs[-1:] * (size - len(inputs))
        outputs: Sequence[Output] | None
        began = time.perf_counter()
        try:
            outputs = self.process.compute(to_batch(filled, self.process.inverter))
        except Exception as error:  # of one input, such as a tuning that does not fit; or out of memory, most likely
            if isinstance(error, SteditError) and not isinstance(error, InputError):
                raise  # the model has no such part, say: every input would meet it
            if size == 1:
                job = loaded[0][0]
                yield job, partial(Record.failed, job.source.name, _naming(job.source.name, error))
                return
            outputs = None
        if outputs is None:  # the error has let go of the memory
            half = (size + 1) // 2
            for i in range(0, len(loaded), half):
                yield from self._compute(loaded[i : i + half], half)
            return
        seconds = (time.perf_counter() - began) / len(loaded)
        for (job, one), output in zip(loaded, outputs, strict=False):  # what it was filled up with is left over
            yield job, partial(_finish, job, one, replace(output, source=one.digest), self.write, seconds)

    def _written(self, most: int) -> Iterator[tuple[Job, Record]]:
        """What is written by now, waiting until no more than `most` are not."""
        while len(self.writes) > most or (self.writes and self.writes[0][1].done()):
            job, record = self.writes.popleft()
            yield job, record.result()


def _alike(loaded: Sequence[Loaded]) -> Iterator[list[Loaded]]:
    """Inputs that make as many codes in the same way: of one face each, or codes; one of more faces by itself."""
    for faces, group in groupby(loaded, key=lambda pair: len(pair[1].faces)):
        alike = list(group)
        yield from [alike] if faces < 2 else ([one] for one in alike)


def _skipped(job: Job) -> Record:
    return Record(job.source.name, str(job.output), "skipped")


def _finish(job: Job, one: LoadedInput, output: Output, write: Write, seconds: float) -> Record:
    try:
        written = write(job, output)
    except OutputError as error:
        return Record.failed(job.source.name, error)
    path = str(job.output) if job.output else None
    further = tuple(str(face_path(Path(path), number)) for number, _ in enumerate(output.further, 2)) if path else ()
    notes = (*one.notes, *output.notes, *written)
    details, summary = output.details, output.summary
    return Record(job.source.name, path, "done", seconds, notes, details, summary, output.size, further)


def _naming(name: str, error: Exception) -> Exception:
    """An error of an input that was in memory already, where nobody knew its name."""
    return InputError(f"{name}: {error}", argument=error.argument) if isinstance(error, InputError) else error


def _is_out_of_space(error: Exception | None) -> bool:
    cause = error.__cause__ if isinstance(error, OutputError) else None
    return isinstance(cause, OSError) and cause.errno in {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
