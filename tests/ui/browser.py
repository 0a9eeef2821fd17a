"""Chromium without a window, over the pipe of its DevTools protocol: enough of it to use a page as a person does."""

from __future__ import annotations

import base64
import json
import os
import shlex
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def find() -> str | None:
    """Where a browser is: STEDIT_TEST_BROWSER, or one of NAMES."""
    return os.environ.get("STEDIT_TEST_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """A browser with one page open."""

    def __init__(self, program: str, folder: Path, *, width: int = 1280, height: int = 800) -> None:
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        command = [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
        command += [f"--user-data-dir={folder}", f"--window-size={width},{height}", "--no-first-run", "about:blank"]
        line = f"exec {shlex.join(command)} 3<&{to_browser} 4>&{from_browser} 2>/dev/null"
        self._process = subprocess.Popen(["bash", "-c", line], pass_fds=(to_browser, from_browser))
        os.close(to_browser)
        os.close(from_browser)
        self._count, self._rest, self.errors = 0, b"", list[str]()
        self._session = ""
        target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        attach = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attach["sessionId"]
        self.call("Runtime.enable")
        self.call("Page.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """One command, and its answer."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._count:
            if answer.get("method") == "Runtime.exceptionThrown":
                self.errors.append(str(answer["params"]["exceptionDetails"]))
        assert "error" not in answer, answer
        return answer["result"]

    def evaluate(self, script: str) -> Any:
        """What an expression of JavaScript gives, promises awaited."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, script: str, seconds: float = 120) -> None:
        """Until the expression is true; a page that is still loading has no body."""
        end = time.monotonic() + seconds
        while not self.evaluate(f"!!document.body && ({script})"):
            assert time.monotonic() < end, f"{script} does not come true"
            time.sleep(0.05)

    def go(self, address: str) -> None:
        """Open a page."""
        self.call("Page.navigate", url=address)

    def drop(self, file: Path, x: float, y: float) -> None:
        """Drag a file onto the page."""
        data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press the mouse, move it, let it go."""
        for kind, (x, y), buttons in (("mousePressed", start, 1), ("mouseMoved", end, 1), ("mouseReleased", end, 0)):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=buttons, clickCount=1)

    def middle(self, selector: str) -> tuple[float, float]:
        """Of an element, in pixels of the page."""
        corner = f"document.querySelector({selector!r}).getBoundingClientRect()"
        box = self.evaluate(f"(b => [b.x + b.width / 2, b.y + b.height / 2])({corner})")
        return box[0], box[1]

    def click(self, selector: str) -> None:
        """Press an element."""
        place = self.middle(selector)
        self.drag(place, place)

    def screenshot(self, path: Path) -> None:
        """Keep what is seen."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        os.close(self._write)
        os.close(self._read)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = os.read(self._read, 2**16)
            assert part, "the browser has ended"
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)
