"""Lists, patterns, shards, manifests, and what is kept of how a run went."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import Result

from stedit.batch.manifest import Row, read_manifest
from stedit.errors import InputError
from stedit.imaging.files import Pixels, write_image

Cli = Callable[..., Result]
Process = Callable[..., "subprocess.Popen[bytes]"]


def names(result: Result) -> set[str]:
    """What a dry run would read, in a folder or by name."""
    return {line.partition(" -> ")[0].removeprefix("photos/") for line in result.stdout.splitlines()}


def test_names_come_from_lists(cli: Cli, photos: Path) -> None:
    Path("list.txt").write_text(f"{photos}/a.png\r\n\n{photos}/b.jpg\n")
    assert names(cli("reconstruct", "-n", "--from-file", "list.txt")) == {"a.png", "b.jpg"}
    zeros = f"{photos}/a.png\0{photos}/c.webp\0".encode()
    assert names(cli("reconstruct", "-n", "-0", stdin=zeros)) == {"a.png", "c.webp"}
    assert names(cli("reconstruct", "-n", "-0", photos / "b.jpg", stdin=zeros)) == {"a.png", "b.jpg", "c.webp"}
    result = cli("reconstruct", "-n", "-0", stdin=b"")
    assert (result.exit_code, result.stdout) == (3, "")
    missing = cli("reconstruct", "--from-file", "nowhere.txt")
    assert (missing.exit_code, missing.stderr) == (
        1,
        "error: cannot read the list nowhere.txt: no such file or directory\n",
    )


def test_attributes_of_a_list_are_predicted(cli: Cli, photos: Path) -> None:
    zeros = f"{photos}/a.png\0{photos}/c.webp\0".encode()
    records = [json.loads(line) for line in cli("attributes", "-0", "--json", stdin=zeros).stdout.splitlines()]
    assert [record["input"] for record in records] == [f"{photos}/a.png", f"{photos}/c.webp"]
    assert set(records[0]["attributes"]) == {"Smiling", "Eyeglasses", "Bangs", "Blond_Hair", "No_Beard"}


def test_patterns_choose_from_folders(cli: Cli, photos: Path) -> None:
    assert names(cli("reconstruct", "-nr", photos, "--include", "*.png")) == {"a.png", "deeper/d.png"}
    assert names(cli("reconstruct", "-nr", photos, "--include", "deeper/*")) == {"deeper/d.png"}
    assert names(cli("reconstruct", "-nr", photos, "--exclude", "*.png", "--exclude", "b.*")) == {"c.webp"}
    assert names(cli("reconstruct", "-n", photos / "b.jpg", "--include", "*.png")) == {"b.jpg"}


def test_shards_are_the_whole_without_overlap(cli: Cli, photos: Path) -> None:
    for count in (1, 2, 5):
        parts = [names(cli("reconstruct", "-nr", photos, "--shard", f"{i}/{count}")) for i in range(1, count + 1)]
        assert set.union(*parts) == {"a.png", "b.jpg", "c.webp", "deeper/d.png"}
        assert sum(map(len, parts)) == 4
    Path("elsewhere").symlink_to(photos)  # another machine has it mounted at another place
    moved = cli("reconstruct", "-nr", "elsewhere/", "--shard", "1/2").stdout.replace("elsewhere", "photos")
    assert moved == cli("reconstruct", "-nr", photos, "--shard", "1/2").stdout
    results = [cli("reconstruct", photos / "a.png", "--shard", f"{i}/2") for i in (1, 2)]
    assert [result.exit_code for result in results] == [0, 0]  # an empty shard is no failure of a job array
    assert sorted(len(result.stdout.splitlines()) for result in results) == [0, 1]
    for wrong in ("0/2", "3/2", "2", "a/b"):
        assert cli("reconstruct", photos, "--shard", wrong).exit_code == 2


def test_failures_log_and_the_way_to_try_again(cli: Cli, photos: Path) -> None:
    (photos / "bad.png").write_text("no picture")
    result = cli("reconstruct", photos, "--failures", "failed.txt", "--log", "log.jsonl")
    assert result.exit_code == 1
    assert Path("failed.txt").read_text() == f"{photos}/bad.png\n"
    records = [json.loads(line) for line in Path("log.jsonl").read_text().splitlines()]
    assert [record["status"] for record in records] == ["done", "done", "failed", "done"]
    assert records[0]["time"] < records[-1]["time"]
    (photos / "bad.png").write_bytes((photos / "a.png").read_bytes())
    again = cli("reconstruct", "--from-file", "failed.txt", "--failures", "failed.txt", "--log", "log.jsonl")
    assert (again.exit_code, again.stdout) == (0, f"{photos}/bad.reconstruct.png\n")
    assert Path("failed.txt").read_text() == ""
    assert len(Path("log.jsonl").read_text().splitlines()) == 5
    refused = cli("reconstruct", photos, "--log", "nowhere/log.jsonl")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr.startswith("error: cannot write nowhere/log.jsonl")


def test_fail_fast_leaves_the_rest_untried(cli: Cli, photos: Path) -> None:
    (photos / "a1.png").write_text("no picture")
    result = cli("reconstruct", photos, "--fail-fast")
    assert (result.exit_code, result.stdout) == (1, f"{photos}/a.reconstruct.png\n")
    assert result.stderr.splitlines()[-1].endswith("1 failed, 2 not tried because of the failure")


def test_manifest_makes_many_different_edits(cli: Cli, photos: Path, face: Path) -> None:
    Path("edits.csv").write_text(
        "source,attribute,strength,reference,output\n"
        f"{photos}/a.png,smile,0.5,,one.png\n"
        f"{photos}/b.jpg,smile;bangs,0.5;2,,\n"
        f'{photos}/c.webp,glasses,,{face},"out/two, by reference.png"\n'
        f"{photos}/a.png,,,,\n"
    )
    result = cli("edit", "--manifest", "edits.csv", "-a", "blond-hair", "-o", "out", "-f", "png")
    assert result.exit_code == 0, result.stderr
    assert set(result.stdout.splitlines()) == {
        "one.png",
        "out/b.smile+bangs@0.5+2.png",
        "out/two, by reference.png",
        "out/a.blond.png",
    }
    cli("edit", photos / "a.png", "-a", "smile", "-s", 0.5, "-o", "single.png")
    assert Path("single.png").read_bytes() == Path("one.png").read_bytes()
    again = cli("edit", "--manifest", "edits.csv", "-a", "blond-hair", "-o", "out", "-f", "png")
    assert (again.exit_code, again.stdout) == (0, "")
    assert "4 skipped" in again.stderr
    both = cli("edit", "--manifest", "edits.csv", face)
    assert (both.exit_code, both.stderr) == (2, "error: --manifest names all inputs: leave the others out\n")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("source,colour\na.png,red\n", "line 2 of m.csv has the unknown column 'colour'"),
        ('source\n"a.png\n', "is no CSV"),
        ("source\na.png,b.png\n", "line 2 of m.csv has more cells than the header"),
        ("attribute\nsmile\n", "line 2 of m.csv names no source"),
    ],
)
def test_manifest_that_is_not_understood_is_refused(text: str, sentence: str) -> None:
    Path("m.csv").write_text(text)
    with pytest.raises(InputError, match=sentence):
        read_manifest(Path("m.csv"))


def test_rows_that_contradict_each_other_are_refused(cli: Cli, photos: Path) -> None:
    for rows, sentence in (
        ("a.png,smile,out.png\nb.jpg,smile,out.png", "would both be written to out.png"),
        ("a.png,smile,photos/b.jpg\nb.jpg,smile,out.png", "photos/b.jpg is both made and read by these rows"),
        ("a.png,moustache,out.png", "line 2 of m.csv: "),
    ):
        Path("m.csv").write_text("source,attribute,output\n" + "".join(f"{photos}/{row}\n" for row in rows.split("\n")))
        result = cli("edit", "--manifest", "m.csv")
        assert (result.exit_code, result.stdout) == (2, "")
        assert sentence in result.stderr
    assert not Path("out.png").exists()


def test_manifest_of_json_lines_is_the_same() -> None:
    Path("m.jsonl").write_text('{"source": "a.png", "attribute": ["smile", "bangs"], "strength": 0.5}\n')
    assert read_manifest(Path("m.jsonl")) == [
        Row("record 1 of m.jsonl", "a.png", attributes=("smile", "bangs"), strengths=("0.5",))
    ]


def listen_to_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_interrupts_end_without_a_traceback_however_many(process: Process, face_image: Pixels) -> None:
    Path("many").mkdir()
    for i in range(200):
        write_image(f"many/{i:03}.png", face_image)
    with process("reconstruct", "many", "-o", "out", preexec_fn=listen_to_ctrl_c) as ran:
        assert ran.stdout is not None
        ran.stdout.readline()
        for _ in range(10):
            os.kill(ran.pid, signal.SIGINT)
            time.sleep(0.005)
        _, stderr = ran.communicate(timeout=120)
    assert ran.returncode == 130
    assert b"Traceback" not in stderr
    assert stderr.count(b"\n") == 1
    assert not list(Path("out").glob(".stedit-*"))


def test_interrupt_while_libraries_are_loaded_ends_without_a_traceback(process: Process, face: Path) -> None:
    with process("reconstruct", face, preexec_fn=listen_to_ctrl_c) as ran:
        maps = Path(f"/proc/{ran.pid}/maps")
        if not maps.exists():
            pytest.skip("this system does not tell what a process has loaded")
        while b"numpy" not in maps.read_bytes() and ran.poll() is None:
            time.sleep(0.001)
        os.kill(ran.pid, signal.SIGINT)
        _, stderr = ran.communicate(timeout=120)
    assert ran.returncode == 130
    assert stderr.startswith(b"stopped")
    assert stderr.count(b"\n") == 1


def test_a_log_shows_that_a_run_is_alive(cli: Cli, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stedit.cli.batch.HEARTBEAT_SECONDS", 0.0)
    (photos / "b.jpg").write_bytes(b"no picture")
    result = cli("reconstruct", photos, "-o", "out")
    beats = [line for line in result.stderr.splitlines() if line.endswith(" left")]
    assert len(beats) == 2  # nothing is left after the last
    assert re.fullmatch(r"1 of 3, \d+\.\d images/s, 0:\d\d:\d\d left", beats[0])
    assert re.fullmatch(r"2 of 3, 1 failed, \d+\.\d images/s, 0:\d\d:\d\d left", beats[1])
    monkeypatch.setattr("stedit.cli.batch.HEARTBEAT_SECONDS", 30.0)
    assert " left" not in cli("reconstruct", photos, "-o", "again").stderr


def test_several_devices_share_a_folder(cli: Cli, photos: Path) -> None:
    result = cli("reconstruct", photos, "-o", "out", "--device", "cpu, cpu")
    assert (result.exit_code, len(list(Path("out").glob("*.png")))) == (0, 3), result.stderr
    unknown = cli("reconstruct", photos, "-o", "out", "--device", "cpu,tpu")
    assert unknown.exit_code == 2
    assert "'tpu' is no device" in unknown.stderr
    stream = cli("reconstruct", photos / "a.png", "-o", "-", "--device", "cpu,cpu")
    assert stream.exit_code == 2
    assert "several processes write files" in stream.stderr


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")
def test_a_cluster_needs_ray(cli: Cli, photos: Path) -> None:
    result = cli("reconstruct", photos, "-o", "out", "--engine", "ray")
    assert result.exit_code == 2
    assert result.stderr == "error: Ray is not installed: pip install 'stedit[ray]'\n"
