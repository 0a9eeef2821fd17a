"""`stedit label-edit`, `stedit reference-edit`, and `stedit edit`, which is whichever of them is meant."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stedit.cli.console import Console
from stedit.cli.options import EditOptions, FileOptions, Inputs, ModelOptions, RenderOptions, TalkOptions, spread
from stedit.errors import UsageError

if TYPE_CHECKING:
    from stedit.engine import Engine

_REF_HELP = "Picture or latent file of the person to take the attributes from."


@spread
def label_edit(
    inputs: Inputs, edit: EditOptions, files: FileOptions, model: ModelOptions, render: RenderOptions, talk: TalkOptions
) -> int:
    """Edit attributes by name.

    face.png with --attr smile gives face.smile.png. Unless --strength says
    otherwise, each picture is edited until the classifier is sure.

    [bold]Examples[/]
    stedit label-edit --attr smile face.png
    stedit label-edit --attr no-glasses --attr beard --sheet face.png
    stedit label-edit --attr smile --strength -2,-1,0,1,2 face.png  [dim]# a strip[/]
    stedit label-edit --attr bangs -r photos -o with-bangs
    """
    return _edit(inputs, None, edit, files, model, render, Console(talk))


@spread
def reference_edit(
    inputs: Inputs,
    ref: Annotated[Path, typer.Option("--ref", metavar="FILE", show_default=False, help=_REF_HELP)],
    edit: EditOptions,
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
    """
    return _edit(inputs, ref, edit, files, model, render, Console(talk))


@spread
def edit(
    inputs: Inputs,
    edit: EditOptions,
    files: FileOptions,
    model: ModelOptions,
    render: RenderOptions,
    talk: TalkOptions,
    ref: Annotated[
        Path | None, typer.Option("--ref", metavar="FILE", show_default="edit by name", help=_REF_HELP)
    ] = None,
) -> int:
    """Edit attributes, by name or with --ref after another person.

    [bold]Examples[/]
    stedit edit --attr smile face.png                  [dim]# by name[/]
    stedit edit --attr smile --ref jane.png face.png   [dim]# as Jane smiles[/]
    stedit edit --attr smile --format latent face.png  [dim]# the edited code[/]
    """
    return _edit(inputs, ref, edit, files, model, render, Console(talk))


def _edit(
    inputs: Sequence[str],
    ref: Path | None,
    options: EditOptions,
    files: FileOptions,
    model: ModelOptions,
    render: RenderOptions,
    console: Console,
) -> int:
    from stedit.bundle import Bundle, find_bundle
    from stedit.cli.batch import encode, load, write_all
    from stedit.cli.editor import Editor
    from stedit.cli.plan import PICTURE_FORMATS, Source, Target, edit_name, make_plan
    from stedit.editing.attributes import friendly_name, resolve_attribute

    bundle = Bundle.load(find_bundle(model.model))
    known = [attribute.name for attribute in bundle.attributes]
    attributes = list(dict.fromkeys(resolve_attribute(name, known) for name in options.attr))
    names = [friendly_name(attribute, sign) for attribute, sign in attributes]
    strengths = parse_strengths(options.strength)
    target = Target.parse(files.output, options.format, (*PICTURE_FORMATS, "latent"))
    if target.format == "latent" and (options.sheet or len(strengths) > 1):
        raise UsageError("a latent file holds one code: leave out --sheet, and give one --strength")
    name = edit_name(names, strengths, ref)
    plan = make_plan(inputs, f"{name}.sheet" if options.sheet else name, target, files, known)

    def start(engine: Engine) -> Editor:
        return Editor(
            engine,
            render,
            reference=encode(engine, [load(engine, Source(ref), keep_picture=options.sheet)]) if ref else None,
            name=name,
            names=names,
            attributes=[attribute for attribute, _ in attributes],
            strengths=strengths,
            latent=target.format == "latent",
            sheet=options.sheet,
            tell=console.json or console.verbose,
        )

    return write_all(
        plan, target, start, verb="Editing", files=files, model=model, console=console, keep_pictures=options.sheet
    )


def parse_strengths(text: str) -> tuple[float, ...]:
    """Read `1`, `-1` or `-2,-1,0,1,2`. Raises UsageError."""
    try:
        strengths = tuple(float(part) for part in text.split(","))
    except ValueError:
        strengths = ()
    if not strengths or not all(math.isfinite(strength) for strength in strengths):
        raise UsageError(f"--strength {text} is no number, nor a list of numbers such as -2,-1,0,1,2")
    return strengths
