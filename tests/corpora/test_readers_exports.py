"""Objects as annotation tools and libraries write them, and labels that stand in an object twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cl_ner_bench.cli.main import main
from cl_ner_bench.corpora.readers.folder import open_parts, read_rows
from cl_ner_bench.corpora.readers.options import ReaderOptions
from cl_ner_bench.corpora.readers.problems import Report
from tests.corpora.reading import Collected, Read, assert_refused, read, write

TEXT = "Ida left Ume."
WORDS = "Ida|left|Ume|."
BOTH = [(0, 1, "PER"), (2, 3, "LOC")]


def mark(start: int, end: int, *labels: str, **more: Any) -> dict[str, Any]:
    return {"type": "labels", "value": {"start": start, "end": end, "text": TEXT[start:end], "labels": labels} | more}


PER, LOC = mark(0, 3, "PER"), mark(9, 12, "LOC")


def task(*annotations: Any, **more: Any) -> dict[str, Any]:
    return {"id": 1, "data": {"text": TEXT}, "annotations": annotations, "predictions": [{"result": [PER]}], **more}


def by(who: Any, *marks: Any, **more: Any) -> dict[str, Any]:
    return {"completed_by": who, "result": marks, **more}


def in_each_way(folder: Path, *items: Any) -> list[Path]:
    """Write items as lines, as one list, as one list over many lines, and in a file whose name tells nothing."""
    lines = "\n".join(map(json.dumps, items))
    ways = {
        "a.jsonl": lines,
        "a.json": lines,
        "b.json": json.dumps(items),
        "c.json": json.dumps(items, indent=1),
        "told-by-nothing": json.dumps(items),
    }
    return [write(folder / name, text) for name, text in ways.items()]


def assert_read(folder: Path, items: list[Any], expected: Read, *remarks: str, **options: Any) -> None:
    for path in in_each_way(folder, *items):
        report = Report()
        assert read(path, report, **options) == expected, path.name
        assert len(report.remarks) == len(remarks), report.remarks
        for said, start in zip(report.remarks, remarks, strict=True):
            assert said.startswith(start), said


# What annotators decided


def test_rejected_and_ignored_texts_are_left_out_and_counted(tmp_path: Path) -> None:
    item = {"text": TEXT, "spans": [{"start": 0, "end": 3, "label": "PER"}]}
    items = [item | {"answer": answer} for answer in ("reject", "accept", "ignore", "Paris", "reject")]
    items[2]["spans"] = []
    expected = [(WORDS, [(0, 1, "PER")])] * 2
    assert_read(tmp_path, items, expected, "texts that their annotator rejected, ignored or cancelled: 3 (the first: ")


def test_an_accepted_text_of_a_view_of_mentions_may_have_none(tmp_path: Path) -> None:
    item = {"text": TEXT, "answer": "accept", "_view_id": "ner_manual"}
    assert_read(
        tmp_path, [item, item | {"spans": [{"start": 0, "end": 3, "label": "PER"}]}], [(WORDS, []), (WORDS, BOTH[:1])]
    )
    for unknown in ({"text": TEXT, "answer": "accept"}, item | {"_view_id": "classification"}, item | {"answer": None}):
        assert_refused(write(tmp_path / "a.jsonl", json.dumps(unknown)), 1, "no 'entities' and no 'tags'")


def test_tags_of_rejected_texts_do_not_decide_the_scheme(tmp_path: Path) -> None:
    bad = {"tokens": ["a", "b", "c"], "tags": ["x", "y", "z"], "answer": "reject"}
    good = {"tokens": ["a"], "tags": ["B-x"]}
    assert read(write(tmp_path / "a.json", json.dumps([bad, good]))) == [("a", [(0, 1, "x")])]


def test_a_part_whose_texts_are_all_rejected_says_so(tmp_path: Path) -> None:
    rows = [json.dumps({"text": TEXT, "spans": [], "answer": answer}) for answer in ("reject", "ignore")]
    for part in ("train", "dev", "test"):
        write(tmp_path / f"{part}.jsonl", "\n".join(rows))
    report = Collected()
    parts = open_parts(tmp_path, ReaderOptions(), report)
    said = "no sentences, but 2 texts rejected, ignored, cancelled or not yet annotated"
    assert [[*parts[part]] for part in ("dev", "train")] == [[], []]
    (problem,) = report.problems
    assert problem.text == said
    assert f"the dev part has {said}: accept some of them before a run" in report.remarks


def test_a_corpus_whose_dev_and_test_are_rejected_is_shown_and_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mention = {"start": 0, "end": 3, "label": "PER"}
    for part in ("train", "dev", "test"):
        answers = ("reject", "accept") if part == "train" else ("reject",)
        rows = [json.dumps({"text": TEXT, "spans": [mention], "answer": answer}) for answer in answers]
        write(tmp_path / f"{part}.jsonl", "\n".join(rows))
    assert main(["data", "show", "--json", str(tmp_path)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert {part: facts["sentences"] for part, facts in shown["parts"].items()} == {"train": 1, "dev": 0, "test": 0}
    assert main(["data", "show", str(tmp_path)]) == 0
    capsys.readouterr()
    assert main(["run", "--dataset", str(tmp_path), "--dry-run", "--out", str(tmp_path / "out")]) == 2
    assert "no sentences in the dev part" in capsys.readouterr().err


# Inclusive ends


def test_ner_of_tokenized_text_has_inclusive_ends(tmp_path: Path) -> None:
    item = {"tokenized_text": ["New", "York", "saw", "Bo"], "ner": [[3, 3, "per"], [0, 1, "loc"]]}
    assert_read(tmp_path, [item], [("New|York|saw|Bo", [(0, 2, "loc"), (3, 4, "per")])])
    none = {"tokenized_text": ["No", "name"], "ner": []}
    assert_read(tmp_path, [none], [("No|name", [])])
    tagged = {"tokenized_text": ["Bo", "sings"], "ner_tags": ["B-P", "O"]}
    assert_read(tmp_path, [tagged], [("Bo|sings", [(0, 1, "P")])])


@pytest.mark.parametrize(
    ("ner", "said"),
    [
        ([[0, 2, "A"]], "mention 0 to 2 does not fit a sentence of 2 words. Write [first, last, type]: words count"),
        ([[1, 0, "A"]], "mention 1 to 0 does not fit"),
        ([[-1, 0, "A"]], "mention -1 to 0 does not fit"),
        ([[0, "0", "A"]], "expected a mention like [0, 2, 'PER'] in 'ner', found [0, '0', 'A']"),
        ([["Bo", "A"]], "found ['Bo', 'A']"),
        ([[0, 0, " "]], "start, end and label"),
        ({"A": [[0, 0]]}, "'ner' is no list of entities"),
    ],
)
def test_malformed_ner_is_named(tmp_path: Path, ner: Any, said: str) -> None:
    good = '{"tokenized_text": ["a", "b"], "ner": []}\n'
    path = write(tmp_path / "a.jsonl", good + json.dumps({"tokenized_text": ["a", "b"], "ner": ner}))
    assert_refused(path, 2, said)


def test_objects_on_one_line_are_numbered(tmp_path: Path) -> None:
    items = [{"tokenized_text": ["a"], "ner": [[0, last, "A"]]} for last in (0, 0, 1)]
    assert_refused(write(tmp_path / "a.json", json.dumps(items)), 1, "object 3: mention 0 to 1 does not fit")
    blank = [{"tokens": [word], "tags": ["O"]} for word in ("a", " ")]
    assert_refused(write(tmp_path / "b.json", json.dumps(blank)), 1, "object 2: a word is empty or blank")


# Exports with annotations


@pytest.mark.parametrize("key", ["annotations", "completions"])
def test_an_annotated_task(tmp_path: Path, key: str) -> None:
    item = {"id": 7, "data": {"text": TEXT}, key: [by(1, PER, LOC)]}
    assert_read(tmp_path, [item], [(WORDS, BOTH)])
    assert_read(tmp_path, [item | {"data": {"body": TEXT, "page": 3}}], [(WORDS, BOTH)])


def test_a_task_names_its_document(tmp_path: Path) -> None:
    items = [task(by(1), data={"text": TEXT, "doc_id": 7}), task(by(1), doc_id="b"), task(by(1))]
    path = write(tmp_path / "a.json", json.dumps(items))
    assert [row.document for row in read_rows(path, ReaderOptions(), Report())] == ["7", "b", ""]


def test_an_empty_result_is_a_text_without_names_and_no_annotation_is_none(tmp_path: Path) -> None:
    assert_read(tmp_path, [task(by(1))], [(WORDS, [])])
    said = "texts without an annotation that counts: 2 (the first: "
    items = [task(), task() | {"annotations": None}, task(by(1, LOC))]
    assert_read(tmp_path, items, [(WORDS, BOTH[1:])], said)


def test_cancelled_annotations_do_not_count(tmp_path: Path) -> None:
    cancelled = [by(1, PER, was_cancelled=True), by(2, PER, skipped=True)]
    assert_read(tmp_path, [task(*cancelled, by(3, LOC))], [(WORDS, BOTH[1:])])
    said = "texts that their annotator rejected, ignored or cancelled: 1"
    assert_read(tmp_path, [task(*cancelled), task(by(3, PER))], [(WORDS, BOTH[:1])], said)


@pytest.mark.parametrize(
    ("annotator", "expected"),
    [("first", "PER"), ("last", "LOC"), ("2", "DATE"), ("ann@x.org", "LOC"), ("3", "LOC")],
)
def test_which_annotator_counts_is_an_option_and_conflicts_are_counted(
    tmp_path: Path, annotator: str, expected: str
) -> None:
    last = by({"id": 3, "email": "ann@x.org"}, mark(0, 3, "LOC"))
    items = [task(by(1, PER), by(2, mark(0, 3, "DATE")), last), task(by(1, PER), by(2, PER), by(3, PER))]
    said = "texts that several annotators marked in different ways: 1 (the first: "
    read_as = [(WORDS, [(0, 1, expected)]), (WORDS, [(0, 1, "PER")])]
    if annotator == "ann@x.org":
        read_as.pop()  # the second text is by number 3 alone
        assert_read(tmp_path, items, read_as, said, "texts without an annotation that counts: 1", annotator=annotator)
    else:
        assert_read(tmp_path, items, read_as, said, annotator=annotator)


def test_ground_truth_comes_first(tmp_path: Path) -> None:
    item = task(by(1, LOC), by(2, PER, ground_truth=True), by(3, LOC))
    said = "texts that several annotators marked in different ways: 1"
    for annotator in ("first", "last"):
        assert_read(tmp_path, [item], [(WORDS, BOTH[:1])], said, annotator=annotator)


def test_marks_of_several_types_of_none_and_other_results(tmp_path: Path) -> None:
    relation = {"type": "relation", "from_id": "a", "to_id": "b"}
    answer = {"type": "choices", "value": {"choices": ["sport"]}}
    item = task(by(1, mark(0, 3, "PER", "POET"), mark(9, 12), relation, answer))
    assert_read(tmp_path, [item], [(WORDS, [(0, 1, "PER"), (0, 1, "POET")])], "marks without a type: 1 (the first: ")


def emoji(*marks: tuple[int, str]) -> dict[str, Any]:
    """Return a task with marks that say what they cover."""
    values = [{"start": at, "end": at + len(said), "text": said, "labels": ["PER"]} for at, said in marks]
    return task({"result": [{"value": value} for value in values]}, data={"text": "\U0001f600 \U0001f600Ida Ida Bo"})


@pytest.mark.parametrize(
    ("marks", "words", "said"),
    [
        ([(3, "Ida"), (7, "Ida")], [2, 3], ""),
        (
            [(5, "Ida"), (9, "Ida")],
            [2, 3],
            "marks whose offsets count UTF-16 units, as JavaScript does: 2 (the first: ",
        ),
    ],
)
def test_what_offsets_count_is_shown_by_the_marked_text(
    tmp_path: Path, marks: list[tuple[int, str]], words: list[int], said: str
) -> None:
    expected = [("\U0001f600|\U0001f600|Ida|Ida|Bo", [(i, i + 1, "PER") for i in words])]
    assert_read(tmp_path, [emoji(*marks)], expected, *[said] * bool(said))


def test_one_mark_decides_for_its_text(tmp_path: Path) -> None:
    text = "\U0001f600" * 3 + "Bo Bo ran"
    values = [{"start": 6, "end": 8, "text": "Bo", "labels": ["PER"]}]
    words = "|".join(["\U0001f600"] * 3 + ["Bo", "Bo", "ran"])
    item = task({"result": [{"value": value} for value in values]}, data={"text": text})
    said = "texts whose marks fit at two places, by characters and by UTF-16 units: 1 (the first: "
    assert_read(tmp_path, [item], [(words, [(4, 5, "PER")])], said)
    values.append({"start": 12, "end": 15, "text": "ran", "labels": ["VERB"]})
    item = task({"result": [{"value": value} for value in values]}, data={"text": text})
    said = "marks whose offsets count UTF-16 units, as JavaScript does: 2 (the first: "
    assert_read(tmp_path, [item], [(words, [(3, 4, "PER"), (5, 6, "VERB")])], said)
    values.append({"start": 7, "end": 12, "text": "o ran", "labels": ["X"]})  # fits by characters alone
    item = task({"result": [{"value": value} for value in values]}, data={"text": text})
    assert_refused(write(tmp_path / "a.json", json.dumps([item])), 1, "but says 'o ran'")


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (task("x"), "expected annotations that hold a 'result'"),
        (task({"result": 3}), "expected annotations that hold a 'result'"),
        (task({"result": ["x"]}), "expected annotations that hold a 'result'"),
        (task(by(1), data={"a": "x", "b": "y"}), "expected one text in 'data', found the keys a, b"),
        (task(by(1), data={}), "expected one text in 'data', found nothing"),
        (task(by(1), data={"text": ["x"]}), "expected one text in 'data', found the key 'text'"),
        (task(by(1, mark(0, 3, "PER", text="Bo"))), "mention 0-3 covers 'Ida', but says 'Bo'"),
        (task(by(1, mark(0, 30, "PER"))), "does not fit a sentence of 13 characters"),
        (task(by(1, {"value": {"start": "/p[1]", "hypertextlabels": ["PER"]}})), "'hypertextlabels' marks parts of a"),
    ],
)
def test_malformed_annotations_are_named(tmp_path: Path, item: Any, said: str) -> None:
    assert_refused(write(tmp_path / "a.json", json.dumps([item])), 1, said)


# Pairs of a text and its entities


def test_lists_of_a_text_and_its_entities(tmp_path: Path) -> None:
    pair = [TEXT, {"entities": [[9, 12, "LOC"], [0, 3, "PER"]]}]
    assert_read(tmp_path, [pair, ["No name", {"entities": []}]], [(WORDS, BOTH), ("No|name", [])])


def test_a_file_of_classes_and_annotations(tmp_path: Path) -> None:
    pairs = [[TEXT, {"entities": [[0, 3, "PER"], [9, 12, "LOC"]]}], None, [TEXT, {"entities": []}]]
    item = {"classes": ["PER", "LOC"], "annotations": pairs}
    said = "texts that their annotator rejected, ignored or cancelled: 1 (the first: "
    assert_read(tmp_path, [item], [(WORDS, BOTH), (WORDS, [])], said)


def test_texts_without_words_and_labels_are_left_out_and_counted(tmp_path: Path) -> None:
    empty: list[dict[str, Any]] = [{"text": "", "entities": []}, {"text": " \n"}, {"tokens": [], "ner_tags": []}]
    items = [*empty, {"tokens": ["Ida"], "ner_tags": ["B-PER"]}, task(by(1), data={"text": ""})]
    assert_read(tmp_path, items, [("Ida", [(0, 1, "PER")])], "texts without words: 4 (the first: ")
    for lost in ({"text": " ", "entities": [[0, 1, "PER"]]}, {"tokens": [], "tags": ["O"]}):
        assert_refused(write(tmp_path / "lost.jsonl", json.dumps(lost)), 1, "expected 'tokens'")


def test_malformed_pairs_are_named(tmp_path: Path) -> None:
    assert_refused(write(tmp_path / "a.json", json.dumps([[TEXT, {"cats": {}}]])), 1, "no 'entities' and no 'tags'")
    assert_refused(write(tmp_path / "b.json", json.dumps([[TEXT, [[0, 3, "PER"]]]])), 1, "expected a JSON object")
    path = write(tmp_path / "c.json", json.dumps([[TEXT, {"entities": [[9, 99, "LOC"]]}]]))
    assert_refused(path, 1, "mention 9-99 does not fit a sentence of 13 characters")


# Entities without offsets


def test_entities_without_offsets_are_looked_up(tmp_path: Path) -> None:
    text = "Ann met Anna in New York; Bo, Bo."
    expected = "Ann|met|Anna|in|New|York|;|Bo|,|Bo|."
    found = [(0, 1, "PER"), (2, 3, "PER"), (4, 6, "LOC"), (4, 6, "STATE"), (5, 6, "OLD"), (7, 8, "PER"), (9, 10, "PER")]
    entities = {
        "PER": ["Ann", "Anna", "Bo", "Bo"],
        "LOC": ["New York"],
        "STATE": [" New York"],
        "OLD": ["York"],
        "X": [],
    }
    assert_read(tmp_path, [{"text": text, "entities": entities}], [(expected, found)])
    listed = [{"text": name, "label": type_} for type_, names in entities.items() for name in names]
    assert_read(tmp_path, [{"text": text, "entities": listed}], [(expected, found)])
    assert_read(tmp_path, [{"text": text, "entities": {"PER": []}}], [(expected, [])])


def test_entities_without_offsets_in_words(tmp_path: Path) -> None:
    item = {"tokens": ["Acme", "Ltd.", "of", "U.", "S."], "entities": {"ORG": ["Acme Ltd."], "LOC": ["U.S."]}}
    assert_read(tmp_path, [item], [("Acme|Ltd.|of|U.|S.", [(0, 2, "ORG"), (3, 5, "LOC")])])


@pytest.mark.parametrize(
    ("entities", "said"),
    [
        ({"PER": ["Ann"]}, "'PER' 'Ann' stands 2 times in the sentence, not once"),
        ({"PER": ["Ann", "Ann", "Ann"]}, "'PER' 'Ann' stands 2 times"),
        ({"PER": ["Eve"]}, "'PER' 'Eve' does not stand in the sentence"),
        ({"PER": ["An"]}, "'PER' 'An' does not stand in the sentence. Write the name as it stands there, as whole"),
        ({"PER": [" "]}, "'PER' ' ' does not stand in the sentence"),
        ({" ": ["met"]}, "'met' has no type"),
        ({"PER": ["met", 3]}, "start, end and label"),
    ],
)
def test_entities_that_are_not_found_once_are_named(tmp_path: Path, entities: Any, said: str) -> None:
    good = {"text": "Ann met Ann", "entities": {"PER": ["met"]}}
    rows = [json.dumps(good), json.dumps(good | {"entities": entities})]
    assert_refused(write(tmp_path / "a.jsonl", "\n".join(rows)), 2, said)


# Labels under two keys

W = ["Ida", "left", "Ume"]
TAGS = ["B-PER", "O", "B-LOC"]
FOUND = [("Ida|left|Ume", BOTH)]


def test_tags_are_read_where_spans_are_mere_texts(tmp_path: Path) -> None:
    item = {"tokens": W, "ner_tags": TAGS, "langs": ["sv"] * 3, "spans": ["PER: Ida", "LOC: Ume"]}
    assert_read(tmp_path, [item], FOUND)
    said = "sentences with labels under two keys: 1 (the first: "
    assert_read(tmp_path, [item | {"spans": ["PER: Ida"]}], FOUND, said)
    bare = {"tokens": ["so"], "ner_tags": ["O"], "spans": []}
    assert_read(tmp_path, [bare], [("so", [])])


def test_mentions_beside_tags_that_say_the_same_or_cannot_be_compared(tmp_path: Path) -> None:
    item = {"tokens": W, "entities": [[0, 1, "PER"], [2, 3, "LOC"]]}
    said = "sentences with labels under two keys: 1 (the first: "
    assert_read(tmp_path, [item | {"tags": TAGS}], FOUND)
    assert_read(tmp_path, [item | {"tags": [1, 0, 2]}], FOUND, tag_names=["O", "B-PER", "B-LOC"])
    assert_read(tmp_path, [item | {"tags": ["topic"]}], FOUND)
    for others in ({"tags": ["NNP", "VBD", "NNP"]}, {"labels": [1, 0, 2]}, {"spans": [[0, 1, "PER"]]}):
        assert_read(tmp_path, [item | others], FOUND, said)
    assert_read(tmp_path, [item | {"tags": ["B-PER", "O", "O"]}], FOUND, said)
    nested = {"tokens": W, "entities": [[0, 3, "WORK"], [0, 1, "PER"]], "tags": ["B-WORK", "I-WORK", "I-WORK"]}
    assert_read(tmp_path, [nested], [("Ida|left|Ume", [(0, 1, "PER"), (0, 3, "WORK")])])


@pytest.mark.parametrize("entities", [[], [[0, 1, "LOC"]], {"PER": ["left"]}])
def test_mentions_and_tags_that_contradict_each_other_are_refused(tmp_path: Path, entities: Any) -> None:
    path = write(tmp_path / "a.jsonl", json.dumps({"tokens": W, "entities": entities, "tags": TAGS}))
    assert_refused(path, 1, "'entities' and 'tags' contradict each other: 'PER' 'Ida' is only in 'tags'")
