"""Ground-truth edits are pairs of images with and without an attribute."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stedit.errors import InputError
from stedit.imaging.sources import ImageRef
from stedit.metrics.ground_truth import read_pairs


def test_pairs_need_both_images(tmp_path: Path) -> None:
    def record(identity: int, attribute: str, value: int) -> dict[str, object]:
        return {"id": f"{identity}_{attribute}_{value}", "identity": identity, "attribute": attribute, "value": value}

    records = [record(0, "Smiling", 1), record(0, "Bangs", 0), record(0, "Smiling", 0), record(1, "Smiling", 0)]
    file = tmp_path / "pairs.jsonl"
    file.write_text("\n".join(map(json.dumps, records)))
    entries = [ImageRef(Path(f"{record['id']}.png")) for record in records]
    (pair,) = read_pairs([file], entries)
    assert (pair.identity, pair.attribute, pair.without.id, pair.with_it.id) == (
        "0",
        "Smiling",
        "0_Smiling_0",
        "0_Smiling_1",
    )
    with pytest.raises(InputError, match="names the image 0_Smiling_1, which is not there"):
        read_pairs([file], entries[1:])
    file.write_text('{"id": "a", "identity": 0}')
    with pytest.raises(InputError, match="without 'id', 'identity', 'attribute' or 'value'"):
        read_pairs([file], entries)
