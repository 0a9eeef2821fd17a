"""The card of a completed model: that of the model, and a section on what was made, by what, and how good it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from stedit.storage.bundle import Bundle
from stedit.storage.model_card import model_card, read_card

HEADING = "## Classifier and editor"


def completed_card(base: Bundle, facts: Mapping[str, Any], figures: Mapping[str, Mapping[str, Any]]) -> str:
    """The card with the section, in place of one that an earlier completion wrote."""
    card = read_card(base) or model_card(base.name, base.license, [base.domain])
    card = re.sub(rf"^{HEADING}\n.*?(?=^## |\Z)", "", card, flags=re.MULTILINE | re.DOTALL).rstrip()
    return f"{card}\n\n{HEADING}\n\n{_section(facts, figures)}\n"


def _section(facts: Mapping[str, Any], figures: Mapping[str, Mapping[str, Any]]) -> str:
    made = (
        f"Made by `stedit train complete` of {facts['codes']} codes, whose renderings of {facts['resolution']} px were "
        f"labelled by {facts['labelled_by']}. No person has checked the labels: attributes are what it sees."
    )
    measured = (
        "Of codes held out, as the labeller sees them: how many are classified alike; in how many an edit to the "
        "opposite shows, by label and by reference; and the share of unrelated attributes that change."
    )
    table = [
        "| attribute | in samples | classified alike | by label | side effects | by reference | side effects |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    keys = ("positive", "accuracy", "label", "label_side_effects", "reference", "reference_side_effects")
    for name, values in figures.items():
        table.append("| " + " | ".join([name, *(_percent(values.get(key)) for key in keys)]) + " |")
    means = [_mean([values.get(key) for values in figures.values()]) for key in keys[1:]]
    table.append("| " + " | ".join(["mean", "", *map(_percent, means)]) + " |")
    return "\n".join([made, "", measured, "", *table])


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
