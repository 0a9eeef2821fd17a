"""Outputs appear whole or not at all, on real full and forbidden disks."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from stedit.errors import OutputError
from stedit.storage.atomic import write_file, write_folder

IS_ROOT = os.geteuid() == 0


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def file_size_limit() -> Iterator[int]:
    """The system refuses to let any file of this process grow beyond 4096 bytes, as a disk that fills up would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    yield 4096
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_file_is_written_and_replaced(tmp_path: Path) -> None:
    write_file(tmp_path / "a.bin", b"first")
    write_file(tmp_path / "a.bin", b"second")
    assert (tmp_path / "a.bin").read_bytes() == b"second"
    assert names(tmp_path) == ["a.bin"]


def test_written_file_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    write_file(tmp_path / "ours", b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_write_that_fails_midway_leaves_the_old_file_and_no_rest(tmp_path: Path, file_size_limit: int) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    with pytest.raises(OutputError, match=r"cannot write .*a\.bin: File too large"):
        write_file(target, bytes(file_size_limit + 1))
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


FILL_A_SMALL_DISK = """
import sys
from pathlib import Path
from stedit.storage.atomic import write_file
from stedit.errors import OutputError

disk = Path(sys.argv[1])
write_file(disk / "code", b"kept")
try:
    write_file(disk / "code", bytes(2**20))
except OutputError as error:
    print(error, (disk / "code").read_bytes(), [path.name for path in disk.iterdir()])
"""


def test_full_disk_raises_output_error(tmp_path: Path) -> None:
    """On a real file system of 64 kB, which even an ordinary user can mount inside a namespace of their own."""
    mount = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    try:
        subprocess.run([*mount, f"mount -t tmpfs -o size=64k none '{tmp_path}'"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this system lets nobody mount a small disk")
    script = f"mount -t tmpfs -o size=64k none '{tmp_path}' && exec '{sys.executable}' -c \"$0\" '{tmp_path}'"
    done = subprocess.run([*mount, script, FILL_A_SMALL_DISK], check=True, capture_output=True, text=True)
    sentence = f"cannot write {tmp_path}/code: the disk is full, so free some space and run again"
    assert done.stdout == f"{sentence} b'kept' ['code']\n"


def test_device_is_written_into_and_stays_a_device(full_device: Path) -> None:
    with pytest.raises(OutputError, match=r"^cannot write .*/full: the disk is full"):
        write_file(full_device, b"data")
    assert full_device.is_char_device()


def test_named_pipe_is_written_into(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_file(pipe, b"data")
    reader.join(10)
    assert read == [b"data"]
    assert pipe.is_fifo()


def test_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"old")
    (tmp_path / "link").symlink_to("target")
    write_file(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"


def test_write_that_raises_leaves_no_temporary_file(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_file(tmp_path / "a.bin", "text, which no binary file takes")  # type: ignore[arg-type]
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (".", "it is a folder, so give a file name"),
        ("missing/a.bin", "its folder does not exist, so create it first"),
        ("file/a.bin", "a part of its path is a file, so choose another place"),
        ("x" * 300, "its name is too long, so choose a shorter one"),
    ],
)
def test_write_to_an_impossible_place_raises_output_error(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError) as caught:
        write_file(tmp_path / name, b"data")
    assert str(caught.value) == f"cannot write {tmp_path / name}: {reason}"
    assert names(tmp_path) == ["file"]


@pytest.mark.skipif(not Path("/sys/kernel").exists(), reason="no sysfs on this system")
def test_forbidden_folder_raises_output_error() -> None:
    with pytest.raises(
        OutputError, match=r"cannot write /sys/kernel/a\.bin: (permission is denied|the disk is read-only)"
    ):
        write_file(Path("/sys/kernel/a.bin"), b"data")


@pytest.mark.skipif(IS_ROOT, reason="root may write anywhere")
def test_read_only_file_or_folder_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    target.chmod(0o400)
    with pytest.raises(OutputError, match="permission is denied"):
        write_file(target, b"new")
    assert target.read_bytes() == b"old"
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="permission is denied"):
        write_file(tmp_path / "b.bin", b"new")
    tmp_path.chmod(0o700)
    assert names(tmp_path) == ["a.bin"]


def test_folder_replaces_another_as_a_whole(tmp_path: Path) -> None:
    for text in ("first", "second"):
        with write_folder(tmp_path / "model") as folder:
            (folder / text).touch()
    assert names(tmp_path) == ["model"]
    assert names(tmp_path / "model") == ["second"]


def test_folder_whose_making_fails_does_not_appear(tmp_path: Path) -> None:
    with write_folder(tmp_path / "model") as folder:
        (folder / "old").touch()

    def fill_until_interrupted(folder: Path) -> None:
        (folder / "new").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), write_folder(tmp_path / "model") as folder:
        fill_until_interrupted(folder)
    assert names(tmp_path) == ["model"]
    assert names(tmp_path / "model") == ["old"]


def test_full_disk_while_a_folder_is_made_raises_output_error(tmp_path: Path, file_size_limit: int) -> None:
    with (
        pytest.raises(OutputError, match=r"cannot write .*model: File too large"),
        write_folder(tmp_path / "model") as new,
    ):
        (new / "data").write_bytes(bytes(file_size_limit + 1))
    assert names(tmp_path) == []


def test_file_is_not_replaced_by_a_folder(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"precious")
    with pytest.raises(OutputError, match="is a file"), write_folder(tmp_path / "model"):
        pass
    assert (tmp_path / "model").read_bytes() == b"precious"
