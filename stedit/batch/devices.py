"""Several devices of this machine share a run: a process for each."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing import get_context

from stedit.batch.record import Summary
from stedit.batch.reporter import Reporter
from stedit.batch.worker import Answer, Part, Tally, Task, Worker, parts_of
from stedit.errors import DeviceError

UNDER_WAY = 2  # parts of each process, so that none waits for the next


def run_on_devices(task: Task, devices: Sequence[str], reporter: Reporter) -> Summary:
    """Do the jobs of a task, each part where there is room for it first.

    The parts of a process that dies are done by the others. Raises DeviceError if none is left.
    """
    tally = Tally(reporter)
    left = deque(parts_of(task.plan.jobs, len(devices), task.batch_size))
    processes = [_Process(_pool(task.bare, device, devices.count(device))) for device in devices]
    alive = processes
    try:
        while left or any(process.parts for process in alive):
            for process in alive:
                process.begin(left)
            futures = [future for process in alive for future in process.parts]
            wait(futures, return_when=FIRST_COMPLETED)
            answers = [answer for process in alive for answer in process.answers()]
            goes_on = [tally.add(answer) for answer in answers]
            if not all(goes_on):
                break
            for process in alive:
                left.extend(process.lost)
            alive = [process for process in alive if not process.lost]
            if not alive:
                raise DeviceError("all processes have died, most likely of too little memory: name fewer devices")
    finally:
        for process in processes:
            process.pool.shutdown(wait=False, cancel_futures=True)
    return tally.summary


@dataclass
class _Process:
    pool: ProcessPoolExecutor
    parts: dict[Future[Answer], Part] = field(default_factory=dict)
    """What is under way."""
    lost: list[Part] = field(default_factory=list)
    """What was under way when it died."""

    def begin(self, left: deque[Part]) -> None:
        """Take of what is left."""
        with suppress(BrokenProcessPool):  # which the parts under way will meet as well
            while left and len(self.parts) < UNDER_WAY:
                future = self.pool.submit(_do, left[0])
                self.parts[future] = left.popleft()

    def answers(self) -> list[Answer]:
        """Of the parts that are done since the last time."""
        answers = []
        for future in [future for future in self.parts if future.done()]:
            part = self.parts.pop(future)
            try:
                answers.append(future.result())
            except BrokenProcessPool:
                self.lost.append(part)
        return answers


_worker: list[Worker] = []  # of this process, once it is needed
_task: list[tuple[Task, int]] = []


def _pool(task: Task, device: str, sharing: int) -> ProcessPoolExecutor:
    given = replace(task, device=device), sharing
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_begin, initargs=given)


def _begin(task: Task, sharing: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # an interrupt ends it at once: outputs are whole or not there
    _task.append((task, sharing))


def _do(part: Part) -> Answer:
    from stedit.runtime.devices import set_thread_count, thread_count

    if not _worker:
        task, sharing = _task[0]
        set_thread_count(max(1, thread_count() // sharing))
        _worker.append(Worker(task))
    return _worker[0](part)
