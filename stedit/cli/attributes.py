"""`stedit attributes`: what the classifier sees in a picture, and which attributes it knows at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from stedit.cli.command import spread
from stedit.cli.console import DONE, Console
from stedit.cli.options import ModelOptions, Recursive, TalkOptions

if TYPE_CHECKING:
    from stedit.batch.pipeline import Batch, Product, Work
    from stedit.engine import Engine
    from stedit.storage.bundle import Bundle


@spread
def attributes(
    model: ModelOptions,
    talk: TalkOptions,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILES", help="Pictures, folders of pictures, latent files, or -; none to list what is known."
        ),
    ] = None,
    recursive: Recursive = False,
) -> int:
    """Say how probable each attribute of a picture is.

    The most probable come first. Without a file, list the names that --attr takes.

    [bold]Examples[/]
    stedit attributes           [dim]# the names[/]
    stedit attributes face.png
    stedit attributes --json -r photos > attributes.jsonl
    """
    from stedit.batch.pipeline import Product
    from stedit.batch.plan import Job, Plan, gather
    from stedit.cli.batch import run
    from stedit.hub.find import find_bundle
    from stedit.storage.bundle import Bundle

    bundle = Bundle.load(find_bundle(model.model))
    console = Console(talk)
    if not inputs:
        return _list_known(bundle, console)
    gathered = gather(inputs, recursive=recursive, attributes=None)
    plan = Plan(tuple(Job(source, None) for source in gathered.sources), (), gathered)

    def start(engine: Engine) -> Work:
        def work(batch: Batch) -> Sequence[Product]:
            products = []
            for source, row in zip(batch.sources, engine.classify(batch.codes), strict=True):
                named = sorted(zip(engine.attributes, map(float, row), strict=True), key=lambda pair: -pair[1])
                text = "\n".join([source.name, *(f"  {probability:.3f}  {name}" for name, probability in named)])
                products.append(
                    Product(None, details={"attributes": {name: round(p, 6) for name, p in named}}, text=text)
                )
            return products

        return work

    return run(plan, start, lambda _job, product: product.text, "Classifying", model, console)


def _list_known(bundle: Bundle, console: Console) -> int:
    from stedit.editing.attributes import friendly_name

    names = {attribute.name: friendly_name(attribute.name, 1) for attribute in bundle.attributes}
    if console.json:
        console.data({"model": bundle.name, "attributes": names})
    else:
        width = max((len(friendly) for friendly in names.values()), default=0)
        for name, friendly in names.items():
            console.result(f"{friendly:{width}}  {name}")
    return DONE
