"""What S3 promises about conditional writes, shown on a moto of its own."""

from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest

from chalicelib.lake.store import Lake


@pytest.fixture(scope="module")
def lake():
    from moto.server import DomainDispatcherApplication, create_backend_app

    from local import corrections_of_webhooks
    from local.http import listen, serve, url

    corrections_of_webhooks.apply()
    listening = listen()
    server = serve(listening, DomainDispatcherApplication(create_backend_app))
    s3 = boto3.client(
        "s3",
        endpoint_url=url(listening),
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    s3.create_bucket(Bucket="conditional")
    yield Lake("conditional", s3)
    server.shutdown()
    server.server_close()
    listening.close()


def test_an_object_that_is_there_is_not_written_again(lake):
    assert lake.put_new("once", b"first", "text/plain", {"timestamp": "1"})
    assert not lake.put_new("once", b"second", "text/plain", {"timestamp": "2"})
    assert lake.get_with_metadata("once") == (b"first", {"timestamp": "1"})


def test_of_several_writers_at_once_one_succeeds(lake):
    with ThreadPoolExecutor(16) as pool:
        for race in range(20):
            written = pool.map(
                lambda n, race=race: lake.put_new(f"race-{race}", b"%d" % n * 10**5, "text/plain", {}), range(16)
            )
            assert sum(written) == 1
