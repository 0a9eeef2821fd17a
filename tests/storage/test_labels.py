"""Tables of labels are read in every form that people hold; unknown stays unknown, and what is wrong is named."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from stedit.errors import InputError
from stedit.storage.labels import Label, LabelTable, example_id

NAN = np.nan

_PACKED = bytearray(gzip.compress(b"id,Smiling\n" + bytes(range(48, 123)) * 40, mtime=0))
_PACKED[20:24] = b"\xff\xff\xff\xff"
FLIPPED = bytes(_PACKED)  # in the middle of the deflated data


def test_csv_table_is_read(tmp_path: Path) -> None:
    text = "image_id,Smiling, Eyeglasses\n000001.jpg,1,-1\n000002.jpg,,1\n\nthird, 0 ,no\n"
    (tmp_path / "labels.csv").write_text(text)
    (tmp_path / "labels.CSV.gz").write_bytes(gzip.compress(text.encode()))
    expected = np.array([[1, NAN], [0, 0], [NAN, NAN], [0, 1]], np.float32)
    for name in ("labels.csv", "labels.CSV.gz"):
        table = LabelTable.read(tmp_path / name)
        assert table.attributes == ("Smiling", "Eyeglasses")
        assert table.rows["third"] == Label({"Smiling": 0.0, "Eyeglasses": 0.0})
        labels = table.of(["000002", "third", "unlabelled", "000001"], ["Eyeglasses", "Smiling"])
        np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_spreadsheet_tables_are_read(tmp_path: Path, encoding: str, delimiter: str) -> None:
    path = tmp_path / "labels.csv"
    rows = [("Datei", "smiling", "EYEGLASSES"), ("C:\\Bilder\\Zoë.JPG", "1", "0,5" if delimiter == ";" else "0.5")]
    text = "\r\n".join(delimiter.join(row) for row in rows) + "\r\n"
    path.write_bytes((b"\xff\xfe" if encoding == "utf-16-le" else b"") + text.encode(encoding))
    table = LabelTable.read(path, only=("Smiling", "Eyeglasses"))
    assert table.attributes == ("Smiling", "Eyeglasses")
    np.testing.assert_array_equal(table.of(["zoë"], ["Eyeglasses", "Smiling"]), [[0.5, 1]])
    np.testing.assert_array_equal(LabelTable.read(path).of(["Zoë"], ["Smiling"]), [[1]])


def test_error_shows_the_offending_line(tmp_path: Path) -> None:
    for name, text in [
        ("a.csv", "id,Smiling\nface.png,1,oops\n"),
        ("b.csv", "oops\n"),
        ("c.jsonl", '{"id": "a", "Smiling": oops}\n'),
        ("d.txt", "1\nSmiling Young\nface.png oops\n"),
    ]:
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match="oops"):
            LabelTable.read(tmp_path / name)


def test_celeba_list_is_read(tmp_path: Path) -> None:
    path = tmp_path / "list_attr_celeba.txt"
    path.write_text("2\n5_o_Clock_Shadow Smiling \n000001.jpg -1  1\n000002.jpg  1 -1\n")
    table = LabelTable.read(path)
    assert table.rows == {
        "000001": Label({"5_o_Clock_Shadow": 0.0, "Smiling": 1.0}),
        "000002": Label({"5_o_Clock_Shadow": 1.0, "Smiling": 0.0}),
    }


def test_jsonl_records_nested_and_flat_are_read(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "attributes": {"Smiling": 1, "Bangs": None}, "continuous": {"yaw": 3, "hair_rgb": [1, 0, 0.5]}},
        {"file": "x/b.png", "Smiling": 0, "Young": True},
        {"input": "d.png", "status": "failed", "error": "it cannot be read"},
        {"input": "c.latent.safetensors", "attributes": {"Smiling": 0.81, "Bangs": 0.5}},
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "labels.jsonl").write_text(text + "\n")
    (tmp_path / "labels.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("labels.jsonl", "labels.jsonl.gz"):
        table = LabelTable.read(tmp_path / name)
        assert table.attributes == ("Smiling", "Bangs", "Young")
        assert table.rows == {
            "a": Label({"Smiling": 1.0}, {"hair_rgb": [1, 0, 0.5]}),
            "b": Label({"Smiling": 0.0, "Young": 1.0}),
            "c": Label({"Smiling": 0.81, "Bangs": 0.5}),
        }


def test_only_wanted_attributes_are_read(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("file,photographer,winking\na.png,Ann,1\n")
    assert LabelTable.read(path, ["winking"]).rows == {"a": Label({"winking": 1.0})}
    with pytest.raises(InputError, match="photographer is 'Ann', not 1, 0, a probability or empty"):
        LabelTable.read(path)
    with pytest.raises(InputError, match="holds no labels of smile or Smiling"):
        LabelTable.read(path, ["smile", "Smiling"])


def test_example_id_drops_the_file_ending_alone() -> None:
    for name in ("face.png", "photos/face.JPG", "face.latent.safetensors", "face"):
        assert example_id(name) == "face"
    assert example_id("face.2.png") == example_id("face.2") == "face.2"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"", "no header line"),
        ("a.csv", b"id\na\n", "no header line"),
        ("a.csv", b"id,Smiling\na,1,1\n", "line 2, has 3 cells, not 2"),
        ("a.csv", b"id,Smiling\na\n", "line 2, has 1 cells, not 2"),
        ("a.csv", b"id,Smiling\n\na,2\n", "line 3: Smiling is '2', not 1, 0, a probability or empty"),
        ("a.csv", b"id,Smiling\na,maybe\n", "'maybe'"),
        ("a.csv", b"id,Smiling\na,nan\n", "'nan'"),
        ("a.csv", b"a" * 200_000, "is no CSV"),
        ("a.txt", b"3\nSmiling\n1.jpg 1 1\n", "line 3, has 3 cells, not 2"),
        ("a.txt", b"3\n", "holds no labels"),
        ("a.jsonl", b'{"Smiling": 1}\n', "record 1, has no id"),
        ("a.jsonl", b'{"id": 1, "attributes": [1]}\n', "no object"),
        ("a.jsonl", b'{"id": 1, "Smiling": [1]}\n', r"Smiling is \[1\]"),
        ("a.jsonl", b'{"id": 1, "Smiling": 7}\n', "Smiling is 7, not 1"),
        ("a.jsonl", b'{"id": 1}\n', "holds no labels"),
        (
            "a.jsonl",
            b'{"id": 1, "attributes": {}, "continuous": {"hair_rgb": [1, "x", 2]}}',
            "hair_rgb is .*, not 3 num",
        ),
        (
            "a.jsonl",
            b'{"id": 1, "attributes": {}, "continuous": {"beard_type": NaN}}',
            "beard_type is nan, not a number",
        ),
        ("a.jsonl", b'{"id": 1, "attributes": {}, "continuous": {"beard_type": 1' + b"0" * 400 + b"}}", "not a number"),
        ("a.jsonl", b'{"id": 1, "' + b"x" * 999 + b'": 7}', "'xxx.* is 7, not 1"),
        ("a.csv", b"id,\x1b[2JEvil\na,7\n", "'.x1b.2JEvil' is '7'"),
        ("a.csv.gz", FLIPPED, "cannot read"),
        ("a.jsonl", b"[1]\n", "line 1 of .* is no JSON object"),
        ("a.jsonl", b"nothing\n", "line 1 of .* is not JSON"),
        ("a.jsonl", b"\xff\xfe\xff", "cannot read"),
        ("a.jsonl.gz", b"junk", "cannot read"),
        ("a.csv.gz", gzip.compress(b"id,Smiling\n" + b"a,1\n" * 99, mtime=0)[:-9], "cannot read"),
    ],
)
def test_malformed_labels_raise_naming_what_is_wrong(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said) as caught:
        LabelTable.read(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert len(str(caught.value)) < len(str(tmp_path)) + 200
    with pytest.raises(InputError, match="no such file"):
        LabelTable.read(tmp_path / f"nowhere-{name}")


def test_gzip_bomb_of_labels_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stedit.storage.jsonl.MAX_BYTES", 2**20)
    (tmp_path / "bomb.jsonl.gz").write_bytes(gzip.compress(b" " * 2**24))
    with pytest.raises(InputError, match=r"bomb\.jsonl\.gz has a line longer than 1 MB"):
        LabelTable.read(tmp_path / "bomb.jsonl.gz")


def test_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    for name, text in (("a.csv", "id,Smiling\na,1\n"), ("a.jsonl", '{"id": "a", "Smiling": 1}\n' * 2)):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
        assert LabelTable.read(tmp_path / name).of(["a"], ["Smiling"]).tolist() == [[1.0]]


def test_table_that_names_none_of_the_codes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,Smiling\na,1\n")
    with pytest.raises(InputError, match=r"a\.csv names none of the codes \(such as x\)"):
        LabelTable.read(tmp_path / "a.csv").of(["x"], ["Smiling"])


def test_endless_gzip_is_refused(tmp_path: Path) -> None:
    packed = tmp_path / "labels.csv.gz"
    packed.write_bytes(gzip.compress(b"id,Smiling\n" + (b"a" * 1000 + b",1\n") * 100_000, 1))
    with pytest.raises(InputError, match="unpacks to more than such a table holds: split it"):
        LabelTable.read(packed)
    packed.write_bytes(gzip.compress(b"id,Smiling\n" + b"a" * 2_000_000, 1))
    with pytest.raises(InputError, match="has a line longer than 1 MB"):
        LabelTable.read(packed)
