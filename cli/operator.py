"""Who types: what the ledger keeps beside what a person did."""

from __future__ import annotations

import getpass
import socket


def name() -> str:
    """`ada@laptop`; a login without a name is told by its number."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
