"""One ranking of several, by reciprocal ranks."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from chalicelib.search.fusion import K, fuse

RANKINGS = st.dictionaries(
    st.sampled_from(["semantic", "text", "third"]), st.lists(st.integers(0, 30), unique=True), max_size=3
)


def test_a_row_that_both_have_comes_before_the_first_of_one():
    found = fuse({"semantic": ["a", "b"], "text": ["c", "b"]})
    assert [row for row, _, _ in found] == ["b", "a", "c"]
    assert found[0][1:] == (2 / (K + 2), {"semantic": 2, "text": 2})


def test_of_equal_scores_the_ranking_named_first_decides():
    assert [row for row, _, _ in fuse({"semantic": ["a"], "text": ["b"]})] == ["a", "b"]
    assert [row for row, _, _ in fuse({"text": ["b"], "semantic": ["a"]})] == ["b", "a"]


def test_nothing_of_nothing():
    assert fuse({}) == fuse({"semantic": [], "text": []}) == []


@given(RANKINGS)
def test_a_score_is_the_sum_of_the_reciprocal_ranks_and_the_best_is_first(rankings):
    found = fuse(rankings)
    assert {row for row, _, _ in found} == {row for ranking in rankings.values() for row in ranking}
    for row, score, ranks in found:
        assert ranks == {name: ranking.index(row) + 1 for name, ranking in rankings.items() if row in ranking}
        assert abs(score - float(sum(Fraction(1, K + rank) for rank in ranks.values()))) < 1e-12
    scores = [score for _, score, _ in found]
    assert scores == sorted(scores, reverse=True)


@given(RANKINGS, st.integers(0, 30))
def test_a_row_that_rises_in_a_ranking_never_falls_in_the_whole(rankings, row):
    ranking = rankings.get("text", [])
    if row not in ranking or ranking[0] == row:
        return
    risen = [row, *(other for other in ranking if other != row)]
    place = [found for found, _, _ in fuse(rankings)].index(row)
    assert [found for found, _, _ in fuse({**rankings, "text": risen})].index(row) <= place
