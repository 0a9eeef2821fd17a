"""What the Hub says of a model, read with a bound: neither its size nor its time is the server's to choose."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from stedit._version import __version__
from stedit.hub.model_id import HubModelId

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

MAX_LISTING_BYTES = 2**24
SECONDS = 60.0  # for a listing or a small file: who drips bytes stays within the limit of each read

ResultT = TypeVar("ResultT")


def ask_for_model(model: HubModelId) -> ModelInfo:
    """The Hub's listing. Raises ValueError for senseless answers, TimeoutError, and what the library raises."""
    return within_time(lambda: _ask(model))


def within_time(action: Callable[[], ResultT]) -> ResultT:
    """What `action` gives. Raises TimeoutError if that takes too long; it goes on then, and nobody waits for it."""
    given = Future[ResultT]()

    def act() -> None:
        try:
            given.set_result(action())
        except BaseException as error:  # noqa: BLE001 - whoever waits gets it
            given.set_exception(error)

    threading.Thread(target=act, name="stedit-hub", daemon=True).start()
    try:
        return given.result(SECONDS)
    except TimeoutError as error:
        if given.done():
            raise
        raise TimeoutError(f"it takes longer than {SECONDS:.0f} s") from error


def _ask(model: HubModelId) -> ModelInfo:
    from httpx2 import Response
    from huggingface_hub import constants
    from huggingface_hub.hf_api import ModelInfo
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        build_hf_headers,
        get_session,
        hf_raise_for_status,
    )

    address = f"{constants.ENDPOINT}/api/models/{model.repository}"
    if model.revision is not None:
        address += f"/revision/{quote(model.revision, safe='')}"
    headers = build_hf_headers(library_name="stedit", library_version=__version__)
    timeout, data = constants.HF_HUB_ETAG_TIMEOUT, bytearray()
    with get_session().stream("GET", address, headers=headers, params={"blobs": True}, timeout=timeout) as answer:
        for block in answer.iter_bytes():
            data += block
            if len(data) > MAX_LISTING_BYTES:
                raise ValueError("the Hub's answer is larger than any listing")
    plain = [(name, text) for name, text in answer.headers.items() if not name.lower().startswith("content-")]
    whole = Response(answer.status_code, headers=plain, content=bytes(data), request=answer.request)
    hf_raise_for_status(whole)
    try:
        return ModelInfo(**whole.json())  # type: ignore[no-untyped-call]
    except Exception as error:  # the library takes for granted what an answer holds
        raise ValueError("the Hub's answer makes no sense") from error
