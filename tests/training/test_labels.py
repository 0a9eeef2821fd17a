"""Tables of labels are read in both formats, unknown stays unknown, and what is wrong is named."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from stedit.errors import InputError
from stedit.training.labels import LabelTable

NAN = math.nan


def test_a_csv_table(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("image_id,Smiling, Eyeglasses\n000001.jpg,1,-1\n000002.jpg,,1\n\nthird,0,0\n")
    table = LabelTable.read(path)
    assert table.attributes == ("Smiling", "Eyeglasses")
    labels = table.of(["000002", "third", "unlabelled", "000001"], ["Eyeglasses", "Smiling"])
    expected = torch.tensor([[1, NAN], [0, 0], [NAN, NAN], [0, 1]])
    assert torch.equal(labels.nan_to_num(-9), expected.nan_to_num(-9))


def test_records_nested_and_flat(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    rows = [{"id": "a", "attributes": {"Smiling": 1, "Bangs": None}}, {"id": "b.png", "Smiling": 0, "Young": 1}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = LabelTable.read(path)
    assert table.attributes == ("Smiling", "Bangs", "Young")
    labels = table.of(["a", "b"], table.attributes)
    assert torch.equal(labels.nan_to_num(-9), torch.tensor([[1.0, -9, -9], [0, -9, 1]]))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "", "no header line"),
        ("a.csv", "id,Smiling\na,1,1\n", "line 2, has 3 cells, not 2"),
        ("a.csv", "id,Smiling\na,2\n", "record 2: Smiling is '2', not 1, 0 or empty"),
        ("a.csv", "id,Sm\x1biling\na,1\n", r"the attribute 'Sm\\x1biling'"),
        ("a.jsonl", '{"Smiling": 1}\n', "record 1, has no id"),
        ("a.jsonl", '{"id": 1, "attributes": [1]}\n', "no object"),
        ("a.jsonl", '{"id": 1, "Smiling": [1]}\n', r"Smiling is \[1\]"),
        ("a.jsonl", '{"id": 1}\n', "holds no labels"),
        ("a.jsonl", "[1]\n", "line 1 of .* is no JSON object"),
        ("a.jsonl", "nothing\n", "line 1 of .* is not JSON"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=said):
        LabelTable.read(tmp_path / name)


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    for name, text in (("a.csv", "id,Smiling\na,1\n"), ("a.jsonl", '{"id": "a", "Smiling": 1}\n' * 2)):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
        assert LabelTable.read(tmp_path / name).of(["a"], ["Smiling"]).tolist() == [[1.0]]


def test_a_table_of_other_codes_and_a_missing_one(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,Smiling\na,1\n")
    with pytest.raises(InputError, match=r"a\.csv names none of the codes \(such as x\)"):
        LabelTable.read(tmp_path / "a.csv").of(["x"], ["Smiling"])
    with pytest.raises(InputError, match=r"there are no labels at .*b\.csv"):
        LabelTable.read(tmp_path / "b.csv")
