"""Read, compute, write: the three overlap, and no more inputs are in memory than they need.

A file that cannot be used costs itself only: it is recorded with its error, and the others are done.

An output does not depend on which inputs are computed beside it. On a CPU each is computed alone, by all threads; or,
where there are many and it is seen to make no difference, in batches side by side, by one thread each. On a GPU, inputs
of one face are computed in batches of one size, the last of which is filled up.
"""

from __future__ import annotations

import errno
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from pathlib import Path

from stedit.batch.code_batch import CodeBatch, to_batch
from stedit.batch.naming import face_path
from stedit.batch.output import Output
from stedit.batch.plan import Job
from stedit.batch.process import Process
from stedit.batch.reading import LoadedInput
from stedit.batch.record import Record, Summary
from stedit.batch.reporter import Reporter
from stedit.errors import InputError, OutputError, SteditError
from stedit.runtime.devices import restored_thread_count, set_thread_count
from stedit.runtime.memory import free_bytes
from stedit.storage.claims import Claims

Write = Callable[[Job, Output], Sequence[str]]
"""Takes an output to where its job says, and gives notes on what could not be kept. Raises OutputError."""

READ_AHEAD = 2  # inputs in memory beside those that are computed
WRITE_BEHIND = 2  # outputs in memory that are not written yet
CHECKED_BATCH = 8  # inputs in a batch on a CPU, at most: larger ones are hardly faster
MANY = 24  # inputs that are worth the check
MOST_SIDE_BY_SIDE = 8  # batches: Python keeps hardly more threads busy
MOST_BYTES = 2**30  # of photographs in memory, from which no more batches are begun
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
    size = min(batch_size, process.most)
    if process.batching != "filled":
        checked = process.batching == "checked" and (len(jobs) >= MANY or True in process.verdict)
        size = min(size, CHECKED_BATCH) if checked else 1
    # One thread each: finders of faces are not made for two at a time, and outputs keep their order.
    with (
        Claims() as claims,
        ThreadPoolExecutor(1, "stedit-read") as reading,
        ThreadPoolExecutor(1, "stedit-write") as writing,
        restored_thread_count() as threads,
    ):
        fitting = int(free_bytes() / 2 / (size * process.image_bytes))
        at_once = max(1, min(threads, MOST_SIDE_BY_SIDE, fitting))
        computing = ThreadPoolExecutor(at_once, "stedit-compute", set_thread_count, (threads // at_once,))
        shared = _shared(jobs, claims, made_since)
        pipeline = _Pipeline(shared, process, write, size, reading, computing, writing, threads, at_once)
        if process.verdict:
            pipeline.agree(process.verdict[0])
        try:
            for job, record in pipeline.records():
                if job.output:
                    claims.release(job.output)
                summary.count(record)
                reporter.record(record)
                if _is_out_of_space(record.error) or (fail_fast and record.error):
                    break
        finally:  # an interrupt waits for the files that are being read and written, and for nothing else
            reading.shutdown(wait=False, cancel_futures=True)
            computing.shutdown(wait=False, cancel_futures=True)
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
    """What is underway: inputs that are being read, batches that are computed, and outputs that are being written."""

    jobs: Iterator[tuple[Job, bool] | None]
    process: Process
    write: Write
    size: int
    reading: ThreadPoolExecutor
    computing: ThreadPoolExecutor
    writing: ThreadPoolExecutor
    all_threads: int
    at_once: int
    """Batches that are computed side by side, once it is seen that this makes no difference."""
    reads: deque[tuple[Job, Future[LoadedInput]]] = field(default_factory=deque)
    batches: deque[tuple[int, Future[list[Finish]]]] = field(default_factory=deque)
    """With the bytes of their photographs."""
    writes: deque[tuple[Job, Future[Record]]] = field(default_factory=deque)
    ended: bool = False
    """There are no more jobs to begin with."""
    agrees: bool | None = None
    """Whether a batch by few threads rounds as each of its inputs alone by all; None before there was one."""
    checked: CodeBatch | None = None
    """The batch that showed it, which is still to be computed."""

    def records(self) -> Iterator[tuple[Job, Record]]:
        """What became of each job, in the order in which they were begun."""
        while self.reads or self.batches or not self.ended:
            others_at_work = yield from self._begin_to_read()
            for job, finish in self._finished(*self._loaded()):
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

    def _loaded(self) -> tuple[list[Loaded], list[Finish]]:
        """The next inputs, as many as are computed together; and those that cannot be used."""
        loaded: list[Loaded] = []
        failed: list[Finish] = []
        while self.reads and len(loaded) < self.size:
            job, read = self.reads.popleft()
            try:
                loaded.append((job, read.result()))
            except Exception as error:
                if isinstance(error, SteditError) and not isinstance(error, InputError):
                    raise
                failed.append((job, partial(Record.failed, job.source.name, error)))
        return loaded, failed

    def _finished(self, loaded: Sequence[Loaded], failed: Sequence[Finish]) -> Iterator[Finish]:
        """What is computed by now, in order: side by side, once it is seen that this makes no difference."""
        if not self.agrees:
            yield from failed
            yield from self._computed(loaded)
            return
        photos = sum(one.photo.pixels.nbytes for _, one in loaded if one.photo)
        self.batches.append((photos, self.computing.submit(_listed, failed, self._computed(loaded))))
        while self.batches and (not loaded or len(self.batches) > self.at_once or self._held > MOST_BYTES):
            yield from self.batches.popleft()[1].result()

    @property
    def threads(self) -> int:
        """Of each batch."""
        return self.all_threads // self.at_once

    @property
    def _held(self) -> int:
        return sum(photos for photos, _ in self.batches)

    def _computed(self, loaded: Sequence[Loaded]) -> Iterator[Finish]:
        for group in _alike(loaded):
            if self.process.batching == "filled":
                yield from self._compute(group, self.size if len(group[0][1].faces) < 2 else 1)
            elif 1 < self.size == len(group) and self._rounds_as_alone(group):
                batch, self.checked = self.checked, None
                yield from self._compute(group, self.size, batch)
            else:
                for one in group:
                    yield from self._compute([one], 1)

    def _rounds_as_alone(self, group: Sequence[Loaded]) -> bool:
        """Whether a batch is rounded as each of its inputs alone, as the first batch shows bit by bit."""
        if self.agrees is None:
            inputs = [one for _, one in group]
            try:
                batch, together = self.computing.submit(self._rounded, inputs).result()
                set_thread_count(self.all_threads)
                ends = [self._rounded([one])[1][0] for one in (inputs[0], inputs[-1])]
                self.agrees = ends == [together[0], together[-1]]
                self.checked = batch if self.agrees else None
            except Exception as error:  # such as out of memory
                if isinstance(error, SteditError) and not isinstance(error, InputError):
                    raise
                self.agrees = False
            self.process.verdict[:] = [self.agrees]
            self.agree(self.agrees)
        return self.agrees

    def agree(self, agrees: bool) -> None:
        """Go on in batches side by side, or one by one."""
        self.agrees = agrees
        set_thread_count(self.threads if agrees else self.all_threads)

    def _rounded(self, inputs: Sequence[LoadedInput]) -> tuple[CodeBatch, list[bytes]]:
        """The codes of inputs; and these with their renderings, before anything is rounded to colours."""
        batch = to_batch(inputs, self.process.inverter)
        renders = self.process.render(batch)
        return batch, [code.tobytes() + render.tobytes() for code, render in zip(batch.codes, renders, strict=True)]

    def _compute(self, loaded: Sequence[Loaded], size: int, batch: CodeBatch | None = None) -> Iterator[Finish]:
        """Compute inputs, filled up to `size` with the last of them, or as `batch`; in halves, if that fails."""
        if not loaded:
            return
        inputs = [one for _, one in loaded]
        filled = inputs + inputs[-1:] * (size - len(inputs))
        outputs: Sequence[Output] | None
        began = time.perf_counter()
        try:
            outputs = self.process.compute(batch or to_batch(filled, self.process.inverter))
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


def _listed(failed: Sequence[Finish], computed: Iterable[Finish]) -> list[Finish]:
    return [*failed, *computed]


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
