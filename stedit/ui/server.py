"""The page over HTTP, for this machine alone: the address holds a token, and other hosts' names are refused."""

from __future__ import annotations

import hmac
import json
import math
import secrets
import threading
from collections.abc import Awaitable, Callable
from importlib.resources import files
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from stedit.errors import InputError, SteditError, UsageError
from stedit.imaging.files import MAX_FILE_BYTES
from stedit.ui.session import Edits, Session, safe_name

HOSTS = frozenset({"127.0.0.1", "localhost"})
MAX_STRENGTH = 3.0

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self' blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def new_token() -> str:
    """What only who is told the address knows."""
    return secrets.token_urlsafe(18)


def application(session: Session, token: str, first: str = "") -> ASGIApp:
    """The page and what it asks for, under `/TOKEN/`; `first` is the id of a photograph to begin with."""
    page = _Page(session, first)
    routes = [Route(f"/{token}/", page.show), Route(f"/{token}/photo", page.take, methods=["POST"])]
    works = (page.state, page.preview, page.strip, page.command, page.download)
    routes += [Route(f"/{token}/{work.__name__}", page.answer(work)) for work in works]
    return _Guard(Starlette(routes=routes), token)


class _Page:
    """What the page asks for; one thing is computed at a time, since two would only halve each other's speed."""

    def __init__(self, session: Session, first: str) -> None:
        self._session, self._first = session, first
        self._html = files("stedit.ui").joinpath("page.html").read_text(encoding="utf-8")
        self._computing = threading.Lock()

    async def show(self, _: Request) -> Response:
        """The page itself."""
        return HTMLResponse(self._html)

    async def take(self, request: Request) -> Response:
        """A photograph that was dropped."""
        try:
            data = await _body(request)
            name = safe_name(request.query_params.get("name", ""))
            return JSONResponse(await run_in_threadpool(self._add, data, name))
        except SteditError as error:
            return JSONResponse({"error": str(error)}, 400)

    def answer(self, work: Callable[[Request], Response]) -> Callable[[Request], Awaitable[Response]]:
        """A method below as Starlette takes it: in a thread, its errors as sentences."""

        def locked(request: Request) -> Response:
            with self._computing:
                return work(request)

        async def respond(request: Request) -> Response:
            try:
                return await run_in_threadpool(locked, request)
            except SteditError as error:
                return JSONResponse({"error": str(error)}, 400)

        return respond

    def state(self, _: Request) -> Response:
        """What the page begins with."""
        session = self._session
        photo = _photo(session, self._first) if self._first else None
        return JSONResponse({"attributes": session.attributes, "model": session.engine.bundle.name, "photo": photo})

    def preview(self, request: Request) -> Response:
        """The edited photograph in the size of a screen."""
        sharp = request.query_params.get("sharp") == "1"
        return Response(self._session.preview(*_asked(request), sharp=sharp), media_type="image/jpeg")

    def strip(self, request: Request) -> Response:
        """The face at several strengths."""
        key, edits = _asked(request)
        attribute = request.query_params.get("attribute", "")
        return Response(self._session.strip(key, attribute, edits), media_type="image/jpeg")

    def command(self, request: Request) -> Response:
        """The command line that does the same."""
        return PlainTextResponse(self._session.command(*_asked(request)))

    def download(self, request: Request) -> Response:
        """The file that this command writes."""
        name, data = self._session.download(*_asked(request))
        disposition = f"attachment; filename*=UTF-8''{quote(name)}"
        return Response(data, media_type="application/octet-stream", headers={"Content-Disposition": disposition})

    def _add(self, data: bytes, name: str) -> dict[str, object]:
        with self._computing:
            return _photo(self._session, self._session.add(data, name))


class _Guard:
    """Lets through what comes from this machine's own page, and says nothing to anybody else."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        host = Request(scope).headers.get("host", "").partition(":")[0]
        given = scope["path"].lstrip("/").partition("/")[0]
        allowed = host in HOSTS and hmac.compare_digest(given.encode(), self._token.encode())

        async def send_with_headers(message: dict[str, object]) -> None:
            if message["type"] == "http.response.start":
                extra = [(key.lower().encode(), value.encode()) for key, value in _HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *extra]  # type: ignore[misc]
            await send(message)

        app = self._app if allowed else PlainTextResponse("open the address that `stedit ui` printed", 403)
        await app(scope, receive, send_with_headers)  # type: ignore[arg-type]


async def _body(request: Request) -> bytes:
    """What was sent, if it is not larger than a file may be. Raises InputError."""
    size, parts = 0, []
    try:
        async for part in request.stream():
            size += len(part)
            if size > MAX_FILE_BYTES:
                raise InputError(f"the file is larger than {MAX_FILE_BYTES // 2**20} MB: give a smaller picture")
            parts.append(part)
    except ClientDisconnect as error:
        raise InputError("the file did not come whole: drop it again") from error
    return b"".join(parts)


def _asked(request: Request) -> tuple[str, Edits]:
    """The photograph and the edits that a request names. Raises UsageError."""
    query = request.query_params
    try:
        found = json.loads(query.get("edits", "[]"))
        strengths = tuple((str(name), float(strength)) for name, strength in found)
    except (ValueError, TypeError, RecursionError) as error:
        raise UsageError("the edits cannot be read: load the page again") from error
    if len(strengths) > 64 or any(not abs(s) <= MAX_STRENGTH or not math.isfinite(s) for _, s in strengths):
        raise UsageError(f"a strength lies between {-MAX_STRENGTH:g} and {MAX_STRENGTH:g}")
    return query.get("photo", ""), Edits(strengths, query.get("reference", ""))


def _photo(session: Session, key: str) -> dict[str, object]:
    held = session.get(key)
    return {"id": key, "name": held.name, "probabilities": held.probabilities}
