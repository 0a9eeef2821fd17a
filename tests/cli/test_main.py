"""The command as a whole: help, version, wrong requests, terminals, and how soon it answers."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from stedit import __version__
from stedit.cli.errors import exit_code, format_error
from stedit.errors import AttributeNameError, BundleError, ImageError, UsageError

Cli = Callable[..., Result]
Process = Callable[..., "subprocess.Popen[bytes]"]

COMMANDS = (
    "edit",
    "label-edit",
    "reference-edit",
    "invert",
    "reconstruct",
    "attributes",
    "evaluate",
    "sheet",
    "mix",
    "directions",
    "weights",
    "train",
)
LEAVES = (
    *COMMANDS[:-3],
    *("directions list", "directions learn", "weights list", "weights info", "weights verify"),
    *("train generator", "train inversion", "train classifier", "train editor", "train judge", "train aligner"),
)
HEAVY = {"torch", "numpy", "PIL", "safetensors", "huggingface_hub", "accelerate", "stedit.cli.train"}


def test_help_lists_the_commands(cli: Cli) -> None:
    for arguments in (["--help"], ["-h"], []):
        result = cli(*arguments)
        assert all(f" {command} " in result.stdout for command in COMMANDS)
        assert "stedit edit --attr smile face.png" in result.stdout
        assert result.stderr == ""


@pytest.mark.parametrize("command", LEAVES)
def test_help_of_each_command_shows_examples(cli: Cli, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    result = cli(*command.split(), "--help")
    assert result.exit_code == 0
    assert result.stdout.count(f"stedit {command} ") >= 2  # the usage line and an example
    assert "<bool>" not in result.stdout  # a flag takes no value
    assert "…" not in result.stdout  # 80 columns are enough for every word


@pytest.mark.parametrize("command", LEAVES)
def test_help_examples_name_options_that_exist(cli: Cli, command: str) -> None:
    text = cli(*command.split(), "--help").stdout
    examples, options = text.split("Examples", 1)[1].split("╭─", 1)
    for option in re.findall(r"(?<!\S)(--?[a-z]+)", examples):
        assert re.search(rf"(?<!\S){option}\b", options)


def test_version_option_prints_the_version(cli: Cli) -> None:
    assert cli("--version").stdout == f"stedit {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        (["--help"], set()),
        (["--version"], set()),
        (["edit", "--help"], set()),
        (["edit", "--no-such-option"], set()),
        (["train", "generator", "--help"], {"stedit.cli.train"}),
    ],
)
def test_help_and_errors_import_no_heavy_module(arguments: list[str], allowed: set[str]) -> None:
    code = (
        "import sys\n"
        "from stedit.cli.main import main\n"
        "try: main()\n"
        f"finally: print(*sorted({HEAVY - allowed} & set(sys.modules)), file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert ran.stderr.splitlines()[-1] == ""


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--no-such-option"], "no such option: --no-such-option"),
        (["no-such-command"], "no such command 'no-such-command': see stedit --help"),
        (["eddit", "x"], "no such command 'eddit': did you mean 'edit'?\n"),
        (["edit", "x", "--stregth", "1"], "no such option: --stregth: did you mean --strength, "),
        (["invert"], "no input is named: name images, folders or latent files, or - for standard input"),
        (["invert", "--no-such-option", "x"], "no such option: --no-such-option"),
        (["invert", "x", "--batch-size", "0"], "invalid value for '--batch-size' / '-b': '0' is less than 1: "),
        (["mix", "x", "y", "--steps", "1000"], "invalid value for '--steps': '1000' is more than 300: "),
        (
            ["invert", "x", "--batch-size", "[1]"],
            "invalid value for '--batch-size' / '-b': '[1]' is not a whole number: ",
        ),
        (["edit", "."], "nothing is named to be edited: give a linear direction, or name an attribute with --attr"),
        (["edit", "x", "--attr"], "option '--attr' requires an argument"),
        (["reference-edit", "x", "-a", "smile"], "missing option '--ref': see stedit reference-edit --help"),
        (
            ["reconstruct", "x", "--noise-mode", "loud"],
            "invalid value for '--noise-mode': 'loud' is not one of 'const', ",
        ),
        (["reconstruct", "x", "--format", "latent"], "invalid value for '--format'"),
    ],
)
def test_wrong_request_gives_one_sentence(cli: Cli, arguments: list[str], reason: str) -> None:
    result = cli(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: {reason}")
    assert result.stderr.count("\n") == 1


def test_device_that_does_not_exist_gives_one_sentence(cli: Cli, face: Path) -> None:
    result = cli("invert", face, "--device", "abacus")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")
    assert "'abacus'" in result.stderr


def test_errors_map_to_exit_codes_and_sentences() -> None:
    assert [exit_code(error) for error in (UsageError(), AttributeNameError(), ImageError(), BundleError())] == [
        2,
        2,
        1,
        1,
    ]
    assert exit_code(KeyboardInterrupt()) == 130
    assert exit_code(ZeroDivisionError()) == 1
    assert format_error(ImageError("a.png is no picture")) == "a.png is no picture"
    assert format_error(ZeroDivisionError("first\nsecond"), "a.png") == (
        "a.png: unexpected ZeroDivisionError: first (run again with --debug to see where)"
    )


def test_debug_shows_the_traceback(process: Process) -> None:
    with process("invert", "nowhere.png", "--debug") as ran:
        _, stderr = ran.communicate(timeout=120)
    assert ran.returncode == 2
    assert b"Traceback (most recent call last)" in stderr
    assert stderr.endswith(b"error: nowhere.png does not exist: check the spelling\n")


def test_pipe_gets_no_escape_codes(process: Process, photos: Path) -> None:
    Path("junk.png").write_bytes(b"junk")
    with process("reconstruct", "-r", photos, "junk.png", "-o", "out", "-v") as ran:
        stdout, stderr = ran.communicate(timeout=120)
    assert ran.returncode == 1
    assert b"\x1b" not in stdout + stderr
    assert len(stdout.splitlines()) == 4


@pytest.mark.parametrize("quiet", [False, True])
def test_bar_shows_on_the_terminal_and_not_on_stdout(process: Process, photos: Path, quiet: bool) -> None:
    terminal, child_end = pty.openpty()
    with process("reconstruct", "-r", photos, "-o", "out", *(["-q"] if quiet else []), stderr=child_end) as ran:
        os.close(child_end)
        seen = b""
        while True:
            try:
                seen += os.read(terminal, 4096)
            except OSError:  # how Linux says that the other end is closed
                break
        stdout, _ = ran.communicate(timeout=120)
    os.close(terminal)
    assert ran.returncode == 0
    assert len(stdout.splitlines()) == 4
    assert b"\x1b" not in stdout
    assert (b"Loading the model" in seen) is not quiet
    assert (b"4 done in" in seen) is not quiet


def test_image_to_a_terminal_is_refused(process: Process, face: Path) -> None:
    terminal, child_end = pty.openpty()
    with process("reconstruct", face, "-o", "-", stdout=child_end) as ran:
        os.close(child_end)
        _, stderr = ran.communicate(timeout=120)
    os.close(terminal)
    assert ran.returncode == 2
    assert stderr.startswith(b"error: a terminal cannot show the output")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_is_printed_for_each_shell(
    process: Process, shell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_STEDIT_COMPLETE", f"source_{shell}")
    with process() as ran:
        stdout, _ = ran.communicate(timeout=60)
    assert ran.returncode == 0
    assert b"_STEDIT_COMPLETE=complete_" + shell.encode() in stdout


def test_completion_offers_attributes_of_the_model(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_STEDIT_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "stedit edit --attr no-smi")
    monkeypatch.setenv("COMP_CWORD", "3")
    with process() as ran:
        stdout, _ = ran.communicate(timeout=60)
    assert stdout.split() == [b"no-smile"]


@pytest.mark.parametrize("command", LEAVES)
def test_help_on_an_ascii_terminal_is_ascii(process: Process, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    with process(*command.split(), "--help") as ran:
        stdout, stderr = ran.communicate(timeout=60)
    assert (ran.returncode, stderr) == (0, b"")
    assert stdout.isascii()
