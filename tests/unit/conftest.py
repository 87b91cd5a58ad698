"""Fixtures of the tests about change records."""

import pytest


@pytest.fixture
def consumer_of(monkeypatch, database_url):
    """Makes a `change_consumer.Consumer` whose source declares what is given."""
    from change_consumer import Consumer

    return lambda **declared: Consumer(monkeypatch, database_url, **declared)


@pytest.fixture
def consumer(consumer_of):
    return consumer_of()
