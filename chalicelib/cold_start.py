"""What a Lambda does before its first event, while it is initialized.

A process serves one function, so its stage can be imported then: initializing has the processor to
itself whatever the function's memory, where the first event has a third of a core at 512 MB. Great
Expectations is not among it on demand: initializing may take 10 seconds at most, and its import has
taken 6 on a laptop. With SnapStart, where the state after initializing is what every process starts
from and the limit is the function's own, it is imported and its context made
(https://docs.aws.amazon.com/lambda/latest/dg/snapstart.html).
"""

from __future__ import annotations

import importlib
import importlib.util

from chalicelib import collector
from chalicelib.settings import Runtime

SNAP_START = "snap-start"

# of these every event needs them; other stages import what only some paths need when they take one
_ALWAYS = {"validate": ("pandas",)}
# handlers that are no stage and no event's; what routes need beside it they import themselves
_OF_THE_API = {"app.app": "chalicelib.api.webhooks", "app.authorize": "chalicelib.api.access"}
_GATE = ("validate", "quality_gate")


def prepare(runtime: Runtime) -> None:
    """Import what the function of this process will need; nothing where it is no Lambda's."""
    function = runtime.handler.rpartition(".")[2]
    module_of = (f"chalicelib.{package}.{function}" for package in ("stages", "events"))
    own = _OF_THE_API.get(runtime.handler)
    own = own or next((module for module in module_of if function and importlib.util.find_spec(module)), None)
    if own is None:
        return
    with collector.importing():
        for module in (own, *_ALWAYS.get(function, ())):
            importlib.import_module(module)
        if runtime.initialization == SNAP_START and function in _GATE:
            from chalicelib.quality import engine

            engine.context()
