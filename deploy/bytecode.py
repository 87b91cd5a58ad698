"""Bytecode for the Lambdas' interpreter, so that a cold start does not compile.

Lambda unpacks with dates of its own and may write nowhere beside the code, so bytecode that is
checked by date is compiled anew at every cold start. Ours is not checked at all (PEP 552, "unchecked
hash"): in a package the source cannot change. Where there is no room for both, bytecode takes the
place of the source: what is lost is the text of lines in tracebacks.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from chalicelib.errors import ConfigurationError

# a process of its own, one file after another in a fixed order: what a file's bytecode looks like depends to the byte
# on which strings the process has seen before
_SCRIPT = """
import compileall, py_compile, sys
folder, prefix, beside = sys.argv[1:]
compileall.compile_dir(
    folder, maxlevels=99, force=True, quiet=2, stripdir=folder, prependdir=prefix,
    invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH, legacy=beside == "beside",
)
"""


def compile_all(folder: Path, prefix: str, sources: bool = True) -> None:
    """Compile every module below `folder`, which will be `prefix` on Lambda; without `sources`, replace it.

    By this interpreter, since the Lambdas have the same version. What does not compile, such as a
    template for code, goes without.
    """
    command = [sys.executable, "-s", "-S", "-c", _SCRIPT, str(folder), prefix, "cached" if sources else "beside"]
    ran = subprocess.run(command, env={"PYTHONHASHSEED": "0"}, capture_output=True, text=True)
    if ran.returncode:
        raise ConfigurationError(f"bytecode could not be made: {ran.stderr.strip()[-500:]}")
    if not sources:
        for compiled in folder.rglob("*.pyc"):
            compiled.with_suffix(".py").unlink()
