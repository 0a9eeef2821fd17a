"""`stedit train complete`: the classifier and the editor of any StyleGAN2, in one command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stedit.cli.command import flatten_options
from stedit.cli.console import Console
from stedit.cli.exit_codes import DONE, INTERRUPTED
from stedit.cli.train import OFF, RunOptions, key_flags, training_monitor
from stedit.errors import OutputError, UsageError
from stedit.training.completion.config import CompletionConfig

if TYPE_CHECKING:
    from stedit.training.run import Monitor

_SOURCE = "The model to complete: a folder, a name or OWNER/NAME; or a TOML file of keys, see --print-config."

Source = Annotated[str | None, typer.Argument(metavar="MODEL | CONFIG.toml", show_default=False, help=_SOURCE)]


def _complete(run: RunOptions, keys: Any, console: Console, source: Source = None) -> int:
    """Make the classifier and the editor of a model that lacks them, from its own samples and what labels them.

    Then the model edits by label and by reference. Labels are those of a judge, of one that labelled images teach, or
    of CLIP by any words (extra clip).

    [bold]Examples[/]
    stedit train complete ffhq -o ffhq-complete   [dim]# faces, labelled by the embedded model's judge[/]
    stedit train complete ffhq -o ffhq-complete --resume
    stedit train complete cars -o cars-complete --attr "red: a red car | a car of another colour"
    stedit train complete cats -o cats-complete --labeller photos.zip --labels cats.csv
    """
    values = {field.name: getattr(keys, field.name) for field in fields(keys)}
    flags = {key.removesuffix(OFF): value for key, value in values.items() if value is not None}
    path = Path(source) if source and source.lower().endswith(".toml") else None
    if source and path is None:
        if "model" in flags:
            raise UsageError(f"the model is given twice, as {source} and with --model: leave one of them out")
        flags["model"] = source
    if run.print_config:
        console.result(CompletionConfig.read(path, flags, check=False).to_toml().rstrip("\n"))
        return DONE
    folder = run.run or _run_folder(path, run.output)
    saved = folder / "config.toml"
    if run.resume and path is None and saved.exists():
        path = saved
    config = CompletionConfig.read(path, flags)
    output = run.output or folder / "model"
    if run.output and output.exists() and not run.overwrite:
        raise OutputError(f"cannot write {output}: it exists already, so choose another folder or give --overwrite")

    from stedit.training.completion.train import complete

    @contextmanager
    def stage(title: str, steps: int) -> Iterator[Monitor]:
        console.note(title)
        with training_monitor(console, steps) as monitor:
            yield monitor

    try:
        bundle = complete(
            config, folder, output, stage=stage, resume=run.resume, overwrite=run.overwrite or not run.output
        )
    except KeyboardInterrupt:
        console.note(f"stopped: what is done is kept in {folder}; add --resume to go on")
        return INTERRUPTED
    console.emit({"model": str(bundle.path), "run": str(folder), "outcome": "done"}, str(bundle.path))
    return DONE


def _run_folder(config: Path | None, output: Path | None) -> Path:
    if config is None and output is None:
        raise UsageError("neither an output nor a run is given: name the folder of the new model with -o")
    return config.with_suffix(".run") if config else Path(f"{output}.run")


def _command() -> Any:
    _complete.__annotations__["keys"] = key_flags(CompletionConfig)
    return flatten_options(_complete)


complete = _command()
