"""A cluster shares a run: actors of Ray Data, with a model each."""

from __future__ import annotations

import logging
import pickle
from typing import Any

from stedit.batch.record import Summary
from stedit.batch.reporter import Reporter
from stedit.batch.worker import Answer, Tally, Task, Worker, parts_of
from stedit.errors import UsageError

MOST_BLOCKS = 1000  # that Ray keeps account of


def run_on_ray(task: Task, address: str | None, reporter: Reporter) -> Summary:
    """Do the jobs of a task on a cluster, or on this machine if there is none.

    All machines see the inputs, the outputs and the model under the same paths. The parts of a worker that dies are
    done by another: what was written of them by then is skipped.

    Args:
        task: what to do.
        address: of the cluster, as `ray.init` takes it; None for that which this process is connected to or RAY_ADDRESS
            names, or else for one that is started on this machine.
        reporter: told of every input.

    Raises:
        UsageError: Ray is not installed, or there is no cluster at the address.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UsageError("Ray is not installed: pip install 'stedit[ray]'") from error
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    started = not ray.is_initialized()
    if started:
        try:
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError) as error:
            raise UsageError(f"there is no Ray cluster at {address}: name another", argument="ray_address") from error
    try:
        return _run(task, reporter)
    finally:
        if started:
            ray.shutdown()


def _run(task: Task, reporter: Reporter) -> Summary:
    import ray
    from ray.data import ActorPoolStrategy, DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    resources = ray.cluster_resources()
    gpus = 0 if task.device == "cpu" else int(resources.get("GPU", 0))
    workers = max(1, gpus or int(resources.get("CPU", 1)))
    parts = [{"part": pickle.dumps(part)} for part in parts_of(task.plan.jobs, workers, task.batch_size)]
    answers = ray.data.from_items(parts, override_num_blocks=min(len(parts), MOST_BLOCKS)).map_batches(
        _Actor,
        fn_constructor_args=(pickle.dumps(task.bare),),
        batch_size=1,
        compute=ActorPoolStrategy(size=min(workers, len(parts))),
        num_cpus=None if gpus else 1,
        num_gpus=1 if gpus else None,
    )
    tally = Tally(reporter)
    for row in answers.iter_rows():
        answer: Answer = pickle.loads(row["answer"])  # noqa: S301 - of our own workers
        if not tally.add(answer):
            break
    return tally.summary


class _Actor:
    def __init__(self, task: bytes) -> None:
        self._worker = Worker(pickle.loads(task))  # noqa: S301 - of whoever started the run

    def __call__(self, rows: dict[str, Any]) -> dict[str, list[bytes]]:
        return {"answer": [pickle.dumps(self._worker(pickle.loads(part))) for part in rows["part"]]}  # noqa: S301
