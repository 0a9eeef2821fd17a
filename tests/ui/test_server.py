"""The page over HTTP: what it gives, what the command gives of the same, and what is refused."""

from __future__ import annotations

import http.client
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import numpy as np
import psutil
import pytest
from PIL import Image

from stedit import batch
from stedit.engine import Engine
from stedit.storage.embedded import DEFAULT_MODEL
from stedit.ui.session import KEPT, Edits, Session, safe_name

DATA = Path(__file__).parents[1] / "data"
ROOM, GLASSES = DATA / "scenes/room.jpg", DATA / "faces/glasses.jpg"


class Page:
    """The page's server, asked without a browser."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        assert parts.port
        self.port, self.path = parts.port, parts.path

    def ask(
        self, path: str, body: bytes | None = None, headers: dict[str, str] | None = None, **query: Any
    ) -> tuple[int, bytes, http.client.HTTPMessage]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=200)
        text = urlencode({key: value if isinstance(value, str) else json.dumps(value) for key, value in query.items()})
        connection.request("GET" if body is None else "POST", f"{path}?{text}", body, headers or {})
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, data, answer.headers

    def get(self, name: str, **query: Any) -> bytes:
        status, data, _ = self.ask(self.path + name, **query)
        assert status == 200, data
        return data

    def send(self, file: Path, name: str = "") -> str:
        status, data, _ = self.ask(self.path + "photo", file.read_bytes(), name=name or file.name)
        assert status == 200, data
        return str(json.loads(data)["id"])


def pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.array(image).astype(int)


@pytest.fixture(scope="module")
def session(engine: Engine) -> Session:
    return Session(engine)


@pytest.fixture(scope="module")
def page(session: Session, serve: Callable[..., Any]) -> Iterator[Page]:
    with serve(session) as address:
        yield Page(address)


@pytest.fixture(scope="module")
def room(page: Page) -> str:
    return page.send(ROOM)


def test_the_page_comes_whole_and_fetches_nothing(embedded: Engine, page: Page) -> None:
    status, data, headers = page.ask(page.path)
    assert status == 200
    text = data.decode()
    assert "http://" not in text
    assert "https://" not in text
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["Referrer-Policy"] == "no-referrer"
    state = json.loads(page.get("state"))
    assert state["model"] == DEFAULT_MODEL
    assert {"smile", "glasses", "beard", "old"} <= set(state["attributes"])
    assert len(state["attributes"]) == len(embedded.attributes)


def test_a_preview_shows_the_edit_and_leaves_the_rest(page: Page, room: str) -> None:
    before, same, after = (
        pixels(page.get("preview", photo=room, edits=edits)) for edits in ([], [["smile", 0]], [["smile", 1]])
    )
    assert before.shape == after.shape
    assert 600 < max(before.shape) <= 1024
    assert np.abs(before - same).mean() < 1
    changed = np.abs(after - before).max(axis=2) > 12
    assert 0.002 < changed.mean() < 0.2
    assert not changed[: len(changed) // 5].any()
    assert max(pixels(page.get("preview", photo=room, edits=[], sharp="1")).shape) == 1280
    strip = pixels(page.get("strip", photo=room, edits=[], attribute="smile"))
    assert strip.shape == (160, 800, 3)
    assert np.abs(strip[:, :160] - strip[:, -160:]).max() > 20


@pytest.mark.parametrize("edits", [[["smile", 0.8]], [["glasses", 1.0], ["smile", 0.6]]])
def test_the_download_is_what_the_command_writes(
    page: Page, room: str, engine: Engine, tmp_path: Path, edits: list[list[Any]]
) -> None:
    status, data, headers = page.ask(page.path + "download", photo=room, edits=edits)
    assert status == 200
    amounts = tuple(amount for _, amount in edits)
    request = batch.LabelEdit([name for name, _ in edits], (amounts if len(edits) > 1 else amounts[0],))
    (tmp_path / "room.jpg").write_bytes(ROOM.read_bytes())
    batch.run(request, [tmp_path / "room.jpg"], model=engine, batch_size=1)
    (written,) = (path for path in tmp_path.iterdir() if path.name != "room.jpg")
    assert headers["Content-Disposition"] == f"attachment; filename*=UTF-8''{quote(written.name)}"
    assert data == written.read_bytes()
    preview = page.get("preview", photo=room, edits=edits, sharp="1")
    assert np.abs(pixels(preview) - pixels(data)).mean() < 2


def test_an_attribute_comes_from_the_reference(page: Page, room: str) -> None:
    other = page.send(GLASSES, "jane's.jpg")
    edits = [["glasses", 1.0]]
    by_name, by_reference = (
        pixels(page.get("preview", photo=room, edits=edits, **extra)) for extra in ({}, {"reference": other})
    )
    plain = pixels(page.get("preview", photo=room, edits=[]))
    assert np.abs(by_reference - plain).max() > 40
    assert np.abs(by_reference - by_name).max() > 20
    command = page.get("command", photo=room, edits=edits, reference=other).decode()
    assert command == """stedit edit --attr glasses --ref 'jane'"'"'s.jpg' room.jpg"""
    status, data, headers = page.ask(page.path + "download", photo=room, edits=edits, reference=other)
    assert (status, headers["Content-Disposition"][-4:]) == (200, ".jpg")
    assert pixels(data).shape == (960, 1280, 3)


@pytest.mark.parametrize(
    ("edits", "command"),
    [
        ([], "stedit edit room.jpg"),
        ([["smile", 1]], "stedit edit --attr smile room.jpg"),
        ([["smile", -0.5], ["beard", -0.5]], "stedit edit --attr smile --attr beard --strength -0.5 room.jpg"),
        ([["smile", 1], ["hat", 0.25]], "stedit edit --attr smile --strength 1 --attr hat --strength 0.25 room.jpg"),
    ],
)
def test_the_command_says_the_edits(page: Page, room: str, edits: list[list[Any]], command: str) -> None:
    assert page.get("command", photo=room, edits=edits).decode() == command


def test_who_lacks_the_token_or_comes_by_another_name_is_refused(page: Page, room: str) -> None:
    for path in ("/", "/state", "/wrong/state", f"{page.path[:-2]}/state", "//", f"/x{page.path}"):
        assert page.ask(path)[0] == 403
    for host in ("evil.example", f"evil.example:{page.port}", "127.0.0.1.evil.example", "", "[::1]"):
        assert page.ask(page.path, headers={"Host": host})[0] == 403
        assert page.ask(page.path + "preview", headers={"Host": host}, photo=room)[0] == 403
    assert page.ask(page.path, headers={"Host": f"localhost:{page.port}"})[0] == 200


def test_bad_files_and_requests_are_one_sentence(page: Page, room: str) -> None:
    sky = io.BytesIO()
    Image.new("RGB", (600, 400), (120, 160, 220)).save(sky, "PNG")
    huge = b"P6 60000 60000 255\n"
    for body, expected in (
        (b"", "empty"),
        (b"<svg onload=alert(1)>", "not a picture"),
        (ROOM.read_bytes()[:20000], "damaged"),
        (huge, "larger than 64 megapixels"),
        (sky.getvalue(), "face"),
    ):
        status, data, _ = page.ask(page.path + "photo", body, name="x.jpg")
        assert status == 400
        assert expected in json.loads(data)["error"]
        assert "\n" not in json.loads(data)["error"]
    for query, expected in (
        ({"photo": "nothing"}, "drop it again"),
        ({"photo": room, "edits": "x"}, "cannot be read"),
        ({"photo": room, "edits": [["smile", "a"]]}, "cannot be read"),
        ({"photo": room, "edits": [["smile", 1e9]]}, "between -3 and 3"),
        ({"photo": room, "edits": '[["smile", NaN]]'}, "between -3 and 3"),
        ({"photo": room, "edits": [["smyle", 1]]}, "smyle"),
    ):
        for name in ("preview", "download"):
            status, data, _ = page.ask(page.path + name, **query)
            assert status == 400, (query, data[:80])
            assert expected in json.loads(data)["error"]


def test_an_endless_body_is_refused(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stedit.ui.server.MAX_FILE_BYTES", 2**20)
    status, data, _ = page.ask(page.path + "photo", b"\0" * (2**20 + 1), name="x.jpg")
    assert (status, json.loads(data)["error"][:18]) == (400, "the file is larger")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("me.jpg", "me.jpg"),
        ("../../etc/passwd", "passwd.png"),
        ("C:\\photos\\me.JPG", "me.JPG"),
        ("a\x1b[31mb.png", "a[31mb.png"),
        ("..", "photo.png"),
        ("", "photo.png"),
        ("x" * 300 + ".webp", "x" * 100 + ".webp"),
    ],
)
def test_names_of_files_lead_nowhere_else(name: str, expected: str) -> None:
    assert safe_name(name) == expected


def test_slides_take_no_memory(session: Session, room: str) -> None:
    """What the first previews take, allocators keep."""
    process = psutil.Process()
    for i in range(10):
        session.preview(room, Edits((("smile", 0.1 * i), ("glasses", 0.5))))
    before = process.memory_info().rss
    for i in range(30):
        session.preview(room, Edits((("smile", 0.1 * i - 1.5), ("glasses", 0.5))))
    assert process.memory_info().rss - before < 2**24


def test_old_photographs_make_room(engine: Engine) -> None:
    session, data = Session(engine), GLASSES.read_bytes()
    keys = [session.add(data, f"{i}.jpg") for i in range(KEPT + 1)]
    assert session.add(data, "3.jpg") == keys[3]
    assert session.get(keys[-1]).name == f"{KEPT}.jpg"
    with pytest.raises(Exception, match="drop it again"):
        session.get(keys[0])
