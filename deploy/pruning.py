"""What of an installed distribution no Lambda uses, and what must stay although it looks like it.

Left out are tests, type stubs, sources of compiled modules, scripts, bytecode that came with a wheel,
what libraries hold for linkers and debuggers, and a few large parts by name. Kept are licences, and
what `importlib.metadata` reads.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from deploy import elf

# part of the runtime, all of one release: one of them from a layer would meet the others' older or newer versions
RUNTIME = frozenset({"boto3", "botocore", "s3transfer", "jmespath"})

# required by great-expectations for Snowflake's private keys alone: 15 MB
SNOWFLAKE = frozenset({"cryptography", "cffi", "pycparser"})

# folders by name, and what they are: nothing that Great Expectations or the pipeline imports imports them
_UNUSED = frozenset(
    {
        "aws_lambda_powertools/event_handler/openapi/swagger_ui",  # pages of HTTP APIs
        "great_expectations/.agents",
        "great_expectations/agent_skills",
        "great_expectations/render/view/static",  # pictures of Data Docs, 3 MB
        "numpy/distutils",  # builds extensions
        "scipy/cluster",
        "scipy/datasets",
        "scipy/differentiate",
        "scipy/fftpack",
        "scipy/io",
        "scipy/misc",
        "scipy/odr",
        "scipy/signal",
        "sqlalchemy/testing",
    }
)
_TESTS = frozenset({"tests", "test"})
# numpy.testing imports from it, and scipy numpy.testing
_IMPORTED_TESTS = frozenset({"numpy/_core/tests"})
_UNUSED_FOLDERS = frozenset({"__pycache__", "docs", "examples", "include"})
_UNUSED_FILES = re.compile(
    r"_simd\..*\.so|"  # numpy's own tests of its vector instructions, 3 MB
    r".*\.(pyi|pyx|pxd|pxi|pyx\.in|pxi\.in|py[co]|a|c|cc|cpp|h|hpp|f|f90|build)|conftest\.py|py\.typed"
)
_METADATA = frozenset({"METADATA", "entry_points.txt"})
_LICENCES = re.compile(r"licen[cs]e|copying|notice|authors", re.IGNORECASE)


def prune(folder: Path) -> None:
    """Take out of a `site-packages` what is not used at run time."""
    # deepest first, so that nothing is looked at below what is gone
    for path in sorted(folder.rglob("*"), key=lambda path: len(path.parts), reverse=True):
        name = path.relative_to(folder).as_posix()
        if path.is_dir():
            if _unused_folder(name):
                shutil.rmtree(path)
            elif not any(path.iterdir()):
                path.rmdir()
        elif _unused_file(name):
            path.unlink()
        elif elf.is_library(path):
            elf.trim(path)


def _unused_folder(name: str) -> bool:
    parts = name.split("/")
    if len(parts) == 1:
        # scripts and headers of a wheel; a stub package; else a distribution's own name
        return parts[0].endswith((".data", "-stubs")) or parts[0] in ("__pycache__", "bin")
    return name in _UNUSED or parts[-1] in _UNUSED_FOLDERS or (parts[-1] in _TESTS and name not in _IMPORTED_TESTS)


def _unused_file(name: str) -> bool:
    folder, _, file = name.rpartition("/")
    if folder.split("/")[0].endswith(".dist-info"):
        return file not in _METADATA and not _LICENCES.search(name.split("/", 1)[1])
    if folder in _IMPORTED_TESTS and file.startswith("test_"):
        return True
    return bool(_UNUSED_FILES.fullmatch(file))
