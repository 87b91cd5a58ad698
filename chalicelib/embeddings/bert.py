"""The encoder of BERT in numpy, as far as a forward pass needs it.

Devlin et al., "BERT" (arXiv:1810.04805), whose encoder is that of Vaswani et al., "Attention Is
All You Need" (arXiv:1706.03762); section numbers below are of the latter unless said otherwise.
Tensor names are those of Hugging Face's `BertModel`. Shapes: n texts, t tokens (padded), h heads,
d the model's width; activations are float32 and kept as (n*t, d), because one 2-D matrix product
is several times faster in numpy than a stack of n small ones.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

Tensors = Mapping[str, np.ndarray]

# rows treated at a time, so that the passes of `gelu` over them stay in the L2 cache: 128 rows of
# 1,536 float32 are 768 KB; in one piece the whole forward pass is a quarter slower
_GELU_ROWS = 128
_MASKED = np.float32(-1e9)


class Encoder:
    """A BERT encoder: token ids in, one vector per token out."""

    def __init__(self, tensors: Tensors, layers: int, heads: int, epsilon: float):
        """`tensors` as named by `BertModel`; `epsilon` is that of the layer normalizations."""
        self.words = tensors["embeddings.word_embeddings.weight"]
        # there is one segment only, so its embedding (BERT, section 3.2) joins the positions'
        self.positions = (
            tensors["embeddings.position_embeddings.weight"] + tensors["embeddings.token_type_embeddings.weight"][0]
        )
        self.normalize = _LayerNorm(tensors, "embeddings.LayerNorm", epsilon)
        self.layers = [_Layer(tensors, f"encoder.layer.{i}", heads, epsilon) for i in range(layers)]

    def __call__(self, tokens: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Token ids (n, t) and their mask (n, t; 1 for a token, 0 for padding) to (n, t, d) float32."""
        n, t = tokens.shape
        states = self.normalize((self.words[tokens] + self.positions[:t]).reshape(n * t, -1))
        hidden = (1 - mask.astype(np.float32))[:, None, None, :] * _MASKED
        for layer in self.layers:
            states = layer(states, hidden)
        return states.reshape(n, t, -1)


class _Layer:
    """Self-attention, then the feed-forward network, each with a residual and a normalization (3.1)."""

    def __init__(self, tensors: Tensors, name: str, heads: int, epsilon: float):
        self.attention = _SelfAttention(tensors, f"{name}.attention", heads)
        self.normalize_attention = _LayerNorm(tensors, f"{name}.attention.output.LayerNorm", epsilon)
        self.widen = _Dense(tensors, f"{name}.intermediate.dense")
        self.narrow = _Dense(tensors, f"{name}.output.dense")
        self.normalize_output = _LayerNorm(tensors, f"{name}.output.LayerNorm", epsilon)

    def __call__(self, states: np.ndarray, hidden: np.ndarray) -> np.ndarray:
        states = self.normalize_attention(states + self.attention(states, hidden))
        return self.normalize_output(states + self.narrow(gelu(self.widen(states))))


class _SelfAttention:
    """Multi-head scaled dot-product attention (3.2.2); queries, keys and values in one product."""

    def __init__(self, tensors: Tensors, name: str, heads: int):
        self.heads = heads
        self.project = _Dense(tensors, *(f"{name}.self.{part}" for part in ("query", "key", "value")))
        self.output = _Dense(tensors, f"{name}.output.dense")

    def __call__(self, states: np.ndarray, hidden: np.ndarray) -> np.ndarray:
        n, t = hidden.shape[0], hidden.shape[-1]
        width = states.shape[1] // self.heads
        queries, keys, values = self.project(states).reshape(n, t, 3, self.heads, width).transpose(2, 0, 3, 1, 4)
        scores = queries @ keys.transpose(0, 1, 3, 2)  # (n, h, t, t)
        scores *= np.float32(width**-0.5)
        scores += hidden
        softmax(scores)
        return self.output((scores @ values).transpose(0, 2, 1, 3).reshape(n * t, -1))


class _Dense:
    """x @ W + b; several layers over the same input can be joined into one."""

    def __init__(self, tensors: Tensors, *names: str):
        # stored as (out, in); a contiguous (in, out) is what the product reads fastest
        self.weight = np.ascontiguousarray(np.concatenate([tensors[f"{name}.weight"] for name in names]).T)
        self.bias = np.concatenate([tensors[f"{name}.bias"] for name in names])

    def __call__(self, x: np.ndarray) -> np.ndarray:
        result = x @ self.weight
        result += self.bias
        return result


class _LayerNorm:
    """Layer normalization (Ba et al., arXiv:1607.06450) over the last axis."""

    def __init__(self, tensors: Tensors, name: str, epsilon: float):
        self.gain, self.bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
        self.epsilon = np.float32(epsilon)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = np.einsum("ij,ij->i", centred, centred) / np.float32(x.shape[-1])
        centred /= np.sqrt(variance + self.epsilon)[:, None]
        centred *= self.gain
        centred += self.bias
        return centred


def softmax(scores: np.ndarray) -> None:
    """Softmax over the last axis, in place."""
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=-1, keepdims=True)


def gelu(x: np.ndarray) -> np.ndarray:
    """x * Phi(x), Phi the normal distribution function (arXiv:1606.08415), of (rows, columns) float32, in place.

    The exact form, not the tanh approximation: the model was trained with it, and the other
    differs by up to 5e-4 per value.
    """
    for start in range(0, len(x), _GELU_ROWS):
        block = x[start : start + _GELU_ROWS]
        phi = erf(block * np.float32(0.5**0.5))
        phi += 1
        phi *= np.float32(0.5)
        block *= phi
    return x


def erf(x: np.ndarray) -> np.ndarray:
    """The error function of float32, to 5e-7.

    Abramowitz and Stegun, "Handbook of Mathematical Functions", formula 7.1.26; scipy has one
    too, but 114 MB of it.
    """
    magnitude = np.abs(x)
    t = np.float32(1) / (magnitude * np.float32(0.3275911) + np.float32(1))
    series = t * np.float32(1.061405429)
    for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series += np.float32(coefficient)
        series *= t
    magnitude *= magnitude
    np.negative(magnitude, out=magnitude)
    np.exp(magnitude, out=magnitude)
    series *= magnitude
    return np.copysign(np.float32(1) - series, x)
