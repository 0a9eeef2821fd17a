"""`stedit label-edit`, `stedit reference-edit`, and `stedit edit`, which is whichever of them is meant."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stedit.cli.command import flatten_options
from stedit.cli.console import Console
from stedit.cli.options import (
    BatchOptions,
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
    from stedit.batch import LabelEdit, PhotoOptions, ReferenceEdit

_REF_HELP = "Image or latent file of the person to take the attributes from. Repeat it to take from several."


@flatten_options
def label_edit(
    edit: EditOptions,
    label: LabelOptions,
    faces: FaceFlags,
    result: ResultFlags,
    files: FileOptions,
    many: BatchOptions,
    model: ModelOptions,
    render: RenderOptions,
    console: Console,
    inputs: Inputs = None,
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
    return _edit(inputs, (), edit, label, None, photo_options(faces, result), files, many, model, render, console)


@flatten_options
def reference_edit(
    ref: Annotated[list[Path], typer.Option("--ref", metavar="FILE", show_default=False, help=_REF_HELP)],
    edit: EditOptions,
    reference: ReferenceOptions,
    faces: FaceFlags,
    result: ResultFlags,
    files: FileOptions,
    many: BatchOptions,
    model: ModelOptions,
    render: RenderOptions,
    console: Console,
    inputs: Inputs = None,
) -> int:
    """Edit attributes after another person.

    face.png with --ref jane.png --attr smile gives face.smile-from-jane.png.

    [bold]Examples[/]
    stedit reference-edit --ref jane.png --attr smile face.png
    stedit reference-edit --ref jane.png --attr glasses --sheet face.png
    stedit reference-edit --ref jane.png --attr bangs -r photos -o as-jane
    stedit reference-edit --ref jane.png --ref joe.png --ref-weights 0.7,0.3 --attr smile face.png
    """
    return _edit(inputs, ref, edit, None, reference, photo_options(faces, result), files, many, model, render, console)


@flatten_options
def edit(
    edit: EditOptions,
    label: LabelOptions,
    reference: ReferenceOptions,
    faces: FaceFlags,
    result: ResultFlags,
    files: FileOptions,
    many: BatchOptions,
    model: ModelOptions,
    render: RenderOptions,
    console: Console,
    ref: Annotated[
        list[Path] | None, typer.Option("--ref", metavar="FILE", show_default="edit by name", help=_REF_HELP)
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(
            "--manifest",
            metavar="FILE",
            show_default=False,
            rich_help_panel="Many files",
            help="Many different edits: CSV or JSON lines with source, attribute, strength, reference, output.",
        ),
    ] = None,
    inputs: Inputs = None,
) -> int:
    """Edit attributes, by name or with --ref after another person.

    [bold]Examples[/]
    stedit edit --attr smile face.png                  [dim]# by name[/]
    stedit edit --attr smile --ref jane.png face.png   [dim]# as Jane smiles[/]
    stedit edit --attr smile --format latent face.png  [dim]# the edited code[/]
    stedit edit --manifest edits.csv -o edited         [dim]# each another edit[/]
    """
    if manifest:
        if inputs or many.from_file or many.null:
            raise UsageError("--manifest names all inputs: leave the others out")
        parts = edit, label, reference, photo_options(faces, result), render
        return _edit_rows(manifest, ref or (), parts, files, many, model, console)
    return _edit(
        inputs, ref or (), edit, label, reference, photo_options(faces, result), files, many, model, render, console
    )


def _edit(
    inputs: list[str] | None,
    refs: Sequence[Path],
    options: EditOptions,
    label: LabelOptions | None,
    reference: ReferenceOptions | None,
    photo: PhotoOptions,
    files: FileOptions,
    many: BatchOptions,
    model: ModelOptions,
    render: RenderOptions,
    console: Console,
) -> int:
    from stedit.cli.batch import run_request
    from stedit.hub.find import find_bundle
    from stedit.storage.bundle import Bundle

    parts = options, label or LabelOptions(), reference or ReferenceOptions(), photo, render
    names = many.names(inputs)
    request = _to_request(options.attr or (), options.strength or (), refs, *parts)
    bundle = Bundle.load(find_bundle(model.model))
    return run_request(
        request,
        names,
        bundle,
        verb="Editing",
        files=files,
        many=many,
        model=model,
        console=console,
        file_format=options.format,
    )


def _edit_rows(
    manifest: Path,
    refs: Sequence[Path],
    parts: tuple[EditOptions, LabelOptions, ReferenceOptions, PhotoOptions, RenderOptions],
    files: FileOptions,
    many: BatchOptions,
    model: ModelOptions,
    console: Console,
) -> int:
    """Do the rows of a manifest; what one leaves out is as the options say."""
    from stedit.batch.manifest import Row, plan_manifest, read_manifest
    from stedit.cli.batch import TerminalReporter, run_all, show_plans
    from stedit.cli.exit_codes import NOTHING_TO_DO
    from stedit.hub.find import find_bundle
    from stedit.storage.bundle import Bundle

    options = parts[0]

    def to_request(row: Row) -> LabelEdit | ReferenceEdit:
        attributes, strengths = row.attributes or options.attr or (), row.strengths or options.strength or ()
        return _to_request(attributes, strengths, [Path(ref) for ref in row.references] or refs, *parts)

    rows = read_manifest(manifest)
    if not rows:
        console.note(f"{manifest} has no rows")
        return NOTHING_TO_DO
    plans = plan_manifest(
        rows,
        to_request,
        Bundle.load(find_bundle(model.model)),
        output=files.output,
        file_format=options.format,
        overwrite=files.overwrite,
        precision=model.precision,
        shard=many.parsed_shard,
    )
    if files.dry_run:
        return show_plans(plans, console)
    return run_all(plans, model, TerminalReporter(console, "Editing"), many)


def _to_request(
    attributes: Sequence[str],
    strengths: Sequence[str],
    refs: Sequence[Path],
    options: EditOptions,
    label: LabelOptions,
    reference: ReferenceOptions,
    photo: PhotoOptions,
    render: RenderOptions,
) -> LabelEdit | ReferenceEdit:
    """An edit by label or, if there are references, by reference. Raises UsageError."""
    from stedit.batch import LabelEdit, ReferenceEdit
    from stedit.batch.notation import parse_attributes, parse_layers, parse_strengths_of, parse_weights
    from stedit.cli.inputs import require_file

    names, own_strengths = parse_attributes(attributes)
    if own_strengths and strengths:
        raise UsageError("--attr and --strength both say how far to go: leave one of the numbers out")
    numbers = parse_strengths_of(own_strengths or strengths, len(names))
    refs = [require_file(path, "the reference") for path in refs]
    if refs:
        if label != LabelOptions():
            raise UsageError("--direction, --keep and --layers are for edits by label: leave them out, or --ref")
        return ReferenceEdit(
            names,
            tuple(refs),
            parse_weights(reference.ref_weights, len(refs)) if reference.ref_weights else None,
            numbers,
            reference.attention,
            options.sheet,
            render.to_rendering(),
            photo,
        )
    if reference != ReferenceOptions():
        raise UsageError("--ref-weights and --attention are for edits by reference: name one with --ref")
    return LabelEdit(
        names,
        numbers,
        label.direction,
        label.keep or (),
        None if label.layers is None else parse_layers(label.layers),
        options.sheet,
        render.to_rendering(),
        photo,
        label.strength_unit,
    )
