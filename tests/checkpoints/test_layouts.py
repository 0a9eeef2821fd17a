"""What people wrap around their weights, what their files leave out, and NVIDIA's variants: all of it converts."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stedit.checkpoints.conversion import hints_of
from stedit.checkpoints.formats import convert
from stedit.checkpoints.nvidia import generator_names
from stedit.checkpoints.reader import load_file
from stedit.checkpoints.rosinality import generator_names as rosinality_names
from stedit.checkpoints.state_dicts import Hints
from stedit.errors import InputError, UsageError
from stedit.models.config import EncoderConfig, GeneratorConfig
from stedit.models.generator import Generator
from stedit.models.psp_encoder import PspEncoder

GENERATOR = GeneratorConfig(resolution=16, style_dim=16, mapping_layers=3, channels=(16, 12, 8))
BACKBONE = {"stem_width": 4, "widths": (4, 8, 12, 16), "blocks": (1, 2, 1, 1), "reduction": 2}


def randomised(config: GeneratorConfig) -> dict[str, Tensor]:
    """A generator's tensors, biases and strengths of noise included."""
    state = Generator(config).state_dict()
    return {key: value + 0.1 * torch.randn_like(value) for key, value in state.items()}


def rosinality(prefix: str = "") -> dict[str, Tensor]:
    state = randomised(GENERATOR)
    names = rosinality_names(GENERATOR)
    tensors = {
        theirs: state[ours][None] if theirs.endswith("conv.weight") else state[ours] for ours, theirs in names.items()
    }
    return {prefix + name: tensor for name, tensor in tensors.items()}


def nvidia(config: GeneratorConfig) -> dict[str, Tensor]:
    """NVIDIA's names, as a bare dictionary of tensors."""
    state, names = randomised(config), generator_names(config)
    tensors = {names.get(ours, ours): value for ours, value in state.items()}
    return {key: value[0] if key.endswith("const") and value.ndim == 4 else value for key, value in tensors.items()}


def rendered(content: Any, z: Tensor, hints: Hints | None = None) -> Tensor:
    """What the converted generator makes of z."""
    config, state = convert(content, hints).parts["generator"]
    assert isinstance(config, GeneratorConfig)
    network = Generator(config).eval().requires_grad_(False)
    network.load_state_dict(state)
    image: Tensor = network(network.mapping(z))
    return image


def encoder(kind: str, encoder_type: str | None, *, pyramid: bool = True, iterative: bool = False) -> dict[str, Any]:
    config = EncoderConfig(**BACKBONE, kind=kind, style_count=6, style_dim=16, pyramid=pyramid, iterative=iterative)  # type: ignore[arg-type]
    from stedit.checkpoints.psp import encoder_name

    state = PspEncoder(config).state_dict()
    tensors = {f"encoder.{theirs}": state[ours] for ours in state if (theirs := encoder_name(ours))}
    opts = {"encoder_type": encoder_type} if encoder_type else {}
    return {"state_dict": {**tensors, **rosinality("decoder.")}, "opts": opts, "latent_avg": torch.randn(6, 16)}


# Wrappers and prefixes


@pytest.mark.parametrize(
    "wrap",
    [
        lambda g: {"g": g, "d": {"x": torch.ones(1)}},
        lambda g: {"generator": g},
        lambda g: {"model": {"generator": g}, "epoch": 3},
        lambda g: {"params": {}, "params_ema": g},
        lambda g: {"ema": g, "state_dict": {key: value * 0 for key, value in g.items()}},
        lambda g: {"anything": g},
        lambda g: {"state_dict": {f"generator.{key}": value for key, value in g.items()}, "callbacks": {}},
        lambda g: {f"module.{key}": value for key, value in g.items()},
        lambda g: {f"_orig_mod.{key}": value for key, value in g.items()},
        lambda g: {f"decoder.{key}": value for key, value in g.items()},
        lambda g: {"state_dict": {f"net.g_ema.{key}": value for key, value in g.items()}},
    ],
)
def test_generator_is_found_wherever_it_is_wrapped(wrap: Any) -> None:
    tensors, z = rosinality(), torch.randn(2, 16)
    assert torch.equal(rendered(wrap(tensors), z), rendered(tensors, z))


def test_other_entries_of_the_dictionary_are_noted() -> None:
    found = convert({**rosinality("decoder."), "other.conv1.weight": torch.ones(1)})
    assert found.checkpoint.notes[0] == "1 tensors outside decoder.* are left out, such as other.conv1.weight"


def test_unrecognised_file_error_names_content_and_nearest_format() -> None:
    tensors = {key: value for key, value in rosinality().items() if not key.startswith("style.")}
    with pytest.raises(
        InputError, match=r"it holds input.input.* nearest is a rosinality .*, which has style.1.weight"
    ):
        convert({"g_ema": tensors})


def test_whole_module_is_named(tmp_path: Path) -> None:
    torch.save({"model": torch.nn.Sequential(torch.nn.Linear(2, 2)), "path": Path("x")}, tmp_path / "x.pt")
    content = load_file(tmp_path / "x.pt").content
    with pytest.raises(InputError, match=r"model \(a torch\.nn\..*Sequential, saved whole: save its state_dict"):
        convert(content)


def test_hyperstyle_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="it is a HyperStyle checkpoint"):
        convert({"state_dict": {"hypernet.conv1.weight": torch.ones(1), **rosinality("decoder.")}})


# Encoders


@pytest.mark.parametrize("mean", ["tensor", "NumPy", "batch", "none", "absent"])
def test_mean_latent_in_every_form_is_read(mean: str, tmp_path: Path) -> None:
    checkpoint = encoder("e4e", "Encoder4Editing")
    wanted = checkpoint["latent_avg"]
    forms = {"NumPy": wanted.double().numpy(), "batch": wanted[None], "none": None}
    checkpoint["latent_avg"] = forms.get(mean, wanted)
    if mean == "absent":
        del checkpoint["latent_avg"]
    torch.save(checkpoint, tmp_path / "x.pt")
    state = convert(load_file(tmp_path / "x.pt").content).parts["encoder"][1]
    if mean in ("none", "absent"):
        assert torch.equal(state["mean"], state["mean"][:1].expand(6, 16))
        assert state["mean"].any()  # the generator's own
    else:
        torch.testing.assert_close(state["mean"], wanted)


def test_encoder_type_is_asked_for_where_options_are_missing() -> None:
    checkpoint = encoder("e4e", None)
    with pytest.raises(InputError, match="nothing in it tells pSp from e4e") as caught:
        convert(checkpoint)
    assert caught.value.argument == "encoder_type"
    kinds = [convert(checkpoint, hints_of(kind)).parts["encoder"][0].kind for kind in ("psp", "e4e", "Encoder4Editing")]  # type: ignore[union-attr]
    assert kinds == ["psp", "e4e", "e4e"]
    checkpoint["opts"] = {"stylegan_size": 16}
    assert convert(checkpoint).parts["encoder"][0].kind == "e4e"  # type: ignore[union-attr]


def test_input_size_option_counts() -> None:
    checkpoint = encoder("psp", "GradualStyleEncoder")
    config = convert(checkpoint, hints_of(input_size="256x192")).parts["encoder"][0]
    assert isinstance(config, EncoderConfig)
    assert (config.input_height, config.input_width) == (192, 256)
    with pytest.raises(InputError, match="not for images of 64 x 64 px") as caught:
        convert(checkpoint, hints_of(input_size="64"))
    assert caught.value.argument == "input_size"


@pytest.mark.parametrize("words", [{"encoder_type": "restyle"}, {"input_size": "256x"}, {"input_size": "big"}])
def test_hints_of_unknown_encoder_or_size_raise(words: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"no type of encoder|no size"):
        hints_of(**words)  # type: ignore[arg-type]


def test_more_encoder_heads_than_the_generator_reads() -> None:
    checkpoint = encoder("psp", "GradualStyleEncoder")
    for key in [key for key in checkpoint["state_dict"] if key.startswith("encoder.styles.5.")]:
        checkpoint["state_dict"][key.replace("styles.5.", "styles.6.")] = checkpoint["state_dict"][key]
    found = convert(checkpoint)
    assert found.parts["encoder"][0].style_count == 6  # type: ignore[union-attr]
    assert "of which its generator takes the first 6" in found.checkpoint.notes[0]


@pytest.mark.parametrize(
    ("encoder_type", "kind", "pyramid"),
    [
        ("BackboneEncoder", "psp", False),
        ("ProgressiveBackboneEncoder", "e4e", False),
        ("GradualStyleEncoder", "psp", True),
        ("Encoder4Editing", "e4e", True),
    ],
)
def test_restyle_is_iterative(encoder_type: str, kind: str, pyramid: bool) -> None:
    config, state = convert(encoder(kind, encoder_type, pyramid=pyramid, iterative=True)).parts["encoder"]
    assert isinstance(config, EncoderConfig)
    assert (config.kind, config.pyramid, config.iterative) == (kind, pyramid, True)
    PspEncoder(config).load_state_dict(state)


# NVIDIA's


def test_features_are_clamped_as_the_layers_say() -> None:
    tensors, z = nvidia(GENERATOR), torch.randn(2, 16)
    plain = rendered(tensors, z)
    network = {"class_name": "Generator", "state": _tree(tensors, clamp=0.25)}
    clamped = rendered({"G_ema": network}, z)
    assert not torch.allclose(plain, clamped)
    assert clamped.abs().max() <= 0.25 * 4  # a sum of three outputs, each enlarged with little overshoot
    assert torch.equal(rendered({"G_ema": {"class_name": "G", "state": _tree(tensors, clamp=256)}}, z), plain)


def _tree(tensors: dict[str, Tensor], clamp: float) -> dict[str, Any]:
    tree: dict[str, Any] = {"_init_kwargs": {}}
    for name, tensor in tensors.items():
        node = tree
        *path, last = name.split(".")
        for step in path:
            node = node.setdefault("_modules", {}).setdefault(step, {"class_name": "L", "state": {}})["state"]
        node.setdefault("_parameters", {})[last] = tensor
        node["conv_clamp"] = clamp
    return tree


def test_z_of_another_length_is_read() -> None:
    config = GeneratorConfig(resolution=16, style_dim=16, mapping_layers=3, channels=(16, 12, 8), z_dim=6)
    tensors, z = nvidia(config), torch.randn(3, 6)
    assert convert(tensors).parts["generator"][0] == config
    w = z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + 1e-8)
    for layer in range(3):
        weight, bias = tensors[f"mapping.fc{layer}.weight"], tensors[f"mapping.fc{layer}.bias"]
        w = torch.nn.functional.leaky_relu(w @ weight.T * 0.01 / weight.shape[1] ** 0.5 + bias * 0.01, 0.2) * 2**0.5
    network = Generator(config)
    network.load_state_dict(convert(tensors).parts["generator"][1])
    torch.testing.assert_close(network.mapping(z), w)


@pytest.mark.parametrize("label", [0, 4])
def test_conditional_class_becomes_part_of_the_mapping(label: int) -> None:
    """Against the mapping of stylegan2-ada-pytorch: z and the embedded class, both normalised, side by side."""
    config = GeneratorConfig(resolution=16, style_dim=16, mapping_layers=3, channels=(16, 12, 8), z_dim=10 + 16)
    tensors = nvidia(config)
    tensors["mapping.embed.weight"], tensors["mapping.embed.bias"] = torch.randn(16, 5), torch.randn(16)
    z = torch.randn(3, 10)

    def unit(x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + 1e-8)

    y = unit(tensors["mapping.embed.weight"][:, label] / 5**0.5 + tensors["mapping.embed.bias"])
    w = torch.cat([unit(z), y.expand(3, -1)], dim=1)
    for layer in range(3):
        weight, bias = tensors[f"mapping.fc{layer}.weight"], tensors[f"mapping.fc{layer}.bias"]
        w = torch.nn.functional.leaky_relu(w @ weight.T * 0.01 / weight.shape[1] ** 0.5 + bias * 0.01, 0.2) * 2**0.5
    found, state = convert(tensors, Hints(label=label)).parts["generator"]
    assert isinstance(found, GeneratorConfig)
    network = Generator(found)
    network.load_state_dict(state)
    torch.testing.assert_close(network.mapping(z), w, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network.mapping.mean, network.mapping.estimate_mean())


@pytest.mark.parametrize("label", [None, -1, 5])
def test_conditional_model_needs_a_class(label: int | None) -> None:
    config = GeneratorConfig(resolution=16, style_dim=16, mapping_layers=3, channels=(16, 12, 8), z_dim=26)
    tensors = nvidia(config) | {"mapping.embed.weight": torch.randn(16, 5), "mapping.embed.bias": torch.randn(16)}
    with pytest.raises(InputError, match="it is class-conditional: choose one of its classes, 0 to 4,") as caught:
        convert(tensors, Hints(label=label))
    assert caught.value.argument == "label"


# Pickles of TensorFlow's


class _Network:
    """Pickles as dnnlib.tflib.network.Network does: the class, then a state of source and arrays."""

    def __init__(self, variables: list[tuple[str, Any]], **components: Any) -> None:
        self.state = {
            "version": 4,
            "name": "Gs",
            "static_kwargs": {"resolution": 16},
            "components": components,
            "build_module_src": "raise SystemExit('source of a pickle was executed')",
            "build_func_name": "G_main",
            "variables": variables,
        }

    def __reduce__(self) -> Any:
        return sys.modules["dnnlib.tflib.network"].Network, (), self.state


def tensorflow_variables(tensors: dict[str, Tensor]) -> tuple[list[Any], list[Any], list[Any]]:
    """The variables of Gs, of its mapping and of its synthesis that stand for tensors of NVIDIA's PyTorch layout."""
    arrays = {key: value.numpy() for key, value in tensors.items()}
    own = [("lod", np.float32(0)), ("dlatent_avg", arrays["mapping.w_avg"])]
    mapping = []
    for layer in range(3):
        mapping.append((f"Dense{layer}/weight", arrays[f"mapping.fc{layer}.weight"].T))
        mapping.append((f"Dense{layer}/bias", arrays[f"mapping.fc{layer}.bias"]))
    synthesis: list[Any] = [("4x4/Const/const", arrays["synthesis.b4.const"][None])]
    noise = 0
    for side in (4, 8, 16):
        for theirs, name in (("Conv", "conv1"),) if side == 4 else (("Conv0_up", "conv0"), ("Conv1", "conv1")):
            synthesis += _layer(arrays, f"synthesis.b{side}.{name}.", f"{side}x{side}/{theirs}/", theirs == "Conv0_up")
            synthesis.append(
                (f"{side}x{side}/{theirs}/noise_strength", arrays[f"synthesis.b{side}.{name}.noise_strength"])
            )
            synthesis.append(
                (f"noise{noise}", arrays[f"synthesis.b{side}.{name}.noise_const"].reshape(1, 1, side, side))
            )
            noise += 1
        synthesis += _layer(arrays, f"synthesis.b{side}.torgb.", f"{side}x{side}/ToRGB/", False)
    return own, mapping, synthesis


def _layer(arrays: dict[str, Any], ours: str, theirs: str, up: bool) -> list[Any]:
    kernel = arrays[f"{ours}weight"].transpose(2, 3, 1, 0)
    return [
        (f"{theirs}weight", kernel[::-1, ::-1].copy() if up else kernel),
        (f"{theirs}bias", arrays[f"{ours}bias"]),
        (f"{theirs}mod_weight", arrays[f"{ours}affine.weight"].T),
        (f"{theirs}mod_bias", arrays[f"{ours}affine.bias"] - 1),
    ]


def write_tensorflow(path: Path, content: Any, monkeypatch: pytest.MonkeyPatch, protocol: int = 4) -> Path:
    module = ModuleType("dnnlib.tflib.network")
    module.Network = type("Network", (), {"__module__": "dnnlib.tflib.network"})  # type: ignore[attr-defined]
    with monkeypatch.context() as patch:
        for name in ("dnnlib", "dnnlib.tflib"):
            patch.setitem(sys.modules, name, ModuleType(name))
        patch.setitem(sys.modules, "dnnlib.tflib.network", module)
        path.write_bytes(pickle.dumps(content, protocol))
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("alone", [True, False])
def test_pickle_of_tensorflow_renders_as_its_twin_of_pytorch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: int, alone: bool
) -> None:
    tensors, z = nvidia(GENERATOR), torch.randn(2, 16)
    own, mapping, synthesis = tensorflow_variables(tensors)
    network = _Network(own, mapping=_Network(mapping), synthesis=_Network(synthesis))
    other = _Network([("4x4/Conv/weight", np.zeros((3, 3, 2, 2), np.float32))])
    content = network if alone else (other, other, network)
    path = write_tensorflow(tmp_path / "x.pkl", content, monkeypatch, protocol)
    torch.testing.assert_close(rendered(load_file(path).content, z), rendered(tensors, z))


def test_stylegan1_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synthesis = _Network([("4x4/Const/StyleMod/weight", np.zeros((16, 32), np.float32))])
    network = _Network([("dlatent_avg", np.zeros(16, np.float32))], synthesis=synthesis)
    path = write_tensorflow(tmp_path / "x.pkl", (network, network, network), monkeypatch)
    with pytest.raises(InputError, match="it is StyleGAN1"):
        convert(load_file(path).content)
