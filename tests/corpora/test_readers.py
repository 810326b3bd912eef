"""Text files and columns, the parts of a folder, and a card's reader options."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from cl_ner_bench.corpora.readers.folder import open_parts
from cl_ner_bench.corpora.readers.options import ReaderOptions
from cl_ner_bench.corpora.readers.problems import Report, SilentReport
from cl_ner_bench.corpora.sentence import PARTS
from cl_ner_bench.errors import UserError
from tests.corpora.reading import Collected, assert_refused, mentions, read, write

ANNA = [("Anna|met", [(0, 1, "PER")]), ("Bo", [(0, 1, "PER")])]

# Columns


@pytest.mark.parametrize(
    "text",
    [
        "Anna\tB-PER\nmet\tO\n\nBo\tB-PER\n",
        "\ufeffAnna\tB-PER\r\nmet\tO\r\n\t\r\nBo\tB-PER",
        "-DOCSTART- -X- O\n\nAnna NNP B-PER\nmet VBD O\n \nBo NNP B-PER\n",
        "-DOCSTART- -X- O\nAnna  I-PER\nmet  O\n\n\nBo \t I-PER\n",
        "Anna,B-PER\nmet,O\n\nBo,B-PER\n",
        "Anna\tB-PER\t\nmet\tO\t\n\nBo\tB-PER\n",
        "Anna\tS-PER \nmet\tO\n\nBo\tU-PER\n",
        "Anna\tPER\nmet\tO\n\nBo\tPER\n",
    ],
    ids=["plain", "bom-crlf-tab-line", "conll2003", "iob1-blanks", "commas", "trailing-tab", "bioes-bilou", "io"],
)
def test_columns(tmp_path: Path, text: str) -> None:
    assert read(write(tmp_path / "train.conll", text)) == ANNA
    assert read(write(tmp_path / "train.gz", gzip.compress(text.encode()))) == ANNA
    assert read(write(tmp_path / "zipped.txt", gzip.compress(text.encode()))) == ANNA


def test_separator_and_columns_can_be_given(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "B-PER;x;Anna\nO;y;met it\n\nB-PER;z;Bo\n")
    found = read(path, separator=";", word_column=-1, tag_columns=[0])
    assert found == [("Anna|met it", [(0, 1, "PER")]), ("Bo", [(0, 1, "PER")])]


def test_words_may_hold_unicode_line_ends_and_blanks(tmp_path: Path) -> None:
    path = write(tmp_path / "train.tsv", "a\u2028b\tO\nNew York\tB-LOC\nc\x85\tO\n \xa0\t\n")
    assert read(path) == [("a\u2028b|New York|c\x85", [(1, 2, "LOC")])]


def test_io_tags_without_prefix(tmp_path: Path) -> None:
    text = "In\tO\nNew\tlocation-GPE\nYork\tlocation-GPE\nBBC\torganization-media/newspaper\n\nHe\tO\n"
    found = [(1, 3, "location-GPE"), (3, 4, "organization-media/newspaper")]
    assert read(write(tmp_path / "train.txt", text)) == [("In|New|York|BBC", found), ("He", [])]
    coarse = read(tmp_path / "train.txt", type_until="-", rename={"organization": "ORG", "location": ""})
    assert coarse == [("In|New|York|BBC", [(3, 4, "ORG")]), ("He", [])]


GERMEVAL = "#\tn-tv.de\t2005\n1\tBonner\tB-LOCderiv\tO\n2\tUni\tI-ORG\tB-LOC\n3\t#\tO\tO\n\n#\tx\n1\t#\tO\tO\n"


def test_layers_are_united_and_comments_skipped(tmp_path: Path) -> None:
    path = write(tmp_path / "train.tsv", GERMEVAL)
    found = read(path, word_column=1, tag_columns=[2, 3], comment="#", scheme="BIO")
    assert found == [("Bonner|Uni|#", [(0, 1, "LOCderiv"), (1, 2, "LOC"), (1, 2, "ORG")]), ("#", [])]
    for text in ("#made-up\n\nAnna\tB-A\n", "#made up\nAnna\tB-A\n"):
        said = "the first row begins with '#': '#made"
        assert_refused(write(tmp_path / "a.txt", text), 1, said)
        assert_refused(tmp_path / "a.txt", 1, 'Comment lines? Name them in a card: [reader_options] comment = "#"')
    assert read(write(tmp_path / "a.txt", "#tag\tO\nAnna\tB-A\n")) == [("#tag|Anna", [(1, 2, "A")])]
    assert_refused(write(tmp_path / "a.txt", "#tag\tO\nmet\n"), 2, "1 column where the first row has 2")
    assert read(write(tmp_path / "a.txt", "#tag\tA\nAnna\tO\n")) == [("#tag|Anna", [(0, 1, "A")])]


def test_skipped_lines_that_could_be_rows_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "# a remark\n#one\tO\nAnna\tB-A\n#inside\tO\n\n# x\n#two\tB-A\n")
    report = Report()
    assert read(path, report, comment="#") == [("Anna|#inside", [(0, 1, "A")])]
    assert [remark.split(";")[0] for remark in report.remarks] == [
        f"lines that look like rows but begin with the comment prefix: 2 (the first: {path}:2: '#one\\tO')"
    ]
    report = SilentReport()
    assert read(write(tmp_path / "a.txt", "# a\n# b\n"), report, comment="#") == []
    assert report.remarks == []


def test_the_phrases_of_conll_2003_are_no_other_layer(tmp_path: Path) -> None:
    report = Report()
    read(write(tmp_path / "a.txt", "Anna NNP B-NP B-PER\nsings VB B-VP O\n. . O O\n"), report)
    assert report.remarks == []


def test_identical_mentions_of_layers_and_renamed_types_are_one(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "Rom\tB-LOC\tB-LOC\tB-GPE\t\n")
    assert read(path, tag_columns=[1, 2, 3]) == [("Rom", [(0, 1, "GPE"), (0, 1, "LOC")])]
    assert read(path, tag_columns=[1, 2, 3], rename={"GPE": "LOC"}) == [("Rom", [(0, 1, "LOC")])]


def test_columns_that_are_not_read_are_remarked_upon(tmp_path: Path) -> None:
    report = Report()
    read(write(tmp_path / "a.tsv", "7\tin\tO\tO\n2\tRom\tB-LOC\tO\n"), report)
    assert len(report.remarks) == 2
    assert "column 0, read as words, looks like an index (as '7')" in report.remarks[0]
    assert "columns [2] look like tags, too" in report.remarks[1]
    report = Report()
    read(tmp_path / "a.tsv", report, word_column=1, tag_columns=[3])
    assert report.remarks == []


def test_illegal_tags_are_read_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "train.txt", "a\tB-A\nb\tI-A\n\nc\tB-A\nd\tO\ne\tI-B\n\nf\tI-A\n")
    report = Report()
    assert read(path, report)[1] == ("c|d|e", [(0, 1, "A"), (2, 3, "B")])
    assert len(report.remarks) == 1
    assert report.remarks[0].startswith(
        f"tags that are illegal in their scheme: 2 (the first: {path}:6: 'I-B' after 'O'"
    )
    assert "a mention begins at B" in report.remarks[0]
    report = Report()
    read(path, report, scheme="IO")
    assert report.remarks[0].startswith(f"tags that are illegal in their scheme: 2 (the first: {path}:1: 'B-A'")


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a O\nb B-A\nc Q-A\n", 3, "unknown tag 'Q-A', expected O or B-"),
        ("a O\nb B-A\n\nc A\n", 4, "unknown tag 'A'"),
        ("a A\nb A\n\nc B-A\n", 4, "unknown tag 'B-A', expected O or a bare type"),
        ("a O\nb B_A\nc I_A\nd C\n", 1, "some tags are written like 'B_A', others are bare types"),
        ("a O\nb A-B\nc A-I\nd C\n", 1, "some tags are written like 'A-B', others are bare types"),
        ("".join(f"w{i} NN\n" for i in range(100)), 1, "no word of this file is tagged O"),
        ("a X O\nb O\n", 2, "2 columns where the first row has 3"),
        ("a\tO\nb O\n", 2, "1 column where the first row has 2"),
        ("alone\n", 1, "1 column, expected a word and a tag: 'alone'"),
        ("a\tO\n\tO\n", 2, "the word is empty"),
        ("a\tO\n\xa0\tO\n", 2, "the word is empty or blank"),
        ("a\tO\nb\t\n", 2, "the tag is empty"),
        (b"a\tO\n\xe9\tO\n", 2, "not UTF-8"),
        ("a\tO\n".encode("utf-16"), 1, "UTF-16"),
        ("a\tO\rb\tO\r", 1, "carriage return"),
        ("a\tO\n\n\ufeffb\tO\n", 3, "byte-order mark inside"),
        (b"a\tO\n\0\tO\n", 2, "NUL"),
        (gzip.compress(b"a\tO\n" * 999, mtime=0)[:-9], 1, "broken gzip"),
    ],
)
def test_malformed_columns_are_named(tmp_path: Path, text: str | bytes, line: int, said: str) -> None:
    assert_refused(write(tmp_path / "x.conll", text), line, said)


def test_columns_that_are_not_there(tmp_path: Path) -> None:
    path = write(tmp_path / "x.conll", "\na b O\n")
    for options in ({"word_column": 3}, {"tag_columns": [1, -4]}, {"tag_columns": [0]}, {"tag_columns": [2, -1]}):
        assert_refused(path, 2, "3 columns, expected a word in column", **options)
    assert_refused(tmp_path / "none.conll", 0, "cannot be read (No such file or directory)")


def test_what_can_be_read_is_read_after_problems(tmp_path: Path) -> None:
    text = b"a\tO\nb\n\nc\tB-A\n\n\xff\tO\nd\tB-A\n\ne\tX-A\nf\tY-A\n\ng\tO\n"
    report = Collected()
    assert read(write(tmp_path / "x.conll", text), report) == [("c", [(0, 1, "A")]), ("d", [(0, 1, "A")]), ("g", [])]
    assert report.places == [("columns", 2), ("encoding", 6), ("tags", 9), ("tags", 10)]


@pytest.mark.slow
def test_files_are_streamed(tmp_path: Path) -> None:
    path = write(tmp_path / "x.conll", "a\tO\n\n" * 60_000 + "b\n")
    rows = iter(
        open_parts(tmp_path, ReaderOptions.of({"files": dict.fromkeys(PARTS, "x.conll")}, ""), Report())["train"]
    )
    assert next(rows).words == ("a",)
    with pytest.raises(UserError, match=":120001: "):
        list(rows)
    assert path.exists()


# Folders


def found(folder: Path, **options: Any) -> dict[str, str]:
    """The words of each part."""
    parts = open_parts(folder, ReaderOptions.of(options, "card"), Report())
    return {part: " ".join(word for row in rows for word in row.words) for part, rows in parts.items()}


@pytest.mark.parametrize(
    "names",
    [
        ["train.txt", "dev.txt", "test.txt"],
        ["wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated"],
        ["eng.train", "eng.testa", "eng.testb"],
        ["en_train.jsonl.gz", "en_validation.jsonl.gz", "en_test.jsonl.gz"],
        ["Train.bio", "valid.iob2", "TEST.tsv"],
        ["training/a.txt", "devel/b/c.txt", "test/.hidden/d.txt"],
    ],
)
def test_parts_are_found_by_name(tmp_path: Path, names: list[str]) -> None:
    for other in ("README.md", "test_notes.md", ".train.swp", "train.json", "contest.py", "latest", "v4_train.ids"):
        write(tmp_path / other, "")
    for name, word in zip(names, PARTS, strict=True):
        text = f'{{"tokens": ["{word}"], "tags": ["O"]}}' if "jsonl" in name else f"{word} O\n"
        write(tmp_path / name, gzip.compress(text.encode()) if name.endswith(".gz") else text)
    assert found(tmp_path) == {part: part for part in PARTS}


def test_json_lists_and_shards_are_parts_too(tmp_path: Path) -> None:
    for part in PARTS:
        write(tmp_path / f"{part}.json", f'[{{"tokens": ["{part}"], "tags": ["O"]}}]')
    assert found(tmp_path) == {part: part for part in PARTS}
    for i in range(2):
        write(tmp_path / f"train-0000{i}-of-00002.txt", f"{i} O\n")
    assert found(tmp_path)["train"] == "0 1"


def test_missing_ambiguous_and_empty_parts(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no train file among no files"):
        found(tmp_path)
    write(tmp_path / "a.train", "a O\n")
    write(tmp_path / "test.txt", "\n\n")
    with pytest.raises(UserError, match=r"no dev file among a.train, test.txt"):
        found(tmp_path)
    write(tmp_path / "dev.txt", "a O\n")
    with pytest.raises(UserError, match=r"test.txt: no sentences; expected the test part here"):
        found(tmp_path)
    write(tmp_path / "b.train", "")
    with pytest.raises(UserError, match=r"several files could be the train part: a.train, b.train"):
        found(tmp_path)


def test_files_and_documents_can_be_named(tmp_path: Path) -> None:
    for i in range(21):
        write(tmp_path / f"tsv/{i:02}.tsv", f"{i} O\n")
    files = {"train": "*/1?.tsv", "dev": "tsv/00.tsv", "test": "01.tsv"}
    with pytest.raises(UserError, match=r"no file '01.tsv'"):
        found(tmp_path, files=files)
    files["test"] = "tsv/01.tsv"
    ten = " ".join(map(str, range(10, 20)))
    assert found(tmp_path, files=files) == {"train": ten, "dev": "0", "test": "1"}
    rest = " ".join(str(i) for i in range(21) if i % 10 > 1)
    assert found(tmp_path, documents="tsv/*.tsv") == {"train": rest, "dev": "0 10 20", "test": "1 11"}
    assert found(tmp_path, documents="*.tsv", subfolder="tsv")["dev"] == "0 10 20"
    for pattern in ("*.conll", "**x"):
        with pytest.raises(UserError, match="0 files match"):
            found(tmp_path, documents=pattern)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seperator": ","}, r"unknown key 'reader_options.seperator'.*Did you mean 'separator'"),
        ({"scheme": "BOI"}, r"scheme': expected one of auto, IO, .*found 'BOI'. Did you mean 'BIO'"),
        ({"format": "csv"}, "format': expected one of auto, columns"),
        ({"parts_rule": "half"}, "every tenth"),
        ({"separator": ""}, "separator': expected a text"),
        ({"word_column": True}, "word_column': expected a whole number"),
        ({"tag_columns": 1}, "tag_columns': expected a list"),
        ({"tag_columns": []}, "tag_columns': expected a list"),
        ({"tag_names": ["O", 1]}, "tag_names': expected a list of tags"),
        ({"rename": ["A"]}, "rename': expected a table"),
        ({"rename": {"A": 1}}, "rename': expected a table"),
        ({"files": {"train": "a", "dev": "b"}}, "files': expected a table with a file name"),
        ({"files": {"train": "a", "dev": "b", "test": ""}}, "files': expected"),
        ({"documents": "/etc/*"}, "documents': expected a glob of files, relative"),
        ({"subfolder": "/etc"}, "subfolder': expected a folder's name, relative"),
        ({"path": 3}, "path': expected a path"),
        ({"tag_columns": [10**5000]}, "tag_columns': expected a list"),
        ({"files": dict.fromkeys(PARTS, "a"), "documents": "*"}, "either 'files' or 'documents', not both"),
    ],
)
def test_reader_options_are_checked(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=f"^card x: .*{said}"):
        ReaderOptions.of(options, "card x")


def test_types_are_cut_then_renamed_then_united() -> None:
    options = ReaderOptions.of({"type_until": "-", "rename": {"per": "PER", "misc": ""}}, "")
    given = mentions((0, 1, "per-actor"), (0, 1, "per-other"), (1, 2, "misc-x"), (2, 3, "loc"))
    assert options.of_types(given) == mentions((0, 1, "PER"), (2, 3, "loc"))
    assert ReaderOptions().of_types(given) is given


# Real corpora


@pytest.mark.slow
@pytest.mark.parametrize(
    ("corpus", "options", "counts"),
    [
        ("wnut17", {}, {"train": (3394, 1975), "dev": (1009, 836), "test": (1287, 1079)}),
        ("fewnerd", {}, {"train": (11398, 34247), "dev": (1583, 4599), "test": (3219, 9479)}),
        (
            "litbank",
            {"documents": "tsv/*.tsv", "tag_columns": [1, 2, 3, 4]},
            {"train": (6778, 11049), "dev": (852, 1566), "test": (932, 1297)},
        ),
    ],
)
def test_real_corpora_have_their_counts(
    real_data: Path, corpus: str, options: dict[str, Any], counts: dict[str, tuple[int, int]]
) -> None:
    report = Report()
    parts = open_parts(real_data / corpus, ReaderOptions.of(options, ""), report)
    read_counts = {}
    for part, rows in parts.items():
        sizes = [len(row.mentions) for row in rows]
        read_counts[part] = len(sizes), sum(sizes)
    assert read_counts == counts
    assert report.remarks == []
