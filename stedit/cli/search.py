"""`--method` and the options beside it, understood."""

from __future__ import annotations

from stedit.batch.inverter import Search
from stedit.cli.options import SearchOptions
from stedit.errors import UsageError
from stedit.inversion.options import InversionOptions, TuningOptions, parse_losses


def parse_search(options: SearchOptions) -> Search:
    """Raises UsageError for an option that the method would ignore, and for losses that do not exist."""
    descends = options.method in {"optimise", "hybrid"}
    if options.steps is not None and options.method == "encoder":
        raise UsageError("--steps is of no use to the encoder: choose a --method that has steps")
    if options.space != "w+" and not descends:
        raise UsageError(f"the method {options.method} finds codes in w+ only: choose --method optimise or hybrid")
    if options.loss is not None and options.method == "encoder" and not options.tune:
        raise UsageError("--loss is of no use to the encoder: choose a --method that has steps")
    losses = parse_losses(options.loss) if options.loss is not None else {}
    inversion = InversionOptions(steps=options.steps, space=options.space, losses=losses)
    return Search(options.method, inversion, TuningOptions(losses=losses) if options.tune else None)
