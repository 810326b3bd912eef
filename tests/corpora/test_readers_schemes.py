"""Tag schemes: from tags to mentions and back."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cl_ner_bench.corpora.schemes import TagStatistics, illegal, split_tag, to_mentions
from cl_ner_bench.corpora.sentence import Mention


def to_tags(mentions: Iterable[Mention], n_words: int, scheme: str) -> list[str]:
    """Return the tags of ``n_words`` words, of which none is in two mentions."""
    tags, ends = ["O"] * n_words, dict[int, str]()
    for start, end, type_ in sorted(mentions):
        touches = ends.get(start) == type_
        ends[end] = type_
        first = "B" if scheme in ("BIO", "BIOES") or (scheme == "IOB1" and touches) else "I"
        letters = [first] + ["I"] * (end - start - 1)
        if scheme == "BIOES":
            letters[-1] = "S" if len(letters) == 1 else "E"
        tags[start:end] = [type_ if scheme == "IO" else f"{letter}-{type_}" for letter in letters]
    return tags


@st.composite
def flat(draw: st.DrawFn) -> tuple[list[Mention], int]:
    """Mentions that do not overlap, and a sentence's length."""
    mentions, position = [], 0
    for gap, length, type_ in draw(
        st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), st.sampled_from(["A", "B-x", "art-film", "I"])))
    ):
        mentions.append(Mention(position + gap, position + gap + length, type_))
        position += gap + length
    return mentions, position + draw(st.integers(0, 2))


@given(flat(), st.sampled_from(["BIO", "IOB1", "BIOES"]))
def test_schemes_with_begins_round_trip(drawn: tuple[list[Mention], int], scheme: str) -> None:
    mentions, n = drawn
    assert list(to_mentions(to_tags(mentions, n, scheme))) == mentions


@given(flat())
def test_io_joins_adjacent_mentions_of_one_type_and_nothing_else(drawn: tuple[list[Mention], int]) -> None:
    mentions, n = drawn
    joined: list[Mention] = []
    for start, end, type_ in mentions:
        if joined and joined[-1].end == start and joined[-1].type == type_:
            start = joined.pop().start
        joined.append(Mention(start, end, type_))
    assert list(to_mentions(to_tags(mentions, n, "IO"), prefixed=False)) == joined


@pytest.mark.slow
@given(flat(), st.sampled_from(["BIO", "BIOES"]))
def test_decoding_equals_seqeval(drawn: tuple[list[Mention], int], scheme: str) -> None:
    seqeval = pytest.importorskip("seqeval.metrics.sequence_labeling")
    mentions, n = drawn
    tags = to_tags(mentions, n, scheme)
    assert sorted((s, e + 1, t) for t, s, e in seqeval.get_entities(tags)) == [tuple(m) for m in to_mentions(tags)]


def detect(*sentences: list[str]) -> str:
    statistics = TagStatistics()
    for tags in sentences:
        statistics.add(tags)
    return statistics.scheme


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [
        (["O", "person-actor", "person-actor"], "IO"),
        (["I-A", "I-A", "O"], "IO"),
        (["I-A", "B-A", "O", "I-B"], "IOB1"),
        (["B-A", "I-A", "B-A", "O"], "BIO"),
        (["B-A", "I-A", "B-A", "B-B", "O", "I-A"], "BIO"),
        (["S-A", "B-A", "E-A"], "BIOES"),
        (["U-A", "B-A", "L-A"], "BIOES"),
        (["B-A", "I-A", "O", "B-A", "O", "B-A", "E-A"], "BIO"),
        (["B-A", "PER", "B-A"], "BIO"),
        (["A", "A", "B-A"], "IO"),
        (["O"], "BIO"),
    ],
)
def test_scheme_is_told_by_the_majority(tags: list[str], scheme: str) -> None:
    assert detect(tags) == scheme
    assert detect(*([tag] for tag in tags if tag == "O"), tags, ["O"]) == scheme


def test_bilou_and_illegal_tags_are_read_as_conlleval_does() -> None:
    assert to_mentions(["B-A", "I-A", "L-A", "U-A"]) == (Mention(0, 3, "A"), Mention(3, 4, "A"))
    assert to_mentions(["O", "I-A", "I-B", "I-B"]) == (Mention(1, 2, "A"), Mention(2, 4, "B"))


@given(
    st.lists(st.sampled_from(["O", *(f"{letter}-{type_}" for letter in "BIES" for type_ in "XY")]), min_size=1),
    st.sampled_from(["IOB1", "BIO", "BIOES"]),
)
def test_tags_are_legal_exactly_where_their_mentions_give_them_again(tags: list[str], scheme: str) -> None:
    found = [*illegal(tags, scheme)]
    assert bool(found) == (to_tags(to_mentions(tags), len(tags), scheme) != tags)
    assert all(0 <= i < len(tags) for i, _ in found)


@pytest.mark.parametrize(
    ("tags", "scheme", "found"),
    [
        ("O I-A O", "BIO", [(1, "'I-A' after 'O'")]),
        ("I-A", "BIO", [(0, "'I-A' is illegal")]),
        ("B-A I-B", "BIO", [(1, "'I-B' after 'B-A'")]),
        ("O B-A", "IOB1", [(1, "'B-A' after 'O'")]),
        ("I-A B-A", "IO", [(1, "'B-A' after 'I-A'")]),
        ("B-A O", "BIOES", [(1, "'O' after 'B-A'")]),
        ("B-A I-A", "BIOES", [(1, "'I-A' at the end")]),
        ("B-A L-A U-A M-A", "BIOES", [(3, "'M-A' after 'U-A'"), (3, "'M-A' at the end")]),
    ],
)
def test_illegal_tags_are_named(tags: str, scheme: str, found: list[tuple[int, str]]) -> None:
    said = [*illegal(tags.split(), scheme)]
    assert [i for i, _ in said] == [i for i, _ in found]
    assert all(
        text.startswith(start) and text.endswith(scheme) for (_, text), (_, start) in zip(said, found, strict=True)
    )


@pytest.mark.parametrize("tag", ["Q-A", "B-", "B", "b-A", "0", ""])
def test_unknown_prefixes(tag: str) -> None:
    with pytest.raises(ValueError, match="unknown tag"):
        split_tag(tag)
