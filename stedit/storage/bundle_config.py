"""What the `config.json` of a bundle says, and whether it can be so: every field is checked, every size bounded."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict, TypeVar, cast, get_args

from safetensors import safe_open

from stedit.models.config import (
    NAME,
    AlignerConfig,
    BackboneConfig,
    ClassifierConfig,
    EditorConfig,
    EncoderConfig,
    GeneratorConfig,
    JudgeConfig,
)
from stedit.storage.library import library_reads

FORMAT = 2
CONFIG_NAME = "config.json"
MAX_CONFIG_BYTES = 2**20
MAX_PART_BYTES = 2**31
MAX_BUNDLE_BYTES = 2**32  # of all parts
MAX_TENSOR_HEADER_BYTES = 2**22
MAX_NESTING = 32  # of objects and lists in config.json
MAX_TARGET_LOGIT = 100.0  # logit
MAX_RECONSTRUCTION_ERROR = 2.0  # 1 - a correlation of -1

PartConfig = (
    GeneratorConfig | EncoderConfig | ClassifierConfig | EditorConfig | JudgeConfig | AlignerConfig | BackboneConfig
)
PART_CONFIGS: dict[str, type[PartConfig]] = {
    "generator": GeneratorConfig,
    "encoder": EncoderConfig,
    "classifier": ClassifierConfig,
    "editor": EditorConfig,
    "judge": JudgeConfig,
    "aligner": AlignerConfig,
    "identity": BackboneConfig,
}
EDITOR_PREFIX = "editor-"  # and an attribute: a part that is an edit transformer for that attribute alone
Alignment = Literal["ffhq", "none"]

PART_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.safetensors")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FINGERPRINT = re.compile(r"[0-9a-f]{16}")
_FORMAT_1_NAMES = {  # of fields of config.json, of attributes, and of the encoder's sizes
    "made_for": "generator_fingerprint",
    "sure": "target_logit",
    "learned_sure": "learned_target_logit",
    "reference_sure": "reference_target_logit",
    "carried": "transfer_weight",
    "fold": "unshuffle",
    "summary_rank": "query_rank",
}
_STORED_TYPES = {"F32", "F16", "BF16", "I64"}  # I64: the step counters of batch normalisation

_TYPE_WORDS: dict[type, str] = {
    int: "a whole number",
    str: "text",
    list: "a list",
    dict: "an object",
}  # in words, for errors

T = TypeVar("T")


@dataclass(frozen=True)
class AttributeSpec:
    """An attribute that the classifier knows."""

    name: str
    """CelebA's name, such as "Wearing_Hat"."""
    target_logit: float = 3.0
    """The classifier's logit at which an edit of strength 1 aims; 3.0 is a probability of 0.95."""
    learned_target_logit: float = 0.0
    """The logit to which an edit by label of strength 1 goes on after the edit transformer; 0.0: it does not."""
    reference_target_logit: float = 0.0
    """The same of an edit by reference."""
    transfer_weight: float = 0.0
    """The share of an edit by reference that is the reference's own trait, 0..1; the rest is the transformer's."""


@dataclass(frozen=True)
class Part:
    """A network of a bundle: its file and its sizes."""

    name: str
    """"generator", "encoder", "classifier", "editor", "judge", "aligner", "identity", or "editor-" and an attribute."""
    file: str
    sha256: str
    config: dict[str, Any]
    """Fields of the network's config dataclass (see PART_CONFIGS), already checked against it."""
    size: int
    """Of the file, in bytes."""
    parameters: int
    """Numbers in its tensors, buffers included."""


class BundleFields(TypedDict):
    """The fields of a `Bundle` that `config.json` says."""

    name: str
    domain: str
    license: str
    parts: Mapping[str, Part]
    attributes: tuple[AttributeSpec, ...]
    description: str
    alignment: Alignment
    training: Mapping[str, Any]
    generator_fingerprint: str
    reconstruction_limit: float | None
    derived_from: str


def part_type(name: str) -> str:
    """The type of network that a part is: "editor" for "editor-Smiling", else its name."""
    return "editor" if name.startswith(EDITOR_PREFIX) else name


def read_config(folder: Path) -> dict[str, Any]:
    """The object in `config.json`. Raises ValueError or OSError."""
    with inside(folder, CONFIG_NAME).open("rb") as file:
        return decode_config(file.read(MAX_CONFIG_BYTES + 1))


def decode_config(text: bytes) -> dict[str, Any]:
    """The same of its bytes. Raises ValueError."""
    if len(text) > MAX_CONFIG_BYTES:
        raise ValueError(f"{CONFIG_NAME} is larger than {MAX_CONFIG_BYTES // 2**20} MB")
    try:
        values = json.loads(text, parse_constant=lambda _: None, parse_float=_finite_or_none)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{CONFIG_NAME} is not JSON ({error})") from error
    if not isinstance(values, dict):
        raise ValueError(f"{CONFIG_NAME} holds no JSON object")  # noqa: TRY004 - the one type for damage
    if _is_deep(values, MAX_NESTING):
        raise ValueError(f"{CONFIG_NAME} nests values more than {MAX_NESTING} deep")
    return values


def _is_deep(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deep(item, levels - 1) for item in inner)


def _finite_or_none(text: str) -> float | None:
    """A number of JSON's, unless it is beyond what can be computed with."""
    number = float(text)
    return number if math.isfinite(number) else None


def inside(folder: Path, name: str) -> Path:
    """The file `name` of `folder`. Raises ValueError if there is none, or it is a link to somewhere else."""
    file = folder / name
    if not file.is_file():
        raise ValueError(f"{name} is missing")
    if file.resolve().parent not in _allowed_folders(folder.resolve(), file.resolve()):
        raise ValueError(f"{name} is a link that leads out of the folder")
    return file


def _allowed_folders(folder: Path, file: Path) -> set[Path]:
    """The folders where a file of `folder` may lie: itself, and those to which the Hub's cache links.

    The cache is `CACHE/models--OWNER--NAME/snapshots/COMMIT/config.json -> ../../blobs/HASH`, and that may be a link
    on to `CACHE/blobs/HA/HASH`.
    """
    if folder.parent.name != "snapshots":
        return {folder}
    repository = folder.parent.parent
    return {folder, repository / "blobs", repository.parent / "blobs" / file.name[:2]}


def parse_config(values: dict[str, Any], folder: Path | None) -> BundleFields:
    """Check every field of `config.json`, and the headers of the files in `folder`, if it is given.

    Raises ValueError for what is wrong, and OSError for a file that cannot be read.
    """
    if (version := _get(values, "format", int)) == 1:
        values = _from_format_1(values)
    elif version != FORMAT:
        raise ValueError(f"it is of the format version {version}, and this stedit reads 1 and 2, so upgrade stedit")
    alignment = _get(values, "alignment", str)
    if alignment not in get_args(Alignment):
        raise ValueError(f"'alignment' is {alignment!r}, none of {', '.join(get_args(Alignment))}")
    fields = BundleFields(
        name=_matching(values, "name", NAME),
        domain=_text(values, "domain"),
        license=_text(values, "license"),
        description=_text(values, "description"),
        alignment=cast("Alignment", alignment),
        training=_get(values, "training", dict),
        attributes=tuple(_parse_attribute(item) for item in _get(values, "attributes", list)),
        parts={name: _parse_part(folder, name, part) for name, part in _get(values, "parts", dict).items()},
        generator_fingerprint=_matching(values, "generator_fingerprint", _FINGERPRINT)
        if "generator_fingerprint" in values
        else "",
        reconstruction_limit=_parse_reconstruction_limit(values),
        derived_from=_matching(values, "derived_from", _FINGERPRINT) if "derived_from" in values else "",
    )
    _require_agreement(fields)
    return fields


def _from_format_1(values: dict[str, Any]) -> dict[str, Any]:
    """The same with the names of format 2; whatever is wrong with it is for the checks to find."""

    def renamed(found: Any) -> Any:
        return {_FORMAT_1_NAMES.get(key, key): x for key, x in found.items()} if isinstance(found, dict) else found

    values = renamed(values)
    if isinstance(attributes := values.get("attributes"), list):
        values["attributes"] = [renamed(item) for item in attributes]
    if isinstance(parts := values.get("parts"), dict):
        values["parts"] = {
            name: {key: renamed(x) if key == "config" else x for key, x in part.items()}
            if isinstance(part, dict)
            else part
            for name, part in parts.items()
        }
    return values


def _parse_attribute(values: object) -> AttributeSpec:
    if not isinstance(values, dict):
        raise ValueError("'attributes' holds something other than objects")  # noqa: TRY004 - see decode_config
    logits = {}
    for key in ("target_logit", "learned_target_logit", "reference_target_logit"):
        logit = values.get(key, getattr(AttributeSpec, key))
        if (
            type(logit) not in (int, float)
            or not 0 <= logit <= MAX_TARGET_LOGIT
            or (key == "target_logit" and not logit)
        ):
            bounds = "above 0 and up" if key == "target_logit" else "from 0"
            raise ValueError(f"{key!r} is {logit!r}, not a number {bounds} to {MAX_TARGET_LOGIT}")
        logits[key] = float(logit)
    weight = values.get("transfer_weight", AttributeSpec.transfer_weight)
    if type(weight) not in (int, float) or not 0 <= weight <= 1:
        raise ValueError(f"'transfer_weight' is {weight!r}, not a number from 0 to 1")
    return AttributeSpec(_matching(values, "name", NAME), **logits, transfer_weight=float(weight))


def _parse_reconstruction_limit(values: dict[str, Any]) -> float | None:
    limit = values.get("reconstruction_limit")
    if limit is None:
        return None
    if type(limit) not in (int, float) or not 0 < limit <= MAX_RECONSTRUCTION_ERROR:
        raise ValueError(
            f"'reconstruction_limit' is {limit!r}, not a number above 0 and up to {MAX_RECONSTRUCTION_ERROR}"
        )
    return float(limit)


def _parse_part(folder: Path | None, name: str, values: object) -> Part:
    if part_type(name) not in PART_CONFIGS:
        raise ValueError(f"{name!r} is none of the parts {', '.join(PART_CONFIGS)}")
    if not isinstance(values, dict):
        raise ValueError(f"the part {name} is no object")  # noqa: TRY004 - see decode_config
    config = _get(values, "config", dict)
    try:
        PART_CONFIGS[part_type(name)].from_dict(config)
    except ValueError as error:
        raise ValueError(f"the sizes of the {name} are wrong ({error})") from error
    file = _matching(values, "file", PART_FILE)
    found = inside(folder, file) if folder else None
    return Part(
        name=name,
        file=file,
        sha256=_matching(values, "sha256", _SHA256),
        config=config,
        size=found.stat().st_size if found else 0,
        parameters=_count_parameters(found) if found else 0,
    )


def _count_parameters(file: Path) -> int:
    """From the header alone, which safetensors compares with the size of the file."""
    if file.stat().st_size > MAX_PART_BYTES:
        raise ValueError(f"{file.name} is larger than {MAX_PART_BYTES // 2**30} GB")
    with file.open("rb") as opened:
        header_bytes = int.from_bytes(opened.read(8), "little")
    if header_bytes > MAX_TENSOR_HEADER_BYTES:
        raise ValueError(f"{file.name} claims a header of {header_bytes} bytes")
    with library_reads(f"{file.name} is damaged"), safe_open(file, framework="numpy") as tensors:
        slices = [tensors.get_slice(key) for key in tensors.keys()]  # noqa: SIM118 - it is no dict
        types, shapes = {part.get_dtype() for part in slices}, [part.get_shape() for part in slices]
    if not types <= _STORED_TYPES:
        raise ValueError(f"{file.name} holds tensors of a type other than {', '.join(sorted(_STORED_TYPES))}")
    return sum(math.prod(shape) for shape in shapes)


def _require_own_files(fields: BundleFields) -> None:
    if not fields["parts"]:
        raise ValueError("it has no parts")
    if len({part.file for part in fields["parts"].values()}) < len(fields["parts"]):
        raise ValueError("two of its parts name the same file")
    if sum(part.size for part in fields["parts"].values()) > MAX_BUNDLE_BYTES:
        raise ValueError(f"its parts are larger than {MAX_BUNDLE_BYTES // 2**30} GB together")


def _require_agreement(fields: BundleFields) -> None:
    _require_own_files(fields)
    configs = {name: PART_CONFIGS[part_type(name)].from_dict(part.config) for name, part in fields["parts"].items()}
    if fields["reconstruction_limit"] is not None and not {"generator", "encoder"} <= set(configs):
        raise ValueError("'reconstruction_limit' is of an encoder and a generator, and it has not both")
    shapes = {
        name: (config.style_count, config.style_dim)
        for name, config in configs.items()
        if isinstance(config, GeneratorConfig | EncoderConfig | ClassifierConfig | EditorConfig)  # others see images
    }
    first = "generator" if "generator" in shapes else next(iter(shapes), "")
    for name, (count, dim) in shapes.items():
        if (count, dim) != shapes[first]:
            raise ValueError(f"the {name} is for codes of {count} x {dim}, the {first} for {shapes[first]}")
    names = [attribute.name.casefold() for attribute in fields["attributes"]]
    if len(set(names)) < len(names):
        raise ValueError("two of its attributes have the same name")
    for name, config in configs.items():
        if isinstance(config, ClassifierConfig | JudgeConfig) and config.attributes != len(names):
            raise ValueError(f"the {name} gives {config.attributes} attributes, but {len(names)} are named")
    for name in configs:
        if name.startswith(EDITOR_PREFIX) and name.removeprefix(EDITOR_PREFIX) not in {
            item.name for item in fields["attributes"]
        }:
            raise ValueError(f"the part {name!r} is for an attribute that is not among its attributes")


def _get(values: dict[str, Any], key: str, expected: type[T]) -> T:
    if key not in values:
        raise ValueError(f"{key!r} is missing in {CONFIG_NAME}")
    value = values[key]
    if type(value) is not expected:  # isinstance would take true for 1
        raise ValueError(f"{key!r} in {CONFIG_NAME} is not {_TYPE_WORDS[expected]}")
    return value


def _text(values: dict[str, Any], key: str) -> str:
    """Text that is safe to print: control characters could rewrite a terminal."""
    text = _get(values, key, str)
    if not text.replace("\n", "").isprintable():
        raise ValueError(f"{key!r} in {CONFIG_NAME} holds control characters")
    return text


def _matching(values: dict[str, Any], key: str, pattern: re.Pattern[str]) -> str:
    text = _get(values, key, str)
    if not pattern.fullmatch(text):
        raise ValueError(f"{key!r} in {CONFIG_NAME} is {text!r}, which is not allowed")
    return text
