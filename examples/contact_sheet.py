"""Lay folders of pictures side by side: a column for each folder, a row for each name that all of them have.

Run with `python examples/contact_sheet.py SHEET.png FOLDER FOLDER…`; serious.jpg and serious.smile.png share a row.
"""

from __future__ import annotations

import sys
from pathlib import Path

from stedit import read_image, write_image
from stedit.imaging.files import IMAGE_SUFFIXES
from stedit.imaging.sheets import sheet


def pictures(folder: Path) -> dict[str, Path]:
    """Pictures right in `folder`, by what stands before the first dot of their names."""
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    return {path.name.partition(".")[0]: path for path in found}


def main() -> None:
    """Read the folders, write the sheet."""
    target, *folders = map(Path, sys.argv[1:])
    columns = [pictures(folder) for folder in folders]
    shared = sorted(set.intersection(*(set(column) for column in columns)))
    rows = [[read_image(column[name]) for column in columns] for name in shared]
    write_image(target, sheet(rows, titles=[folder.name for folder in folders]))


if __name__ == "__main__":
    main()
