"""Words of other tools end in the command or option that is meant."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import Result

from stedit import __version__
from stedit.cli.main import app
from stedit.cli.synonyms import COMMANDS, NO_COMMANDS, OPTIONS, WORDS

Cli = Callable[..., Result]
ROOT = typer.main.get_command(app)


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        if hasattr(command, "list_commands"):
            yield from commands(command, (*path, name))
        yield (*path, name), command


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["smile", "photo.jpg"], "smile is an attribute and no command: stedit edit -a smile photo.jpg"),
        (["no-glasses"], "no-glasses is an attribute and no command: stedit edit -a no-glasses photo.jpg"),
        (["face.png"], "face.png is a file and no command: name one first, as in stedit edit -a smile face.png"),
        (["list"], "no such command 'list': did you mean stedit weights list?"),
        (["download", "x"], "no such command 'download': did you mean stedit weights pull?"),
        (["convert", "x"], "no such command 'convert': did you mean stedit weights convert?"),
        (["serve"], "no such command 'serve': did you mean stedit ui?"),
        (["weights", "rm", "x"], "no such command 'rm': did you mean stedit weights remove?"),
        (["train", "encoder"], "no such command 'encoder': did you mean stedit train inversion?"),
        (["edit", "-j", "4", "face.png"], "no such option: -j: use --batch-size COUNT"),
        (["edit", "--gpu", "face.png"], "no such option: --gpu: use --device cuda"),
        (["edit", "--force", "face.png"], "no such option: --force: use --overwrite"),
        (["train", "generator", "photos"], "photos is a folder, and a config is a TOML file: to learn from its"),
    ],
)
def test_unknown_word_names_what_is_meant(cli: Cli, face: Path, arguments: list[str], sentence: str) -> None:
    Path("photos").mkdir()
    result = cli(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: {sentence}")
    assert face.exists()


def test_synonyms_of_commands_name_commands_that_exist() -> None:
    known = {" ".join(path) for path, _ in commands(ROOT)}
    for word, meant in COMMANDS.items():
        assert word not in known
        assert meant.startswith("--") or meant in known or meant.split()[0] in known
    assert not known & NO_COMMANDS.keys()


def test_synonyms_of_options_name_options_that_exist() -> None:
    known = {option for _, command in commands(ROOT) for param in command.params for option in param.opts}
    for meant in OPTIONS.values():
        assert not meant.startswith("-") or meant.split()[0].rstrip(",") in known


def test_words_that_are_read_as_others_hide_no_option() -> None:
    for path, command in commands(ROOT):
        found: dict[str, str] = {}
        for param in command.params:
            for option in (*param.opts, *param.secondary_opts):
                word = option.lstrip("-")
                assert found.setdefault(WORDS.get(word, word), param.name) == param.name, path


def test_help_command_shows_the_help_of_another(cli: Cli) -> None:
    assert cli("help").stdout == cli("--help").stdout
    assert cli("help", "weights", "pull").stdout == cli("weights", "pull", "--help").stdout
    wrong = cli("help", "eddit")
    assert (wrong.exit_code, wrong.stderr) == (2, "error: no such command 'eddit': did you mean 'edit'?\n")


def test_short_version_option_prints_the_version(cli: Cli) -> None:
    assert cli("-V").stdout == f"stedit {__version__}\n"
