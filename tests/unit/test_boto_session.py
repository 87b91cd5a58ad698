"""What a worker is forked from has read what S3 is like."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

CLIENT = """
import json, os
from botocore import loaders
import local.boto_session
import boto3

read = []
of_file = loaders.JSONFileLoader.load_file
loaders.JSONFileLoader.load_file = lambda self, path: read.append(path) or of_file(self, path)
client = boto3.client("s3")
credentials = client._request_signer._credentials
print(json.dumps([read, credentials.access_key, client.meta.region_name]))
"""


def test_a_later_client_reads_no_model_and_has_the_environments_credentials_and_region(tmp_path):
    variables = {"AWS_ACCESS_KEY_ID": "own", "AWS_SECRET_ACCESS_KEY": "own", "AWS_DEFAULT_REGION": "eu-north-1"}
    ran = subprocess.run(
        [sys.executable, "-c", CLIENT],
        cwd=ROOT,
        env={"HOME": str(tmp_path), "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == [[], "own", "eu-north-1"]
