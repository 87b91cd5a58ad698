"""Fixtures that unit tests share: a Postgres of their own."""

from __future__ import annotations

import os

import hypothesis
import pytest

# nothing here may look for credentials or an endpoint on the network
os.environ.setdefault("AWS_ACCESS_KEY_ID", "test")
os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "test")
os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")

# no deadline: a busy machine is no failure; no database: a test leaves no file behind
hypothesis.settings.register_profile("sluice", deadline=None, database=None)
hypothesis.settings.load_profile("sluice")


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
