"""Groups of options become options, and an option that had another name takes it for one more version."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner, Result

from stedit.cli.command import flatten_options
from stedit.cli.console import Console
from stedit.cli.groups import Command, Group
from stedit.cli.options import FormerName

Cli = Callable[..., Result]


@dataclass(frozen=True)
class _Options:
    size: Annotated[int, typer.Option("--size", help="A size."), FormerName("--width")] = 3
    names: Annotated[list[str] | None, typer.Option("--name", "-n"), FormerName("--called")] = None


@flatten_options
def _show(options: _Options, console: Console, place: Annotated[str, typer.Argument()] = "here") -> int:
    """Show what was given."""
    console.emit({"place": place}, f"{options.size} {options.names} {place}")
    return 3


@pytest.fixture
def show() -> Cli:
    """Call a command of two options, both of which had other names."""
    app = typer.Typer(cls=Group)
    app.command("show", cls=Command)(_show)
    app.command("other", cls=Command)(_show)
    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, ["show", *arguments], prog_name="test")


def test_flatten_options_makes_options_and_an_exit_code(show: Cli) -> None:
    result = show("--size", "5", "-n", "a", "--name", "b", "there")
    assert (result.exit_code, result.stdout) == (3, "5 ['a', 'b'] there\n")
    assert show().stdout == "3 None here\n"
    assert show("--json").stdout == '{"place": "here"}\n'


def test_former_name_is_read_and_hidden(show: Cli) -> None:
    assert show("--width", "7", "--called", "a").stdout == "7 ['a'] here\n"
    assert "--width" not in show("--help").stdout
    wrong = show("--width", "wide")
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("error: invalid value for '--width': 'wide' is not a whole number")


def test_option_under_both_names_is_refused(show: Cli) -> None:
    result = show("--width", "7", "--size", "5")
    assert (result.exit_code, result.stderr) == (2, "error: --size and --width are one option: give it once\n")


@pytest.mark.parametrize(
    ("now", "before"),
    [
        (("reconstruct", "--noise-mode", "none"), ("reconstruct", "--noise", "none")),
        (
            ("edit", "-a", "smile", "--direction", "preserving", "--noise-mode", "random"),
            ("edit", "-a", "smile", "--direction", "preserving", "--noise", "random"),
        ),
    ],
)
def test_former_name_gives_the_same_bytes(cli: Cli, face: Path, now: tuple[str, ...], before: tuple[str, ...]) -> None:
    for name, arguments in (("now.png", now), ("before.png", before)):
        assert cli(*arguments, face, "-o", name).exit_code == 0
    assert Path("now.png").read_bytes() == Path("before.png").read_bytes()


def test_evaluate_former_names_are_read(cli: Cli, photos: Path) -> None:
    arguments = ("evaluate", photos, "-a", "smile", "-o", "page.html")
    assert cli(*arguments, "--samples", 1).exit_code == 0
    assert Path("page.html").read_text().count("<img") == 3
    missing = cli("evaluate", "--pairs", "nowhere.jsonl")
    assert (missing.exit_code, missing.stderr.split(" (")[0]) == (1, "error: cannot read nowhere.jsonl")
