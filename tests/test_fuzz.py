"""A short run of tests/fuzz.py with a fixed seed: every damaged file is read, or refused in one sentence."""

from __future__ import annotations

import pytest
from fuzz import TARGETS, fuzz

COUNTS = {"checkpoints": 2500, "images": 800, "models": 2000}  # of damaged files; of others 1000


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files_are_read_or_refused(name: str) -> None:
    outcome = fuzz(TARGETS[name](), COUNTS.get(name, 1000), seed=1)
    assert list(outcome.findings) == []
    assert outcome.counts["read"] > 0
    assert outcome.counts["refused"] > 0
