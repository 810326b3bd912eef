"""Running text: where words begin and end, and brat's marks in characters."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cl_ner_bench.corpora.readers import words
from cl_ner_bench.corpora.readers.problems import Report
from tests.corpora.reading import Collected, assert_refused, read, write


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Anna's 3.5% (U.S.)", "Anna ' s 3 . 5 % ( U . S . )"),
        ("snake_case e-mail", "snake _ case e - mail"),
        ("北京是首都。", "北 京 是 首 都 。"),
        ("トーキョー3丁目", "ト ー キ ョ ー 3 丁 目"),
        ("สวัสดี", "ส วั ส ดี"),
        ("ဗမာ", "ဗ မာ"),
        ("한국어는 좋다", "한국어는 좋다"),
        ("नमस्ते दुनिया", "नमस्ते दुनिया"),
        ("été e\u0301te\u0301", "été e\u0301te\u0301"),
        ("👩\u200d👩\u200d👧👍🏽❤️1️⃣🇩🇪🇫🇷", "👩\u200d👩\u200d👧 👍🏽 ❤️ 1️⃣ 🇩🇪 🇫🇷"),
        ("שלום\u200f עולם!", "שלום עולם !"),
        ("می\u200cخواهم co\u00adop", "می\u200cخواهم co\u00adop"),
        ("a\u200bb\u2060 \x00\x1f \ufeff\u3000c", "a b c"),
    ],
)
def test_words(text: str, expected: str) -> None:
    assert [text[start:end] for start, end in words.cut(text)] == expected.split(" ")


@pytest.mark.slow
@given(st.text() | st.text("aB1 .-_~[`\n\t\x7f"))
def test_words_are_in_order_and_leave_out_blanks_alone(text: str) -> None:
    borders = words.cut(text)
    places = [i for border in borders for i in border]
    assert places == sorted(places)
    assert all(text[start:end].strip() for start, end in borders)
    left = set(range(len(text))).difference(*(range(*border) for border in borders))
    assert all(text[i].isspace() or not text[i].isprintable() or not text[i].isascii() for i in left)


@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_is_cut_as_other_text(text: str) -> None:
    # The letter in front makes the same text go the other way.
    assert words.cut(text) == [(start - 2, end - 2) for start, end in words.cut("é " + text)[1:]]


@given(st.text("ab. ", min_size=1), st.data())
def test_touched_words_are_those_that_share_a_character(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    borders = words.cut(text)
    shared = [i for i, (first, last) in enumerate(borders) if first < end and start < last]
    found = words.touched(start, end, borders)
    assert [*range(found.first, found.last)] == shared if found else not shared
    if found and not found.widened:
        assert borders[shared[0]][0] == start
        assert borders[shared[-1]][1] == end


# brat

TEXT = "Anna met Bo in\nNew York.\n\n東京 🎸!\n"


def document(folder: Path, marks: str, text: str = TEXT) -> Path:
    write(folder / "a.ann", marks)
    return write(folder / "a.txt", text)


def test_brat(tmp_path: Path) -> None:
    marks = (
        "T1\tPER 0 4\tAnna\nT2\tGPE 15 23\tNew York\nT3\tORG 15 18\tNew\nT4\tGPE 26 28\t東京\nT9\tX 29 30\t🎸\n"
        "R1\tmet Arg1:T1 Arg2:T2\nE1\tX:T1\nA1\tNeg T1\n#1\tAnnotatorNotes T1\tsure?\n*\tEquiv T1 T2\n\n"
    )
    expected = [
        ("Anna|met|Bo|in", [(0, 1, "PER")]),
        ("New|York|.", [(0, 1, "ORG"), (0, 2, "GPE")]),
        ("東|京|🎸|!", [(0, 2, "GPE"), (2, 3, "X")]),
    ]
    assert read(document(tmp_path, marks)) == expected
    assert read(document(tmp_path, marks, "\ufeff" + TEXT)) == expected
    windows = marks.replace("15 23", "16 24").replace("15 18", "16 19").replace("26 28", "29 31")
    assert read(document(tmp_path, windows.replace("29 30", "32 33"), TEXT.replace("\n", "\r\n"))) == expected


def test_what_brat_marks_lose_is_counted(tmp_path: Path) -> None:
    marks = "T1\tPER 0 4;9 11\tAnna Bo\nT2\tGPE 12 18\tin New\nT3\tGPE 19 22\tYor\nT4\tGPE 20 23\tork\n"
    report = Report()
    assert read(document(tmp_path, marks), report)[1] == ("New|York|.", [(1, 2, "GPE")])
    ann = tmp_path / "a.ann"
    said = "\n".join(report.remarks)
    assert f"mentions with gaps: 1 (the first: {ann}:1: " in said
    assert f"mentions that go on in the next line: 1 (the first: {ann}:2: 'in New')" in said
    assert f"mentions that begin or end inside a word or on a blank: 2 (the first: {ann}:3: 'Yor' as 'York')" in said
    assert said.count("left out") == 2


@pytest.mark.parametrize(
    ("mark", "said"),
    [
        ("T1\tPER 0 4\tBert", "mark 0-4 covers 'Anna', but says 'Bert'"),
        ("T1\tPER 4 5\t ", "mark 4-5 covers no word"),
        ("T1\tPER 90 99\tAnna", "mark 90-99 is past the end of a.txt, which has 32 characters"),
        ("T1\tPER 0 99\tAnna", "mark 0-99 is past the end"),
        ("T1\tPER 4 4\t", "empty mark 4-4"),
        ("T1\tPER\tAnna", "expected a mark like"),
        ("T1 PER 0 4 Anna", "expected a mark like"),
        ("Anna", "expected a mark like"),
        ("nonsense", "expected a mark like"),
    ],
)
def test_malformed_marks_are_named(tmp_path: Path, mark: str, said: str) -> None:
    path = document(tmp_path, f"T7\tPER 0 4\tAnna\n{mark}\nT8\tPER 9 11\tBo\n")
    report = Collected()
    found = read(path, report)
    assert found[0] == ("Anna|met|Bo|in", [(0, 1, "PER"), (2, 3, "PER")])
    assert report.places == [("brat", 2)]
    assert said in str(report.problems[0])


def test_texts_without_marks(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", TEXT)
    assert_refused(path, 0, "a text without its .ann file", format="brat")
