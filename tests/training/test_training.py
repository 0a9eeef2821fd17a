"""Every part learns, on data small enough to learn in seconds, and the same seed gives the same weights."""

from __future__ import annotations

import gzip
import json
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from stedit.errors import InputError
from stedit.models.config import ClassifierConfig, EditorConfig
from stedit.models.edit_transformer import EditTransformer
from stedit.models.generator import MappingNetwork
from stedit.training.attribute_network import train_attribute_network
from stedit.training.classifier import accuracy, train_classifier
from stedit.training.data import LabelledPictures, load_labelled
from stedit.training.editor import Counterfactuals, reference_edit_loss, train_editor
from stedit.training.mapping import fit_mapping


def labelled_codes(count: int) -> tuple[Tensor, Tensor]:
    """Codes (count, 4, 8) in which two attributes are plain directions."""
    labels = torch.randint(2, (count, 2))
    codes = 0.3 * torch.randn(count, 4, 8)
    codes[:, 0, 0] += labels[:, 0] * 2.0 - 1
    codes[:, 1, 3] += labels[:, 1] * 2.0 - 1
    return codes, labels


def test_classifier_learns_and_keeps_the_covariance() -> None:
    codes, labels = labelled_codes(1000)
    config = ClassifierConfig(style_count=4, style_dim=8, attributes=2, hidden=(32,), embedding=4, covariance_rank=4)
    classifier = train_classifier(config, codes[:800], labels[:800], steps=150, batch_size=64)
    assert accuracy(classifier, codes[800:], labels[800:]).min() > 0.97
    gradient = torch.zeros(1, 32)
    gradient[0, 0] = 1
    variance = classifier.spread(gradient)[0, 0].item()
    assert variance == pytest.approx(codes[:800, 0, 0].var().item(), rel=0.05)
    again = train_classifier(config, codes[:800], labels[:800], steps=150, batch_size=64)
    assert all(torch.equal(a, b) for a, b in zip(classifier.parameters(), again.parameters(), strict=True))


def test_editor_learns_the_three_losses_and_true_edits() -> None:
    codes, labels = labelled_codes(600)
    config = ClassifierConfig(style_count=4, style_dim=8, attributes=2, hidden=(32,), embedding=4)
    classifier = train_classifier(config, codes, labels, steps=100, batch_size=64).requires_grad_(False)
    source, reference = torch.randint(600, (2, 300))
    edited = codes[source].clone()
    edited[:, 0, 0] = codes[reference, 0, 0]
    truth = Counterfactuals(source, reference, torch.arange(600, 900), torch.zeros(300, dtype=torch.long))
    everything = torch.cat([codes, edited])
    editor = EditTransformer(EditorConfig(style_count=4, style_dim=8, heads=2, feedforward=32, attributes=2))
    editor = train_editor(
        editor, classifier, everything, ("Smiling", "Eyeglasses"), truth, steps=300, learning_rate=3e-3
    )
    taken = torch.tensor([[True, False]]).expand(300, 2)
    with torch.no_grad():
        answer = editor(codes[source], codes[reference], torch.zeros(300, dtype=torch.long))
        after = reference_edit_loss(classifier, answer, codes[source], codes[reference], taken)
        before = reference_edit_loss(classifier, codes[source], codes[source], codes[reference], taken)
        agreement = ((classifier(answer)[:, 0] > 0) == (classifier(codes[reference])[:, 0] > 0)).float().mean()
    assert after.reference < 0.3 * before.reference
    assert agreement > 0.9


def test_mapping_is_fitted_to_codes_of_known_parameters() -> None:
    mapping = MappingNetwork(8, 2)
    turn = torch.linalg.qr(torch.randn(8, 8)).Q

    def sample(count: int) -> tuple[Tensor, Tensor]:
        z = torch.randn(count, 8)
        return z, torch.tanh(z @ turn)

    assert fit_mapping(mapping, sample, steps=600, batch_size=64) > 0.7
    assert mapping.mean.abs().max() < 0.3


def coloured_squares(count: int) -> LabelledPictures:
    """16 px pictures: a square whose colour is given by three parameters; labels say whether red, green are strong."""
    parameters = np.random.default_rng(0).uniform(-1, 1, (count, 3)).astype(np.float32)
    pixels = np.full((count, 16, 16, 3), 128, np.uint8)
    pixels[:, 4:12, 4:12] = (128 + 120 * parameters).astype(np.uint8)[:, None, None]
    return LabelledPictures(pixels, (parameters[:, :2] > 0).astype(np.uint8), parameters, ("Smiling", "Eyeglasses"))


def write_set(folder: Path, names: list[str]) -> tuple[Path, Path]:
    rows = [{"id": name, "attributes": {"Smiling": i % 2}, "params": [0.5, -i]} for i, name in enumerate(names)]
    records, archive = folder / "set.jsonl.gz", folder / "set.zip"
    records.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    with zipfile.ZipFile(archive, "w") as opened:
        for i, name in enumerate(names[::-1]):
            picture = BytesIO()
            Image.new("RGB", (8, 8), (i, 0, 0)).save(picture, "png")
            opened.writestr(f"{name}.png", picture.getvalue())
    return records, archive


def test_labelled_pictures_come_in_the_order_of_their_records(tmp_path: Path) -> None:
    records, archive = write_set(tmp_path, ["b", "a", "c"])
    data = load_labelled(records, [archive])
    assert data.pixels[:, 0, 0, 0].tolist() == [2, 1, 0]
    assert data.labels.tolist() == [[0], [1], [0]]
    assert data.parameters.tolist() == [[0.5, 0], [0.5, -1], [0.5, -2]]
    assert data.attributes == ("Smiling",)
    assert len(data.join(data).pixels) == 6
    assert data.images(torch.tensor([0])).min() == -1


def test_damaged_sets_are_refused(tmp_path: Path) -> None:
    records, archive = write_set(tmp_path, ["a", "b"])
    (tmp_path / "other.zip").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"other\.zip"):
        load_labelled(records, [tmp_path / "other.zip"])
    with pytest.raises(InputError, match="which no archive holds"):
        load_labelled(records, [])
    records.write_bytes(records.read_bytes()[:-9])
    with pytest.raises(InputError, match=r"set\.jsonl\.gz"):
        load_labelled(records, [archive])


def test_attribute_network_sees_labels_and_parameters() -> None:
    data = coloured_squares(200)
    network = train_attribute_network(data, steps=150, batch_size=32, learning_rate=1e-2)
    seen = network(data.images(torch.arange(200)))
    assert seen.shape == (200, 5)
    assert ((seen[:, :2] > 0).numpy() == (data.labels > 0)).mean() > 0.85
    error = (seen[:, 2:].numpy() - data.parameters) ** 2
    assert error.mean() < 0.5 * data.parameters.var()
