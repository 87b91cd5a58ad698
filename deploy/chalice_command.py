"""Chalice's command line, run in a clean copy of the project.

As a command and not as a library: it is what Chalice documents, and it imports the application it packs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from chalicelib.errors import DeploymentError

# its `main` returns the exit status instead of exiting with it
_SCRIPT = "import sys; from chalice.cli import main; sys.exit(main())"


_SWAGGER = """
import json
from app import app
from chalice.deploy.swagger import CFNSwaggerGenerator
print(json.dumps(CFNSwaggerGenerator().generate_swagger(app)))
"""


def swagger(folder: Path, api_keys: bool = False) -> dict:
    """What Chalice makes of the routes of the application in `folder`, with CloudFormation's functions for ARNs.

    With `api_keys` they ask for one.
    """
    asks = {"SLUICE_API_KEYS": "on" if api_keys else "off"}
    ran = subprocess.run(
        [sys.executable, "-c", _SWAGGER],
        cwd=folder,
        env={**os.environ, **asks, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )
    if ran.returncode:
        raise DeploymentError(f"the routes cannot be read: {_reason(ran.stderr.splitlines())}")
    return json.loads(ran.stdout.splitlines()[-1])


def run(folder: Path, *arguments: str, say: Callable[[str], None] = lambda line: None) -> None:
    """`chalice ARGUMENTS` in `folder`; `say` gets its lines. Raises DeploymentError with what it said last."""
    process = subprocess.Popen(
        [sys.executable, "-c", _SCRIPT, *arguments],
        cwd=folder,
        # the bytecode that importing the application leaves behind would be part of another package
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip())
        if not any(said.startswith("Traceback") for said in lines):
            say(line.rstrip())
    if process.wait():
        raise DeploymentError(
            f"chalice {' '.join(arguments)} failed: {_reason(lines)}",
            next_step="mend that; the same command again goes on from there",
        )


def _reason(lines: list[str]) -> str:
    """What Chalice says last, without the traceback before it."""
    said = [line for line in lines if line]
    begins = [number for number, line in enumerate(said) if "ERROR - " in line]
    return "\n".join(said[begins[-1] :]).partition("ERROR - ")[2] if begins else "\n".join(said[-1:])
