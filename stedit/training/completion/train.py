"""`stedit train complete`: the classifier and the editor of a model, from its own samples and what labels them.

RUN/config.toml                 the effective config
RUN/judge/                      the training of the judge, if labelled images are the labeller
RUN/codes.safetensors, samples/ what is learned from, see `samples`
RUN/classifier/, editor/        their trainings
RUN/goals.json, figures.json    how far edits go, and what they do, attribute by attribute
RUN/edits.png                   some edits of samples

Each part is whole or absent, so a run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from stedit.engine import Engine
from stedit.errors import InputError, TrainingError, UsageError, describe_cause
from stedit.imaging.files import write_image
from stedit.imaging.sheets import sheet
from stedit.metrics.editing import set_attribute
from stedit.models.attribute_network import Judge
from stedit.runtime.arrays import to_array
from stedit.runtime.networks import load_network
from stedit.storage.atomic import write_file
from stedit.storage.bundle import Bundle
from stedit.storage.bundle_config import AttributeSpec, PartConfig, part_type
from stedit.training import checkpoint, loop
from stedit.training.classifier.config import ClassifierTrainingConfig
from stedit.training.classifier.train import ClassifierTask
from stedit.training.completion.card import completed_card
from stedit.training.completion.config import CompletionConfig
from stedit.training.completion.goals import Probes, fit_goals, measure_edits, with_spec
from stedit.training.completion.labeller import ChosenLabeller, Labeller, load_labeller
from stedit.training.completion.samples import Renderer, choose_resolution, labelled_samples
from stedit.training.config import TrainingConfig
from stedit.training.data.edits import GroundTruthEdits
from stedit.training.data.latents import validation_mask
from stedit.training.editor.config import EditorTrainingConfig
from stedit.training.editor.train import EditorTask
from stedit.training.judge import train as judge_training
from stedit.training.judge.config import JudgeTrainingConfig
from stedit.training.log import CONFIG_NAME
from stedit.training.provenance import provenance
from stedit.training.run import Monitor, Task

LEAST_OF_A_CLASS = 12  # codes with, and without, an attribute: fewer teach nothing
SHOWN_CODES, SHOWN_ATTRIBUTES, SHOWN_SIDE = 6, 8, 128  # of edits.png

T = TypeVar("T", bound=Task)
Stage = Callable[[str, int], AbstractContextManager[Monitor]]
"""Begins a part of the work, of a name and so many steps, and gives its monitor."""


def complete(
    config: CompletionConfig, run: Path, output: Path, *, stage: Stage, resume: bool = False, overwrite: bool = False
) -> Bundle:
    """Make the classifier and the editor of a model, and write the model with them.

    Args:
        config: of this completion.
        run: the folder that it works in; made if it is not there.
        output: the folder of the new model.
        stage: is told of each part of the work, and gives the monitor of its progress.
        resume: go on with what is in `run`.
        overwrite: whether a model at `output` may be replaced.

    Raises:
        KeyboardInterrupt: Ctrl-C; what is done is kept in `run`.
        UsageError: the run holds a completion already, or one of another config; or the config asks for what is not
            there.
        InputError, BundleError, MissingPartError, AttributeNameError, TrainingError, DeviceError, OutputError.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError("a completion is the work of one process: start it without torchrun")
    _begin(config, run, resume=resume)
    engine = Engine.from_pretrained(config.model, device=config.device)
    base = engine.bundle
    judged = _train_judge(config, run, stage) if config.labels else None
    labeller = load_labeller(config, base, judged, engine.device)
    with stage(f"choosing at which size {labeller.description} sees samples", 1) as monitor:
        renderer = Renderer(engine, labeller, choose_resolution(engine, labeller, config))
        monitor.note(f"samples are rendered at {renderer.resolution} of {engine.output_size[0]} px")
    count = config.samples
    with stage("sampling and labelling codes", count) as monitor:
        codes, logits = labelled_samples(renderer, config, run, monitor)
        chosen = _learnable(logits, labeller, config, monitor)
    attributes = tuple(labeller.attributes[k] for k in chosen)
    renderer = replace(renderer, labeller=ChosenLabeller(labeller, chosen))
    labels = logits[:, chosen].sigmoid()

    bundle = replace(base, attributes=tuple(map(AttributeSpec, attributes)))
    shared: dict[str, Any] = {
        "model": config.model,
        "synthetic_latents": config.samples,
        "val_fraction": config.val_fraction,
        "seed": config.seed,
        "device": config.device,
    }
    classifying = ClassifierTrainingConfig(steps=config.classifier_steps, **shared)
    classifier_task = _train(
        "training the classifier",
        lambda: ClassifierTask(classifying, bundle, codes, labels, attributes),
        classifying,
        run / "classifier",
        stage,
    )
    classifier, accuracies = classifier_task.result()
    engine = Engine(replace(engine.model, bundle=bundle).with_networks(classifier=classifier.to(engine.device)))

    editing = EditorTrainingConfig(steps=config.editor_steps, patience=0, **shared)
    none = GroundTruthEdits.read("", (), attributes)
    editor_task = _train(
        "training the editor",
        lambda: EditorTask(editing, bundle, classifier, codes, none),
        editing,
        run / "editor",
        stage,
    )
    editor = editor_task.best.network.to(engine.device)
    engine = Engine(engine.model.with_networks(editors={"editor": editor}))

    renderer = replace(renderer, engine=engine)
    kept = validation_mask(len(codes), config.val_fraction)
    held_out, seen = codes[kept], logits[kept][:, chosen]
    fitting, measuring = (
        _probes(renderer, held_out[half], seen[half], config) for half in (slice(0, None, 2), slice(1, None, 2))
    )
    goals = _by_attribute(
        "measuring how far edits must go",
        run / "goals.json",
        attributes,
        lambda k: vars(fit_goals(engine, fitting, k)),
        stage,
    )
    for values in goals.values():
        engine = with_spec(engine, AttributeSpec(**values))
    figures = _by_attribute(
        "measuring edits", run / "figures.json", attributes, lambda k: measure_edits(engine, measuring, k), stage
    )
    figures = {name: {**accuracies.get(name, {}), **figures[name]} for name in attributes}
    _write_sheet(engine, renderer, measuring, run)

    facts = {"labelled_by": labeller.description, "resolution": renderer.resolution, "codes": len(codes)}
    classifier.cpu()
    editor.cpu()
    made: dict[str, tuple[PartConfig, Any]] = {
        "classifier": (classifier.config, classifier.state_dict()),
        "editor": (editor.config, editor.state_dict()),
    }
    return _save(config, base, output, engine.bundle.attributes, made, facts, figures, overwrite=overwrite)


def _begin(config: CompletionConfig, run: Path, *, resume: bool) -> None:
    path = run / CONFIG_NAME
    if resume and not path.is_file():
        raise UsageError(f"{run} holds no completion to resume: begin without resuming")
    if resume:
        config.require_same(CompletionConfig.read(path, {}, check=False), path)
    elif path.exists():
        raise UsageError(
            f"{run} holds a training already: start one in another folder, or resume it", argument="resume"
        )
    checkpoint.make_folder(run)
    write_file(path, config.to_toml().encode())


def _train(title: str, build: Callable[[], T], config: TrainingConfig, run: Path, stage: Stage) -> T:
    """Train a part, or go on with it; one that is done is only loaded."""
    with stage(title, config.steps) as monitor:
        task, outcome = loop.train(build, config, run, resume=bool(checkpoint.checkpoints(run)), monitor=monitor)
    if outcome.reason == "interrupted":
        raise KeyboardInterrupt
    return task


def _train_judge(config: CompletionConfig, run: Path, stage: Stage) -> Bundle:
    """The judge that labelled images teach: a model in the run."""
    path = run / "judge" / "model"
    if not path.exists():
        judging = JudgeTrainingConfig(
            steps=config.judge_steps,
            data=(config.labeller,),
            labels=config.labels,
            seed=config.seed,
            device=config.device,
        )
        task = _train(
            "training the judge on labelled images",
            lambda: judge_training.build(judging),
            judging,
            run / "judge",
            stage,
        )
        task.save(path, overwrite=True)
    return Bundle.load(path)


def _learnable(logits: Tensor, labeller: Labeller, config: CompletionConfig, monitor: Monitor) -> list[int]:
    """The numbers of the attributes of which there are samples with and without. Raises InputError."""
    kept = logits[~validation_mask(len(logits), config.val_fraction)] > 0
    present = kept.sum(dim=0)
    fewer = torch.minimum(present, len(kept) - present)
    chosen = [k for k, count in enumerate(fewer.tolist()) if count >= LEAST_OF_A_CLASS]
    shares = {name: present[k].item() / len(kept) for k, name in enumerate(labeller.attributes)}
    left_out = [name for k, name in enumerate(labeller.attributes) if k not in chosen]
    if left_out and (config.attr or not chosen):
        share = shares[left_out[0]]
        raise InputError(
            f"{labeller.description} sees {left_out[0]} in {share:.1%} of {len(kept)} samples, so nothing can be "
            "learned of it: take more samples, other words, or leave it out of attr"
        )
    if left_out:
        monitor.note(f"left out, for hardly a sample has or hardly one lacks them: {', '.join(left_out)}")
    listed = ", ".join(f"{labeller.attributes[k]} {shares[labeller.attributes[k]]:.0%}" for k in chosen)
    monitor.note(f"shares of samples: {listed}")
    return chosen


def _probes(renderer: Renderer, codes: Tensor, seen: Tensor, config: CompletionConfig) -> Probes:
    """Some of the codes (M, N, D), to which the labeller has given logits (M, K)."""
    some = slice(0, None, max(1, len(codes) // config.measured_edits))
    edited, before = (part[some][: config.measured_edits] for part in (codes, seen))
    return Probes(renderer, edited, before > 0, codes, seen)


def _by_attribute(
    title: str, path: Path, attributes: tuple[str, ...], compute: Callable[[int], Mapping[str, Any]], stage: Stage
) -> dict[str, dict[str, Any]]:
    """What is computed of each attribute; kept in a file, from which what is there already is read."""
    try:
        found: dict[str, dict[str, Any]] = json.loads(path.read_bytes()) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path} is damaged ({describe_cause(error)}): delete it, and resume") from error
    began, computed = time.monotonic(), 0
    with stage(title, len(attributes)) as monitor:
        for k, name in enumerate(attributes):
            if name not in found:
                found[name] = dict(compute(k))
                write_file(path, (json.dumps(found, indent=1) + "\n").encode())
                computed += 1
            rate = (time.monotonic() - began) / max(computed, 1)
            monitor.advance(k + 1, len(attributes), rate * (len(attributes) - k - 1), None)
    return {name: found[name] for name in attributes}


def _write_sheet(engine: Engine, renderer: Renderer, probes: Probes, run: Path) -> None:
    """Edits by label of some codes, to look at: a column for each attribute."""
    codes = probes.codes[:SHOWN_CODES]
    columns, titles = [codes], [""]
    for k, name in enumerate(engine.attributes[:SHOWN_ATTRIBUTES]):
        wanted = ~probes.before[: len(codes), k]
        columns.append(set_attribute(engine, codes, name, wanted, 1.0, "preserving"))
        titles.append(name)
    rendered = [to_array(renderer.images(column)) for column in columns]
    write_image(run / "edits.png", sheet([list(row) for row in zip(*rendered, strict=True)], titles=titles))


def _save(
    config: CompletionConfig,
    base: Bundle,
    output: Path,
    attributes: tuple[AttributeSpec, ...],
    made: dict[str, tuple[PartConfig, Any]],
    facts: Mapping[str, Any],
    figures: Mapping[str, Any],
    *,
    overwrite: bool,
) -> Bundle:
    """The model with the new parts; its judge stays, of the attributes that are known now, if it predicts them all."""
    parts: dict[str, tuple[PartConfig, Any]] = {
        name: part
        for name, part in base.stored_parts().items()
        if part_type(name) not in {"classifier", "editor", "judge"}
    }
    training = {name: value for name, value in base.training.items() if part_type(name) not in {"classifier", "editor"}}
    known = [item.name for item in base.attributes]
    names = [item.name for item in attributes]
    if "judge" in base.parts and all(name in known for name in names):
        judge = cast(Judge, load_network(base, "judge"))
        rows = [known.index(name) for name in names]
        state = judge.state_dict()
        state |= {key: state[key][rows] for key in ("head.weight", "head.bias")}
        parts["judge"] = (replace(judge.config, attributes=len(names)), state)
    else:
        training.pop("judge", None)
    training["classifier"] = training["editor"] = provenance(config, **facts)
    training["classifier"] = {**training["classifier"], "validation": dict(figures)}
    return Bundle.save(
        output,
        name=base.name,
        domain=base.domain,
        license=base.license,
        description=base.description,
        alignment=base.alignment,
        attributes=attributes,
        training=training,
        parts={**parts, **made},
        readme=completed_card(base, facts, figures),
        derived_from=base.derived_from,
        reconstruction_limit=base.reconstruction_limit,
        overwrite=overwrite,
    )
