"""The loop resumes exactly, shares a batch among processes, stops on what is no number, and keeps its files whole."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import util
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from stedit.errors import DeviceError, OutputError, TrainingError, UsageError
from stedit.runtime.devices import choose_device
from stedit.training import checkpoint
from stedit.training.loop import Outcome, train

_spec = util.spec_from_file_location("lines", Path(__file__).with_name("lines.py"))
assert _spec is not None
assert _spec.loader is not None
lines: Any = util.module_from_spec(_spec)
sys.modules["lines"] = lines
_spec.loader.exec_module(lines)

BASE = lines.LinesConfig(
    steps=12,
    batch_size=6,
    learning_rate=0.1,
    noise=0.3,
    log_interval=5,
    eval_interval=4,
    checkpoint_interval=3,
    device="cpu",
)


def run(config: Any, folder: Path, **options: Any) -> tuple[Any, Outcome]:
    return train(lambda: lines.Lines(config), config, folder, **options)


def tensors(folder: Path, file: str = "networks") -> dict[str, torch.Tensor]:
    return load_file(checkpoint.checkpoints(folder)[-1] / f"{file}.safetensors")


def metrics(folder: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


@pytest.mark.parametrize("stop", [1, 5, 7, 11])
def test_resumed_run_equals_the_unbroken_run(
    tmp_path: Path, stop: int, recording_monitor: Callable[..., Any], assert_same_state: Callable[..., Any]
) -> None:
    config = replace(BASE, schedule="cosine", warmup=4)
    whole, outcome = run(config, tmp_path / "whole")
    assert outcome == Outcome(12, "done")
    assert whole.scalars == {"examples": 72}
    _, outcome = run(config, tmp_path / "broken", monitor=recording_monitor(stop=stop))
    assert outcome == Outcome(stop, "interrupted")
    _, outcome = run(config, tmp_path / "broken", resume=True)
    assert outcome == Outcome(12, "done")
    assert_same_state(tmp_path / "whole", tmp_path / "broken")
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "broken")
    assert [row["step"] for row in metrics(tmp_path / "whole")] == [4, 5, 8, 10, 12]
    sheets = [sorted(path.name for path in (tmp_path / name / "samples").iterdir()) for name in ("whole", "broken")]
    assert sheets[0] == sheets[1] == ["00000004.png", "00000008.png", "00000012.png"]


@pytest.fixture
def slow_float16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the CPU compute in float16, as a GPU does; users are told that it is slow there."""
    monkeypatch.setattr("stedit.training.run.require_precision", lambda *_: None)


@pytest.mark.usefixtures("slow_float16")
def test_float16_scales_its_losses_and_resumes_bit_for_bit(
    tmp_path: Path, recording_monitor: Callable[..., Any], assert_same_state: Callable[..., Any]
) -> None:
    config = replace(BASE, precision="float16")
    run(config, tmp_path / "whole")
    run(config, tmp_path / "broken", monitor=recording_monitor(stop=5))
    run(config, tmp_path / "broken", resume=True)
    assert_same_state(tmp_path / "whole", tmp_path / "broken")
    scalers = [
        json.loads((checkpoint.checkpoints(tmp_path / name)[-1] / "state.json").read_text())["scaler"]
        for name in ("whole", "broken")
    ]
    assert scalers[0] == scalers[1]
    assert scalers[0]["scale"] < 65536  # at which the first gradients overflow: those steps change nothing


@pytest.mark.usefixtures("slow_float16")
def test_float16_learns_what_float32_does(tmp_path: Path) -> None:
    errors = {}
    for precision in ("float32", "float16"):
        run(replace(BASE, precision=precision, steps=100, noise=0.0), tmp_path / precision)
        errors[precision] = metrics(tmp_path / precision)[-1]["held_out"]
    assert errors["float16"] == pytest.approx(errors["float32"], abs=0.01)
    assert errors["float16"] < 0.05


def test_another_seed_gives_other_weights(tmp_path: Path) -> None:
    run(BASE, tmp_path / "a")
    run(replace(BASE, seed=1), tmp_path / "b")
    a, b = (tensors(tmp_path / name)["model/1.weight"] for name in "ab")
    assert (a - b).abs().max() > 1e-3


def test_loss_is_averaged_over_the_steps_that_computed_it(tmp_path: Path) -> None:
    run(replace(BASE, log_interval=6, eval_interval=100), tmp_path)
    assert [row["lazy"] for row in metrics(tmp_path)] == [1.0, 4.0]  # of steps 0 and 4, of 8: half their numbers


def test_order_shows_every_example_once_a_pass(tmp_path: Path) -> None:
    task, _ = run(replace(BASE, steps=10), tmp_path)
    order = [index for batch in task.asked for index in batch]
    assert len(order) == 60
    passes = [order[start : start + 20] for start in (0, 20, 40)]
    assert all(sorted(one) == list(range(20)) for one in passes)
    assert passes[0] != passes[1] != passes[2]


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_two_processes_end_with_the_weights_of_one(tmp_path: Path, device: str, together: Callable[..., str]) -> None:
    """Without noise of their own, two processes that share a batch take the same steps as one, but for rounding."""
    if device == "auto" and choose_device(device).type != "cpu":
        pytest.skip("what is found where there is no GPU")
    config = replace(BASE, noise=0.0, log_interval=1)
    run(config, tmp_path / "one")
    (tmp_path / "config.toml").write_text(replace(config, device=device).to_toml())
    assert together(lines.__file__, tmp_path / "two", tmp_path / "config.toml") == "2 processes\n"
    one, two = tensors(tmp_path / "one"), tensors(tmp_path / "two")
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=0, atol=1e-5)
    for a, b in zip(metrics(tmp_path / "one"), metrics(tmp_path / "two"), strict=True):
        assert b == pytest.approx(a, abs=1e-4)


def test_nan_stops_the_run_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"'loss' is nan at step 7; .*00000006 is sound: .*learning_rate"):
        run(replace(BASE, spoil_at=7), tmp_path)
    assert [path.name for path in checkpoint.checkpoints(tmp_path)] == ["00000003", "00000006"]
    assert all(value.isfinite().all() for value in tensors(tmp_path).values())


def test_run_keeps_two_checkpoints(tmp_path: Path) -> None:
    run(replace(BASE, checkpoint_interval=1), tmp_path)
    assert [path.name for path in checkpoint.checkpoints(tmp_path)] == ["00000011", "00000012"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoints",
        "config.toml",
        "metrics.jsonl",
        "samples",
    ]


def test_task_can_stop_early(tmp_path: Path) -> None:
    _, outcome = run(replace(BASE, steps=400, enough=1.0, noise=0.0), tmp_path)
    assert outcome.reason == "stopped"
    assert outcome.why.startswith("the error is")
    assert outcome.step < 400
    assert outcome.step % BASE.eval_interval == 0
    assert metrics(tmp_path)[-1]["held_out"] < 1.0


def test_sample_sheet_shows_the_weights(tmp_path: Path) -> None:
    run(BASE, tmp_path)
    with Image.open(tmp_path / "samples" / "00000012.png") as sheet:
        shown = sheet.getpixel((0, 1))
    slope = tensors(tmp_path)["average/1.weight"][0, 2].clamp(0, 1).item()
    assert shown == (int(slope * 255),) * 3


def test_run_refuses_overwriting_and_another_config(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no checkpoint to resume from"):
        run(BASE, tmp_path, resume=True)
    run(BASE, tmp_path)
    with pytest.raises(UsageError, match="or resume it"):
        run(BASE, tmp_path)
    with pytest.raises(UsageError, match=r"batch_size is 6 in .*config\.toml, not 5"):
        run(replace(BASE, batch_size=5), tmp_path, resume=True)
    _, outcome = run(replace(BASE, steps=15), tmp_path, resume=True)
    assert outcome == Outcome(15, "done")


def test_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    run(BASE, tmp_path)
    newest = checkpoint.checkpoints(tmp_path)[-1]
    data = (newest / "networks.safetensors").read_bytes()
    (newest / "networks.safetensors").write_bytes(data[:-5])
    with pytest.raises(TrainingError, match=r"00000012 is damaged .*: delete that folder"):
        run(replace(BASE, steps=15), tmp_path, resume=True)


def test_checkpoint_of_another_format_is_refused(tmp_path: Path) -> None:
    run(BASE, tmp_path)
    state = checkpoint.checkpoints(tmp_path)[-1] / "state.json"
    state.write_text(state.read_text().replace('"format": 2', '"format": 3'))
    with pytest.raises(TrainingError, match="is of the checkpoint format 3, this stedit writes 2"):
        run(replace(BASE, steps=15), tmp_path, resume=True)


def test_run_of_format_1_is_resumed_exactly(tmp_path: Path, assert_same_state: Callable[..., Any]) -> None:
    run(BASE, tmp_path / "whole")
    half = tmp_path / "half"
    run(replace(BASE, steps=6), half)
    state = checkpoint.checkpoints(half)[-1] / "state.json"
    old = state.read_text().replace('"format": 2', '"format": 1').replace('"command"', '"kind"')
    state.write_text(old.replace('"scalars"', '"numbers"'))
    config = half / "config.toml"
    config.write_text(config.read_text().replace("eval_interval", "sample_every").replace("log_interval", "log_every"))
    run(BASE, half, resume=True)
    assert_same_state(half, tmp_path / "whole")
    assert "eval_interval = 4" in config.read_text()


def test_unavailable_device_and_precision_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="no fast float16"):
        run(replace(BASE, precision="float16"), tmp_path)
    with pytest.raises(DeviceError, match="'cuda:99' is not available"):
        run(replace(BASE, device="cuda:99"), tmp_path)


def test_unwritable_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot make the folder .*file/run: not a directory"):
        run(BASE, tmp_path / "file" / "run")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of the size of files")
def test_full_disk_is_reported(tmp_path: Path) -> None:
    import resource

    networks = {"model": torch.nn.Linear(64, 64)}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"cannot write .*00000000: File too large"):
            checkpoint.save(tmp_path, checkpoint.State("lines"), networks, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list((tmp_path / "checkpoints").iterdir())


def test_missing_tensorboard_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(TrainingError, match="pip install tensorboard"):
        run(replace(BASE, tensorboard=True), tmp_path)


def test_bfloat16_ends_near_float32(tmp_path: Path) -> None:
    run(BASE, tmp_path / "float32")
    run(replace(BASE, precision="bfloat16"), tmp_path / "bfloat16")
    a, b = (tensors(tmp_path / name)["model/1.weight"] for name in ("float32", "bfloat16"))
    assert 0 < (a - b).abs().max() < 0.05


def test_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(TrainingError, match=r"pip install 'stedit\[train\]'"):
        run(BASE, tmp_path)


def test_deterministic_chooses_the_algorithms_of_cudnn(tmp_path: Path) -> None:
    settings: list[tuple[bool, bool]] = []

    class Watching(lines.Lines):  # type: ignore[misc]
        def step(self, run: Any) -> Any:
            settings.append((torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark))
            return super().step(run)

    before = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    for deterministic in (True, False):
        config = lines.LinesConfig(steps=1, deterministic=deterministic, device="cpu")
        train(lambda config=config: Watching(config), config, tmp_path / str(deterministic))  # type: ignore[misc]
    assert settings == [(True, False), (False, True)]
    assert (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark) == before
