"""From a word that stedit does not know to the command or option that is meant."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from stedit.cli.completion import attributes_of
from stedit.cli.synonyms import COMMANDS, NO_COMMANDS, OPTIONS
from stedit.errors import SteditError


def explain_command(path: str, arguments: Sequence[str], known: Sequence[str]) -> str:
    """What to do instead of `stedit PATH ARGUMENTS...`, whose first argument is no command, as one sentence.

    Args:
        path: of the group, such as "stedit" or "stedit weights".
        arguments: the word that is no command, and all behind it.
        known: the commands of the group.
    """
    word, *rest = arguments
    name = f"{path} {word}".removeprefix("stedit ")
    wrong = f"no such command {word!r}"
    if reason := NO_COMMANDS.get(name.lower()):
        return f"{wrong}: {reason}"
    if meant := COMMANDS.get(name.lower()):
        return f"{wrong}: did you mean stedit {meant}?"
    if near := difflib.get_close_matches(word, known, n=3):
        return f"{wrong}: did you mean {' or '.join(map(repr, near))}?"
    if path == "stedit":
        if is_attribute(word):
            files = " ".join(argument for argument in rest if not argument.startswith("-")) or "photo.jpg"
            return f"{word} is an attribute and no command: stedit edit -a {word} {files}"
        if Path(word).exists():
            return f"{word} is a file and no command: name one first, as in stedit edit -a smile {word}"
    return f"{wrong}: see {path} --help"


def explain_option(option: str) -> str:
    """What to give instead of an option that is not there; "" if nobody knows."""
    meant = OPTIONS.get(option, "")
    return f"use {meant}" if meant else ""


def is_attribute(name: str) -> bool:
    """Whether the usual model knows an attribute of this name."""
    from stedit.editing.attributes import resolve_attribute

    try:
        resolve_attribute(name, attributes_of())
    except SteditError:
        return False
    return True
