"""Whatever a file holds, a reader ends with rows or with one message."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cl_ner_bench.corpora.readers.conll2012 import Conll2012Options, open_conll2012
from cl_ner_bench.corpora.readers.folder import open_parts, read_rows
from cl_ner_bench.corpora.readers.lines import Row
from cl_ner_bench.corpora.readers.options import ReaderOptions
from cl_ner_bench.corpora.readers.problems import Report
from cl_ner_bench.errors import UserError
from tests.corpora.reading import Collected, write

WORD = st.sampled_from(
    ["a", "", " ", "\xa0", "\ufeff", "\0", "#", "-DOCSTART-", "北京", "👍🏽", "T1", "[", "(A*", "*)"]
)
TAG = st.sampled_from(["O", "B-A", "I-A", "I-B", "S-A", "A", "B-", "B_A", "o", "", "T1", "A 0 1", "A 3 9;4 5"])
LINE = st.lists(WORD | TAG, max_size=3).map("\t".join) | st.lists(WORD | TAG, max_size=13).map(" ".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 9) | st.floats() | TAG | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["start", "end", "label"]), inner),
    max_leaves=9,
)
FIELD = st.sampled_from(["tokens", "words", "text", "entities", "tags", "ner_tags", "label", "ent_dct"])
OBJECT = st.dictionaries(FIELD, JSON).map(json.dumps)
BYTES = (
    st.binary(max_size=60)
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
