"""A model on disk: a folder with `config.json`, one safetensors file for each part, and a model card.

    synthface-128/
      config.json               format version, name, licence, attributes, and of each part: file, sha256, sizes
      generator.safetensors     it alone decides what a code means, see `Bundle.fingerprint`
      encoder.safetensors       pictures -> codes                       may be absent
      classifier.safetensors    codes -> attributes                     may be absent
      editor.safetensors        source and reference codes -> codes     may be absent
      judge.safetensors         pictures -> attributes                  may be absent
      aligner.safetensors       photographs -> faces and their points   may be absent
      editor-Smiling.safetensors    the same for one attribute alone    as many as there are
      identity.safetensors      faces -> embeddings of who it is        may be absent
      README.md

A bundle without a generator is a partial bundle: it computes nothing until `checkpoints/merge.py` joins it to one.

Bundles come from strangers: every field is checked and every size bounded before any memory is taken for it, and
no file name may lead out of the folder. Torch is imported only to read or write tensors.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, get_args

from safetensors import safe_open

from stedit.errors import BundleError, MissingPartError, OutputError, describe_cause
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
from stedit.storage.atomic import write_folder
from stedit.storage.library import library_reads

if TYPE_CHECKING:
    import torch

FORMAT = 2
CONFIG_NAME = "config.json"
CARD_NAME = "README.md"
MAX_CONFIG_BYTES = 2**20
MAX_CARD_BYTES = 2**20
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
Precision = Literal["float32", "float16", "bfloat16"]

_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.safetensors")
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


@dataclass(frozen=True)
class Bundle:
    """A model folder whose `config.json` and tensor headers have been checked; tensors are read on demand."""

    path: Path
    name: str
    domain: str
    """What it was trained on, such as "rendered faces"."""
    license: str
    parts: Mapping[str, Part]
    attributes: tuple[AttributeSpec, ...] = ()
    """In the order of the classifier's and the judge's logits."""
    description: str = ""
    alignment: Alignment = "none"
    """How pictures must be cropped before the encoder."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Provenance: data, steps, code version; free-form JSON."""
    generator_fingerprint: str = ""
    """Of a bundle without a generator: the fingerprint of the one that its parts were trained for, "" if unknown."""
    reconstruction_limit: float | None = None
    """The reconstruction error above which an image is unlike all that encoder and generator know; None: unknown."""

    def __repr__(self) -> str:
        return f"Bundle({self.name!r}, {', '.join(self.parts)}, {len(self.attributes)} attributes, {self.license!r})"

    @classmethod
    def load(cls, path: str | Path) -> Bundle:
        """Read and check everything but the tensors. Raises BundleError."""
        path = Path(path)
        if not path.exists():
            raise BundleError(f"there is no model at {path}: choose one of those that are here", action="list")
        if not path.is_dir():
            raise BundleError(f"{path} is a file, but a model is a folder that holds {CONFIG_NAME}: give the folder")
        try:
            return _parse(path, _read_config(path))
        except ValueError as error:
            raise BundleError(
                f"the model {path} cannot be used: {describe_cause(error)}; get the model again"
            ) from error
        except OSError as error:
            raise BundleError(f"cannot read the model {path} ({error.strerror}): check its permissions") from error

    @classmethod
    def parse(cls, config: bytes) -> Bundle:
        """Read and check a `config.json` whose files are elsewhere: its parts have size 0. Raises ValueError."""
        return _parse(Path(), _decode_config(config), with_files=False)

    @property
    def fingerprint(self) -> str:
        """16 hex digits that differ between any two generators: a code fits every model of the same fingerprint.

        Without a generator, `generator_fingerprint`.
        """
        generator = self.parts.get("generator")
        return hashlib.sha256(generator.sha256.encode()).hexdigest()[:16] if generator else self.generator_fingerprint

    @property
    def code_shape(self) -> tuple[int, int] | None:
        """(N, D) of a latent code; None if no part says it."""
        for name, part in self.parts.items():
            config = PART_CONFIGS[part_type(name)].from_dict(part.config)
            if isinstance(config, GeneratorConfig | EncoderConfig | ClassifierConfig | EditorConfig):
                return config.style_count, config.style_dim
        return None

    def verify(self) -> None:
        """Compare every file with its checksum. Raises BundleError naming the first that differs."""
        for part in self.parts.values():
            self._read_checked(part)

    def read_part(self, name: str) -> dict[str, torch.Tensor]:
        """Read the tensors of a part, on the CPU, floating-point ones as float32, after comparing its file's checksum.

        Raises MissingPartError if the model has no such part, and BundleError if it is damaged.
        """
        import torch
        from safetensors.torch import load

        if name not in self.parts:
            raise MissingPartError(f"the model {self.name!r} has no {name}: choose another", argument="model")
        data = self._read_checked(self.parts[name])
        try:
            with library_reads("its header is damaged"):
                tensors: dict[str, torch.Tensor] = load(data)
            if bad := next((key for key, tensor in tensors.items() if not torch.isfinite(tensor).all()), ""):
                raise ValueError(f"its tensor {bad[:100]!r} holds numbers that are not finite")  # noqa: TRY301 - as above
        except ValueError as error:
            raise BundleError(f"the {name} of {self.path} is damaged ({error}): get the model again") from error
        return {key: value.to(torch.float32) if value.is_floating_point() else value for key, value in tensors.items()}

    def read_bytes(self, name: str) -> bytes:
        """The file of a part as it is, after comparing its checksum. Raises BundleError if it is damaged."""
        return self._read_checked(self.parts[name])

    def stored_parts(self) -> dict[str, tuple[PartConfig, bytes]]:
        """All parts as `save` takes them, byte for byte. Raises BundleError if a file is damaged."""
        return {
            name: (PART_CONFIGS[part_type(name)].from_dict(part.config), self.read_bytes(name))
            for name, part in self.parts.items()
        }

    def read_card(self) -> str:
        """The model card, "" if there is none. Raises BundleError if it leads out of the folder, or is too large."""
        if not (self.path / CARD_NAME).is_file():
            return ""
        try:
            with _inside(self.path, CARD_NAME).open("rb") as file:
                text = file.read(MAX_CARD_BYTES + 1)
            if len(text) > MAX_CARD_BYTES:
                raise ValueError(f"{CARD_NAME} is larger than {MAX_CARD_BYTES // 2**20} MB")  # noqa: TRY301 - as above
        except (OSError, ValueError) as error:
            raise BundleError(f"the card of {self.path} cannot be used ({describe_cause(error)}): remove it") from error
        return text.decode("utf-8", "replace")

    def _read_checked(self, part: Part) -> bytes:
        file = self.path / part.file
        try:
            data = file.read_bytes()
        except OSError as error:
            raise BundleError(f"cannot read {file} ({error.strerror}): get the model again") from error
        if hashlib.sha256(data).hexdigest() != part.sha256:
            raise BundleError(f"{file} is damaged (its checksum differs): get the model again")
        return data

    @staticmethod
    def save(
        path: str | Path,
        *,
        name: str,
        domain: str,
        license: str,  # noqa: A002 - the field's name in the format and on the Hub
        parts: Mapping[str, tuple[PartConfig, Mapping[str, torch.Tensor] | bytes]],
        readme: str,
        attributes: Sequence[AttributeSpec] = (),
        description: str = "",
        alignment: Alignment = "none",
        training: Mapping[str, Any] | None = None,
        dtype: Precision = "float16",
        generator_fingerprint: str = "",
        reconstruction_limit: float | None = None,
        overwrite: bool = False,
    ) -> Bundle:
        """Write networks, given as `{part: (config, state_dict)}`, to the folder `path`, whole or not at all.

        The same arguments give the same bytes. A tensor that `dtype` cannot hold is kept in float32; a part given as
        the bytes of its file is kept as it is. `overwrite` replaces a folder that holds a bundle and nothing else.
        `generator_fingerprint` is that of the generator that the parts are for, where they come without one;
        `reconstruction_limit` is that of the encoder and the generator, which come together. Raises
        OutputError if the folder cannot be written, and BundleError if `load` would refuse the result or a tensor is
        not finite.
        """
        path = Path(path)
        entries = {}
        with write_folder(path) as folder:
            _require_replaceable(path, overwrite=overwrite)
            for part, (config, tensors) in parts.items():
                data = tensors if isinstance(tensors, bytes) else encode_part(part, tensors, dtype)
                (folder / f"{part}.safetensors").write_bytes(data)
                sha256 = hashlib.sha256(data).hexdigest()
                entries[part] = {"file": f"{part}.safetensors", "sha256": sha256, "config": config.to_dict()}
            values = {
                "format": FORMAT,
                "name": name,
                "domain": domain,
                "license": license,
                "description": description,
                "alignment": alignment,
                "training": dict(training or {}),
                "attributes": [asdict(attribute) for attribute in attributes],
                "parts": entries,
            }
            if generator_fingerprint and "generator" not in parts:
                values["generator_fingerprint"] = generator_fingerprint
            if reconstruction_limit is not None:
                values["reconstruction_limit"] = reconstruction_limit
            (folder / CONFIG_NAME).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
            (folder / CARD_NAME).write_text(readme, encoding="utf-8")
            try:
                bundle = _parse(folder, _read_config(folder))
            except ValueError as error:
                raise BundleError(f"cannot save the model {path}: {describe_cause(error)}") from error
        return replace(bundle, path=path)


def part_type(name: str) -> str:
    """The type of network that a part is: "editor" for "editor-Smiling", else its name."""
    return "editor" if name.startswith(EDITOR_PREFIX) else name


def encode_part(part: str, tensors: Mapping[str, torch.Tensor], dtype: Precision) -> bytes:
    """The bytes of a part's file. Raises BundleError if a tensor is not finite."""
    from safetensors.torch import save as encode

    data: bytes = encode(_stored(part, tensors, dtype))
    return data


def _read_config(path: Path) -> dict[str, Any]:
    with _inside(path, CONFIG_NAME).open("rb") as file:
        return _decode_config(file.read(MAX_CONFIG_BYTES + 1))


def _decode_config(text: bytes) -> dict[str, Any]:
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


def _inside(folder: Path, name: str) -> Path:
    """The file `name` of `folder`, unless there is none or it is a link to somewhere else."""
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


def _parse(path: Path, values: dict[str, Any], *, with_files: bool = True) -> Bundle:
    """Check every field of `config.json` and the tensor headers. Raises ValueError or OSError."""
    if (version := _get(values, "format", int)) == 1:
        values = _from_format_1(values)
    elif version != FORMAT:
        raise ValueError(f"it is of the format version {version}, and this stedit reads 1 and 2, so upgrade stedit")
    alignment = _get(values, "alignment", str)
    if alignment not in get_args(Alignment):
        raise ValueError(f"'alignment' is {alignment!r}, none of {', '.join(get_args(Alignment))}")
    bundle = Bundle(
        path=path,
        name=_matching(values, "name", NAME),
        domain=_text(values, "domain"),
        license=_text(values, "license"),
        description=_text(values, "description"),
        alignment=cast("Alignment", alignment),
        training=_get(values, "training", dict),
        attributes=tuple(_parse_attribute(item) for item in _get(values, "attributes", list)),
        parts={name: _parse_part(path, name, part, with_files) for name, part in _get(values, "parts", dict).items()},
        generator_fingerprint=_matching(values, "generator_fingerprint", _FINGERPRINT)
        if "generator_fingerprint" in values
        else "",
        reconstruction_limit=_parse_reconstruction_limit(values),
    )
    _require_agreement(bundle)
    return bundle


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
        raise ValueError("'attributes' holds something other than objects")  # noqa: TRY004 - see _read_config
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


def _parse_part(path: Path, name: str, values: object, with_files: bool) -> Part:
    if part_type(name) not in PART_CONFIGS:
        raise ValueError(f"{name!r} is none of the parts {', '.join(PART_CONFIGS)}")
    if not isinstance(values, dict):
        raise ValueError(f"the part {name} is no object")  # noqa: TRY004 - see _read_config
    config = _get(values, "config", dict)
    try:
        PART_CONFIGS[part_type(name)].from_dict(config)
    except ValueError as error:
        raise ValueError(f"the sizes of the {name} are wrong ({error})") from error
    file = _matching(values, "file", _FILE)
    found = _inside(path, file) if with_files else None
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


def _require_own_files(bundle: Bundle) -> None:
    if not bundle.parts:
        raise ValueError("it has no parts")
    if len({part.file for part in bundle.parts.values()}) < len(bundle.parts):
        raise ValueError("two of its parts name the same file")
    if sum(part.size for part in bundle.parts.values()) > MAX_BUNDLE_BYTES:
        raise ValueError(f"its parts are larger than {MAX_BUNDLE_BYTES // 2**30} GB together")


def _require_agreement(bundle: Bundle) -> None:
    _require_own_files(bundle)
    configs = {name: PART_CONFIGS[part_type(name)].from_dict(part.config) for name, part in bundle.parts.items()}
    if bundle.reconstruction_limit is not None and not {"generator", "encoder"} <= set(configs):
        raise ValueError("'reconstruction_limit' is of an encoder and a generator, and it has not both")
    shapes = {
        name: (config.style_count, config.style_dim)
        for name, config in configs.items()
        if isinstance(config, GeneratorConfig | EncoderConfig | ClassifierConfig | EditorConfig)  # others see pictures
    }
    first = "generator" if "generator" in shapes else next(iter(shapes), "")
    for name, (count, dim) in shapes.items():
        if (count, dim) != shapes[first]:
            raise ValueError(f"the {name} is for codes of {count} x {dim}, the {first} for {shapes[first]}")
    names = [attribute.name.casefold() for attribute in bundle.attributes]
    if len(set(names)) < len(names):
        raise ValueError("two of its attributes have the same name")
    for name, config in configs.items():
        if isinstance(config, ClassifierConfig | JudgeConfig) and config.attributes != len(names):
            raise ValueError(f"the {name} gives {config.attributes} attributes, but {len(names)} are named")
    for name in configs:
        if name.startswith(EDITOR_PREFIX) and name.removeprefix(EDITOR_PREFIX) not in {
            item.name for item in bundle.attributes
        }:
            raise ValueError(f"the part {name!r} is for an attribute that is not among its attributes")


def _require_replaceable(path: Path, *, overwrite: bool) -> None:
    if not path.exists():
        return
    found = {file.name for file in path.iterdir()}
    if found and not overwrite:
        raise OutputError(f"cannot write {path}: it exists already, so choose another folder")
    ours = {CONFIG_NAME, CARD_NAME, *(f"{part}.safetensors" for part in PART_CONFIGS)}
    if foreign := {file for file in found - ours if not (file.startswith(EDITOR_PREFIX) and _FILE.fullmatch(file))}:
        raise OutputError(f"cannot replace {path}: it holds {min(foreign)!r}, which is no part of a model")


def _stored(part: str, tensors: Mapping[str, torch.Tensor], dtype: Precision) -> dict[str, torch.Tensor]:
    import torch

    stored = {}
    for key, tensor in tensors.items():
        kept = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)  # clone: tied tensors share memory
        if not torch.isfinite(kept).all():
            raise BundleError(f"the tensor {key!r} of the {part} holds numbers that are not finite: training diverged")
        if kept.is_floating_point():
            narrow = kept.to(getattr(torch, dtype))
            kept = narrow if torch.isfinite(narrow).all() else kept.float()
        stored[key] = kept
    return stored


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
