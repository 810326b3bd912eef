"""Tag schemes and file readers: what is read, and what is said where nothing can be read."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cl_ner_bench.corpora.readers.conll2012 import normalise, read_conll2012
from cl_ner_bench.corpora.readers.folder import find_parts, read_file
from cl_ner_bench.corpora.schemes import SCHEMES, detect, to_mentions, to_tags
from cl_ner_bench.corpora.sentence import Mention, Sentence
from cl_ner_bench.errors import UserError


def read(path: Path) -> list[Sentence]:
    return list(read_file(path, []))


# Schemes


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


@given(flat(), st.sampled_from(["BIO", "BIOES"]))
def test_decoding_equals_seqeval(drawn: tuple[list[Mention], int], scheme: str) -> None:
    seqeval = pytest.importorskip("seqeval.metrics.sequence_labeling")
    mentions, n = drawn
    tags = to_tags(mentions, n, scheme)
    assert sorted((s, e + 1, t) for t, s, e in seqeval.get_entities(tags)) == [tuple(m) for m in to_mentions(tags)]


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
        (["O"], "BIO"),
    ],
)
def test_scheme_is_detected(tags: list[str], scheme: str) -> None:
    assert scheme in SCHEMES
    assert detect([tags]) == scheme


def test_bilou_and_illegal_tags_are_read_as_conlleval_does() -> None:
    assert to_mentions(["B-A", "I-A", "L-A", "U-A"]) == (Mention(0, 3, "A"), Mention(3, 4, "A"))
    assert to_mentions(["O", "I-A", "I-B", "I-B"]) == (Mention(1, 2, "A"), Mention(2, 4, "B"))


def test_tags_do_not_nest() -> None:
    with pytest.raises(ValueError, match="nest"):
        to_tags([Mention(0, 3, "A"), Mention(1, 2, "B")], 3)


# Files


def test_jsonl_in_all_its_shapes(tmp_path: Path) -> None:
    rows = [
        {"tokens": ["Anna", "met", "Bo"], "entities": [{"start": 0, "end": 1, "label": "PER"}]},
        {"words": ["Anna", "Bo"], "spans": [[1, 2, "PER"], [0, 2, "ORG"]]},
        {"tokens": ["Anna", "Bo"], "ner_tags": ["B-PER", "I-PER"]},
        {"tokens": ["x"], "entities": []},
    ]
    text = "\n".join(map(json.dumps, rows)) + "\n\n"
    (tmp_path / "a.jsonl").write_text(text)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    expected = [
        Sentence(0, ("Anna", "met", "Bo"), (Mention(0, 1, "PER"),)),
        Sentence(1, ("Anna", "Bo"), (Mention(0, 2, "ORG"), Mention(1, 2, "PER"))),
        Sentence(2, ("Anna", "Bo"), (Mention(0, 2, "PER"),)),
        Sentence(3, ("x",), ()),
    ]
    assert read(tmp_path / "a.jsonl") == read(tmp_path / "b.jsonl.gz") == expected


@pytest.mark.parametrize(
    "text",
    [
        "Anna\tB-PER\nmet\tO\n\nBo\tB-PER\n",
        "\ufeffAnna\tB-PER\r\nmet\tO\r\n\t\r\nBo\tB-PER",
        "-DOCSTART- -X- O\n\nAnna NNP B-PER\nmet VBD O\n \nBo NNP B-PER\n",
        "-DOCSTART- -X- O\nAnna  I-PER\nmet  O\n\n\nBo \t I-PER\n",
    ],
    ids=["plain", "bom-crlf-tab-line", "conll2003", "iob1-blanks"],
)
def test_columns(tmp_path: Path, text: str) -> None:
    path = tmp_path / "train.conll"
    path.write_bytes(text.encode())
    expected = [Sentence(0, ("Anna", "met"), (Mention(0, 1, "PER"),)), Sentence(1, ("Bo",), (Mention(0, 1, "PER"),))]
    assert read(path) == expected


def test_words_may_hold_unicode_line_ends_and_blanks(tmp_path: Path) -> None:
    path = tmp_path / "train.tsv"
    path.write_text("a\u2028b\tO\nNew York\tB-LOC\nc\x85\tO\n", encoding="utf-8", newline="\n")
    assert read(path) == [Sentence(0, ("a\u2028b", "New York", "c\x85"), (Mention(1, 2, "LOC"),))]


def test_few_nerd_columns_have_io_tags(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_text("In\tO\nNew\tlocation-GPE\nYork\tlocation-GPE\nBBC\torganization-media/newspaper\n\nHe\tO\n")
    mentions = (Mention(1, 3, "location-GPE"), Mention(3, 4, "organization-media/newspaper"))
    assert read(path) == [Sentence(0, ("In", "New", "York", "BBC"), mentions), Sentence(1, ("He",), ())]


def test_illegal_tags_leave_a_remark(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_text("a\tB-A\nb\tI-A\n\nc\tB-A\nd\tO\ne\tI-B\n")
    remarks: list[str] = []
    sentences = list(read_file(path, remarks))
    assert sentences[1].mentions == (Mention(0, 1, "A"), Mention(2, 3, "B"))
    assert len(remarks) == 1
    assert "1 sentences" in remarks[0]
    assert "illegal in BIO" in remarks[0]
    assert "line 4" in remarks[0]


OK = '{"tokens": ["a", "b"], "entities": []}\n'


@pytest.mark.parametrize(
    ("name", "text", "line", "said"),
    [
        ("x.jsonl", OK + '{"tokens": ["a"]', 2, "not JSON"),
        ("x.jsonl", OK + "[1]", 2, "expected a JSON object"),
        ("x.jsonl", '{"entities": []}', 1, "'tokens'"),
        ("x.jsonl", '{"tokens": [], "entities": []}', 1, "'tokens'"),
        ("x.jsonl", '{"tokens": ["a", " "], "entities": []}', 1, "'tokens'"),
        ("x.jsonl", '{"tokens": ["a"]}', 1, "no 'entities' and no 'tags'"),
        ("x.jsonl", '{"tokens": ["a"], "entities": [{"start": 0, "end": 1}]}', 1, "start, end and label"),
        ("x.jsonl", '{"tokens": ["a"], "entities": [[0, 2, "A"]]}', 1, "does not fit a sentence of 1 words"),
        ("x.jsonl", '{"tokens": ["a"], "entities": [[-1, 1, "A"]]}', 1, "does not fit"),
        ("x.jsonl", '{"tokens": ["a", "b"], "entities": [[1, 0, "A"]]}', 1, "does not fit"),
        ("x.jsonl", OK + OK + '{"tokens": ["a"], "entities": [[0, 0, "A"]]}', 3, "empty mention 0-0"),
        ("x.jsonl", '{"tokens": ["a"], "entities": [["0", 1, "A"]]}', 1, "whole numbers"),
        ("x.jsonl", '{"tokens": ["a"], "entities": [[0, true, "A"]]}', 1, "whole numbers"),
        ("x.jsonl", '{"tokens": ["a", "b"], "tags": ["O"]}', 1, "one tag string for each of 2 words"),
        ("x.jsonl", '{"tokens": ["a"], "ner_tags": [3]}', 1, "numbers need their names"),
        ("x.jsonl", '{"tokens": ["a", "b"], "tags": ["B-A", "Q-A"]}', 1, "unknown tag 'Q-A'"),
        ("x.conll", "a O\nb B-A\nc Q-A\n", 3, "unknown tag 'Q-A'"),
        ("x.conll", "a O\nb B-A\n\nc A\n", 4, "unknown tag 'A'"),
        ("x.conll", "a X O\nb O\n", 2, "2 columns where the first row has 3"),
        ("x.conll", "a\tO\nb O\n", 2, "1 columns where the first row has 2"),
        ("x.conll", "alone\n", 1, "expected a word and a tag"),
        ("x.conll", "a\tO\n\tO\n", 2, "the word or the tag is empty"),
        ("x.conll", "a\tO\nb\t\n", 2, "the word or the tag is empty"),
        ("x.conll", b"a\tO\n\xe9\tO\n", 2, "not UTF-8"),
        ("x.jsonl.gz", b"no gzip", 1, "broken gzip"),
    ],
)
def test_malformed_lines_are_named(tmp_path: Path, name: str, text: str | bytes, line: int, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:{line}: ")
    assert said in message
    assert re.search(r"\. [A-Z'].+", message), "no suggested fix"


# Folders


@pytest.mark.parametrize(
    "names",
    [
        ["train.txt", "dev.txt", "test.txt"],
        ["wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated"],
        ["eng.train", "eng.testa", "eng.testb"],
        ["en_train.jsonl.gz", "en_validation.jsonl.gz", "en_test.jsonl.gz"],
        ["Train.bio", "valid.iob2", "TEST.tsv"],
    ],
)
def test_parts_are_found_by_name(tmp_path: Path, names: list[str]) -> None:
    for other in ("README.md", "test_notes.md", ".train.swp", "train.json", "contest.py", "latest", "v4_train.ids"):
        (tmp_path / other).touch()
    for name in names:
        (tmp_path / name).touch()
    assert {part: path.name for part, path in find_parts(tmp_path).items()} == dict(
        zip(("train", "dev", "test"), names, strict=True)
    )


def test_missing_and_ambiguous_parts(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no train file among no files"):
        find_parts(tmp_path)
    (tmp_path / "a.train").touch()
    (tmp_path / "test.txt").touch()
    with pytest.raises(UserError, match=r"no dev file among a.train, test.txt"):
        find_parts(tmp_path)
    (tmp_path / "b.train").touch()
    with pytest.raises(UserError, match=r"several files could be the train part: a.train, b.train"):
        find_parts(tmp_path)


# OntoNotes


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


def test_ontonotes_documents_follow_the_lists(ontonotes: Path) -> None:
    remarks: list[str] = []
    parts = read_conll2012(ontonotes, IDS, ["pt/"], remarks)
    assert parts == {
        "train": [Sentence(0, ("Ann", "left"), (Mention(0, 1, "PERSON"),))],
        "dev": [Sentence(0, ("New", "York", "."), (Mention(0, 2, "GPE"),))],
        "test": [Sentence(0, ("(", "Bo", "um"), (Mention(1, 2, "PERSON"),))],
    }
    assert remarks == [
        "dev: 1 documents of the card's list are not there",
        "3 of 7 files were read: the documents of the card's lists, without pt/",
    ]


def test_ontonotes_v4_layout_and_parts_of_a_document(tmp_path: Path) -> None:
    name = "nw/a/00/a_0001"
    for part in ("train", "development", "test"):
        path = tmp_path / f"v4/data/{part}/data/english/annotations/{name}.v4_gold_conll"
        path.parent.mkdir(parents=True)
        path.write_text(document(name, "Ann|(PERSON)", "b|*") + document(name, "c|*", part=1))
    parts = read_conll2012(tmp_path, {}, [], [])
    assert [[s.words for s in parts[part]] for part in parts] == [[("Ann",), ("b",), ("c",)]] * 3


@pytest.mark.parametrize(
    ("sentence", "line", "said"),
    [
        ("Ann|(PERSON left|*", 2, "'(PERSON' is never closed"),
        ("Ann|* left|*)", 3, "')' closes no name"),
        ("[WORD]|* [WORD]|*", 2, "words are missing"),
    ],
)
def test_malformed_ontonotes(ontonotes: Path, sentence: str, line: int, said: str) -> None:
    path = ontonotes / "data/train/data/english/annotations/nw/a/00/a_0001.gold_conll"
    path.write_text(document("nw/a/00/a_0001", sentence))
    with pytest.raises(UserError, match=re.escape(f"{path}:{line}: ") + ".*" + re.escape(said)):
        read_conll2012(ontonotes, IDS, ["pt/"], [])


def test_ragged_ontonotes(ontonotes: Path) -> None:
    path = ontonotes / "data/train/data/english/annotations/nw/a/00/a_0001.gold_conll"
    path.write_text("#begin document (nw/a/00/a_0001); part 000\nnw/a 0 0 Ann NNP\n")
    with pytest.raises(UserError, match=re.escape(f"{path}:2: 5 columns")):
        read_conll2012(ontonotes, IDS, ["pt/"], [])


def test_ontonotes_folders_without_files_or_a_part(ontonotes: Path) -> None:
    with pytest.raises(UserError, match=r"no \*.gold_conll"):
        read_conll2012(ontonotes / "data/nowhere", {}, [], [])
    with pytest.raises(UserError, match="no documents of the train part"):
        read_conll2012(ontonotes, {"train": {"other"}}, [], [])


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        *[("/.", "."), ("/?", "?"), ("/-", "-"), ("/", "/"), ("/a", "/a"), ("-LRB-", "("), ("-RCB-", "}")],
        *[("%um", "um"), ("%", "%"), ("50%", "50%"), ("%5", "%5"), ("1\\/2", "1/2"), ("and/or", "and/or")],
    ],
)
def test_escaped_words(raw: str, word: str) -> None:
    assert normalise(raw) == word
