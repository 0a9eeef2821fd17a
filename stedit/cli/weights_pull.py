"""`stedit weights pull`: fetch a model from the Hugging Face Hub."""

from __future__ import annotations

from stedit.cli.command import flatten_options
from stedit.cli.console import Console
from stedit.cli.exit_codes import DONE
from stedit.cli.weights_facts import facts_of, yunet_facts
from stedit.cli.weights_models import OnHubOrYunet, require_hub_id


@flatten_options
def pull(console: Console, model: OnHubOrYunet) -> int:
    """Fetch a model from the Hugging Face Hub, or what is new of it; or YuNet, which finds faces.

    It is kept in the Hub's cache and works offline from then on. An
    interrupted download goes on where it stopped. @REV pins a branch, a tag
    or a commit; the line that is printed pins the commit.

    [bold]Examples[/]
    stedit weights pull jane/my-face
    stedit weights pull jane/my-face@v1.0
    stedit edit -a smile --model jane/my-face face.png  [dim]# pulls if need be[/]
    stedit weights pull yunet                           [dim]# for --detector yunet[/]
    """
    from stedit import hub
    from stedit.hub import yunet

    if yunet.is_yunet(model):
        path = yunet.pull_yunet()
        console.emit(yunet_facts(path), str(yunet.MODEL))
        console.verbose_note(f"  {path}")
        return DONE
    name = require_hub_id(model)
    bundle = hub.pull(name)
    commit = bundle.path.name
    console.emit(facts_of(bundle, model, commit), f"{name.repository}@{commit}")
    console.verbose_note(f"  {bundle.path}")
    return DONE
