"""Bedrock's part in the emulated AWS: Titan Text Embeddings V2, with the laptop's model behind it.

A deployed stage calls Bedrock as it would on AWS and gets vectors that mean something: those of
all-MiniLM-L6-v2, whose 384 numbers are filled up with zeros, or cut, to the dimensions asked for.
Formats: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html
"""

from __future__ import annotations

import functools
import threading

from moto.bedrockruntime.models import BedrockRuntimeBackend
from moto.core.exceptions import JsonRESTError

MODEL = "amazon.titan-embed-text-v2:0"
DIMENSIONS = (1024, 512, 256)  # the first is the default
MAX_CHARACTERS = 50_000

_embedding = threading.Lock()  # one text at a time: more would only share the processors


def answer_as_titan() -> None:
    """moto answers InvokeModel with an empty object, whatever was asked."""
    BedrockRuntimeBackend.invoke_model = _invoke_model


def embed(payload: dict, model: str) -> dict:
    """The answer's body; raises ValidationException, as Bedrock does, for what Titan would refuse."""
    if model.rpartition("/")[2] != MODEL:
        raise _refusal("The provided model identifier is invalid.")
    text, dimensions = payload.get("inputText"), payload.get("dimensions", DIMENSIONS[0])
    if not isinstance(text, str) or not text.strip():
        raise _refusal("Malformed input request: #/inputText: expected minLength: 1, actual: 0")
    if len(text) > MAX_CHARACTERS:
        raise _refusal(f"Malformed input request: expected maxLength: {MAX_CHARACTERS}, actual: {len(text)}")
    if dimensions not in DIMENSIONS:
        raise _refusal(f"Malformed input request: {dimensions} is not a valid enum value")
    with _embedding:
        vector = _model().embed([text])[0][:dimensions]
    length = float((vector**2).sum()) ** 0.5
    numbers = [round(float(number) / length, 8) for number in vector]
    return {"embedding": numbers + [0.0] * (dimensions - len(numbers)), "inputTextTokenCount": len(text.split())}


def _invoke_model(self, payload: dict, model_id: str) -> dict:
    return embed(payload, model_id)


@functools.cache
def _model():
    from chalicelib.embeddings.minilm import MiniLM

    return MiniLM()


def _refusal(message: str) -> JsonRESTError:
    return JsonRESTError("ValidationException", message)
