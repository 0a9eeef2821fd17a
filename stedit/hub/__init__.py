"""Models on the Hugging Face Hub: fetch them, keep them, share them.

A model on the Hub is a bundle (see `stedit.storage.bundle`) in a repository, named OWNER/NAME or, to pin it to a
branch, tag or commit, OWNER/NAME@REVISION. It is kept in the cache that all programs on huggingface_hub share (HF_HOME,
HF_HUB_CACHE), asked for with their token (HF_TOKEN, or `hf auth login`), and never when they must stay offline
(HF_HUB_OFFLINE).

What is fetched is `config.json`, which is checked first, then the files that it lists and the model card. `refs` in
the cache name a commit only once all of it is there, so an interrupted update leaves the model as it was.

huggingface_hub is imported when it is needed, since it takes longer than most commands that do not.
"""

from stedit.hub.cache import CachedModel, cached_models, find_cached, remove
from stedit.hub.model_id import HubModelId
from stedit.hub.repository import RemoteModel, fetch_info, find_or_pull, is_non_commercial, one_line, pull, push

__all__ = [
    "CachedModel",
    "HubModelId",
    "RemoteModel",
    "cached_models",
    "fetch_info",
    "find_cached",
    "find_or_pull",
    "is_non_commercial",
    "one_line",
    "pull",
    "push",
    "remove",
]
