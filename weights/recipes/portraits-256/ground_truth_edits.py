"""The table of ground-truth edits that the editor learns from, by names of pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from render_edits import ATTRIBUTES_OF, GROUPS, is_about_hair
from renderer.parameters import Parameters

ALWAYS_DETAILED = {"Hair_Color", "Bald", "Wavy_Hair"}  # edits that take a kind from every reference
ON_THE_HEAD = ALWAYS_DETAILED | {"Bangs", "Wearing_Hat"}  # groups that hide or change each other
SAME_EVERY = 2  # one in so many sources is left as it is beside
MORE_REFERENCES = 7  # at most, beside the first


def ground_truth_edits(
    portraits: Sequence[Mapping[str, Any]], edits: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Rows of the table of ground-truth edits: source, reference or several, edited, attribute, whether it is present.

    Whose beard is taken off looks the same whoever has none: so such an edit gets more references, which draws
    attention from the reference's other traits. For the same reason one that gives a beard is undone as well. And so
    that nobody gets a beard from a reference without one, some edits ask for what is there already, which changes
    nothing. A beard's type can as well be taken from ground-truth edits of the reference in other traits.
    """
    random = np.random.default_rng(0)
    people = [Parameters(np.array(row["params"])) for row in portraits]
    alike: dict[tuple[str, int], list[int]] = {}  # numbers of portraits by group and case of its first parameter
    for group, (_, taken) in GROUPS.items():
        for number, person in enumerate(people):
            alike.setdefault((group, person.choice(taken[0])), []).append(number)
    edits_of: dict[int, list[Mapping[str, Any]]] = {}  # by the number of their source
    for row in edits:
        edits_of.setdefault(row["source"], []).append(row)

    def references(group: str, number: int, own: list[str]) -> list[str]:
        """`own` pictures, if there are any, and others from which an edit takes the same as from portrait `number`."""
        taken = GROUPS[group][1]
        case = people[number].choice(taken[0])
        if group in ALWAYS_DETAILED or (case and len(taken) > 1):
            touched = (ON_THE_HEAD if group in ON_THE_HEAD else set()) | {group}
            alike_too = [made["id"] for made in edits_of.get(number, ()) if made["group"] not in touched]
            return own + alike_too[:MORE_REFERENCES] if own else []
        return [*own, *(portraits[k]["id"] for k in random.choice(alike[group, case], MORE_REFERENCES))]

    rows = []
    for row in edits:
        number = int(row["id"])
        group, source, reference = row["group"], row["source"], row["reference"]
        asked = ATTRIBUTES_OF[group]
        attribute = asked[number % len(asked)]
        before, after, given = portraits[source], row, [portraits[reference]["id"]]
        about_hair = is_about_hair(number)
        many = given if about_hair else references(group, reference, given)
        back = [] if about_hair else references(group, source, [])
        same = back or [before["id"]] if number // len(asked) % SAME_EVERY == 0 else []
        for old, new, wanted in ((before, after, many), (after, before, back), (before, before, same)):
            if wanted:
                present = bool(new["attributes"][attribute])
                table = {"source": old["id"], "reference": wanted, "edited": new["id"], "attribute": attribute}
                rows.append({**table, "present": present})
    return rows
