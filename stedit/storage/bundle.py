"""A model on disk: a folder with `config.json`, one safetensors file for each part, and a model card.

    my-model/
      config.json               format version, name, licence, attributes, and of each part: file, sha256, sizes
      generator.safetensors     it alone decides what a code means, see `Bundle.fingerprint`
      encoder.safetensors       images -> codes                         may be absent
      classifier.safetensors    codes -> attributes                     may be absent
      editor.safetensors        source and reference codes -> codes     may be absent
      judge.safetensors         images -> attributes                    may be absent
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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from stedit.errors import BundleError, MissingPartError, OutputError, describe_cause
from stedit.models.config import ClassifierConfig, EditorConfig, EncoderConfig, GeneratorConfig
from stedit.storage.atomic import write_folder
from stedit.storage.bundle_config import (
    CONFIG_NAME,
    EDITOR_PREFIX,
    FORMAT,
    PART_CONFIGS,
    PART_FILE,
    Alignment,
    AttributeSpec,
    Part,
    PartConfig,
    decode_config,
    inside,
    parse_config,
    part_type,
    read_config,
)
from stedit.storage.library import library_reads

if TYPE_CHECKING:
    import torch

CARD_NAME = "README.md"
MAX_CARD_BYTES = 2**20
Precision = Literal["float32", "float16", "bfloat16"]


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
    """How images must be cropped before the encoder."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Provenance: data, steps, code version; free-form JSON."""
    generator_fingerprint: str = ""
    """Of a bundle without a generator: the fingerprint of the one that its parts were trained for, "" if unknown."""
    reconstruction_limit: float | None = None
    """The reconstruction error above which an image is unlike all that encoder and generator know; None: unknown."""
    derived_from: str = ""
    """Of a generator that was fine-tuned from another and shares its latent space: the other's fingerprint."""

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
            return cls(path, **parse_config(read_config(path), path))
        except ValueError as error:
            raise BundleError(
                f"the model {path} cannot be used: {describe_cause(error)}; get the model again"
            ) from error
        except OSError as error:
            raise BundleError(f"cannot read the model {path} ({error.strerror}): check its permissions") from error

    @classmethod
    def parse(cls, config: bytes) -> Bundle:
        """Read and check a `config.json` whose files are elsewhere: its parts have size 0. Raises ValueError."""
        return cls(Path(), **parse_config(decode_config(config), None))

    @property
    def fingerprint(self) -> str:
        """16 hex digits that differ between any two generators: a code fits every model of the same fingerprint.

        Without a generator, `generator_fingerprint`.
        """
        generator = self.parts.get("generator")
        return hashlib.sha256(generator.sha256.encode()).hexdigest()[:16] if generator else self.generator_fingerprint

    @property
    def space(self) -> str:
        """The fingerprint of the generator whose latent space this model's codes are in: mostly its own."""
        return self.derived_from or self.fingerprint

    def takes_codes_of(self, fingerprint: str) -> bool:
        """Whether codes of the generator of a fingerprint fit: of this one, or of the one that it derives from."""
        return fingerprint in {self.fingerprint, self.space}

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
            self._check(part)

    def read_part(self, name: str) -> dict[str, torch.Tensor]:
        """Read the tensors of a part, on the CPU, floating-point ones as float32, after comparing its file's checksum.

        Those of four axes come with the channels last in memory, as convolutions are fastest. What needs no conversion
        is mapped, not copied: a change of it stays in memory.

        Raises MissingPartError if the model has no such part, and BundleError if it is damaged.
        """
        from safetensors import safe_open

        if name not in self.parts:
            raise MissingPartError(f"the model {self.name!r} has no {name}: choose another", argument="model")
        file = self._check(self.parts[name])
        tensors: dict[str, torch.Tensor] = {}
        try:
            with library_reads("its header is damaged"), safe_open(file, framework="pt") as opened:
                for key in opened.keys():  # noqa: SIM118 - it is no dict
                    stored: torch.Tensor = opened.get_tensor(key)
                    tensors[key] = _for_computing(stored) if stored.is_floating_point() else stored
            if bad := next((key for key, tensor in tensors.items() if not _is_finite(tensor)), ""):
                raise ValueError(f"its tensor {bad[:100]!r} holds numbers that are not finite")  # noqa: TRY301 - as above
        except ValueError as error:
            raise BundleError(f"the {name} of {self.path} is damaged ({error}): get the model again") from error
        return tensors

    def read_bytes(self, name: str) -> bytes:
        """The file of a part as it is, after comparing its checksum. Raises BundleError if it is damaged."""
        part = self.parts[name]
        with self._open(part) as file:
            data = file.read()
        self._compare(part, hashlib.sha256(data))
        return data

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
            with inside(self.path, CARD_NAME).open("rb") as file:
                text = file.read(MAX_CARD_BYTES + 1)
            if len(text) > MAX_CARD_BYTES:
                raise ValueError(f"{CARD_NAME} is larger than {MAX_CARD_BYTES // 2**20} MB")  # noqa: TRY301 - as above
        except (OSError, ValueError) as error:
            raise BundleError(f"the card of {self.path} cannot be used ({describe_cause(error)}): remove it") from error
        return text.decode("utf-8", "replace")

    def _check(self, part: Part) -> Path:
        """The file of a part, after comparing its checksum."""
        with self._open(part) as file:
            self._compare(part, hashlib.file_digest(file, "sha256"))
        return self.path / part.file

    @contextmanager
    def _open(self, part: Part) -> Iterator[BufferedReader]:
        path = self.path / part.file
        try:
            with path.open("rb") as file:
                yield file
        except OSError as error:
            raise BundleError(f"cannot read {path} ({error.strerror}): get the model again") from error

    def _compare(self, part: Part, digest: hashlib._Hash) -> None:
        if digest.hexdigest() != part.sha256:
            raise BundleError(f"{self.path / part.file} is damaged (its checksum differs): get the model again")

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
        derived_from: str = "",
        overwrite: bool = False,
    ) -> Bundle:
        """Write networks, given as `{part: (config, state_dict)}`, to the folder `path`, whole or not at all.

        The same arguments give the same bytes. A tensor that `dtype` cannot hold is kept in float32; a part given as
        the bytes of its file is kept as it is. `overwrite` replaces a folder that holds a bundle and nothing else.
        `generator_fingerprint` is that of the generator that the parts are for, where they come without one;
        `reconstruction_limit` is that of the encoder and the generator, which come together; `derived_from` the
        fingerprint of the generator that this one was fine-tuned from. Raises OutputError if the folder cannot be
        written, and BundleError if `load` would refuse the result or a tensor is not finite.
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
            if derived_from:
                values["derived_from"] = derived_from
            if reconstruction_limit is not None:
                values["reconstruction_limit"] = reconstruction_limit
            (folder / CONFIG_NAME).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
            (folder / CARD_NAME).write_text(readme, encoding="utf-8")
            try:
                bundle = Bundle(path, **parse_config(read_config(folder), folder))
            except ValueError as error:
                raise BundleError(f"cannot save the model {path}: {describe_cause(error)}") from error
        return bundle


def encode_part(part: str, tensors: Mapping[str, torch.Tensor], dtype: Precision) -> bytes:
    """The bytes of a part's file. Raises BundleError if a tensor is not finite."""
    from safetensors.torch import save as encode

    data: bytes = encode(_stored(part, tensors, dtype))
    return data


def _for_computing(stored: torch.Tensor) -> torch.Tensor:
    import torch

    layout = torch.channels_last if stored.ndim == 4 else torch.preserve_format
    return stored.to(torch.float32, memory_format=layout)


def _is_finite(tensor: torch.Tensor) -> bool:
    """Whether all numbers are finite. Their sum alone is so if they are, but for huge ones, and forty times as fast."""
    import torch

    return bool(torch.isfinite(tensor.sum())) or bool(torch.isfinite(tensor).all())


def _require_replaceable(path: Path, *, overwrite: bool) -> None:
    if not path.exists():
        return
    found = {file.name for file in path.iterdir()}
    if found and not overwrite:
        raise OutputError(f"cannot write {path}: it exists already, so choose another folder")
    ours = {CONFIG_NAME, CARD_NAME, *(f"{part}.safetensors" for part in PART_CONFIGS)}
    if foreign := {file for file in found - ours if not (file.startswith(EDITOR_PREFIX) and PART_FILE.fullmatch(file))}:
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
