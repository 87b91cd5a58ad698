"""What the unit tests share: what AWS' services are, and the fixtures of the tests about change records."""

import functools

import pytest
from botocore import session

# moto has boto3 begin anew with each test, and read what all services and their endpoints are like: 0.06 s
session.create_loader = functools.cache(session.create_loader)


@pytest.fixture
def consumer_of(monkeypatch, database_url):
    """Makes a `change_consumer.Consumer` whose source declares what is given."""
    from change_consumer import Consumer

    return lambda **declared: Consumer(monkeypatch, database_url, **declared)


@pytest.fixture
def consumer(consumer_of):
    return consumer_of()
