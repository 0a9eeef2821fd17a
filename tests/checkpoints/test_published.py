"""Files of every published format, in their exact layout and at full size, give the golden outputs after conversion.

Weights come from the recipe; the files are in both of torch.save's containers, with the wrappers, the `module.` of
DataParallel, options in a Namespace and storages tagged with a GPU. Skipped where the goldens are not there.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from typer.testing import CliRunner

from stedit.checkpoints.formats import convert
from stedit.checkpoints.reader import load_file
from stedit.cli.main import app
from stedit.engine import Engine
from stedit.models.config import EncoderConfig
from stedit.runtime.networks import build_network
from stedit.storage.bundle import Bundle

Save = Callable[..., Path]
Options = Callable[..., argparse.Namespace]


def weights(*arguments: object) -> str:
    """`stedit weights …`, which must succeed; gives stderr."""
    result = CliRunner().invoke(app, ["weights", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.stderr


def test_style_transformer_face_model_of_four_files(parity: Any, save: Save, tmp_path: Path) -> None:
    """Style Transformer at 1024 px, latent classifier, edit transformer and ArcFace, in one bundle."""
    inversion, lcnet, editing, arcface = map(parity.golden, ("inversion_1024", "lcnet", "edit_encoder", "arcface"))
    shapes = parity.shapes("style_transformer_1024")
    tensors = parity.fill(shapes, inversion.seed)
    mean = torch.from_numpy(parity.recipe.tensor("latent_avg", (512,), inversion.seed))
    content = {"state_dict": tensors, "opts": {"device": "cuda", "n_styles": 18}, "latent_avg": mean}
    files = [save(tmp_path / "st_ffhq.pt", content, legacy=False)]

    shapes = parity.shapes("latent_classifier_LCNet_40")
    classifier = parity.fill(shapes, lcnet.seed, drawn_as="classifier.")
    files.append(save(tmp_path / "lcnet.pt", {"state_dict": classifier}, legacy=True))

    shapes = parity.shapes("edit_transformer_1024")
    head = {key: shape for key, shape in shapes.items() if key.startswith("encoder.")}
    edit = parity.fill(head, editing.seed)
    edit |= {key: tensor for key, tensor in tensors.items() if key.startswith("decoder.")}
    edit |= {key: torch.zeros(shape) for key, shape in shapes.items() if key.startswith("classifier.")}
    assert edit.keys() == shapes.keys()
    files.append(save(tmp_path / "edit.pt", {"state_dict": edit, "opts": {"device": "cuda"}}, legacy=False))

    table = parity.shapes("model_ir_se50", "state_dict (the file IS the state dict)")
    files.append(save(tmp_path / "model_ir_se50.pth", parity.fill(table, arcface.seed), legacy=True))
    del tensors, edit, content, classifier

    said = weights("convert", *files, "-o", tmp_path / "my-face")
    assert "the mean of w is not in the file" in said  # of edit.pt, whose generator is the same
    assert "edit.pt is the same as that of" in said
    assert "non-commercial" in said
    for file in files:
        file.unlink()
    engine = Engine.from_pretrained(tmp_path / "my-face", device="cpu")
    assert list(engine.bundle.parts) == ["generator", "encoder", "classifier", "editor", "identity"]
    assert engine.bundle.alignment == "ffhq"
    assert len(engine.attributes) == 40
    assert engine.attributes[31] == "Smiling"
    probe = engine.bundle.training["probe"]
    assert {name: len(values) for name, values in probe.items()} == dict.fromkeys(engine.bundle.parts, 8)

    codes = engine.invert(parity.image(256, 256, inversion.seed))
    inversion.compare("codes", codes)
    image = engine.networks.generator(codes)
    for name, text in inversion.doc["slices"].items():
        source = F.adaptive_avg_pool2d(image, 256) if name.startswith("pool") else image
        inversion.compare(name, source[(..., *eval(text))])
    w = parity.normal(lcnet.seed, "input.w", (4, 9216)).reshape(4, 18, 512)
    lcnet.compare("logits", engine.networks.classifier(w))
    source, reference = (parity.normal(editing.seed, f"input.{name}", (2, 18, 512)) for name in ("src", "ref"))
    editing.compare("codes", engine.edit_by_reference(source, reference, "smile"))
    arcface.compare("embedding", engine.identity_embedding(parity.image(256, 256, arcface.seed, batch=2)))


def test_style_transformer_cars(parity: Any, save: Save, tmp_path: Path) -> None:
    golden = parity.golden("inversion_cars512")
    tensors = parity.fill(parity.shapes("style_transformer_cars512_16"), golden.seed)
    mean = torch.from_numpy(parity.recipe.tensor("latent_avg", (512,), golden.seed))
    content = {"state_dict": tensors, "opts": {"device": "cuda"}, "latent_avg": mean}
    file = save(tmp_path / "st_cars.pt", content, legacy=True)
    del tensors, content
    weights("convert", file, "-o", tmp_path / "cars", "--name", "my-cars")
    file.unlink()
    engine = Engine.from_pretrained(tmp_path / "cars", device="cpu")
    assert (engine.bundle.name, engine.bundle.domain, engine.bundle.alignment) == ("my-cars", "cars", "none")
    assert engine.input_size == (192, 256)
    codes = engine.invert(parity.image(192, 256, golden.seed))
    golden.compare("codes", codes)
    image = engine.networks.generator(codes)
    golden.compare("image_s8_f32", image[(..., *eval(golden.doc["slices"]["image_s8_f32"]))])


@pytest.mark.parametrize(
    ("name", "encoder_type", "legacy"),
    [("psp", "GradualStyleEncoder", True), ("e4e", "Encoder4Editing", False)],
)
def test_psp_and_e4e(
    parity: Any, save: Save, checkpoint_options: Options, tmp_path: Path, name: str, encoder_type: str, legacy: bool
) -> None:
    golden = parity.golden(f"{name}_encoder")
    table = {"psp": "psp_GradualStyleEncoder", "e4e": "e4e_Encoder4Editing"}[name]
    tensors = parity.fill(parity.shapes(table, "state_dict_encoder_part"), golden.seed)
    shapes = {key.replace("module.", ""): shape for key, shape in parity.shapes("style_transformer_1024").items()}
    tensors |= {key: torch.rand(shape) for key, shape in shapes.items() if key.startswith("decoder.")}
    mean = torch.randn(18, 512)
    content = {
        "state_dict": tensors,
        "opts": checkpoint_options(encoder_type=encoder_type, start_from_latent_avg=True),
        "latent_avg": mean,
        "global_step": 200000,
        "best_val_loss": np.float64(0.5),
        "optimizer": {"state": {0: {"step": 1, "exp_avg": torch.zeros(2)}}, "param_groups": [{"params": [0]}]},
    }
    file = save(tmp_path / f"{name}.pt", content, legacy=legacy)
    del tensors, content
    converted = convert(load_file(file).content)
    file.unlink()
    config, state = converted.parts["encoder"]
    assert isinstance(config, EncoderConfig)
    assert config.kind == name
    with torch.device("meta"):
        encoder = build_network("encoder", config)
    encoder.load_state_dict(state, assign=True)
    with torch.no_grad():
        codes = encoder.eval()(parity.image(256, 256, golden.seed))
    golden.compare("codes", codes - mean)


def generator_inputs(golden: Any, parity: Any) -> dict[str, Tensor]:
    return {name: torch.from_numpy(eval(text, {"recipe": parity.recipe})) for name, text in golden.doc["input"].items()}


def compare_generator(engine: Engine, golden: Any, parity: Any, *, truncated: bool) -> None:
    inputs = generator_inputs(golden, parity)
    mapping: Any = engine.networks.generator.mapping
    size = engine.output_size[0]
    step = size // golden.arrays["image_z"].shape[-1]
    styles = engine.code_shape[0]
    codes = {"z": mapping(inputs["z"])[:, None].expand(-1, styles, -1), "wplus": inputs["wplus"]}
    if truncated:
        codes["z_trunc"] = torch.lerp(mapping.mean, mapping(inputs["z"]), 0.7)[:, None].expand(-1, styles, -1)
        codes["wplus_trunc"] = torch.lerp(mapping.mean, inputs["wplus"], 0.7)
    golden.compare("w", mapping(inputs["z"]))
    for name, code in codes.items():
        golden.compare(f"image_{name}", engine.networks.generator(code)[:, :, ::step, ::step])


def test_rosinality_published(parity: Any, save: Save, tmp_path: Path) -> None:
    golden = parity.golden("generator_64_cm1")
    tensors = parity.fill(parity.shapes("rosinality_g_ema_64_cm1", "g_ema"), golden.seed)
    mean = generator_inputs(golden, parity)["truncation_latent"][0]
    file = save(tmp_path / "stylegan2.pt", {"g_ema": tensors, "latent_avg": mean}, legacy=True)
    weights("convert", file, "-o", tmp_path / "stylegan2")
    compare_generator(Engine.from_pretrained(tmp_path / "stylegan2", device="cpu"), golden, parity, truncated=True)


def test_rosinality_training_checkpoint(parity: Any, save: Save, checkpoint_options: Options, tmp_path: Path) -> None:
    golden = parity.golden("generator_64")
    tensors = parity.fill(parity.shapes("rosinality_g_ema_64_cm2", "g_ema"), golden.seed)
    content = {
        "g": {f"module.{key}": torch.zeros(1) for key in tensors},
        "d": {"convs.0.0.weight": torch.zeros(1)},
        "g_ema": tensors,
        "g_optim": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.002, "betas": (0.0, 0.99)}]},
        "args": checkpoint_options(size=64, channel_multiplier=2),
        "ada_aug_p": 0,
    }
    file = save(tmp_path / "550000.pt", content, legacy=False)
    said = weights("convert", file, "-o", tmp_path / "own", "--license", "CC0-1.0", "--domain", "churches")
    assert "the mean of w is not in the file, so it was estimated from 10000 codes" in said
    bundle = Bundle.load(tmp_path / "own")
    assert (bundle.license, bundle.domain) == ("CC0-1.0", "churches")
    compare_generator(Engine.from_pretrained(tmp_path / "own", device="cpu"), golden, parity, truncated=False)


def test_nvidia_pickle(parity: Any, save_nvidia: Save, tmp_path: Path) -> None:
    """A pickle of the same structure, whose embedded source would end the program."""
    golden = parity.golden("generator_64")
    theirs = parity.fill(parity.shapes("rosinality_g_ema_64_cm2", "g_ema"), golden.seed)
    theirs["latent_avg"] = generator_inputs(golden, parity)["truncation_latent"][0]
    table = parity.formats["nvlabs_ada_G_ema_64_base32768"]
    shapes = {key: tuple(row[0]) for key, row in table["state_dict"].items()}
    tensors = {key: torch.zeros(shape) for key, shape in shapes.items() if key.endswith("resample_filter")}
    for row in table["mapping_to_rosinality"]:
        name = re.split(r"\s", row["rosinality"])[0]
        tensors[row["nvlabs"]] = theirs[name].reshape(shapes[row["nvlabs"]])
    assert tensors.keys() == shapes.keys()
    file = save_nvidia(tmp_path / "ffhq.pkl", tensors)
    assert b"the source of a pickle was executed" in file.read_bytes()
    said = weights("convert", file, "-o", tmp_path / "nvidia")
    assert "NVIDIA Source Code License (non-commercial)" in said
    engine = Engine.from_pretrained(tmp_path / "nvidia", device="cpu")
    assert engine.networks.generator.config.clamp == 256  # which no feature of the golden reaches
    compare_generator(engine, golden, parity, truncated=True)
