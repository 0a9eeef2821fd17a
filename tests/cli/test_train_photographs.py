"""From photographs to a model, as the manual says: cropped by `stedit align`, trained on, edited with."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

from stedit.imaging.files import read_image, write_image
from stedit.storage.bundle import Bundle

Cli = Callable[..., Result]

SCENES = Path(__file__).parents[1] / "data" / "scenes"
MANUAL = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
SMALL = """--resolution 16 --style-dim 16 --mapping-layers 1 --channels 16 --channels 8 --channels 8 --encoder-size 32
    --encoder-stem 4 --encoder-widths 4 --encoder-widths 4 --encoder-widths 8 --encoder-widths 16 --encoder-blocks 1
    --encoder-blocks 1 --encoder-blocks 1 --encoder-blocks 1 --encoder-reduction 2 --encoder-heads 2
    --encoder-feedforward 8 --steps 2 --batch-size 2 --device cpu"""


@pytest.fixture(scope="module")
def commands() -> list[list[str]]:
    """Those that the manual shows for the way without a GPU: align, train autoencoder, reconstruct."""
    section = MANUAL.partition("## From photographs to a model")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)
    return [shlex.split(line)[1:] for block in blocks[:2] for line in block.splitlines()]


def test_align_then_train_gives_a_model_that_takes_photographs(
    cli: Cli, commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STEDIT_MODEL")  # for that of faces, whose aligner finds them
    shutil.copytree(SCENES, "photos/trip", ignore=shutil.ignore_patterns("*.md"))
    write_image("photos/wall.png", np.full((200, 300, 3), 120, np.uint8))
    align, train, reconstruct = commands
    aligned = cli(*align)
    assert aligned.exit_code == 1
    assert "photos/wall.png: no face was found" in aligned.stderr
    crops = sorted(path for path in Path("crops").rglob("*") if path.is_file())
    assert [path.name for path in crops] == ["park.aligned.jpg", "room.aligned.jpg"]
    assert {read_image(path).shape for path in crops} == {(256, 256, 3)}

    place = train.index("--resolution")
    trained = cli(*train[:place], *train[place + 2 :], *SMALL.split())
    assert trained.exit_code == 0, trained.stderr
    model = Bundle.load("faces/model")
    assert model.alignment == "ffhq"
    assert model.training["images"] == 2

    result = cli(*reconstruct)
    assert result.exit_code == 0, result.stderr
    result = cli("align", "photos/trip/park.jpg", "-m", "faces/model", "--size", 256, "-o", "again.jpg")
    assert result.exit_code == 0, result.stderr
    assert np.array_equal(read_image(Path("again.jpg")), read_image(Path("crops/trip/park.aligned.jpg")))
