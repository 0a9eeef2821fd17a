"""What the library says is to be done, as flags and commands of the command line."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import stedit
from stedit.cli import errors
from stedit.cli.errors import format_error
from stedit.errors import HubError, SteditError, UsageError


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            HubError("away: pull it", action="pull", on="a/b"),
            "away: pull it with `stedit weights pull a/b`",
        ),
        (
            HubError("away: choose another", action="list"),
            "away: choose another with `stedit weights list`",
        ),
        (UsageError("no face: choose one", argument="face"), "no face: choose one with --face"),
        (UsageError("no page: give one", argument="page"), "no page: give one"),
        (SteditError("as it is"), "as it is"),
    ],
)
def test_the_sentence_ends_in_what_to_type(error: SteditError, said: str) -> None:
    assert format_error(error) == said


def test_every_action_of_the_library_has_a_command() -> None:
    package = Path(stedit.__file__).parent
    actions = {
        keyword.value.value
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "action" and isinstance(keyword.value, ast.Constant)
    }
    assert actions == set(errors._COMMANDS)


def test_no_error_of_the_library_names_a_command() -> None:
    """Only the command line knows its commands."""
    package = Path(stedit.__file__).parent
    named = [
        (path.name, node.lineno)
        for path in package.rglob("*.py")
        if path.parent.name != "cli"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Raise)
        for text in ast.walk(node)
        if isinstance(text, ast.Constant) and isinstance(text.value, str) and "stedit weights" in text.value
    ]
    assert named == []
