"""Foreign checkpoints -> parts: recognition, sizes from shapes, and refusals. Their numbers: models/test_parity.py."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from stedit.checkpoints import FORMATS, convert, recognise
from stedit.checkpoints.rosinality import generator_names
from stedit.checkpoints.state_dicts import canonicalise, subtree
from stedit.checkpoints.style_transformer import encoder, encoder_name
from stedit.errors import InputError
from stedit.models.backbone import IdentityNetwork
from stedit.models.config import BackboneConfig, ClassifierConfig, EditorConfig, EncoderConfig, GeneratorConfig
from stedit.models.edit_transformer import EditTransformer
from stedit.models.generator import Generator, MappingNetwork
from stedit.models.latent_classifier import LatentClassifier
from stedit.models.style_transformer import StyleTransformer

GENERATOR = GeneratorConfig(resolution=16, style_dim=16, mapping_layers=3, channels=(16, 12, 8))
BACKBONE = {"stem_width": 4, "widths": (4, 8, 12, 16), "blocks": (1, 2, 1, 1), "reduction": 2}
ENCODER = EncoderConfig(**BACKBONE, style_count=7, style_dim=16, heads=4, feedforward=24)
EDITOR = EditorConfig(style_count=6, style_dim=16, heads=4, feedforward=24, doubly_normalised=False, residual=False)
CLASSIFIER = ClassifierConfig(style_count=2, style_dim=512, attributes=3, hidden=(8, 6), embedding=4)


def rosinality(prefix: str = "") -> dict[str, Tensor]:
    state = Generator(GENERATOR).state_dict()
    tensors = {prefix + theirs: state[ours] for ours, theirs in generator_names(GENERATOR).items()}
    for key, tensor in tensors.items():
        if key.endswith(".conv.weight"):
            tensors[key] = tensor[None]
        elif "to_rgb" in key and key.endswith("bias") and "modulation" not in key:
            tensors[key] = tensor.view(1, 3, 1, 1)
        elif key.endswith("noise.weight"):
            tensors[key] = torch.randn(1)
    return tensors | {f"{prefix}convs.0.conv.blur.kernel": torch.ones(4, 4)}


def inversion() -> dict[str, Any]:
    state = StyleTransformer(ENCODER).state_dict()
    encoder = {f"encoder.module.{encoder_name(ours)}": value for ours, value in state.items() if encoder_name(ours)}
    tensors = {**encoder, "encoder.module.z": torch.randn(1, 7, 16), **rosinality("decoder.module.")}
    return {"state_dict": tensors, "opts": {"device": "cuda"}, "latent_avg": torch.randn(16)}


def reference_edit() -> dict[str, Any]:
    state = EditTransformer(EDITOR).state_dict()
    editor = {f"encoder.module.transformerlayer.{key.removeprefix('layers.0.')}": x for key, x in state.items()}
    classifier = {"classifier.module.fcs.0.weight": torch.zeros(2, 2)}
    return {"state_dict": {**editor, **rosinality("decoder.module."), **classifier}, "opts": {}}


def lcnet() -> dict[str, Any]:
    state = LatentClassifier(CLASSIFIER).state_dict()
    tensors = {key.replace("trunk", "fcs"): value for key, value in state.items() if key.startswith("trunk")}
    for k in range(CLASSIFIER.attributes):
        tensors[f"indep_fcs.{k}.weight"] = state["embedding_weight"][k]
        tensors[f"indep_fcs.{k}.bias"] = state["embedding_bias"][k]
        tensors[f"output_fcs.{k}.weight"] = state["logit_weight"][k : k + 1]
        tensors[f"output_fcs.{k}.bias"] = state["logit_bias"][k : k + 1]
    return {"state_dict": tensors}


def arcface() -> dict[str, Any]:
    return IdentityNetwork(BackboneConfig(**BACKBONE)).state_dict()


CHECKPOINTS = {
    "a Style Transformer inversion checkpoint": (inversion, {"generator": GENERATOR, "encoder": ENCODER}),
    "a Style Transformer reference-edit checkpoint": (reference_edit, {"editor": EDITOR, "generator": GENERATOR}),
    "an LCNet latent classifier": (lcnet, {"classifier": CLASSIFIER}),
    "a rosinality StyleGAN2 checkpoint": (lambda: {"g_ema": rosinality(), "g": {}}, {"generator": GENERATOR}),
    "an ArcFace IR-SE network": (arcface, {"identity": BackboneConfig(**BACKBONE)}),
}
NETWORKS = {
    "generator": Generator,
    "encoder": StyleTransformer,
    "classifier": LatentClassifier,
    "editor": EditTransformer,
    "identity": IdentityNetwork,
}


def test_every_format_is_tested() -> None:
    assert [known.name for known in FORMATS] == list(CHECKPOINTS)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_recognised_sized_and_complete(name: str) -> None:
    make, configs = CHECKPOINTS[name]
    checkpoint = make()
    assert recognise(canonicalise(checkpoint)).name == name
    parts = convert(checkpoint)
    assert {part: config for part, (config, _) in parts.items()} == configs
    for part, (config, state) in parts.items():
        NETWORKS[part](config).load_state_dict(state)  # strict: nothing missing, nothing left over


def damaged(name: str, suffix: str, replacement: Tensor | None) -> dict[str, Any]:
    """A checkpoint one of whose tensors, the first whose name ends so, is replaced or gone."""
    checkpoint = CHECKPOINTS[name][0]()
    tensors = next((checkpoint[key] for key in ("g_ema", "state_dict") if key in checkpoint), checkpoint)
    key = next(key for key in tensors if key.endswith(suffix))
    del tensors[key]
    if replacement is not None:
        tensors[key] = replacement
    return checkpoint


TENSORS = dict(
    zip(CHECKPOINTS, ("latlayer1.bias", "linear2.bias", "fcs.1.bias", "style.2.bias", "4.bias"), strict=True)
)


@pytest.mark.parametrize(("name", "suffix"), TENSORS.items())
def test_a_missing_tensor_is_named(name: str, suffix: str) -> None:
    with pytest.raises(InputError, match=f"^the checkpoint looks like {name}, but the tensor .*{suffix} is missing"):
        convert(damaged(name, suffix, None))


@pytest.mark.parametrize(("name", "suffix"), TENSORS.items())
def test_a_wrong_shape_is_refused(name: str, suffix: str) -> None:
    with pytest.raises(InputError, match=rf"{suffix} has the shape \(99,\) in place of"):
        convert(damaged(name, suffix, torch.zeros(99)))


def test_a_missing_attribute_is_named() -> None:
    with pytest.raises(InputError, match=r"the tensor indep_fcs\.1\.weight is missing"):
        convert(damaged("an LCNet latent classifier", "indep_fcs.1.weight", None))


def test_unknown_tensors_are_refused() -> None:
    with pytest.raises(InputError, match="of no known format: expected a Style Transformer inversion checkpoint, "):
        convert({"state_dict": {"layer.weight": torch.zeros(1)}})


def test_hostile_sizes_are_refused() -> None:
    tensors = rosinality()
    tensors |= {f"to_rgbs.{k}.bias": torch.zeros(1) for k in range(40)}
    tensors |= {f"convs.{k}.conv.weight": torch.zeros(1, 4, 4, 3, 3) for k in range(80)}
    with pytest.raises(InputError, match="resolution is"):
        convert({"g_ema": tensors})


def test_queries_are_the_tokens_under_the_checkpoints_own_mapping() -> None:
    checkpoint = inversion()
    parts = convert(checkpoint)
    generator = Generator(GENERATOR)
    generator.load_state_dict(parts["generator"][1])
    wanted = generator.mapping(checkpoint["state_dict"]["encoder.module.z"][0])
    torch.testing.assert_close(parts["encoder"][1]["queries"], wanted)


@pytest.mark.parametrize("shape", [(16,), (1, 16), (7, 16)])
def test_mean_in_every_shape(shape: tuple[int, ...]) -> None:
    checkpoint = inversion()
    mean = torch.randn(16)
    parts = convert({**checkpoint, "latent_avg": mean.expand(shape)})
    assert torch.equal(parts["encoder"][1]["mean"], mean.expand(7, 16))
    torch.testing.assert_close(parts["generator"][1]["mapping.mean"], mean)


def test_absent_mean() -> None:
    """Training that started from zero has none; the generator's own is then estimated, the same on every run."""
    checkpoint = inversion()
    parts = convert({**checkpoint, "latent_avg": None})
    assert torch.equal(parts["encoder"][1]["mean"], torch.zeros(7, 16))
    mean = parts["generator"][1]["mapping.mean"]
    assert mean.abs().max() > 0
    del checkpoint["latent_avg"]
    assert torch.equal(convert(checkpoint)["generator"][1]["mapping.mean"], mean)


@pytest.mark.parametrize("shape", [(6, 16), (15,), (2, 7, 16)])
def test_mean_that_cannot_be_added(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="latent_avg has the shape"):
        convert({**inversion(), "latent_avg": torch.zeros(shape)})


def test_files_without_counters() -> None:
    tensors = {key: value for key, value in arcface().items() if not key.endswith("num_batches_tracked")}
    config, state = convert(tensors)["identity"]
    assert isinstance(config, BackboneConfig)
    IdentityNetwork(config).load_state_dict(state)


def test_cars_have_wide_pictures() -> None:
    tensors = subtree(canonicalise(inversion()).tensors, "encoder.")
    sizes = {}
    for resolution in (1024, 512):
        config, _ = encoder(tensors, MappingNetwork(16, 3).requires_grad_(False), None, resolution)
        assert isinstance(config, EncoderConfig)
        sizes[resolution] = (config.input_height, config.input_width)
    assert sizes == {1024: (256, 256), 512: (192, 256)}
