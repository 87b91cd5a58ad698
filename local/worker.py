"""The Lambda workers' side: `python -m local.worker CONTROL LIFE` is the pre-fork server, its children run handlers.

The pre-fork server imports the application and what it needs once; a worker is then a fork: it
costs milliseconds, and shares those modules' memory with its siblings. CONTROL and LIFE are
inherited file descriptors. CONTROL is a Unix socket on which requests and answers alternate, each
one JSON object (see `local.prefork`). LIFE is a pipe that the stack's server holds open: its end
is everybody's end, whatever killed the server.
"""

from __future__ import annotations

import dataclasses
import gc
import importlib
import json
import os
import resource
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

from local import calls
from local.functions import API_HANDLER
from local.invocation import Invocation, environment, failure, run

MESSAGE_BYTES = 65536
ROUTES = "sluice.routes"  # no function of an application: it tells which routes that has


def main(control_fd: int, life_fd: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal of `sluice up` is not for us
    control = socket.socket(fileno=control_fd)
    if path := os.environ.get(calls.VARIABLE):
        calls.record_to(Path(path))
    state = Preloaded()
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, MESSAGE_BYTES, 1)
        if not message:
            return
        request = json.loads(message)
        if request["do"] == "fork":
            pid = os.fork()
            if pid == 0:
                control.close()
                serve(Connection(descriptors[0]), life_fd, state)
                os._exit(0)
            os.close(descriptors[0])
            answer = {"pid": pid}
        elif request["do"] == "load":
            answer = {"loaded": state.load(request["module"])}
        else:
            answer = {"status": os.waitpid(request["pid"], 0)[1]}
        control.sendall(json.dumps(answer).encode())


class Preloaded:
    """What has been imported, and why the application could not be."""

    def __init__(self):
        self.app_error: str | None = None

    def load(self, module: str) -> bool:
        """Import a module; a failure is kept (for `app`) or left to the handler that needs the module."""
        try:
            importlib.import_module(module)
        except Exception as error:
            traceback.print_exc()
            if module == "app":
                self.app_error = f"Unable to import module 'app': {type(error).__name__}: {error}"
            return False
        # what exists now stays: collecting it in a worker would only copy the shared pages
        gc.collect()
        gc.freeze()
        return True


def serve(connection: Connection, life_fd: int, state: Preloaded) -> None:
    """A worker: answer invocations until the connection closes."""
    threading.Thread(target=_die_with_server, args=(life_fd,), daemon=True).start()
    sys.stdout.reconfigure(line_buffering=True)  # a line in the log is one write
    while True:
        try:
            header = json.loads(connection.recv_bytes())
            invocation = Invocation(**header, payload=connection.recv_bytes())
        except EOFError:
            return
        _reset_peak()
        outcome, body = _answer(invocation, state)
        sys.stdout.flush()
        connection.send_bytes(json.dumps({"outcome": outcome, "peak": _peak()}).encode())
        connection.send_bytes(body)


def _answer(invocation: Invocation, state: Preloaded) -> tuple[str, bytes]:
    """("ok" | "error" | "unknown", body); SystemExit ends the process with its code."""
    if state.app_error:
        return "error", failure(state.app_error, "Runtime.ImportModuleError", invocation.request_id)
    handler = _handler(sys.modules["app"].app, invocation.function)
    if handler is None:
        return "unknown", b""
    os.environ.update(environment(invocation))
    try:
        succeeded, body = run(handler, invocation)
    except SystemExit as end:
        sys.stdout.flush()
        os._exit(end.code if isinstance(end.code, int) else int(end.code is not None))
    return ("ok" if succeeded else "error"), body


def _handler(app, function: str) -> Callable | None:
    """As Lambda finds it: the application itself answers HTTP requests, its views are no functions."""
    if function == API_HANDLER:
        return app
    if function == ROUTES:
        return lambda event, context: describe(app)
    views = {view.view_name for methods in app.routes.values() for view in methods.values()}
    return None if function in views else app.handler_map.get(function)


def describe(app) -> dict:
    """The routes of a Chalice application: their paths, methods and authorizers."""
    routes = [
        {"path": path, "method": method, "authorizer": view.authorizer.name if view.authorizer else None}
        for path, methods in app.routes.items()
        for method, view in methods.items()
    ]
    return {"routes": routes, "binary_types": list(app.api.binary_types)}


def _die_with_server(life_fd: int) -> None:
    os.read(life_fd, 1)  # nobody writes: it returns when the server is gone
    os._exit(1)


def _reset_peak() -> None:
    """Start counting the process's peak memory anew, where the system can (Linux 4.0: proc(5), clear_refs)."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass


def _peak() -> int:
    """Peak resident memory in bytes, since `_reset_peak` on Linux, since the start elsewhere."""
    try:
        with open("/proc/self/status") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def header(invocation: Invocation) -> bytes:
    """An invocation without its payload, as JSON text."""
    fields = {f.name: getattr(invocation, f.name) for f in dataclasses.fields(invocation) if f.name != "payload"}
    return json.dumps(fields).encode()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
