"""What the documents say is so: their commands run and print what they show, their links and lists are complete.

Fenced blocks are commands: ```bash is run as it stands; in ```console a line that begins with `$ ` is a command, and
the lines below are lines of its output, with `…` for what is left out. Run names, times, ports and paths may differ.
A command must succeed, unless the next one is `echo $?`, whose output is then the exit status. The commands of one
document share a shell; all documents share a copy of the repository, so that `sluice new source` writes there.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from chalicelib import asl, errors, settings
from chalicelib.errors import SluiceError, TransientError
from cli import main as cli
from cli import outcome
from local import postgres
from statemachine import render

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / name for name in ("README.md", "CHANGELOG.md", "benchmarks/RESULTS.md")]
DOCUMENTS += sorted((ROOT / "docs").rglob("*.md"))

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_DONE = "@@@ exit status"
# what differs from run to run, and what stands for it
_VOLATILE = (
    (re.compile(r"\b[a-z_]+-\d{8}T\d{6}-[0-9a-f]{4}\b"), "RUN"),
    (re.compile(r"\b\d+(\.\d+)? s\b"), "SECONDS"),
    (re.compile(r"127\.0\.0\.1:\d+"), "ADDRESS"),
    (re.compile(r"\?host=\S+"), "?host=SOCKET"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d"), "MINUTE"),
    (re.compile(r"date=\d{4}-\d\d-\d\d"), "date=DAY"),
    (re.compile(r"\s+"), " "),
)
_LEFT_OUT = "…"


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


# --- commands ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Command:
    """`shown` are lines of its output; `status` is None for any but 0."""

    text: str
    shown: tuple[str, ...] = ()
    status: int | None = 0


def commands_of(document: Path) -> list[Command]:
    found: list[Command] = []
    for language, block in _FENCE.findall(document.read_text(encoding="utf-8")):
        if language == "bash":
            found.append(Command(f"set -e\n{block}set +e"))
        elif language == "console":
            found += _of_console(block)
    for number, command in enumerate(found[1:]):
        if command.text == "echo $?" and command.shown != ("0",):
            found[number] = dataclasses.replace(found[number], status=None)
    # these install, or run for minutes; that their targets exist is tested below
    return [command for command in found if not command.text.startswith("make ")]


def _of_console(block: str) -> Iterator[Command]:
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        text, *shown = part.rstrip("\n").split("\n")
        yield Command(text, tuple(line for line in shown if line != _LEFT_OUT))


def _starts_a_stack(document: Path) -> bool:
    return any(re.search(r"^sluice up$", command.text, re.MULTILINE) for command in commands_of(document))


# those that start and stop a stack of their own come last: the others share one
TO_RUN = sorted((d for d in DOCUMENTS if commands_of(d)), key=lambda document: (_starts_a_stack(document), document))


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """shell(script) runs it in a copy of the repository, with a home folder of its own; gives what it printed."""
    checkout = tmp_path_factory.mktemp("documents") / "sluice"
    shutil.copytree(
        ROOT, checkout, symlinks=True, ignore=shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build")
    )
    # what another worker of the tests builds meanwhile comes and goes there
    shutil.copytree(ROOT / ".chalice", checkout / ".chalice", ignore=shutil.ignore_patterns("deployments"))
    cache = ROOT / "build" / "cache"  # building the layers takes a minute
    cache.mkdir(parents=True, exist_ok=True)
    (checkout / "build").mkdir()
    (checkout / "build" / "cache").symlink_to(cache)
    (checkout / ".venv").symlink_to(sys.prefix)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLUICE_", "AWS_"))}
    environment = {
        **kept,
        "PATH": os.pathsep.join([str(Path(sys.prefix, "bin")), os.environ["PATH"], str(postgres.BINARIES)]),
        "PYTHONPATH": str(checkout),
        "SLUICE_HOME": str(checkout.parent / "home"),
        "NO_PROXY": "127.0.0.1,localhost",
    }

    def run(script: str) -> str:
        return subprocess.run(
            ["bash", "-c", script],
            cwd=checkout,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
        ).stdout

    try:
        yield run
    finally:
        run("sluice down")


@pytest.mark.parametrize("document", TO_RUN, ids=lambda document: document.stem)
def test_the_commands_of_a_document_do_what_it_says(document, shell):
    # what is due meanwhile would be one of the runs that a document lists
    shell("sluice down" if _starts_a_stack(document) else "sluice up --no-schedules")
    commands = commands_of(document)
    outputs = shell(_script(commands)).split(_DONE)
    for command, output, after in zip(commands, outputs, outputs[1:], strict=False):
        # what follows the mark is the status, then the next command's output
        status, said = int(after.split("\n", 1)[0]), output if command is commands[0] else output.split("\n", 1)[1]
        assert (status == 0) == (command.status == 0), f"$ {command.text}\n{said}\nexit status {status}"
        for line in command.shown:
            assert _is_in(line, said), f"$ {command.text}\n{said}\n{document.name} shows: {line}"
    assert len(outputs) == len(commands) + 1, f"$ {commands[len(outputs) - 1].text}\n{outputs[-1]}"


def _script(commands: list[Command]) -> str:
    lines = ["last=0"]
    for command in commands:
        lines += ["(exit $last)", command.text, "last=$?", f'echo "{_DONE} $last"']
    return "\n".join(lines)


def _is_in(shown: str, output: str) -> bool:
    wanted = _stable(shown)
    printed = map(_stable, output.split("\n"))
    if wanted.endswith(_LEFT_OUT):
        return any(line.startswith(wanted.removesuffix(_LEFT_OUT).rstrip()) for line in printed)
    return wanted in printed


def _stable(line: str) -> str:
    for pattern, stands_for in _VOLATILE:
        line = pattern.sub(stands_for, line)
    return line.strip()


def test_every_make_target_that_is_named_exists_and_every_one_is_documented():
    targets = set(re.search(r"^\.PHONY: (.*)$", read("Makefile"), re.MULTILINE)[1].split())
    named = {name for d in DOCUMENTS for name in re.findall(r"(?:`|^\$ )make (\w+)", d.read_text(), re.MULTILINE)}
    assert named <= targets
    assert targets - set(re.findall(r"`make (\w+)`", read("docs/commands.md"))) == set()


# --- links -------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.stem)
def test_every_link_leads_somewhere(document):
    text = _FENCE.sub("", document.read_text(encoding="utf-8"))
    for link in re.findall(r'\]\(([^)\s]+)\)|src="([^"]+)"', text):
        path, _, anchor = "".join(link).partition("#")
        if "://" in path:
            continue
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), f"{document.name} links to {path}"
        if anchor:
            assert anchor in _anchors(target), f"{document.name} links to {path}#{anchor}"


def _anchors(document: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}


def test_every_document_can_be_found_from_the_front_page():
    found, new = set(), {ROOT / "README.md"}
    while new:
        found |= new
        links = {(d.parent / link).resolve() for d in new for link in re.findall(r"\]\(([^)#\s]+\.md)", d.read_text())}
        new = links - found
    assert found == set(DOCUMENTS)


# --- lists -------------------------------------------------------------------------------------


def _commands(command: click.Command, path: tuple[str, ...] = ("sluice",)) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for name, member in command.commands.items():
            yield from _commands(member, (*path, name))
    else:
        yield " ".join(path), command


def test_every_command_and_option_is_documented_and_no_other():
    sections = dict(
        re.findall(r"^## (sluice .*?)\n(.*?)(?=^## |\Z)", read("docs/commands.md"), re.MULTILINE | re.DOTALL)
    )
    documented = {title: set(re.findall(r"`(--[\w-]+)", text)) for title, text in sections.items()}
    expected = {}
    for path, command in _commands(cli.main):
        arguments = [p.make_metavar(click.Context(command)) for p in command.params if isinstance(p, click.Argument)]
        options = [p for p in command.params if isinstance(p, click.Option)]
        expected[" ".join([path, *arguments])] = {name for o in options for name in (*o.opts, *o.secondary_opts)}
    assert documented == expected


def test_every_exit_status_is_documented():
    statuses = {
        0,
        cli.FAILED,
        cli.INTERRUPTED,
        click.UsageError.exit_code,
        *outcome.EXIT.values(),
        outcome.EXIT_RUN_FAILED,
    }
    assert set(map(int, re.findall(r"^\| (\d+) \|", read("docs/commands.md"), re.MULTILINE))) == statuses


def test_every_field_that_a_run_prints_as_json_is_documented():
    section = read("docs/commands.md").split("## sluice run SOURCE")[1].split("\n## ")[0]
    assert {f.name for f in dataclasses.fields(outcome.Outcome)} - set(re.findall(r"`(\w+)`", section)) == set()


def test_every_setting_is_documented_with_its_default():
    documented = dict(re.findall(r"^\| `(SLUICE_\w+)` \| (?:`(.*?)` )?\|", read("docs/local-stack.md"), re.MULTILINE))
    fields = dataclasses.fields(settings.Settings)
    assert documented == {settings.PREFIX + f.name.upper(): str(f.default) for f in fields}


def test_every_error_is_documented_with_what_it_means_and_what_to_do():
    transient, terminal = re.split(r"^## Terminal$", read("docs/errors.md"), flags=re.MULTILINE)
    rows = re.compile(r"^\| `(\w+)` \| \S.*? \| \S.*? \|$", re.MULTILINE)
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, SluiceError)}
    leaves = {kind for kind in kinds if not kind.__subclasses__()}
    assert set(rows.findall(transient)) == {kind.__name__ for kind in leaves if issubclass(kind, TransientError)}
    assert set(rows.findall(terminal)) == {kind.__name__ for kind in leaves if not issubclass(kind, TransientError)}


def test_every_state_is_explained():
    rows = re.findall(r"^\| (`.*?) \|", read("docs/how-it-works.md").split("## State by state")[1], re.MULTILINE)
    explained = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert {name for name, _, _ in asl.placed(render.definition())} - explained == set()
