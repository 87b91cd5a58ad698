"""The process that has what handlers import besides the application; pre-fork servers are forked from it.

An edited application is imported by a new pre-fork server, which finds the libraries there already.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from chalicelib.errors import TerminalError
from local.home import REPOSITORY
from local.worker import MESSAGE_BYTES


class Libraries:
    """A process for the application in `folder` that imports the modules `names`, once `load` is called."""

    def __init__(self, folder: Path, environment: dict[str, str], log: Path, names: Sequence[str] = ()):
        self._names = tuple(names)
        # resident bytes of a pre-fork server without libraries, and what the application added to one with all of them
        self.bare: int | None = None
        self.growth: int | None = None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "local.worker", str(theirs.fileno())],
                cwd=folder,
                env={**environment, "PYTHONPATH": os.pathsep.join([str(folder), str(REPOSITORY)])},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(theirs.fileno(),),
            )
        theirs.close()
        self._control = Control(ours)

    @property
    def alive(self) -> bool:
        return self._control.open and self._process.poll() is None

    def load(self) -> None:
        """Import everything; forking has to wait for an import that is going on (great-expectations: 2 to 5 s)."""
        for name in self._names:
            self._control.ask({"do": "load", "module": name})

    def fork(self, control: socket.socket, life: int) -> tuple[int, int]:
        """A pre-fork server that talks on `control` and whose workers live as long as the pipe `life`.

        Its pid, and how many libraries it lacks. Raises TerminalError where the process is gone.
        """
        answer = self._control.ask({"do": "fork"}, control.fileno(), life)
        return answer["pid"], len(self._names) - len(answer["loaded"])

    def close(self) -> None:
        """End the process; the pre-fork servers end by themselves when theirs are closed."""
        self._control.close()
        self._process.kill()  # it holds nothing, and may be in the middle of a long import
        self._process.wait()


class Control:
    """Our end of a socket on which requests and answers alternate, each one JSON object (see `local.worker`)."""

    def __init__(self, connection: socket.socket):
        self._connection, self._asking, self._ended = connection, threading.Lock(), False

    @property
    def open(self) -> bool:
        """Whether the other end lives: it alone holds its socket."""
        if self._ended:
            return False
        try:
            return self._connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def ask(self, request: dict, *descriptors: int) -> dict:
        """Raises TerminalError where nobody answers any more."""
        with self._asking:
            try:
                socket.send_fds(self._connection, [json.dumps(request).encode()], descriptors)
                answer = self._connection.recv(MESSAGE_BYTES)
            except OSError as error:
                self._ended = True
                raise TerminalError(f"the Lambda workers' pre-fork server is gone: {error}") from error
        if not answer:
            self._ended = True
            raise TerminalError(
                "the Lambda workers' pre-fork server has ended", next_step="see lambda.log; `sluice down`, `sluice up`"
            )
        return json.loads(answer)

    def close(self) -> None:
        self._ended = True
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)  # whoever waits for an answer gets none
        self._connection.close()
