"""OntoNotes in CoNLL-2012 form."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pytest

from cl_ner_bench.corpora.readers.conll2012 import Conll2012Options, open_conll2012, unescape
from cl_ner_bench.corpora.readers.problems import Report
from cl_ner_bench.errors import UserError
from tests.corpora.reading import Collected, Read


def document(name: str, *sentences: str, part: int = 0) -> str:
    """A CoNLL-2012 document; a sentence is written as 'word|cell word|cell'."""
    out = [f"#begin document ({name}); part {part:03d}"]
    for sentence in sentences:
        for i, pair in enumerate(sentence.split()):
            word, cell = pair.rsplit("|", 1)
            columns = [name, part, i, word, "NN", "(TOP*)", "-", "-", "-", "Speaker#1", cell, "(ARG0*)", "-"]
            out.append("   ".join(map(str, columns)))
        out.append("")
    return "\n".join([*out, "#end document", ""])


@pytest.fixture
def ontonotes(tmp_path: Path) -> Path:
    """A tiny copy in the layout of the larger distribution."""
    texts = {
        "train": {"nw/a/00/a_0001": "Ann|(PERSON) left|*", "nw/a/00/a_0002": "No|* list|*", "pt/nt/40/nt_4001": "x|*"},
        "development": {"nw/a/00/a_0010": "New|(GPE* York|*) /.|*"},
        "test": {"nw/a/00/a_0020": "Not|* official|*"},
        "conll-2012-test": {"bc/b/00/b_0001": "-LRB-|* Bo|(PERSON) %um|*", "pt/nt/41/nt_4101": "y|*"},
    }
    for part, documents in texts.items():
        for name, sentence in documents.items():
            path = tmp_path / f"data/{part}/data/english/annotations/{name}.gold_conll"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(document(name, sentence))
    chinese = tmp_path / "data/train/data/chinese/annotations/nw/a/00/a_0001.gold_conll"
    chinese.parent.mkdir(parents=True)
    chinese.write_text(document("nw/a/00/a_0001", "zh|(ORG)"))
    return tmp_path


IDS = {"train": {"nw/a/00/a_0001", "pt/nt/40/nt_4001"}, "dev": {"nw/a/00/a_0010", "nw/a/00/a_0011"}}


def read(
    folder: Path,
    ids: Mapping[str, Collection[str]],
    exclude: Collection[str],
    report: Report | None = None,
    **options: Any,
) -> dict[str, Read]:
    parts = open_conll2012(folder, ids, Conll2012Options(exclude=tuple(exclude), **options), report or Report())
    return {
        part: [("|".join(row.words), [tuple(m) for m in row.mentions]) for row in rows] for part, rows in parts.items()
    }


def test_documents_follow_the_lists(ontonotes: Path) -> None:
    report = Report()
    assert read(ontonotes, IDS, ["pt/"], report) == {
        "train": [("Ann|left", [(0, 1, "PERSON")])],
        "dev": [("New|York|.", [(0, 2, "GPE")])],
        "test": [("(|Bo|um", [(1, 2, "PERSON")])],
    }
    assert report.remarks == [
        "dev: 1 documents of the card's list are not there",
        "3 of 7 files were read: the documents of the card's lists, without pt/",
    ]


def test_words_can_be_left_as_they_are_and_the_other_test_folder_be_taken(ontonotes: Path) -> None:
    report = Report()
    parts = read(ontonotes, {}, ["pt/"], report, normalise=False, test_folder="test")
    assert parts["dev"] == [("New|York|/.", [(0, 2, "GPE")])]
    assert parts["test"] == [("Not|official", [])]
    assert parts["train"] == [("Ann|left", [(0, 1, "PERSON")]), ("No|list", [])]
    assert report.remarks == ["4 of 7 files were read: without pt/"]


def test_v4_layout_and_parts_of_a_document(tmp_path: Path) -> None:
    name = "nw/a/00/a_0001"
    for part in ("train", "development", "test"):
        path = tmp_path / f"v4/data/{part}/data/english/annotations/{name}.v4_gold_conll"
        path.parent.mkdir(parents=True)
        path.write_text(document(name, "Ann|(PERSON)", "b|*") + document(name, "c|*", part=1))
    parts = read(tmp_path, {}, [])
    assert [[words for words, _ in parts[part]] for part in parts] == [["Ann", "b", "c"]] * 3


@pytest.mark.parametrize(
    ("sentence", "line", "said"),
    [
        ("Ann|(PERSON left|*", 2, "'(PERSON' is never closed"),
        ("Ann|* left|*)", 3, "')' closes no name"),
        ("[WORD]|* [WORD]|*", 2, "words are missing"),
    ],
)
def test_malformed_names(ontonotes: Path, sentence: str, line: int, said: str) -> None:
    path = ontonotes / "data/train/data/english/annotations/nw/a/00/a_0001.gold_conll"
    path.write_text(document("nw/a/00/a_0001", sentence))
    with pytest.raises(UserError, match=re.escape(f"{path}:{line}: ") + ".*" + re.escape(said)):
        read(ontonotes, IDS, ["pt/"])


def test_ragged_rows_and_what_is_read_after_problems(ontonotes: Path) -> None:
    path = ontonotes / "data/train/data/english/annotations/nw/a/00/a_0001.gold_conll"
    path.write_text("#begin document (nw/a/00/a_0001); part 000\nnw/a 0 0 Ann NNP\n\n" + document("x", "b|*", "c|*)"))
    with pytest.raises(UserError, match=re.escape(f"{path}:2: 5 columns")):
        read(ontonotes, IDS, ["pt/"])
    report = Collected()
    assert read(ontonotes, IDS, ["pt/"], report)["train"] == [("b", [])]
    assert report.places == [("columns", 2), ("brackets", 7)]


def test_words_may_hold_the_blanks_of_unicode(ontonotes: Path) -> None:
    path = ontonotes / "data/train/data/english/annotations/nw/a/00/a_0001.gold_conll"
    path.write_text(document("nw/a/00/a_0001", "Ann|(PERSON) x|*").replace("Ann", "An\xa0n"), encoding="utf-8")
    assert read(ontonotes, IDS, ["pt/"])["train"] == [("An\xa0n|x", [(0, 1, "PERSON")])]


def test_folders_without_files_or_a_part(ontonotes: Path) -> None:
    with pytest.raises(UserError, match=r"no \*.gold_conll"):
        read(ontonotes / "data/nowhere", {}, [])
    with pytest.raises(UserError, match="no documents of the train part"):
        read(ontonotes, {"train": {"other"}}, [])


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        *[("/.", "."), ("/?", "?"), ("/-", "-"), ("/", "/"), ("/a", "/a"), ("-LRB-", "("), ("-RCB-", "}")],
        *[("%um", "um"), ("%", "%"), ("50%", "50%"), ("%5", "%5"), ("1\\/2", "1/2"), ("and/or", "and/or")],
    ],
)
def test_escaped_words(raw: str, word: str) -> None:
    assert unescape(raw) == word
