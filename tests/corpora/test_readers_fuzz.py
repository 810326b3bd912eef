"""Whatever a file holds, a reader ends with rows or with one message."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cl_ner_bench.corpora.readers.conll2012 import Conll2012Options, open_conll2012
from cl_ner_bench.corpora.readers.folder import open_parts, read_rows
from cl_ner_bench.corpora.readers.lines import Row
from cl_ner_bench.corpora.readers.options import ReaderOptions
from cl_ner_bench.corpora.readers.problems import Report
from cl_ner_bench.errors import UserError
from tests.corpora.reading import Collected, write

INPUTS = int(os.environ.get("CL_NER_BENCH_FUZZ", "1000"))  # of all exports together

WORD = st.sampled_from(
    ["a", "", " ", "\xa0", "\ufeff", "\0", "#", "-DOCSTART-", "北京", "👍🏽", "T1", "[", "(A*", "*)"]
)
TAG = st.sampled_from(["O", "B-A", "I-A", "I-B", "S-A", "A", "B-", "B_A", "o", "", "T1", "A 0 1", "A 3 9;4 5"])
PIECE = st.sampled_from(
    [
        "1",
        "2",
        "3-4",
        "5.1",
        "_",
        "NER=B-A|x=1",
        "x=1|NER=O",
        "b-a",
        "A-B",
        "B",
        "I",
        "Word",
        "Tag",
        "Sentence #",
        '"',
        ",",
    ]
)
PREFIX = st.sampled_from(
    ["", "# ", "#T_SP=a.B|value\n1-1\t0-1\t", "1|t|", "1|a|", "1\t0\t1\ta\t", "#FORMAT=WebAnno TSV 3\n", "1-2\t2-3\t"]
)
LINE = st.lists(WORD | TAG, max_size=3).map("\t".join) | st.lists(WORD | TAG, max_size=13).map(" ".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 9) | st.floats() | TAG | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["start", "end", "label"]), inner),
    max_leaves=9,
)
FIELD = st.sampled_from(["tokens", "words", "text", "entities", "tags", "ner_tags", "label", "ent_dct", "spans"])
WORDS = st.lists(st.sampled_from(["a", "B.", "北京", "👍🏽", "", " "]), max_size=4)
SPANS = st.lists(st.tuples(st.integers(-1, 4), st.integers(-1, 4), TAG) | JSON, max_size=3)
MARK = st.fixed_dictionaries({"start": st.integers(0, 4), "end": st.integers(0, 4)}, optional={"labels": st.lists(TAG)})
RESULT = st.lists(st.fixed_dictionaries({"value": MARK | JSON}) | JSON, max_size=3)
ANNOTATION = st.fixed_dictionaries(
    {"result": RESULT | JSON}, optional={"completed_by": JSON, "was_cancelled": st.booleans(), "ground_truth": JSON}
)
ENTITIES = st.dictionaries(TAG, WORDS | JSON) | SPANS | st.lists(st.fixed_dictionaries({"text": WORD, "label": TAG}))
TEXT = WORDS.map(" ".join)
# What tools write, each with values that do not fit.
EXPORTS: dict[str, st.SearchStrategy[Any]] = {
    "labels under two keys": st.dictionaries(FIELD, WORDS | SPANS | ENTITIES | st.lists(TAG, max_size=4)),
    "inclusive ends": st.fixed_dictionaries(
        {"tokenized_text": WORDS | JSON, "ner": SPANS | JSON}, optional={"tags": st.lists(TAG, max_size=4)}
    ),
    "answers": st.fixed_dictionaries(
        {"text": TEXT, "answer": st.sampled_from(["accept", "reject", "ignore"]) | JSON, "spans": SPANS}
    ),
    "no offsets": st.fixed_dictionaries({"text": TEXT, "entities": ENTITIES}, optional={"tokens": WORDS}),
    "pairs": st.tuples(TEXT, st.fixed_dictionaries({"entities": SPANS | ENTITIES}) | JSON),
    "classes": st.fixed_dictionaries(
        {"classes": JSON, "annotations": st.lists(st.tuples(TEXT, st.dictionaries(FIELD, SPANS)) | JSON) | JSON}
    ),
    "annotations": st.fixed_dictionaries(
        {"data": st.dictionaries(st.sampled_from(["text", "x"]), TEXT | JSON)},
        optional={key: st.lists(ANNOTATION | JSON, max_size=3) | JSON for key in ("annotations", "completions")},
    ),
}
LINES = st.tuples(PREFIX, st.lists(WORD | TAG | PIECE, max_size=5), st.sampled_from("\t ,")).map(
    lambda drawn: drawn[0] + drawn[2].join(drawn[1])
)
OBJECT = st.dictionaries(FIELD, JSON).map(json.dumps)
BYTES = (
    st.binary(max_size=60)
    | st.lists(LINES, max_size=8).map(lambda lines: "\n".join(lines).encode())
    | st.lists(LINES, max_size=8).map(lambda lines: "\n".join(lines).encode("cp1252", "replace") + b"Zo\xeb\tO")
    | st.lists(LINE, max_size=6).map(lambda lines: "\n".join(lines).encode())
    | st.lists(OBJECT, max_size=4).map(lambda rows: "\n".join(rows).encode())
    | st.lists(OBJECT | st.just("]"), max_size=4).map(lambda rows: ("[" + ",".join(rows)).encode())
)


def check(rows: Iterator[Row]) -> None:
    for row in rows:
        assert row.words
        assert all(word and not word.isspace() for word in row.words)
        assert list(row.mentions) == sorted({*row.mentions})
        assert all(0 <= m.start < m.end <= len(row.words) and m.type for m in row.mentions)
        "".join([*row.words, *(m.type for m in row.mentions)]).encode()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.json", "a.parquet", "a.txt.gz", "a.ann", "x.gold_conll"])
@given(data=BYTES)
def test_any_bytes_end_in_rows_or_in_one_message(name: str, data: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = write(Path(folder) / "test" / name, data)
        if name == "a.ann":
            path = write(path.with_suffix(".txt"), "a A\n北京 👍🏽\n")
        for report in (Report(), Collected()):
            with contextlib.suppress(UserError):
                if name == "x.gold_conll":
                    for rows in open_conll2012(Path(folder), {}, Conll2012Options(), report).values():
                        check(rows)
                else:
                    check(read_rows(path, ReaderOptions(), report))
                    check(open_parts(Path(folder), ReaderOptions(), report)["test"])
        if isinstance(report, Collected):
            assert all("\n" not in str(problem) and len(str(problem)) < 1000 for problem in report.problems)


@pytest.mark.slow
@pytest.mark.parametrize("form", EXPORTS)
def test_any_export_ends_in_rows_or_in_one_message(form: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"

    @settings(max_examples=INPUTS // len(EXPORTS), derandomize="CL_NER_BENCH_FUZZ" not in os.environ, database=None)
    @given(items=st.lists(EXPORTS[form], max_size=3), lines=st.booleans())
    def check_all(items: list[Any], lines: bool) -> None:
        path.write_text("\n".join(map(json.dumps, items)) if lines else json.dumps(items))
        with contextlib.suppress(UserError):
            check(read_rows(path, ReaderOptions(), Report()))
        report = Collected()
        check(read_rows(path, ReaderOptions(annotator="last"), report))
        assert all("\n" not in str(problem) and len(str(problem)) < 1000 for problem in report.problems)
        assert all("\n" not in remark and len(remark) < 1000 for remark in report.remarks)

    check_all()
