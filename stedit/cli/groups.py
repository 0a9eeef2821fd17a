"""Typer's commands and groups with a plainer help, and the one place where errors become sentences and exit codes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from stedit.cli.console import Console
from stedit.cli.defaults import NAMES as DEFAULTABLE
from stedit.cli.errors import exit_code, format_error
from stedit.cli.hints import explain_command, explain_option
from stedit.cli.options import DEBUG, MessageOptions
from stedit.errors import UsageError

# what pydantic finds wrong with a value -> plain words; the limits in braces are pydantic's
_WRONG = {
    "int_parsing": "not a whole number",
    "float_parsing": "not a number",
    "greater_than_equal": "less than {ge}",
    "less_than_equal": "more than {le}",
}


@contextmanager
def _errors_to_exit_codes(context: Any) -> Iterator[None]:
    """Turn whatever the block raises into one sentence on stderr and an exit code."""
    try:
        yield
    except (typer.Exit, typer.Abort, BrokenPipeError):
        raise  # an end that is no error, or one that nobody is left to read of
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(error, typer.TyperException):
            error = _usage_error(error)
        if isinstance(error, KeyboardInterrupt):  # which is what a person wanted
            Console(MessageOptions()).note(format_error(error))
        elif str(error) or not isinstance(error, UsageError):  # it is empty where help was asked for
            Console(MessageOptions(debug=context.meta.get(DEBUG, False))).error(error)
        raise typer.Exit(exit_code(error)) from error


def _usage_error(error: typer.TyperException) -> UsageError:
    """What Typer could not parse, as one sentence in small letters that ends in what to try."""
    text = _plain_message(error).strip().rstrip(".").replace(": Value error, ", ": ", 1)
    context = getattr(error, "ctx", None)
    advice = f": see {context.command_path} --help" if context and text else ""
    if meant := explain_option(getattr(error, "option_name", "")):
        text, advice = text.partition(" (Possible")[0], f": {meant}"
    elif near := re.search(r"\. Did you mean (.*)\?$| \(Possible options: (.*)\)$", text):
        text, advice = text[: near.start()], f": did you mean {near[1] or near[2]}?"
    return UsageError(text[:1].lower() + text[1:] + advice)


def _plain_message(error: typer.TyperException) -> str:
    """The message of an error, with plain words in the place of pydantic's on a value."""
    message = error.format_message()
    for wrong in getattr(error.__cause__, "errors", list)():
        if wrong["type"] in _WRONG:
            plain = f"{wrong['input']!r} is {_WRONG[wrong['type']].format(**wrong.get('ctx', {}))}"
            return message.replace(wrong["msg"], plain)
    return message


class Command(TyperCommand):
    """Typer's command, with a plainer help; only some of its options may have another default."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        for param in self.params:
            if isinstance(param, TyperOption):
                param.allow_from_autoenv = param.name in DEFAULTABLE

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - it is for plain text
        """Print the help."""
        from stedit.cli.help import print_help

        print_help(self, ctx)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the options and arguments. Raises UsageError if an option that takes one value is given twice."""
        _, _, given = self.make_parser(ctx).parse_args(args=list(args))
        for option in given:
            takes_one = isinstance(option, TyperOption) and not (option.multiple or option.is_flag or option.count)
            if takes_one and given.count(option) > 1:
                raise UsageError(f"{option.opts[0]} is given twice, and takes one value: leave one of them out")
        return super().parse_args(ctx, args)


class Group(TyperGroup):
    """Typer's group, with a plainer help; its errors, and those of all its commands, end in a sentence."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that `args` begin with. Raises UsageError, with the one that is meant."""
        if self.get_command(ctx, args[0]) is None and args[0][:1] != "-":
            raise UsageError(explain_command(ctx.command_path, args, self.list_commands(ctx)))
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - it is for plain text
        """Print the help."""
        from stedit.cli.help import print_help

        print_help(self, ctx)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read what follows the name of the command."""
        with _errors_to_exit_codes(ctx):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        with _errors_to_exit_codes(ctx):
            return super().invoke(ctx)


class LazyTrainGroup(Group):
    """The group `train`, whose two hundred options are made only when they are needed, since that takes time."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Make the commands first."""
        self._fill()
        return super().get_command(ctx, cmd_name)

    def list_commands(self, ctx: Any) -> list[str]:
        """Make the commands first."""
        self._fill()
        return super().list_commands(ctx)

    def _fill(self) -> None:
        if not self.commands:
            from stedit.cli import train, train_complete

            trainings = typer.Typer()
            for command, function in {**train.COMMANDS, "complete": train_complete.complete}.items():
                trainings.command(command, cls=Command)(function)
            self.commands.update(typer.main.get_group(trainings).commands)
