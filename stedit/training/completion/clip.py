"""Labels by words: which of two descriptions of an image CLIP (Radford et al. 2021) finds nearer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.nn import functional as F

from stedit.errors import InputError, TrainingError, UsageError, describe_cause
from stedit.hub.client import quiet_library, translated_errors
from stedit.hub.model_id import HubModelId

FILES = ("config.json", "model.safetensors", "preprocessor_config.json", "tokenizer*", "vocab.json", "merges.txt")
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # of CLIP's images, in [0, 1]


class ClipLabeller:
    """Attributes in words: each a description of images that have it, and one of those that have not."""

    def __init__(self, source: str, words: Mapping[str, tuple[str, str]], device: torch.device) -> None:
        """Load CLIP from a folder or the Hub, and embed the descriptions.

        Raises:
            TrainingError: transformers is not installed.
            UsageError: the source is neither a folder nor OWNER/NAME.
            InputError: the folder holds no CLIP model; HubError if one cannot be fetched.
        """
        try:
            from transformers import AutoTokenizer, CLIPModel
        except ImportError as error:
            raise TrainingError("attributes in words need transformers: pip install 'stedit[clip]'") from error
        folder = _folder(source)
        self.attributes = tuple(words)
        self.description = f"CLIP ({Path(source).name if Path(source).is_dir() else source}) by words: " + "; ".join(
            f"{name}: {present} | {absent}" for name, (present, absent) in words.items()
        )
        mean, std = _normalisation(folder)
        self._mean, self._std = (torch.tensor(x, device=device)[:, None, None] for x in (mean, std))
        try:
            if json.loads((folder / "config.json").read_bytes()).get("model_type") != "clip":
                raise ValueError("its config.json is of another type of model")  # noqa: TRY301 - as what else is wrong
            network, found = _load(CLIPModel, folder)
            if found["missing_keys"] or found["mismatched_keys"]:  # which transformers would fill with random numbers
                raise ValueError("its weights are not those of its config.json")  # noqa: TRY301 - as above
            tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            texts = [text for pair in words.values() for text in pair]
            tokens = tokenizer(texts, padding=True, truncation=True, return_tensors="pt").to(device)
            self._network = network.eval().requires_grad_(False).to(device)
            with torch.no_grad():
                embeddings = _features(self._network.get_text_features(**tokens))
        except (OSError, ValueError, KeyError, RuntimeError, AttributeError, SafetensorError) as error:
            raise InputError(
                f"{source} is no CLIP model that can be used ({describe_cause(error)}): name another with clip"
            ) from error
        self.size = int(self._network.config.vision_config.image_size)
        present, absent = embeddings.view(len(words), 2, -1).unbind(dim=1)
        # of two softmax outputs, logit_scale * cos, the logit of the first is their difference
        self._directions: Tensor = self._network.logit_scale.exp() * (present - absent)  # (K, P)

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, K)."""
        side = (self.size, self.size)
        fitted = F.interpolate(images, size=side, mode="bicubic", align_corners=False, antialias=True)
        pixels = ((fitted.clamp(-1, 1) + 1) / 2 - self._mean) / self._std
        embeddings = _features(self._network.get_image_features(pixel_values=pixels))
        return (embeddings @ self._directions.T).float()


def _load(model_class: Any, folder: Path) -> tuple[Any, dict[str, Any]]:
    """The network, and what the library says of its weights; without its progress bar."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        network, found = model_class.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
        return network, found
    finally:
        if shown:
            logging.enable_progress_bar()


def _features(answer: Any) -> Tensor:
    """Embeddings of unit length; transformers 5 wraps them, 4 does not."""
    embeddings: Tensor = getattr(answer, "pooler_output", answer)
    return F.normalize(embeddings, dim=-1)


def _folder(source: str) -> Path:
    """Where the model's files are, fetched at its commit if it is on the Hub."""
    if Path(source).is_dir():
        return Path(source)
    model = HubModelId.parse(source)
    if model is None or Path(source).exists():
        raise UsageError(f"clip is {source!r}: give a folder with a CLIP model, or OWNER/NAME@COMMIT on the Hub")
    from huggingface_hub import snapshot_download

    with translated_errors(model), quiet_library():
        return Path(snapshot_download(model.repository, revision=model.revision, allow_patterns=list(FILES)))


def _normalisation(folder: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of the colours that the network takes."""
    try:
        values = json.loads((folder / "preprocessor_config.json").read_bytes())
        mean, std = (tuple(map(float, values[name])) for name in ("image_mean", "image_std"))
    except FileNotFoundError:
        return MEAN, STD
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"cannot read {folder / 'preprocessor_config.json'} ({describe_cause(error)})") from error
    if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        raise InputError(f"{folder / 'preprocessor_config.json'} names no mean and deviation of three colours")
    return mean, std
