"""`stedit label-edit`, `stedit reference-edit`, and `stedit edit`, which is whichever of them is meant."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stedit.cli.command import flatten_options
from stedit.cli.console import Console
from stedit.cli.options import (
    EditOptions,
    FaceFlags,
    FileOptions,
    Inputs,
    LabelOptions,
    ModelOptions,
    ReferenceOptions,
    RenderOptions,
    ResultFlags,
    photo_options,
)
from stedit.errors import UsageError

if TYPE_CHECKING:
    from stedit.batch import PhotoOptions

_REF_HELP = "Image or latent file of the person to take the attributes from. Repeat it to take from several."


@flatten_options
def label_edit(
    inputs: Inputs,
    edit: EditOptions,
    label: LabelOptions,
    faces: FaceFlags,
    result: ResultFlags,
    files: FileOptions,
    model: ModelOptions,
    render: RenderOptions,
    console: Console,
) -> int:
    """Edit attributes by name.

    me.jpg with --attr smile gives me.smile.jpg: the photograph with its largest
    face edited. --strength scales the edit, --direction chooses how it is found.

    [bold]Examples[/]
    stedit label-edit --attr smile me.jpg
    stedit label-edit --attr glasses --face all party.jpg
    stedit label-edit --attr no-glasses --attr beard --sheet face.png
    stedit label-edit --attr smile --strength -2,-1,0,1,2 face.png  [dim]# a strip[/]
    stedit label-edit --attr bangs -r photos -o with-bangs
    stedit label-edit --attr smile --keep mouth-open --layers 2-5 face.png
    stedit label-edit --direction sefa:3 --strength -2,0,2 face.png
    """
    return _edit(inputs, (), edit, label, None, photo_options(faces, result), files, model, render, console)


@flatten_options
def reference_edit(
    inputs: Inputs,
    ref: Annotated[list[Path], typer.Option("--ref", metavar="FILE", show_default=False, help=_REF_HELP)],
    edit: EditOptions,
    reference: ReferenceOptions,
    faces: FaceFlags,
    result: ResultFlags,
    files: FileOptions,
    model: ModelOptions,
    render: RenderOptions,
    console: Console,
) -> int:
    """Edit attributes after another person.

    face.png with --ref jane.png --attr smile gives face.smile-from-jane.png.

    [bold]Examples[/]
    stedit reference-edit --ref jane.png --attr smile face.png
    stedit reference-edit --ref jane.png --attr glasses --sheet face.png
    stedit reference-edit --ref jane.png --attr bangs -r photos -o as-jane
    stedit reference-edit --ref jane.png --ref joe.png --ref-weights 0.7,0.3 --attr smile face.png
    """
    return _edit(inputs, ref, edit, None, reference, photo_options(faces, result), files, model, render, console)


@flatten_options
def edit(
    inputs: Inputs,
    edit: EditOptions,
    label: LabelOptions,
    reference: ReferenceOptions,
    faces: FaceFlags,
    result: ResultFlags,
    files: FileOptions,
    model: ModelOptions,
    render: RenderOptions,
    console: Console,
    ref: Annotated[
        list[Path] | None, typer.Option("--ref", metavar="FILE", show_default="edit by name", help=_REF_HELP)
    ] = None,
) -> int:
    """Edit attributes, by name or with --ref after another person.

    [bold]Examples[/]
    stedit edit --attr smile face.png                  [dim]# by name[/]
    stedit edit --attr smile --ref jane.png face.png   [dim]# as Jane smiles[/]
    stedit edit --attr smile --format latent face.png  [dim]# the edited code[/]
    """
    return _edit(inputs, ref or (), edit, label, reference, photo_options(faces, result), files, model, render, console)


def _edit(
    inputs: Sequence[str],
    refs: Sequence[Path],
    options: EditOptions,
    label: LabelOptions | None,
    reference: ReferenceOptions | None,
    photo: PhotoOptions,
    files: FileOptions,
    model: ModelOptions,
    render: RenderOptions,
    console: Console,
) -> int:
    from stedit.batch import LabelEdit, ReferenceEdit
    from stedit.batch.notation import parse_layers, parse_strengths_of, parse_weights
    from stedit.cli.batch import run_request
    from stedit.hub.find import find_bundle
    from stedit.storage.bundle import Bundle

    bundle = Bundle.load(find_bundle(model.model))
    label, reference = label or LabelOptions(), reference or ReferenceOptions()
    strengths = parse_strengths_of(options.strength or (), len(options.attr or ()))
    request: LabelEdit | ReferenceEdit
    if refs:
        if label != LabelOptions():
            raise UsageError("--direction, --keep and --layers are for edits by label: leave them out, or --ref")
        request = ReferenceEdit(
            options.attr or (),
            refs,
            parse_weights(reference.ref_weights, len(refs)) if reference.ref_weights else None,
            strengths,
            reference.attention,
            options.sheet,
            render.to_rendering(),
            photo,
        )
    else:
        if reference != ReferenceOptions():
            raise UsageError("--ref-weights and --attention are for edits by reference: name one with --ref")
        request = LabelEdit(
            options.attr or (),
            strengths,
            label.direction,
            label.keep or (),
            None if label.layers is None else parse_layers(label.layers),
            options.sheet,
            render.to_rendering(),
            photo,
        )
    return run_request(
        request,
        inputs,
        bundle,
        verb="Editing",
        files=files,
        model=model,
        console=console,
        file_format=options.format,
    )
