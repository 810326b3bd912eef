"""Stand-off blocks and exports of annotation tools, and formats that are named and not read."""

from __future__ import annotations

from pathlib import Path

import pytest

from cl_ner_bench.corpora.readers.problems import Report
from tests.corpora.reading import Collected, assert_refused, read, write

# PubTator

BLOCKS = """\
123|t|Anna met Bo.
123|a|She saw Rome; é🎸 Bonn.
123\t0\t4\tAnna\tPER\tD01
123\t9\t11\tBo\tPER
123\t21\t25\tRome\tLOC\t-1
123\t30\t34\tBonn\tLOC\t
123\tCID\tD01\tD02

x-4|t|No names
x-4|a|
"""


def test_pubtator(tmp_path: Path) -> None:
    expected = [
        ("Anna|met|Bo|.", [(0, 1, "PER"), (2, 3, "PER")]),
        ("She|saw|Rome|;|é|🎸|Bonn|.", [(2, 3, "LOC"), (6, 7, "LOC")]),
        ("No|names", []),
    ]
    for name, text in (("a.txt", BLOCKS), ("a.PubTator", "\n" + BLOCKS.replace("\n", "\r\n"))):
        report = Report()
        assert read(write(tmp_path / name, text), report) == expected
        assert len(report.remarks) == 1
        assert report.remarks[0].startswith("annotations other than mentions: 1 (the first:")
    # Blocks without an empty line between, and a column file whose first word holds bars.
    assert read(write(tmp_path / "a.txt", BLOCKS.replace("\n\n", "\n"))) == expected
    assert read(write(tmp_path / "a.txt", "a|b|c\tO\nAnna\tB-X\n")) == [("a|b|c|Anna", [(1, 2, "X")])]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("123\t0\t4\tBert\tPER", "mark 0-4 covers 'Anna', but says 'Bert'"),
        ("123\t90\t94\tAnna\tPER", "mark 90-94 is past the end of the text of '123'"),
        ("123\t4\t4\t\tPER", "empty mark 4-4"),
        ("124\t0\t4\tAnna\tPER", "a mark of '124' below the texts of '123'"),
        ("123\t0\t4\tAnna", "expected id|t|title"),
        ("nonsense", "expected id|t|title, id|a|abstract or a mark, found 'nonsense'"),
    ],
)
def test_malformed_rows_of_pubtator_are_named(tmp_path: Path, row: str, said: str) -> None:
    path = write(tmp_path / "a.txt", f"123|t|Anna met Bo.\n{row}\n123\t9\t11\tBo\tPER\n")
    report = Collected()
    assert read(path, report) == [("Anna|met|Bo|.", [(2, 3, "PER")])]
    assert report.places == [("pubtator", 2)]
    assert said in str(report.problems[0])


def test_what_marks_of_pubtator_lose_is_counted(tmp_path: Path) -> None:
    report = Report()
    text = "1|t|Anna Bo\n1|a|Berg\n1\t5\t12\tBo Berg\tPER\n1\t0\t3\tAnn\tPER\n"
    assert read(write(tmp_path / "a.txt", text), report) == [("Anna|Bo", [(0, 1, "PER")]), ("Berg", [])]
    said = "\n".join(report.remarks)
    assert "mentions that go on in the next line: 1 " in said
    assert f"{tmp_path / 'a.txt'}:4: 'Ann' as 'Anna'" in said


# WebAnno TSV 3

HEAD = "#FORMAT=WebAnno TSV 3.3\n"
NAMES = "#T_SP=de.tudarmstadt.ukp.dkpro.core.api.ner.type.NamedEntity|identifier|value\n"
POS = "#T_SP=de.tudarmstadt.ukp.dkpro.core.api.lexmorph.type.pos.POS|PosValue\n"
OWN = "#T_SP=webanno.custom.Entity|kind\n"
ROWS = """\

#Text=Anna Berg met Bo_X.
1-1\t0-4\tAnna\tNNP\t_\tPER[1]\t
1-2\t5-9\tBerg\tNNP\t_\tPER[1]|ORG[2]\t
1-3\t10-13\tmet\tVB\t_\tORG[2]|my\\|type\\_x\t
1-4\t14-16\tBo_X\tNNP\t_\tPER\t
1-4.1\t14-16\tBo\tNNP\t_\tPER\t

#Text=Rome saw Bonn
2-1\t18-22\tRome\tNNP\t_\tLOC\t
2-2\t23-26\tsaw\tVB\t_\t*\t
2-3\t27-31\tBonn\tNNP\t_\tLOC\t
"""
FOUND = [
    ("Anna|Berg|met|Bo_X", [(0, 2, "PER"), (1, 3, "ORG"), (2, 3, "my|type_x"), (3, 4, "PER")]),
    ("Rome|saw|Bonn", [(0, 1, "LOC"), (2, 3, "LOC")]),
]


def test_webanno(tmp_path: Path) -> None:
    report = Report()
    path = write(tmp_path / "a.tsv", HEAD + POS + NAMES + ROWS)
    assert read(path, report) == FOUND
    said = "\n".join(report.remarks)
    assert "mentions that begin or end inside a word or on a blank: 1 (the first:" in said
    assert "marks without a type: 1 (the first:" in said
    assert read(write(path, HEAD + POS + NAMES + ROWS.replace("\n\n", "\n"))) == FOUND  # no empty lines


def test_layers_of_webanno(tmp_path: Path) -> None:
    own = ROWS.replace("\t_\t", "\t")
    path = write(tmp_path / "a.tsv", HEAD + POS + OWN + own)
    assert read(path) == FOUND
    two = HEAD + OWN + OWN.replace("Entity", "Other") + own
    assert_refused(write(path, two), 6, "several layers of spans: webanno.custom.Entity, webanno.custom.Other")
    assert read(path, tag_columns=[4]) == FOUND
    assert_refused(write(path, HEAD + POS + own), 5, "no layer of spans")
    assert_refused(write(path, HEAD + OWN.replace("kind", "a|b") + ROWS), 5, "several features: a, b")
    bare = "#T_SP=webanno.custom.Drug\n\n1-1\t0-4\tAspirin\t*\t\n1-2\t5-9\thelps\t_\t\n"
    assert read(write(path, HEAD + bare)) == [("Aspirin|helps", [(0, 1, "Drug")])]


def test_malformed_rows_of_webanno_are_named(tmp_path: Path) -> None:
    text = HEAD + OWN + "1-1\t0-4\tAnna\n\n2-1\t5-8\tmet\tX\nnonsense\n3-1.1\t9-11\tBo\t_\n\n4-1\t9-11\t \tX\n"
    report = Collected()
    assert read(write(tmp_path / "a.tsv", text), report) == [("met", [(0, 1, "X")])]
    assert report.places == [("webanno", 3), ("webanno", 6), ("webanno", 7), ("words", 9)]
    report = Report()
    gap = HEAD + OWN + "1-1\t0-1\ta\tX[1]\n1-2\t2-3\tb\t_\n1-3\t4-5\tc\tX[1]\n"
    assert read(write(tmp_path / "a.tsv", gap), report) == [("a|b|c", [])]
    assert "mentions with gaps: 1 (the first:" in report.remarks[0]


# Formats that are not read


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b'<?xml version="1.0"?>\n<collection/>', "XML (BioC"),
        (b'<TEI xmlns="x">\n', "XML"),
        (b"<doc><ne>Anna</ne> sang.</doc>", "XML"),
        (b'TRAIN_DATA = [\n    ("Anna sang.", {"entities": [(0, 4, "PER")]}),\n]\n', "a list in Python's writing"),
        (b"[('Anna sang.', {'entities': [(0, 4, 'PER')]})]", "a list in Python's writing"),
        (b"PK\x03\x04\x14\0", "a zip file or a spreadsheet"),
        (b"\xff\xff\xff\xff\x10\0", "an Arrow file"),
        (b"\x80\x04\x95", "a pickle, which is not read because it could run code"),
        (b"\x78\x9c\xab", "a DocBin of spaCy"),
        (b"#FORMAT=WebAnno TSV 2.1\n", "WebAnno TSV of another version than 3"),
    ],
)
def test_other_formats_are_named_with_a_way_to_convert(tmp_path: Path, data: bytes, name: str) -> None:
    for path in (tmp_path / "train.json",) * name.startswith("a list") + (tmp_path / "train.dat",):
        assert_refused(write(path, data), 0, f"{name}")
    report = Collected()
    assert read(path, report) == []
    assert report.places == [("format", 0)]


def test_words_that_look_like_marks_of_xml_are_words(tmp_path: Path) -> None:
    for row in ("<user>\tO\n", "<s> O\n"):
        assert read(write(tmp_path / "a.txt", row + row))[0][1] == []
