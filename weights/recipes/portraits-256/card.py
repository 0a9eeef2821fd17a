"""Put the figures of `evaluation.py` into the card of a model.

    python card.py figures.json weights/portraits-256

CARD.md holds the words; in braces, the path of a figure in the file, or the name of one of its tables. Beside the card,
FIGURES.md gets all tables.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from figure_tables import look_up, tables

from stedit.errors import InputError, SteditError, describe_cause
from stedit.storage.atomic import write_file
from stedit.storage.bundle import CARD_NAME

CARD = Path(__file__).resolve().with_name("CARD.md")
TITLES = {
    "reconstruction": "Reconstruction, compared at 128 px",
    "sources": "Reconstruction by source of the photographs",
    "edits": "Edits of photographs that show, and unrelated attributes that change",
    "ways": "Attributes added and removed, in how many photographs that lacked or had them",
    "groups": "Groups of people",
    "kinds": "Kinds of glasses, beards and hair colours that follow the reference",
    "judges": "Labels that judges predict",
}
FIELD = re.compile(r"\{([\w .,]+)(?::([^}]*))?\}")


def fill(card: str, figures: Mapping[str, Any]) -> str:
    """The card with each `{groups.real.reconstruction.psnr:.1f}` and `{table edits}` replaced; – is not measured."""
    made = tables(figures)

    def replacement(found: re.Match[str]) -> str:
        path, form = found[1], found[2] or ""
        if path.startswith("table "):
            return made[path.removeprefix("table ")]
        if path == "behind":
            return "\n".join(f"- {line}" for line in figures["behind"]) or "- no group"
        value = look_up(figures, path.split("."))
        if value is None:
            return "–"
        return re.sub(r"%$", " %", format(value, form))

    return FIELD.sub(replacement, card)


def write_card(model: Path, figures: Mapping[str, Any]) -> None:
    """Write README.md and FIGURES.md of the model in a folder. Raises OutputError if one cannot be written."""
    write_file(model / CARD_NAME, fill(CARD.read_text(encoding="utf-8"), figures).encode())
    made = tables(figures)
    parts = [f"## {title}\n\n{made[name]}" for name, title in TITLES.items() if made[name]]
    write_file(model / "FIGURES.md", "\n\n".join([f"# Figures of {figures['model']}", *parts, ""]).encode())


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the arguments, write the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", type=Path)
    parser.add_argument("model", type=Path, help="the folder of the model, whose README.md is written")
    given = parser.parse_args(arguments)
    try:
        try:
            figures = json.loads(given.figures.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(
                f"cannot read {given.figures} ({describe_cause(error)}): give what evaluation.py writes"
            ) from error
        write_card(given.model, figures)
    except SteditError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
