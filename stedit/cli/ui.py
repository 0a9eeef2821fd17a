"""`stedit ui`: a page in the browser, on this machine, where sliders edit a photograph."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from stedit.cli.command import flatten_options
from stedit.cli.console import Console
from stedit.cli.exit_codes import DONE
from stedit.cli.options import ModelOptions
from stedit.errors import MissingPartError, UsageError
from stedit.storage.embedded import DEFAULT_MODEL


@flatten_options
def ui(
    model: ModelOptions,
    console: Console,
    photo: Annotated[
        Path | None, typer.Argument(metavar="PHOTO", show_default=False, help="A photograph to begin with.")
    ] = None,
    port: Annotated[
        int,
        typer.Option("--port", metavar="NUMBER", min=0, max=65535, show_default="a free one", help="Where to listen."),
    ] = 0,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in the browser; it is printed in any case.")
    ] = True,
) -> int:
    """Edit a photograph with sliders, on a page in the browser.

    The page is on this machine (127.0.0.1) and for you alone: its address holds
    a token. Nothing leaves the machine. Ctrl-C ends it.

    [bold]Examples[/]
    stedit ui me.jpg
    stedit ui --no-browser --port 8000
    """
    try:
        import uvicorn

        from stedit.ui.server import application, new_token
    except ImportError as error:
        raise MissingPartError("the page needs starlette and uvicorn: install stedit[ui]") from error
    from stedit.engine import Engine
    from stedit.ui.session import Session, safe_name

    data = None if photo is None else _read(photo)
    listener = _listen(port)
    engine = Engine.from_pretrained(model.model, device=model.device, precision=model.precision)
    session = Session(engine, "" if model.model == DEFAULT_MODEL else str(model.model))
    first = session.add(data, safe_name(photo.name)) if data is not None and photo is not None else ""
    token = new_token()
    address = f"http://127.0.0.1:{listener.getsockname()[1]}/{token}/"
    console.emit({"address": address}, address)
    if browser:
        import webbrowser

        webbrowser.open(address)
    config = uvicorn.Config(application(session, token, first), log_level="critical", lifespan="off", access_log=False)
    with suppress(KeyboardInterrupt):  # which is how the page ends
        uvicorn.Server(config).run(sockets=[listener])
    return DONE


def _read(photo: Path) -> bytes:
    from stedit.errors import ImageError, describe_cause
    from stedit.imaging.files import MAX_FILE_BYTES

    try:
        with photo.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ImageError(f"cannot read {photo}: {describe_cause(error)}") from error
    if len(data) > MAX_FILE_BYTES:
        raise ImageError(f"{photo} is larger than {MAX_FILE_BYTES // 2**20} MB: give a smaller picture")
    return data


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(128)  # before the address is told: who comes early waits
    except OSError as error:
        listener.close()
        raise UsageError(f"the port {port} is in use: give another one with --port, or none") from error
    return listener
