"""Bundles: what is saved comes back, and a stranger's damaged folder is refused in one sentence."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from stedit.errors import BundleError, MissingPartError, OutputError
from stedit.models.config import ClassifierConfig, EncoderConfig, GeneratorConfig
from stedit.models.generator import Generator
from stedit.models.style_transformer import StyleTransformer
from stedit.storage.bundle import CARD_NAME, Bundle
from stedit.storage.bundle_config import CONFIG_NAME, MAX_CONFIG_BYTES, PART_CONFIGS, AttributeSpec

TINY_ATTRIBUTES = ("Smiling", "Eyeglasses", "Bangs", "Blond_Hair", "No_Beard")  # of the tiny_bundle fixture
GENERATOR = GeneratorConfig(resolution=8, style_dim=4, mapping_layers=1, channels=(4, 4))
TENSORS = {"weight": torch.arange(6.0).reshape(2, 3)}


def save(path: Path, tensors: Mapping[str, torch.Tensor] = TENSORS, **changes: Any) -> Bundle:
    """A bundle with a generator of which only sizes matter."""
    fields: dict[str, Any] = {"name": "small", "domain": "noise", "license": "MIT", "readme": "# small\n"}
    return Bundle.save(path, **{**fields, "parts": {"generator": (GENERATOR, tensors)}, **changes})


@pytest.fixture
def copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model that a test may damage."""
    return shutil.copytree(tiny_bundle, tmp_path / "copy")


def refusal(path: Path) -> str:
    with pytest.raises(BundleError) as caught:
        Bundle.load(path)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert len(sentence) < 500 + len(str(path))
    return sentence


def damage(path: Path, **changes: object) -> str:
    """How the model is refused after some fields of config.json were changed; the reason only."""
    values = json.loads((path / CONFIG_NAME).read_text())
    (path / CONFIG_NAME).write_text(json.dumps({**values, **changes}))
    return reason(path)


def reason(path: Path) -> str:
    match = re.fullmatch(r"the model (.*) cannot be used: (.*); get the model again", refusal(path))
    assert match is not None
    assert match[1] == str(path)
    return match[2]


def part_of(path: Path, name: str, **changes: object) -> dict[str, Any]:
    parts: dict[str, Any] = json.loads((path / CONFIG_NAME).read_text())["parts"]
    parts[name] |= changes
    return parts


# Sound models


def test_bundle_save_and_load_round_trip(tiny_bundle: Path) -> None:
    bundle = Bundle.load(tiny_bundle)
    assert (bundle.path, bundle.name, bundle.domain, bundle.license) == (tiny_bundle, "tiny-32", "noise", "MIT")
    assert bundle.description == "Random weights, for tests."
    assert bundle.alignment == "none"
    assert bundle.training == {"steps": 0}
    assert tuple(attribute.name for attribute in bundle.attributes) == TINY_ATTRIBUTES
    assert {attribute.target_logit for attribute in bundle.attributes} == {3.0}
    assert list(bundle.parts) == ["generator", "encoder", "classifier", "editor", "judge"]
    for name, part in bundle.parts.items():
        data = (tiny_bundle / part.file).read_bytes()
        assert part.file == f"{name}.safetensors"
        assert part.sha256 == hashlib.sha256(data).hexdigest()
        assert part.size == len(data)
        assert part.parameters == sum(tensor.numel() for tensor in load_file(tiny_bundle / part.file).values())
        PART_CONFIGS[name].from_dict(part.config)
    assert sorted(path.name for path in tiny_bundle.iterdir()) == sorted(
        [CARD_NAME, CONFIG_NAME, *(part.file for part in bundle.parts.values())]
    )
    bundle.verify()


def test_tensors_are_read_in_float32_and_fit_their_networks(tiny_bundle: Path) -> None:
    bundle = Bundle.load(tiny_bundle)
    generator = Generator(GeneratorConfig.from_dict(bundle.parts["generator"].config))
    encoder = StyleTransformer(EncoderConfig.from_dict(bundle.parts["encoder"].config))
    for name, network in (("generator", generator), ("encoder", encoder)):
        tensors = bundle.read_part(name)
        assert {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()} == {torch.float32}
        network.load_state_dict(tensors)


def test_torch_is_not_imported_before_tensors_are(tiny_bundle: Path) -> None:
    program = (
        "import sys\n"
        "import stedit.storage.bundle, stedit.storage.latents\n"
        "import stedit.imaging.files, stedit.imaging.sheets, stedit.errors\n"
        "bundle = stedit.storage.bundle.Bundle.load(sys.argv[1])\n"
        "bundle.verify()\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
        "print(bundle.fingerprint)"
    )
    done = subprocess.run([sys.executable, "-c", program, tiny_bundle], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == Bundle.load(tiny_bundle).fingerprint


@pytest.mark.parametrize(
    ("dtype", "stored", "error"), [("float32", "F32", 0.0), ("float16", "F16", 5e-4), ("bfloat16", "BF16", 4e-3)]
)
def test_precision_on_disk(tmp_path: Path, dtype: str, stored: str, error: float) -> None:
    weight = torch.randn(64, 64)
    save(tmp_path / "m", {"weight": weight}, dtype=dtype)
    assert f'"dtype":"{stored}"'.encode() in (tmp_path / "m" / "generator.safetensors").read_bytes()
    read = Bundle.load(tmp_path / "m").read_part("generator")["weight"]
    assert read.dtype == torch.float32
    relative = ((read - weight).abs() / weight.abs()).max().item()
    assert relative <= error
    assert (relative == 0) == (error == 0)


def test_tensor_that_float16_cannot_hold_stays_float32(tmp_path: Path) -> None:
    tensors = {"large": torch.tensor([1e6]), "small": torch.tensor([1.0]), "steps": torch.tensor(70_000)}
    read = save(tmp_path / "m", tensors).read_part("generator")
    assert {name: tensor.item() for name, tensor in read.items()} == {"large": 1e6, "small": 1.0, "steps": 70_000}
    assert read["steps"].dtype == torch.int64


def test_tied_and_strided_tensors_are_saved(tmp_path: Path) -> None:
    shared = torch.randn(4, 6)
    tensors = {"a": shared, "b": shared, "turned": shared.T, "part": shared[:, ::2]}
    read = save(tmp_path / "m", tensors, dtype="float32").read_part("generator")
    for name, tensor in tensors.items():
        torch.testing.assert_close(read[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_diverged_network_is_not_saved(tmp_path: Path, value: float) -> None:
    with pytest.raises(BundleError, match="the tensor 'w' of the generator holds numbers that are not finite"):
        save(tmp_path / "m", {"w": torch.tensor([value])})
    assert list(tmp_path.iterdir()) == []


def test_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    tensors = {name: torch.ones(3) for name in "bca"}
    for name in ("first", "second"):
        save(tmp_path / name, tensors)
    for file in (CONFIG_NAME, CARD_NAME, "generator.safetensors"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()


def test_generator_alone_decides_the_fingerprint(tmp_path: Path) -> None:
    plain = save(tmp_path / "plain")
    expected = hashlib.sha256(plain.parts["generator"].sha256.encode()).hexdigest()[:16]
    assert plain.fingerprint == expected
    classifier = ClassifierConfig(style_count=4, style_dim=4, attributes=1, hidden=(4,), embedding=2)
    more = save(
        tmp_path / "more",
        name="other",
        attributes=[AttributeSpec("Smiling")],
        parts={"generator": (GENERATOR, TENSORS), "classifier": (classifier, TENSORS)},
    )
    assert more.fingerprint == expected
    assert save(tmp_path / "other", {"weight": torch.zeros(2, 3)}).fingerprint != expected


def test_read_part_that_is_missing_raises(tmp_path: Path) -> None:
    with pytest.raises(MissingPartError) as caught:
        save(tmp_path / "m").read_part("editor")
    assert str(caught.value) == "the model 'small' has no editor: choose another"


def test_model_is_replaced_only_on_request(tmp_path: Path) -> None:
    before = save(tmp_path / "m")
    with pytest.raises(OutputError, match="it exists already, so choose another folder"):
        save(tmp_path / "m", {"weight": torch.zeros(1)})
    assert Bundle.load(tmp_path / "m") == before
    after = save(tmp_path / "m", {"weight": torch.zeros(1)}, overwrite=True)
    assert Bundle.load(tmp_path / "m") == after != before
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_folder_that_holds_anything_else_is_never_replaced(tmp_path: Path) -> None:
    save(tmp_path / "m")
    (tmp_path / "m" / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match=r"it holds 'thesis\.tex', which is no part of a model"):
        save(tmp_path / "m", overwrite=True)
    assert (tmp_path / "m" / "thesis.tex").read_text() == "years of work"
    (tmp_path / "file").write_text("text")
    with pytest.raises(OutputError, match=r"cannot write .*file: a part of its path is a file"):
        save(tmp_path / "file", overwrite=True)
    assert (tmp_path / "file").read_text() == "text"


def test_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    assert save(tmp_path / "m").path == tmp_path / "m"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": "../evil"}, "'name' in config.json is '../evil', which is not allowed"),
        ({"alignment": "dlib"}, "'alignment' is 'dlib', none of ffhq, none"),
        ({"license": "MIT\x1b[2J"}, "'license' in config.json holds control characters"),
        ({"parts": {}}, "it has no parts"),
        ({"attributes": [AttributeSpec("Bangs"), AttributeSpec("bangs")]}, "two of its attributes have the same name"),
    ],
)
def test_save_refuses_what_load_would_refuse(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BundleError) as caught:
        save(tmp_path / "m", **changes)
    assert str(caught.value) == f"cannot save the model {tmp_path / 'm'}: {sentence}"
    assert list(tmp_path.iterdir()) == []


# Damaged and hostile models


def test_load_of_a_path_that_is_no_model_raises(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert refusal(tmp_path / "none").startswith(f"there is no model at {tmp_path / 'none'}: ")
    assert refusal(tmp_path / "file").startswith(f"{tmp_path / 'file'} is a file, but a model is a folder")
    assert reason(tmp_path) == "config.json is missing"


@pytest.mark.parametrize("name", [CONFIG_NAME, "generator.safetensors", "editor.safetensors"])
def test_load_with_a_missing_file_raises(copy: Path, name: str) -> None:
    (copy / name).unlink()
    assert reason(copy) == f"{name} is missing"


@pytest.mark.parametrize("name", [CONFIG_NAME, "encoder.safetensors"])
def test_link_out_of_the_folder_is_refused(copy: Path, tmp_path: Path, name: str) -> None:
    (copy / name).rename(tmp_path / name)
    (copy / name).symlink_to(tmp_path / name)
    assert reason(copy) == f"{name} is a link that leads out of the folder"


def test_link_within_or_to_the_folder_is_read(copy: Path, tmp_path: Path) -> None:
    (copy / "encoder.safetensors").rename(copy / "real.safetensors")
    (copy / "encoder.safetensors").symlink_to("real.safetensors")
    (tmp_path / "link").symlink_to(copy)
    Bundle.load(tmp_path / "link").verify()


@pytest.mark.parametrize(
    "file",
    [
        "../generator.safetensors",
        "/etc/passwd",
        "a/b.safetensors",
        "..\\x.safetensors",
        ".safetensors",
        "generator.bin",
        "",
    ],
)
def test_file_name_that_leads_out_of_the_folder_is_refused(copy: Path, file: str) -> None:
    shutil.copy(copy / "generator.safetensors", copy.parent / "generator.safetensors")
    assert (
        damage(copy, parts=part_of(copy, "generator", file=file))
        == f"'file' in config.json is {file!r}, which is not allowed"
    )


def test_changed_byte_fails_the_checksum(copy: Path) -> None:
    data = bytearray((copy / "classifier.safetensors").read_bytes())
    data[-1] ^= 1
    (copy / "classifier.safetensors").write_bytes(data)
    bundle = Bundle.load(copy)
    bundle.read_part("generator")
    expected = f"{copy / 'classifier.safetensors'} is damaged (its checksum differs): get the model again"
    for use in (bundle.verify, lambda: bundle.read_part("classifier")):
        with pytest.raises(BundleError) as caught:
            use()
        assert str(caught.value) == expected


def test_file_that_vanishes_after_loading_raises(copy: Path) -> None:
    bundle = Bundle.load(copy)
    (copy / "encoder.safetensors").unlink()
    with pytest.raises(
        BundleError, match=r"^cannot read .*encoder\.safetensors \(No such file or directory\): get the model"
    ):
        bundle.verify()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
@pytest.mark.parametrize("name", [CONFIG_NAME, "encoder.safetensors"])
def test_unreadable_file_raises(copy: Path, name: str) -> None:
    mode = (copy / name).stat().st_mode
    (copy / name).chmod(0)
    assert refusal(copy) == f"cannot read the model {copy} (Permission denied): check its permissions"
    (copy / name).chmod(mode)


@pytest.mark.parametrize("kept", [0, 4, 8, 100, -1])
def test_truncated_tensor_file_is_refused(copy: Path, kept: int) -> None:
    file = copy / "encoder.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    assert reason(copy).startswith("encoder.safetensors is damaged")


def tensor_file(header: object, payload: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + payload


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (struct.pack("<Q", 2**40), "generator.safetensors claims a header of 1099511627776 bytes"),
        (b"hello, I am a model", "generator.safetensors claims a header of"),
        (
            tensor_file({"w": {"dtype": "F32", "shape": [2**40, 2**20], "data_offsets": [0, 64]}}, bytes(64)),
            "generator.safetensors is damaged",
        ),
        (
            tensor_file({"w": {"dtype": "F32", "shape": [2**30], "data_offsets": [0, 2**32]}}, bytes(64)),
            "generator.safetensors is damaged",
        ),
        (
            tensor_file({"w": {"dtype": "U8", "shape": [64], "data_offsets": [0, 64]}}, bytes(64)),
            "generator.safetensors holds tensors of a type other than BF16, F16, F32, I64",
        ),
    ],
)
def test_tensor_header_that_lies_is_refused(copy: Path, data: bytes, expected: str) -> None:
    (copy / "generator.safetensors").write_bytes(data)
    assert reason(copy).startswith(expected)


def test_huge_tensor_file_is_not_read(copy: Path) -> None:
    with (copy / "generator.safetensors").open("r+b") as file:
        file.truncate(2**31 + 1)  # sparse: takes no room on the disk
    assert reason(copy) == "generator.safetensors is larger than 2 GB"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", "config.json is not JSON"),
        (b"{", "config.json is not JSON"),
        (b"\xff\xfe\x00", "config.json is not JSON"),
        (b"[" * 100_000, "config.json is not JSON"),
        (b'{"format": ' + b"9" * 5000 + b"}", "config.json is not JSON"),
        (b"[1, 2]", "config.json holds no JSON object"),
        (b"null", "config.json holds no JSON object"),
        (b'{"training": ' + b"[" * 50 + b"]" * 50 + b"}", "config.json nests values more than 32 deep"),
        (b"{}", "'format' is missing in config.json"),
        (b" " * (MAX_CONFIG_BYTES + 1), "config.json is larger than 1 MB"),
    ],
)
def test_config_that_is_no_json_object_is_refused(copy: Path, text: bytes, expected: str) -> None:
    (copy / CONFIG_NAME).write_bytes(text)
    assert reason(copy).startswith(expected)


def test_config_numbers_that_json_lacks_are_none(copy: Path) -> None:
    text = (copy / CONFIG_NAME).read_text()
    (copy / CONFIG_NAME).write_text(
        text.replace('"training": {', '"training": {"a": NaN, "b": [-Infinity, 1e999], ', 1)
    )
    training = Bundle.load(copy).training
    assert (training["a"], training["b"]) == (None, [None, None])


def test_parts_that_share_a_file_are_refused(copy: Path) -> None:
    values = json.loads((copy / CONFIG_NAME).read_text())
    name = values["attributes"][0]["name"]
    parts = {**values["parts"], f"editor-{name}": values["parts"]["editor"]}
    assert damage(copy, parts=parts) == "two of its parts name the same file"


def test_parts_too_large_together_are_refused(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stedit.storage.bundle_config.MAX_BUNDLE_BYTES", 1000)
    assert "larger than 0 GB together" in reason(copy)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_part_with_nan_is_refused(copy: Path, value: float) -> None:
    file = copy / "encoder.safetensors"
    tensors = load_file(file)
    key = next(key for key, tensor in tensors.items() if tensor.is_floating_point())
    tensors[key].fill_(value)
    save_file(tensors, file)
    values = json.loads((copy / CONFIG_NAME).read_text())
    values["parts"]["encoder"]["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    (copy / CONFIG_NAME).write_text(json.dumps(values))
    with pytest.raises(BundleError, match=f"its tensor '{key}' holds numbers that are not finite"):
        Bundle.load(copy).read_part("encoder")


@pytest.mark.parametrize(
    ("part", "sizes"),
    [
        ("generator", {"resolution": 2048, "channels": [32] * 10}),
        ("encoder", {"input_height": 2048, "input_width": 2048, "stem_width": 64}),
        ("judge", {"input_height": 2048, "input_width": 2048, "widths": [64, 64]}),
    ],
)
def test_network_sizes_whose_features_fill_memory_are_refused(part: str, sizes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="more than a network here may compute"):
        PART_CONFIGS[part].from_dict(sizes)


def test_newer_format_is_refused(copy: Path) -> None:
    assert damage(copy, format=3) == "it is of the format version 3, and this stedit reads 1 and 2, so upgrade stedit"


def test_format_1_is_read_by_its_names(copy: Path) -> None:
    before = Bundle.load(copy)
    values = json.loads((copy / CONFIG_NAME).read_text())
    assert values["format"] == 2
    old = {"sure": 4.5, "learned_sure": 2.0, "reference_sure": 1.5, "carried": 0.25}
    values["attributes"] = [{"name": name, **old} for name in TINY_ATTRIBUTES]
    encoder = values["parts"]["encoder"]["config"]
    encoder["fold"], encoder["summary_rank"] = encoder.pop("unshuffle"), encoder.pop("query_rank")
    (copy / CONFIG_NAME).write_text(json.dumps({**values, "format": 1}))
    bundle = Bundle.load(copy)
    assert set(bundle.attributes) == {AttributeSpec(name, 4.5, 2.0, 1.5, 0.25) for name in TINY_ATTRIBUTES}
    assert dict(bundle.parts) == dict(before.parts)
    assert bundle.fingerprint == before.fingerprint  # so codes stay valid

    del values["parts"]["generator"]
    (copy / CONFIG_NAME).write_text(json.dumps({**values, "format": 1, "made_for": before.fingerprint}))
    assert Bundle.load(copy).fingerprint == before.fingerprint


def test_format_1_names_mean_nothing_in_format_2(copy: Path) -> None:
    values = json.loads((copy / CONFIG_NAME).read_text())
    encoder = values["parts"]["encoder"]["config"]
    encoder["fold"] = encoder.pop("unshuffle")
    assert "the sizes of the encoder are wrong" in damage(copy, parts=values["parts"])


@pytest.mark.parametrize("part", [None, [], {}, {"config": None}, {"config": [1]}])
def test_format_1_damaged_part_is_refused(copy: Path, part: object) -> None:
    damage(copy, format=1, parts={"generator": part})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"format": True}, "'format' in config.json is not a whole number"),
        ({"format": "1"}, "'format' in config.json is not a whole number"),
        ({"name": 5}, "'name' in config.json is not text"),
        ({"name": "a" * 200}, f"'name' in config.json is {'a' * 200!r}, which is not allowed"),
        ({"domain": None}, "'domain' in config.json is not text"),
        ({"license": ["MIT"]}, "'license' in config.json is not text"),
        ({"description": "\x1b]0;owned\x07"}, "'description' in config.json holds control characters"),
        ({"training": "at home"}, "'training' in config.json is not an object"),
        ({"alignment": "sideways"}, "'alignment' is 'sideways', none of ffhq, none"),
        ({"alignment": []}, "'alignment' in config.json is not text"),
        ({"parts": []}, "'parts' in config.json is not an object"),
        ({"parts": {"generator": "file"}}, "the part generator is no object"),
        (
            {"parts": {"virus": {}}},
            "'virus' is none of the parts generator, encoder, classifier, editor, judge, aligner, identity",
        ),
        ({"attributes": {}}, "'attributes' in config.json is not a list"),
        ({"attributes": ["Smiling"]}, "'attributes' holds something other than objects"),
        ({"attributes": [{}]}, "'name' is missing in config.json"),
        ({"attributes": [{"name": "\x1b"}]}, "'name' in config.json is '\\x1b', which is not allowed"),
        ({"attributes": [{"name": "a"}, {"name": "b"}]}, "the classifier gives 5 attributes, but 2 are named"),
        ({"attributes": [{"name": "a"}, {"name": "A"}]}, "two of its attributes have the same name"),
    ],
)
def test_config_field_of_the_wrong_type_is_refused(copy: Path, changes: dict[str, object], expected: str) -> None:
    assert damage(copy, **changes) == expected


def as_read(value: object) -> object:
    """None for what is no number of JSON."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


@pytest.mark.parametrize("sure", ["3", None, True, 0, -1, 1e9, float("nan"), float("inf")])
def test_target_logit_out_of_range_is_refused(copy: Path, sure: object) -> None:
    attributes = [{"name": name, "target_logit": sure} for name in TINY_ATTRIBUTES]
    assert (
        damage(copy, attributes=attributes)
        == f"'target_logit' is {as_read(sure)!r}, not a number above 0 and up to 100.0"
    )


@pytest.mark.parametrize("key", ["learned_target_logit", "reference_target_logit"])
@pytest.mark.parametrize("logit", ["1", None, True, -1, 101, float("nan")])
def test_learned_target_logit_out_of_range_is_refused(copy: Path, key: str, logit: object) -> None:
    attributes = [{"name": name, key: logit} for name in TINY_ATTRIBUTES]
    assert damage(copy, attributes=attributes) == f"{key!r} is {as_read(logit)!r}, not a number from 0 to 100.0"


@pytest.mark.parametrize("share", ["1", None, True, -0.1, 1.1])
def test_transfer_weight_out_of_range_is_refused(copy: Path, share: object) -> None:
    attributes = [{"name": name, "transfer_weight": share} for name in TINY_ATTRIBUTES]
    assert damage(copy, attributes=attributes) == f"'transfer_weight' is {share!r}, not a number from 0 to 1"


def test_target_logit_of_an_attribute_is_read(copy: Path) -> None:
    values = json.loads((copy / CONFIG_NAME).read_text())
    values["attributes"] = [{"name": name} for name in TINY_ATTRIBUTES]
    values["attributes"][1]["target_logit"] = 5
    (copy / CONFIG_NAME).write_text(json.dumps(values))
    assert [attribute.target_logit for attribute in Bundle.load(copy).attributes] == [3.0, 5.0, 3.0, 3.0, 3.0]


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        (
            "generator",
            {"resolution": 2**40},
            "the sizes of the generator are wrong (resolution is 1099511627776, outside",
        ),
        ("generator", {"resolution": "32"}, "the sizes of the generator are wrong (expected int"),
        ("generator", {"style_dim": 2**62}, "the sizes of the generator are wrong (style_dim is"),
        ("generator", {"channels": [10**9] * 4}, "the sizes of the generator are wrong (channels is"),
        (
            "generator",
            {"channels": [1] * 100_000},
            "the sizes of the generator are wrong (channels holds 100000 widths",
        ),
        ("generator", {"command": "rm"}, "the sizes of the generator are wrong (unknown field 'command')"),
        ("encoder", {"blocks": [10**9] * 4}, "the sizes of the encoder are wrong (blocks is"),
        ("encoder", {"feedforward": 10**12}, "the sizes of the encoder are wrong (feedforward is"),
        ("classifier", {"attributes": 10**12}, "the sizes of the classifier are wrong (attributes is"),
        ("editor", {"layers": 10**6}, "the sizes of the editor are wrong (layers is"),
        ("judge", {"widths": [10**9]}, "the sizes of the judge are wrong (widths is"),
        ("judge", {"input_height": 2}, "the sizes of the judge are wrong (input_height is"),
        ("judge", {"attributes": 6}, "the judge gives 6 attributes, but 5 are named"),
        ("encoder", {"style_count": 9}, "the encoder is for codes of 9 x 16, the generator for (8, 16)"),
        ("classifier", {"style_dim": 8}, "the classifier is for codes of 8 x 8, the generator for (8, 16)"),
    ],
)
def test_network_sizes_absurd_or_in_disagreement_are_refused(
    copy: Path, name: str, changes: dict[str, Any], expected: str
) -> None:
    parts = part_of(copy, name)
    parts[name]["config"] |= changes
    assert damage(copy, parts=parts).startswith(expected)


@pytest.mark.parametrize("sha256", ["", "0" * 63, "Z" * 64, 5])
def test_malformed_checksum_is_refused(copy: Path, sha256: object) -> None:
    assert damage(copy, parts=part_of(copy, "generator", sha256=sha256)).startswith("'sha256' in config.json is ")


def test_partial_bundle_without_a_generator_loads(copy: Path) -> None:
    values = json.loads((copy / CONFIG_NAME).read_text())
    del values["parts"]["generator"]
    (copy / CONFIG_NAME).write_text(json.dumps(values))
    assert Bundle.load(copy).fingerprint == ""
    (copy / CONFIG_NAME).write_text(json.dumps({**values, "generator_fingerprint": "0123456789abcdef"}))
    assert Bundle.load(copy).fingerprint == "0123456789abcdef"
    (copy / CONFIG_NAME).write_text(json.dumps({**values, "generator_fingerprint": "../../etc"}))
    assert "'generator_fingerprint' in config.json is '../../etc'" in refusal(copy)


def test_bundle_without_parts_is_refused(copy: Path) -> None:
    assert damage(copy, parts={}) == "it has no parts"


def test_partial_bundle_parts_must_agree(copy: Path) -> None:
    parts = part_of(copy, "encoder")
    del parts["generator"]
    parts["classifier"]["config"] |= {"style_count": 10}
    assert damage(copy, parts=parts) == "the classifier is for codes of 10 x 16, the encoder for (8, 16)"


def test_part_that_is_a_folder_is_refused(copy: Path) -> None:
    (copy / "editor.safetensors").unlink()
    (copy / "editor.safetensors").mkdir()
    assert reason(copy) == "editor.safetensors is missing"


def loaded_or_refused(path: Path) -> None:
    """Anything but a BundleError of one sentence is a bug."""
    try:
        Bundle.load(path)
    except BundleError as error:
        sentence = str(error)
    else:
        return
    assert "\n" not in sentence


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
PLACES = [
    *[
        (key,)
        for key in (
            "format",
            "name",
            "domain",
            "license",
            "description",
            "alignment",
            "training",
            "attributes",
            "parts",
        )
    ],
    *[
        ("parts", "encoder"),
        ("parts", "encoder", "file"),
        ("parts", "encoder", "sha256"),
        ("parts", "encoder", "config"),
    ],
    *[("parts", "generator", "config", key) for key in ("resolution", "style_dim", "channels", "mapping_layers")],
    *[("parts", "encoder", "config", key) for key in ("widths", "blocks", "reduction", "heads", "position_embedding")],
]


@pytest.fixture(scope="module")
def scratch(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tiny model whose config.json is written anew for every example."""
    return shutil.copytree(tiny_bundle, tmp_path_factory.mktemp("scratch") / "model")


@settings(max_examples=300)
@given(place=st.sampled_from(PLACES), value=JSON)
def test_fuzz_any_value_in_any_config_field(
    tiny_bundle: Path, scratch: Path, place: tuple[str, ...], value: object
) -> None:
    values = json.loads((tiny_bundle / CONFIG_NAME).read_text())
    inner = values
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    (scratch / CONFIG_NAME).write_text(json.dumps(values))
    loaded_or_refused(scratch)


@settings(max_examples=300)
@given(st.binary(max_size=300) | st.binary(max_size=200).map(lambda text: struct.pack("<Q", len(text)) + text))
def test_fuzz_any_bytes_in_a_tensor_file(tiny_bundle: Path, scratch: Path, data: bytes) -> None:
    shutil.copy(tiny_bundle / CONFIG_NAME, scratch / CONFIG_NAME)
    (scratch / "editor.safetensors").write_bytes(data)
    loaded_or_refused(scratch)
    shutil.copy(tiny_bundle / "editor.safetensors", scratch / "editor.safetensors")


def test_card_link_out_of_the_folder_or_too_large_is_refused(copy: Path, tmp_path: Path) -> None:
    bundle = Bundle.load(copy)
    (copy / CARD_NAME).write_text("# ü\n", encoding="utf-8")
    assert bundle.read_card() == "# ü\n"
    os.truncate(copy / CARD_NAME, 2**20 + 1)
    with pytest.raises(BundleError, match="larger than 1 MB"):
        bundle.read_card()
    (copy / CARD_NAME).unlink()
    assert bundle.read_card() == ""
    (tmp_path / "secret").write_text("x")
    (copy / CARD_NAME).symlink_to(tmp_path / "secret")
    with pytest.raises(BundleError, match="leads out of the folder"):
        bundle.read_card()
