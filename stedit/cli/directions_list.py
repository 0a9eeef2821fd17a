"""`stedit directions list`: the directions that --direction takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from stedit.cli.command import flatten_options
from stedit.cli.console import Console
from stedit.cli.exit_codes import DONE, FAILED
from stedit.cli.options import ModelOptions
from stedit.errors import InputError

SEFA_SHOWN = 12


@flatten_options
def list_directions(
    model: ModelOptions,
    console: Console,
    inputs: Annotated[
        list[Path] | None, typer.Argument(metavar="FILES", help="Files of directions; none for those of the model.")
    ] = None,
) -> int:
    """List the directions that --direction takes.

    Without a file: the model's attributes, which need none, and its own SeFa
    directions with their share of all change of the styles.

    [bold]Examples[/]
    stedit directions list
    stedit directions list smile.directions.safetensors
    stedit directions list interfacegan/*.pt --json
    """
    from stedit.checkpoints.interchange import load_directions

    if not inputs:
        return _list_own(model, console)
    failed = False
    for path in inputs:
        try:
            found = load_directions(path)
        except InputError as error:
            console.error(error)
            failed = True
            continue
        shapes = {name: list(vector.shape) for name, vector in found.vectors.items()}
        name_of = f"linear:{path}" if len(shapes) == 1 else f"linear:{path}:{{}}"
        facts = _format_metadata(found.metadata)
        lines = [
            "  ".join([name_of.format(name), " x ".join(map(str, shape)), *facts]) for name, shape in shapes.items()
        ]
        console.emit(
            {"file": str(path), "directions": shapes, "metadata": dict(sorted(found.metadata.items()))},
            "\n".join(lines),
        )
    return FAILED if failed else DONE


def _list_own(model: ModelOptions, console: Console) -> int:
    from stedit.editing.attributes import friendly_name
    from stedit.editing.linear import sefa
    from stedit.engine import Engine

    engine = Engine.from_pretrained(model.model, device=model.device, precision=model.precision)
    _, strengths = sefa(engine.networks.generator)
    shares = [float(value) for value in strengths / strengths.sum()]
    names = [friendly_name(name, 1) for name in engine.attributes]
    lines = [f"--attr {name}" for name in names]
    lines += [f"--direction sefa:{number}  {share:.1%}" for number, share in enumerate(shares[:SEFA_SHOWN])]
    facts = {"model": engine.bundle.name, "attributes": names, "sefa": [round(share, 6) for share in shares]}
    console.emit(facts, "\n".join(lines))
    if not console.json:
        console.note(f"and so on to sefa:{len(shares) - 1}; `stedit directions list FILE` shows those of a file")
    return DONE


def _format_metadata(metadata: Mapping[str, str]) -> list[str]:
    """Where the directions of a file come from, for a person."""
    texts = {"model": "of {}", "method": "from {}", "accuracy": "accuracy {}"}
    return [text.format(metadata[key]) for key, text in texts.items() if key in metadata]
