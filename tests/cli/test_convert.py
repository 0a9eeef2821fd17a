"""`stedit weights convert` and `assemble`: from files to a model that works, or to one sentence and nothing written."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor
from typer.testing import Result

from stedit.checkpoints import lcnet, psp
from stedit.checkpoints.formats import FORMATS
from stedit.checkpoints.rosinality import generator_names
from stedit.checkpoints.style_transformer import encoder_name
from stedit.engine import Engine
from stedit.imaging.files import fit_image, read_image
from stedit.models.backbone import IdentityNetwork
from stedit.models.config import BackboneConfig, ClassifierConfig, EditorConfig, EncoderConfig, GeneratorConfig
from stedit.models.edit_transformer import EditTransformer
from stedit.models.generator import Generator
from stedit.models.latent_classifier import LatentClassifier
from stedit.models.psp_encoder import PspEncoder
from stedit.models.style_transformer import StyleTransformer
from stedit.storage.bundle import Bundle
from stedit.storage.bundle_config import PART_CONFIGS, AttributeSpec
from stedit.storage.directions import Directions
from stedit.storage.latents import LatentCode

Cli = Callable[..., Result]

STYLE_DIM = lcnet.STYLE_DIM
GENERATOR = GeneratorConfig(resolution=8, style_dim=STYLE_DIM, mapping_layers=1, channels=(8, 4))
BACKBONE = {"stem_width": 4, "widths": (4, 6, 8, STYLE_DIM), "blocks": (1, 1, 1, 1), "reduction": 2}
ENCODER = EncoderConfig(**BACKBONE, style_count=4, style_dim=STYLE_DIM, heads=4, feedforward=8)
CLASSIFIER = ClassifierConfig(style_count=4, style_dim=STYLE_DIM, attributes=40, hidden=(8, 6), embedding=4)
EDITOR = EditorConfig(
    style_count=4, style_dim=STYLE_DIM, heads=4, feedforward=8, doubly_normalised=False, residual=False
)


@pytest.fixture(scope="module")
def generator() -> dict[str, Tensor]:
    """A generator with rosinality's names."""
    torch.manual_seed(0)
    state = Generator(GENERATOR).state_dict()
    names = generator_names(GENERATOR).items()
    return {theirs: state[ours][None] if theirs.endswith("conv.weight") else state[ours] for ours, theirs in names}


@pytest.fixture
def stylegan(generator: dict[str, Tensor]) -> Path:
    torch.save({"g_ema": generator, "latent_avg": torch.ones(STYLE_DIM)}, "stylegan.pt")
    return Path("stylegan.pt")


@pytest.fixture
def inversion(generator: dict[str, Tensor]) -> Path:
    """Encoder and the same generator, whose mapping network was trained on."""
    state = StyleTransformer(ENCODER).state_dict()
    tensors = {f"encoder.module.{encoder_name(ours)}": value for ours, value in state.items() if encoder_name(ours)}
    tensors |= {f"decoder.module.{key}": value for key, value in generator.items()}
    tensors |= {"encoder.module.z": torch.randn(1, 4, STYLE_DIM)}
    tensors["decoder.module.style.1.weight"] = torch.randn(STYLE_DIM, STYLE_DIM)
    torch.save({"state_dict": tensors, "opts": {}, "latent_avg": torch.randn(STYLE_DIM)}, "inversion.pt")
    return Path("inversion.pt")


@pytest.fixture
def classifier() -> Path:
    state = LatentClassifier(CLASSIFIER).state_dict()
    tensors = {key.replace("trunk", "fcs"): value for key, value in state.items() if key.startswith("trunk")}
    for k in range(40):
        tensors[f"indep_fcs.{k}.weight"], tensors[f"indep_fcs.{k}.bias"] = (
            state["embedding_weight"][k],
            state["embedding_bias"][k],
        )
        tensors[f"output_fcs.{k}.weight"], tensors[f"output_fcs.{k}.bias"] = (
            state["logit_weight"][k : k + 1],
            state["logit_bias"][k : k + 1],
        )
    torch.save({"state_dict": tensors}, "classifier.pt", _use_new_zipfile_serialization=False)
    return Path("classifier.pt")


@pytest.fixture
def editor(generator: dict[str, Tensor]) -> Path:
    state = EditTransformer(EDITOR).state_dict()
    tensors = {f"encoder.module.transformerlayer.{key.removeprefix('layers.0.')}": x for key, x in state.items()}
    tensors |= {f"decoder.module.{key}": value for key, value in generator.items()}
    torch.save({"state_dict": tensors, "opts": {}}, "editor.pt")
    return Path("editor.pt")


@pytest.fixture
def arcface() -> Path:
    torch.save(IdentityNetwork(BackboneConfig(**BACKBONE)).state_dict(), "arcface.pth")
    return Path("arcface.pth")


def refused(result: Result) -> str:
    """The sentence of a refusal, after which there is no model, and nothing half-written."""
    assert result.exit_code in (1, 2)
    assert result.stdout == ""
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert not list(Path().glob(".stedit*"))
    return line.removeprefix("error: ")


def contents(folder: str | Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


# Making models


def test_convert_several_files_makes_one_model(
    cli: Cli, inversion: Path, classifier: Path, editor: Path, arcface: Path, face: Path
) -> None:
    result = cli("weights", "convert", inversion, classifier, editor, arcface, "-o", "my-face")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "my-face\n"
    assert f"the generator of {editor} is the same as that of {inversion}, which is kept" in result.stderr
    assert "non-commercial" in result.stderr
    bundle = Bundle.load("my-face")
    bundle.verify()
    assert bundle.name == "my-face"
    assert list(bundle.parts) == ["generator", "encoder", "classifier", "editor", "identity"]
    assert [spec.name for spec in bundle.attributes] == list(lcnet.CELEBA_ATTRIBUTES)
    assert bundle.training["parts"]["editor"] == {
        "file": "editor.pt",
        "sha256": bundle.training["parts"]["editor"]["sha256"],
        "format": "a Style Transformer reference-edit checkpoint",
    }
    assert "| encoder | style-transformer encoder, reads 256 x 256 px | inversion.pt," in (
        bundle.path / "README.md"
    ).read_text(encoding="utf-8")
    assert cli("edit", "--attr", "smile", face, "--model", "my-face").exit_code == 0
    assert cli("edit", "--attr", "smile", "--ref", face, face, "--model", "my-face", "-o", "r.png").exit_code == 0
    assert cli("weights", "verify", "my-face").exit_code == 0
    who = Engine.from_pretrained("my-face", device="cpu").identity_embedding(read_image(face))
    assert who.shape == (1, 512)
    assert np.linalg.norm(who) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("kind", ["psp", "e4e"])
def test_convert_other_encoders_gives_models_that_invert(
    cli: Cli, generator: dict[str, Tensor], face: Path, kind: str
) -> None:
    config = replace(ENCODER, kind=kind)
    state = PspEncoder(config).state_dict()
    tensors = {f"encoder.{psp.encoder_name(ours)}": x for ours, x in state.items() if psp.encoder_name(ours)}
    tensors |= {f"decoder.{key}": value for key, value in generator.items()}
    encoder_type = {ours: theirs for theirs, ours in psp.KINDS.items()}[kind]
    opts = argparse.Namespace(encoder_type=encoder_type, dataset_type="ffhq_encode")
    torch.save({"state_dict": tensors, "opts": opts, "latent_avg": torch.randn(4, STYLE_DIM)}, "other.pt")
    result = cli("weights", "convert", "other.pt", "-o", "other")
    assert result.exit_code == 0, result.stderr
    assert Bundle.load("other").parts["encoder"].config["kind"] == kind
    assert cli("invert", face, "--model", "other").exit_code == 0
    codes = LatentCode.load("face.latent.safetensors").w
    network = PspEncoder(config)
    network.load_state_dict(Bundle.load("other").read_part("encoder"))
    picture = torch.from_numpy(fit_image(read_image(face), (256, 256))).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(codes)[None], network.eval()(picture), rtol=1e-4, atol=1e-4)


def test_convert_same_files_gives_the_same_bytes(cli: Cli, inversion: Path, classifier: Path) -> None:
    for name in ("one", "two"):
        assert cli("weights", "convert", inversion, classifier, "-o", name, "--name", "same").exit_code == 0
    assert contents("one") == contents("two")


def test_convert_records_the_probe_of_each_part(cli: Cli, stylegan: Path) -> None:
    record = json.loads(cli("weights", "convert", stylegan, "-o", "m", "--json").stdout)
    assert record["parts"] == ["generator"]
    w = torch.from_numpy(np.random.default_rng(0).standard_normal((1, STYLE_DIM), dtype=np.float32))
    network: Any = Engine.from_pretrained("m", device="cpu").networks.generator
    with torch.no_grad():
        image = network(network.mapping(w))
    assert record["probe"]["generator"][:2] == pytest.approx(
        [float(image.mean()), float(image.std(correction=0))], abs=2e-3
    )
    assert record["probe"] == Bundle.load("m").training["probe"]


def test_convert_precision_halves_the_size_on_disk(cli: Cli, stylegan: Path) -> None:
    cli("weights", "convert", stylegan, "-o", "full")
    cli("weights", "convert", stylegan, "-o", "half", "--precision", "float16")
    full, half = (sum(map(len, contents(name).values())) for name in ("full", "half"))
    assert half < 0.6 * full


def test_convert_options_set_the_facts_of_the_model(cli: Cli, stylegan: Path) -> None:
    told = {"name": "mine", "license": "CC0-1.0", "domain": "churches", "alignment": "ffhq"}
    options = [text for key, value in told.items() for text in (f"--{key}", value)]
    assert cli("weights", "convert", stylegan, "-o", "m", *options).exit_code == 0
    bundle = Bundle.load("m")
    assert {key: getattr(bundle, key) for key in told} == told


def test_convert_edit_transformer_without_attribute_is_refused(cli: Cli, editor: Path, inversion: Path) -> None:
    assert cli("weights", "convert", inversion, editor, "-o", "m", "--attribute", "Bangs").exit_code == 0
    assert Bundle.load("m").attributes == (AttributeSpec("Bangs"),)


# Adding parts


def test_convert_into_a_model_adds_parts_and_keeps_codes_valid(
    cli: Cli, stylegan: Path, inversion: Path, classifier: Path
) -> None:
    cli("weights", "convert", stylegan, "-o", "m", "--precision", "float16", "--license", "mine", "--name", "first")
    Path("m/README.md").write_text("# my own words\n")
    before = Bundle.load("m")
    assert cli("weights", "convert", classifier, "-o", "m").exit_code == 0
    result = cli("weights", "convert", inversion, "-o", "m")
    assert "is the same as that of first, which is kept" in result.stderr
    after = Bundle.load("m")
    assert after.fingerprint == before.fingerprint
    assert list(after.parts) == ["generator", "encoder", "classifier"]
    assert (after.name, after.license.split("; ")[0]) == ("first", "mine")
    card = Path("m/README.md").read_text()
    assert card.startswith("# my own words\n\n## Added\n")
    assert set(after.training["probe"]) == {"generator", "encoder", "classifier"}


def test_convert_existing_part_needs_overwrite(cli: Cli, inversion: Path) -> None:
    cli("weights", "convert", inversion, "-o", "m")
    before = contents("m")
    again = ("weights", "convert", inversion, "-o", "m")
    assert "m and inversion.pt both have a part 'encoder'" in refused(cli(*again))
    assert contents("m") == before
    assert cli(*again, "--overwrite").exit_code == 0
    assert contents("m")["encoder.safetensors"] == before["encoder.safetensors"]


def test_convert_different_generators_are_refused(cli: Cli, stylegan: Path, inversion: Path) -> None:
    content = torch.load(stylegan)
    content["g_ema"]["conv1.conv.weight"] *= 1.1
    torch.save(content, "tuned.pt")
    sentence = refused(cli("weights", "convert", "tuned.pt", inversion, "-o", "m"))
    assert sentence.startswith("the generators of tuned.pt and inversion.pt differ, so the codes of one mean nothing")
    assert not Path("m").exists()
    cli("weights", "convert", inversion, "-o", "m")
    before = contents("m")
    sentence = refused(cli("weights", "convert", "tuned.pt", "-o", "m", "--overwrite"))
    assert "the encoder of m was made for another generator than that of tuned.pt" in sentence
    assert contents("m") == before


def test_convert_different_sizes_are_refused(cli: Cli, partial_bundles: dict[str, Path], classifier: Path) -> None:
    cli("weights", "assemble", partial_bundles["generator"], "-o", "m")
    before = contents("m")
    sentence = refused(cli("weights", "convert", classifier, "-o", "m"))
    assert "the classifier is for codes of 4 x 512, the generator for (8, 16)" in sentence
    assert contents("m") == before


def test_convert_without_generator_makes_a_partial_bundle(
    cli: Cli, classifier: Path, stylegan: Path, face: Path
) -> None:
    result = cli("weights", "convert", classifier, "-o", "m")
    assert "m has no generator yet" in result.stderr
    assert cli("weights", "info", "m").exit_code == 0
    assert "has no generator, only classifier: join it to one" in cli("invert", face, "--model", "m").stderr
    assert cli("weights", "convert", stylegan, "-o", "m").exit_code == 0
    assert Engine.from_pretrained("m", device="cpu").code_shape == (4, STYLE_DIM)


# Assembling


@pytest.fixture
def partial_bundles(tiny_bundle: Path) -> dict[str, Path]:
    """Each part of the small model in a folder of its own, as training leaves it."""
    tiny = Bundle.load(tiny_bundle)
    made = {}
    for name, part in tiny.parts.items():
        made[name] = Bundle.save(
            f"partial-{name}",
            name=name,
            domain="noise",
            license="MIT",
            parts={name: (PART_CONFIGS[name].from_dict(part.config), tiny.read_bytes(name))},
            attributes=tiny.attributes if name in ("classifier", "editor", "judge") else (),
            generator_fingerprint=tiny.fingerprint,
            readme="",
        ).path
    return made


def test_assemble_partial_bundles_makes_a_model(cli: Cli, partial_bundles: dict[str, Path], tiny_bundle: Path) -> None:
    tiny = Bundle.load(tiny_bundle)
    assert {Bundle.load(path).fingerprint for path in partial_bundles.values()} == {tiny.fingerprint}
    result = cli("weights", "assemble", *partial_bundles.values(), "-o", "whole")
    assert (result.exit_code, result.stdout) == (0, "whole\n")
    whole = Bundle.load("whole")
    assert {name: part.sha256 for name, part in whole.parts.items()} == {
        name: part.sha256 for name, part in tiny.parts.items()
    }
    assert whole.attributes == tiny.attributes
    assert (whole.fingerprint, whole.license) == (tiny.fingerprint, "MIT")
    codes = np.zeros((1, 8, 16), np.float32)
    assert np.array_equal(*(Engine.from_pretrained(m, device="cpu").synthesise(codes) for m in ("whole", tiny_bundle)))


def test_assemble_without_generator_makes_a_partial_bundle(
    cli: Cli, partial_bundles: dict[str, Path], tiny_bundle: Path
) -> None:
    assert (
        cli("weights", "assemble", partial_bundles["encoder"], partial_bundles["editor"], "-o", "joined").exit_code == 0
    )
    assert Bundle.load("joined").fingerprint == Bundle.load(tiny_bundle).fingerprint


def test_assemble_part_of_another_generator_is_refused(cli: Cli, partial_bundles: dict[str, Path]) -> None:
    config = json.loads((partial_bundles["encoder"] / "config.json").read_text())
    (partial_bundles["encoder"] / "config.json").write_text(
        json.dumps({**config, "generator_fingerprint": "0123456789abcdef"})
    )
    sentence = refused(cli("weights", "assemble", partial_bundles["generator"], partial_bundles["encoder"], "-o", "m"))
    assert sentence.startswith("the encoder of encoder was made for another generator than that of generator")
    assert not Path("m").exists()


def test_assemble_different_attribute_orders_are_refused(cli: Cli, partial_bundles: dict[str, Path]) -> None:
    config = json.loads((partial_bundles["editor"] / "config.json").read_text())
    config["attributes"].reverse()
    (partial_bundles["editor"] / "config.json").write_text(json.dumps(config))
    sentence = refused(
        cli(
            "weights",
            "assemble",
            partial_bundles["generator"],
            partial_bundles["classifier"],
            partial_bundles["editor"],
            "-o",
            "m",
        )
    )
    assert sentence.startswith("classifier and editor name different attributes, or name them in another order")


def editor_of(attribute: str, tiny_bundle: Path) -> Path:
    """A partial bundle whose only part is an edit transformer for one attribute."""
    config = EditorConfig(style_count=8, style_dim=16, heads=2, feedforward=32)
    network = EditTransformer(config)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)  # an untrained one changes nothing
    return Bundle.save(
        f"editor-{attribute}",
        name=f"editor-{attribute}",
        domain="noise",
        license="MIT",
        parts={f"editor-{attribute}": (config, network.state_dict())},
        attributes=[AttributeSpec(attribute, target_logit=5.0)],
        generator_fingerprint=Bundle.load(tiny_bundle).fingerprint,
        readme="",
    ).path


def test_assemble_keeps_editors_of_one_attribute(cli: Cli, tiny_bundle: Path) -> None:
    editors = [editor_of(name, tiny_bundle) for name in ("Smiling", "Bangs")]
    result = cli("weights", "assemble", tiny_bundle, *editors, "-o", "whole")
    assert (result.exit_code, result.stdout) == (0, "whole\n")
    whole, tiny = Bundle.load("whole"), Bundle.load(tiny_bundle)
    assert list(whole.parts) == [*tiny.parts, "editor-Bangs", "editor-Smiling"]
    assert whole.attributes == tiny.attributes
    assert whole.parts["editor-Bangs"].sha256 == Bundle.load(editors[1]).parts["editor-Bangs"].sha256
    again = cli("weights", "assemble", "whole", "-o", "again")  # a model that has such parts is taken apart, too
    assert again.exit_code == 0
    assert list(Bundle.load("again").parts) == list(whole.parts)
    engine, plain = (Engine.from_pretrained(model, device="cpu") for model in ("again", tiny_bundle))
    codes = np.random.default_rng(0).normal(size=(2, 1, 8, 16)).astype(np.float32)
    edited, other = (one.edit_by_reference(codes[0], codes[1], "smile") for one in (engine, plain))
    assert not np.allclose(edited, other)  # it is the editor of this attribute that edits


def test_assemble_joins_the_attributes_of_editors(
    cli: Cli, partial_bundles: dict[str, Path], tiny_bundle: Path
) -> None:
    editors = [editor_of(name, tiny_bundle) for name in ("Smiling", "Wearing_Hat")]
    generator, classifier = partial_bundles["generator"], partial_bundles["classifier"]
    assert cli("weights", "assemble", generator, *editors, "-o", "m").exit_code == 0
    assert [(item.name, item.target_logit) for item in Bundle.load("m").attributes] == [
        ("Smiling", 5.0),
        ("Wearing_Hat", 5.0),
    ]
    sentence = refused(cli("weights", "assemble", generator, classifier, *editors, "-o", "n"))
    assert "edits Wearing_Hat, which the classifier of classifier does not know" in sentence


def test_assemble_editor_of_another_generator_is_refused(cli: Cli, tiny_bundle: Path) -> None:
    editor = editor_of("Smiling", tiny_bundle)
    config = json.loads((editor / "config.json").read_text())
    (editor / "config.json").write_text(json.dumps({**config, "generator_fingerprint": "0123456789abcdef"}))
    sentence = refused(cli("weights", "assemble", tiny_bundle, editor, "-o", "m"))
    assert sentence.startswith("the editor-Smiling of editor-Smiling was made for another generator")


def test_assemble_damaged_or_linked_part_is_refused(cli: Cli, partial_bundles: dict[str, Path], tmp_path: Path) -> None:
    file = partial_bundles["encoder"] / "encoder.safetensors"
    outside = tmp_path / "outside.safetensors"
    file.rename(outside)
    file.symlink_to(outside)
    assert "is a link that leads out of the folder" in refused(
        cli("weights", "assemble", partial_bundles["encoder"], "-o", "m")
    )
    file.unlink()
    data = bytearray(outside.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert "is damaged (its checksum differs)" in refused(
        cli("weights", "assemble", partial_bundles["encoder"], "-o", "m")
    )
    assert not Path("m").exists()


# The page


def test_checkpoints_page_commands_are_understood(cli: Cli) -> None:
    """None of its files are here, and that is all that is wrong with them."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "checkpoints.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\$ stedit (.*\w\.(?:pt|pth|pkl) .*)$", page, flags=re.MULTILINE)
    assert len(commands) == 15
    for command in commands:
        assert refused(cli(*shlex.split(command))).endswith(" does not exist: check the spelling"), command
    for known in FORMATS:
        assert known.license == "MIT" or known.license.count("non-commercial") == 1


# Refusals


@pytest.mark.parametrize("legacy", [True, False])
def test_convert_hostile_file_runs_nothing_and_leaves_nothing(cli: Cli, stylegan: Path, legacy: bool) -> None:
    class Harm:
        def __reduce__(self) -> Any:
            return os.system, ("touch harm",)

    torch.save({"g_ema": {"x": Harm()}}, "evil.pt", _use_new_zipfile_serialization=not legacy)
    before = sorted(Path().iterdir())
    sentence = refused(cli("weights", "convert", stylegan, "evil.pt", "-o", "m"))
    assert sentence.startswith("evil.pt cannot be used as a checkpoint: it would run ")
    assert sorted(Path().iterdir()) == before


def test_convert_weights_that_are_not_finite_are_refused(cli: Cli, generator: dict[str, Tensor]) -> None:
    torch.save({"g_ema": {**generator, "conv1.activate.bias": torch.full((8,), float("nan"))}}, "nan.pt")
    sentence = refused(cli("weights", "convert", "nan.pt", "-o", "m"))
    assert sentence.startswith("nan.pt: the checkpoint looks like a rosinality StyleGAN2 checkpoint, but the tensor")
    assert not Path("m").exists()


def test_convert_weights_that_overflow_are_refused(cli: Cli, generator: dict[str, Tensor]) -> None:
    torch.save({"g_ema": {**generator, "conv1.activate.bias": torch.full((8,), 3e38)}}, "huge.pt")
    assert "answers numbers that are not finite" in refused(cli("weights", "convert", "huge.pt", "-o", "m"))
    assert not Path("m").exists()


def test_convert_unknown_file_is_refused(cli: Cli) -> None:
    torch.save([1, 2], "list.pt")
    assert refused(cli("weights", "convert", "list.pt", "-o", "m")).startswith(
        "list.pt: it holds no dictionary of tensors"
    )
    torch.save({"layer.weight": torch.randn(70, 3)}, "other.pt")
    assert "is of no known format" in refused(cli("weights", "convert", "other.pt", "-o", "m"))
    assert "does not exist" in refused(cli("weights", "convert", "gone.pt", "-o", "m"))


def test_convert_unwritable_place_is_refused(cli: Cli, stylegan: Path) -> None:
    assert "create it first" in refused(cli("weights", "convert", stylegan, "-o", "no/such/place"))
    assert "a model is a folder" in refused(cli("weights", "convert", stylegan, "-o", stylegan))
    assert "leave out the suffix" in refused(cli("weights", "convert", stylegan, "-o", "m.safetensors"))
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("keep me")
    assert "config.json is missing" in refused(cli("weights", "convert", stylegan, "-o", "mine", "--overwrite"))
    assert contents("mine") == {"notes.txt": b"keep me"}
    for options in (["--name", "../x"], ["--attribute", "a b"]):
        assert cli("weights", "convert", stylegan, "-o", "m", *options).exit_code == 2
    assert not Path("m").exists()


# Directions


def test_convert_directions_writes_a_file(cli: Cli) -> None:
    age, pose = torch.randn(1, 512), torch.randn(1, 18, 512)
    torch.save(age, "age.pt")
    torch.save(pose, "pose.pt", _use_new_zipfile_serialization=False)
    np.save("smile.npy", np.ones((1, 512)))
    result = cli("weights", "convert", "age.pt", "pose.pt", "smile.npy", "-o", "d.safetensors", "--json")
    assert json.loads(result.stdout)["directions"] == {"age": [1, 512], "pose": [18, 512], "smile": [1, 512]}
    with safe_open("d.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "stedit-directions-1"}
        assert torch.equal(file.get_tensor("age"), age)
        assert torch.equal(file.get_tensor("pose"), pose[0])
        assert file.get_tensor("smile").dtype == torch.float32
    assert "it exists already" in refused(cli("weights", "convert", "age.pt", "-o", "d.safetensors"))
    assert cli("weights", "convert", "age.pt", "-o", "d.safetensors", "--overwrite").exit_code == 0


def test_convert_components_scales_them_by_deviations(cli: Cli) -> None:
    components, deviations = torch.randn(80, 1, 512), torch.rand(80) + 1
    torch.save({"mean": torch.randn(1, 512), "comp": components, "std": deviations}, "ffhq_pca.pt")
    assert cli("weights", "convert", "ffhq_pca.pt", "-o", "d.safetensors").exit_code == 0
    with safe_open("d.safetensors", framework="pt") as file:
        assert sorted(file.keys())[:2] == ["ffhq_pca-00", "ffhq_pca-01"]
        assert len(file.keys()) == 80
        torch.testing.assert_close(file.get_tensor("ffhq_pca-07")[0], components[7, 0] * deviations[7])


@pytest.mark.parametrize(
    ("value", "name", "sentence"),
    [
        (torch.full((512,), float("nan")), "age", "numbers that are not finite"),
        (torch.zeros(512), "age", "a direction is zero"),
        (torch.ones(2, 3, 512), "age", "neither (D,) nor (N, D) of a code"),
        (torch.ones(512), "my age", "cannot be called 'my age': rename the file"),
    ],
)
def test_convert_tensors_that_are_no_directions_are_refused(cli: Cli, value: Tensor, name: str, sentence: str) -> None:
    torch.save(value, f"{name}.pt")
    assert sentence in refused(cli("weights", "convert", f"{name}.pt", "-o", "d.safetensors"))
    assert not Path("d.safetensors").exists()


def test_convert_directions_into_a_model_is_refused(cli: Cli, stylegan: Path) -> None:
    torch.save(torch.ones(512), "age.pt")
    assert "into NAME.safetensors" in refused(cli("weights", "convert", stylegan, "age.pt", "-o", "m"))
    assert "write them to m.safetensors" in refused(cli("weights", "convert", "age.pt", "-o", "m"))
    Path("more").mkdir()
    torch.save(torch.ones(512), "more/age.pt")
    result = cli("weights", "convert", "age.pt", "more/age.pt", "-o", "d.safetensors")
    assert "two files hold a direction 'age'" in refused(result)


def test_convert_names_in_safetensors_are_no_paths(cli: Cli) -> None:
    from safetensors.torch import save_file

    save_file({"../../evil": torch.ones(512)}, "d.safetensors", {"file": "../../evil"})
    assert "cannot be called '../../evil'" in refused(cli("weights", "convert", "d.safetensors", "-o", "e.safetensors"))
    save_file({"conv": torch.ones(70, 512), "../x": torch.ones(2)}, "m.safetensors", {"path": "/etc/passwd"})
    assert "of no known format" in refused(cli("weights", "convert", "m.safetensors", "-o", "m"))


@pytest.fixture
def child(cli: Cli, tiny_bundle: Path) -> Path:
    """A generator that was fine-tuned from the small model's, and says so, as converting does."""
    tiny = Bundle.load(tiny_bundle)
    config, _ = tiny.stored_parts()["generator"]
    tensors = tiny.read_part("generator")
    tensors["blocks.3.to_rgb.bias"] = tensors["blocks.3.to_rgb.bias"] + 0.5
    tensors["blocks.1.layers.0.conv.weight"] = tensors["blocks.1.layers.0.conv.weight"] * 1.1
    parts = {"generator": (config, tensors)}
    Bundle.save("tuned", name="tuned", domain="noise", license="MIT", parts=parts, readme="")
    result = cli("weights", "assemble", "tuned", "-o", "child", "--derived-from", tiny_bundle)
    assert result.exit_code == 0, result.stderr
    return Path("child")


def test_a_derived_generator_takes_codes_and_directions_of_its_parent(
    cli: Cli, child: Path, tiny_bundle: Path, face: Path
) -> None:
    parent = Bundle.load(tiny_bundle)
    assert Bundle.load(child).derived_from == parent.fingerprint
    assert json.loads(cli("weights", "info", child, "--json").stdout)["derived_from"] == parent.fingerprint
    assert cli("invert", face).exit_code == 0
    code = "face.latent.safetensors"
    rendered = cli("reconstruct", "-m", child, code, "-o", "seen.png")
    assert rendered.exit_code == 0, rendered.stderr
    w = torch.from_numpy(LatentCode.load(code).w)[None]
    expected = Engine.from_pretrained(child, device="cpu").synthesise(w.numpy())[0]
    assert np.array_equal(read_image("seen.png"), expected)
    made_for = {"model": "p", "fingerprint": parent.fingerprint}
    Directions({"up": np.ones((8, 16), np.float32)}, made_for).save("d.safetensors")
    moved = cli("edit", "-m", child, "--direction", "linear:d.safetensors", code, "-o", "moved.png")
    assert moved.exit_code == 0, moved.stderr
    sentence = refused(cli("reconstruct", "-m", "tuned", code, "-o", "no.png"))
    assert "was made with the model 'tiny-32'" in sentence


def test_a_derived_generator_takes_the_parts_of_its_parent(
    cli: Cli, child: Path, tiny_bundle: Path, face: Path
) -> None:
    result = cli("weights", "assemble", child, tiny_bundle, "-o", "whole")
    assert result.exit_code == 0, result.stderr
    assert "the generator of child derives from that of tiny-32, and is kept" in result.stderr
    whole, parent = Bundle.load("whole"), Bundle.load(tiny_bundle)
    assert (whole.fingerprint, whole.derived_from) == (Bundle.load(child).fingerprint, parent.fingerprint)
    assert whole.parts["encoder"].sha256 == parent.parts["encoder"].sha256
    assert cli("edit", "-m", "whole", "-a", "smile", face, "-o", "edited.png").exit_code == 0
    sentence = refused(cli("weights", "assemble", tiny_bundle, child, "-o", "other"))
    assert sentence.endswith("derives from that of tiny-32, and the first is kept: name child first")


def test_a_model_derives_from_one_of_the_same_sizes(cli: Cli, stylegan: Path, tiny_bundle: Path) -> None:
    sentence = refused(cli("weights", "convert", stylegan, "-o", "m", "--derived-from", tiny_bundle))
    assert "cannot derive from 'tiny-32'" in sentence
    assert "there is no model 'nowhere'" in refused(
        cli("weights", "convert", stylegan, "-o", "m", "--derived-from", "nowhere")
    )
    assert not Path("m").exists()


@pytest.mark.usefixtures("child")
def test_codes_of_another_model_are_taken_by_the_word_of_the_user(cli: Cli, face: Path) -> None:
    cli("invert", face)
    assert cli("codes", "import", "face.latent.safetensors", "-m", "tuned", "-o", "no").exit_code != 0
    moving = ("codes", "import", "face.latent.safetensors", "-m", "tuned")
    result = cli(*moving, "-o", "moved", "--same-space")
    assert result.exit_code == 0, result.stderr
    moved, first = LatentCode.load("moved/face.latent.safetensors"), LatentCode.load("face.latent.safetensors")
    assert (moved.model, moved.fingerprint) == ("tuned", Bundle.load("tuned").fingerprint)
    np.testing.assert_array_equal(moved.w, first.w)
    assert cli("reconstruct", "-m", "tuned", "moved/face.latent.safetensors", "-o", "seen.png").exit_code == 0
