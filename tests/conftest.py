"""What all tests share: the order of their files, and a Postgres of their own."""

from __future__ import annotations

import os
import sys

import hypothesis
import pytest

from chalicelib import collector

# what installs it
MISSING_BROWSER = "`make browser`, or apt-get install chromium"

# nothing here may look for credentials or an endpoint on the network
os.environ.setdefault("AWS_ACCESS_KEY_ID", "test")
os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "test")
os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")

# as in a user's shell and in `make test`: without bytecode every `sluice` that a test types compiles it all anew
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# no deadline: a busy machine is no failure; no database: a test leaves no file behind
hypothesis.settings.register_profile("sluice", deadline=None, database=None)
hypothesis.settings.load_profile("sluice")

# the files that take longest, in this order, so that no worker has a long one left at the end
LONGEST = (
    # unit tests: a whole deployment to moto takes 2 s of CPU, a stack 5
    "test_apply",
    "test_deploy_command",
    "test_template",
    "test_destroy_again",
    "test_destroying",
    "test_stack",
    "test_keeping_secrets",
    "test_terraform",
    "test_workflows",
    # feature tests; the first three take about 200 s of processor time each, the next ones 100 to 50
    "test_documents",
    "test_dashboard_in_browser",
    "test_deploy",
    "test_storm",
    "test_crash",
    "test_change_data_capture",
    "test_incremental",
    "test_redriving",
    "test_sources_of_your_own",
    "test_triggers",
    "test_race_on_the_stack",
    "test_error_paths",
    "test_unpacked_functions",
    "test_template_deploys",
    "test_bad_input",
    "test_heavy_partitions",
)


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """What is imported stays until the end: looking through it for garbage took half of the collection's CPU."""
    with collector.importing():
        return (yield)


def pytest_collection_modifyitems(items):
    """`--dist loadfile` hands files out in the order of collection; within a file nothing changes."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


def pytest_terminal_summary(terminalreporter):
    """What needs a browser and had none is said where nobody overlooks it: a row of `s` is easily taken for success."""
    skipped = [each for each in terminalreporter.stats.get("skipped", ()) if MISSING_BROWSER in str(each.longrepr)]
    if skipped:
        terminalreporter.section("the dashboard was NOT tested in a browser", sep="!", red=True, bold=True)
        terminalreporter.write_line(f"{len(skipped)} tests were skipped, for there is no chromium.", red=True)
        terminalreporter.write_line(f"Next: {MISSING_BROWSER}; then run them again. In CI they fail.", red=True)


@pytest.fixture(scope="session")
def database_url(tmp_path_factory):
    """A Postgres with the pipeline's schema, for the whole test session."""
    from chalicelib.warehouse import migrations
    from local.postgres import Postgres

    folder = tmp_path_factory.mktemp("postgres")
    postgres = Postgres(folder / "data", folder / "log")
    postgres.start()
    try:
        migrations.apply(postgres.database_url)
        yield postgres.database_url
    finally:
        postgres.stop()
