"""What became of one input of many."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Self


@dataclass
class Record:
    """What became of one input."""

    input: str
    output: str | None = None
    status: Literal["done", "skipped", "planned", "failed"] = "done"
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)  # what only some commands tell: attributes, strength
    text: str = ""  # what a person reads on stdout
    cause: Exception | None = None  # of a failure

    @classmethod
    def failed(cls, name: str, cause: Exception) -> Self:
        """Record that nothing came of the input `name`."""
        return cls(name, status="failed", cause=cause)
