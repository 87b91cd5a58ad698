"""S3 on the laptop: objects are files, so they cost no memory and outlive the stack."""

import gc
import hashlib
import http.client
import io
import os
import time
from types import SimpleNamespace
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.exceptions import ClientError

from local.functions import REGION

BUCKET = "kept"
BIG = os.urandom(6 * 1024 * 1024)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("s3")


@pytest.fixture(scope="module")
def unpatched():
    """Gives moto back what `keep_in` replaces, for the tests of this process that ask it without a server."""
    from moto.s3 import models, responses

    owners = (models, models.FakeKey, models.FakeMultipart, responses.S3Response)
    before = [(owner, dict(vars(owner))) for owner in owners]
    yield
    for owner, attributes in before:
        for name in vars(owner).keys() - attributes.keys():
            delattr(owner, name)
        for name, value in vars(owner).copy().items():
            if value is not attributes[name]:
                setattr(owner, name, attributes[name])


@pytest.fixture(scope="module")
def s3(folder, unpatched):
    from moto.server import DomainDispatcherApplication, create_backend_app

    from local import objects
    from local.gateway import Gateway
    from local.http import listen, serve, url

    objects.keep_in(folder)
    listening = listen()
    moto = DomainDispatcherApplication(create_backend_app)
    server = serve(listening, Gateway(moto, SimpleNamespace(invoke=None), {}, list))
    client = boto3.client(
        "s3",
        endpoint_url=url(listening),
        region_name=REGION,
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )
    client.create_bucket(Bucket=BUCKET)
    yield client
    server.shutdown()
    server.server_close()
    listening.close()


def body(s3, key, **wanted):
    return s3.get_object(Bucket=BUCKET, Key=key, **wanted)["Body"].read()


def test_what_is_put_can_be_read_whole_and_in_part(s3):
    s3.put_object(Bucket=BUCKET, Key="big", Body=BIG, ContentType="text/plain", Metadata={"rows": "7"})
    assert body(s3, "big") == BIG
    assert body(s3, "big", Range="bytes=100-199") == BIG[100:200]
    assert body(s3, "big", Range=f"bytes={len(BIG) - 5}-") == BIG[-5:]
    assert body(s3, "big", Range=f"bytes=10-{2 * len(BIG)}") == BIG[10:]
    with pytest.raises(ClientError, match="InvalidRange"):
        body(s3, "big", Range=f"bytes={len(BIG)}-")
    head = s3.head_object(Bucket=BUCKET, Key="big")
    assert (head["ContentLength"], head["ContentType"], head["Metadata"]) == (len(BIG), "text/plain", {"rows": "7"})


def test_an_empty_object_is_an_object(s3):
    s3.put_object(Bucket=BUCKET, Key="empty", Body=b"")
    assert body(s3, "empty") == b""


def test_parts_become_one_object(s3):
    s3.upload_fileobj(io.BytesIO(BIG * 3), BUCKET, "parts")
    assert body(s3, "parts") == BIG * 3
    assert s3.head_object(Bucket=BUCKET, Key="parts")["ETag"].endswith('-3"')


def test_parts_that_do_not_match_are_refused(s3):
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="broken")["UploadId"]
    s3.upload_part(Bucket=BUCKET, Key="broken", UploadId=upload, PartNumber=1, Body=b"x")
    parts = {"Parts": [{"PartNumber": 1, "ETag": '"another"'}]}
    with pytest.raises(ClientError, match="InvalidPart"):
        s3.complete_multipart_upload(Bucket=BUCKET, Key="broken", UploadId=upload, MultipartUpload=parts)
    s3.abort_multipart_upload(Bucket=BUCKET, Key="broken", UploadId=upload)


def test_overwritten_and_deleted_objects_take_no_room(s3, folder):
    before = {path.name for path in folder.iterdir()}
    for _ in range(5):
        s3.put_object(Bucket=BUCKET, Key="again", Body=BIG)
    assert len({path.name for path in folder.iterdir()} - before) == 1
    s3.upload_fileobj(io.BytesIO(BIG * 3), BUCKET, "again")
    assert len({path.name for path in folder.iterdir()} - before) == 1
    s3.delete_object(Bucket=BUCKET, Key="again")
    assert {path.name for path in folder.iterdir()} == before


def test_the_versions_of_an_object_can_be_listed_and_deleted(s3, folder):
    before = {path.name for path in folder.iterdir()}
    s3.create_bucket(Bucket="versioned")
    s3.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
    for content in (b"first", b"second"):
        s3.put_object(Bucket="versioned", Key="x", Body=content)
    s3.upload_fileobj(io.BytesIO(BIG * 3), "versioned", "parts")
    for _ in range(2):  # the first listing must not take anything away
        listed = s3.list_object_versions(Bucket="versioned")["Versions"]
        bodies = [
            s3.get_object(Bucket="versioned", Key=each["Key"], VersionId=each["VersionId"])["Body"].read()
            for each in listed
        ]
        assert sorted(bodies, key=len) == [b"first", b"second", BIG * 3]
    for each in listed:
        s3.delete_object(Bucket="versioned", Key=each["Key"], VersionId=each["VersionId"])
    assert {path.name for path in folder.iterdir()} == before


def test_objects_are_found_again_after_a_restart(s3, folder):
    from local import objects

    s3.put_object(Bucket=BUCKET, Key="runs/1/report.html", Body=b"<p>", ContentType="text/html")
    s3.put_object(Bucket=BUCKET, Key="lost", Body=b"x")
    before = {key: s3.head_object(Bucket=BUCKET, Key=key) for key in ("runs/1/report.html", "big", "parts")}
    objects.save(BUCKET, folder)
    bucket = objects._bucket(BUCKET)
    bucket.keys["lost"]._value_buffer.close()
    (folder / "stray").write_bytes(b"of a run that was killed")
    past = [key for name in bucket.keys for key in bucket.keys.getlist(name)]  # their end would delete the files
    dict.clear(bucket.keys)  # what a new process starts with

    assert objects.restore(BUCKET, folder) == len(past) - 1
    assert body(s3, "runs/1/report.html") == b"<p>"
    assert body(s3, "big", Range="bytes=5-9") == BIG[5:10]
    for key, head in before.items():
        again = s3.head_object(Bucket=BUCKET, Key=key)
        for field in ("ETag", "ContentLength", "ContentType", "LastModified", "Metadata"):
            assert again[field] == head[field]
    with pytest.raises(ClientError, match="NoSuchKey"):
        body(s3, "lost")
    assert not (folder / "stray").exists()


# --- large bodies, which are files from the first byte ------------------------------------------


@pytest.fixture
def files(folder):
    """How many bodies were added since."""
    before = set(folder.iterdir())
    return lambda: len(set(folder.iterdir()) - before)


def test_a_large_body_is_one_file_however_it_comes(s3, files):
    s3.put_object(Bucket=BUCKET, Key="one-file", Body=BIG)
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="of-parts")["UploadId"]
    about = {"Bucket": BUCKET, "Key": "of-parts", "UploadId": upload}
    parts = [
        {"PartNumber": number, "ETag": s3.upload_part(PartNumber=number, Body=BIG, **about)["ETag"]}
        for number in (1, 2)
    ]
    s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **about)
    assert body(s3, "one-file") == BIG and body(s3, "of-parts") == BIG * 2
    assert files() == 2


def test_a_large_body_is_held_open_by_nobody_once_it_is_stored_or_sent(s3, folder):
    """A deleted one would keep its room on the disk, and a thousand are as many files as a process may have open."""

    def held():
        with open("/proc/self/maps") as maps:
            return sum(str(folder) in line for line in maps)

    gc.collect()
    before = held()
    gc.disable()  # it comes seldom to a server whose objects live long
    try:
        for number in range(20):
            s3.put_object(Bucket=BUCKET, Key=f"held-{number % 2}", Body=BIG)
            assert body(s3, f"held-{number % 2}", Range="bytes=5-9") == BIG[5:10]
        assert held() <= before
    finally:
        gc.enable()


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA256"])
def test_a_large_body_with_a_checksum_is_the_object(s3, files, algorithm):
    s3.put_object(Bucket=BUCKET, Key=f"checked-{algorithm}", Body=BIG, ChecksumAlgorithm=algorithm)
    assert body(s3, f"checked-{algorithm}") == BIG
    assert files() == 1


def test_a_large_body_that_is_refused_leaves_no_file(s3, files):
    with pytest.raises(ClientError, match="NoSuchBucket"):
        s3.put_object(Bucket="nobody-made-this", Key="lost", Body=BIG)
    s3.put_object(Bucket=BUCKET, Key="taken", Body=b"first")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        s3.put_object(Bucket=BUCKET, Key="taken", Body=BIG, IfNoneMatch="*")
    assert body(s3, "taken") == b"first"
    assert files() == 1


def test_a_large_body_in_signed_chunks_is_stored_without_their_signatures(s3, files):
    chunked = b"%x;chunk-signature=%s\r\n%s\r\n0;chunk-signature=%s\r\n\r\n" % (
        len(BIG), b"0" * 64, BIG, b"0" * 64
    )  # fmt: skip
    headers = {
        "X-Amz-Content-SHA256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "X-Amz-Decoded-Content-Length": str(len(BIG)),
        "Content-Encoding": "aws-chunked",
    }
    assert put(s3, "in-chunks", chunked, len(chunked), headers).status == 200
    assert body(s3, "in-chunks") == BIG
    assert files() == 1


def test_a_large_body_that_breaks_off_is_no_object(s3, files):
    with pytest.raises(http.client.HTTPException):
        put(s3, "broken-off", BIG[:2_000_000], len(BIG), {})
    deadline = time.monotonic() + 10
    while files() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert files() == 0
    with pytest.raises(ClientError, match="404"):
        s3.head_object(Bucket=BUCKET, Key="broken-off")


@pytest.mark.parametrize("wanted", [{}, {"Range": "bytes=1000-"}], ids=["whole", "in-part"])
def test_an_object_that_is_overwritten_while_it_is_read_is_read_as_it_was(s3, wanted):
    s3.put_object(Bucket=BUCKET, Key="read", Body=BIG * 4)
    answer = s3.get_object(Bucket=BUCKET, Key="read", **wanted)["Body"]
    beginning = answer.read(10)
    s3.put_object(Bucket=BUCKET, Key="read", Body=b"other")
    found = hashlib.sha256(beginning + answer.read()).digest()
    assert found == hashlib.sha256((BIG * 4)[1000 if wanted else 0 :]).digest()


def put(s3, key, sent, length, headers):
    """A PUT of our own, which says that its body has `length` bytes and ends when `sent` is sent."""
    server = urlsplit(s3.meta.endpoint_url)
    connection = http.client.HTTPConnection(server.hostname, server.port, timeout=30)
    scope = f"Credential=local/20261121/{REGION}/s3/aws4_request"
    authorization = f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0"
    connection.putrequest("PUT", f"/{BUCKET}/{key}")
    for name, value in {"Authorization": authorization, "Content-Length": str(length), **headers}.items():
        connection.putheader(name, value)
    connection.endheaders()
    connection.send(sent)
    connection.sock.shutdown(1)
    try:
        return connection.getresponse()
    finally:
        connection.close()
