"""A page that is served, on the model that ships."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

uvicorn = pytest.importorskip("uvicorn")

from stedit.engine import Engine  # noqa: E402
from stedit.ui.server import application  # noqa: E402
from stedit.ui.session import Session  # noqa: E402

TOKEN = "a-token-for-tests"


@pytest.fixture(scope="session")
def engine(embedded: Engine) -> Engine:
    return embedded


@contextmanager
def served(session: Session, first: str = "") -> Iterator[str]:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(application(session, TOKEN, first), log_level="critical", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/{TOKEN}/"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture(scope="session")
def serve() -> Callable[..., object]:
    return served
