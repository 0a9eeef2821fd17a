"""Foreign checkpoints -> parts: recognition, sizes from shapes, and refusals. Their numbers: models/test_parity.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from stedit.checkpoints import psp as psp_format
from stedit.checkpoints.formats import FORMATS, convert
from stedit.checkpoints.nvidia import generator_names as nvidia_names
from stedit.checkpoints.rosinality import generator_names
from stedit.checkpoints.style_transformer import encoder_name
from stedit.errors import InputError
from stedit.models.backbone import IdentityNetwork
from stedit.models.config import BackboneConfig, ClassifierConfig, EditorConfig, EncoderConfig, GeneratorConfig
from stedit.models.edit_transformer import EditTransformer
from stedit.models.generator import Generator
from stedit.models.latent_classifier import LatentClassifier
from stedit.models.psp_encoder import PspEncoder
from stedit.models.style_transformer import StyleTransformer
from stedit.runtime.networks import build_network
from stedit.storage.bundle_config import PartConfig

GENERATOR = GeneratorConfig(resolution=16, style_dim=16, mapping_layers=3, channels=(16, 12, 8))
BACKBONE = {"stem_width": 4, "widths": (4, 8, 12, 16), "blocks": (1, 2, 1, 1), "reduction": 2}
ENCODER = EncoderConfig(**BACKBONE, style_count=6, style_dim=16, heads=4, feedforward=24, extra_queries=1)
PSP = EncoderConfig(**BACKBONE, kind="psp", style_count=6, style_dim=16)
INTO_W = replace(PSP, kind="w")
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


def psp() -> dict[str, Any]:
    state = PspEncoder(PSP).state_dict()
    names = {ours: psp_format.encoder_name(ours) for ours in state}
    encoder = {f"encoder.{theirs}": state[ours] for ours, theirs in names.items() if theirs}
    opts = {"encoder_type": "GradualStyleEncoder", "start_from_latent_avg": True}
    return {"state_dict": {**encoder, **rosinality("decoder.")}, "opts": opts, "latent_avg": torch.randn(6, 16)}


def nvidia() -> dict[str, Any]:
    """As the unpickler gives it: a tree of states."""
    state = Generator(GENERATOR).state_dict()
    tree: dict[str, Any] = {"_init_kwargs": {"synthesis_kwargs": {"conv_clamp": 256}}}
    for ours, theirs in nvidia_names(GENERATOR).items():
        node = tree
        *path, name = theirs.split(".")
        for step in path:
            child = node.setdefault("_modules", {}).setdefault(step, {"class_name": "Layer", "state": {}})
            node = child["state"]
        tensor = state[ours][0] if theirs.endswith("const") and state[ours].ndim == 4 else state[ours]
        node.setdefault("_parameters", {})[name] = tensor
    return {"G": None, "G_ema": {"class_name": "Generator", "state": tree}, "augment_pipe": None}


def arcface() -> dict[str, Any]:
    return IdentityNetwork(BackboneConfig(**BACKBONE)).state_dict()


def encoder_alone() -> dict[str, Any]:
    checkpoint = psp()
    tensors = {key: value for key, value in checkpoint["state_dict"].items() if key.startswith("encoder.")}
    return {**checkpoint, "state_dict": tensors}


def into_w() -> dict[str, Any]:
    state = PspEncoder(INTO_W).state_dict()
    names = {ours: psp_format.encoder_name(ours) for ours in state}
    encoder = {f"encoder.{theirs}": state[ours] for ours, theirs in names.items() if theirs}
    return {"state_dict": encoder, "latent_avg": torch.randn(6, 16)}


CHECKPOINTS = {
    "a Style Transformer inversion checkpoint": (inversion, {"generator": GENERATOR, "encoder": ENCODER}),
    "a Style Transformer reference-edit checkpoint": (reference_edit, {"editor": EDITOR, "generator": GENERATOR}),
    "a pSp or e4e checkpoint": (psp, {"generator": GENERATOR, "encoder": PSP}),
    "a pSp, e4e or ReStyle encoder": (encoder_alone, {"encoder": PSP}),
    "an encoder into W": (into_w, {"encoder": INTO_W}),
    "an LCNet latent classifier": (lcnet, {"classifier": CLASSIFIER}),
    "a rosinality StyleGAN2 checkpoint": (lambda: {"g_ema": rosinality(), "g": {}}, {"generator": GENERATOR}),
    "an NVIDIA StyleGAN pickle": (nvidia, {"generator": replace(GENERATOR, clamp=256.0)}),
    "an ArcFace IR-SE network": (arcface, {"identity": BackboneConfig(**BACKBONE)}),
}


def test_every_format_is_tested() -> None:
    assert [known.name for known in FORMATS] == list(CHECKPOINTS)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_convert_recognises_sizes_and_completes_every_format(name: str) -> None:
    make, configs = CHECKPOINTS[name]
    checkpoint = make()
    assert convert(checkpoint).format.name == name
    parts = convert(checkpoint).parts
    assert {part: config for part, (config, _) in parts.items()} == configs
    for part, (config, state) in parts.items():
        assert isinstance(config, PartConfig)
        build_network(part, config).load_state_dict(state)  # strict: nothing missing, nothing left over


def damaged(name: str, suffix: str, replacement: Tensor | None) -> dict[str, Any]:
    """A checkpoint one of whose tensors, the first whose name ends so, is replaced or gone."""
    checkpoint = CHECKPOINTS[name][0]()
    tensors = next((checkpoint[key] for key in ("g_ema", "state_dict") if key in checkpoint), checkpoint)
    if "G_ema" in checkpoint:
        modules = checkpoint["G_ema"]["state"]["_modules"]["synthesis"]["state"]["_modules"]
        tensors = modules["b8"]["state"]["_modules"]["conv0"]["state"]["_parameters"]
    key = next(key for key in tensors if key.endswith(suffix))
    del tensors[key]
    if replacement is not None:
        tensors[key] = replacement
    return checkpoint


TENSORS = dict(
    zip(
        CHECKPOINTS,
        (
            "latlayer1.bias",
            "linear2.bias",
            "styles.4.linear.bias",
            "styles.4.linear.bias",
            "linear.bias",
            "fcs.1.bias",
            "style.2.bias",
            "bias",
            "4.bias",
        ),
        strict=True,
    )
)


@pytest.mark.parametrize(("name", "suffix"), TENSORS.items())
def test_convert_names_a_missing_tensor(name: str, suffix: str) -> None:
    with pytest.raises(InputError, match=f"^the checkpoint looks like {name}, but the tensor .*{suffix} is missing"):
        convert(damaged(name, suffix, None))


@pytest.mark.parametrize(("name", "suffix"), TENSORS.items())
def test_convert_refuses_a_wrong_shape(name: str, suffix: str) -> None:
    with pytest.raises(InputError, match=rf"{suffix} has the shape \(99,\) in place of"):
        convert(damaged(name, suffix, torch.zeros(99)))


def test_convert_names_a_missing_attribute() -> None:
    with pytest.raises(InputError, match=r"the tensor indep_fcs\.1\.weight is missing"):
        convert(damaged("an LCNet latent classifier", "indep_fcs.1.weight", None))


def test_convert_refuses_unknown_tensors() -> None:
    with pytest.raises(
        InputError, match=r"of no known format: it holds layer.weight; expected a Style Transformer inversion "
    ):
        convert({"state_dict": {"layer.weight": torch.zeros(1)}})


def test_convert_refuses_hostile_sizes() -> None:
    tensors = rosinality()
    tensors |= {f"to_rgbs.{k}.bias": torch.zeros(1) for k in range(40)}
    tensors |= {f"convs.{k}.conv.weight": torch.zeros(1, 4, 4, 3, 3) for k in range(80)}
    with pytest.raises(InputError, match="resolution is"):
        convert({"g_ema": tensors})


def test_queries_are_the_tokens_under_the_checkpoints_own_mapping() -> None:
    checkpoint = inversion()
    parts = convert(checkpoint).parts
    generator = Generator(GENERATOR)
    generator.load_state_dict(parts["generator"][1])
    wanted = generator.mapping(checkpoint["state_dict"]["encoder.module.z"][0])
    torch.testing.assert_close(parts["encoder"][1]["queries"], wanted)


def test_styles_that_the_generator_does_not_read_are_computed_and_left_out() -> None:
    """Published encoders have 18 tokens whatever the generator: the others attend to those that nobody reads."""
    config, state = convert(inversion()).parts["encoder"]
    assert isinstance(config, EncoderConfig)
    short = StyleTransformer(config)
    short.load_state_dict(state)
    full = StyleTransformer(replace(config, style_count=7, extra_queries=0))
    full.load_state_dict({**state, "mean": torch.cat([state["mean"], state["mean"][:1]])})
    image = torch.randn(1, 3, 256, 256)
    with torch.no_grad():
        codes = short.eval()(image)
        assert codes.shape == (1, 6, 16)
        torch.testing.assert_close(codes, full.eval()(image)[:, :6])


def test_fewer_styles_than_the_generator_takes() -> None:
    checkpoint = inversion()
    checkpoint["state_dict"]["encoder.module.z"] = torch.randn(1, 5, 16)
    with pytest.raises(InputError, match="its encoder gives 5 styles, and its generator takes 6"):
        convert(checkpoint)


@pytest.mark.parametrize("shape", [(16,), (1, 16), (6, 16), (7, 16), (1, 6, 16), (18, 16)])
def test_mean_latent_in_every_shape_is_read(shape: tuple[int, ...]) -> None:
    checkpoint = inversion()
    mean = torch.randn(16)
    parts = convert({**checkpoint, "latent_avg": mean.expand(shape)}).parts
    assert torch.equal(parts["encoder"][1]["mean"], mean.expand(6, 16))
    torch.testing.assert_close(parts["generator"][1]["mapping.mean"], mean)


def test_mean_latent_absent_is_estimated() -> None:
    """Training that started from zero has none; the generator's own is then estimated, the same on every run."""
    checkpoint = inversion()
    parts = convert({**checkpoint, "latent_avg": None}).parts
    assert torch.equal(parts["encoder"][1]["mean"], torch.zeros(6, 16))
    mean = parts["generator"][1]["mapping.mean"]
    assert mean.abs().max() > 0
    del checkpoint["latent_avg"]
    assert torch.equal(convert(checkpoint).parts["generator"][1]["mapping.mean"], mean)


@pytest.mark.parametrize("shape", [(5, 16), (15,), (2, 7, 16)])
def test_mean_latent_of_wrong_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="latent_avg has the shape"):
        convert({**inversion(), "latent_avg": torch.zeros(shape)})


def test_batch_norm_without_counters_is_read() -> None:
    tensors = {key: value for key, value in arcface().items() if not key.endswith("num_batches_tracked")}
    config, state = convert(tensors).parts["identity"]
    assert isinstance(config, BackboneConfig)
    IdentityNetwork(config).load_state_dict(state)


@pytest.mark.parametrize(
    ("data", "size"), [("cars_encode", (192, 256)), ("ffhq_encode", (256, 256)), (None, (256, 256))]
)
def test_cars_have_wide_images(data: str | None, size: tuple[int, int]) -> None:
    config, _ = convert({**inversion(), "opts": {"dataset_type": data}}).parts["encoder"]
    assert isinstance(config, EncoderConfig)
    assert (config.input_height, config.input_width) == size


# pSp and e4e


def codes_of(checkpoint: dict[str, Any], image: Tensor) -> Tensor:
    config, state = convert(checkpoint).parts["encoder"]
    assert isinstance(config, EncoderConfig)
    network = PspEncoder(config)
    network.load_state_dict(state)
    with torch.no_grad():
        return network.eval()(image)


def test_e4e_adds_to_its_first_style_what_psp_takes_for_a_style() -> None:
    checkpoint, image = psp(), torch.randn(1, 3, 256, 256)
    mean = checkpoint["latent_avg"]
    styles = codes_of(checkpoint, image) - mean
    checkpoint["opts"] = {"encoder_type": "Encoder4Editing"}
    sums = codes_of(checkpoint, image) - mean
    assert torch.equal(sums[:, 0], styles[:, 0])
    torch.testing.assert_close(sums[:, 1:], styles[:, :1] + styles[:, 1:])


def test_training_from_zero_adds_no_mean() -> None:
    checkpoint = psp()
    checkpoint["opts"]["start_from_latent_avg"] = False
    assert not convert(checkpoint).parts["encoder"][1]["mean"].any()


@pytest.mark.parametrize(
    ("opts", "sentence"),
    [
        ({}, "nothing in it tells pSp from e4e"),
        ({"encoder_type": "BackboneEncoderUsingLastLayerIntoW"}, "its encoder is 'BackboneEncoderUsingLastLayerIntoW'"),
        ({"encoder_type": "ResNetGradualStyleEncoder"}, "its encoder is 'ResNetGradualStyleEncoder'"),
    ],
)
def test_encoder_that_is_neither_psp_nor_e4e_is_named(opts: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        convert({**psp(), "opts": opts})


def test_encoder_of_sketches_is_refused() -> None:
    checkpoint = psp()
    checkpoint["state_dict"]["encoder.input_layer.0.weight"] = torch.randn(4, 1, 3, 3)
    with pytest.raises(InputError, match="its encoder takes pictures of 1 channels"):
        convert(checkpoint)


def test_encoder_heads_of_another_depth_are_refused() -> None:
    checkpoint = psp()
    checkpoint["state_dict"]["encoder.styles.0.convs.8.weight"] = torch.randn(16, 16, 3, 3)
    with pytest.raises(InputError, match="reads style 0 by 5 convolutions"):
        convert(checkpoint)


# Generators


def test_missing_noise_is_drawn_by_a_fixed_seed_and_noted() -> None:
    checkpoint = {"g_ema": rosinality(), "latent_avg": torch.zeros(16)}
    for index in range(5):
        del checkpoint["g_ema"][f"noises.noise_{index}"]
    first, second = convert(checkpoint), convert(checkpoint)
    assert first.checkpoint.notes == ["5 noise maps are not in the file, so they were drawn by a fixed seed"]
    maps = {key: value for key, value in first.parts["generator"][1].items() if key.endswith(".noise")}
    assert len(maps) == 5
    for key, value in maps.items():
        assert 0.5 < value.std() < 1.5
        assert torch.equal(value, second.parts["generator"][1][key])


def nvidia_with(**tensors: Tensor) -> dict[str, Any]:
    """A network whose state also has these tensors; "/" stands for a dot."""
    checkpoint = nvidia()
    checkpoint["G_ema"]["state"]["_buffers"] = {name.replace("/", "."): value for name, value in tensors.items()}
    return checkpoint


@pytest.mark.parametrize(
    ("tensors", "variant"),
    [
        ({"synthesis/input/freqs": 1, "synthesis/L1_36_512/weight": 3}, "it is stylegan3-t,"),
        ({"synthesis/input/freqs": 1, "synthesis/L1_36_512/weight": 1}, "it is stylegan3-r,"),
        ({"mapping/embed/weight": 1}, r"the tensor mapping.embed.weight has the shape"),
        ({"synthesis/b8/skip/weight": 1}, "its architecture is 'resnet'"),
    ],
)
def test_variants_of_nvidias_are_refused_by_name(tensors: dict[str, int], variant: str) -> None:
    with pytest.raises(InputError, match=variant):
        convert(nvidia_with(**{name: torch.zeros(1, 1, side, side) for name, side in tensors.items()}))


def test_orig_architecture_is_refused_by_name() -> None:
    checkpoint = nvidia()
    del checkpoint["G_ema"]["state"]["_modules"]["synthesis"]["state"]["_modules"]["b4"]["state"]["_modules"]["torgb"]
    with pytest.raises(InputError, match="its architecture is 'orig'"):
        convert(checkpoint)


def test_endless_tree_is_refused() -> None:
    checkpoint = nvidia()
    state = checkpoint["G_ema"]["state"]
    state["_modules"]["again"] = checkpoint["G_ema"]
    with pytest.raises(InputError, match="nested without end"):
        convert(checkpoint)


# Numbers


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_weights_that_are_not_finite_are_refused(name: str, value: float) -> None:
    checkpoint = CHECKPOINTS[name][0]()
    tensors = next((checkpoint[key] for key in ("g_ema", "state_dict") if key in checkpoint), checkpoint)
    if "G_ema" in checkpoint:
        tensors = checkpoint["G_ema"]["state"]["_modules"]["mapping"]["state"]["_modules"]["fc0"]["state"][
            "_parameters"
        ]
    key = next(key for key in tensors if key.endswith(TENSORS[name]) and key != "w_avg")
    tensors[key] = tensors[key] + value
    with pytest.raises(InputError, match="holds numbers that are not finite"):
        convert(checkpoint)


def test_integer_weights_are_refused() -> None:
    with pytest.raises(InputError, match=r"style\.2\.bias holds torch.int64"):
        convert(damaged("a rosinality StyleGAN2 checkpoint", "style.2.bias", torch.zeros(16, dtype=torch.int64)))


def test_half_precision_becomes_single() -> None:
    checkpoint = {"g_ema": {key: value.half() for key, value in rosinality().items()}}
    assert {value.dtype for value in convert(checkpoint).parts["generator"][1].values()} == {torch.float32}
