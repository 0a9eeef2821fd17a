"""What is printed: names of strangers' files escaped for people, and as they are for programs."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from stedit.cli.console import Console, escape
from stedit.cli.options import MessageOptions

Process = Callable[..., "subprocess.Popen[bytes]"]

HOSTILE = "a\x1b[2J\x9b\u202eb"


def test_names_cannot_command_a_terminal(process: Process, face: Path) -> None:
    named = Path(f"{HOSTILE}.png")
    named.write_bytes(face.read_bytes())
    damaged = Path(f"{HOSTILE}2.png")
    damaged.write_bytes(b"no image")
    terminal, child_end = pty.openpty()
    with process("reconstruct", named, damaged, stdout=child_end, stderr=child_end) as ran:
        os.close(child_end)
        seen = b""
        while True:
            try:
                seen += os.read(terminal, 4096)
            except OSError:
                break
        ran.wait(timeout=120)
    os.close(terminal)
    assert b"\x1b[2J" not in seen
    text = seen.decode()
    assert "\x9b" not in text
    assert "\u202e" not in text
    assert text.count(r"a\x1b[2J\x9b\u202eb") == 2  # the result, and the error


def test_names_cannot_command_the_reader_of_a_log(process: Process, face: Path) -> None:
    named = Path(f"{HOSTILE}.png")
    named.write_bytes(face.read_bytes())
    damaged = (f"{HOSTILE}2.png", "x\ny.png")
    for name in damaged:
        Path(name).write_bytes(b"no image")
    with process("reconstruct", named, *damaged) as ran:
        stdout, stderr = ran.communicate(timeout=120)
    assert stdout.decode().rstrip("\n") == f"{HOSTILE}.reconstruct.png"  # a program gets the name as it is
    assert b"\x1b" not in stderr
    assert len(stderr.splitlines()) == 3  # two errors, and the sum of all
    assert rb"x\ny.png is not" in stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_names_that_the_encoding_lacks_are_printed_as_their_bytes(
    process: Process, face: Path, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    named = Path("ж-é.png")
    named.write_bytes(face.read_bytes())
    with process("reconstruct", named, face) as ran:
        stdout, _ = ran.communicate(timeout=120)
    assert ran.returncode == 0
    assert len(stdout.splitlines()) == 2
    if encoding == "ascii":
        assert os.fsdecode(stdout.splitlines()[0]) == "ж-é.reconstruct.png"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ü 顔 🙂\u00a0x", "plain ü 顔 🙂\u00a0x"),
        ("two\nlines", "two\nlines"),
        ("\x1b]0;t\x07\r\x85\u2028\udc80", r"\x1b]0;t\x07\r\x85\u2028\udc80"),
        ("\u200b\u2066", r"\u200b\u2066"),
    ],
)
def test_escape_keeps_what_is_seen(text: str, shown: str) -> None:
    assert escape(text) == shown


def test_json_holds_no_number_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    values = {"a": float("nan"), "b": [1.5, float("inf"), {"c": float("-inf")}]}
    Console(MessageOptions(json=True)).emit(values, "")
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [1.5, None, {"c": None}]}
