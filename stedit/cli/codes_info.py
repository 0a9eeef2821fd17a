"""`stedit codes info`: what files of latent codes hold."""

from __future__ import annotations

from stedit.cli.command import flatten_options
from stedit.cli.console import Console
from stedit.cli.exit_codes import DONE, FAILED
from stedit.cli.options import CodeInputs
from stedit.errors import InputError


@flatten_options
def info(inputs: CodeInputs, console: Console) -> int:
    """Show which codes are in files, ours or other tools'. Nothing in a file is executed.

    [bold]Examples[/]
    stedit codes info face.latent.safetensors
    stedit codes info latents.pt projected_w.npz --json
    """
    from stedit.batch.exchange import CodeFacts

    failed = False
    for name in inputs:
        try:
            for facts in CodeFacts.of(name):
                console.emit(facts.values(), facts.line())
        except InputError as error:
            console.error(error, name)
            failed = True
    return FAILED if failed else DONE
