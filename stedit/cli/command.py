"""From a function with groups of options to what Typer can register."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer
from typer.models import OptionInfo

from stedit.cli.console import Console
from stedit.cli.options import FormerName, MessageOptions
from stedit.errors import UsageError


def flatten_options(command: Callable[..., int]) -> Callable[..., None]:
    """Make of `command` what Typer can register.

    A dataclass among the parameters becomes an option for each of its fields, a `Console` the options of messages. The
    result becomes the exit code.
    """
    groups: dict[str, type[Any]] = {}
    options: list[inspect.Parameter] = []
    hints = get_type_hints(command, include_extras=True)
    for name, parameter in inspect.signature(command).parameters.items():
        group = MessageOptions if hints[name] is Console else hints[name]
        if is_dataclass(group):
            groups[name] = group
            options += _options_of(group)
        else:
            options.append(parameter.replace(kind=parameter.KEYWORD_ONLY, annotation=hints[name]))
    former = {_former_key(option.name): option for option in options if _former_flag(option)}

    def run(**values: Any) -> None:
        for key, option in former.items():
            _use_former(values, option, values.pop(key))
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
            if group is MessageOptions:
                values[name] = Console(values[name])
                values[name].attach_logging()
        raise typer.Exit(command(**values))

    hidden = [_former_option(option) for option in former.values()]
    run.__doc__ = command.__doc__
    run.__signature__ = inspect.Signature([*options, *hidden])  # type: ignore[attr-defined]
    return run


def _options_of(group: type[Any]) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    defaults = {
        field.name: inspect.Parameter.empty if field.default is MISSING else field.default for field in fields(group)
    }
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[name])
        for name, default in defaults.items()
    ]


def _former_flag(option: inspect.Parameter) -> str:
    marks = get_args(option.annotation)[1:] if get_origin(option.annotation) is Annotated else ()
    return next((mark.flag for mark in marks if isinstance(mark, FormerName)), "")


def _former_key(name: str) -> str:
    return f"former_{name}"


def _former_option(option: inspect.Parameter) -> inspect.Parameter:
    """The hidden option of the former name, None unless it is given."""
    value_type: Any = get_args(option.annotation)[0]
    hidden = Annotated[value_type | None, typer.Option(_former_flag(option), hidden=True)]
    return option.replace(name=_former_key(option.name), default=None, annotation=hidden)


def _use_former(values: dict[str, Any], option: inspect.Parameter, value: Any) -> None:
    """Take what was given under the former name. Raises UsageError if both names were given."""
    if value is None or value == []:
        return
    if values[option.name] != option.default:
        mark = next(mark for mark in get_args(option.annotation) if isinstance(mark, OptionInfo))
        declared = [mark.default, *(mark.param_decls or ())]  # inside Annotated, the first is taken for a default
        flag = next(text for text in declared if str(text).startswith("--"))
        raise UsageError(f"{flag} and {_former_flag(option)} are one option: give it once")
    values[option.name] = value
