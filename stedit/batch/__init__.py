"""Many images: what is to be made of them, which files that takes and gives, and the run that does it.

    from stedit import batch

    summary = batch.run(batch.LabelEdit("smile"), ["photos"], output="smiling", recursive=True)
    print(summary.done, summary.failed)

Names are imported when they are first used, so that `import stedit.batch` costs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stedit.batch.plan import Job, Plan, plan_request
    from stedit.batch.record import Record, Summary
    from stedit.batch.reporter import Reporter, SilentReporter
    from stedit.batch.request import (
        AlignedCrop,
        Classification,
        InversionRequest,
        LabelEdit,
        Mix,
        PhotoOptions,
        Reconstruction,
        ReferenceEdit,
        Rendering,
        Request,
    )
    from stedit.batch.runner import run, run_plans

__all__ = [
    "AlignedCrop",
    "Classification",
    "InversionRequest",
    "Job",
    "LabelEdit",
    "Mix",
    "PhotoOptions",
    "Plan",
    "Reconstruction",
    "Record",
    "ReferenceEdit",
    "Rendering",
    "Reporter",
    "Request",
    "SilentReporter",
    "Summary",
    "plan_request",
    "run",
    "run_plans",
]

_MODULES = {
    **dict.fromkeys(("Job", "Plan", "plan_request"), "plan"),
    **dict.fromkeys(("Record", "Summary"), "record"),
    **dict.fromkeys(("Reporter", "SilentReporter"), "reporter"),
    **dict.fromkeys(("run", "run_plans"), "runner"),
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    value = getattr(import_module(f"stedit.batch.{_MODULES.get(name, 'request')}"), name)
    globals()[name] = value
    return value
