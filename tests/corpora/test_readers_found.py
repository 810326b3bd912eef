"""Columns and tags as people's tools write them: what is found without a card, and that it is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cl_ner_bench.corpora.load import load_corpus
from cl_ner_bench.corpora.readers.folder import read_rows
from cl_ner_bench.corpora.readers.options import ReaderOptions
from cl_ner_bench.corpora.readers.problems import Report
from cl_ner_bench.corpora.sentence import PARTS
from cl_ner_bench.errors import UserError
from tests.corpora.reading import Collected, Read, assert_refused, read, write

ADA = [("Ada|Lovelace|met|Bo|.", [(0, 2, "PER"), (3, 4, "PER")]), ("Bo|saw|Rome|.", [(0, 1, "PER"), (2, 3, "LOC")])]
ROWS = "Ada B-PER,Lovelace I-PER,met O,Bo B-PER,. O/Bo B-PER,saw O,Rome B-LOC,. O"


def rows(form: str, text: str = ROWS, before: str = "", between: str = "\n") -> str:
    """Return two sentences, each row in a form like ``"{i}\\t{word}\\t{tag}"``, and ``before`` before each."""
    made = []
    for sentence in text.split("/"):
        cells = [row.split(" ") for row in sentence.split(",")]
        made.append(before + "".join(form.format(i=i, word=w, tag=t) + "\n" for i, (w, t) in enumerate(cells, 1)))
    return between.join(made)


def found(path: Path, text: str | bytes, **options: Any) -> tuple[Read, str]:
    """Return the sentences, and all remarks as one text."""
    report = Report()
    return read(write(path, text), report, **options), "\n".join(report.remarks)


# Columns


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("{i} {word} NNP I-NP {tag}", "words in column 1, tags in column 4, counted from 0"),
        ("{i}\t{word}\t{tag}", "words in column 1, tags in column 2, counted from 0"),
        ("7\t{i}\t{word}\tX\t{tag}", "words in column 2, tags in column 4, counted from 0"),
        ("news/x {i} {word} NN {tag}", "words in column 2, tags in column 4, counted from 0"),
        (" {i}  {word} {tag}", "words in column 1, tags in column 2, counted from 0"),
        ("{i}\t{word}\t{tag}\t-\tann", "words in column 1, tags in column 2, counted from 0"),
        ("{word}\t{tag}\t_\tann", "words in column 0, tags in column 1, counted from 0"),
        ("T{i}\t{word}\t{tag}", "words in column 1, tags in column 2, counted from 0"),
        ("{i}) {word} {tag}", "words in column 1, tags in column 2, counted from 0"),
        ("7.{i} {word} {tag}", "words in column 1, tags in column 2, counted from 0"),
        ("{i} w{i} {word} {tag}", "words in column 2, tags in column 3, counted from 0"),
        ("{word} NNP I-NP {tag} x", "words in column 0, tags in column 3, counted from 0"),
        ("{i}\t{word}\t{word}\tX\t_\t_\t0\troot\t_\tA=1|NER={tag}|SpaceAfter=No", "tags in NER= of column 9"),
        ("{i}\t{word}\t_\tname={tag}", "tags in name= of column 3"),
        ("{tag}\t{word}", "words in column 1, tags in column 0, counted from 0"),
    ],
)
def test_columns_are_found_and_said(tmp_path: Path, form: str, said: str) -> None:
    text, remarks = found(tmp_path / "a.txt", rows(form))
    assert text == ADA
    assert said in remarks
    assert "files whose word or tags stand in other columns than the first and the last: 1 (the first:" in remarks


def test_words_that_are_numbers_are_words(tmp_path: Path) -> None:
    for text in ("1 X O\n3 X O\n2 X B-A\n", "1 X B-A\n\n7 X O\n", "1 O\n2 B-A\n3 O\n"):
        assert found(tmp_path / "a.txt", text)[0][0][0].startswith("1")
    assert found(tmp_path / "a.txt", "1 Yes B-A\n\n1 No O\n")[0] == [("Yes", [(0, 1, "A")]), ("No", [])]
    # A count that leaves one out counts nothing.
    assert found(tmp_path / "a.txt", "1 a O\n2 b B-A\n\n1 c O\n3 d O\n")[0][0] == ("1|2", [(1, 2, "A")])


def test_what_a_card_leaves_open_is_found(tmp_path: Path) -> None:
    form, layers = "{i}\t{word}\t{tag}\tann", "{i}\t{word}\t{tag}\tO\tann"
    cards: list[tuple[str, dict[str, Any]]] = [
        (layers, {"tag_columns": [2, 3]}),
        (form, {"tag_columns": [2]}),
        (form, {"word_column": 1}),
    ]
    for rows_, options in cards:
        text, remarks = found(tmp_path / "a.txt", rows(rows_), **options)
        assert text == ADA
        assert "words in column 1, tags in column" in remarks
        assert "look like tags, too" not in remarks
    text, remarks = found(tmp_path / "a.txt", rows(layers), word_column=1, tag_columns=[2, 3])
    assert (text, remarks) == (ADA, "")


def test_a_count_that_begins_again_begins_a_sentence(tmp_path: Path) -> None:
    for form in ("{i} {word} NN {tag}", "{i}\t{word}\t{tag}"):
        text, remarks = found(tmp_path / "a.txt", rows(form, between=""))
        assert text == ADA
        assert "words in column 1" in remarks


def test_offsets_are_no_words(tmp_path: Path) -> None:
    text, at = "", 0
    for row in ROWS.replace("/", ",/").split(","):
        word, tag = row.lstrip("/").split(" ")
        text += "\n" * row.startswith("/") + f"doc1 {at} {at + len(word)} {word} {tag}\n"
        at += len(word) + 1
    assert found(tmp_path / "a.txt", text)[0] == ADA


def test_a_count_with_a_gap_counts_beside_a_range(tmp_path: Path) -> None:
    text = "1\tIn\tX\tO\n2-3\tzum\t_\tO\n2\tzu\tX\tO\n3\tdem\tX\tO\n5\tRom\tX\tB-LOC\n"
    assert found(tmp_path / "a.conllu", text)[0] == [("In|zu|dem|Rom", [(3, 4, "LOC")])]


@pytest.mark.parametrize("cells", [("1", "3"), ("w5", "w5b"), ("docA", "docA")])
def test_words_that_may_be_an_index_are_said(tmp_path: Path, cells: tuple[str, str]) -> None:
    text, remarks = found(tmp_path / "a.txt", f"{cells[0]} Ada B-PER\n{cells[1]} met O\n")
    assert text == [("|".join(cells), [(0, 1, "PER")])]
    assert f"column 0, read as words, looks like an index (as '{cells[0]}')" in remarks
    assert "looks like an index" not in found(tmp_path / "a.txt", "Ada X B-PER\nmet Y O\n")[1]


def test_marks_of_coreference_are_no_types(tmp_path: Path) -> None:
    rows = "1\tAda\t_\tEntity=(person-1)\n2\tmet\t_\t_\n"
    said = "the last of 4 columns holds marks of coreference (Entity=), and no tags"
    assert_refused(write(tmp_path / "a.conllu", rows), 1, said)


def test_attributes_without_a_tag_are_o_and_tags_may_come_late(tmp_path: Path) -> None:
    misc = "1\ta\tSpaceAfter=No\n2\tb\t_\n\n" * 600 + "1\tBo\tNER=B-PER\n2\tx\tA=1|NER=I-PER\n3\ty\tA=1\n"
    text, _ = found(tmp_path / "a.conllu", misc)
    assert text[-1] == ("Bo|x|y", [(0, 2, "PER")])
    assert text[:-1] == [("a|b", [])] * 600
    for last in ("SpaceAfter=No", "_"):
        said = "the last of 3 columns holds no tags, and no attribute like NER=B-PER"
        assert_refused(write(tmp_path / "a.conllu", rows(f"{{i}}\t{{word}}\t{last}")), 1, said)


def test_rows_of_conllu_that_are_no_words_are_counted(tmp_path: Path) -> None:
    text = "1-2\tIm\t_\tO\n1\tIn\t_\tO\n2\tdem\t_\tO\n2.1\tx\t_\tO\n3\tRom\t_\tB-LOC\n\n1-1\ta\t_\tO\n"
    text, remarks = found(tmp_path / "a.conllu", text)
    assert text == [("In|dem|Rom", [(2, 3, "LOC")])]
    assert "rows of multi-word tokens and empty nodes (3-4, 5.1): 3 (the first:" in remarks


@pytest.mark.parametrize("before", ["# id 5-0\tdomain=train\n", "# sent_id = n0\n# text = Ada met Bo .\n", "## x\n#\n"])
@pytest.mark.parametrize("form", ["{word} _ _ {tag}", "{word}\t{tag}", "{i}\t{word}\t{tag}\t-\tann"])
def test_comments_are_known_by_their_form(tmp_path: Path, form: str, before: str) -> None:
    for start in ("", "\n", "#FORMAT=Mine 3\n\n"):
        text, remarks = found(tmp_path / "a.txt", start + rows(form, before=before))
        assert text == ADA
        number = 2 * before.count("\n") + start.count("#")
        assert f"comment lines: {number} (the first: {tmp_path / 'a.txt'}:{1 + start.startswith(chr(10))}: " in remarks


def test_hashtags_are_words(tmp_path: Path) -> None:
    text = "# a b c\n#tag O\n# O\nx B-A\n\n# O\n#a=b O\n\n#one O\n"
    text, remarks = found(tmp_path / "a.txt", text)
    assert text == [("#tag|#|x", [(2, 3, "A")]), ("#|#a=b", []), ("#one", [])]
    assert "comment lines: 1 " in remarks
    assert found(tmp_path / "a.txt", "# O\n# B-A\n") == ([("#|#", [(1, 2, "A")])], "")
    # A hashtag without its tag is no comment, and nothing is skipped inside a sentence.
    assert_refused(write(tmp_path / "a.txt", "a O\n\n#tag\nb O\n"), 3, "1 column where the first row has 2")
    assert_refused(write(tmp_path / "a.txt", "a O\n# x y\nb O\n"), 2, "3 columns where the first row has 2")
    # Of bare types a comment could be a row: its tag must be known.
    assert found(tmp_path / "a.txt", "# place\nRome place\nis O\n\n# person\nx O\n")[0] == [
        ("#|Rome|is", [(0, 2, "place")]),
        ("x", []),
    ]


def test_a_labelled_sign_is_a_word_though_its_type_comes_late(tmp_path: Path) -> None:
    many = "Anna{0}person\nsings{0}O\nhere{0}O\n.{0}O\n\n" * 300
    last = [("#|1|song", [(0, 2, "product")])]
    for separator in "\t ":
        text = (many + "#{0}product\n1{0}product\nsong{0}O\n").format(separator)
        for options in ({}, {"comment": "//"}):
            assert found(tmp_path / "a.txt", text, **options)[0][300:] == last
        read_, remarks = found(tmp_path / "a.txt", text, comment="#")
        assert read_[300:] == [("1|song", [(0, 1, "product")])]
        assert "lines that look like rows but begin with the comment prefix: 1 " in remarks
    text, remarks = found(tmp_path / "a.txt", many.format("\t") + "# product\tx\n# y\nAda\tO\n")
    assert text[300:] == [("Ada", [])]
    assert "comment lines: 2 " in remarks


# Tables


@pytest.mark.parametrize("separator", [",", "\t", ";"])
def test_a_table_with_a_header(tmp_path: Path, separator: str) -> None:
    lines = ["Sentence #,Word,POS,Tag"]
    for n, sentence in enumerate(ROWS.split("/"), 1):
        for i, row in enumerate(sentence.split(",")):
            word, tag = row.split(" ")
            lines.append(f"{f'Sentence: {n}' if i == 0 else ''},{word},NN,{tag}")
    text, remarks = found(tmp_path / "a.csv", "\n".join(lines).replace(",", separator) + "\n")
    assert text == ADA
    assert "words in 'Word', tags in 'Tag', sentences by 'Sentence #'" in remarks
    unnamed = "\n".join(line.replace(",", "NaN,", line.startswith(",")) for line in lines).replace(",", separator)
    assert found(tmp_path / "a.csv", unnamed)[0] == ADA
    full = "tokens,sent_id,label\nAda,1,B-PER\nmet,1,O\nBo,2,B-PER\n\nBo,2,O\n".replace(",", separator)
    assert found(tmp_path / "a.csv", full)[0] == [("Ada|met", [(0, 1, "PER")]), ("Bo", [(0, 1, "PER")]), ("Bo", [])]


def test_blanks_behind_commas_are_none_of_the_cells(tmp_path: Path) -> None:
    table = 'Sentence #, Word, POS, Tag\n1, Ada, NN, B-PER\n, "1, 2", CD, O\n2 , Bo, NN, B-PER\n'
    assert found(tmp_path / "a.csv", table)[0] == [("Ada|1, 2", [(0, 1, "PER")]), ("Bo", [(0, 1, "PER")])]
    assert found(tmp_path / "b.csv", 'Ada, B-PER\nsang, O\n",", O\n') == ([("Ada|sang|,", [(0, 1, "PER")])], "")
    assert found(tmp_path / "c.txt", "Ada, B-PER\nsang O\n, O\n")[0] == [("Ada,|sang|,", [(0, 1, "PER")])]


def test_a_table_may_name_documents_in_which_sentences_are_counted_anew(tmp_path: Path) -> None:
    table = "doc_id,sentence_id,word,tag\na,1,Ada,B-PER\na,1,sang,O\nb,1,Bo,B-PER\n,2,sang,O\n"
    path = write(tmp_path / "a.csv", table)
    rows_ = [*read_rows(path, ReaderOptions(), Report())]
    assert [(row.document, row.words) for row in rows_] == [("a", ("Ada", "sang")), ("b", ("Bo",)), ("b", ("sang",))]


def test_headers_of_columns_and_rows_that_are_none(tmp_path: Path) -> None:
    assert found(tmp_path / "a.txt", "# x\n" + "token pos tag ner_tag\n" + rows("{word} X Y {tag}"))[0] == ADA
    assert found(tmp_path / "a.txt", "ner_tag word tag\n" + rows("{tag} {word} NN"))[0] == ADA
    assert found(tmp_path / "a.txt", "Word O\nLabel B-A\n") == ([("Word|Label", [(1, 2, "A")])], "")
    text = "word,tag,other\n" + rows("{word},x,{tag}")
    assert found(tmp_path / "a.csv", text, tag_columns=[2])[0] == ADA


def test_quoted_cells(tmp_path: Path) -> None:
    text = 'Sentence,Word,Tag\nS1,Ada,B-PER\n,",",O\n,"say ""x""",O\n,",O\n,1/2",O\n'
    assert found(tmp_path / "a.csv", text)[0] == [('Ada|,|say "x"|"|1/2"', [(0, 1, "PER")])]
    assert found(tmp_path / "a.csv", '",",O\nAda,B-PER\n')[0] == [(",|Ada", [(1, 2, "PER")])]
    assert found(tmp_path / "a.csv", '",",X,O,\nAda,X,B-PER,\n')[0] == [(",|Ada", [(1, 2, "PER")])]
    assert found(tmp_path / "a.csv", '",O\nAda,B-PER\n')[0] == [('"|Ada', [(1, 2, "PER")])]
    assert found(tmp_path / "a.tsv", '"\tO\nAda"\tB-PER\n')[0] == [('"|Ada"', [(1, 2, "PER")])]


# Encodings


def test_latin_1_is_read_and_said(tmp_path: Path) -> None:
    text, remarks = found(tmp_path / "a.txt", "a O\nZoë B-PER\n\n“hé” O\nété O\n".encode("cp1252"))
    assert text == [("a|Zoë", [(1, 2, "PER")]), ("“hé”|été", [])]
    where = f"{tmp_path / 'a.txt'}:2: 'Zoë B-PER'"
    assert f"lines that are not UTF-8: 3 (the first: {where}); read as Windows-1252" in remarks


def test_quotes_and_dashes_of_windows_decide_where_there_is_nothing_else(tmp_path: Path) -> None:
    marks = "“ O\nit’s O\n“yes” O\n– O\n… O\n"
    for text in (marks, marks + "Zoë B-PER\n"):
        path = write(tmp_path / "a.csv", b"word tag\n" + text.encode("cp1252"))
        report = Report()
        assert read(path, report)[0][0].split("|") == [row.split()[0] for row in text.splitlines()]
        assert "read as Windows-1252" in report.remarks[-1]
    # Between letters they are letters of another encoding.
    assert_refused(write(tmp_path / "b.csv", "Köln B-LOC\nin O\n".encode("cp437")), 1, "[reader_options] encoding")


@pytest.mark.parametrize(
    "data",
    [
        "Zoë B-PER\n".encode("cp1252") + "Zoë O\n".encode(),  # damaged UTF-8
        "Москва B-LOC\nи O\n".encode("cp1251"),
        "東京 B-LOC\n".encode("shift_jis"),
        "Łódź B-LOC\nzażółć O\n".encode("iso-8859-2"),
    ],
)
def test_other_encodings_are_not_guessed(tmp_path: Path, data: bytes) -> None:
    assert_refused(write(tmp_path / "a.txt", data), 1, "[reader_options] encoding")


def test_an_encoding_can_be_named(tmp_path: Path) -> None:
    for encoding, word in (("cp1251", "Москва"), ("iso-8859-2", "Łódź"), ("gb18030", "東京"), ("latin-1", "Zoë")):
        data = f"{word} B-X\nin O\n".encode(encoding)
        assert found(tmp_path / "a.txt", data, encoding=encoding) == ([(f"{word}|in", [(0, 1, "X")])], "")
    assert_refused(write(tmp_path / "a.txt", b"\x81 O\n"), 1, "not CP1252", encoding="cp1252")
    with pytest.raises(UserError, match=r"reader_options.encoding': expected one of auto, utf-8.*Did you mean"):
        read(tmp_path / "a.txt", encoding="latin1")


# Tags


@pytest.mark.parametrize(
    ("write_tag", "example"),
    [
        (lambda letter, type_: f"{type_}-{letter}", "'LOC-B' as 'B-LOC'"),
        (lambda letter, type_: f"{type_}_{letter}", "'LOC_B' as 'B-LOC'"),
        (lambda letter, type_: f"{letter}_{type_}", "'B_LOC' as 'B-LOC'"),
        (lambda letter, type_: f"{letter}:{type_}", "'B:LOC' as 'B-LOC'"),
        (lambda letter, type_: f"{letter.lower()}:{type_}", "'b:LOC' as 'B-LOC'"),
        (lambda letter, type_: f"{type_}-{letter.lower()}", "'LOC-b' as 'B-LOC'"),
    ],
)
def test_other_writings_of_tags(tmp_path: Path, write_tag: Any, example: str) -> None:
    text = ROWS
    for letter in "BI":
        for type_ in ("PER", "LOC"):
            text = text.replace(f"{letter}-{type_}", write_tag(letter, type_))
    found_, remarks = found(tmp_path / "a.txt", rows("{word}\t{tag}", text))
    assert found_ == ADA
    path = tmp_path / "a.txt"
    assert f"files with tags that are written in another way than B-PER: 1 (the first: {path}: {example})" in remarks
    # One letter alone, as in a small part.
    if "-b" not in example:
        single = f"Bo\t{write_tag('B', 'PER')}\nx\tO\n"
        assert found(path, single)[0] == [("Bo|x", [(0, 1, "PER")])]


def test_io_with_another_sign_is_read(tmp_path: Path) -> None:
    text, remarks = found(tmp_path / "a.txt", "Ada I_PER\nLovelace I_PER\nsaw O\nRome I_LOC\n")
    assert text == [("Ada|Lovelace|saw|Rome", [(0, 2, "PER"), (3, 4, "LOC")])]
    assert "'I_LOC' as 'I-LOC'" in remarks


def test_types_are_not_cut_where_only_some_look_so(tmp_path: Path) -> None:
    text = "a\tvitamin-B\nb\tO\nc\tvitamin-C\n"
    assert found(tmp_path / "a.txt", text) == ([("a|b|c", [(0, 1, "vitamin-B"), (2, 3, "vitamin-C")])], "")
    assert found(tmp_path / "a.txt", "a\tper-b\nb\to\n")[0] == [("a|b", [(0, 1, "per")])]
    for type_ in ("e-mail", "vitamin-b"):
        assert found(tmp_path / "a.txt", f"a\t{type_}\nb\tO\n") == ([("a|b", [(0, 1, type_)])], "")


def test_tags_without_a_type_are_of_one(tmp_path: Path) -> None:
    text = "Ada B\nLovelace I\nmet O\nBo B\n"
    said = 'read as one type; name it in a card: [reader_options] type = "DISEASE"'
    for form, path in ((text, "a.txt"), (text.replace(" O", " o").replace(" I", " i"), "b.txt")):
        found_, remarks = found(tmp_path / path, form)
        assert found_ == [("Ada|Lovelace|met|Bo", [(0, 2, "ENTITY"), (3, 4, "ENTITY")])]
        assert f"{tmp_path / path}: 'B' as 'B-ENTITY'); {said}" in remarks
    assert found(tmp_path / "a.txt", "Ada S\nx O\nBo B\nBerg E\n", type="PER")[0] == [
        ("Ada|x|Bo|Berg", [(0, 1, "PER"), (2, 4, "PER")])
    ]
    assert found(tmp_path / "a.txt", "Ada B-\nLovelace I-\nmet O\n")[0] == [("Ada|Lovelace|met", [(0, 2, "ENTITY")])]
    assert found(tmp_path / "a.txt", "a i\nb o\n")[0] == [("a|b", [(0, 1, "ENTITY")])]
    # Other letters are types.
    assert found(tmp_path / "a.txt", "a X\nb O\nc B\n") == ([("a|b|c", [(0, 1, "X"), (2, 3, "B")])], "")
    json = '{"tokens": ["Ada", "met"], "tags": ["B", "O"]}\n'
    assert found(tmp_path / "a.jsonl", json)[0] == [("Ada|met", [(0, 1, "ENTITY")])]


def test_the_only_type_of_a_card_is_that_of_tags_without_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CL_NER_BENCH_CACHE", str(tmp_path / "cache"))
    for part in PARTS:
        write(tmp_path / f"{part}.tsv", "Ada\tB\nmet\tO\n")
    for type_ in ("person", "PER"):
        card = write(tmp_path / "card.toml", f'name = "x"\ntitle = "x"\n[tasks]\nall = ["{type_}"]\n')
        assert load_corpus(str(card)).card.types == (type_,)
        assert load_corpus(str(card)).type_counts["test"] == {type_: 1}
    write(card, 'name = "x"\ntitle = "x"\n[tasks]\na = ["PER"]\nb = ["LOC"]\n')
    with pytest.raises(UserError, match=r'that a card may name: \[reader_options\] type = "PER"'):
        load_corpus(str(card))


MIXED = "Ada B-PER\nmet O\n\nbo b-per\nberg i-per\nsaw o\nrome b-loc\n"


def test_lower_case_alone_is_read(tmp_path: Path) -> None:
    text, remarks = found(tmp_path / "a.txt", MIXED.split("\n\n")[1])
    assert text == [("bo|berg|saw|rome", [(0, 2, "per"), (3, 4, "loc")])]
    assert "'b-loc' as 'B-loc'" in remarks
    assert found(tmp_path / "a.txt", "a o\nb i-per\n")[0] == [("a|b", [(1, 2, "per")])]


def test_mixed_case_is_one_message_with_both_and_how_to_rename(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", MIXED)
    assert_refused(path, 4, "tags in upper and in lower case, like 'B-PER' and 'b-per'")
    report = Collected()
    assert read(path, report) == [("Ada|met", [(0, 1, "PER")])]
    assert report.places == [("tags", 4)]
    assert '[reader_options] rename = { "loc" = "loc", "per" = "PER" }' in str(report.problems[0])
    # What the message proposes helps.
    found_, _ = found(path, MIXED, rename={"loc": "loc", "per": "PER"})
    assert found_ == [("Ada|met", [(0, 1, "PER")]), ("bo|berg|saw|rome", [(0, 2, "PER"), (3, 4, "loc")])]
    assert_refused(write(path, f"Ada B-PER\nBo b-{'p' * 999}\n"), 2, '{ "each old type" = "its new one" }')
    assert_refused(write(path, "Ada B-PER\nBo b-PER\n"), 2, "like 'B-PER' and 'b-PER'")
    assert_refused(write(path, "Ada B-PER\nBerg i-per\n"), 2, "like 'B-PER' and 'i-per'")
    assert_refused(write(path, "Ada B-PER\nBo b-per\nx O\ny X-PER\nz B-LOC\n"), 2, "unknown tag 'b-per'")
