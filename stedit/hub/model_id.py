"""How models on the Hub are called."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

_OWNER = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_MODEL = re.compile(
    rf"({_OWNER}/[A-Za-z0-9_](?:[A-Za-z0-9._-]{{0,94}}[A-Za-z0-9_])?)(?:@([A-Za-z0-9][A-Za-z0-9_./-]{{0,199}}))?"
)


@dataclass(frozen=True)
class HubModelId:
    """The name of a model on the Hub."""

    repository: str
    """"OWNER/NAME"."""
    revision: str | None = None
    """A branch, a tag, or a commit of 7 to 40 hex digits; None is the branch "main"."""

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read OWNER/NAME or OWNER/NAME@REVISION; None if `text` cannot be such a name."""
        match = _MODEL.fullmatch(text)
        if not match or "--" in match[1] or ".." in text or match[1].endswith(".git"):  # the Hub allows none of these
            return None
        return cls(match[1], match[2])

    def __str__(self) -> str:
        return f"{self.repository}@{self.revision}" if self.revision else self.repository

    @property
    def branch(self) -> str:
        """The revision, spelt out."""
        return self.revision or "main"
