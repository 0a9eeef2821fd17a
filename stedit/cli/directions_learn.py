"""`stedit directions learn`: one direction that gives an attribute to every face."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stedit.batch import Record
from stedit.cli.command import flatten_options
from stedit.cli.completion import complete_attribute
from stedit.cli.console import Console
from stedit.cli.exit_codes import DONE, FAILED, NOTHING_TO_DO
from stedit.cli.options import ModelOptions, Overwrite, Recursive
from stedit.errors import AttributeNameError, InputError, UsageError

if TYPE_CHECKING:
    from stedit.batch.code_batch import Latents
    from stedit.batch.inputs import Inputs
    from stedit.engine import Engine
    from stedit.storage.bundle import Bundle
    from stedit.storage.labels import LabelTable


@flatten_options
def learn(
    attr: Annotated[
        str,
        typer.Option(
            "--attr",
            "-a",
            metavar="NAME",
            show_default=False,
            help="What to learn; with --labels, a column of theirs.",
            autocompletion=complete_attribute,
        ),
    ],
    model: ModelOptions,
    console: Console,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILES", help="Images, folders or latent files to learn from; none to sample codes."),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            metavar="FILE",
            show_default="ask the classifier",
            help="A .csv, .jsonl or CelebA's list: a file's name, and 1 or 0 in the column --attr.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            rich_help_panel="Files",
            show_default="NAME.directions.safetensors",
            help="The file to write, for --direction linear:FILE.",
        ),
    ] = None,
    recursive: Recursive = False,
    overwrite: Overwrite = False,
) -> int:
    """Learn one direction that gives an attribute to every face.

    From the classifier: the mean of its gradients. From --labels: the normal of
    the plane between labelled codes, as InterFaceGAN finds it, for attributes
    that the model does not know. A fifth of the codes is held out to measure it.

    [bold]Examples[/]
    stedit directions learn --attr smile
    stedit directions learn --attr glasses -r photos -o glasses.directions.safetensors
    stedit directions learn --attr winking --labels winking.csv -r photos
    stedit edit --attr smile --direction linear:smile.directions.safetensors face.png
    """
    from stedit.batch.inputs import collect_inputs
    from stedit.cli.inputs import expand_inputs
    from stedit.hub.find import find_bundle
    from stedit.storage.bundle import Bundle
    from stedit.storage.directions import SUFFIX, Directions
    from stedit.storage.labels import LabelTable

    files = expand_inputs(inputs) if inputs else []
    bundle = Bundle.load(find_bundle(model.model))
    names = _names(attr, bundle, known_only=labels is None)
    path = output or Path(f"{attr.strip().replace('/', '-')}{SUFFIX}")
    if path.suffix != ".safetensors":
        raise UsageError(f"-o {path} has another ending: end it in {SUFFIX}")
    if labels and not inputs:
        raise UsageError("--labels are of files: name these files, or the folder that they are in")
    if path.exists() and not overwrite:
        console.emit_record(Record(attr, str(path), "skipped"))
        console.note(f"skipped because {path} exists (--overwrite replaces it)")
        return NOTHING_TO_DO
    known = [attribute.name for attribute in bundle.attributes]
    found = collect_inputs(files, recursive=recursive, own_outputs_of=known, code_shape=bundle.code_shape)
    known_labels = _labels_of(LabelTable.read(labels, names), names) if labels else None

    from stedit.engine import Engine

    engine = Engine.from_pretrained(model.model, device=model.device, precision=model.precision)
    codes, present, failed = _codes(engine, found, known_labels, console) if inputs else (None, None, False)
    learned = engine.learn_direction(attr, codes, present)
    metadata = {
        "model": bundle.name,
        "fingerprint": bundle.fingerprint,
        "method": learned.method,
        "codes": str(learned.codes),
        "accuracy": f"{learned.accuracy:.4f}",
    }
    Directions({names[0]: learned.vector}, metadata).save(path)
    details = {"attribute": names[0], "method": learned.method, "codes": learned.codes}
    details["accuracy"] = round(learned.accuracy, 4)
    console.emit_record(Record(attr, str(path), details=details), str(path))
    console.note(f"{names[0]}: right for {learned.accuracy:.1%} of the codes held out, of {learned.codes} in all")
    return FAILED if failed else DONE


def _names(attr: str, bundle: Bundle, *, known_only: bool) -> list[str]:
    """What the attribute may be called in labels, the name in the file first. Raises AttributeNameError, UsageError."""
    from stedit.editing.attributes import resolve_attribute

    try:
        name, sign = resolve_attribute(attr, [attribute.name for attribute in bundle.attributes])
    except AttributeNameError:
        if known_only:
            raise
        return [attr]
    if sign < 0 and known_only:
        raise UsageError(f"{attr!r} is learned as its opposite, {name}: say --attr {name}")
    return [name, attr] if sign > 0 else [attr]


def _labels_of(table: LabelTable, names: Sequence[str]) -> dict[str, bool]:
    """Whether each file, by name, has the attribute, which is called by the first of `names` that a row holds."""
    known = {
        file.casefold(): [label.attributes[name] > 0.5 for name in names if name in label.attributes]
        for file, label in table.rows.items()
    }
    return {file: values[0] for file, values in known.items() if values}


def _codes(
    engine: Engine, found: Inputs, labels: Mapping[str, bool] | None, console: Console
) -> tuple[Latents, list[bool] | None, bool]:
    """The codes (M, N, D) of the inputs that have a label, these labels, and whether any input failed."""
    import numpy as np

    from stedit.batch.codes import read_codes
    from stedit.cli.batch import TerminalReporter

    for name, error in found.unreadable:
        console.error(error, name)
    sources = [source for source in found.sources if labels is None or source.stem.casefold() in labels]
    if not sources:
        raise InputError("there is nothing to learn from: no input is an image or code that has a label")
    if left := len(found.sources) - len(sources):
        console.note(f"{left} left out because they have no label")
    with TerminalReporter(console, "Inverting", errors_only=True) as reporter:
        codes, summary = read_codes(engine, sources, reporter)
    if not codes:
        raise InputError("there is nothing to learn from: no input can be read")
    present = None if labels is None else [labels[source.stem.casefold()] for source in codes]
    return np.stack(list(codes.values())), present, bool(summary.failed or found.unreadable)
