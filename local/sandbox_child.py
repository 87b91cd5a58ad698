"""A sandbox's own process: a script, for `python -I -S`, which sees nothing but what `local.sandbox` tells it.

Its two arguments are inherited file descriptors: a connection on which the start, and then
invocations and answers, travel; and a pipe whose end is this process's end. Whatever it needs of
this project it loads by path, under names that no handler would use.

With one argument, a socket, it is a nursery (`local.nursery`): it imports what it is told to, and forks such processes.
"""

import contextlib
import importlib
import importlib.util
import json
import os
import resource
import socket
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection

MESSAGE_BYTES = 65536
_STANDARD = list(sys.path)
_OWN = frozenset(sys.modules)  # which every sandbox has imported before it sees its package


def nurse(control_fd: int) -> None:
    """Do what requests say, until the socket closes: `load` modules, `fork` a sandbox, tell the `status` of one."""
    control = socket.socket(fileno=control_fd)
    sys.dont_write_bytecode = True
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, MESSAGE_BYTES, 3)
        if not message:
            return
        request = json.loads(message)
        if request["do"] == "load":
            answer = {"loaded": _imported(request["path"], request["modules"], request["collector"])}
        elif request["do"] == "status":
            pid, status = os.waitpid(request["pid"], os.WNOHANG)
            answer = {"status": os.waitstatus_to_exitcode(status) if pid else None}
        else:
            pid = os.fork()
            if pid == 0:
                control.close()
                _leave_home(request["folder"], request["variables"], *descriptors)
            for descriptor in descriptors:
                os.close(descriptor)
            answer = {"pid": pid}
        control.sendall(json.dumps(answer).encode())


def _imported(path: list, modules: list, collector: str) -> list:
    """The names of all packages that are imported now, the standard library's too, and were not from the beginning."""
    sys.path[:] = [*path, *_STANDARD]
    with _load("_sluice_collector", collector).importing():
        for name in modules:
            with contextlib.suppress(Exception):  # who needs it meets the error, and tells it
                importlib.import_module(name)
    return sorted({name.partition(".")[0] for name in sys.modules if name not in _OWN})


def _leave_home(folder: str, variables: dict, connection_fd: int, life_fd: int, output_fd: int) -> None:
    """Be a sandbox's process from now on, as one that was started."""
    try:
        os.dup2(output_fd, 1)
        os.dup2(output_fd, 2)
        os.close(output_fd)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(variables)
        time.tzset()  # which a process reads once, when it starts
        main(connection_fd, life_fd)
        _exit(0)
    except SystemExit as end:
        _exit(_status(end))
    except BaseException:
        traceback.print_exc()
        _exit(1)


def _exit(status: int) -> None:
    """At once: an exception that is handled still holds the connection, whose end would be answered by a kill."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def main(connection_fd: int, life_fd: int) -> None:
    threading.Thread(target=_die_with_parent, args=(life_fd,), daemon=True).start()
    connection = Connection(connection_fd)
    start = json.loads(connection.recv_bytes())
    invocation = _load("_sluice_invocation", start["invocation"])
    sys.dont_write_bytecode = True  # /var/task and /opt are read-only
    sys.path[:] = [*start["path"], *_STANDARD]
    if start["policies"] is not None:
        _load("_sluice_policy", start["policy"]).enforce(
            _load("_sluice_iam", start["iam"]), start["policies"], start["place"]
        )
    handler, refusal = _handler(start["handler"], invocation)
    connection.send_bytes(json.dumps({"ready": handler is not None}).encode())
    if handler is None:
        connection.send_bytes(refusal)
        return
    while True:
        try:
            asked = invocation.Invocation(**json.loads(connection.recv_bytes()), payload=connection.recv_bytes())
        except EOFError:
            return
        os.environ.update(invocation.environment(asked))
        try:
            succeeded, body = invocation.run(handler, asked)
        except SystemExit as end:
            sys.stdout.flush()
            os._exit(_status(end))
        sys.stdout.flush()
        connection.send_bytes(json.dumps({"succeeded": succeeded, "peak": _peak()}).encode())
        connection.send_bytes(body)


def _handler(name: str, invocation):
    """(handler, b"") or (None, the error's body); names and messages are AWS' own."""
    module_name, found, attribute = name.rpartition(".")
    if not found:
        message = f"Bad handler '{name}': not enough values to unpack (expected 2, got 1)"
        return None, invocation.failure(message, "Runtime.MalformedHandlerName", "")
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        message = f"Unable to import module '{module_name}': {error}"
        return None, invocation.failure(message, "Runtime.ImportModuleError", "")
    except SyntaxError as error:
        message = f"Syntax error in module '{module_name}': {error}"
        return None, invocation.failure(message, "Runtime.UserCodeSyntaxError", "")
    except Exception as error:
        return None, invocation.failure(str(error), type(error).__name__, "")
    if not hasattr(module, attribute):
        message = f"Handler '{attribute}' missing on module '{module_name}'"
        return None, invocation.failure(message, "Runtime.HandlerNotFound", "")
    return getattr(module, attribute), b""


def _status(end: SystemExit) -> int:
    return end.code if isinstance(end.code, int) else int(end.code is not None)


def _load(name: str, path: str):
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _die_with_parent(life_fd: int) -> None:
    os.read(life_fd, 1)  # nobody writes: it returns when the parent is gone
    os._exit(1)


def _peak() -> int:
    """Peak resident memory in bytes. What getrusage says counts the parent, of which this process is a fork."""
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM:"))
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # a line in the log is one write
    (main if len(sys.argv) > 2 else nurse)(*map(int, sys.argv[1:]))
