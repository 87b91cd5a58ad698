"""The dashboard's image, which nothing here builds: what it copies is enough, and its entry point is a process."""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from loopback import serving
from werkzeug import Request, Response

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "infra" / "dashboard" / "Dockerfile"
KNOWN = {"FROM", "ENV", "WORKDIR", "COPY", "RUN", "USER", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT"}


def instructions():
    """(instruction, arguments), continued lines joined, without comments."""
    text = "\n".join(line for line in DOCKERFILE.read_text().split("\n") if not line.startswith("#"))
    return [tuple(line.split(None, 1)) for line in text.replace("\\\n", " ").split("\n") if line.strip()]


def of(kind):
    return [arguments for instruction, arguments in instructions() if instruction == kind]


ENTRY = json.loads(of("ENTRYPOINT")[0])
HEALTH = json.loads(of("HEALTHCHECK")[0].partition("CMD ")[2])


def test_the_image_has_a_pinned_base_is_not_root_and_says_its_port():
    assert {instruction for instruction, _ in instructions()} <= KNOWN
    [base], [port] = of("FROM"), of("EXPOSE")
    assert re.fullmatch(r"\S+/python:3\.11\.\d+-slim-\w+", base)
    assert int(of("USER")[0]) > 0
    assert f"--server.port={port}" in ENTRY and "--server.address=0.0.0.0" in ENTRY
    assert f"http://127.0.0.1:{port}/_stcore/health" in HEALTH[-1]


def test_no_token_is_in_the_image():
    assert not re.search(r"SLUICE_API_(TOKEN|KEY)\s*=", "\n".join(of("ENV")) + "\n".join(of("RUN")))


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A folder with what the image has in its own, and nothing else of the project."""
    folder = tmp_path_factory.mktemp("app")
    for arguments in of("COPY"):
        *sources, target = shlex.split(arguments)
        for name in sources:
            source, to = ROOT / name, folder / target
            if source.is_dir():
                shutil.copytree(source, to, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, to)
    return folder


@pytest.fixture
def environment(image, tmp_path):
    """environment(address): what the container is given."""
    variables = dict(part.split("=", 1) for arguments in of("ENV") for part in shlex.split(arguments))
    assert variables["PYTHONPATH"] == of("WORKDIR")[0]

    def given(address):
        own = {"PYTHONPATH": str(image), "HOME": str(tmp_path), "PATH": os.environ["PATH"]}
        return {**variables, **own, "SLUICE_API_URL": address, "SLUICE_API_TOKEN": "sluice_token"}

    return given


@pytest.fixture
def api():
    @Request.application
    def answer(request):
        known = {"/runs": {"runs": [], "next": None}, "/sources": {"sources": []}}
        return Response(json.dumps(known[request.path]), content_type="application/json")

    with serving(answer) as address:
        yield address


# every module, and the script as Streamlit runs it, where nothing can be imported but what the image has
SCRIPT = """
import importlib, importlib.metadata, json, pkgutil, re, sys

installed, owners = set(json.loads(sys.argv[1])), importlib.metadata.packages_distributions()


class Image:
    def find_spec(self, name, path=None, target=None):
        distributions = {re.sub("[-_.]+", "-", each).lower() for each in owners.get(name.split(".")[0], [])}
        ours = distributions == {"sluice"} and name.split(".")[0] not in ("chalicelib", "dashboard")
        if ours or (distributions - {"sluice"} and not distributions & installed):
            raise ModuleNotFoundError(f"the image has no {name}", name=name)


sys.meta_path.insert(0, Image())
from streamlit.testing.v1 import AppTest
import dashboard

for module in pkgutil.iter_modules(dashboard.__path__):
    if module.name != "app":
        importlib.import_module(f"dashboard.{module.name}")
script = AppTest.from_file("dashboard/app.py", default_timeout=60).run()
told = [each.value for each in (*script.exception, *script.error)]
print(json.dumps({"told": told, "from": dashboard.__path__[0], "title": [each.value for each in script.title]}))
"""


def required(name: str, found: set[str]) -> set[str]:
    """The distributions that installing one brings."""
    import importlib.metadata

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    if canonicalize_name(name) not in found:
        found.add(canonicalize_name(name))
        for text in importlib.metadata.requires(name) or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                required(requirement.name, found)
    return found


@pytest.fixture(scope="module")
def installed(image):
    [listed] = [
        line for line in (image / "requirements-dashboard.txt").read_text().splitlines() if re.match(r"[a-z]", line)
    ]
    return required(listed.partition("==")[0], set()) | {"pip", "setuptools"}


def shown(image, installed, environment, api):
    command = [sys.executable, "-c", SCRIPT, json.dumps(sorted(installed))]
    return subprocess.run(command, cwd=image, env=environment(api), capture_output=True, text=True, timeout=120)


def test_its_pages_find_all_that_they_need_in_it(image, installed, environment, api):
    ran = shown(image, installed, environment, api)
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout.splitlines()[-1])
    assert told["told"] == []
    assert told["from"] == str(image / "dashboard")


def test_what_is_not_in_it_is_missed(image, installed, environment, api):
    """Proof that the test above can fail."""
    ran = shown(image, installed - {"urllib3"}, environment, api)
    assert "the image has no urllib3" in ran.stderr


def test_its_entry_point_serves_and_its_check_tells_when_it_does_not(image, environment, api):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def on_port(command):
        assert command[0] == "python"
        return [sys.executable, *(part.replace("8501", str(port)) for part in command[1:])]

    given = {"cwd": image, "env": environment(api), "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

    def healthy():
        return subprocess.run(on_port(HEALTH), **given).returncode == 0

    assert not healthy()
    process = subprocess.Popen(on_port(ENTRY), **given)
    try:
        until = time.monotonic() + 60
        while not healthy():
            assert process.poll() is None and time.monotonic() < until
        process.terminate()
        assert process.wait(30) is not None
        assert not healthy()
    finally:
        process.kill()
        process.wait()
