"""What a person names as inputs: patterns, `~`, a pipe; and what is refused before torch is imported."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

Cli = Callable[..., Result]
Process = Callable[..., "subprocess.Popen[bytes]"]


@pytest.mark.usefixtures("photos")
def test_pattern_in_quotes_is_expanded(cli: Cli) -> None:
    result = cli("reconstruct", "photos/*.png", "photos/**/d.png", "-n")
    assert result.stdout.splitlines() == [
        "photos/a.png -> photos/a.reconstruct.png",
        "photos/deeper/d.png -> photos/deeper/d.reconstruct.png",
    ]
    Path("odd[1].png").write_bytes(Path("photos/a.png").read_bytes())
    assert cli("reconstruct", "odd[1].png", "-n").stdout == "odd[1].png -> odd[1].reconstruct.png\n"


def test_home_is_expanded(cli: Cli, face: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(Path.cwd()))
    result = cli("reconstruct", f"~/{face}", "-o", "~/again.png", "-n")
    assert result.stdout == f"{Path.cwd() / face} -> {Path.cwd() / 'again.png'}\n"


def test_pipe_is_read_where_no_file_is_named(process: Process, face: Path) -> None:
    with process("reconstruct") as ran:
        piped, _ = ran.communicate(face.read_bytes(), timeout=120)
    with process("reconstruct", face, "-o", "-") as ran:
        named, _ = ran.communicate(timeout=120)
    assert piped == named
    with process("reconstruct", stdin=subprocess.DEVNULL) as ran:
        _, stderr = ran.communicate(timeout=120)
    assert ran.returncode == 2
    assert stderr.startswith(b"error: no input is named")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["face.png", "out.png"], "out.png does not exist: outputs go after -o, as in face.png -o out.png"),
        (["-a", "smile", "face.png", "out.png"], "out.png does not exist: outputs go after -o, as in face.png -o out"),
        (["smile", "face.png"], "smile is an attribute and no file: name it with --attr, as in -a smile face.png"),
        (["-a", "smile", "fase.png"], "fase.png does not exist: did you mean face.png?"),
        (["-a", "smile", "nowhere/a.png"], "nowhere/a.png does not exist: there is no folder nowhere"),
        (["-a", "smile", "x.png", "face.png", "y.png"], "2 inputs do not exist, so nothing was done: x.png, y.png"),
        (["-a", "smile", "*.jpg"], "no file matches *.jpg: check the pattern and the folder"),
        (["-a", "smile", "https://a.b/c.png"], "https://a.b/c.png is an address, and stedit reads files: download it"),
        (["-a", "smile", "--ref", "jane.png", "face.png"], "the reference jane.png does not exist"),
        (["-a", "smyle", "face.png"], "unknown attribute 'smyle': did you mean smile? (see `stedit attributes`)"),
        (["-a", "age", "face.png"], "'age' is CelebA's Young, which this model has not learned: see `stedit attrib"),
        (["-a", "smile", "--device", "abacus", "face.png"], "'abacus' is no device: choose auto, cpu, cuda, cuda:N"),
        (["-a", "smile=0.5", "-s", "1", "face.png"], "--attr and --strength both say how far to go"),
    ],
)
def test_wrong_request_is_refused_before_any_work(cli: Cli, face: Path, arguments: list[str], sentence: str) -> None:
    result = cli("edit", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: {sentence}")
    assert sorted(path.name for path in Path().iterdir()) == [face.name]


@pytest.mark.parametrize(
    "arguments",
    [
        ["face.png", "nowhere.png", "-a", "smile"],
        ["face.png", "-a", "smyle"],
        ["face.png", "-a", "smile", "--device", "abacus"],
        ["face.png", "-a", "smile", "--ref", "nowhere.png"],
        ["face.png", "-a", "smile", "--dry-run"],
    ],
)
@pytest.mark.usefixtures("face")
def test_refusal_imports_no_torch(arguments: list[str]) -> None:
    program = (
        "import sys\n"
        "from stedit.cli.main import main\n"
        "try: main()\n"
        "finally: print('torch' in sys.modules, file=sys.stderr)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, "edit", *arguments], capture_output=True, text=True, check=False
    )
    assert ran.returncode == (0 if "--dry-run" in arguments else 2)
    assert ran.stderr.splitlines()[-1] == "False"


@pytest.mark.parametrize(
    ("typed", "output"),
    [
        (["-a", "smile,glasses"], "face.smile+glasses.png"),
        (["-a", "smile=0.5"], "face.smile@0.5.png"),
        (["-a", "smile=0.5,glasses"], "face.smile+glasses@0.5+1.png"),
        (["-a", "smile", "-s", "150%"], "face.smile@1.5.png"),
        (["--attribute", "happy"], "face.smile.png"),
        (["-a", "smile", "--reference", "jane.png"], "face.smile-from-jane.png"),
        (["-a", "smile", "--out", "x.png"], "x.png"),
        (["-a", "smile", "--output-dir", "x"], "x/face.smile.png"),
        (["-a", "smile", "--format", "jpeg"], "face.smile.jpg"),
        (["-a", "smile", "-s", "0,1", "-f", "gif"], "face.smile@0,1.gif"),
    ],
)
def test_what_people_type_is_understood(cli: Cli, face: Path, typed: list[str], output: str) -> None:
    Path("jane.png").write_bytes(face.read_bytes())
    assert cli("edit", *typed, face, "-n").stdout == f"face.png -> {output}\n"
