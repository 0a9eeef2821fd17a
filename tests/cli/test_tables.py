"""Tables of numbers in terminals of several widths."""

from __future__ import annotations

import pytest

from stedit.cli import tables
from stedit.metrics.tables import Cell, Table

COLUMNS = ("attribute", "success", "added", "removed", "side effects", "identity similarity", "logit drift", "s/edit")
TABLE = Table(
    "Label edits",
    "",
    COLUMNS,
    [[Cell(name), *[Cell("100.0 % of 40")] * 7] for name in ("smile", "high-cheekbones")],
    [Cell("mean"), *[Cell("98.5 %")] * 7],
)


@pytest.mark.parametrize("width", [40, 80, 120, 160])
def test_format_table_splits_no_word_and_fits(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_WIDTH_OF_LOGS", width)
    text = tables.format_table(TABLE)
    assert max(map(len, text.splitlines())) <= width
    assert text.count("100.0 % of 40") == 2 * 7
    for word in " ".join(COLUMNS[1:]).split():
        assert word in text
    parts = text.count("attribute")
    assert parts == {40: 7, 80: 2, 120: 2, 160: 1}[width]
    assert text.count("high-cheekbones") == parts
    assert text.count("mean") == parts
