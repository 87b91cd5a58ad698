"""Amazon Titan Text Embeddings V2, through Amazon Bedrock.

Formats and limits:
https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html
https://docs.aws.amazon.com/bedrock/latest/userguide/titan-embedding-models.html
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib import boto_errors
from chalicelib.embeddings.provider import Provider, refuse_blank, unit_length
from chalicelib.errors import ConfigurationError, EmbeddingsError, EmbeddingsUnavailable

if TYPE_CHECKING:
    import numpy as np

DIMENSIONS = (256, 512, 1024)
MAX_CHARACTERS = 50_000  # of one text; passages and questions have far fewer

# a call takes one text; Bedrock's own latency, not our processor, is what it waits for
_THREADS = 8
# adaptive: once throttled, the client slows all its calls down, not only the one that was refused
_CONFIG = Config(
    connect_timeout=5,
    read_timeout=30,
    max_pool_connections=_THREADS,
    retries={"max_attempts": 6, "mode": "adaptive"},
)

# somebody waits for the answer to a question, of which API Gateway cuts off all that takes 29 s
_AT_ONCE = Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 2, "mode": "standard"})

# no text of so few characters has 8,192 tokens: a character is at most four bytes, a token at least one
_SHORTEST_CUT = 2048

# https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModel.html#API_runtime_InvokeModel_Errors
# ModelErrorException is the model's own failure, for which AWS too advises to try again
_TRANSIENT_CODES = frozenset(
    {
        "ThrottlingException",
        "TooManyRequestsException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "InternalServerException",
        "ModelTimeoutException",
        "ModelNotReadyException",
        "ModelErrorException",
    }
)
_NEXT_STEPS = {
    "AccessDeniedException": "request access to the model (Bedrock console, Model access, in the same region) "
    "and allow the function bedrock:InvokeModel on it",
    "ResourceNotFoundException": "check SLUICE_BEDROCK_MODEL, and that Bedrock offers the model in this region",
    "ValidationException": "check SLUICE_BEDROCK_MODEL and SLUICE_BEDROCK_DIMENSIONS; "
    "the model must be Titan Text Embeddings V2",
    "ServiceQuotaExceededException": "raise the model's quota in Service Quotas, or embed fewer shards at a time",
    "UnrecognizedClientException": "check the AWS credentials and the region",
    "ExpiredTokenException": "renew the AWS credentials",
}


class Titan(Provider):
    """One call per text, a few at a time."""

    def __init__(self, model_id: str, dimensions: int, client=None, at_once: bool = False):
        """`client`: a boto3 `bedrock-runtime` client; default: one of the process's region and credentials.

        `at_once`: that one gives up within seconds.
        """
        if dimensions not in DIMENSIONS:
            raise ConfigurationError(
                f"SLUICE_BEDROCK_DIMENSIONS is {dimensions}",
                next_step=f"Titan Text Embeddings V2 has {', '.join(map(str, DIMENSIONS))}",
            )
        self.model_id = model_id
        self.dimensions = dimensions
        self.model = f"{model_id}/{dimensions}"
        self._given_client = client
        self._config = _AT_ONCE if at_once else _CONFIG

    @functools.cached_property
    def _client(self):
        # made at the first call: what only asks for the model's name needs no region and no credentials
        with _mapped(self.model):
            return self._given_client or boto3.client("bedrock-runtime", config=self._config)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """As Provider says; `_embed_one` says where a long text is cut."""
        import numpy as np  # here, because Publish and Complete only ask for the model's name

        refuse_blank(texts, self.model)
        if not texts:
            return np.empty((0, self.dimensions), np.float32)
        client = self._client  # threads may share a client, but not make one at the same time
        with ThreadPoolExecutor(_THREADS) as pool:
            # the first error ends the map; calls that have not begun are then not made
            vectors = list(pool.map(lambda text: self._embed_one(client, text), texts))
        return unit_length(np.array(vectors))

    def _embed_one(self, client, text: str) -> np.ndarray:
        """The vector of one text, (dimensions,) float32.

        Titan reads 50,000 characters and 8,192 tokens. Its tokenizer is not public, so that the
        second limit is only known when Titan refuses the text; it is then halved until it fits.
        """
        text = text[:MAX_CHARACTERS]
        while True:
            try:
                with _mapped(self.model):
                    answer = client.invoke_model(
                        modelId=self.model_id,
                        contentType="application/json",
                        accept="application/json",
                        body=json.dumps({"inputText": text, "dimensions": self.dimensions, "normalize": True}),
                    )
                    body = answer["body"].read()
            except EmbeddingsError as error:
                if "too many input tokens" not in error.message.lower() or len(text) <= _SHORTEST_CUT:
                    raise
                text = text[: len(text) // 2]
            else:
                return self._vector(body)

    def _vector(self, body: bytes) -> np.ndarray:
        import numpy as np

        try:
            vector = np.array(json.loads(body)["embedding"], np.float32)
        except (ValueError, KeyError, TypeError) as error:
            raise EmbeddingsError(
                f"Bedrock's answer holds no embedding ({error!r}): {body[:200]!r}", model=self.model
            ) from None
        if vector.shape != (self.dimensions,) or not np.isfinite(vector).all() or not vector.any():
            raise EmbeddingsError(
                f"Bedrock's answer is not {self.dimensions} finite numbers: shape {vector.shape}, {body[:200]!r}",
                model=self.model,
            )
        return vector


@contextlib.contextmanager
def _mapped(model: str) -> Iterator[None]:
    """boto's exceptions as ours. Those that may pass come here after boto's own retries."""
    try:
        yield
    except ClientError as error:
        if boto_errors.may_pass(error, _TRANSIENT_CODES):
            raise EmbeddingsUnavailable(f"Bedrock did not serve the call: {error}", model=model) from error
        raise EmbeddingsError(
            f"Bedrock refused the call: {error}", model=model, next_step=_NEXT_STEPS.get(boto_errors.code(error))
        ) from error
    except BotoCoreError as error:
        if boto_errors.may_pass(error, _TRANSIENT_CODES):
            raise EmbeddingsUnavailable(f"Bedrock is out of reach: {error}", model=model) from error
        raise ConfigurationError(
            f"Bedrock cannot be called: {error}",
            model=model,
            next_step="check SLUICE_BEDROCK_MODEL, AWS_DEFAULT_REGION and the credentials, "
            "or set SLUICE_EMBEDDINGS=minilm on the laptop",
        ) from error
