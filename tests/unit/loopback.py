"""A WSGI application on a port of its own, for as long as a test needs it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from werkzeug.serving import WSGIRequestHandler, make_server


class _Quiet(WSGIRequestHandler):
    def log(self, type, message, *args):
        pass


@contextlib.contextmanager
def serving(app, ssl_context=None) -> Iterator[str]:
    """The base URL of `app`, without a slash at its end. Requests are handled side by side."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet, ssl_context=ssl_context)
    server.block_on_close = False  # a request that hangs on purpose must not hold the test up
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"{'https' if ssl_context else 'http'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
