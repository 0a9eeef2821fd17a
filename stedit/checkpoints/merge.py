"""Join the parts of several checkpoints and models into one model, if they belong together."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from safetensors.torch import load as decode
from torch import Tensor

from stedit.checkpoints.formats import convert
from stedit.checkpoints.lcnet import CELEBA_ATTRIBUTES
from stedit.checkpoints.probe import probe
from stedit.checkpoints.reader import LoadedFile
from stedit.checkpoints.state_dicts import Hints
from stedit.errors import BundleError, InputError
from stedit.models.config import (
    AlignerConfig,
    ClassifierConfig,
    EditorConfig,
    EncoderConfig,
    GeneratorConfig,
    JudgeConfig,
)
from stedit.storage.bundle import Bundle, Precision, encode_part
from stedit.storage.bundle_config import EDITOR_PREFIX, PART_CONFIGS, Alignment, AttributeSpec, PartConfig, part_type

BOUND = ("encoder", "classifier", "editor")  # parts whose codes mean something to one generator only
SAME = 2e-3  # relative difference of two generators, one of which may have been stored in half precision


@dataclass(frozen=True)
class ModelParts:
    """The parts of one checkpoint file, or of one model, and what is known of them."""

    label: str
    """The file or the model, for people."""
    parts: Mapping[str, tuple[PartConfig, bytes]]
    """Each with the bytes of its safetensors file."""
    origin: Mapping[str, Mapping[str, Any]]
    """Of each part: where it comes from."""
    license: str = ""
    domain: str = ""
    alignment: Alignment = "none"
    attributes: tuple[AttributeSpec, ...] = ()
    fingerprint: str = ""
    """Of the generator that the parts are for, "" if unknown."""
    derived_from: str = ""
    """Of the generator that this one was fine-tuned from, and whose latent space it shares; "" if there is none."""
    reconstruction_limit: float | None = None
    """Of the encoder and the generator together, None if unknown."""
    probes: Mapping[str, Sequence[float]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def from_checkpoint(
    file: LoadedFile, *, precision: Precision, attribute: str = "", hints: Hints | None = None
) -> ModelParts:
    """Convert a checkpoint, run each of its parts once, and encode them.

    `attribute` is what a reference-edit checkpoint was trained for, which is not in the file; `hints` is what else the
    file does not say. Raises InputError.
    """
    try:
        converted = convert(file.content, hints)
    except InputError as error:
        raise InputError(f"{file.path}: {error}", argument=error.argument) from error
    parts, probes, origin = {}, {}, {}
    for name, (config, tensors) in converted.parts.items():
        assert isinstance(config, PartConfig)
        try:
            probes[name] = probe(name, config, tensors)
        except ValueError as error:
            raise InputError(f"{file.path} looks like {converted.format.name}, but {error}") from error
        parts[name] = (config, encode_part(name, tensors, precision))
        origin[name] = {"file": printable(file.path.name), "sha256": file.sha256, "format": converted.format.name}
    faces = any(isinstance(config, GeneratorConfig) and config.resolution == 1024 for config, _ in parts.values())
    cars = any(isinstance(config, EncoderConfig) and config.input_height == 192 for config, _ in parts.values())
    found = ModelParts(
        label=str(file.path),
        parts=parts,
        origin=origin,
        license=converted.format.license,
        domain="cars" if cars else "faces" if faces else "",
        alignment="ffhq" if faces and not cars else "none",
        attributes=_attributes(parts, attribute),
        probes=probes,
        notes=tuple(converted.checkpoint.notes),
    )
    return replace(found, fingerprint=fingerprint_of(found))


def from_bundle(bundle: Bundle) -> ModelParts:
    """The parts of a model, byte for byte. Raises BundleError if a file is damaged."""
    known, probes = bundle.training.get("parts"), bundle.training.get("probe")
    known = known if isinstance(known, dict) else {}
    origin = {}
    for name, part in bundle.parts.items():
        stated = known.get(name)
        made = {"model": bundle.name, "sha256": part.sha256}
        origin[name] = stated if isinstance(stated, dict) else made
    return ModelParts(
        label=bundle.name,
        parts=bundle.stored_parts(),
        origin=origin,
        license=bundle.license,
        domain=bundle.domain,
        alignment=bundle.alignment,
        attributes=bundle.attributes,
        fingerprint=bundle.fingerprint,
        derived_from=bundle.derived_from,
        reconstruction_limit=bundle.reconstruction_limit,
        probes=probes if isinstance(probes, dict) else {},
    )


def merge(sources: Sequence[ModelParts], *, replacing: bool = False) -> ModelParts:
    """All parts together.

    The generators of several sources may be the same one, of which the first is kept. `replacing` lets later parts
    take the place of those of the first source. Raises BundleError, saying which parts do not go together and why.
    """
    chosen: dict[str, ModelParts] = {}
    notes = [f"{one.label}: {note}" for one in sources for note in one.notes]
    for position, one in enumerate(sources):
        for name in one.parts:
            earlier = chosen.get(name)
            if earlier is None or (replacing and earlier is sources[0] and position):
                chosen[name] = one
            elif name != "generator":
                raise BundleError(
                    f"{earlier.label} and {one.label} both have a part {name!r}, and a model has one: "
                    "make two models of them, or replace the first",
                    argument="overwrite",
                )
            else:
                notes.append(_same_space(earlier, one))
    _require_fit(chosen)
    joined = ModelParts(
        label=" and ".join(one.label for one in sources),
        parts={name: chosen[name].parts[name] for name in sorted(chosen, key=_place)},
        origin={name: one.origin[name] for name, one in chosen.items()},
        license=_joined(one.license for one in sources),
        domain=next((one.domain for one in sources if one.domain), ""),
        alignment=next((one.alignment for one in sources if one.alignment != "none"), "none"),
        attributes=_agreed_attributes(sources, chosen),
        fingerprint=_lineage(chosen).fingerprint if chosen else "",
        derived_from=chosen["generator"].derived_from if "generator" in chosen else "",
        reconstruction_limit=_reconstruction_limit(chosen),
        probes={name: one.probes[name] for name, one in chosen.items() if name in one.probes},
        notes=tuple(notes),
    )
    return replace(joined, fingerprint=fingerprint_of(joined) or joined.fingerprint)


def _reconstruction_limit(chosen: Mapping[str, ModelParts]) -> float | None:
    """It is of a pair: an encoder with another generator has another."""
    generator, encoder = chosen.get("generator"), chosen.get("encoder")
    return generator.reconstruction_limit if generator and generator is encoder else None


def fingerprint_of(source: ModelParts) -> str:
    """As `Bundle.fingerprint` will be, "" without a generator."""
    if "generator" not in source.parts:
        return ""
    sha256 = hashlib.sha256(source.parts["generator"][1]).hexdigest()
    return hashlib.sha256(sha256.encode()).hexdigest()[:16]


def same_generator(one: ModelParts, other: ModelParts) -> bool:
    """Whether codes mean the same to both: mapping network and noise maps may differ, as inversion training does."""
    (config, data), (other_config, other_data) = one.parts["generator"], other.parts["generator"]
    if config.to_dict() != other_config.to_dict():
        return False
    first, second = (_synthesis(decode(part)) for part in (data, other_data))
    return all(
        torch.allclose(tensor.float(), second[key].float(), rtol=SAME, atol=1e-5) for key, tensor in first.items()
    )


def table(joined: ModelParts) -> list[str]:
    """What each part is and where it comes from, as lines of Markdown."""
    rows = [
        f"| {part} | {describe(config)} | {_origin(joined.origin[part])} |"
        for part, (config, _) in joined.parts.items()
    ]
    return ["| part | what | from |", "|---|---|---|", *rows]


def describe(config: PartConfig) -> str:
    """A part in a few words."""
    if isinstance(config, GeneratorConfig):
        return f"StyleGAN2, {config.resolution} px, {config.style_count} styles of {config.style_dim}"
    if isinstance(config, EncoderConfig):
        return f"{config.kind} encoder, reads {config.input_width} x {config.input_height} px"
    if isinstance(config, ClassifierConfig):
        return f"latent classifier, {config.attributes} attributes"
    if isinstance(config, EditorConfig):
        return f"edit transformer, {config.layers} layer{'s' if config.layers > 1 else ''}"
    if isinstance(config, JudgeConfig):
        return f"judge, {config.attributes} attributes, reads {config.input_width} px"
    if isinstance(config, AlignerConfig):
        return f"aligner, finds faces and five points of each, of {config.smallest} to {config.largest} px at a time"
    return "network of its own kind"


def printable(text: str) -> str:
    """File names may hold codes that rewrite a terminal, or break a table."""
    return "".join(letter if letter.isprintable() and letter != "|" else "?" for letter in text)


def _require_fit(chosen: Mapping[str, ModelParts]) -> None:
    """Every bound part must be for the generator that was chosen, as far as is known."""
    lineage = _lineage(chosen) if chosen else None
    for name, one in chosen.items():
        if lineage is None or part_type(name) not in BOUND or one is lineage or not one.fingerprint:
            continue
        if lineage.derived_from and lineage.derived_from in {one.fingerprint, one.derived_from}:
            fits = True
        elif "generator" in one.parts and "generator" in lineage.parts:
            fits = same_generator(lineage, one)
        else:
            fits = not lineage.fingerprint or lineage.fingerprint == one.fingerprint
        if not fits:
            raise BundleError(
                f"the {name} of {one.label} was made for another generator than that of {lineage.label}: "
                "codes of one mean nothing to the other"
            )


def _same_space(kept: ModelParts, other: ModelParts) -> str:
    """A note on two generators whose codes mean the same, of which the first is kept. Raises BundleError."""
    if kept.derived_from and kept.derived_from in {other.fingerprint, other.derived_from}:
        return f"the generator of {kept.label} derives from that of {other.label}, and is kept"
    if same_generator(kept, other):
        return f"the generator of {other.label} is the same as that of {kept.label}, which is kept"
    if other.derived_from and other.derived_from in {kept.fingerprint, kept.derived_from}:
        raise BundleError(
            f"the generator of {other.label} derives from that of {kept.label}, and the first is kept: name "
            f"{other.label} first"
        )
    raise BundleError(
        f"the generators of {kept.label} and {other.label} differ, so the codes of one mean nothing to the other: make "
        "two models of them"
    )


def _lineage(chosen: Mapping[str, ModelParts]) -> ModelParts:
    """Where the generator comes from, or else the first whose parts were made for a known one."""
    if "generator" in chosen:
        return chosen["generator"]
    return next(
        (one for name, one in chosen.items() if part_type(name) in BOUND and one.fingerprint),
        next(iter(chosen.values())),
    )


def _agreed_attributes(sources: Sequence[ModelParts], chosen: Mapping[str, ModelParts]) -> tuple[AttributeSpec, ...]:
    """Those of the classifier, whose order counts; other parts that name attributes must name the same."""
    order = [*(chosen[name] for name in ("classifier", "editor") if name in chosen), *sources]
    stated = [one for one in order if one.attributes]
    if not stated:
        return ()
    first = stated[0]
    for one in stated[1:]:
        if _names(one) != _names(first) and any(
            chosen.get(name) is one and _reads_attributes(one, name) for name in chosen
        ):
            raise BundleError(
                f"{first.label} and {one.label} name different attributes, or name them in another order: "
                "a model has one list of them"
            )
    attributes = first.attributes
    for name in sorted(chosen, key=_place):
        attribute = name.removeprefix(EDITOR_PREFIX)
        if not name.startswith(EDITOR_PREFIX) or attribute in {item.name for item in attributes}:
            continue
        for other, one in chosen.items():
            if _reads_attributes(one, other):
                raise BundleError(
                    f"the {name} of {chosen[name].label} edits {attribute}, which the {other} of {one.label} does not "
                    "know: a model has one list of attributes"
                )
        attributes += tuple(item for item in chosen[name].attributes if item.name == attribute)
    return attributes


def _place(name: str) -> tuple[int, str]:
    """Where a part stands in a model: in the order of PART_CONFIGS, then editors of one attribute by name."""
    order = list(PART_CONFIGS)
    return order.index(name) if name in order else len(order), name


def _names(one: ModelParts) -> list[str]:
    return [attribute.name for attribute in one.attributes]


def _reads_attributes(one: ModelParts, name: str) -> bool:
    """Whether a part numbers attributes, so that their order matters; the published editor knows no attributes."""
    return getattr(one.parts[name][0], "attributes", 0) > 0


def _attributes(parts: Mapping[str, tuple[PartConfig, bytes]], attribute: str) -> tuple[AttributeSpec, ...]:
    """Names for a classifier's logits, or of what an editor does."""
    for config, _ in parts.values():
        if isinstance(config, ClassifierConfig):
            count = config.attributes
            names = (
                CELEBA_ATTRIBUTES
                if count == len(CELEBA_ATTRIBUTES)
                else [f"attribute-{index:02d}" for index in range(count)]
            )
            return tuple(AttributeSpec(name) for name in names)
    return (AttributeSpec(attribute),) if attribute and "editor" in parts else ()


def _synthesis(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        key: value for key, value in tensors.items() if not key.startswith("mapping.") and not key.endswith(".noise")
    }


def _joined(texts: Any) -> str:
    return "; ".join(dict.fromkeys(text for text in texts if text))


def _origin(origin: Mapping[str, Any]) -> str:
    return printable(", ".join(str(value) for key, value in origin.items() if key != "sha256"))
