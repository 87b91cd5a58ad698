"""What rows are made by: where any of it differs, nothing of an earlier run is taken over."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chalicelib import code_fingerprint, sources
from chalicelib.columns import Column
from chalicelib.settings import Settings

ROOT = Path(__file__).parents[2]
SETTINGS = Settings()


def of(name="weather", settings=SETTINGS, **declared):
    source = sources.get(name)
    kind = type(source)
    return code_fingerprint.of(type(kind.__name__, (kind,), {"__module__": kind.__module__, **declared})(), settings)


def test_it_is_that_of_the_next_process():
    script = (
        "from chalicelib import code_fingerprint, settings, sources\n"
        "for name in sources.names(): print(name, code_fingerprint.of(sources.get(name), settings.Settings()))"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]
    assert len(set(runs[0].split())) == 2 * len(sources.names())


@pytest.mark.parametrize(
    "declared",
    [
        {"columns": (Column("station", "text"),)},
        {"key": ("day",)},
        {"nulls": ("NA",)},
        {"rename": {"a": "b"}},
        {"schema_contract": "evolve"},
        {"suite_document": {}},
        {"indexes": ("temperature_max",)},
    ],
    ids=lambda declared: next(iter(declared)),
)
def test_it_depends_on_what_the_source_declares_wherever_that_comes_from(declared):
    assert of(**declared) != of()


@pytest.mark.parametrize("changed", [{"record_bytes": 1}, {"chunk_rows": 1}, {"chunk_bytes": 1}], ids=str)
def test_of_the_settings_it_depends_on_that_by_which_records_are_read(changed):
    is_other = of(settings=dataclasses.replace(SETTINGS, **changed)) != of()
    assert is_other == ("record_bytes" in changed)


@pytest.mark.parametrize("library", [*code_fingerprint._LIBRARIES])
def test_it_depends_on_the_versions_of_what_reads_and_converts_records(monkeypatch, library):
    before, versions = of(), code_fingerprint.versions
    assert versions((library,))[library] is not None
    monkeypatch.setattr(code_fingerprint, "versions", lambda names: versions(names) | {library: "0"})
    assert of() != before


def test_it_depends_on_python_and_on_the_time_zone(monkeypatch):
    found = {of()}
    monkeypatch.setattr(time, "tzname", ("EST", "EDT"))
    found.add(of())
    monkeypatch.setattr(time, "timezone", -28800)  # Shanghai and Chicago are both called CST, and CDT in summer
    found.add(of())
    monkeypatch.setattr(sys, "version_info", (3, 99, 0))
    found.add(of())
    assert len(found) == 4


def test_a_distribution_that_is_not_there_has_no_version():
    assert code_fingerprint.versions(("no-such-distribution",)) == {"no-such-distribution": None}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package, of which files may be altered."""
    copied = tmp_path / "chalicelib"
    shutil.copytree(code_fingerprint._PACKAGE, copied, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(code_fingerprint, "_PACKAGE", copied)
    return copied


@pytest.mark.parametrize(
    ("path", "is_part"),
    [
        ("sources/weather.py", True),
        ("sources/posts.py", False),
        ("expectations/weather.json", True),
        ("expectations/posts.json", False),
        ("warehouse/copy_text.py", True),
        ("warehouse/sql/publish.sql", True),
    ],
)
def test_it_depends_on_the_package_but_for_other_sources_and_their_suites(package, path, is_part):
    before = of()
    altered = package / path
    text = altered.read_text()
    altered.write_text(json.dumps({"name": "x"}) if path.endswith(".json") else text + "\n")
    assert (of() != before) == is_part


def test_it_depends_on_any_file_that_a_repeatable_source_may_read_beside_its_module(package):
    beside = package / "sources" / "stations.csv"
    beside.write_text("seattle,47.6")
    before = of()
    beside.write_text("seattle,47.7")
    assert of() != before


def test_it_does_not_depend_on_what_python_compiles(package):
    before = of()
    compiled = package / "sources" / "__pycache__" / "weather.cpython-312.pyc"
    compiled.parent.mkdir()
    compiled.write_bytes(b"compiled")
    assert of() == before


def test_a_source_that_names_another_ones_module_depends_on_that_and_on_what_that_names(package):
    weather, posts, people = (package / "sources" / f"{name}.py" for name in ("weather", "posts", "people"))
    weather.write_text(weather.read_text() + "from chalicelib.sources.posts import HOST\n")
    posts.write_text(posts.read_text() + "from chalicelib.sources import people\n")
    before = of()
    people.write_text(people.read_text() + "\n")
    assert of() != before


@pytest.fixture
def loaded(package, monkeypatch):
    """That copy, as this process has loaded it."""
    monkeypatch.setattr(code_fingerprint, "IMPORTED_NS", time.time_ns() + 10**9)  # it is a moment old
    code_fingerprint.of_process.cache_clear()
    yield package
    code_fingerprint.of_process.cache_clear()


def other_process(name):
    code_fingerprint.of_process.cache_clear()
    return code_fingerprint.of_process(name, SETTINGS)


@pytest.mark.parametrize(
    ("file", "anew"),
    [("rejection.py", True), ("sources/weather.py", True), ("sources/market.py", False)],
    ids=["package", "source", "other-source"],
)
@pytest.mark.parametrize("moved", [False, True], ids=["written", "moved-there"])
def test_a_process_whose_files_were_altered_since_it_began_says_what_no_other_says(
    loaded, monkeypatch, tmp_path, file, anew, moved
):
    """Even of the same bytes: it has loaded those of before, and those may have been others."""
    before = other_process("weather")
    assert before == of() == other_process("weather")
    monkeypatch.setattr(code_fingerprint, "IMPORTED_NS", time.time_ns() + 10**7)
    time.sleep(0.02)
    (loaded / file).touch()
    if moved:
        shutil.copy2(loaded / file, tmp_path / "prepared")
        os.utime(tmp_path / "prepared", (0, 0))
        (tmp_path / "prepared").replace(loaded / file)
    found = [other_process("weather"), other_process("weather")]
    assert (found == [before, before]) != anew
    assert len({before, *found}) == (3 if anew else 1)
    assert of() == before


def test_a_process_finds_it_once_for_each_source(monkeypatch):
    code_fingerprint.of_process.cache_clear()
    of_weather = code_fingerprint.of(sources.get("weather"), SETTINGS)
    read, made = [], code_fingerprint._read
    monkeypatch.setattr(
        code_fingerprint, "_read", lambda source, given: read.append(source.name) or made(source, given)
    )
    try:
        found = [code_fingerprint.of_process(name, Settings()) for name in ("weather", "posts", "weather")]
    finally:
        code_fingerprint.of_process.cache_clear()
    assert read == ["weather", "posts"]
    assert (found[0], found[2]) == (of_weather, of_weather) != (found[1], of_weather)
    assert code_fingerprint.of_process("weather", Settings(record_bytes=1)) != of_weather
