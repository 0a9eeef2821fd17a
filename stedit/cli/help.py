"""The page that --help prints: what a command does, and a panel for each group of its options.

Typer's own page splits long values inside a word at 80 columns, names types of Python, and hides choices behind them.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

from rich.console import Console, Group
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

_NAMES_WIDTH = 30  # columns of a terminal, at most; a longer name goes on in the next line
_VALUES_WIDTH = 20  # of choices beside the name of an option; more of them are listed in its text


def print_help(command: Any, context: Any) -> None:
    """Print the help of a command or a group to standard output."""
    console = Console(highlight=False)
    console.print(Padding(Text.assemble(("Usage: ", "bold"), _usage(command, context)), 1))
    if command.help:
        console.print(Padding(_description(command.help), (0, 1, 1, 1)))
    panels: dict[str, list[Any]] = {"Arguments": [], "Options": []}
    for param in command.get_params(context):
        if not getattr(param, "hidden", False):
            usual = "Arguments" if param.param_type_name == "argument" else "Options"
            panels.setdefault(param.rich_help_panel or usual, []).append(param)
    for title, params in panels.items():
        _print_panel(console, title, [(_name(param), _explanation(param, context)) for param in params])
    if hasattr(command, "list_commands"):
        found = [command.get_command(context, name) for name in command.list_commands(context)]
        rows = [(Text(one.name, "bold"), _first_paragraph(one.help or "")) for one in found if not one.hidden]
        _print_panel(console, "Commands", rows)


def _usage(command: Any, context: Any) -> str:
    parts = [context.command_path, "[OPTIONS]"]
    for param in command.get_params(context):
        if param.param_type_name == "argument" and not param.hidden:
            name = param.display_name_raw if param.required else f"[{param.display_name_raw}]"
            parts.append(f"{name}..." if param.nargs != 1 else name)
    return " ".join([*parts, *(["COMMAND ..."] if hasattr(command, "list_commands") else [])])


def _description(text: str) -> Group:
    parts = []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        as_written = paragraph.startswith("[bold]Examples")
        parts += [Text.from_markup(paragraph if as_written else paragraph.replace("\n", " ")), Text()]
    return Group(*parts[:-1])


def _first_paragraph(text: str) -> Text:
    return Text.from_markup(inspect.cleandoc(text).partition("\n\n")[0].replace("\n", " "))


def _print_panel(console: Console, title: str, rows: Iterable[tuple[Text, Text]]) -> None:
    rows = list(rows)
    if not rows:
        return
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    table.add_column(width=min(max(len(name) for name, _ in rows), _NAMES_WIDTH))
    table.add_column(ratio=1)
    for row in rows:
        table.add_row(*row)
    console.print(Panel(table, title=title, title_align="left", border_style="dim"))


def _name(param: Any) -> Text:
    """`--strength, -s NUMBERS`."""
    if param.param_type_name == "argument":
        return Text(param.display_name_raw, "bold")
    options = sorted(param.opts, key=lambda option: not option.startswith("--"))
    text = Text(", ".join([*options, *param.secondary_opts]), "bold")
    value = _value(param)
    return text.append(f" {value}", "not bold") if value else text


def _value(param: Any) -> str:
    """What stands for the value of an option: few choices, or a word."""
    if param.is_flag:
        return ""
    if param.metavar:
        return str(param.metavar)
    if choices := _choices(param):
        listed = "|".join(choices)
        return listed if len(listed) <= _VALUES_WIDTH else _word(param)
    kind = param.type_descriptor.annotation
    return "NUMBER" if kind in {int, float} else _word(param) if param.type_descriptor.is_path else "TEXT"


def _word(param: Any) -> str:
    return str(param.name).strip("_").rpartition("_")[2].upper()


def _choices(param: Any) -> list[str]:
    return [str(choice) for choice in param.type_descriptor.choices or ()]


def _explanation(param: Any, context: Any) -> Text:
    """What a parameter is for, its choices if they stand nowhere else, and its default."""
    text = Text.from_markup(param.help or "")
    choices = _choices(param)
    if choices and "|".join(choices) != _value(param) and not all(choice in text.plain for choice in choices):
        text.append(f" One of {', '.join(choices)}.")
    default = _default(param, context)
    notes = [f"default: {default}"] if default else ["required"] if param.required else []
    if notes:
        text.append(f" ({', '.join(notes)})", "dim")
    return text


def _default(param: Any, context: Any) -> str:
    """As the declaration or the user's own defaults say; "" for none, and where it says nothing."""
    own = (context.default_map or {}).get(param.name)
    if own is not None and not isinstance(own, bool):
        return str(own)
    if isinstance(param.show_default, str):
        return param.show_default
    value = param.get_default(context, call=False)
    if not param.show_default or value is None or isinstance(value, bool | list):
        return "on" if own else ""
    return str(value)
