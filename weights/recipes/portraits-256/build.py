"""Make portraits-256: render, train, put the parts into a bundle, measure it. `make weights` runs all of it.

    python build.py all      --photos PHOTOS --facekit facekit.npz --work WORK [--output weights/portraits-256]
    python build.py render   --facekit facekit.npz --work WORK        portraits and ground-truth edits of them
    python build.py train    --photos PHOTOS --work WORK              judge, perceptual networks, encoder and generator
    python build.py assemble --photos PHOTOS --work WORK              classifier, mapping network, editor, model
    python build.py evaluate --photos PHOTOS --work WORK              the tables of the model card

PHOTOS holds photographs (train-*.zip, train.jsonl.gz, test-*.zip, test.jsonl.gz), aligned and labelled. Renders lie in
WORK/small, WORK/data and WORK/edits. A step that was interrupted goes on when it is called again. Nothing of a test
split is read but by the last step.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from calibration import calibrate, carry, soften
from ground_truth_edits import true_edits
from perceptual_network import train_eye
from render_edits import render_edits
from renderer.head import FaceKitError
from renderer.pictures import Order, pair_orders, random_orders, render_orders, write_pictures
from safetensors.torch import save
from torch import Tensor

from stedit import Engine
from stedit.atomic import write_file, write_folder
from stedit.bundle import PART_CONFIGS, Bundle
from stedit.errors import BundleError, SteditError
from stedit.labels import LabelTable
from stedit.models.edit_transformer import EditTransformer
from stedit.models.generator import Generator
from stedit.records import read_records
from stedit.training import checkpoint, classifier, editor, generator, inversion, judge, loop
from stedit.training.classifier_config import ClassifierTraining
from stedit.training.codes import CodeSet, held_out
from stedit.training.config import TrainingConfig
from stedit.training.editor import TrueEdits
from stedit.training.editor_config import EditorTraining
from stedit.training.generator_config import GeneratorTraining
from stedit.training.inversion_config import InversionTraining
from stedit.training.judge_config import JudgeTraining
from stedit.training.mapping import fit_mapping
from stedit.training.perceptual import load_judge
from stedit.training.pictures import PictureSet
from stedit.training.results import with_parts

HERE = Path(__file__).resolve().parent
NAME = "portraits-256"
TRAIN_SEED, TEST_SEED, PAIRS_SEED = 1, 2, 3  # of the rendered sets
PHOTOGRAPHS = 3  # times that a photograph is shown while a render is shown once
EYES = 2  # networks of the perceptual loss: it is harder to learn to deceive both
SIZE, SMALL = 256, 128  # sides of rendered pictures, in pixels
SHARPNESS = 0.85  # weights trained with a discriminator alone draw streaks on skin, and stray further from the picture
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
    """Where things are, and what computes."""

    work: Path
    photos: Path
    device: str = "cpu"
    configs: Path = HERE

    @property
    def small(self) -> Path:
        """Rendered portraits of SMALL px."""
        return self.work / "small"

    @property
    def data(self) -> Path:
        """The first of them at SIZE px."""
        return self.work / "data"

    @property
    def edits(self) -> Path:
        """Ground-truth edits of these, at SIZE px."""
        return self.work / "edits"

    @property
    def eyes(self) -> list[Path]:
        """The networks of the perceptual loss."""
        return [self.work / f"eye-{number}.safetensors" for number in range(EYES)]

    @property
    def outsider(self) -> Path:
        """A network like them, by which no training goes, to measure how far edits must go."""
        return self.work / "outsider.safetensors"

    @property
    def judge(self) -> Path:
        """A model of the judge alone, which measures edits and takes part in no training."""
        return self.work / "judge"

    @property
    def labels(self) -> Path:
        """Attributes of all pictures, and parameters of renders."""
        return self.work / "labels.jsonl"

    @property
    def true_edits(self) -> Path:
        """The table of ground-truth edits by names of pictures."""
        return self.work / "edits.jsonl"

    @property
    def codes(self) -> Path:
        """Codes of all pictures."""
        return self.work / "codes.safetensors"

    @property
    def photographs(self) -> list[Path]:
        """Zip files of photographs to learn from."""
        return sorted(self.photos.glob("train-*.zip"))

    @property
    def pictures(self) -> list[Path]:
        """Zip files of photographs, of portraits, and of their edits."""
        return [*self.photographs, *sorted(self.data.glob("train-*.zip")), *sorted(self.edits.glob("edits-*.zip"))]

    @property
    def first_pictures(self) -> list[Path]:
        """Zip files of photographs and of small portraits."""
        return [*self.photographs, *sorted(self.small.glob("train-*.zip"))]

    def repeat(self, sources: Sequence[Path], times: int) -> tuple[int, ...]:
        """How often the pictures of each source count: photographs `times`, renders once."""
        return tuple(times if source in self.photographs else 1 for source in sources)

    def config(self, name: str, kind: type[Config], **keys: object) -> Config:
        """The config of a training, with what depends on the place."""
        if "keep_pictures" in kind.__dataclass_fields__:
            keys = {"keep_pictures": True, **keys}
        config = kind.read(self.configs / f"{name}.toml", {"device": self.device, **keys})
        return replace(config, deterministic=self.device == "cpu")

    def pictured(self, sources: Sequence[Path]) -> dict[str, object]:
        """The keys of a training on pictures."""
        return {"data": tuple(map(str, sources)), "repeat": self.repeat(sources, PHOTOGRAPHS)}


@dataclass(frozen=True)
class Counts:
    """How many pictures are rendered."""

    small: int = 16_000
    train: int = 4000
    test: int = 1000
    pairs: int = 24  # identities
    edits: int = 6000


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

    def made(orders: Iterable[Order], size: int) -> Iterator[tuple[str, bytes, dict[str, Any]]]:
        return render_orders(orders, facekit, size=size, workers=workers)

    if not places.data.exists():
        with write_folder(places.data) as folder:
            write_pictures(made(random_orders("train", TRAIN_SEED, range(counts.train)), SIZE), folder, "train")
    if not places.edits.exists():
        with write_folder(places.edits) as folder:
            render_edits(facekit, places.data, folder, count=counts.edits, size=SIZE, workers=workers)
    if not places.small.exists():
        with write_folder(places.small) as folder:
            write_pictures(made(random_orders("train", TRAIN_SEED, range(counts.small)), SMALL), folder, "train")
            write_pictures(made(random_orders("test", TEST_SEED, range(counts.test)), SMALL), folder, "test")
            write_pictures(made(pair_orders("pairs", PAIRS_SEED, range(counts.pairs)), SMALL), folder, "pairs")


def write_tables(places: Places) -> None:
    """Labels of all pictures, and ground-truth edits by names, from the records; of what is rendered by now."""
    photographs = list(read_records(places.photos / "train.jsonl.gz"))
    small = list(read_records(places.small / "train.jsonl.gz"))
    edits = [row for path in places.edits.glob("edits.jsonl*") for row in read_records(path)]
    kept = ("id", "attributes", "params")
    labels = [{key: row[key] for key in kept if key in row} for row in (*photographs, *small, *edits)]
    tables = [(places.labels, labels)]
    if edits:
        portraits = [row for path in places.data.glob("train.jsonl*") for row in read_records(path)]
        tables.append((places.true_edits, true_edits(portraits, edits)))
    for path, rows in tables:
        write_file(path, "".join(json.dumps(row) + "\n" for row in rows).encode())


def train(places: Places) -> None:
    """Train the judge, the perceptual networks, encoder and generator together, then the encoder alone."""
    train_judge(places)
    for seed in range(EYES + 1):
        train_perceptual_network(places, seed)
    train_autoencoder(places)


def train_judge(places: Places) -> None:
    """Train the network that measures edits."""
    write_tables(places)
    config = places.config("judge", JudgeTraining, labels=str(places.labels), **places.pictured(places.first_pictures))
    run(judge.build, config, places.work / "judge.run", places.judge)


def train_perceptual_network(places: Places, seed: int) -> None:
    """Train one of the networks that compare pictures, or the one that measures how far edits must go."""
    output = [*places.eyes, places.outsider][seed]
    if not output.exists():
        keys = tomllib.loads((places.configs / "perceptual_network.toml").read_text())
        sources = places.first_pictures
        network = train_eye(
            [str(path) for path in sources],
            places.labels,
            **{**keys, "repeat": places.repeat(sources, PHOTOGRAPHS)},
            seed=seed,
            device=places.device,
        )
        write_file(output, save(network.state_dict()))


def train_autoencoder(places: Places) -> None:
    """Train encoder and generator together, at half size, in full, with a discriminator; then the encoder alone."""
    write_tables(places)
    common = {"judge": tuple(map(str, places.eyes))}
    labelled = {**common, "labels": str(places.labels)}
    config: TrainingConfig = places.config(
        "generator", GeneratorTraining, **labelled, **places.pictured(places.first_pictures)
    )
    first = run(generator.build, config, places.work / "generator.run", places.work / "generator")
    pictured = places.pictured(places.pictures)
    config = places.config("generator-256", GeneratorTraining, start=str(first.path), **labelled, **pictured)
    soft = run(generator.build, config, places.work / "generator-256.run", places.work / "generator-256")
    config = places.config("autoencoder-adversarial", GeneratorTraining, start=str(soft.path), **labelled, **pictured)
    sharp = run(generator.build, config, places.work / "adversarial.run", places.work / "adversarial")
    blended = blend(soft, sharp, places.work / "blended")
    config = places.config("encoder", InversionTraining, model=str(blended.path), **common, **pictured)
    run(inversion.build, config, places.work / "encoder.run", places.work / "autoencoder")


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
    edited, codes = learn_edits(places)
    ready = measure_edits(places, edited, codes)
    same = places.work / "ready.safetensors"
    codes.save(same, ready)
    config = places.config(
        "editor-finetune",
        EditorTraining,
        model=str(ready.path),
        codes=(str(same),),
        judge=tuple(map(str, places.eyes)),
    )
    finetuned = run(editor.build, config, places.work / "editor-finetune.run", places.work / "finetuned")
    finish(places, finetuned, codes, output)


def learn_edits(places: Places) -> tuple[Bundle, CodeSet]:
    """The model with a classifier and an editor that have learned from codes alone, and the codes."""
    write_tables(places)
    base, codes = _with_codes(places)
    common = {"codes": (str(places.codes),)}
    config: TrainingConfig = places.config(
        "classifier", ClassifierTraining, model=str(base.path), labels=str(places.labels), **common
    )
    classified = run(classifier.build, config, places.work / "classifier.run", places.work / "classifier")
    config = places.config("editor", EditorTraining, model=str(classified.path), edits=str(places.true_edits), **common)
    return run(editor.build, config, places.work / "editor.run", places.work / "editor"), codes


def measure_edits(places: Places, edited: Bundle, codes: CodeSet) -> Bundle:
    """The model that knows how much is carried over from a reference, what is seen of codes, and how far edits go."""
    engine = Engine.from_pretrained(edited.path, device=places.device)
    known = without_labels(cast(EditTransformer, engine.networks["editor"]), engine.attributes, NOT_BY_LABEL)
    engine = replace(engine, networks={**engine.networks, "editor": known})
    edits = TrueEdits.read(str(places.true_edits), codes.names, engine.attributes)
    share = places.config(
        "editor", EditorTraining, model=str(edited.path), codes=(str(places.codes),), edits=str(places.true_edits)
    ).held_out
    _, untold = edits.split(~held_out(len(codes), share))  # of which the editor knows nothing
    engine = carry(engine, codes.codes, untold)
    parts = {"editor": (known.config, known.state_dict())}
    carrying = with_parts(
        edited, places.work / "carrying", parts, {}, attributes=engine.bundle.attributes, overwrite=True
    )
    reading = learn_to_read(places, carrying, codes)
    engine = Engine.from_pretrained(reading.path, device=places.device)
    far = calibrate(engine, load_judge(str(places.outsider)), photographed(places, codes).codes)
    return with_parts(reading, places.work / "ready", {}, {}, attributes=tuple(far), overwrite=True)


def finish(places: Places, finetuned: Bundle, codes: CodeSet, output: Path) -> None:
    """Measure anew how far edits go, since those by label show more now, and save the model with its judge."""
    engine = Engine.from_pretrained(finetuned.path, device=places.device)
    specs = calibrate(engine, load_judge(str(places.outsider)), photographed(places, codes).codes)
    for spec in specs:
        print(", ".join(f"{key} {value}" for key, value in asdict(spec).items()))
    judging = Bundle.load(places.judge)
    if [item.name for item in judging.attributes] != [item.name for item in specs]:
        raise BundleError(f"the judge {places.judge} knows other attributes than the classifier: train both anew")
    network = engine.networks
    Bundle.save(
        output,
        name=NAME,
        domain=finetuned.domain,
        license=finetuned.license,
        description="Encoder, generator, classifier, editor and judge for photographs and renders of faces.",
        alignment="ffhq",
        training={
            "data": f"{len(codes)} pictures: photographs, rendered portraits and ground-truth edits of these",
            "recipe": f"weights/recipes/{NAME}",
            **finetuned.training,
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


def photographed(places: Places, codes: CodeSet) -> CodeSet:
    """The codes of photographs among them."""
    names = {str(row["id"]) for row in read_records(places.photos / "train.jsonl.gz")}
    kept = [k for k, name in enumerate(codes.names) if name in names]
    return CodeSet(tuple(codes.names[k] for k in kept), codes.codes[kept])


def learn_to_read(places: Places, drawn: Bundle, codes: CodeSet) -> Bundle:
    """The model with a classifier that has also learned what is predicted of the pictures rendered from codes."""
    engine = Engine.from_pretrained(drawn.path, device=places.device)
    edits = {str(row["id"]) for path in places.edits.glob("edits.jsonl*") for row in read_records(path)}
    kept = [k for k, name in enumerate(codes.names) if name not in edits]  # which are of the same people
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
    return run(classifier.build, config, places.work / "reading.run", places.work / "reading")


def evaluate(places: Places, output: Path) -> None:
    """Print the tables of the model card."""
    command = [sys.executable, "-m", "stedit", "evaluate", "--model", str(output)]
    wanted = ["--attr", ",".join(EVALUATED), "--reference-edits"]
    pairs = [item for path in sorted(places.small.glob("pairs*")) for item in ("--pairs", str(path))]
    for folder in (places.photos, places.small):
        test = [*map(str, sorted(folder.glob("test-*.zip"))), "--labels", str(folder / "test.jsonl.gz")]
        subprocess.run([*command, *test, *wanted], check=True)  # noqa: S603 - our own command
    subprocess.run([*command, *pairs], check=True)  # noqa: S603 - our own command


def run(build: Callable[[Any], loop.Task], config: TrainingConfig, folder: Path, output: Path) -> Bundle:
    """Train what a config says, or go on with it, and save the model."""
    resume = bool(checkpoint.checkpoints(folder))
    task, outcome = loop.train(lambda: build(config), config, folder, resume=resume, monitor=Report(folder.stem))
    if outcome.reason == "interrupted":
        raise SystemExit("interrupted: the same command goes on")
    return task.save(output, overwrite=True)


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
    engine = Engine.from_pretrained(trained.path, device=places.device, precision="bfloat16")
    codes = CodeSet.read([str(path) for path in places.pictures], engine)
    base = _with_mapping(trained, codes, places)
    codes.save(places.codes, base)
    return base, codes


def _with_mapping(base: Bundle, codes: CodeSet, places: Places) -> Bundle:
    """The model with a mapping network that gives codes as those of the pictures are distributed."""
    network = cast(Generator, Engine.from_pretrained(base.path, device=places.device).networks["generator"])
    network.mapping.requires_grad_(True)
    explained = fit_mapping(network.mapping, _sampler(codes.codes.mean(dim=1).to(places.device)), steps=2000)
    print(f"mapping network: {explained:.2f} of the variance of w explained")
    parts = {"generator": (network.config, network.state_dict())}
    return with_parts(base, places.work / "base", parts, {}, overwrite=True)


def _sampler(w: Tensor) -> Callable[[int], tuple[Tensor, Tensor]]:
    """Pairs of z and w: z is w (M, D), whitened, so that random z give codes with the mean and covariance of these."""
    centred = w - w.mean(dim=0)
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(w))
    scale = values.clamp_min(1e-6 * values.max()).rsqrt()
    white = centred @ vectors * scale

    def sample(count: int) -> tuple[Tensor, Tensor]:
        index = torch.randint(len(w), (count,), device=w.device)
        return white[index], w[index]

    return sample


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the arguments, run the steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["all", "render", "train", "assemble", "evaluate"])
    parser.add_argument("--facekit", type=Path, default=Path("facekit.npz"))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--photos", type=Path, default=Path("photos"), help="labelled, aligned photographs")
    parser.add_argument("--device", default="cpu", help="what trains: cpu, or cuda")
    parser.add_argument("--output", type=Path, default=Path("weights") / NAME)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes that render")
    given = parser.parse_args(arguments)
    given.work.mkdir(parents=True, exist_ok=True)
    places = Places(given.work, given.photos, given.device)
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
