"""`stedit weights info`: what a model is and what it holds."""

from __future__ import annotations

from stedit.cli.command import flatten_options
from stedit.cli.console import Console
from stedit.cli.exit_codes import DONE
from stedit.cli.weights_facts import facts_of, format_facts
from stedit.cli.weights_models import Model, find_local, hub_id
from stedit.storage.embedded import DEFAULT_MODEL


@flatten_options
def info(console: Console, model: Model = DEFAULT_MODEL) -> int:
    """Show what a model is and what it holds.

    Of a model on the Hub that is not here yet, nothing but its config.json
    is fetched.

    [bold]Examples[/]
    stedit weights info
    stedit weights info ./my-model --json
    stedit weights info jane/my-face
    """
    from stedit import hub
    from stedit.storage.bundle import Bundle

    name = hub_id(model)
    cached = hub.find_cached(name) if name else None
    if name and not cached:
        remote = hub.fetch_info(name)
        facts = facts_of(remote.bundle, model, remote.commit)
    else:
        facts = facts_of(Bundle.load(find_local(model)), model, cached.commit if cached else "")
    console.emit(facts, format_facts(facts))
    return DONE
