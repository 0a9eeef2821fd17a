"""`python -m stedit` and the command `stedit`: the command line, which an interrupt ends without a traceback."""

from __future__ import annotations

import atexit
import gc
import os
import signal


def run() -> None:
    """Run the command line of this process."""
    # Importing torch makes hundreds of thousands of objects that stay: looking for garbage among them, meanwhile and in
    # the end, takes as long as an edit.
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _stop_at_once)
    from stedit.cli.main import main

    main()


def _stop_at_once(_signal: int, _frame: object) -> None:
    """Before there is a command: an exception from amidst an import could end anywhere."""
    os.write(2, b"error: interrupted before anything was done\n")
    os._exit(130)


if __name__ == "__main__":
    run()
