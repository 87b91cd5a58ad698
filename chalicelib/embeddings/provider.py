"""What an embedding model is to Sluice, and which one the settings ask for."""

from __future__ import annotations

import abc
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from chalicelib.embeddings import passages
from chalicelib.embeddings.passages import Passage
from chalicelib.errors import ConfigurationError, EmbeddingsError
from chalicelib.settings import Settings

if TYPE_CHECKING:
    import numpy as np

# of a passage, where the provider does not count tokens: about 450, more than which says less of each of its parts
PASSAGE_CHARACTERS = 2000


class Provider(abc.ABC):
    """An embedding model.

    `model` is stored beside each vector and says which vectors can be compared: it names the
    model, its version and its dimensions.
    """

    model: str
    dimensions: int
    # of a passage of ordinary prose, from which the work to come is estimated
    passage_characters: int = PASSAGE_CHARACTERS

    def passages(self, text: str) -> list[Passage]:
        """How `text` is divided into what `embed` reads whole; none where it is blank."""
        return passages.by_characters(text, self.passage_characters)

    @abc.abstractmethod
    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """The vectors of `texts`, in order: (len(texts), dimensions) float32, each of unit length.

        A text longer than the model reads is cut. Raises EmbeddingsUnavailable for what may pass,
        EmbeddingsError for a blank text and other refusals.
        """


@functools.cache
def current(settings: Settings, at_once: bool = False) -> Provider:
    """The provider that `settings.embeddings` names; ConfigurationError where there is none of that name.

    `at_once` is for somebody who waits: it gives up within seconds where the model does not answer.
    """
    # each is imported when it is chosen: a Lambda has no tokenizers, a laptop may have no boto3
    if settings.embeddings == "bedrock":
        from chalicelib.embeddings.bedrock import Titan

        return Titan(settings.bedrock_model, settings.bedrock_dimensions, at_once=at_once)
    if settings.embeddings == "minilm":
        from chalicelib.embeddings.minilm import MiniLM

        return MiniLM()
    raise ConfigurationError(
        f"SLUICE_EMBEDDINGS is {settings.embeddings!r}",
        next_step="use bedrock (Amazon Titan, on AWS) or minilm (all-MiniLM-L6-v2, on the laptop)",
    )


def refuse_blank(texts: Sequence[str], model: str) -> None:
    """Raise EmbeddingsError for a text without a visible character: it has no meaning to embed."""
    for position, text in enumerate(texts):
        if not text.strip():
            raise EmbeddingsError(
                "a blank text cannot be embedded", model=model, text=position, next_step="leave blank texts out"
            )


def unit_length(vectors: np.ndarray) -> np.ndarray:
    """`vectors` (n, d) scaled to length 1, so that cosine similarity is their dot product."""
    import numpy as np  # here, because Publish and Complete use this module and make no vectors

    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
