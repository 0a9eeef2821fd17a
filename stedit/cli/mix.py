"""`stedit mix`: style mixing and interpolation between two faces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from stedit.cli.command import spread
from stedit.cli.console import Console
from stedit.cli.edit import parse_strengths
from stedit.cli.layers import layers_name, parse_layers
from stedit.cli.options import FileOptions, ModelOptions, RenderOptions, TalkOptions
from stedit.errors import UsageError

if TYPE_CHECKING:
    from stedit.batch.pipeline import Batch, Product, Work
    from stedit.engine import Engine


@spread
def mix(
    face: Annotated[
        str,
        typer.Argument(metavar="FILES", show_default=False, help="A picture, a latent file, a folder of them, or -."),
    ],
    other: Annotated[
        Path, typer.Argument(metavar="OTHER", show_default=False, help="The picture or latent file to mix in.")
    ],
    files: FileOptions,
    model: ModelOptions,
    render: RenderOptions,
    talk: TalkOptions,
    strength: Annotated[
        str | None,
        typer.Option(
            "--strength",
            "-s",
            metavar="NUMBER[,NUMBER...]",
            show_default="0.5, or 1 with --layers",
            help="How far to go: 0 is the first, 1 is the other. A list makes a strip or an animation.",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps", metavar="COUNT", min=2, max=300, show_default=False, help="So many strengths from 0 to 1."
        ),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(
            "--layers", metavar="RANGES", show_default="all", help="Mix these styles only, such as 0-3 for the shape."
        ),
    ] = None,
    format_: Annotated[
        Literal["png", "jpg", "webp", "gif", "latent"] | None,
        typer.Option(
            "--format",
            "-f",
            rich_help_panel="Files",
            show_default="as -o says, or png",
            help="Several pictures are a strip in png and jpg, an animation in webp and gif.",
        ),
    ] = None,
) -> int:
    """Mix two faces, or turn one into the other.

    a.png and b.png give a.mix-b.png, half-way between them. With --layers, the
    styles of these layers are those of the other: the first hold pose, shape
    and hair, the last colours.

    [bold]Examples[/]
    stedit mix a.png b.png
    stedit mix a.png b.png --layers 0-3             [dim]# the shape of b[/]
    stedit mix a.png b.png --steps 7                [dim]# a strip[/]
    stedit mix a.png b.png --steps 24 -o morph.webp [dim]# an animation[/]
    """
    from stedit.batch.pipeline import Product, draw, encode, load, side_by_side, to_latent
    from stedit.batch.plan import PICTURE_FORMATS, Source, Target, edit_name, make_plan, stem_of
    from stedit.cli.batch import write_all
    from stedit.hub.find import find_bundle
    from stedit.imaging.animation import FORMATS, Animation
    from stedit.storage.bundle import Bundle

    bundle = Bundle.load(find_bundle(model.model))
    usual = 1.0 if layers else 0.5
    strengths = _strengths(strength, steps, usual)
    styles = parse_layers(layers, bundle)
    target = Target.parse(files.output, format_, (*PICTURE_FORMATS, "gif", "latent"))
    if target.format == "latent" and len(strengths) > 1:
        raise UsageError("a latent file holds one code: give one --strength")
    if target.format == "gif" and len(strengths) == 1:
        raise UsageError("an animation needs several pictures: give --steps")
    ways = [f"mix-{stem_of(other)}", *([f"layers-{layers_name(layers)}"] if layers else [])]
    name = edit_name((), strengths, ways, usual)
    plan = make_plan(
        [face],
        name,
        target,
        [attribute.name for attribute in bundle.attributes],
        recursive=files.recursive,
        overwrite=files.overwrite,
    )

    def start(engine: Engine) -> Work:
        others = encode(engine, [load(engine, Source(other), keep_picture=False)]).codes

        def work(batch: Batch) -> Sequence[Product]:
            mixed = [engine.mix(batch.codes, others, strength=amount, layers=styles) for amount in strengths]
            if target.format == "latent":
                pairs = zip(mixed[0], batch.sources, strict=True)
                return [Product(to_latent(engine, code, source, name)) for code, source in pairs]
            columns = [draw(engine, codes, noise=render.noise, seed=render.seed) for codes in mixed]
            rows = list(zip(*columns, strict=True))  # one for each input
            if len(strengths) > 1 and target.format in FORMATS:
                return [Product(Animation(row)) for row in rows]
            titles = [f"{amount:.3g}" for amount in strengths]
            return [Product(side_by_side(list(zip(titles, row, strict=True)))) for row in rows]

        return work

    return write_all(plan, target, start, verb="Mixing", files=files, model=model, console=Console(talk))


def _strengths(text: str | None, steps: int | None, usual: float) -> tuple[float, ...]:
    """How far to go each time. Raises UsageError."""
    if text is not None and steps is not None:
        raise UsageError("--strength and --steps both say how far to go: leave one of them out")
    if steps is not None:
        return tuple(step / (steps - 1) for step in range(steps))
    return (usual,) if text is None else parse_strengths(text)
