"""Serving WSGI applications on loopback ports that stay the same from one start to the next where they can."""

from __future__ import annotations

import socket
import threading
from urllib.parse import urlsplit

from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import make_server

HOST = "127.0.0.1"


def listen(previous: str | None = None) -> socket.socket:
    """A listening socket, on the port of the URL `previous` if nobody took it meanwhile."""
    ports = [urlsplit(previous).port] if previous else []
    for port in [*ports, 0]:
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, port))
        except OSError:
            listening.close()
            continue
        listening.listen(128)
        return listening
    raise OSError(f"no free port on {HOST}")


def url(listening: socket.socket) -> str:
    return f"http://{HOST}:{listening.getsockname()[1]}"


def serve(listening: socket.socket, app):
    """Serve in a thread of its own until the returned server's `shutdown`."""
    server = make_server(
        HOST,
        listening.getsockname()[1],
        app,
        threaded=True,
        request_handler=_Quiet,
        fd=listening.fileno(),
    )
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server


class _Quiet(MotoRequestHandler):
    def log_request(self, *args) -> None:
        pass
