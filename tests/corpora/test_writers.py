"""A corpus written in a format is read again as it was."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cl_ner_bench.corpora.readers.folder import read_rows
from cl_ner_bench.corpora.readers.options import ReaderOptions
from cl_ner_bench.corpora.readers.problems import Report
from cl_ner_bench.corpora.readers.words import cut
from cl_ner_bench.corpora.sentence import Mention, Sentence
from cl_ner_bench.corpora.writers import FORMATS, fitting, recut_words
from tests.corpora.reading import mentions

# Words and types that mean something to a reader, and any others that a sentence may hold.
WORDS = st.sampled_from(
    [
        *("Anna", "Ltd.", "10 000", "a\tb", "a\nb", "a\rb", "\0", "\ufeff", "\ufeffa", "\u200b", "a\u2028b", "\x85x"),
        *("{}", '[["', "[", '"', "#", "# id", "-DOCSTART-", "O", "B-PER", "1", "2", "T1", "id|t|x", ",", "\\"),
        *("北京", "👍🏽", "\u0301", "a\xa0b"),
    ]
) | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4).filter(lambda word: not word.isspace())
TYPES = st.sampled_from(
    [
        "PER",
        "B",
        "I-PER",
        "PER-B",
        "person name",
        "x ",
        " x",
        "O",
        "NP",
        "類",
        "a\0b",
        "a\tb",
        "a\u2028b",
        "-",
        "B-",
        "_",
    ]
)


@st.composite
def sentences(draw: st.DrawFn, words: st.SearchStrategy[str] = WORDS) -> list[Sentence]:
    """Return up to three sentences with mentions that may nest and overlap."""
    made = []
    for i in range(draw(st.integers(1, 3))):
        text = draw(st.lists(words, min_size=1, max_size=6))
        spans = st.tuples(st.integers(0, len(text) - 1), st.integers(1, 3), TYPES)
        found = {
            Mention(start, min(start + n, len(text)), type_) for start, n, type_ in draw(st.lists(spans, max_size=4))
        }
        made.append(Sentence(i, tuple(text), tuple(sorted(found))))
    return made


def again(written: list[Sentence], name: str, **options: Any) -> list[tuple[tuple[str, ...], tuple[Mention, ...]]]:
    """Write sentences and read them."""
    format_ = FORMATS[name]
    with TemporaryDirectory() as folder:
        for ending, text in zip(format_.endings, format_.write(written), strict=True):
            (Path(folder) / f"train{ending}").write_bytes(text.encode())
        rows = read_rows(Path(folder) / f"train{format_.endings[0]}", ReaderOptions.of(options, "card"), Report())
        return [(row.words, row.mentions) for row in rows]


def plain(found: list[Sentence]) -> list[tuple[tuple[str, ...], tuple[Mention, ...]]]:
    return [(sentence.words, sentence.mentions) for sentence in found]


@given(sentences())
def test_json_lines_hold_everything(made: list[Sentence]) -> None:
    found = fitting({"train": made}, FORMATS["jsonl"])
    assert not found.losses
    assert again(found.parts["train"], "jsonl") == plain(made)


@given(sentences())
def test_columns_hold_what_fits(made: list[Sentence]) -> None:
    kept = fitting({"train": made}, FORMATS["conll"]).parts["train"]
    assert again(kept, "conll") == plain(kept)


@given(sentences(WORDS.filter(lambda word: " " not in word and "\t" not in word)))
def test_brat_holds_what_fits_where_words_end_at_blanks(made: list[Sentence]) -> None:
    kept = fitting({"train": made}, FORMATS["brat"]).parts["train"]
    assert again(kept, "brat", words="blanks") == plain(kept)


@given(sentences(WORDS.filter(lambda word: cut(word) == [(0, len(word))])))
def test_brat_holds_words_as_the_reader_cuts_them(made: list[Sentence]) -> None:
    kept = fitting({"train": made}, FORMATS["brat"]).parts["train"]
    assert not recut_words(kept)
    assert again(kept, "brat") == plain(kept)


@given(sentences())
def test_brat_keeps_what_mentions_cover_however_words_are_cut(made: list[Sentence]) -> None:
    kept = fitting({"train": made}, FORMATS["brat"]).parts["train"]

    def covered(words: tuple[str, ...], found: tuple[Mention, ...]) -> set[tuple[str, str]]:
        pieces = [[word[start:end] for start, end in cut(word)] for word in words]
        return {("".join(map("".join, pieces[m.start : m.end])), m.type) for m in found}

    assert [covered(*row) for row in again(kept, "brat")] == [covered(*row) for row in plain(kept)]


def test_a_line_of_json_is_a_line_for_every_reader() -> None:
    (text,) = FORMATS["jsonl"].write([Sentence(0, ("a\u2028b", "\x85", "é"))])
    assert text.splitlines(keepends=True) == [text]
    assert "é" in text


def test_nothing_is_lost_of_what_every_format_holds() -> None:
    made = [Sentence(0, ("Anna", "Berg", "sang"), mentions((0, 2, "PER"))), Sentence(1, ("So", "what"))]
    for name, format_ in FORMATS.items():
        found = fitting({"train": made}, format_)
        assert not found.losses
        assert again(found.parts["train"], name) == plain(made)


@pytest.mark.parametrize(
    ("name", "sentence", "kept", "losses"),
    [
        (
            "conll",
            Sentence(7, ("A", "B", "C"), mentions((0, 2, "LOC"), (0, 3, "ORG"), (0, 3, "X"), (2, 3, "ORG"))),
            mentions((0, 3, "ORG")),
            ["mentions that overlap one of the same length or longer: 3 (the first: train sentence 7, 'LOC' 'A B')"],
        ),
        (
            "conll",
            Sentence(7, ("a", "b"), mentions((0, 1, "a\tb"), (1, 2, "PER"))),
            mentions((1, 2, "PER")),
            [
                "mentions of a type with a tab, a line break, NUL or a last blank: 1 "
                r"(the first: train sentence 7, 'a\tb')"
            ],
        ),
        (
            "brat",
            Sentence(7, ("a", "b"), mentions((0, 1, "a b"), (0, 2, "PER"), (1, 2, "PER"))),
            mentions((0, 2, "PER"), (1, 2, "PER")),
            ["mentions of a type with a blank or NUL: 1 (the first: train sentence 7, 'a b')"],
        ),
    ],
)
def test_what_a_format_cannot_hold_is_counted(
    name: str, sentence: Sentence, kept: tuple[Mention, ...], losses: list[str]
) -> None:
    found = fitting({"train": [sentence]}, FORMATS[name])
    assert found.losses == losses
    assert [s.mentions for s in found.parts["train"]] == [kept]


@pytest.mark.parametrize("name", ["conll", "brat"])
def test_a_sentence_with_a_word_that_does_not_fit_is_left_out(name: str) -> None:
    bad = [Sentence(i, words) for i, words in enumerate([("a", "b\nc"), ("\ufeffa",), ("a\0",)])]
    found = fitting({"train": [*bad, Sentence(3, ("a",))]}, FORMATS[name])
    assert [s.id for s in found.parts["train"]] == [3]
    (loss,) = found.losses
    assert ": 3 (the first: train sentence 0)" in loss
