"""What a run tells whoever started it, while it goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from stedit.batch.record import Record

if TYPE_CHECKING:
    from stedit.batch.plan import Plan
    from stedit.engine import Engine


class Reporter(Protocol):
    """The callbacks of a run, in the order in which they come first."""

    def record(self, record: Record) -> None:
        """One input is done, or has failed or is skipped; called once for each."""

    def planned(self, plan: Plan) -> None:
        """What cannot or need not be done has been recorded; the jobs of `plan` follow."""

    def loaded(self, engine: Engine | None) -> None:
        """The model is ready, and time counts from here; not called if there is nothing to compute.

        None where several processes are about to load it.
        """

    def note(self, text: str) -> None:
        """Something worth knowing about the whole run, in one sentence."""

    def progress(self, state: str, done: float = 0.0) -> None:
        """How the batch that is being computed stands: `step 3 of 100`, which amounts to `done` of its inputs."""


class SilentReporter:
    """Ignores everything; a reporter that wants only some of the callbacks can start from it."""

    def record(self, record: Record) -> None:
        """Ignore it."""

    def planned(self, plan: Plan) -> None:
        """Ignore it."""

    def loaded(self, engine: Engine | None) -> None:
        """Ignore it."""

    def note(self, text: str) -> None:
        """Ignore it."""

    def progress(self, state: str, done: float = 0.0) -> None:
        """Ignore it."""
