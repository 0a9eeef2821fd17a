"""Configs of trainings: a dataclass of documented keys, read from TOML, overridden by flags, saved with the run.

A training's config subclasses `TrainingConfig`, that of several trainings `Config`. Each field is declared with `key`,
and its type is int, float, bool, str, a Literal of strings, or a tuple of one of these. Nothing here imports torch, for
every key is a flag too.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from types import GenericAlias
from typing import Any, ClassVar, Literal, Self, get_args, get_origin, get_type_hints

from stedit.errors import UsageError, describe_cause

MAX_CONFIG_BYTES = 2**20

RENAMED_KEYS: Mapping[str, tuple[str, ...]] = {
    "log_every": ("log_interval",),
    "sample_every": ("eval_interval",),
    "checkpoint_every": ("checkpoint_interval",),
    "held_out": ("val_images", "val_fraction"),
    "average_images": ("ema_images",),
    "keep_pictures": ("cache_images",),
    "encoder_fold": ("encoder_unshuffle",),
    "encoder_summary": ("encoder_query_rank",),
    "reading_weight": ("logit_weight",),
    "start": ("init_from",),
    "style_mixing": ("style_mixing_prob",),
    "r1_weight": ("r1_gamma",),
    "r1_every": ("r1_interval",),
    "path_length_every": ("path_length_interval",),
    "augmentation_target": ("ada_target",),
    "augmentation_images": ("ada_images",),
    "adversarial_from": ("adversarial_start",),
    "half_size_steps": ("half_resolution_steps",),
    "collapse": ("w_collapse_prob",),
    "supervision": ("supervision_weight",),
    "edited_share": ("edited_fraction",),
    "sampled": ("synthetic_latents",),
    "sampled_share": ("synthetic_fraction",),
    "keep_encoder": ("finetune",),
    "keep_editor": ("finetune",),
    "compare_size": ("loss_resolution",),
    "mean_weight": ("w_norm_weight",),
    "judge_sure": ("pseudo_label_threshold",),
    "seen_weight": ("embedding_weight",),
    "asked_weight": ("target_weight",),
    "others_weight": ("preservation_weight",),
    "kept_weight": ("proximity_weight",),
}
"""Keys as they were called before version 0.2, still read; of several names the one that the config has."""

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def key(
    default: Any,
    *,
    text: str,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    resumable: bool = False,
    local: bool = False,
) -> Any:
    """Declare a key of a config.

    Args:
        default: taken where neither file nor flag gives the key.
        text: what the key means and its unit, one sentence; it is the help of the flag and the comment in the file.
        low: the least value allowed; of a tuple, of each item.
        high: the greatest.
        above: a bound that is itself not allowed.
        resumable: whether a resumed run may change it, since it does not decide what is computed.
        local: whether it means something on this machine only, such as a path, and so is no provenance.
    """
    about = {"text": text, "low": low, "high": high, "above": above, "resumable": resumable, "local": local}
    return field(default=default, metadata=about)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Keys, and how they are read, checked and saved."""

    command: ClassVar[str]
    """The name of the training, as the command line gives it."""
    modes: ClassVar[Mapping[str, type[Config]]] = {}
    """The trainings that were one command before version 0.2, by the values of its key `mode`."""

    @staticmethod
    def join_modes(**configs: type[Config]) -> None:
        """Let these configs read files of the time when they were one, by the value of its key `mode`."""
        for config in configs.values():
            config.modes = configs

    def check(self) -> None:
        """Raise ValueError, naming the keys, if values contradict each other."""

    @classmethod
    def read(cls, path: Path | None, flags: Mapping[str, Any], *, check: bool = True) -> Self:
        """Values of `flags`, else of the TOML file `path`, else the defaults; `check=False` for a config to be shown.

        Raises UsageError, naming the file and the key, or the flag.
        """
        values = {} if path is None else read_toml(path)
        if cls.modes and ("mode" in values or "mode" in flags):
            values, flags = cls._without_mode(path, values, flags)
        types = get_type_hints(cls)
        known = {item.name: item for item in fields(cls)}
        taken = {}
        for given, value in values.items():
            name = cls.current_name(given)
            if name not in known:
                (near,) = get_close_matches(given, known, n=1, cutoff=0)
                other = cls._training_with(given)
                advice = f"it is one of the training {other.command!r}" if other else f"did you mean {near!r}?"
                raise UsageError(f"{path} has the unknown key {given!r}: {advice}")
            if name in taken:
                raise UsageError(f"{path} gives {name} twice, as {given} too, once by its old name: leave that out")
            taken[name] = _checked(f"{given} in {path}", value, types[name], known[name])
        for given, value in flags.items():
            name = cls.current_name(given)
            if name != given and name in flags:
                raise UsageError(f"give {flag(name)} or {flag(given)}, its old name, not both")
            if name not in known:
                raise UsageError(f"the training {cls.command!r} has no {flag(given)}: leave it out")
            taken[name] = _checked(flag(given), value, types[name], known[name])
        config = cls(**taken)
        try:
            if check:
                config.check()
        except ValueError as error:
            raise UsageError(f"{path or 'the config'}: {error}") from error
        return config

    @classmethod
    def of_mode(cls, path: Path | None, flags: Mapping[str, Any]) -> type[Config]:
        """The config that the former key `mode`, of the flags or else of the file, stands for; without it, this one.

        Raises UsageError.
        """
        mode = flags.get("mode") or (read_toml(path).get("mode") if cls.modes and path else None)
        if mode is None:
            return cls
        for name, config in cls.modes.items():
            if mode == name:
                return config
        raise UsageError(f"mode is {mode!r}: leave it out, and choose another training")

    @classmethod
    def _without_mode(
        cls, path: Path | None, values: Mapping[str, Any], flags: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Keys and flags without `mode`, and without those of other modes, which had no effect."""
        if (asked := cls.of_mode(path, flags)) is not cls:
            raise UsageError(f"{path} is for the training {asked.command!r}, as its key mode says: choose that")

        def kept(given: Mapping[str, Any]) -> dict[str, Any]:
            return {
                key: x for key, x in given.items() if key != "mode" and (cls.has(key) or not cls._training_with(key))
            }

        return kept(values), kept(flags)

    @classmethod
    def _training_with(cls, key: str) -> type[Config] | None:
        """Of the trainings that were one command, the first that has a key."""
        return next((other for other in cls.modes.values() if other.has(key)), None)

    @classmethod
    def has(cls, key: str) -> bool:
        """Whether there is a key of this name, or was before."""
        return cls.current_name(key) in {item.name for item in fields(cls)}

    @classmethod
    def current_name(cls, key: str) -> str:
        """The name of a key that may be given by its old one."""
        known = {item.name for item in fields(cls)}
        return key if key in known else next((name for name in RENAMED_KEYS.get(key, ()) if name in known), key)

    @classmethod
    def old_names(cls) -> dict[str, str]:
        """Names that keys of this config had before, and what they are called now."""
        names = {old: cls.current_name(old) for old in RENAMED_KEYS}
        return {old: name for old, name in names.items() if name != old}

    def to_toml(self) -> str:
        """All keys, each under a comment that explains it; `read` gives the same config."""
        lines = []
        for item in fields(self):
            lines += [f"# {item.metadata['text']}", f"{item.name} = {_toml(getattr(self, item.name))}", ""]
        return "\n".join(lines)

    def provenance_keys(self) -> dict[str, Any]:
        """The keys that decide the result and differ from their defaults, fit for JSON; without what is local."""
        return {
            item.name: getattr(self, item.name)
            for item in fields(self)
            if getattr(self, item.name) != item.default and not item.metadata["local"]
        }

    def require_same(self, other: Config, where: Path) -> None:
        """Raise UsageError if a key differs from `other`, read from `where`, that a resumed run may not change."""
        for item in fields(self):
            mine, theirs = getattr(self, item.name), getattr(other, item.name)
            if mine != theirs and not item.metadata["resumable"]:
                raise UsageError(
                    f"{item.name} is {_toml(theirs)} in {where}, not {_toml(mine)}: a run is resumed as it began, "
                    "so leave the key as it is or start another run"
                )


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(Config):
    """The keys that every training has. A subclass gives `steps`, `batch_size` and `learning_rate` other defaults."""

    steps: int = key(10_000, text="How many steps to train.", low=1, resumable=True)
    batch_size: int = key(16, text="Examples in a step, of all processes together.", low=1)
    learning_rate: float = key(1e-3, text="The optimiser's step size.", above=0)
    schedule: Literal["constant", "cosine"] = key(
        "constant", text="How the learning rate goes on: constant, or cosine, down to zero at the last step."
    )
    warmup: int = key(0, text="Steps in which the learning rate rises from zero.", low=0)
    seed: int = key(0, text="Seed of all random numbers.", low=0, high=2**63 - 1)
    device: str = key("auto", text="What computes: auto, cpu, cuda, cuda:N or mps.", resumable=True, local=True)
    precision: Literal["float32", "bfloat16", "float16"] = key(
        "float32", text="Numbers that the networks compute in: float32, bfloat16 or float16."
    )
    deterministic: bool = key(
        True, text="Choose the same algorithms in every run; false is faster on a GPU.", resumable=True, local=True
    )
    log_interval: int = key(100, text="Steps between two lines of metrics.jsonl.", low=1)
    eval_interval: int = key(500, text="Steps between two sample sheets and evaluations.", low=1)
    checkpoint_interval: int = key(500, text="Steps between two checkpoints.", low=1, resumable=True, local=True)
    tensorboard: bool = key(
        False, text="Write metrics for TensorBoard too, if it is installed.", resumable=True, local=True
    )


def flag(name: str) -> str:
    """The flag of a key: batch_size -> --batch-size."""
    return f"--{name.replace('_', '-')}"


def item_type(hint: Any) -> Any:
    """The type of a tuple's items, or None if `hint` is no tuple."""
    return get_args(hint)[0] if get_origin(hint) is tuple else None


def read_toml(path: Path) -> dict[str, Any]:
    """The values of a config, unchecked. Raises UsageError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
    except FileNotFoundError:
        raise UsageError(f"there is no config {path}: check the spelling") from None
    except OSError as error:
        raise UsageError(f"cannot read the config {path} ({describe_cause(error)}): give a TOML file") from error
    if len(data) > MAX_CONFIG_BYTES:
        raise UsageError(f"the config {path} is larger than {MAX_CONFIG_BYTES // 2**20} MB: give a TOML file")
    try:
        return tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the config {path} is not TOML ({describe_cause(error)}): correct it there") from error


def _checked(where: str, value: Any, hint: Any, item: Field[Any]) -> Any:
    """Return `value` as `hint` wants it. Raises UsageError."""
    inner = item_type(hint)
    if inner is None:
        return _checked_one(where, value, hint, item)
    if isinstance(value, str) and inner is str:
        value = [value]
    if not isinstance(value, list | tuple):
        raise UsageError(f"{where} is {value!r}, not a list: write it as {_toml(_example(hint))}")
    return tuple(_checked_one(where, one, inner, item) for one in value if one != "")  # an empty text names nothing


def _checked_one(where: str, value: Any, hint: Any, item: Field[Any]) -> Any:
    if get_origin(hint) is Literal:
        choices = get_args(hint)
        if value not in choices:
            raise UsageError(f"{where} is {value!r}: choose {', '.join(choices[:-1])} or {choices[-1]}")
        return value
    if hint is float and type(value) is int:
        value = float(value)
    if type(value) is not hint or (hint is float and not math.isfinite(value)):
        raise UsageError(f"{where} is {value!r}, not {_WORDS[hint]}: write it as {_toml(_example(hint))}")
    low, high, above = (item.metadata[bound] for bound in ("low", "high", "above"))
    if low is not None and value < low:
        raise UsageError(f"{where} is {value}: it must be at least {low}")
    if above is not None and value <= above:
        raise UsageError(f"{where} is {value}: it must be above {above}")
    if high is not None and value > high:
        raise UsageError(f"{where} is {value}: it can be at most {high}")
    return value


def _example(hint: Any) -> Any:
    examples: dict[Any, Any] = {int: 8, float: 0.5, bool: True, str: "text"}
    return [examples[item_type(hint)]] if isinstance(hint, GenericAlias) else examples[hint]


def _toml(value: Any) -> str:
    """A value of a config as TOML; JSON's texts are TOML's too, but for the one control character it lets through."""
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value).lower() if isinstance(value, bool) else repr(value)
