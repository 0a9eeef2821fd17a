"""Our networks against golden outputs of the published ones, on weights from a recipe; skipped where there are none.

Every golden is an .npz whose `doc` says what was run; weights, inputs and slices are read from it, so goldens of other
seeds and sizes may be added to the folder. An array X passes within ten times `tol_X`, the published network's own
float32-float64 difference; where X is stored as float16, its rounding comes on top.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from stedit.checkpoints.formats import convert
from stedit.checkpoints.state_dicts import Part
from stedit.models.backbone import IdentityNetwork
from stedit.models.config import (
    BackboneConfig,
    ClassifierConfig,
    EditorConfig,
    EncoderConfig,
    GeneratorConfig,
    resolutions,
    stylegan2_channels,
)
from stedit.models.edit_transformer import EditTransformer
from stedit.models.generator import Generator
from stedit.models.latent_classifier import LatentClassifier
from stedit.models.style_transformer import StyleTransformer
from stedit.training.editor.train import reference_edit_loss

PARITY = Path(__file__).resolve().parents[3] / "shared" / "parity"
GOLDENS = sorted((PARITY / "golden").glob("*.npz"))
ALLOWED = 10.0  # times the tolerance of an array
HALF_ROUNDING = 2.0**-11
SINGLE_ROUNDING = 2.0**-23  # one step of float32, which another processor's order of sums makes

Shapes = dict[str, tuple[int, ...]]
Arrays = Iterator[tuple[str, Tensor]]

if not GOLDENS:
    pytest.skip("the golden outputs are not beside this checkout", allow_module_level=True)


def _load_recipe() -> ModuleType:
    spec = importlib.util.spec_from_file_location("parity_recipe", PARITY / "recipe.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


recipe = _load_recipe()
formats: dict[str, Any] = json.loads((PARITY / "formats.json").read_text())


class Golden:
    """One .npz: its arrays, and what its `doc` says about weights and inputs."""

    def __init__(self, path: Path) -> None:
        with np.load(path) as file:
            self.arrays: dict[str, NDArray[Any]] = dict(file)
        self.doc: dict[str, Any] = json.loads(str(self.arrays.pop("doc")))
        self.seed = int(self._find(r"seed (\d+)", self.doc["weights"]))

    @staticmethod
    def _find(pattern: str, text: str) -> str:
        match = re.search(pattern, text)
        assert match, f"no {pattern} in {text!r}"
        return match[1]

    def weights(self, shapes: Shapes, prefix: str = "") -> dict[str, Tensor]:
        """The recipe's tensors, drawn under `prefix` + name."""
        filled = recipe.fill({prefix + key: shape for key, shape in shapes.items()}, self.seed)
        return {key.removeprefix(prefix): torch.from_numpy(value) for key, value in filled.items()}

    def tensor(self, expression: str) -> Tensor:
        """What an expression in `doc` stands for: 'recipe.image(1, 256, 256, seed=11)'."""
        return torch.from_numpy(eval(expression.split(", crop", maxsplit=1)[0], {"recipe": recipe}))

    def normal(self, key: str) -> Tensor:
        """An input of the seed and shape of the only recipe.normal(…) in `doc`, under another key."""
        seed = int(self._find(r"recipe\.normal\((\d+)", self.doc["input"]))
        shape = self._find(r"\((\d+(?:, ?\d+)+)\)", self.doc["input"])
        return torch.from_numpy(recipe.normal(seed, key, tuple(map(int, shape.split(",")))))

    def compare(self, name: str, actual: Tensor) -> None:
        """Fail unless `actual` equals the array to tolerance."""
        expected = self.arrays[name].astype(np.float64)
        assert actual.shape == expected.shape
        error = np.abs(actual.detach().double().numpy() - expected)
        rounding = HALF_ROUNDING if self.arrays[name].dtype == np.float16 else SINGLE_ROUNDING
        error -= rounding * np.abs(expected)
        tolerance = float(self.arrays.get(f"tol_{name}", 0.0))  # none for an input, which is exact
        assert error.max() <= ALLOWED * tolerance, (
            f"{name} is off by {error.max():.2g}, its tolerance is {tolerance:.2g}"
        )


def rosinality_shapes(resolution: int, multiplier: int) -> Shapes:
    """Names and shapes of a published generator of any size."""
    channels = stylegan2_channels(resolution, multiplier)
    shapes: Shapes = {"input.input": (1, channels[0], 4, 4)}
    for index in range(1, 9):
        shapes |= {f"style.{index}.weight": (512, 512), f"style.{index}.bias": (512,)}

    def convolution(name: str, inputs: int, outputs: int, kernel: int) -> None:
        shapes[f"{name}.conv.weight"] = (1, outputs, inputs, kernel, kernel)
        shapes[f"{name}.conv.modulation.weight"] = (inputs, 512)
        shapes[f"{name}.conv.modulation.bias"] = (inputs,)

    def layer(name: str, inputs: int, outputs: int) -> None:
        convolution(name, inputs, outputs, 3)
        shapes[f"{name}.noise.weight"] = (1,)
        shapes[f"{name}.activate.bias"] = (outputs,)

    def to_rgb(name: str, inputs: int) -> None:
        convolution(name, inputs, 3, 1)
        shapes[f"{name}.bias"] = (1, 3, 1, 1)

    layer("conv1", channels[0], channels[0])
    to_rgb("to_rgb1", channels[0])
    shapes["noises.noise_0"] = (1, 1, 4, 4)
    for block, size in enumerate(resolutions(resolution)[1:]):
        layer(f"convs.{2 * block}", channels[block], channels[block + 1])
        layer(f"convs.{2 * block + 1}", channels[block + 1], channels[block + 1])
        to_rgb(f"to_rgbs.{block}", channels[block + 1])
        shapes |= {f"convs.{2 * block}.conv.blur.kernel": (4, 4), f"to_rgbs.{block}.upsample.kernel": (4, 4)}
        shapes |= {f"noises.noise_{2 * block + k}": (1, 1, size, size) for k in (1, 2)}
    return shapes


def published_shapes(name: str, prefix: str = "", wrapper: str = "state_dict") -> Shapes:
    """Names and shapes of a published network, from the table of formats."""
    table = formats[name][wrapper]
    return {key.removeprefix(prefix): tuple(row[0]) for key, row in table.items() if key.startswith(prefix)}


def load(network: nn.Module, part: Part) -> Any:
    """Give a network the state of a converted part, ready for evaluation."""
    network.load_state_dict(part[1])
    return network.eval().requires_grad_(False)


def generator_of(parts: Mapping[str, Part]) -> Generator:
    config = parts["generator"][0]
    assert isinstance(config, GeneratorConfig)
    network: Generator = load(Generator(config), parts["generator"])
    return network


def classifier_of(golden: Golden) -> LatentClassifier:
    # keys in files are bare, though the recipe draws them under "classifier."
    parts = convert({"state_dict": golden.weights(published_shapes("latent_classifier_LCNet_40"), "classifier.")}).parts
    config = parts["classifier"][0]
    assert isinstance(config, ClassifierConfig)
    network: LatentClassifier = load(LatentClassifier(config), parts["classifier"])
    return network


def run_generator(golden: Golden) -> Arrays:
    size, multiplier = re.findall(r"Generator\((\d+), 512, 8, channel_multiplier=(\d)\)", golden.doc["model"])[0]
    inputs = {name: golden.tensor(text) for name, text in golden.doc["input"].items()}
    checkpoint = {
        "g_ema": golden.weights(rosinality_shapes(int(size), int(multiplier))),
        "latent_avg": inputs["truncation_latent"],
    }
    generator = generator_of(convert(checkpoint).parts)
    z, wplus = inputs["z"], inputs["wplus"]
    step = int(size) // golden.arrays["image_z"].shape[-1]
    mapping = generator.mapping
    codes = {
        "z": mapping(z),
        "z_trunc": torch.lerp(mapping.mean, mapping(z), 0.7),
        "wplus": wplus,
        "wplus_trunc": torch.lerp(mapping.mean, wplus, 0.7),
        "mix": generator.style_mix([z[:1], z[-1:]], 4),
    }
    yield "w", codes["z"]
    for name, code in codes.items():
        yield f"image_{name}", generator(code)[:, :, ::step, ::step]


def run_inversion(golden: Golden) -> Arrays:
    doc = golden.doc
    encoder_shapes = published_shapes("style_transformer_1024", "encoder.module.")
    encoder_shapes["z"] = (1, doc["n_styles"], 512)
    shapes = {f"encoder.module.{key}": shape for key, shape in encoder_shapes.items()}
    shapes |= {f"decoder.module.{key}": shape for key, shape in rosinality_shapes(doc["output_size"], 2).items()}
    mean = torch.from_numpy(recipe.tensor("latent_avg", (512,), golden.seed))
    parts = convert({"state_dict": golden.weights(shapes), "opts": {"device": "cuda"}, "latent_avg": mean}).parts
    config = parts["encoder"][0]
    assert isinstance(config, EncoderConfig)
    encoder: StyleTransformer = load(StyleTransformer(config), parts["encoder"])
    image = golden.tensor(doc["input"])
    assert image.shape[2:] == (config.input_height, config.input_width)
    yield "in_sample_8", image[:, :, ::8, ::8]
    yield "query", encoder.queries[None]

    features: dict[str, Tensor] = {}
    encoder.backbone.register_forward_hook(
        lambda _, __, maps: features.update(zip(("c1", "c2", "c3"), maps[1:], strict=True))
    )
    levels = {"coarse": "c3", "medium": "p2", "fine": "p1"}
    for (name, level), scale in zip(levels.items(), (16, 8, 4), strict=True):

        def watch(_: nn.Module, inputs: tuple[Tensor, ...], query: Tensor, watched: Any = (name, level, scale)) -> None:
            name, level, scale = watched
            features[f"query_{name}"] = query
            features[level] = inputs[1].transpose(1, 2).unflatten(2, [side // scale for side in image.shape[2:]])

        getattr(encoder, name).register_forward_hook(watch)
    codes = encoder(image)
    steps = {"c1": (8, 8), "c2": (16, 4), "c3": (16, 2), "p2": (32, 4), "p1": (32, 8)}
    for name, (channel_step, step) in steps.items():
        x = features[name]
        yield f"{name}_stats", torch.stack([x.mean(dim=(2, 3)), x.std(dim=(2, 3), correction=0)])
        yield f"{name}_sample", x[:, ::channel_step, ::step, ::step]
    yield from ((f"query_{name}", features[f"query_{name}"]) for name in levels)
    yield "codes", codes
    yield from _slices(doc["slices"], generator_of(parts)(codes))


def _slices(slices: dict[str, str], image: Tensor) -> Arrays:
    for name, text in slices.items():
        source = F.adaptive_avg_pool2d(image, 256) if name.startswith("pool") else image
        yield name, source[(..., *eval(text))]


def run_identity(golden: Golden) -> Arrays:
    shapes = published_shapes("model_ir_se50", wrapper="state_dict (the file IS the state dict)")
    part = convert(golden.weights(shapes)).parts["identity"]
    assert isinstance(part[0], BackboneConfig)
    network: IdentityNetwork = load(IdentityNetwork(part[0]), part)
    crop = network.crop(golden.tensor(golden.doc["input"]))
    yield "crop_s4", crop[:, :, ::4, ::4]
    yield "embedding", network.embed(crop)


def run_classifier(golden: Golden) -> Arrays:
    classifier = classifier_of(golden)
    features = classifier.embed(golden.tensor(golden.doc["input"]))
    yield "features", features
    yield "logits", classifier.logits(features)


def run_label_edit(golden: Golden) -> Arrays:
    """Gradients of one attribute's loss, and the two edits that the published code derives from them.

    Its "second" direction subtracts gradients of different scales and keeps its random start: reproduced here to prove
    the gradients, not used.
    """
    classifier = classifier_of(golden)
    attribute = int(re.findall(r"attr (\d+)", golden.doc["model"])[0])
    w, start = (golden.tensor(golden.doc["input"][name]) for name in ("w", "start"))

    def gradient(code: Tensor, target: float) -> Tensor:
        code = code.clone().requires_grad_()
        logits = classifier(code)[:, attribute]
        loss = F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))
        return torch.autograd.grad(loss, code)[0]

    yield "logit_before", classifier(w)[:, attribute]
    for target in (0.0, 1.0):
        at_w, nearby = gradient(w, target), 1e-4 * gradient(w + 1e-4 * start, target)
        first, second = F.normalize(at_w, dim=-1), F.normalize(nearby - at_w, dim=-1)
        arrays = {
            f"first_target{target:.0f}_grad": at_w,
            f"first_target{target:.0f}_direct": first,
            f"first_target{target:.0f}_edited": w - 3 * first,
            f"second_target{target:.0f}_grad_eps": nearby,
            f"second_target{target:.0f}_grad_zero": at_w,
            f"second_target{target:.0f}_unit": second,
            f"second_target{target:.0f}_direct": start - second,
            f"second_target{target:.0f}_edited": w - 3 * (start - second),
        }
        for name, array in arrays.items():
            yield name, array
            yield f"logit_after_{name}", classifier(array)[:, attribute]


def run_editor(golden: Golden) -> Arrays:
    weights = golden.weights(published_shapes("edit_transformer_1024"))
    part = convert({"state_dict": weights, "opts": {}}).parts["editor"]
    assert isinstance(part[0], EditorConfig)
    editor: EditTransformer = load(EditTransformer(part[0]), part)
    yield "codes", editor(golden.normal("input.src"), golden.normal("input.ref"))


def run_reference_edit_loss(golden: Golden) -> Arrays:
    classifier = classifier_of(golden)
    source, reference, noise = (golden.normal(f"input.loss_{name}") for name in ("src", "ref", "noise"))
    edited = (0.7 * source + 0.3 * reference + 0.1 * noise).requires_grad_()
    taken = torch.arange(classifier.config.attributes).expand(len(source), -1) == int(
        re.findall(r"attr_type=(\d+)", golden.doc["model"])[0]
    )
    weighted = re.findall(r"weighted: ([\d., ]+)", " ".join(golden.doc["notes"]))[0]
    for name, text in {"default": "1, 1, 1", "weighted": weighted}.items():
        code, wanted, others = map(float, text.split(","))
        loss = reference_edit_loss(classifier, edited, source, reference, taken)
        total = loss.total((code, wanted, others))
        yield f"{name}_loss", total
        yield f"{name}_parts", torch.stack([loss.code, loss.reference, loss.source, total])
        yield f"{name}_grad_mix", torch.autograd.grad(total, edited)[0]


# how the `model` line of a golden begins -> what computes its arrays
RUNS: dict[str, Callable[[Golden], Arrays]] = {
    "Generator(": run_generator,
    "StyleTransformer (": run_inversion,
    "ArcFace IR-SE50": run_identity,
    "LCNet_40": run_classifier,
    "coach_label_edit.py": run_label_edit,
    "EditTransformerEncoder": run_editor,
    "training/coach_ref_edit.py": run_reference_edit_loss,
}


@pytest.mark.parametrize("path", GOLDENS, ids=lambda path: path.stem)
def test_golden(path: Path) -> None:
    golden = Golden(path)
    runs = [run for start, run in RUNS.items() if golden.doc["model"].startswith(start)]
    if not runs:
        pytest.skip(f"proved from files in tests/checkpoints, if at all: {golden.doc['model']}")
    expected = {name for name in golden.arrays if not name.startswith("tol_")}
    for name, actual in runs[0](golden):
        if name in expected:
            golden.compare(name, actual)
            expected.remove(name)
    assert not expected, "arrays of the golden that nothing computed"


def test_rosinality_shapes_are_the_published_ones() -> None:
    tables = [name for name in formats if name.startswith("rosinality_g_ema_")]
    assert tables
    for name in tables:
        size, multiplier = re.findall(r"g_ema_(\d+)_cm(\d)", name)[0]
        assert rosinality_shapes(int(size), int(multiplier)) == published_shapes(name, wrapper="g_ema")
