"""boto3's session of the workers: what is forked from where this is imported need not read anew what S3 is like.

Without it each worker reads S3's model and all endpoints for its first client: 0.1 s of CPU. The client made here only
has them read; its credentials are nobody's, so that none are looked for.
"""

import boto3

boto3.client("s3", region_name="us-east-1", aws_access_key_id="none", aws_secret_access_key="none")
