"""`stedit label-edit`, `stedit reference-edit`, and `stedit edit`, which is whichever of them is meant."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stedit.cli.command import spread
from stedit.cli.console import Console
from stedit.cli.layers import layers_name, parse_layers
from stedit.cli.options import (
    EditOptions,
    FileOptions,
    Inputs,
    LabelOptions,
    ModelOptions,
    ReferenceOptions,
    RenderOptions,
    TalkOptions,
)
from stedit.errors import UsageError

if TYPE_CHECKING:
    from stedit.batch.plan import Plan
    from stedit.cli.editor import ByLabel, ByReference
    from stedit.engine import Engine
    from stedit.storage.bundle import Bundle

_REF_HELP = "Picture or latent file of the person to take the attributes from. Repeat it to take from several."


@spread
def label_edit(
    inputs: Inputs,
    edit: EditOptions,
    label: LabelOptions,
    files: FileOptions,
    model: ModelOptions,
    render: RenderOptions,
    talk: TalkOptions,
) -> int:
    """Edit attributes by name.

    face.png with --attr smile gives face.smile.png. --strength says how far
    it goes, --direction which way.

    [bold]Examples[/]
    stedit label-edit --attr smile face.png
    stedit label-edit --attr no-glasses --attr beard --sheet face.png
    stedit label-edit --attr smile --strength -2,-1,0,1,2 face.png  [dim]# a strip[/]
    stedit label-edit --attr bangs -r photos -o with-bangs
    stedit label-edit --attr smile --keep mouth-open --layers 2-5 face.png
    stedit label-edit --direction sefa:3 --strength -2,0,2 face.png
    """
    return _edit(inputs, (), edit, label, None, files, model, render, Console(talk))


@spread
def reference_edit(
    inputs: Inputs,
    ref: Annotated[list[Path], typer.Option("--ref", metavar="FILE", show_default=False, help=_REF_HELP)],
    edit: EditOptions,
    reference: ReferenceOptions,
    files: FileOptions,
    model: ModelOptions,
    render: RenderOptions,
    talk: TalkOptions,
) -> int:
    """Edit attributes after another person.

    face.png with --ref jane.png --attr smile gives face.smile-from-jane.png.

    [bold]Examples[/]
    stedit reference-edit --ref jane.png --attr smile face.png
    stedit reference-edit --ref jane.png --attr glasses --sheet face.png
    stedit reference-edit --ref jane.png --attr bangs -r photos -o as-jane
    stedit reference-edit --ref jane.png --ref joe.png --ref-weights 0.7,0.3 --attr smile face.png
    """
    return _edit(inputs, ref, edit, None, reference, files, model, render, Console(talk))


@spread
def edit(
    inputs: Inputs,
    edit: EditOptions,
    label: LabelOptions,
    reference: ReferenceOptions,
    files: FileOptions,
    model: ModelOptions,
    render: RenderOptions,
    talk: TalkOptions,
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
    return _edit(inputs, ref or (), edit, label, reference, files, model, render, Console(talk))


def _edit(
    inputs: Sequence[str],
    refs: Sequence[Path],
    options: EditOptions,
    label: LabelOptions | None,
    reference: ReferenceOptions | None,
    files: FileOptions,
    model: ModelOptions,
    render: RenderOptions,
    console: Console,
) -> int:
    from stedit.batch.plan import PICTURE_FORMATS, Target, edit_name, make_plan
    from stedit.cli.batch import write_all
    from stedit.cli.editor import Editor
    from stedit.editing.attributes import friendly_name, resolve_attribute
    from stedit.hub.find import find_bundle
    from stedit.storage.bundle import Bundle

    bundle = Bundle.load(find_bundle(model.model))
    known = [attribute.name for attribute in bundle.attributes]
    attributes = list(dict.fromkeys(resolve_attribute(name, known) for name in options.attr or ()))
    names = [friendly_name(attribute, sign) for attribute, sign in attributes]
    strengths = parse_strengths(options.strength)
    target = Target.parse(files.output, options.format, (*PICTURE_FORMATS, "latent"))
    if target.format == "latent" and (options.sheet or len(strengths) > 1):
        raise UsageError("a latent file holds one code: leave out --sheet, and give one --strength")
    if refs:
        if label and label != LabelOptions():
            raise UsageError("--direction, --keep and --layers are for edits by label: leave them out, or --ref")
        start_by, ways = _by_reference(refs, reference, options, bundle)
    else:
        if reference and reference != ReferenceOptions():
            raise UsageError("--ref-weights and --attention are for edits by reference: name one with --ref")
        start_by, ways = _by_label(label or LabelOptions(), names, bundle)
    name = edit_name(names, strengths, ways)
    plan = make_plan(
        inputs,
        f"{name}.sheet" if options.sheet else name,
        target,
        known,
        recursive=files.recursive,
        overwrite=files.overwrite,
    )
    if reference and reference.attention:
        _require_place(reference.attention, plan, refs, overwrite=files.overwrite)

    def start(engine: Engine) -> Editor:
        return Editor(
            engine,
            render,
            start_by(engine),
            name=name,
            title=" + ".join(names) or name,
            attributes=[attribute for attribute, _ in attributes],
            strengths=strengths,
            latent=target.format == "latent",
            sheet=options.sheet,
            tell=console.json or console.verbose,
        )

    return write_all(
        plan, target, start, verb="Editing", files=files, model=model, console=console, keep_pictures=options.sheet
    )


def _by_label(
    label: LabelOptions, names: Sequence[str], bundle: Bundle
) -> tuple[Callable[[Engine], ByLabel | ByReference], list[str]]:
    """How to edit by label, and what file names tell of it. Raises UsageError, AttributeNameError."""
    from stedit.cli.editor import ByLabel
    from stedit.editing.attributes import friendly_name, resolve_attribute
    from stedit.editing.directions import LinearDirection, parse_direction

    asked = parse_direction(label.direction)
    linear = isinstance(asked, LinearDirection)
    if not names and not linear:
        raise UsageError("nothing is named to be edited: name an attribute with --attr, or a linear --direction")
    known = [attribute.name for attribute in bundle.attributes]
    keep = sorted({resolve_attribute(name, known)[0] for name in label.keep or ()})
    layers = parse_layers(label.layers, bundle)
    ways = []
    if linear or asked != LabelOptions.direction:
        ways.append(f"along-{asked.title if isinstance(asked, LinearDirection) else asked}")
    if keep:
        ways.append("keep-" + "+".join(friendly_name(name, 1) for name in keep))
    if label.layers:
        ways.append(f"layers-{layers_name(label.layers)}")
    by = ByLabel(names, label.direction, keep, layers)
    return lambda _engine: by, ways


def _by_reference(
    refs: Sequence[Path], reference: ReferenceOptions | None, options: EditOptions, bundle: Bundle
) -> tuple[Callable[[Engine], ByLabel | ByReference], list[str]]:
    """How to edit after other people, and what file names tell of it. Raises UsageError, AttributeNameError."""
    from stedit.batch.pipeline import encode, load
    from stedit.batch.plan import Source, stem_of
    from stedit.cli.editor import ByReference
    from stedit.editing.attributes import resolve_reference_attribute

    known = [attribute.name for attribute in bundle.attributes]
    attributes = list(dict.fromkeys(resolve_reference_attribute(name, known) for name in options.attr or ()))
    if not attributes:
        raise UsageError("nothing is named to take from the reference: name an attribute with --attr")
    ways = ["from-" + "+".join(stem_of(ref) for ref in refs)]
    weights = None
    if reference and reference.ref_weights:
        weights = _parse_weights(reference.ref_weights, len(refs))
        ways.append("weights-" + "-".join(f"{round(100 * weight / sum(weights))}" for weight in weights))

    def start(engine: Engine) -> ByReference:
        references = encode(engine, [load(engine, Source(ref), keep_picture=options.sheet) for ref in refs])
        return ByReference(attributes, references, weights, reference.attention if reference else None)

    return start, ways


def _require_place(attention: Path, plan: Plan, refs: Sequence[Path], *, overwrite: bool) -> None:
    """Refuse to draw the attention of several inputs, or in the place of anything that is needed. Raises UsageError."""
    from stedit.imaging.files import WRITABLE_FORMATS

    if attention.suffix.lower().removeprefix(".") not in WRITABLE_FORMATS:
        raise UsageError(f"--attention {attention} is no picture: end its name in .png")
    jobs = (*plan.jobs, *plan.skipped)
    if len(jobs) > 1:
        raise UsageError(f"--attention draws that of one input, not of {len(jobs)}: give one")
    others = [path for job in jobs for path in (job.source.path, job.output) if path]
    if attention.absolute() in {path.absolute() for path in (*others, *refs)}:
        raise UsageError(f"--attention {attention} would replace another file of this command: choose another place")
    if attention.exists() and not overwrite:
        raise UsageError(f"{attention} exists: choose another place for --attention, or replace it with --overwrite")


def _parse_weights(text: str, count: int) -> list[float]:
    """Read `0.7,0.3`. Raises UsageError."""
    try:
        weights = [float(part) for part in text.split(",")]
    except ValueError:
        weights = []
    if len(weights) != count or not all(0 < weight < math.inf for weight in weights):
        raise UsageError(f"--ref-weights {text} is no list of {count} numbers above 0: give one for each --ref")
    return weights


def parse_strengths(text: str) -> tuple[float, ...]:
    """Read `1`, `-1` or `-2,-1,0,1,2`. Raises UsageError."""
    try:
        strengths = tuple(float(part) for part in text.split(","))
    except ValueError:
        strengths = ()
    if not strengths or not all(math.isfinite(strength) for strength in strengths):
        raise UsageError(f"--strength {text} is no number, nor a list of numbers such as -2,-1,0,1,2")
    return strengths
