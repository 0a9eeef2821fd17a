"""From a function with groups of options to what Typer can register."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, get_type_hints

import typer

from stedit.cli.console import Console
from stedit.cli.options import TalkOptions


def spread(command: Callable[..., int]) -> Callable[..., None]:
    """Make of `command` what Typer can register: groups of options become options, the result becomes the exit code."""
    groups: dict[str, Any] = {}
    parameters: list[inspect.Parameter] = []
    hints = get_type_hints(command, include_extras=True)
    for name, parameter in inspect.signature(command).parameters.items():
        if is_dataclass(hints[name]):
            groups[name] = hints[name]
            members = get_type_hints(hints[name], include_extras=True)
            for field in fields(hints[name]):
                default = parameter.empty if field.default is MISSING else field.default
                option = inspect.Parameter(field.name, parameter.KEYWORD_ONLY, default=default)
                parameters.append(option.replace(annotation=members[field.name]))
        else:
            parameters.append(parameter.replace(kind=parameter.KEYWORD_ONLY, annotation=hints[name]))

    def run(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
            if isinstance(values[name], TalkOptions):
                Console(values[name]).listen()
        raise typer.Exit(command(**values))

    run.__doc__ = command.__doc__
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run
