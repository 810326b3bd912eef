"""Texts in brat's files are read again by the suite's own reader; a text that could not be is refused before."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cl_ner_bench.corpora.readers.words import cut
from cl_ner_bench.corpora.sentence import Sentence
from cl_ner_bench.deployment.predicting import Answer, answers
from cl_ner_bench.deployment.text_output import as_brat, misfit
from cl_ner_bench.models.decoding import Prediction
from tests.corpora.reading import Collected, Read, read

# What ends lines or is not seen for some readers, and words.
PIECES = st.sampled_from(
    [
        *("\r", "\n", "\r\n", "\ufeff", "\0", "\u2028", "\x85", "\x0b", "\x1c", " ", "\t", "\xa0", "\u200b", "\u0301"),
        *("Anna", "Oslo", ".", "!", "\u5317", "\U0001f44d"),
    ]
)
TEXTS = st.lists(PIECES, max_size=8).map("".join)
WORDS = st.lists(st.lists(PIECES, min_size=1, max_size=3).map("".join).filter(str.strip), max_size=4)
FEW = settings(max_examples=100)


class Pairs:
    """A trainer whose model finds each word, and each two side by side."""

    nested = True

    def predict(self, sentences: Sequence[Sentence]) -> list[list[Prediction]]:
        return [[Prediction(i, j, "X", 0.5) for i, j in _spans(len(s.words))] for s in sentences]


def _spans(n: int) -> list[tuple[int, int]]:
    return [*itertools.pairwise(range(n + 1)), *((i, i + 2) for i in range(n - 1))]


def written_and_read(text: str | list[str]) -> tuple[Answer, Read, Collected]:
    """Find mentions in a text, write both files and read them."""
    ((answer,),) = answers(Pairs(), [Answer(text)], split=False)  # type: ignore[arg-type]
    report = Collected()
    with TemporaryDirectory() as folder:
        for ending, content in zip((".txt", ".ann"), as_brat(answer), strict=True):
            (Path(folder) / f"1{ending}").write_bytes(content)
        return answer, read(Path(folder) / "1.txt", report), report


@FEW
@given(TEXTS)
def test_a_text_of_brat_is_read_as_it_was_found_or_refused(text: str) -> None:
    answer, rows, report = written_and_read(text)
    if misfit("brat", text):
        assert report.problems or text.startswith("\ufeff")  # not refused for nothing
        return
    assert not report.problems
    lines = [found.text for found in answer.found if not {*"\n\r"} & {*found.text}]  # a mention in parts is left out
    again = ["".join(words.split("|")[start:end]) for words, found in rows for start, end, _ in found]
    assert sorted(again) == sorted("".join(found[start:end] for start, end in cut(found)) for found in lines)


@FEW
@given(WORDS)
def test_words_of_brat_are_read_or_refused(words: list[str]) -> None:
    if not misfit("brat", words):
        _, rows, report = written_and_read(words)
        assert not report.problems
        assert bool(rows) == bool(words)


@pytest.mark.parametrize("text", ["a\rb", "a\n\ufeffb", "\ufeffa", "a\0", "\r\r\ra"])
def test_what_brat_cannot_hold_other_formats_can(text: str) -> None:
    assert "--format brat cannot hold a text with NUL, a carriage return inside a line" in misfit("brat", text)
    assert not misfit("jsonl", text)
    assert not misfit("conll", text)


@pytest.mark.parametrize("text", ["", "a\r\nb\r", "a\r\r\n", "a\ufeff"])
def test_line_ends_and_marks_inside_of_lines_are_no_hindrance(text: str) -> None:
    assert not misfit("brat", text)
