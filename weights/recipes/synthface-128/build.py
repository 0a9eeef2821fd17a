"""Make synthface-128: render, train, put the parts into a bundle, measure it. `make weights` runs all of it.

    python build.py all      --facekit facekit.npz --work WORK [--output weights/synthface-128]
    python build.py render   --facekit facekit.npz --work WORK        the data set and its true edits    (an hour)
    python build.py train    --work WORK                              judge, eyes, encoder and generator (hours)
    python build.py assemble --work WORK [--output FOLDER]            classifier, mapping, editor, model (three hours)
    python build.py evaluate --work WORK [--output FOLDER]            the tables of the model card       (minutes)

Rendered portraits lie in WORK/data (train-*.zip, train.jsonl.gz, param_names.json) and WORK/edits, unless --data and
--edits name other folders. A step that was interrupted goes on when it is called again. Nothing of the test split is
read but by the last step.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from calibration import calibrate, carry, soften
from counterfactuals import COUNT, render_edits
from eye import LabelledPictures, load_labelled, train_eye
from renderer.head import FaceKitError
from renderer.pictures import pair_orders, random_orders, render_orders, write_pictures
from safetensors.torch import save
from torch import Tensor
from true_edits import true_edits

from stedit import Engine
from stedit.errors import BundleError, SteditError
from stedit.models.edit_transformer import EditTransformer
from stedit.models.generator import Generator
from stedit.storage.atomic import write_file, write_folder
from stedit.storage.bundle import PART_CONFIGS, Bundle
from stedit.storage.jsonl import read_records
from stedit.storage.labels import LabelTable
from stedit.training import checkpoint, loop
from stedit.training.classifier.config import ClassifierTraining
from stedit.training.classifier.train import build as build_classifier
from stedit.training.config import TrainingConfig
from stedit.training.data.edits import TrueEdits
from stedit.training.data.images import PictureSet
from stedit.training.data.latents import CodeSet, held_out
from stedit.training.editor.config import EditorTraining
from stedit.training.editor.train import build as build_editor
from stedit.training.encoder.config import InversionTraining
from stedit.training.encoder.train import build as build_inversion
from stedit.training.generator.config import GeneratorTraining
from stedit.training.generator.mapping import fit_mapping
from stedit.training.generator.train import build as build_generator
from stedit.training.judge.config import JudgeTraining
from stedit.training.judge.train import build as build_judge
from stedit.training.perceptual import load_judge
from stedit.training.provenance import with_parts

HERE = Path(__file__).resolve().parent
NAME = "synthface-128"
TRAIN_SEED, TEST_SEED, PAIRS_SEED = 1, 2, 3  # of the rendered sets
EYES = 2  # networks of the perceptual loss: it is harder to learn to deceive both
SHARPNESS = 0.85  # sharpened weights alone draw streaks on skin, and stray further from the picture
TEXTURE = 0.9  # the same of texture: the judge agrees as much as with all of it, and pixels are nearer
NOT_BY_LABEL = {"Young"}  # lines of age are hardly seen, and the classifier's direction shows them better

EVALUATED = (
    "Smiling",
    "Mouth_Slightly_Open",
    "Eyeglasses",
    "No_Beard",
    "Bangs",
    "Blond_Hair",
    "Black_Hair",
    "Gray_Hair",
    "Wearing_Lipstick",
    "Pale_Skin",
    "Wearing_Hat",
    "Young",
)

Config = TypeVar("Config", bound=TrainingConfig)


@dataclass(frozen=True)
class Places:
    """Where things are."""

    work: Path
    data: Path
    edits: Path
    configs: Path = HERE

    @property
    def eyes(self) -> list[Path]:
        """The networks of the perceptual loss."""
        return [self.work / f"eye-{number}.safetensors" for number in range(EYES)]

    @property
    def outsider(self) -> Path:
        """An eye that no training has learned to please, to measure how far edits must go."""
        return self.work / "outsider.safetensors"

    @property
    def judge(self) -> Path:
        """A model of the judge alone, which measures edits and takes part in no training."""
        return self.work / "judge"

    @property
    def labels(self) -> Path:
        """Attributes and parameters of all pictures of the training set and of the true edits."""
        return self.work / "labels.jsonl"

    @property
    def true_edits(self) -> Path:
        """The table of true edits by names of pictures."""
        return self.work / "edits.jsonl"

    @property
    def codes(self) -> Path:
        """Codes of all pictures."""
        return self.work / "codes.safetensors"

    @property
    def pictures(self) -> list[Path]:
        """Zip files of the training set, then of the true edits."""
        return [*sorted(self.data.glob("train-*.zip")), *sorted(self.edits.glob("edits-*.zip"))]

    def records(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Of the training set, and of the true edits."""
        (edits,) = self.edits.glob("edits.jsonl*")
        return list(read_records(self.data / "train.jsonl.gz")), list(read_records(edits))

    def config(self, name: str, kind: type[Config], **keys: object) -> Config:
        """The config of a training, with what depends on the place."""
        return kind.read(self.configs / f"{name}.toml", keys)


@dataclass(frozen=True)
class Counts:
    """How many pictures are rendered."""

    train: int = 16_000
    test: int = 1000
    pairs: int = 24  # identities
    edits: int = COUNT


class Report:
    """Say how a training goes on."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def advance(self, step: int, steps: int, seconds_left: float, metrics: Mapping[str, float] | None) -> None:
        """Print a line of the metrics."""
        if metrics:
            told = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
            print(f"{self._kind}: step {step}/{steps}, {seconds_left / 60:.0f} min left: {told}", flush=True)

    def note(self, text: str) -> None:
        """Print a sentence."""
        print(f"{self._kind}: {text}", flush=True)


def render(facekit: Path, places: Places, counts: Counts, workers: int) -> None:
    """Render what is not there yet."""
    made = partial(render_orders, facekit=facekit, workers=workers)
    if not places.data.exists():
        with write_folder(places.data) as folder:
            write_pictures(made(random_orders("train", TRAIN_SEED, range(counts.train))), folder, "train")
            write_pictures(made(random_orders("test", TEST_SEED, range(counts.test))), folder, "test")
            write_pictures(made(pair_orders("pairs", PAIRS_SEED, range(counts.pairs))), folder, "pairs")
    if not places.edits.exists():
        with write_folder(places.edits) as folder:
            render_edits(facekit, places.data, folder, count=counts.edits, workers=workers)


def write_tables(places: Places) -> None:
    """Labels of all pictures, and true edits by names, from the records."""
    portraits, edits = places.records()
    kept = ("id", "attributes", "params")
    labels = [{key: row[key] for key in kept} for row in (*portraits, *edits)]
    for path, rows in ((places.labels, labels), (places.true_edits, true_edits(portraits, edits))):
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def train(places: Places) -> None:
    """Train the judge, the eyes, encoder and generator together, then the encoder alone."""
    write_tables(places)
    labelled = {"data": tuple(map(str, places.pictures)), "labels": str(places.labels)}
    run(build_judge, places.config("judge", JudgeTraining, **labelled), places.work / "judge.run", places.judge)
    keys = tomllib.loads((places.configs / "eye.toml").read_text())
    missing = {seed: eye for seed, eye in enumerate([*places.eyes, places.outsider]) if not eye.exists()}
    if missing:
        pictures = load(places)
        for seed, eye in missing.items():
            write_file(eye, save(train_eye(pictures, seed=seed, **keys).state_dict()))
    config = places.config(
        "generator",
        GeneratorTraining,
        **labelled,
        judge=tuple(map(str, places.eyes)),
    )
    run(build_generator, config, places.work / "generator.run", places.work / "generator")
    config = replace(
        places.config("sharpen", GeneratorTraining, start=str(places.work / "generator"), data=config.data),
        labels=config.labels,
        judge=config.judge,
    )
    sharp = run(build_generator, config, places.work / "sharpen.run", places.work / "sharpened")
    blended = blend(Bundle.load(places.work / "generator"), sharp, places.work / "blended")
    correcting = places.config(
        "inversion", InversionTraining, model=str(blended.path), data=config.data, judge=config.judge
    )
    run(build_inversion, correcting, places.work / "inversion.run", places.work / "autoencoder")


def blend(soft: Bundle, sharp: Bundle, output: Path) -> Bundle:
    """A model of encoder and generator SHARPNESS of the way between before and after they were sharpened."""
    return Bundle.save(
        output,
        name=NAME,
        domain=sharp.domain,
        license=sharp.license,
        training={"generator": soft.training, "sharpen": sharp.training, "sharpness": SHARPNESS},
        parts={name: between(soft, sharp, name, SHARPNESS) for name in ("generator", "encoder")},
        readme="",
        overwrite=True,
    )


def between(before: Bundle, after: Bundle, name: str, share: float) -> tuple[Any, dict[str, Tensor]]:
    """Sizes and weights of a part, `share` of the way between those of two models."""
    ends = [bundle.read_part(name) for bundle in (before, after)]
    state = {
        key: torch.lerp(value.float(), ends[1][key].float(), share) if value.is_floating_point() else value
        for key, value in ends[0].items()
    }
    return PART_CONFIGS[name].from_dict(after.parts[name].config), state


def assemble(places: Places, output: Path) -> None:
    """Train what learns from codes, and save the bundle."""
    write_tables(places)
    base, codes = _with_codes(places)
    common = {"codes": (str(places.codes),)}
    config: TrainingConfig = places.config(
        "classifier", ClassifierTraining, model=str(base.path), labels=str(places.labels), **common
    )
    classified = run(build_classifier, config, places.work / "classifier.run", places.work / "classifier")
    config = places.config("editor", EditorTraining, model=str(classified.path), edits=str(places.true_edits), **common)
    edited = run(build_editor, config, places.work / "editor.run", places.work / "editor")
    engine = Engine.from_pretrained(edited.path, device="cpu")
    known = without_labels(cast(EditTransformer, engine.networks["editor"]), engine.attributes, NOT_BY_LABEL)
    engine = replace(engine, networks={**engine.networks, "editor": known})
    edits = TrueEdits.read(str(places.true_edits), codes.names, engine.attributes)
    _, untold = edits.split(~held_out(len(codes), config.held_out))  # of which the editor knows nothing
    engine = carry(engine, codes.codes, untold)
    carrying = with_parts(
        edited,
        places.work / "carrying",
        {"editor": (known.config, known.state_dict())},
        {},
        attributes=engine.bundle.attributes,
        overwrite=True,
    )
    drawing = {
        "data": tuple(map(str, places.pictures)),
        "edits": str(places.true_edits),
        "judge": tuple(map(str, places.eyes)),
    }
    retouching = places.config("retouch", GeneratorTraining, start=str(carrying.path), **drawing, **common)
    retouched = run(build_generator, retouching, places.work / "retouch.run", places.work / "retouched")
    same = places.work / "retouched.safetensors"
    codes.save(same, retouched)  # they mean the same to another generator, which learned to draw them
    texturing = places.config("texture", GeneratorTraining, start=str(retouched.path), codes=(str(same),), **drawing)
    textured = run(build_generator, texturing, places.work / "texture.run", places.work / "textured")
    drawn = with_parts(
        textured,
        places.work / "drawn",
        {"generator": between(retouched, textured, "generator", TEXTURE)},
        {"texture": TEXTURE},
        overwrite=True,
    )
    reading = learn_to_read(places, drawn, codes)
    outsider = load_judge(str(places.outsider))
    far = calibrate(Engine.from_pretrained(reading.path, device="cpu"), outsider, codes.codes)
    ready = with_parts(reading, places.work / "ready", {}, {}, attributes=tuple(far), overwrite=True)
    same = places.work / "drawn.safetensors"
    codes.save(same, ready)
    watching = places.config(
        "watch", EditorTraining, model=str(ready.path), codes=(str(same),), judge=tuple(map(str, places.eyes))
    )
    watched = run(build_editor, watching, places.work / "watch.run", places.work / "watched")
    engine = Engine.from_pretrained(watched.path, device="cpu")
    specs = calibrate(engine, outsider, codes.codes)  # anew, since edits by label show more now
    for spec in specs:
        print(", ".join(f"{key} {value}" for key, value in asdict(spec).items()))
    judging = Bundle.load(places.judge)
    if [item.name for item in judging.attributes] != [item.name for item in specs]:
        raise BundleError(f"the judge {places.judge} knows other attributes than the classifier: train both anew")
    network = engine.networks
    Bundle.save(
        output,
        name=NAME,
        domain=drawn.domain,
        license=drawn.license,
        description="Encoder, generator, classifier, editor and judge for rendered faces.",
        alignment="ffhq",
        training={
            "data": f"{len(codes)} rendered portraits, true edits of each other among them",
            "recipe": f"weights/recipes/{NAME}",
            **watched.training,
            **judging.training,
        },
        attributes=specs,
        parts={
            **{
                name: (cast(Any, network[name]).config, network[name].state_dict())
                for name in ("generator", "encoder", "classifier", "editor")
            },
            "judge": (PART_CONFIGS["judge"].from_dict(judging.parts["judge"].config), judging.read_part("judge")),
        },
        readme=(HERE / "CARD.md").read_text(),
        overwrite=True,
    )


def learn_to_read(places: Places, drawn: Bundle, codes: CodeSet) -> Bundle:
    """The model with a classifier that has also learned what eyes see in the pictures that are drawn of codes."""
    engine = Engine.from_pretrained(drawn.path, device="cpu")
    rendered = {str(row["id"]) for row in read_records(places.data / "train.jsonl.gz")}
    kept = [k for k, name in enumerate(codes.names) if name in rendered]  # true edits are of the same people
    portraits = CodeSet(tuple(codes.names[k] for k in kept), codes.codes[kept])
    portraits.save(places.work / "portraits.safetensors", drawn)
    labels = torch.from_numpy(LabelTable.read(places.labels).of(portraits.names, engine.attributes))
    softened = soften(engine, [load_judge(str(eye)) for eye in places.eyes], portraits.codes, labels)
    told = places.work / "seen.jsonl"
    with told.open("w") as file:
        for name, row in zip(portraits.names, softened.tolist(), strict=True):
            file.write(json.dumps({"id": name, "attributes": dict(zip(engine.attributes, row, strict=True))}) + "\n")
    config = places.config(
        "classifier",
        ClassifierTraining,
        model=str(drawn.path),
        labels=str(told),
        codes=(str(places.work / "portraits.safetensors"),),
    )
    return run(build_classifier, config, places.work / "reading.run", places.work / "reading")


def evaluate(places: Places, output: Path) -> None:
    """Print the tables of the model card."""
    test = [*map(str, sorted(places.data.glob("test-*.zip"))), "--labels", str(places.data / "test.jsonl.gz")]
    pairs = [item for path in sorted(places.data.glob("pairs*")) for item in ("--pairs", str(path))]
    command = [sys.executable, "-m", "stedit", "evaluate", "--model", str(output)]
    wanted = ["--attr", ",".join(EVALUATED), "--reference-edits", "--limit", "200"]
    for pictures in ([*test, *wanted], pairs):
        subprocess.run([*command, *pictures], check=True)  # noqa: S603 - our own command


def run(build: Callable[[Any], loop.Task], config: TrainingConfig, folder: Path, output: Path) -> Bundle:
    """Train what a config says, or go on with it, and save the model."""
    resume = bool(checkpoint.checkpoints(folder))
    task, outcome = loop.train(lambda: build(config), config, folder, resume=resume, monitor=Report(folder.stem))
    if outcome.reason == "interrupted":
        raise SystemExit("interrupted: the same command goes on")
    return task.save(output, overwrite=True)


def load(places: Places) -> LabelledPictures:
    """The training split, followed by its true edits, in memory."""
    pictures = load_labelled(places.data / "train.jsonl.gz", sorted(places.data.glob("train-*.zip")))
    (records,) = places.edits.glob("edits.jsonl*")
    return pictures.join(load_labelled(records, sorted(places.edits.glob("edits-*.zip"))))


def without_labels(network: EditTransformer, attributes: Sequence[str], names: Collection[str]) -> EditTransformer:
    """An edit transformer that leaves edits by label of these attributes to the classifier's directions."""
    kept = [row for row, index in enumerate(network.config.labels) if attributes[index] not in names]
    state = network.state_dict()
    state["label_tokens"] = state["label_tokens"][kept]
    fewer = EditTransformer(replace(network.config, labels=tuple(network.config.labels[row] for row in kept)))
    fewer.load_state_dict(state)
    return fewer.eval().requires_grad_(False)


def _with_codes(places: Places) -> tuple[Bundle, CodeSet]:
    """The model with a mapping network, and codes of all pictures: those found before, if they are of this encoder."""
    trained = Bundle.load(places.work / "autoencoder")
    if places.codes.exists():
        base = Bundle.load(places.work / "base")
        if base.parts["encoder"].sha256 == trained.parts["encoder"].sha256:
            found = CodeSet.read([str(places.codes)], Engine.from_pretrained(base.path, device="cpu"))
            if len(found) == len(PictureSet.open(places.pictures, 1)):
                return base, found
    engine = Engine.from_pretrained(trained.path, device="cpu", precision="bfloat16")
    codes = CodeSet.read([str(path) for path in places.pictures], engine)
    base = _with_mapping(trained, codes, places)
    codes.save(places.codes, base)
    return base, codes


def _with_mapping(base: Bundle, codes: CodeSet, places: Places) -> Bundle:
    """The model with a mapping network that gives the codes of random portraits."""
    drawn = cast(Generator, Engine.from_pretrained(base.path, device="cpu").networks["generator"])
    parameters = {str(row["id"]): row["params"] for row in read_records(places.labels)}
    names = json.loads((places.data / "param_names.json").read_text())
    known = torch.tensor([parameters[name] for name in codes.names])
    drawn.mapping.requires_grad_(True)
    explained = fit_mapping(drawn.mapping, _sampler(codes.codes, known, names), steps=2000)
    print(f"mapping network: {explained:.2f} of the variance of w explained")
    parts = {"generator": (drawn.config, drawn.state_dict())}
    return with_parts(base, places.work / "base", parts, {}, overwrite=True)


def _sampler(codes: Tensor, parameters: Tensor, names: Mapping[str, Any]) -> Callable[[int], tuple[Tensor, Tensor]]:
    """Pairs of z and w: the picture's parameters, drawn anew within the bin of each choice, padded with noise."""
    w = codes.mean(dim=1)
    bins = {list(names["names"]).index(name): torch.tensor(shares) for name, shares in names["probs"].items()}
    edges = {column: torch.cat([torch.zeros(1), shares.cumsum(0)]) for column, shares in bins.items()}
    width = min(w.shape[1], parameters.shape[1])  # a toy has fewer dimensions than there are parameters

    def sample(count: int) -> tuple[Tensor, Tensor]:
        index = torch.randint(len(w), (count,))
        z = torch.randn(count, w.shape[1])
        z[:, :width] = parameters[index, :width]
        for column, edge in edges.items():
            if column < width:
                share = torch.special.ndtr(z[:, column])
                chosen = (torch.bucketize(share, edge) - 1).clamp(0, len(edge) - 2)
                low, high = edge[chosen], edge[chosen + 1]
                drawn = low + (high - low) * torch.rand(count)
                z[:, column] = torch.special.ndtri(drawn.clamp(1e-3, 1 - 1e-3))
        return z, w[index]

    return sample


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the arguments, run the steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["all", "render", "train", "assemble", "evaluate"])
    parser.add_argument("--facekit", type=Path, default=Path("facekit.npz"))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--edits", type=Path)
    parser.add_argument("--output", type=Path, default=Path("weights") / NAME)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes that render")
    given = parser.parse_args(arguments)
    given.work.mkdir(parents=True, exist_ok=True)
    places = Places(given.work, given.data or given.work / "data", given.edits or given.work / "edits")
    steps: dict[str, Callable[[], None]] = {
        "render": lambda: render(given.facekit, places, Counts(), given.workers),
        "train": lambda: train(places),
        "assemble": lambda: assemble(places, given.output),
        "evaluate": lambda: evaluate(places, given.output),
    }
    try:
        for name, step in steps.items():
            if given.step in (name, "all"):
                step()
    except (FaceKitError, SteditError) as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
