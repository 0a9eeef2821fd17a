"""`stedit train`: train the parts of a model; one command for each training, every key of its config a flag."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, make_dataclass
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_type_hints

import typer

from stedit.cli.command import flatten_options
from stedit.cli.console import Console
from stedit.cli.exit_codes import DONE, INTERRUPTED
from stedit.cli.progress import TrainingBar
from stedit.errors import OutputError, UsageError
from stedit.training.aligner.config import AlignerTrainingConfig
from stedit.training.classifier.config import ClassifierTrainingConfig
from stedit.training.config import Config as AnyConfig
from stedit.training.config import TrainingConfig, flag, item_type
from stedit.training.editor.config import EditorFinetuneConfig, EditorTrainingConfig
from stedit.training.encoder.config import EncoderTrainingConfig
from stedit.training.generator.config import (
    AutoencoderTrainingConfig,
    GeneratorFinetuneConfig,
    GeneratorTrainingConfig,
)
from stedit.training.judge.config import JudgeTrainingConfig

if TYPE_CHECKING:
    from stedit.training.run import Monitor

_CONFIG = "A TOML file of keys; see --print-config. Without one, flags and defaults are the config."
_RUN = "Where config, metrics, samples and checkpoints are kept."
_RESUME = "Go on from the last checkpoint of the run; without CONFIG, with the config of the run."
_OUTPUT = "The model folder to write at the end."
_PRINT = "Print the effective config, every key with its meaning, and stop."

OFF = "__off"  # behind a key, the name of the flag that turns it off

_MODULES = {  # of stedit.training, by the command; `build(config)` of each gives the task
    "generator": "generator.stylegan2",
    "autoencoder": "generator.autoencoder",
    "finetune-generator": "generator.finetune",
    "inversion": "encoder.train",
    "classifier": "classifier.train",
    "editor": "editor.train",
    "finetune-editor": "editor.finetune",
    "judge": "judge.train",
    "aligner": "aligner.train",
}

Config = Annotated[Path | None, typer.Argument(metavar="CONFIG.toml", show_default=False, help=_CONFIG)]


@dataclass(frozen=True)
class RunOptions:
    """Where a training lives."""

    run: Annotated[
        Path | None,
        typer.Option("--run", metavar="FOLDER", show_default="CONFIG with the ending .run", help=_RUN),
    ] = None
    resume: Annotated[bool, typer.Option("--resume", help=_RESUME)] = False
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", show_default="the folder model in the run", help=_OUTPUT),
    ] = None
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the model folder if it exists.")] = False
    print_config: Annotated[bool, typer.Option("--print-config", help=_PRINT)] = False


def _command(config_class: type[TrainingConfig], help_text: str) -> Callable[..., None]:
    """The command that trains by a config."""
    flags = key_flags(config_class)

    def command(run: RunOptions, keys: Any, console: Console, config: Config = None) -> int:
        values = {field.name: getattr(keys, field.name) for field in fields(keys)}
        given = {key.removesuffix(OFF): value for key, value in values.items() if value is not None}
        return _train(config_class, config, run, given, console)

    command.__annotations__["keys"] = flags
    command.__doc__ = help_text
    return flatten_options(command)


def _train(
    config_class: type[TrainingConfig],
    path: Path | None,
    options: RunOptions,
    flags: Mapping[str, Any],
    console: Console,
) -> int:
    if options.print_config:
        console.result(config_class.of_mode(path, flags).read(path, flags, check=False).to_toml().rstrip("\n"))
        return DONE
    if path is not None and path.is_dir():
        raise UsageError(
            f"{path} is a folder, and a config is a TOML file: to learn from its images, give --data {path} and --run "
            f"{path.name}.run"
        )
    if path is None and options.run is None:
        raise UsageError("neither a config nor a run is given: name a CONFIG.toml, or a folder with --run")
    run = options.run or Path(path or "").with_suffix(".run")
    saved = run / "config.toml"
    if options.resume and path is None and saved.exists():
        path = saved
    config = cast(type[TrainingConfig], config_class.of_mode(path, flags)).read(path, flags)
    output = options.output or run / "model"
    if options.output and options.output.exists() and not options.overwrite:
        raise OutputError(f"cannot write {output}: it exists already, so choose another folder or give --overwrite")

    from stedit.training import loop

    module = import_module(f"stedit.training.{_MODULES[config.command]}")
    try:
        with training_monitor(console, config.steps) as monitor:
            task, outcome = loop.train(
                lambda: module.build(config), config, run, resume=options.resume, monitor=monitor
            )
        if not outcome.is_main:
            return INTERRUPTED if outcome.reason == "interrupted" else DONE
        if outcome.reason == "interrupted":
            console.note(f"stopped after step {outcome.step}, which is saved in {run}: add --resume to go on")
            return INTERRUPTED
        if outcome.reason == "stopped":
            console.note(f"stopped after step {outcome.step}: {outcome.why}")
        bundle = task.save(output, overwrite=options.overwrite or not options.output)
    finally:
        loop.leave()
    values = {"model": str(bundle.path), "run": str(run), "steps": outcome.step, "outcome": outcome.reason}
    console.emit(values, str(bundle.path))
    return DONE


class _Lines:
    """A line for every line of the metrics, for logs."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def advance(self, step: int, steps: int, seconds_left: float, metrics: Mapping[str, float] | None) -> None:
        if metrics:
            left = timedelta(seconds=round(seconds_left))
            self._console.note(f"step {step}/{steps}: {_format_metrics(metrics)} ({left} left)")

    def note(self, text: str) -> None:
        self._console.note(text)


class _Bar:
    """A bar with the time left, and the last metrics beside it."""

    def __init__(self, console: Console, bar: TrainingBar) -> None:
        self._console, self._bar = console, bar

    def advance(self, step: int, steps: int, seconds_left: float, metrics: Mapping[str, float] | None) -> None:
        self._bar.update(step, steps, seconds_left, _format_metrics(metrics or {}))

    def note(self, text: str) -> None:
        self._console.note(text)


@contextmanager
def training_monitor(console: Console, steps: int) -> Iterator[Monitor]:
    """A bar for a person, lines for a log."""
    if console.terminal is None:
        yield _Lines(console)
        return
    with TrainingBar(console.terminal, steps) as bar:
        yield _Bar(console, bar)


def _format_metrics(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())


def key_flags(config_class: type[AnyConfig]) -> type[Any]:
    """A dataclass of options that `flatten_options` lays out: one for each key, None where it is not given."""
    hints = get_type_hints(config_class)
    members: list[Any] = []
    for field in fields(config_class):
        hint, name = hints[field.name], flag(field.name)
        switch = hint is bool
        option = typer.Option(
            name,
            help=field.metadata["text"] + (" Repeat it for several." if item_type(hint) else ""),
            show_default=_format_default(field.default),
            rich_help_panel="Keys of the config that are on or off (--no-KEY)" if switch else "Keys of the config",
        )
        inner = item_type(hint)
        value_type: Any = list[inner] if inner else hint  # type: ignore[valid-type]
        members.append((field.name, Annotated[value_type | None, option], None))
        if switch:  # shown beside the other, it would leave the help no room
            members.append((field.name + OFF, Annotated[bool | None, typer.Option(_off(name), hidden=True)], None))
    return make_dataclass("Flags", [*members, *_former_flags(config_class)], frozen=True)


def _former_flags(config_class: type[AnyConfig]) -> list[Any]:
    """Hidden options: keys by their old names, and what a key `mode` chose before version 0.2."""
    current = {field.name for field in fields(config_class)}
    trainings: dict[str, type[AnyConfig]] = {config_class.command: config_class}
    former: dict[str, Any] = {}
    if config_class in list(config_class.modes.values())[:1]:
        former["mode"] = str
        trainings |= {config.command: config for config in config_class.modes.values()}
    for config in trainings.values():
        names = {field.name: field.name for field in fields(config)} | config.old_names()
        hints = get_type_hints(config)
        former |= {old: hints[name] for old, name in names.items() if old not in current}
    members = []
    for name, hint in former.items():
        inner = item_type(hint)
        value_type: Any = list[inner] if inner else hint  # type: ignore[valid-type]
        option = typer.Option(flag(name) + _off(flag(name)).strip() if hint is bool else flag(name), hidden=True)
        members.append((name, Annotated[value_type | None, option], None))
    return members


def _off(name: str) -> str:
    """What declares a flag that means off: `--no-flip`."""
    return f" /--no-{name[2:]}"


def _format_default(default: Any) -> str:
    if isinstance(default, tuple):
        return ", ".join(map(str, default)) or "none"
    return str(default).lower() if isinstance(default, bool) else str(default) or "none"


_HELP: dict[type[TrainingConfig], str] = {
    GeneratorTrainingConfig: """Train a StyleGAN2 generator on images.

    [bold]Examples[/]
    stedit train generator --print-config > faces.toml   [dim]# a config to edit[/]
    stedit train generator faces.toml
    stedit train generator faces.toml --resume
    """,
    AutoencoderTrainingConfig: """Train an encoder and a generator together on images, which needs no GPU.

    [bold]Examples[/]
    stedit train autoencoder --print-config > faces.toml
    stedit train autoencoder faces.toml --data photos.zip --resolution 128
    """,
    GeneratorFinetuneConfig: """Fine-tune the generator of a model on images and their codes, which keep their meaning.

    [bold]Examples[/]
    stedit train finetune-generator --run sharper --init-from my-model --data photos.zip
    stedit train finetune-generator sharper.toml --codes latents --edits edits.jsonl
    """,
    EncoderTrainingConfig: """Train an encoder that inverts images to the codes of a model's generator.

    [bold]Examples[/]
    stedit train inversion --print-config > inversion.toml
    stedit train inversion inversion.toml --model faces.run/model --data photos.zip
    stedit train inversion inversion.toml --resume
    """,
    ClassifierTrainingConfig: """Train a classifier that predicts attributes from codes, for edits by label.

    [bold]Examples[/]
    stedit train classifier --print-config > classifier.toml
    stedit train classifier classifier.toml --model my-model --codes latents --labels attributes.csv
    stedit train classifier --run judged --model my-model --synthetic-latents 50000   [dim]# labelled by its judge[/]
    """,
    EditorTrainingConfig: """Train the edit transformer, which gives a face an attribute as a reference has it.

    [bold]Examples[/]
    stedit train editor --print-config > editor.toml
    stedit train editor editor.toml --model classifier.run/model --codes latents
    stedit train editor --run smile --model my-model --codes latents --attribute smile
    """,
    EditorFinetuneConfig: """Fine-tune the edit transformer of a model by what judges predict of its edits by label.

    [bold]Examples[/]
    stedit train finetune-editor --run finetune --model my-model --codes latents --judge first --judge second
    """,
    JudgeTrainingConfig: """Train a judge, which predicts attributes from images, to measure edits.

    [bold]Examples[/]
    stedit train judge --run judge --data photos.zip --labels attributes.csv
    stedit train judge --run judge --data photos.zip --labels attributes.csv --model my-model   [dim]# put into it[/]
    """,
    AlignerTrainingConfig: """Train an aligner, which finds faces in photographs, and five points of each to crop by.

    [bold]Examples[/]
    stedit train aligner --run aligner --data scenes.zip --data crops.zip --labels scenes.jsonl --labels crops.jsonl
    stedit train aligner aligner.toml --model my-model   [dim]# put into it[/]
    """,
}

COMMANDS = {config_class.command: _command(config_class, text) for config_class, text in _HELP.items()}
"""What follows `stedit train`, in the order of the help."""
