"""Words as labels: a tiny CLIP of the real classes, which learns here what bright and dark images are called."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from stedit.errors import InputError, UsageError
from stedit.hub.client import cache_folder
from stedit.training.completion.clip import ClipLabeller
from stedit.training.completion.config import CompletionConfig
from stedit.training.completion.train import complete

pytestmark = pytest.mark.skipif(find_spec("transformers") is None, reason="needs the extra clip")

CPU = torch.device("cpu")
WORDS = {"Bright": ("a bright picture", "a dark picture")}


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `save_pretrained` writes it: 32 px, one layer each, a vocabulary of letters."""
    import transformers

    folder = tmp_path_factory.mktemp("clip")
    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**sizes, "vocab_size": len(tokens), "bos_token_id": len(tokens) - 2, "eos_token_id": len(tokens) - 1}
    vision = {**sizes, "image_size": 32, "patch_size": 16}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
    torch.manual_seed(0)
    network = transformers.CLIPModel(config)
    given = tokenizer([text for pair in WORDS.values() for text in pair], padding=True, return_tensors="pt")
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(150):
        level = torch.randn(32, 1, 1, 1) * 0.4
        images = (level + torch.randn(32, 3, 1, 1) * 0.2 + torch.randn(32, 3, 32, 32) * 0.2).clamp(-1, 1)
        dark = (images.mean(dim=(1, 2, 3)) <= 0).long()
        logits = network(**given, pixel_values=images * 2).logits_per_image
        loss = F.cross_entropy(logits, dark)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.25] * 3}))
    return folder


def test_logits_are_those_of_two_softmax_outputs(tiny_clip: Path) -> None:
    """Computed again by the whole model of transformers, which knows nothing of differences."""
    import transformers

    labeller = ClipLabeller(str(tiny_clip), WORDS, CPU)
    images = torch.rand(4, 3, 32, 32) * 2 - 1
    network = transformers.CLIPModel.from_pretrained(tiny_clip).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_clip)
    tokens = tokenizer(list(WORDS["Bright"]), padding=True, return_tensors="pt")
    pixels = ((images + 1) / 2 - 0.5) / 0.25
    with torch.no_grad():
        expected = network(**tokens, pixel_values=pixels).logits_per_image.softmax(dim=1)[:, :1]
    torch.testing.assert_close(labeller.logits(images).sigmoid(), expected, atol=1e-4, rtol=1e-4)
    assert labeller.logits(torch.zeros(1, 3, 64, 64)).shape == (1, 1)  # other sizes are fitted


def test_words_become_an_attribute_that_edits(
    bare_model: Path, tiny_clip: Path, tmp_path: Path, stages: Any, shown: Callable[..., float]
) -> None:
    config = CompletionConfig(
        model=str(bare_model),
        attr=("Bright: a bright picture | a dark picture",),
        clip=str(tiny_clip),
        samples=800,
        inverted_fraction=0.0,
        classifier_steps=300,
        editor_steps=40,
        measured_edits=16,
        device="cpu",
    )
    config.check()
    bundle = complete(config, tmp_path / "run", tmp_path / "whole", stage=stages)
    assert shown(bundle.path, "bright", value=lambda images: images.clamp(-1, 1).mean(dim=(1, 2, 3))) >= 0.8
    assert "by words: Bright: a bright picture | a dark picture" in bundle.read_card()
    assert bundle.training["classifier"]["config"]["attr"] == ["Bright: a bright picture | a dark picture"]


@pytest.mark.usefixtures("hub")
def test_a_model_of_the_hub_is_asked_for_at_its_commit() -> None:
    with pytest.raises(Exception, match="neither a folder nobody/clip here nor a model of this name"):
        ClipLabeller("nobody/clip@0123456789abcdef", WORDS, CPU)
    assert not list(cache_folder().glob("models--nobody--clip/snapshots/*"))


def test_what_is_no_clip_model_is_refused(tiny_clip: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give a folder with a CLIP model, or OWNER/NAME@COMMIT"):
        ClipLabeller("no such thing", WORDS, CPU)
    with pytest.raises(InputError, match="is no CLIP model that can be used"):
        ClipLabeller(str(tmp_path), WORDS, CPU)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(InputError, match="is of another type of model"):
        ClipLabeller(str(tmp_path), WORDS, CPU)
    for file in tiny_clip.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "preprocessor_config.json").write_text('{"image_mean": [0.5], "image_std": [0.0]}')
    with pytest.raises(InputError, match="names no mean and deviation of three colours"):
        ClipLabeller(str(tmp_path), WORDS, CPU)
    (tmp_path / "preprocessor_config.json").unlink()
    tensors = load_file(tmp_path / "model.safetensors")
    save_file({key: value for key, value in tensors.items() if key != "text_projection.weight"}, tmp_path / "less")
    (tmp_path / "less").replace(tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="its weights are not those of its config"):
        ClipLabeller(str(tmp_path), WORDS, CPU)
    (tmp_path / "model.safetensors").write_bytes(b"?")
    with pytest.raises(InputError, match="is no CLIP model that can be used"):
        ClipLabeller(str(tmp_path), WORDS, CPU)
