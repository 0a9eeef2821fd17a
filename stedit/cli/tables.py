"""Tables of numbers in text, for a terminal of any width: no word is split, and wide tables go on below."""

from __future__ import annotations

import shutil
import sys
from io import StringIO
from typing import TYPE_CHECKING

from stedit.cli.console import escape

if TYPE_CHECKING:
    from stedit.metrics.tables import Table

_WIDTH_OF_LOGS = 160
_PADDING = 2  # columns of a terminal between two of a table


def format_table(table: Table) -> str:
    """A table in text, coloured for a terminal."""
    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if terminal else _WIDTH_OF_LOGS
    return "\n".join(_format_part(table, part, width, colour=terminal) for part in _parts(table, width))


def _parts(table: Table, width: int) -> list[list[int]]:
    """Which columns stand beside each other: the first, which names the rows, and as many others as have room."""
    widths = [_least_width(table, i) + _PADDING for i in range(len(table.columns))]
    parts, room = [[0]], width - widths[0]
    for i in range(1, len(widths)):
        if widths[i] > room and len(parts[-1]) > 1:
            parts.append([0])
            room = width - widths[0]
        parts[-1].append(i)
        room -= widths[i]
    return parts


def _least_width(table: Table, column: int) -> int:
    """That of the longest word of its title, and of its cells, which stay in one line unless they name rows."""
    cells = [row[column].text for row in (*table.rows, table.means) if row]
    words = table.columns[column].split() + (cells if column else [word for cell in cells for word in cell.split()])
    return max(map(len, words), default=0)


def _format_part(table: Table, columns: list[int], width: int, *, colour: bool) -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable

    title = table.title if columns[1:2] in ([], [1]) else None
    formatted = RichTable(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, show_footer=bool(table.means), pad_edge=False
    )
    for i in columns:
        footer = table.means[i].text if table.means else ""
        formatted.add_column(
            table.columns[i], footer, justify="right" if i else "left", min_width=_least_width(table, i)
        )
    for row in table.rows:
        formatted.add_row(*(escape(row[i].text) for i in columns))
    text = StringIO()
    Console(file=text, force_terminal=colour, width=width, markup=False, highlight=False).print(formatted)
    return text.getvalue().rstrip("\n")
