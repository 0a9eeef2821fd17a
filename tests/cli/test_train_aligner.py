"""`stedit train aligner`: an aligner alone, and one that is put into a model by another command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from training.aligner.faces import write_faces
from typer.testing import Result

from stedit.storage.bundle import Bundle

Cli = Callable[..., Result]

SMALL = ("--steps", 2, "--batch-size", 2, "--canvas", 64, "--largest", 54, "--val-fraction", 0.25, "--device", "cpu")
SIZES = [part for width in (4, 4, 8, 8, 8) for part in ("--widths", width)]


@pytest.fixture
def faces() -> list[str]:
    """The flags that name drawn faces."""
    data, labels = write_faces(Path(), 8, 2, 2)
    return [part for name in data for part in ("--data", name)] + [
        part for name in labels for part in ("--labels", name)
    ]


def test_an_aligner_alone_joins_a_model(cli: Cli, faces: list[str], tiny_bundle: Path) -> None:
    result = cli("train", "aligner", "--run", "aligner", *faces, *SIZES, *SMALL, "--license", "MIT")
    assert result.stdout == "aligner/model\n", result.stderr
    assert set(Bundle.load("aligner/model").parts) == {"aligner"}
    info = cli("weights", "info", "aligner/model")
    assert "finds faces" in info.stdout
    result = cli("weights", "assemble", tiny_bundle, "aligner/model", "--output", "whole")
    assert result.exit_code == 0, result.stderr
    whole = Bundle.load("whole")
    assert "aligner" in whole.parts
    assert whole.fingerprint == Bundle.load(tiny_bundle).fingerprint


def test_what_cannot_be_trained_on_is_said_in_one_sentence(cli: Cli, faces: list[str]) -> None:
    result = cli("train", "aligner", "--run", "aligner", *faces[:-2], *SIZES, *SMALL, "--labels", "none.jsonl")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: cannot read none.jsonl (no such file or directory): give a whole text file")
    result = cli("train", "aligner", "--run", "aligner", *faces, *SIZES, *SMALL[:4], "--canvas", 100)
    assert result.exit_code == 2
    assert "canvas is 100: set it to a multiple of 32" in result.stderr
