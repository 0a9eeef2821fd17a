"""The `stedit` command: which commands there are."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from typing import Annotated

import typer

from stedit._version import __version__
from stedit.cli.align import align
from stedit.cli.attributes import attributes
from stedit.cli.codes_export import export
from stedit.cli.codes_import import import_
from stedit.cli.codes_info import info as codes_info
from stedit.cli.console import discard_unwritten, encode_names
from stedit.cli.defaults import PREFIX, read_defaults, spread
from stedit.cli.directions_learn import learn
from stedit.cli.directions_list import list_directions
from stedit.cli.edit import edit, label_edit, reference_edit
from stedit.cli.env import env
from stedit.cli.evaluate import evaluate
from stedit.cli.groups import Command, Group, LazyTrainGroup
from stedit.cli.invert import invert
from stedit.cli.mix import mix
from stedit.cli.reconstruct import reconstruct
from stedit.cli.sheet import sheet
from stedit.cli.synonyms import WORDS
from stedit.cli.ui import ui
from stedit.cli.weights_assemble import assemble
from stedit.cli.weights_convert import convert
from stedit.cli.weights_info import info
from stedit.cli.weights_list import list_models
from stedit.cli.weights_pull import pull
from stedit.cli.weights_push import push
from stedit.cli.weights_remove import remove
from stedit.cli.weights_verify import verify

app = typer.Typer(
    name="stedit",
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": lambda word: WORDS.get(word, word),
    },
)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"stedit {__version__}")
        raise typer.Exit


@app.callback()
def stedit(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", "-V", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Edit faces: invert an image to its latent code, edit the code, and render it.

    [bold]Examples[/]
    stedit edit --attr smile face.png                   [dim]# face.smile.png[/]
    stedit edit --attr glasses --ref jane.png face.png  [dim]# Jane's glasses[/]
    stedit edit --attr beard -r photos -o bearded       [dim]# a tree of folders[/]
    stedit attributes face.png                          [dim]# their probabilities[/]

    Results go to standard output, everything else to standard error.
    Exit codes: 0 all done, 1 some inputs failed, 2 wrong request, 3 nothing to do, 130 interrupted.
    """
    context.default_map = spread(context.command, read_defaults())


def show_help(
    context: typer.Context,
    command: Annotated[
        list[str] | None, typer.Argument(metavar="COMMAND", show_default=False, help="Such as edit, or weights pull.")
    ] = None,
) -> None:
    """Show the help of a command.

    [bold]Examples[/]
    stedit help
    stedit help edit
    stedit help weights pull
    """
    root = context.find_root()
    raise typer.Exit(root.command.main([*(command or ()), "--help"], root.info_name, standalone_mode=False))


COMMANDS = {
    "edit": edit,
    "label-edit": label_edit,
    "reference-edit": reference_edit,
    "mix": mix,
    "invert": invert,
    "reconstruct": reconstruct,
    "align": align,
    "attributes": attributes,
    "sheet": sheet,
    "evaluate": evaluate,
    "ui": ui,
    "env": env,
    "help": show_help,
}
DIRECTIONS = {"list": list_directions, "learn": learn}
CODES = {"import": import_, "export": export, "info": codes_info}
WEIGHTS = {
    "list": list_models,
    "info": info,
    "verify": verify,
    "pull": pull,
    "push": push,
    "remove": remove,
    "convert": convert,
    "assemble": assemble,
}


def _add(group: typer.Typer, commands: Mapping[str, Callable[..., None]]) -> None:
    for name, command in commands.items():
        group.command(name, cls=Command, context_settings={"auto_envvar_prefix": PREFIX})(command)


directions = typer.Typer(cls=Group, no_args_is_help=True)
codes = typer.Typer(cls=Group, no_args_is_help=True)
weights = typer.Typer(cls=Group, no_args_is_help=True)
_add(app, COMMANDS)
_add(directions, DIRECTIONS)
_add(codes, CODES)
_add(weights, WEIGHTS)
app.add_typer(directions, name="directions", help="List the directions that --direction takes, and learn new ones.")
app.add_typer(codes, name="codes", help="Exchange latent codes with other tools.")
app.add_typer(weights, name="weights", help="List, check, fetch, share and convert models.")
app.add_typer(typer.Typer(cls=LazyTrainGroup, no_args_is_help=True), name="train", help="Train the parts of a model.")


def main() -> None:
    """Run the command line of this process."""
    encode_names()
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as in a background job of a shell
        signal.signal(signal.SIGINT, _interrupt_once)
    try:
        app(prog_name="stedit")
    finally:
        discard_unwritten()
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _interrupt_once(_signal: int, _frame: object) -> None:
    """End the command as `cli.groups` says; what is being written is finished, however impatient somebody is."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt
