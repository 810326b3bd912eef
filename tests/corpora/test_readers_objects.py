"""Sentences as objects: JSON lines, JSON lists and parquet."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from cl_ner_bench.corpora.readers.problems import Report
from cl_ner_bench.errors import UserError
from tests.corpora.reading import Collected, assert_refused, read, write

SHAPES: dict[str, tuple[dict[str, Any], tuple[str, list[tuple[int, int, str]]]]] = {
    "dicts": (
        {"tokens": ["Anna", "met", "Bo"], "entities": [{"start": 0, "end": 1, "label": "PER"}]},
        ("Anna|met|Bo", [(0, 1, "PER")]),
    ),
    "other names": (
        {
            "words": ["Anna", "Bo"],
            "mentions": [{"start": 0, "end": 1, "type": "P"}, {"start": 1, "end": 2, "entity": "P"}],
        },
        ("Anna|Bo", [(0, 1, "P"), (1, 2, "P")]),
    ),
    "nested, unsorted, twice": (
        {"words": ["Anna", "Bo"], "spans": [[1, 2, "PER"], [0, 2, "ORG"], [1, 2, "PER"], [1, 2, "GPE"]]},
        ("Anna|Bo", [(0, 2, "ORG"), (1, 2, "GPE"), (1, 2, "PER")]),
    ),
    "tags": ({"tokens": ["Anna", "Bo"], "ner_tags": ["B-PER", "I-PER"]}, ("Anna|Bo", [(0, 2, "PER")])),
    "text as a list": ({"text": ["Anna", "Bo"], "labels": ["O", "B-PER"]}, ("Anna|Bo", [(1, 2, "PER")])),
    "no mentions": ({"tokens": ["x"], "entities": [], "tags": None}, ("x", [])),
    "SpanKL": (
        {"text": "New York", "char_lst": ["New", "York"], "ent_dct": {"GPE": [[0, 2]], "ORG": []}, "task_id": 1},
        ("New|York", [(0, 2, "GPE")]),
    ),
    "Hugging Face": (
        {"tokens": ["a", "b"], "entities": {"start": [0, 1], "end": [1, 2], "type": ["A", "B"]}},
        ("a|b", [(0, 1, "A"), (1, 2, "B")]),
    ),
    "spaCy": ({"text": "Anna, met", "entities": [[0, 4, "PER"]]}, ("Anna|,|met", [(0, 1, "PER")])),
    "doccano": ({"id": 1, "text": "In Rome.", "label": [[3, 7, "LOC"]]}, ("In|Rome|.", [(1, 2, "LOC")])),
    "new doccano": (
        {"text": "In Rome.", "entities": [{"id": 1, "label": "LOC", "start_offset": 3, "end_offset": 7}]},
        ("In|Rome|.", [(1, 2, "LOC")]),
    ),
    "Label Studio": (
        {"text": "In Rome.", "label": [{"start": 3, "end": 7, "text": "Rome", "labels": ["LOC"]}]},
        ("In|Rome|.", [(1, 2, "LOC")]),
    ),
    "Prodigy": (
        {
            "text": "Ann's",
            "tokens": [{"text": "Ann", "start": 0, "end": 3, "id": 0}, {"text": "'s", "start": 3, "end": 5, "id": 1}],
            "spans": [{"start": 0, "end": 3, "token_start": 0, "token_end": 0, "label": "PER"}],
        },
        ("Ann|'s", [(0, 1, "PER")]),
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(tmp_path: Path, shape: str) -> None:
    row, expected = SHAPES[shape]
    text = json.dumps(row) + "\n"
    for name, content in {
        "a.jsonl": text,
        "untold": "\n" + text,
        "b.jsonl.gz": gzip.compress(text.encode()),
        "c.json": f"[{text}]",
        "d.json": f"\ufeff [\r\n{json.dumps(row, indent=2)}\n , {text}]\n",
        "e.json": text,
    }.items():
        report = Report()
        assert read(write(tmp_path / name, content), report) == [expected] * (2 if name == "d.json" else 1), name
        assert report.remarks == []


def test_lists_are_read_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"tokens": [f"é{i}", "]},{"], "entities": []} for i in range(50)]
    path = write(tmp_path / "a.json", json.dumps(rows, ensure_ascii=False, indent=1))
    for size in (1, 7, 1000):
        monkeypatch.setattr("cl_ner_bench.corpora.readers.lines._CHUNK", size)
        assert [words for words, _ in read(path)] == [f"é{i}|]}},{{" for i in range(50)]
    assert read(write(path, " [ ] ")) == []


def test_tags_of_a_file_have_one_scheme(tmp_path: Path) -> None:
    rows = [{"tokens": ["a", "b"], "tags": tags} for tags in (["x", "x"], ["O", "y"], ["x", "O"])]
    path = write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)))
    assert [found for _, found in read(path)] == [[(0, 2, "x")], [(1, 2, "y")], [(0, 1, "x")]]
    report = Report()
    rows = [{"tokens": ["a", "b"], "tags": tags} for tags in (["B-x", "I-x"], ["O", "I-y"], ["B-x", "O"])]
    read(write(path, "\n".join(map(json.dumps, rows))), report)
    assert report.remarks[0].startswith(
        f"tags that are illegal in their scheme: 1 (the first: {path}:2: 'I-y' after 'O'"
    )


def test_numbers_have_the_names_of_the_card(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"tokens": ["a", "b"], "tags": [2, 0]}')
    assert read(path, tag_names=["O", "I-A", "B-A"]) == [("a|b", [(0, 1, "A")])]
    assert_refused(path, 1, "the tags in 'tags' are numbers without names")
    assert_refused(path, 1, "tag 2 has no name; 2 are named", tag_names=["O", "A"])


def test_an_empty_tag_is_none(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"tokens": ["a", "b"], "tags": ["A", ""]}')
    assert read(path) == [("a|b", [(0, 1, "A")])]


def test_mentions_that_end_inside_a_word_are_widened_and_counted(tmp_path: Path) -> None:
    rows = [
        {"text": "Ann met Bo", "entities": [[0, 3, "P"]]},
        {"text": "Annabel met Bo", "entities": [[0, 3, "P"], [11, 14, "P"]]},
    ]
    path = write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)))
    report = Report()
    assert read(path, report)[1] == ("Annabel|met|Bo", [(0, 1, "P"), (2, 3, "P")])
    assert report.remarks == [
        f"mentions that begin or end inside a word or on a blank: 2 (the first: {path}:2: 'Ann' as ['Annabel']); "
        "read as the whole words that they touch"
    ]


OK = '{"tokens": ["a", "b"], "entities": []}\n'


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (OK + '{"tokens": ["a"]', 2, "not JSON"),
        (OK + "[" * 100_000, 2, "not JSON"),
        (OK + '{"n": ' + "1" * 5000 + "}", 2, "not JSON"),
        (OK + "[1]", 2, "expected a JSON object"),
        ("[" + OK + "," + OK + "1]", 3, "a list that ends in the middle"),
        ("[" + OK + ",1]", 2, "expected a JSON object"),
        ("[" + OK + "," + OK, 3, "a list that ends in the middle"),
        ("[" + OK + ",]", 2, "not JSON"),
        ("[" + OK + "]\n[]", 3, "text behind the list"),
        (b"[" + OK.encode() + b"\xff]", 2, "not UTF-8"),
        (b"[" + OK.encode() + b"]\xc3", 2, "not UTF-8"),
        ('{"tokens": ["a"], "entities": [[0, ' + "1" * 4000 + ', "A"]]}', 1, "does not fit"),
        ('{"tokens": ["a"], "tags": ["' + "x" * 4000 + '"]}\n{"tokens": ["a"], "tags": ["B-x"]}', 1, "unknown tag"),
        (OK + '{"entities": []}', 2, "'tokens'"),
        ('{"tokens": [], "entities": [[0, 1, "A"]]}', 1, "'tokens'"),
        ('{"tokens": "a b", "entities": []}', 1, "'tokens'"),
        ('{"tokens": ["a", 1], "entities": []}', 1, "'tokens'"),
        ('{"tokens": ["a", " "], "entities": []}', 1, "empty or blank"),
        (r'{"tokens": ["a\ud800"], "entities": []}', 1, "surrogate"),
        (r'{"text": "a\ud800", "entities": []}', 1, "surrogate"),
        ('{"text": " ", "entities": [[0, 1, "A"]]}', 1, "'tokens'"),
        ('{"text": "ab", "tokens": [{"start": 1, "end": 2}, {"start": 0, "end": 1}], "spans": []}', 1, "'tokens'"),
        ('{"tokens": ["a"]}', 1, "no 'entities' and no 'tags'"),
        ('{"tokens": ["a"], "entities": "x"}', 1, "'entities' is no list of entities"),
        ('{"tokens": ["a"], "entities": {"start": [0], "end": []}}', 1, "'entities' is no list of entities"),
        ('{"tokens": ["a"], "entities": ["x"]}', 1, "start, end and label"),
        ('{"tokens": ["a"], "entities": [{"start": 0, "end": 1}]}', 1, "start, end and label"),
        ('{"tokens": ["a"], "entities": [[0, 1, " "]]}', 1, "start, end and label"),
        (r'{"tokens": ["a"], "entities": [[0, 1, "\ud800"]]}', 1, "start, end and label"),
        ('{"tokens": ["a"], "entities": [[0, 2, "A"]]}', 1, "does not fit a sentence of 1 words"),
        ('{"tokens": ["a"], "entities": [[-1, 1, "A"]]}', 1, "does not fit"),
        ('{"tokens": ["a", "b"], "entities": [[1, 0, "A"]]}', 1, "does not fit"),
        ('{"text": "a b", "entities": [[2, 4, "A"]]}', 1, "does not fit a sentence of 3 characters"),
        ('{"text": "a b", "entities": [[1, 2, "A"]]}', 1, "mention 1-2 covers no word"),
        (
            '{"text": "a b", "spans": [{"start": 0, "end": 1, "label": "A", "text": "b"}]}',
            1,
            "covers 'a', but says 'b'",
        ),
        (OK + OK + '{"tokens": ["a"], "entities": [[0, 0, "A"]]}', 3, "empty mention 0-0"),
        ('{"tokens": ["a"], "entities": [["0", 1, "A"]]}', 1, "whole numbers"),
        ('{"tokens": ["a"], "entities": [[0, true, "A"]]}', 1, "whole numbers"),
        ('{"tokens": ["a", "b"], "tags": ["O"]}', 1, "one tag for each of 2 words"),
        ('{"tokens": ["a", "b"], "tags": ["O", 1]}', 1, "expected 'tags', a list of tags"),
        ('{"tokens": ["a", "b"], "tags": "O O"}', 1, "expected 'tags', a list of tags"),
        ('{"tokens": ["a"], "ner_tags": [3]}', 1, "numbers without names"),
        ('{"tokens": ["a", "b"], "tags": ["B-A", "Q-A"]}', 1, "unknown tag 'Q-A'"),
    ],
)
def test_malformed_objects_are_named(tmp_path: Path, text: str | bytes, line: int, said: str) -> None:
    assert_refused(write(tmp_path / "x.jsonl", text), line, said)


def test_what_can_be_read_is_read_after_problems(tmp_path: Path) -> None:
    bad = '{"tokens": ["a"], "entities": [[0, 2, "A"], [0, 0, "A"], [0, 1, "A"]]}\n'
    report = Collected()
    assert read(write(tmp_path / "x.jsonl", bad + "{\n" + OK), report) == [("a|b", [])]
    assert report.places == [("spans", 1), ("spans", 1), ("object", 2)]


# Parquet


def write_table(path: Path, columns: dict[str, Any], features: dict[str, Any] | None = None) -> Path:
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = arrow.table(columns)
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    parquet.write_table(table, path)
    return path


NAMES = ["O", "B-PER", "I-PER"]
CLASSES = {"tokens": [["Anna", "Bo"], ["x"]], "ner_tags": [[1, 2], [0]], "id": [1, 2]}


@pytest.mark.parametrize(
    "feature",
    [
        {"feature": {"names": NAMES, "_type": "ClassLabel"}, "_type": "Sequence"},
        {"feature": {"names": NAMES, "_type": "ClassLabel"}, "_type": "List"},
        [{"names": NAMES, "_type": "ClassLabel"}],
    ],
)
def test_class_ids_have_the_names_in_the_file(tmp_path: Path, feature: Any) -> None:
    path = write_table(tmp_path / "a.parquet", CLASSES, {"tokens": {"_type": "Value"}, "ner_tags": feature})
    assert read(path) == [("Anna|Bo", [(0, 2, "PER")]), ("x", [])]


def test_parquet_in_its_other_shapes(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.parquet", CLASSES)
    assert read(path, tag_names=["O", "x", "y"]) == [("Anna|Bo", [(0, 1, "x"), (1, 2, "y")]), ("x", [])]
    assert_refused(path, 1, "numbers without names")
    tags = {"words": [["Anna", "Bo"]] * 3, "tags": [["O", "B-A"]] * 3}
    assert read(write_table(tmp_path / "untold", tags)) == [("Anna|Bo", [(1, 2, "A")])] * 3
    spans = {"text": ["Anna B."], "entities": [[{"start": 5, "end": 6, "label": "A"}]]}
    assert read(write_table(tmp_path / "b.parquet", spans)) == [("Anna|B|.", [(1, 2, "A")])]


def test_malformed_parquet_is_named(tmp_path: Path) -> None:
    assert_refused(write(tmp_path / "x.parquet", b"PAR1none"), 1, "cannot be read as parquet")
    assert_refused(tmp_path / "none.parquet", 1, "cannot be read as parquet")
    good, bad = ["a"], ["a", None]
    path = write_table(tmp_path / "a.parquet", {"tokens": [good, bad], "tags": [["O"], ["O", "O"]]})
    assert_refused(path, 2, "'tokens'")


# What is suggested loses no label

W = ["Anna", "saw", "Bo"]
EXPECTED = [("Anna|saw|Bo", [(0, 1, "PER"), (2, 3, "PER")])]
SPANS = [{"start": 0, "end": 1, "label": "PER"}, {"start": 2, "end": 3, "label": "PER"}]
MISPLACED: dict[str, dict[str, Any]] = {
    "spans": {"id": "7", "tokens": W, "ner": SPANS},
    "by type": {"tokens": W, "gold": {"PER": [[0, 1], [2, 3]]}, "meta": {"page": 3}},
    "features": {"tokens": W, "gold": {"start": [0, 2], "end": [1, 3], "label": ["PER", "PER"]}},
    "beside an empty key": {"tokens": W, "entities": None, "ner": SPANS},
    "in characters": {
        "text": "Anna saw Bo",
        "annotations": [
            {"start_offset": 0, "end_offset": 4, "label": "PER"},
            {"start_offset": 9, "end_offset": 11, "label": "PER"},
        ],
    },
    "under another format's key": {"tokens": W, "label": SPANS},
    "under the key of tags": {"tokens": W, "labels": SPANS},
    "tags": {"tokens": W, "bio": ["B-PER", "O", "B-PER"], "pos": ["NNP", "VBD", "NNP"]},
    "tags beside phrases": {"tokens": W, "chunks": ["B-NP", "B-VP", "B-NP"], "ner": ["B-PER", "O", "B-PER"]},
    "tags under the key of mentions": {"tokens": W, "entities": ["B-PER", "O", "B-PER"]},
    "numbers": {"tokens": W, "ner_labels": [1, 0, 1], "sentence": 4},
}


@pytest.mark.parametrize("item", MISPLACED.values(), ids=MISPLACED)
def test_labels_under_an_unknown_key_are_found_by_the_advice(tmp_path: Path, item: dict[str, Any]) -> None:
    """Following the message's advice keeps all mentions."""
    names = {"tag_names": ["O", "B-PER"]}
    path = write(tmp_path / "x.jsonl", json.dumps(item))
    with pytest.raises(UserError) as caught:
        read(path, **names)
    advice = re.search(r"\. Rename '(\w+)' to '(\w+)'\.$", str(caught.value))
    assert advice, caught.value
    item = {key: value for key, value in item.items() if value is not None}
    item[advice[2]] = item.pop(advice[1])
    assert read(write(path, json.dumps(item)), **names) == EXPECTED


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({"tokens": W, "ner": [], "pos": ["NNP"] * 3}, "found the keys ner, pos. Where one of them holds the names"),
        ({"tokens": W, "ner": [{"from": 0, "to": 1, "is": "PER"}]}, "found the key 'ner'. Where one of them holds"),
        (
            {"tokens": W, "a": [0, 1, 0], "b": [1, 1, 1]},
            "'a' and 'b' look like numbers of tags. Call 'tags' what holds",
        ),
        ({"tokens": W, "entities": None}, "'entities' is null. Write the names"),
        ({"tokens": W, "entities": "PER"}, "'entities' is no list of entities: 'PER'. Write each as {"),
        ({"tokens": W, "tags": ["B-PER", "O"]}, "found 2 tags. Look up in the source which words and tags belong"),
        ({"tokens": ["Anna", ""], "tags": ["B-PER", "O"]}, "Write the word; where there was none, take its tag out"),
        ({"sentence": "Anna saw Bo", "ner": []}, "'tokens', a list of words, or 'text'; found the keys sentence, ner."),
        ({"tokens": W, "entities": [[0, 0, "PER"]]}, "If yours are inclusive, add 1 to the end of every mention"),
    ],
)
def test_no_advice_empties_a_sentence(tmp_path: Path, item: dict[str, Any], said: str) -> None:
    path = write(tmp_path / "x.jsonl", json.dumps(item))
    assert_refused(path, 1, said)
    with pytest.raises(UserError) as caught:
        read(path)
    assert '"entities": []' not in str(caught.value).replace('"entities": [] only where', "")


def test_unknown_columns_of_parquet_are_named(tmp_path: Path) -> None:
    from pyarrow import parquet, table

    parquet.write_table(table({"tokens": [W], "ner": [["B-PER", "O", "B-PER"]], "id": ["7"]}), tmp_path / "x.parquet")
    assert_refused(tmp_path / "x.parquet", 1, "but 'ner' looks like tags. Rename 'ner' to 'tags'")


def test_a_long_key_is_quoted_in_part(tmp_path: Path) -> None:
    for value in (["O"], 1):
        path = write(tmp_path / "a.jsonl", json.dumps({"tokens": ["a"], "k" * 5000: value}))
        report = Collected()
        read(path, report)
        (problem,) = report.problems
        assert "'kkkkk" in problem.text
        assert len(str(problem)) < 1000


@pytest.mark.parametrize("key", ["ner", "labels", "gold"])
def test_lists_of_mentions_have_inclusive_or_exclusive_ends(tmp_path: Path, key: str) -> None:
    """Both advices keep all mentions: which of them holds, only the user knows."""
    for ends, renamed in ((1, {key: "entities"}), (0, {"tokens": "tokenized_text", key: "ner"})):
        item = {"tokens": W, key: [[0, 0 + ends, "PER"], [2, 2 + ends, "PER"]], "relations": []}
        path = write(tmp_path / "x.jsonl", json.dumps(item))
        pairs = " and ".join(f"'{old}' to '{new}'" for old, new in renamed.items() if old != new)
        assert_refused(path, 1, pairs)
        item = {renamed.get(name, name): value for name, value in item.items()}
        assert read(write(path, json.dumps(item))) == EXPECTED


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({"tokens": W, "entities": [{**SPANS[0], "text": "Anna saw"}]}, "covers 'Anna', but says 'Anna saw'. 'end' is"),
        (
            {
                "text": "Anna saw Bo",
                "tokens": [*W, "in"],
                "entities": [{"start": 0, "end": 4, "label": "P", "text": "Anna"}],
            },
            "covers 'Anna saw Bo in', but says 'Anna'. Count words from 0; 'end' is exclusive. If yours count",
        ),
    ],
)
def test_mentions_of_words_cover_what_they_say(tmp_path: Path, item: dict[str, Any], said: str) -> None:
    assert_refused(write(tmp_path / "x.jsonl", json.dumps(item)), 1, said)
    item = {"tokens": W, "entities": [{"start": 0, "end": 2, "label": "P", "text": " Annasaw\n"}]}
    assert read(write(tmp_path / "x.jsonl", json.dumps(item))) == [("Anna|saw|Bo", [(0, 2, "P")])]


def test_tokens_of_blanks_are_no_words(tmp_path: Path) -> None:
    text = "Anna  Berg  saw Bo "
    tokens = [
        {"text": text[a:b], "start": a, "end": b} for a, b in ((0, 4), (5, 6), (6, 10), (11, 12), (12, 15), (16, 18))
    ]
    spans = [
        {"start": 0, "end": 10, "token_start": 0, "token_end": 2, "label": "PER"},
        {"start": 16, "end": 18, "label": "PER"},
    ]
    report = Report()
    path = write(tmp_path / "x.jsonl", json.dumps({"text": text, "tokens": tokens, "spans": spans}))
    assert read(path, report) == [("Anna|Berg|saw|Bo", [(0, 2, "PER"), (3, 4, "PER")])]
    assert report.remarks == [
        f"texts with tokens that are blanks alone: 1 (the first: {path}:1: {text!r}); left out, as they are no words"
    ]
    tagged = {"text": text, "tokens": tokens, "tags": ["B-PER", "I-PER", "I-PER", "O", "O", "B-PER"]}
    assert_refused(write(path, json.dumps(tagged)), 1, "a word is empty or blank")
