"""Configs are read from TOML and flags, documented and saved; every mistake is one sentence naming file and key."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as some

from stedit.errors import UsageError
from stedit.training.classifier.config import ClassifierTrainingConfig
from stedit.training.config import RENAMED_KEYS, TrainingConfig, flag, key
from stedit.training.editor.config import EditorFinetuneConfig, EditorTrainingConfig
from stedit.training.encoder.config import EncoderTrainingConfig
from stedit.training.generator.config import (
    AutoencoderTrainingConfig,
    GeneratorFinetuneConfig,
    GeneratorTrainingConfig,
)
from stedit.training.judge.config import JudgeTrainingConfig


@dataclass(frozen=True, kw_only=True)
class Everything(TrainingConfig):
    """A key of every kind."""

    count: int = key(3, text="A number.", low=1, high=9)
    rate: float = key(0.5, text="A rate.", above=0, high=1)
    name: str = key("a", text="A name.")
    on: bool = key(True, text="A switch.")
    kind: Literal["x", "y"] = key("x", text="A choice.")
    widths: tuple[int, ...] = key((1, 2), text="Some numbers.", low=1)
    rates: tuple[float, ...] = key((), text="Some rates.")
    paths: tuple[str, ...] = key((), text="Some paths.")

    def check(self) -> None:
        if self.on and self.kind == "y":
            raise ValueError("kind is y, but on is true: choose one")


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return path


def test_read_takes_flags_before_file_before_defaults(tmp_path: Path) -> None:
    path = write(tmp_path, 'count = 4\nrate = 1\npaths = "one.zip"\nwidths = [5]\n')
    config = Everything.read(path, {"count": 5, "rates": [1, 0.25]})
    assert config == Everything(count=5, rate=1.0, paths=("one.zip",), widths=(5,), rates=(1.0, 0.25))
    assert Everything.read(write(tmp_path, 'paths = ""'), {}).paths == ()
    assert isinstance(config.rate, float)
    assert isinstance(config.rates[0], float)
    assert Everything.read(None, {}) == Everything()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cuont = 4", "has the unknown key 'cuont': did you mean 'count'?"),
        ("zzz = 4", "has the unknown key 'zzz': did you mean"),
        ("[section]\ncount = 4", "has the unknown key 'section'"),
        ('count = "4"', "count in FILE is '4', not a whole number: write it as 8"),
        ("count = 4.0", "count in FILE is 4.0, not a whole number"),
        ("count = true", "count in FILE is True, not a whole number"),
        ("count = 0", "count in FILE is 0: it must be at least 1"),
        ("count = 10", "count in FILE is 10: it can be at most 9"),
        ("rate = 0", "rate in FILE is 0.0: it must be above 0"),
        ("rate = nan", "rate in FILE is nan, not a number"),
        ("rate = inf", "rate in FILE is inf, not a number"),
        ("rate = '1'", "rate in FILE is '1', not a number: write it as 0.5"),
        ("on = 1", "on in FILE is 1, not true or false: write it as true"),
        ("name = 1", 'name in FILE is 1, not text: write it as "text"'),
        ("kind = 'z'", "kind in FILE is 'z': choose x or y"),
        ("widths = 5", "widths in FILE is 5, not a list: write it as [8]"),
        ("widths = ['a']", "widths in FILE is 'a', not a whole number"),
        ("widths = [1, 0]", "widths in FILE is 0: it must be at least 1"),
        ("paths = [1]", "paths in FILE is 1, not text"),
        ("steps = 0", "steps in FILE is 0: it must be at least 1"),
        ("precision = 'half'", "precision in FILE is 'half': choose float32, bfloat16 or float16"),
        ("kind = 'y'", "FILE: kind is y, but on is true: choose one"),
        ("count = ", "the config FILE is not TOML ("),
        ("count = 1\ncount = 2", "the config FILE is not TOML ("),
    ],
)
def test_read_of_a_mistake_names_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        Everything.read(path, {})
    assert message.replace("FILE", str(path)) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_read_of_a_wrong_flag_names_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--batch-size is 0: it must be at least 1"):
        Everything.read(None, {"batch_size": 0})
    with pytest.raises(UsageError, match=r"there is no config .*nowhere"):
        Everything.read(tmp_path / "nowhere", {})
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="is not TOML"):
        Everything.read(tmp_path / "binary", {})
    with pytest.raises(UsageError, match="cannot read the config"):
        Everything.read(tmp_path, {})
    (tmp_path / "large").write_bytes(b"#" * (2**20 + 1))
    with pytest.raises(UsageError, match="larger than 1 MB"):
        Everything.read(tmp_path / "large", {})


@given(
    some.builds(
        Everything,
        count=some.integers(1, 9),
        rate=some.floats(1e-300, 1, exclude_min=True),
        name=some.text(),
        widths=some.lists(some.integers(1, 2**40)).map(tuple),
        rates=some.lists(some.floats(allow_nan=False, allow_infinity=False)).map(tuple),
        paths=some.lists(some.text()).map(tuple),
    )
)
def test_to_toml_round_trips(config: Everything) -> None:
    text = config.to_toml()
    values = tomllib.loads(text)
    assert set(values) == {field.name for field in fields(config)}
    assert Everything(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}) == config


def test_to_toml_explains_every_key(tmp_path: Path) -> None:
    for config in (GeneratorTrainingConfig(data=("a",)), EncoderTrainingConfig(model="m")):
        lines = config.to_toml().splitlines()
        assert lines[0::3] == [f"# {field.metadata['text']}" for field in fields(config)]
        path = write(tmp_path, config.to_toml())
        assert type(config).read(path, {}) == config
        assert all(field.metadata["text"].endswith(".") for field in fields(config))


@pytest.mark.parametrize(
    ("config_type", "changes", "message"),
    [
        (GeneratorTrainingConfig, {"data": ()}, "data is empty: name folders or zip files"),
        (GeneratorTrainingConfig, {"resolution": 48}, "resolution is 48, not a power of two"),
        (GeneratorTrainingConfig, {"resolution": 4096}, "resolution is 4096, outside 8..2048"),
        (GeneratorTrainingConfig, {"channels": (8, 8)}, "channels holds 2 widths for 7 blocks"),
        (GeneratorTrainingConfig, {"discriminator_channels": (8,)}, "discriminator_channels needs 7 widths"),
        (AutoencoderTrainingConfig, {"lpips_heads": "a"}, "lpips_heads is given without lpips_backbone"),
        (AutoencoderTrainingConfig, {"resolution": 8}, "resolution is 8, but an encoder needs 16 or more"),
        (AutoencoderTrainingConfig, {"encoder_size": 100}, "input_height is 100, not a multiple of 16"),
        (
            AutoencoderTrainingConfig,
            {"encoder_widths": (8, 8, 8, 8), "encoder_reduction": 1},
            "encoder_widths ends in 8",
        ),
        (AutoencoderTrainingConfig, {"perceptual": "discriminator"}, "adversarial_weight is 0, so there is none"),
    ],
)
def test_check_of_contradicting_keys_names_them(
    config_type: type[TrainingConfig], changes: dict[str, Any], message: str
) -> None:
    config = config_type(**{"data": ("a",), **changes})
    with pytest.raises(ValueError, match=message):
        config.check()


@pytest.mark.parametrize(
    ("former", "mode", "config", "text"),
    [
        (
            GeneratorTrainingConfig,
            "adversarial",
            GeneratorTrainingConfig(data=("a",), style_mixing_prob=0.5),
            'data = "a"\nstyle_mixing = 0.5\n',
        ),
        (
            GeneratorTrainingConfig,
            "joint",
            AutoencoderTrainingConfig(data=("a",), code_noise=0.5, val_images=3),
            'data = "a"\ncode_noise = 0.5\nheld_out = 3\n',
        ),
        (
            GeneratorTrainingConfig,
            "codes",
            GeneratorFinetuneConfig(data=("a",), init_from="m", edited_fraction=0.1),
            'data = "a"\nstart = "m"\nedited_share = 0.1\n',
        ),
        (
            EditorTrainingConfig,
            "pictures",
            EditorFinetuneConfig(model="m", codes=("c",), target_weight=2.0),
            'model = "m"\ncodes = "c"\nasked_weight = 2.0\n',
        ),
    ],
)
def test_read_with_former_mode_gives_the_config_of_its_training(
    former: type[TrainingConfig], mode: str, config: TrainingConfig, text: str, tmp_path: Path
) -> None:
    """The mode is in the file or a flag; keys of other modes, which a printed config held, have no effect."""
    own = {field.name for field in fields(config)}
    lines = {line for other in former.modes.values() for line in other().to_toml().splitlines() if " = " in line}
    foreign = {line.partition(" = ")[0]: line for line in lines if line.partition(" = ")[0] not in own}
    assert foreign
    path = write(tmp_path, "\n".join([f'mode = "{mode}"', text, *foreign.values()]))
    assert former.of_mode(path, {}) is type(config)
    assert type(config).read(path, {}) == config
    path = write(tmp_path, text)
    assert former.of_mode(path, {"mode": mode}) is type(config)
    assert type(config).read(path, {"mode": mode}) == config


def test_read_with_former_mode_of_another_training_names_its_command(tmp_path: Path) -> None:
    path = write(tmp_path, 'mode = "joint"\n')
    with pytest.raises(UsageError, match=r"is for the training 'autoencoder', as its key mode says"):
        GeneratorFinetuneConfig.read(path, {})
    for mode in ('"no-such"', '["joint"]'):
        with pytest.raises(UsageError, match=r"leave it out, and choose another training"):
            GeneratorTrainingConfig.of_mode(write(tmp_path, f"mode = {mode}\n"), {})
    with pytest.raises(UsageError, match="has the unknown key 'mode'"):
        JudgeTrainingConfig.read(path, {})


def test_read_of_a_key_of_another_training_names_its_command(tmp_path: Path) -> None:
    path = write(tmp_path, "code_noise = 0.1\n")
    with pytest.raises(UsageError, match="unknown key 'code_noise': it is one of the training 'autoencoder'"):
        GeneratorTrainingConfig.read(path, {})
    with pytest.raises(UsageError, match="the training 'generator' has no --code-noise"):
        GeneratorTrainingConfig.read(None, {"code_noise": 0.1})


def test_check_of_inversion_without_a_model_is_refused() -> None:
    with pytest.raises(ValueError, match="model is empty"):
        EncoderTrainingConfig().check()
    with pytest.raises(ValueError, match="val_images is given without data"):
        EncoderTrainingConfig(model="a", val_images=3).check()


def test_provenance_keys_leave_out_defaults_and_local_keys() -> None:
    config = GeneratorTrainingConfig(data=("/home/me/faces",), resolution=64, device="cpu", checkpoint_interval=7)
    assert config.provenance_keys() == {"resolution": 64}


def test_flag_is_named_after_its_key() -> None:
    assert flag("r1_interval") == "--r1-interval"


CONFIGS = (
    GeneratorTrainingConfig,
    AutoencoderTrainingConfig,
    GeneratorFinetuneConfig,
    EncoderTrainingConfig,
    ClassifierTrainingConfig,
    EditorTrainingConfig,
    EditorFinetuneConfig,
    JudgeTrainingConfig,
)


def test_renamed_keys_are_keys_and_old_names_are_not() -> None:
    names = {item.name for config in CONFIGS for item in fields(config)}
    assert not names & RENAMED_KEYS.keys()
    assert {new for several in RENAMED_KEYS.values() for new in several} <= names


@pytest.mark.parametrize(
    ("config", "old", "new"),
    [
        (AutoencoderTrainingConfig, {"r1_weight": 3.0, "held_out": 7}, {"r1_gamma": 3.0, "val_images": 7}),
        (EncoderTrainingConfig, {"keep_encoder": True, "log_every": 5}, {"finetune": True, "log_interval": 5}),
        (JudgeTrainingConfig, {"held_out": 0.2, "keep_pictures": True}, {"val_fraction": 0.2, "cache_images": True}),
        (EditorFinetuneConfig, {"sampled": 9, "asked_weight": 2.0}, {"synthetic_latents": 9, "target_weight": 2.0}),
    ],
)
def test_read_of_old_names_gives_current_keys(
    config: type[TrainingConfig], old: dict[str, object], new: dict[str, object], tmp_path: Path
) -> None:
    text = "".join(f"{name} = {str(value).lower()}\n" for name, value in old.items())
    read = config.read(write(tmp_path, text), {}, check=False)
    assert read == config(**new)  # type: ignore[arg-type]
    assert config.read(None, old, check=False) == read
    assert all(name not in read.to_toml() for name in old)


def test_read_of_a_key_under_both_names_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "log_every = 5\nlog_interval = 6\n")
    with pytest.raises(UsageError, match="gives log_interval twice, as"):
        GeneratorTrainingConfig.read(path, {}, check=False)
    with pytest.raises(UsageError, match=r"log_every in .* is 0: it must be at least 1"):
        GeneratorTrainingConfig.read(write(tmp_path, "log_every = 0"), {}, check=False)
