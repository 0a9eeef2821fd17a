"""The codes of many inputs in memory, for whoever learns from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stedit.batch.inputs import Inputs, Source
from stedit.batch.plan import Job, Plan
from stedit.batch.record import Summary
from stedit.batch.reporter import Reporter
from stedit.batch.request import LATENT_FORMAT, InversionRequest
from stedit.batch.runner import run_plans
from stedit.storage.latents import LatentCode

if TYPE_CHECKING:
    from stedit.batch.output import Output
    from stedit.engine import Engine

Codes = dict[Source, npt.NDArray[np.float32]]


def read_codes(engine: Engine, sources: Sequence[Source], reporter: Reporter) -> tuple[Codes, Summary]:
    """Invert images and read latent codes: the code (N, D) of each input that can be used, in their order."""
    codes: Codes = {}

    def keep(job: Job, output: Output) -> Sequence[str]:
        assert isinstance(output.made, LatentCode)
        codes[job.source] = output.made.w
        return ()

    jobs = tuple(Job(source, None) for source in sources)
    plan = Plan(InversionRequest(), jobs, inputs=Inputs(tuple(sources)), format=LATENT_FORMAT)
    return codes, run_plans([plan], model=engine, batch_size=1, reporter=reporter, write=keep)
