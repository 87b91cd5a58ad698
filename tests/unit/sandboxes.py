"""Sandboxes of functions whose package is one module, for several test files."""

import contextlib
import json

from local.sandbox import Sandbox


def answer(sandbox, event=None, timeout=30):
    """(succeeded, what it answered)"""
    succeeded, payload = sandbox.invoke(json.dumps(event or {}).encode(), timeout)
    return succeeded, json.loads(payload)


@contextlib.contextmanager
def opening(folder):
    """make(code, …) opens a sandbox of the function `module.handler`, its package in `folder`; all are closed."""
    with contextlib.ExitStack() as opened:

        def make(code, layers=(), handler="module.handler", environment=None, memory_mb=256, *, name="task", **more):
            task = folder / name
            task.mkdir(exist_ok=True)
            (task / "module.py").write_text(code)
            made = Sandbox(task, layers, handler, environment or {}, memory_mb, **more)
            opened.callback(made.close)
            return made

        yield make
