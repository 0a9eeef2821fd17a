"""huggingface_hub as stedit uses it: quietly, its failures translated to HubError."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from stedit._version import __version__
from stedit.errors import HubError, SteditError, describe_cause
from stedit.hub.model_id import HubModelId

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_log = logging.getLogger(__name__)


def hub_api() -> HfApi:
    """The library's client, which says who asks."""
    from huggingface_hub import HfApi

    return HfApi(library_name="stedit", library_version=__version__)


def cache_folder() -> Path:
    """The cache that all programs on huggingface_hub share."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).expanduser()


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE is set."""
    from huggingface_hub import is_offline_mode

    return is_offline_mode()


@contextmanager
def quiet_library(*, bars: bool = True) -> Iterator[None]:
    """Silence the library's messages about retries, and its progress bars where there is no terminal or -q is given."""
    from huggingface_hub import constants
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]
    from huggingface_hub.utils import logging as library_log

    with ExitStack() as stack:
        stack.callback(library_log.set_verbosity, library_log.get_verbosity())
        library_log.set_verbosity(logging.ERROR)
        shown = bars and sys.stderr.isatty() and _log.isEnabledFor(logging.WARNING)
        if not shown and constants.HF_HUB_DISABLE_PROGRESS_BARS is None:  # which goes before whatever is asked here
            stack.enter_context(disable_progress_bars())
        yield


@contextmanager
def translated_errors(model: HubModelId, *, writing: bool = False) -> Iterator[None]:
    """Turn what goes wrong with the Hub into a HubError that says what to do."""
    from httpx2 import HTTPError

    try:
        yield
    except SteditError:
        raise
    except (OSError, ValueError, RuntimeError, HTTPError) as error:
        raise HubError(_sentence(error, model, writing)) from error


def _sentence(error: Exception, model: HubModelId, writing: bool) -> str:
    from huggingface_hub import constants, errors

    page = f"{constants.ENDPOINT}/{model.repository}"
    lost = (
        f"cannot reach {constants.ENDPOINT} for {model} ({describe_cause(error)}): check the connection and try again, "
        "to go on where it stopped; what was pulled before needs no network"
    )
    cache = cache_folder()
    full = (
        f"cannot keep {model} in {cache} ({describe_cause(error)}): free some space, or set HF_HOME to another folder"
    )
    sentences = {  # the first that fits is the one
        errors.OfflineModeIsEnabled: (
            f"cannot fetch {model} while HF_HUB_OFFLINE is set: unset it and try again, once"
        ),
        errors.GatedRepoError: (
            f"{model} is gated: ask for access at {page}, then log in with `hf auth login` or set HF_TOKEN"
        ),
        errors.RepositoryNotFoundError: (
            f"there is neither a folder {model.repository} here nor a model of this name at {constants.ENDPOINT}, or "
            "it is private: check the name, or log in with `hf auth login`"
        ),
        errors.RevisionNotFoundError: (
            f"{model.repository} has no revision {model.branch!r}: see {page}/commits/main for those that it has"
        ),
        errors.HfHubHTTPError: _refusal(error, model, writing),
        errors.LocalEntryNotFoundError: lost,
        ValueError: (
            f"{model} is not a model for this stedit: {describe_cause(error)}; choose another, or tell its owner"
        ),
        RuntimeError: (  # so the library calls it if one of several uploads fails
            f"the upload of {model} broke off ({describe_cause(_root(error))}): push again; what has arrived is not "
            "sent again"
        ),
        OSError: full if getattr(error, "errno", None) else lost,
    }
    return next((text for error_type, text in sentences.items() if isinstance(error, error_type)), lost)


def _refusal(error: Exception, model: HubModelId, writing: bool) -> str:
    """What an answer of the Hub without a name of its own means, and what to do."""
    response = getattr(error, "response", None)
    status = response.status_code if response is not None else 0
    if status == 401:
        text = f"the Hub does not know your token: log in with `hf auth login`, and ask for {model} again"
    elif status == 403 and writing:
        text = f"your token may not write to {model}: log in with one that may, or choose another name"
    elif status == 403:
        text = f"the Hub does not let you have {model}: ask its owner for access"
    elif status == 429:
        text = f"the Hub refuses {model} after too many requests: wait some minutes, or log in"
    elif status >= 500:
        text = f"the Hub returned a server error for {model}: try again later"
    else:
        text = f"the Hub refuses {model}: check the name and the revision"
    detail = getattr(error, "server_message", None)
    return f"{text} ({status}{', ' + describe_cause(ValueError(detail)) if detail else ''})"


def _root(error: Exception) -> Exception:
    return error.__cause__ if isinstance(error.__cause__, Exception) else error
