"""The `stedit` command: which commands there are, and how errors end it."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from stedit._version import __version__
from stedit.cli import align, attributes, convert, directions, edit, evaluate, invert, mix, sheet, weights
from stedit.cli.console import Console, exit_code, forget_unwritten
from stedit.cli.options import DEBUG, TalkOptions
from stedit.errors import UsageError

# what pydantic finds wrong with a value -> our words; the limits in braces are pydantic's
_WRONG = {
    "int_parsing": "no whole number",
    "float_parsing": "no number",
    "greater_than_equal": "less than {ge}",
    "less_than_equal": "more than {le}",
}


@contextmanager
def _ending_in_a_sentence(context: Any) -> Iterator[None]:
    """Turn whatever the block raises into one sentence on stderr and an exit code."""
    try:
        yield
    except (typer.Exit, typer.Abort, BrokenPipeError):
        raise  # an end that is no error, or of which there is nobody left to tell
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(error, typer.TyperException):
            error = _usage_error(error)
        if str(error) or not isinstance(error, UsageError):  # it is empty where help was asked for
            Console(TalkOptions(debug=context.meta.get(DEBUG, False))).error(error)
        raise typer.Exit(exit_code(error)) from error


def _usage_error(error: typer.TyperException) -> UsageError:
    """Say what Typer could not parse in our words: small letters, one sentence, and where to look."""
    text = _in_our_words(error).strip().rstrip(".").replace(": Value error, ", ": ", 1)
    context = getattr(error, "ctx", None)
    advice = f": see {context.command_path} --help" if context and text else ""
    if near := re.search(r"\. Did you mean (.*)\?$| \(Possible options: (.*)\)$", text):
        text, advice = text[: near.start()], f": did you mean {near[1] or near[2]}?"
    return UsageError(text[:1].lower() + text[1:] + advice)


def _in_our_words(error: typer.TyperException) -> str:
    """The message of an error, with what pydantic says of a value said more plainly."""
    message = error.format_message()
    for wrong in getattr(error.__cause__, "errors", list)():
        if wrong["type"] in _WRONG:
            plain = f"{wrong['input']!r} is {_WRONG[wrong['type']].format(**wrong.get('ctx', {}))}"
            return message.replace(wrong["msg"], plain)
    return message


def _without_types_of_flags(options: list[Any]) -> list[Any]:
    """Let the help say `--sheet`, not `--sheet <bool>`, which seems to ask for a value."""
    for option in options:
        if getattr(option, "is_flag", False):
            option.metavar = ""
    return options


class _Command(TyperCommand):
    """Typer's command, with a plainer help."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types_of_flags(super().get_params(ctx))


class _Group(TyperGroup):
    """Typer's group, with a plainer help; its errors, and those of all its commands, end in a sentence."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types_of_flags(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        with _ending_in_a_sentence(ctx):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        with _ending_in_a_sentence(ctx):
            return super().invoke(ctx)


class _Trainings(_Group):
    """The group `train`, whose two hundred keys are laid out only when they are asked for: that takes its time."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        self._fill()
        return super().get_command(ctx, cmd_name)

    def list_commands(self, ctx: Any) -> list[str]:
        self._fill()
        return super().list_commands(ctx)

    def _fill(self) -> None:
        if not self.commands:
            from stedit.cli import train

            trainings = typer.Typer()
            for part in ("generator", "inversion", "classifier", "editor", "judge", "aligner"):
                trainings.command(part, cls=_Command)(getattr(train, part))
            self.commands.update(typer.main.get_group(trainings).commands)


app = typer.Typer(
    name="stedit",
    cls=_Group,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"stedit {__version__}")
        raise typer.Exit


@app.callback()
def stedit(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Edit faces: find the latent code of a picture, change it, and draw it again.

    [bold]Examples[/]
    stedit edit --attr smile face.png                   [dim]# face.smile.png[/]
    stedit edit --attr glasses --ref jane.png face.png  [dim]# Jane's glasses[/]
    stedit edit --attr beard -r photos -o bearded       [dim]# a tree of folders[/]
    stedit attributes face.png                          [dim]# what the model sees[/]

    Results go to standard output, everything else to standard error.
    Exit codes: 0 all done, 1 some inputs failed, 2 wrong request, 3 nothing to do, 130 interrupted.
    """


app.command("edit", cls=_Command)(edit.edit)
app.command("label-edit", cls=_Command)(edit.label_edit)
app.command("reference-edit", cls=_Command)(edit.reference_edit)
app.command("mix", cls=_Command)(mix.mix)
app.command("invert", cls=_Command)(invert.invert)
app.command("reconstruct", cls=_Command)(invert.reconstruct)
app.command("align", cls=_Command)(align.align)
app.command("attributes", cls=_Command)(attributes.attributes)
app.command("sheet", cls=_Command)(sheet.sheet)
app.command("evaluate", cls=_Command)(evaluate.evaluate)

ways = typer.Typer(cls=_Group, no_args_is_help=True)
ways.command("list", cls=_Command)(directions.list_directions)
ways.command("learn", cls=_Command)(directions.learn)
app.add_typer(ways, name="directions", help="See which directions --direction takes, and learn new ones.")

models = typer.Typer(cls=_Group, no_args_is_help=True)
models.command("list", cls=_Command)(weights.list_models)
models.command("info", cls=_Command)(weights.info)
models.command("verify", cls=_Command)(weights.verify)
models.command("pull", cls=_Command)(weights.pull)
models.command("push", cls=_Command)(weights.push)
models.command("remove", cls=_Command)(weights.remove)
models.command("convert", cls=_Command)(convert.convert)
models.command("assemble", cls=_Command)(convert.assemble)
app.add_typer(models, name="weights", help="See, check, fetch, share and convert models.")

app.add_typer(typer.Typer(cls=_Trainings, no_args_is_help=True), name="train", help="Train the parts of a model.")


def main() -> None:
    """Run the command line of this process."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # print a file's name as it is, even where it is no text
    try:
        app(prog_name="stedit")
    finally:
        forget_unwritten()
