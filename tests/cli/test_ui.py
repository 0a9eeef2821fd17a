"""`stedit ui`: the address on standard output, and what is refused before a model is loaded."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

import stedit
from stedit.imaging.files import Pixels, write_image

pytest.importorskip("uvicorn")

Cli = Callable[..., Result]


def test_the_page_is_served_at_the_printed_address(tiny_bundle: Path, face_image: Pixels, tmp_path: Path) -> None:
    write_image(tmp_path / "me.png", face_image)
    command = [sys.executable, "-m", "stedit", "ui", "me.png", "--no-browser", "--model", str(tiny_bundle)]
    environment = os.environ | {"PYTHONPATH": str(Path(stedit.__file__).parents[1])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment) as process:
        try:
            assert process.stdout
            address = process.stdout.readline().strip()
            assert address.startswith("http://127.0.0.1:")
            with urllib.request.urlopen(address + "state", timeout=60) as answer:
                assert b'"name":"me.png"' in answer.read()
            with urllib.request.urlopen(address, timeout=60) as answer:
                assert b"<title>stedit</title>" in answer.read()
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            process.kill()


def test_what_cannot_be_served_is_said_at_once(cli: Cli, tmp_path: Path) -> None:
    missing = cli("ui", str(tmp_path / "no.jpg"), "--no-browser")
    assert missing.exit_code == 1
    assert "no.jpg" in missing.stderr
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        busy = cli("ui", "--no-browser", "--port", str(taken.getsockname()[1]))
    assert busy.exit_code == 2
    assert "is in use" in busy.stderr


def test_without_the_extra_it_says_what_to_install(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    result = cli("ui", "--no-browser")
    assert result.exit_code == 1
    assert "stedit[ui]" in result.stderr
