"""`stedit invert`: pictures to latent codes; `stedit reconstruct`: the pictures that their codes stand for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stedit.cli.command import spread
from stedit.cli.console import Console
from stedit.cli.options import (
    FileOptions,
    Inputs,
    ModelOptions,
    PictureFormat,
    RenderOptions,
    SearchOptions,
    Sheet,
    TalkOptions,
)

if TYPE_CHECKING:
    from stedit.batch.pipeline import Batch, Product, Work
    from stedit.engine import Engine


@spread
def invert(inputs: Inputs, search: SearchOptions, files: FileOptions, model: ModelOptions, talk: TalkOptions) -> int:
    """Find the latent code of each picture.

    face.png gives face.latent.safetensors. Other commands take such a latent
    file in place of a picture, and need not look at the picture again.

    [bold]Examples[/]
    stedit invert face.png
    stedit invert --method hybrid face.png         [dim]# closer, in seconds[/]
    stedit invert --method hybrid --tune face.png  [dim]# closer still[/]
    stedit invert -r photos -o codes               [dim]# a tree of folders[/]
    stedit invert - -o face.latent.safetensors < face.png
    """
    from stedit.batch.inverter import in_words
    from stedit.batch.pipeline import Product, to_latent
    from stedit.batch.plan import Target, make_plan
    from stedit.cli.batch import write_all
    from stedit.cli.search import parse_search
    from stedit.errors import UsageError
    from stedit.hub.find import find_bundle
    from stedit.storage.bundle import Bundle

    asked = parse_search(search)
    bundle = Bundle.load(find_bundle(model.model))
    target = Target.parse(files.output, None, ("latent",))
    plan = make_plan(
        inputs,
        "",
        target,
        [attribute.name for attribute in bundle.attributes],
        recursive=files.recursive,
        overwrite=files.overwrite,
    )

    if search.tune and any(job.output is None for job in plan.jobs):
        raise UsageError("--tune writes two files, and standard output takes one: name an output with -o")

    def start(engine: Engine) -> Work:
        def work(batch: Batch) -> Sequence[Product]:
            return [
                Product(to_latent(engine, code, source, asked.method, tuning), details, in_words(details), tuning)
                for code, source, tuning, details in zip(
                    batch.codes, batch.sources, batch.tunings, batch.details, strict=True
                )
            ]

        return work

    return write_all(
        plan, target, start, verb="Inverting", files=files, model=model, console=Console(talk), search=asked
    )


@spread
def reconstruct(
    inputs: Inputs,
    search: SearchOptions,
    files: FileOptions,
    model: ModelOptions,
    render: RenderOptions,
    talk: TalkOptions,
    format_: PictureFormat = None,
    sheet: Sheet = False,
) -> int:
    """Draw each picture again from its latent code.

    face.png gives face.reconstruct.png. It shows what the model sees in a
    picture, and so what an edit can keep of it.

    [bold]Examples[/]
    stedit reconstruct face.latent.safetensors
    stedit reconstruct --sheet face.png  [dim]# with the source beside it[/]
    stedit reconstruct --method hybrid face.png
    stedit reconstruct - < face.png > again.png
    """
    from stedit.batch.inverter import in_words
    from stedit.batch.pipeline import Product, draw, side_by_side
    from stedit.batch.plan import PICTURE_FORMATS, Target, make_plan
    from stedit.cli.batch import write_all
    from stedit.cli.search import parse_search
    from stedit.hub.find import find_bundle
    from stedit.storage.bundle import Bundle

    asked = parse_search(search)
    bundle = Bundle.load(find_bundle(model.model))
    target = Target.parse(files.output, format_, PICTURE_FORMATS)
    what = "reconstruct.sheet" if sheet else "reconstruct"
    plan = make_plan(
        inputs,
        what,
        target,
        [attribute.name for attribute in bundle.attributes],
        recursive=files.recursive,
        overwrite=files.overwrite,
    )

    def start(engine: Engine) -> Work:
        def work(batch: Batch) -> Sequence[Product]:
            drawn = draw(engine, batch.codes, batch.tunings, noise=render.noise, seed=render.seed)
            if sheet:
                pairs = zip(batch.shown, drawn, strict=True)
                drawn = [side_by_side([("source", source), ("reconstruction", again)]) for source, again in pairs]
            return [Product(one, details, in_words(details)) for one, details in zip(drawn, batch.details, strict=True)]

        return work

    return write_all(
        plan,
        target,
        start,
        verb="Reconstructing",
        files=files,
        model=model,
        console=Console(talk),
        keep_pictures=sheet,
        search=asked,
    )
