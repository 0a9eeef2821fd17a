"""Train the parts of synthface-128 and put them into a bundle.

    python build.py train    --data DATA --edits EDITS --work WORK      (hours)
    python build.py assemble --data DATA --edits EDITS --work WORK --output weights/synthface-128   (minutes)

DATA holds the labelled portraits (train-*.zip, train.jsonl.gz, param_names.json), EDITS what counterfactuals.py made
of them. WORK keeps the state between the two steps; nothing of the test split is read.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import torch
from counterfactuals import ATTRIBUTES_OF
from safetensors.torch import load_file, save_file
from torch import Tensor

from stedit.bundle import AttributeSpec, Bundle
from stedit.editing.attributes import related
from stedit.editing.label import edit_by_label
from stedit.models.attribute_network import AttributeNetwork
from stedit.models.config import ClassifierConfig, EditorConfig, EncoderConfig, GeneratorConfig
from stedit.models.edit_transformer import EditTransformer
from stedit.models.generator import Generator
from stedit.models.latent_classifier import LatentClassifier
from stedit.training import checkpoint, loop
from stedit.training.attribute_network import train_attribute_network
from stedit.training.autoencoder import Autoencoder, Joint
from stedit.training.classifier import accuracy, train_classifier
from stedit.training.data import LabelledPictures, load_labelled, read_records
from stedit.training.editor import Counterfactuals, train_editor
from stedit.training.generator_config import GeneratorTraining
from stedit.training.mapping import fit_mapping

STYLE_DIM = 256
GENERATOR = GeneratorConfig(
    resolution=128, style_dim=STYLE_DIM, mapping_layers=4, channels=(256, 256, 256, 192, 96, 32)
)
ENCODER = EncoderConfig(
    stem_width=32,
    widths=(32, 64, 128, 256),
    blocks=(2, 2, 3, 2),
    reduction=8,
    input_height=64,
    input_width=64,
    style_count=GENERATOR.style_count,
    style_dim=STYLE_DIM,
    heads=8,
    feedforward=512,
    position_embedding=True,
    summary_rank=256,
)


def load(data: Path, edits: Path) -> tuple[LabelledPictures, Counterfactuals]:
    """The training split, followed by its true edits."""
    pictures = load_labelled(data / "train.jsonl.gz", sorted(data.glob("train-*.zip")))
    edited = load_labelled(edits / "edits.jsonl", sorted(edits.glob("edits-*.zip")))
    rows = read_records(edits / "edits.jsonl")
    choices = [ATTRIBUTES_OF[row["group"]] for row in rows]
    names = [choice[number % len(choice)] for number, choice in enumerate(choices)]
    truth = Counterfactuals(
        source=torch.tensor([row["source"] for row in rows]),
        reference=torch.tensor([row["reference"] for row in rows]),
        edited=len(pictures.pixels) + torch.arange(len(rows)),
        attribute=torch.tensor([pictures.attributes.index(name) for name in names]),
    )
    return pictures.join(edited), truth


def config(source: Path, work: Path) -> GeneratorTraining:
    """The joint training of encoder and generator."""
    return GeneratorTraining(
        mode="joint",
        data=tuple(str(path) for path in sorted(source.glob("train-*.zip"))),
        labels=str(source / "train.jsonl.gz"),
        judge=str(work / "attribute_network.safetensors"),
        perceptual_weight=1.0,
        steps=10_700,
        half_size_steps=2000,
        learning_rate=1e-3,
        schedule="cosine",
        precision="bfloat16",
        resolution=GENERATOR.resolution,
        style_dim=GENERATOR.style_dim,
        mapping_layers=GENERATOR.mapping_layers,
        channels=GENERATOR.channels,
        encoder_size=ENCODER.input_height,
        encoder_stem=ENCODER.stem_width,
        encoder_widths=ENCODER.widths,
        encoder_blocks=ENCODER.blocks,
        encoder_reduction=ENCODER.reduction,
        encoder_heads=ENCODER.heads,
        encoder_feedforward=ENCODER.feedforward,
        encoder_positions=ENCODER.position_embedding,
        encoder_summary=ENCODER.summary_rank,
    )


def train(data: LabelledPictures, source: Path, work: Path) -> None:
    """Train the attribute network and the autoencoder; keep their states in `work`."""
    save_file(train_attribute_network(data).state_dict(), work / "attribute_network.safetensors")
    keys = config(source, work)
    loop.train(lambda: Joint(keys), keys, work / "joint.run")


def assemble(
    data: LabelledPictures,
    truth: Counterfactuals,
    names: dict[str, object],
    source: Path,
    work: Path,
    output: Path,
) -> None:
    """Train what learns from codes, and save the bundle."""
    torch.manual_seed(0)
    model = Joint(config(source, work)).average
    state = load_file(checkpoint.require(work / "joint.run") / "networks.safetensors")
    model.load_state_dict(checkpoint.network(state, "average"))
    codes = encode(model, data)
    labels = torch.from_numpy(data.labels)
    held_out = len(codes) // 20
    classifier_config = ClassifierConfig(
        style_count=GENERATOR.style_count,
        style_dim=STYLE_DIM,
        attributes=len(data.attributes),
        hidden=(256, 256),
        embedding=32,
        covariance_rank=64,
    )
    classifier = train_classifier(classifier_config, codes[held_out:], labels[held_out:]).requires_grad_(False)
    shares = accuracy(classifier, codes[:held_out], labels[:held_out])
    print("classifier, held out of training:", _table(data.attributes, shares))
    model.generator.mapping.requires_grad_(True)
    explained = fit_mapping(model.generator.mapping, _sampler(codes, data, names), steps=2000)
    print(f"mapping network: {explained:.2f} of the variance of w explained")
    eye = AttributeNetwork(len(data.attributes) + data.parameters.shape[1])
    eye.load_state_dict(load_file(work / "attribute_network.safetensors"))
    sure = calibrate(classifier, model.generator, eye.eval(), codes[:: len(codes) // 32], data.attributes)
    print("sure:", _table(data.attributes, sure))
    editor_config = EditorConfig(
        style_count=GENERATOR.style_count,
        style_dim=STYLE_DIM,
        layers=2,
        heads=8,
        feedforward=512,
        attributes=len(data.attributes),
        doubly_normalised=False,
    )
    editor = train_editor(
        EditTransformer(editor_config), classifier, codes, data.attributes, truth, steps=2000, learning_rate=1e-3
    )
    Bundle.save(
        output,
        name="synthface-128",
        domain="computer-generated portraits, 128 px, aligned like FFHQ",
        license="MIT",
        description="Encoder, generator, classifier and editor for rendered faces.",
        alignment="ffhq",
        training={
            "data": "16,000 rendered portraits and 10,468 true edits of them",
            "recipe": "weights/recipes/synthface-128",
        },
        attributes=[
            AttributeSpec(name, round(value, 2)) for name, value in zip(data.attributes, sure.tolist(), strict=True)
        ],
        parts={
            "generator": (GENERATOR, model.generator.state_dict()),
            "encoder": (ENCODER, model.encoder.state_dict()),
            "classifier": (classifier_config, classifier.state_dict()),
            "editor": (editor_config, editor.state_dict()),
        },
        readme=(Path(__file__).parent / "CARD.md").read_text(),
        overwrite=True,
    )


def encode(model: Autoencoder, data: LabelledPictures) -> Tensor:
    """Codes (M, N, D) of all pictures, in float32: they are what the engine will find for them."""
    with torch.no_grad():
        return torch.cat(
            [model.encode(data.images(index)) for index in torch.split(torch.arange(len(data.pixels)), 64)]
        )


def calibrate(
    classifier: LatentClassifier,
    generator: Generator,
    eye: AttributeNetwork,
    codes: Tensor,
    attributes: tuple[str, ...],
) -> Tensor:
    """For each attribute the smallest logit at which the edit shows in 97 % of the rendered pictures, both ways.

    Where it never shows in so many, the largest logit tried; where it hardly shows at all, so that only side effects
    would grow, the smallest.
    """
    candidates = (15.0, 20.0, 26.0, 33.0)
    sure = torch.full((len(attributes),), candidates[-1])
    for index, name in enumerate(attributes):
        before = classifier(codes)[:, index]
        keep = torch.tensor([other not in related(name) for other in attributes])
        for candidate in candidates:
            goal = -before.sign() * candidate
            edited = edit_by_label(classifier, codes, {index: goal}, keep=keep)
            with torch.no_grad():
                seen = eye(generator(edited, noise="none").clamp(-1, 1))[:, index]
            share = (seen.sign() == goal.sign()).float().mean()
            if share >= 0.97:
                sure[index] = candidate
                break
        if share < 2 / 3:
            sure[index] = candidates[0]
    return sure


def _sampler(codes: Tensor, data: LabelledPictures, names: dict[str, object]) -> Callable[[int], tuple[Tensor, Tensor]]:
    """Pairs of z and w: the picture's parameters, drawn anew within the bin of each choice, padded with noise."""
    w = codes.mean(dim=1)
    parameters = torch.from_numpy(data.parameters)
    bins = {list(names["names"]).index(name): torch.tensor(shares) for name, shares in dict(names["probs"]).items()}  # type: ignore[call-overload]
    edges = {column: torch.cat([torch.zeros(1), shares.cumsum(0)]) for column, shares in bins.items()}

    def sample(count: int) -> tuple[Tensor, Tensor]:
        index = torch.randint(len(w), (count,))
        z = torch.randn(count, STYLE_DIM)
        z[:, : parameters.shape[1]] = parameters[index]
        for column, edge in edges.items():
            share = torch.special.ndtr(z[:, column])
            chosen = (torch.bucketize(share, edge) - 1).clamp(0, len(edge) - 2)
            low, high = edge[chosen], edge[chosen + 1]
            drawn = low + (high - low) * torch.rand(count)
            z[:, column] = torch.special.ndtri(drawn.clamp(1e-3, 1 - 1e-3))
        return z, w[index]

    return sample


def _table(names: tuple[str, ...], values: Tensor) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in zip(names, values.tolist(), strict=True))


def main() -> None:
    """Read the arguments, run one step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["train", "assemble"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--edits", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("weights/synthface-128"))
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    data, truth = load(arguments.data, arguments.edits)
    if arguments.step == "train":
        train(data, arguments.data, arguments.work)
    else:
        names = json.loads((arguments.data / "param_names.json").read_text())
        assemble(data, truth, names, arguments.data, arguments.work, arguments.output)


if __name__ == "__main__":
    main()
