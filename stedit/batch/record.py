"""What became of one input of many, and of all of them."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal, Self

Status = Literal["done", "skipped", "planned", "failed"]


@dataclass
class Record:
    """What became of one input."""

    input: str
    output: str | None = None
    status: Status = "done"
    seconds: float = 0.0
    """To compute it: its share of the time that its batch took."""
    notes: tuple[str, ...] = ()
    """What to know about the reading, such as frames that are not used."""
    details: dict[str, Any] = field(default_factory=dict)
    """What only some requests report: probabilities, strengths, losses. Fit for JSON."""
    summary: str = ""
    """The details in a line for a person."""
    size: tuple[int, int] | None = None
    """(width, height) in pixels of the image that was written; None where that is no image."""
    further: tuple[str, ...] = ()
    """Where else something was written: the crops or codes of further faces."""
    error: Exception | None = None
    """Of a failure."""

    @property
    def outputs(self) -> list[str]:
        """All that was written."""
        return [*([self.output] if self.output else []), *self.further]

    @classmethod
    def failed(cls, name: str, error: Exception) -> Self:
        """Record that nothing came of the input `name`."""
        return cls(name, status="failed", error=error)


@dataclass
class Summary:
    """How many inputs came to which end."""

    done: int = 0
    failed: int = 0
    skipped: int = 0
    untried: int = 0
    """Left alone because nothing more could be written."""
    seconds: float = 0.0
    """From the moment that the model was ready."""

    @property
    def total(self) -> int:
        """All inputs."""
        return self.done + self.failed + self.skipped + self.untried

    def __add__(self, other: Summary) -> Summary:
        """Both together."""
        return Summary(**{item.name: getattr(self, item.name) + getattr(other, item.name) for item in fields(self)})

    def count(self, record: Record) -> None:
        """Count one more input by the status of its record."""
        setattr(self, record.status, getattr(self, record.status) + 1)
