"""The Lambda workers' side: `python -m local.worker CONTROL` has the libraries, its grandchildren run handlers.

Three generations, each a fork of the one before: what has the libraries imported (`local.libraries`); the pre-fork
server, which imports the application; the workers. A fork costs milliseconds and shares its parent's modules, so that
an edited application costs the import of itself, 0.3 s, and not that of great-expectations, 3 s.

CONTROL, an inherited file descriptor, is a Unix socket on which requests and answers alternate, each one JSON object;
a pre-fork server is given one of its own. LIFE is a pipe that the stack's server holds open: its end is the workers'
end, whatever killed the server.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import os
import resource
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from chalicelib import collector
from local import calls
from local.functions import API_HANDLER
from local.invocation import Invocation, environment, failure, run

MESSAGE_BYTES = 65536
ROUTES = "sluice.routes"  # no function of an application: it tells which routes that has


def main(control_fd: int) -> None:
    """Import libraries and fork pre-fork servers, until CONTROL closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal of `sluice up` is not for us
    control = socket.socket(fileno=control_fd)
    loaded: list[str] = []
    for request, descriptors in _requests(control):
        _collect_ended()
        if request["do"] == "fork":
            pid = os.fork()
            if pid == 0:
                control.close()
                fork_workers(socket.socket(fileno=descriptors[0]), descriptors[1])
                os._exit(0)
            for descriptor in descriptors:
                os.close(descriptor)
            answer = {"pid": pid, "loaded": loaded}
        else:
            with contextlib.suppress(ImportFailed):  # the handler that needs the library says so
                _load(request["module"])
            loaded.append(request["module"])
            answer = {"loaded": loaded}
        control.sendall(json.dumps(answer).encode())


def _collect_ended() -> None:
    """Nobody asks how a pre-fork server ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def fork_workers(control: socket.socket, life_fd: int) -> None:
    """The pre-fork server: import the application, fork workers and say how they ended, until `control` closes."""
    if path := os.environ.get(calls.VARIABLE):
        calls.record_to(Path(path))
    app_error = None
    for request, descriptors in _requests(control):
        if request["do"] == "fork":
            pid = os.fork()
            if pid == 0:
                control.close()
                serve(Connection(descriptors[0]), life_fd, app_error)
                os._exit(0)
            os.close(descriptors[0])
            answer = {"pid": pid}
        elif request["do"] == "load":
            _forget("chalicelib")
            try:
                _load("app")
            except ImportFailed as error:
                app_error = str(error)
            answer = {}
        else:
            answer = {"status": os.waitpid(request["pid"], 0)[1]}
        control.sendall(json.dumps(answer).encode())


def _requests(control: socket.socket) -> Iterator[tuple[dict, list[int]]]:
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, MESSAGE_BYTES, 2)
        if not message:
            return
        yield json.loads(message), descriptors


class ImportFailed(Exception):
    """A module cannot be imported."""


def _load(module: str) -> None:
    """Import a module for whoever is forked from here later. Raises ImportFailed."""
    try:
        with collector.importing():
            importlib.import_module(module)
    except Exception as error:
        traceback.print_exc()
        raise ImportFailed(f"Unable to import module '{module}': {type(error).__name__}: {error}") from error


def _forget(package: str) -> None:
    """Have a package imported anew, from what is on disk now.

    Our own modules use some of the application's, so what has the libraries has those, too, as they once were.
    """
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        del sys.modules[name]


def serve(connection: Connection, life_fd: int, app_error: str | None) -> None:
    """A worker: answer invocations until the connection closes; `app_error` says why there is no application."""
    threading.Thread(target=_die_with_server, args=(life_fd,), daemon=True).start()
    sys.stdout.reconfigure(line_buffering=True)  # a line in the log is one write
    while True:
        try:
            header = json.loads(connection.recv_bytes())
            invocation = Invocation(**header, payload=connection.recv_bytes())
        except EOFError:
            return
        _reset_peak()
        outcome, body = _answer(invocation, app_error)
        sys.stdout.flush()
        connection.send_bytes(json.dumps({"outcome": outcome, "peak": _peak()}).encode())
        connection.send_bytes(body)


def _answer(invocation: Invocation, app_error: str | None) -> tuple[str, bytes]:
    """("ok" | "error" | "unknown", body); SystemExit ends the process with its code."""
    if app_error:
        return "error", failure(app_error, "Runtime.ImportModuleError", invocation.request_id)
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
    main(int(sys.argv[1]))
