"""Edits of photographs move a code by what an attribute accounts for among all of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

COUNT = 600


@pytest.fixture(scope="module")
def photographs():
    """Records, codes (M, 2, 3), and what a smile with teeth and glasses add to a code; smiles go with bangs."""
    random = np.random.default_rng(0)
    smile, glasses = torch.tensor([[1.0, 0, 0], [0, 0, 0]]), torch.tensor([[0, 0, 0], [0, 2.0, 0]])
    bangs = torch.tensor([[0, 0, 0], [0, 0, 3.0]])
    records, codes = [], []
    for number in range(COUNT):
        kind = random.choice(["none", "closed", "teeth"])
        worn = random.choice(["none", "clear"])
        fringe = int(random.random() < (0.8 if kind == "teeth" else 0.2))
        age = random.choice(["young", "middle", "old"])
        has = {"Smiling": int(kind != "none"), "Eyeglasses": int(worn != "none"), "Bangs": fringe}
        if age != "middle":
            has["Young"] = int(age == "young")
        points = random.normal([[90, 110], [165, 110], [128, 150], [100, 190], [155, 190]], 2).tolist()
        kinds = {"smile": str(kind), "glasses": str(worn), "age": str(age)}
        records.append({"id": f"photo-{number}", "source": "toy", "attributes": has, "kinds": kinds, "points": points})
        code = torch.from_numpy(random.normal(0, 0.1, (2, 3))).float()
        codes.append(code + (kind == "teeth") * smile + (worn == "clear") * glasses + fringe * bangs)
    return records, torch.stack(codes), {"Smiling": 1.25 * smile, "Eyeglasses": glasses, "Bangs": 1.5 * bangs}


def test_edit_adds_what_the_attribute_accounts_for_alone(photographs):
    from photograph_edits import photograph_edits

    records, codes, effects = photographs
    names, edited, rows = photograph_edits(records, codes)
    at = {record["id"]: k for k, record in enumerate(records)}
    assert len(names) == len(set(names)) == len(edited) == len(rows)
    assert [row["edited"] for row in rows] == list(names)
    for attribute, effect in effects.items():
        added = [k for k, row in enumerate(rows) if row["attribute"] == attribute and row["present"]]
        changes = torch.stack([edited[k] - codes[at[rows[k]["source"]]] for k in added])
        torch.testing.assert_close(changes, effect.expand_as(changes), atol=0.1, rtol=0.05)  # the ridge takes a little


def test_reference_has_the_wanted_kind_and_the_source_has_not(photographs):
    from photograph_edits import photograph_edits

    records, codes, _ = photographs
    known = {record["id"]: record for record in records}
    _, _, rows = photograph_edits(records, codes)
    for row in rows:
        attribute, present = row["attribute"], row["present"]
        assert known[row["source"]]["attributes"].get(attribute) != int(present)
        references = [known[name] for name in row["reference"]]
        assert {one["attributes"][attribute] for one in references} == {int(present)}
        if attribute == "Smiling" and present:  # as one smiles for a photograph
            assert {one["kinds"]["smile"] for one in references} == {"teeth"}
    asked = {(row["source"], row["present"]) for row in rows if row["attribute"] == "Young"}
    for record in records:  # in the middle of life, one may become younger and older
        wanted = {True, False} if record["kinds"]["age"] == "middle" else {record["kinds"]["age"] == "old"}
        assert {present for source, present in asked if source == record["id"]} == wanted


def test_same_photographs_give_the_same_edits(photographs):
    from photograph_edits import photograph_edits

    records, codes, _ = photographs
    first, again = (photograph_edits(records, codes) for _ in range(2))
    assert (first[0], first[2]) == (again[0], again[2])
    assert torch.equal(first[1], again[1])
