"""Damaged corpora: the doctor and loading agree on every one, and neither ever ends in a traceback.

``CL_NER_BENCH_FUZZ`` is the number of inputs (default 1,000, always the same ones; another number draws new ones):
``CL_NER_BENCH_FUZZ=100000 pytest tests/corpora/test_doctor_fuzz.py``.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cl_ner_bench.corpora import doctor
from cl_ner_bench.corpora.division import Division
from cl_ner_bench.corpora.load import load_corpus
from cl_ner_bench.errors import UserError

INPUTS = int(os.environ.get("CL_NER_BENCH_FUZZ", "1000"))

_COLUMNS = b"-DOCSTART-\t-X-\tO\n\nAnna\tNNP\tB-PER\nSmith\tNNP\tI-PER\nsings\tVBZ\tO\n\nin\tIN\tO\nRome\tNNP\tB-LOC\n"
_IO = "東京\tplace\n가\tO\n\n🎸 person\n".replace(" ", "\t").encode()
_JSONL = b"""\
{"tokens": ["Anna", "Smith", "sings"], "entities": [{"start": 0, "end": 2, "label": "PER"}]}
{"words": ["in", "Rome"], "spans": [[1, 2, "LOC"], [0, 2, "FAC"]]}
{"tokens": ["in", "Rome"], "ner_tags": ["O", "S-LOC"]}
{"text": "Anna sings", "entities": [{"start": 0, "end": 4, "label": "PER"}]}
"""
# Forms of tools: Prodigy, GLiNER, entities without offsets, tags beside texts; spaCy 2; Label Studio.
_TOOLS = b"""\
{"text": "Anna sings", "spans": [{"start": 0, "end": 4, "label": "PER"}], "answer": "accept"}
{"text": "Anna sings", "spans": [], "answer": "reject"}
{"tokenized_text": ["Anna", "Smith", "sings"], "ner": [[0, 1, "PER"], [0, 0, "FIRST"]]}
{"text": "Anna saw New York", "entities": {"PER": ["Anna"], "LOC": ["New York"]}}
{"tokens": ["Anna", "sings"], "ner_tags": ["B-PER", "O"], "spans": ["PER: Anna"]}
{"tokens": ["Anna", "sings"], "entities": [[0, 1, "PER"]], "tags": ["B-PER", "O"]}
"""
_PAIRS = b'[["Anna sings", {"entities": [[0, 4, "PER"]]}],\n["in Rome", {"entities": [[3, 7, "LOC"]]}]]'
_TASKS = b"""\
[{"id": 1, "data": {"text": "in Rome"}, "annotations": [
{"completed_by": 1, "result": [{"type": "labels", "value": {"start": 3, "end": 7, "text": "Rome", "labels": ["LOC"]}}]},
{"completed_by": {"id": 2, "email": "a@b"}, "ground_truth": true, "result": []}]},
{"id": 2, "data": {"text": "Anna"}, "completions": [{"was_cancelled": true, "result": []}, {"result": [
{"value": {"start": 0, "end": 4, "labels": ["PER"]}}]}]},
{"id": 3, "data": {"text": "so"}, "annotations": []}]
"""
# Lines of tools: CoNLL-U with tags among attributes; a table with a header; annotators behind the tags; tags in lower
# case, behind their type, or without one; PubTator; WebAnno TSV 3.
_LINES = {
    "conllu": b"# sent_id = 1\n# text = Anna sings\n1\tAnna\t_\tNER=B-PER|X=1\n2-3\tim\t_\t_\n2\tin\t_\tX=No\n"
    b"3\tRome\t_\tNER=B-LOC\n\n# x\n1\tso\t_\t_\n",
    "table": b'Sentence #,Word,POS,Tag\nS: 1,Zo\xeb,NN,B-PER\n,",",X,O\n,Sm\xedth,NN,O\nS: 2,in,X,O\n,Rome,NN,B-LOC\n',
    "annotators": b"# id 1\tdomain=x\n1\tAnna\tB-PER\t-\tann\n2\tsings\tO\t-\tann\n\n1\tRome\tB-LOC\t-\tann\n",
    "lower": b"anna b-per\nsmith i-per\nsings o\n\nin o\nrome b-loc\n",
    "suffix": b"Anna\tPER-B\nSmith\tPER-I\nsings\tO\n\nin\tO\nRome\tLOC_B\n".replace(b"_", b"-"),
    "bare": b"Anna\tB\nSmith\tI\nsings\tO\n\nin\tO\nRome\tB\n",
    "pubtator": b"1|t|Anna sings\n1|a|in Rome\n1\t0\t4\tAnna\tPER\n1\t14\t18\tRome\tLOC\tx\n1\tR\ta\tb\n\n2|t|so\n",
    "webanno": b"#FORMAT=WebAnno TSV 3.3\n#T_SP=x.POS|v\n#T_SP=x.NamedEntity|identifier|value\n\n#Text=Anna Smith\n"
    b"1-1\t0-4\tAnna\tN\t_\tPER[1]|X\t\n1-2\t5-10\tSmith\tN\t_\tPER[1]\t\n1-2.1\t5-7\tSm\t_\t_\tY\t\n\n2-1\t11-15\tso\t_\t_\t_\t\n",
}
_CARD = b"""\
schema = 1
title = "Toy"
orders = [[0, 1], [1, 0]]
joint_steps = "last"
undertrained_below = 30

[tasks]
people = ["PER"]
places = ["LOC", "FAC"]

[reader_options]
separator = "\\t"
word_column = 0
tag_columns = [-1]
scheme = "BIO"
comment = "#"
rename = {GPE = "LOC"}
files = {train = "train.txt", dev = "dev.txt", test = "test.txt"}

[counts]
train = {sentences = 2, mentions = 2, types = {PER = 1}}

[recipes.paper]
epochs = 3
"""
_TEXT = b"Anna Smith sings\nin Rome\n"
_NOTES = b"T1\tPER 0 10\tAnna Smith\nT2\tLOC 20 24\tRome\nR1\tlives Arg1:T1 Arg2:T2\n#1\tAnnotatorNotes T1\tsure\n"
_CONLL2012 = b"""\
#begin document (nw/x/a); part 000
nw/x/a 0 0 Anna NNP (TOP* - - - - (PERSON* - -
nw/x/a 0 1 Smith NNP * - - - - *) - -
nw/x/a 0 2 /. . *) - - - - * - -

#end document
"""

_FOLDERS = {"train": "train", "dev": "development", "test": "test"}
CORPORA: dict[str, Mapping[str, bytes]] = {
    "columns": {f"{part}.txt": _COLUMNS for part in _FOLDERS},
    "io": {f"{part}.conll": _IO for part in _FOLDERS},
    "jsonl": {f"{part}.jsonl": _JSONL for part in _FOLDERS},
    "tools": {f"{part}.jsonl": _TOOLS for part in _FOLDERS},
    "pairs": {f"{part}.json": _PAIRS for part in _FOLDERS},
    "tasks": {f"{part}.json": _TASKS for part in _FOLDERS},
    "card": {"card.toml": _CARD, **{f"{part}.txt": _COLUMNS for part in _FOLDERS}},
    **{form: {f"{part}.txt": data for part in _FOLDERS} for form, data in _LINES.items()},
    "brat": {f"{part}/a.{suffix}": data for part in _FOLDERS for suffix, data in (("txt", _TEXT), ("ann", _NOTES))},
    "conll2012": {
        "card.toml": b'reader = "conll2012"\n[reader_options]\nexclude = ["pt/"]\nnormalise = true\n'
        b'test_folder = "test"\npath = "."\nids = {}\n',
        **{f"{folder}/a.gold_conll": _CONLL2012 for folder in _FOLDERS.values()},
    },
}

# Pieces that mean something to one of the readers, or to Unicode.
_PIECES = [
    b"", b"\n", b"\r\n", b"\r", b"\t", b" ", b"\n\n", b"\0", b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\x85",
    b"\xc2\x85", b"\xe2\x80\xa8", b"\xe2\x80\x8b", b"\xed\xa0\x80", b"\xf0\x9f\x8e\xb8", b"\xc3\x83\xc2\xa9",
    b"\x1f\x8b", b"PAR1", b"O", b"B-", b"I-PER", b"B-PER", b"E-X", b"0", b"-1", b"99999999999999999999", b"1e400",
    b"NaN", b"null", b"true", b"[", b"]", b"{", b"}", b'"', b",", b":", b"(", b")", b"*", b"#", b"-", b"=", b"[[",
    b"\\ud800", b"\\u0000", b"\\", b"-DOCSTART-", b"T3\tPER 0 3;5 9\tx\n", b"#begin document (x)", b"[" * 3000,
    b"x" * 600, b"9" * 5000, b"train", b"../", b"_", b"|", b"b-per", b"PER-B", b"NER=", b"1-1", b"1|t|", b"Word,Tag",
    b"# x", b"#FORMAT=WebAnno TSV 3", b"#T_SP=a.B|c",
]  # fmt: skip


class Damage(NamedTuple):
    """A sound corpus of which one file is replaced, or which gets one more. ``alone``: that file is divided."""

    corpus: str
    file: str
    data: bytes
    alone: bool


# Values that a card's key may not expect.
_VALUES = [
    b"3", b"-1", b"1.5", b"nan", b"true", b'"x"', b'""', b'"../x"', b'"*.txt"', b"[]", b"[3]", b'["x"]', b"[[0]]",
    b"{}", b"{x = 3}", b'{train = "x"}', b'{train = "train.txt", dev = "dev.txt", test = "*.txt"}', b"1979-05-27",
]  # fmt: skip


@st.composite
def damage(draw: st.DrawFn) -> Damage:
    """One file damaged in up to eight places, or replaced by any bytes."""
    corpus = draw(st.sampled_from(sorted(CORPORA)))
    file = draw(st.sampled_from(sorted(CORPORA[corpus])))
    data = CORPORA[corpus][file]
    if file == "card.toml" and draw(st.booleans()):
        key, value = draw(st.sampled_from(re.findall(rb"(?m)^\w+(?= = )", data))), draw(st.sampled_from(_VALUES))
        data = re.sub(rb"(?m)^%s = .*$" % key, b"%s = %s" % (key, value), data)
    if draw(st.integers(0, 9)) == 0:
        data = draw(st.binary(max_size=200))
    for kind, a, b, piece in draw(st.lists(_BLOWS, max_size=8)):
        at = a % (len(data) + 1)
        if kind == "insert":
            data = data[:at] + piece + data[at:]
        elif kind == "replace":
            data = data[:at] + piece + data[at + b :]
        elif kind == "repeat":
            data = data[:at] + data[at : at + b] * 3 + data[at + b :]
        elif kind == "swap lines":
            lines = data.split(b"\n")
            i, k = a % len(lines), b % len(lines)
            lines[i], lines[k] = lines[k], lines[i]
            data = b"\n".join(lines)
        elif b == 0:
            data = data[:at]
    if draw(st.integers(0, 29)) == 0:
        file = draw(st.sampled_from(["train.jsonl", "train.parquet", "train.txt.gz", "valid", "a.ann", "card.toml"]))
    return Damage(corpus, file, data, file != "card.toml" and draw(st.integers(0, 4)) == 0)


_BLOWS = st.tuples(
    st.sampled_from(["insert", "replace", "repeat", "swap lines", "cut"]),
    st.integers(0, 1 << 16),
    st.integers(0, 40),
    st.sampled_from(_PIECES) | st.binary(max_size=3),
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for each sound corpus; there is no cache, so that each input is read."""
    root = tmp_path_factory.mktemp("corpora")
    for corpus, files in CORPORA.items():
        for file, data in files.items():
            (root / corpus / file).parent.mkdir(parents=True, exist_ok=True)
            (root / corpus / file).write_bytes(data)
    with mock.patch.dict(os.environ, CL_NER_BENCH_CACHE=f"{os.devnull}/none"):
        yield root


@pytest.mark.slow
@settings(max_examples=INPUTS, derandomize="CL_NER_BENCH_FUZZ" not in os.environ, database=None)
@given(damage())
def test_damage_is_told_and_never_a_traceback(folders: Path, damage: Damage) -> None:
    corpus, file, data, alone = damage
    folder = folders / corpus
    (folder / file).write_bytes(data)
    try:
        dataset = str(folder / "card.toml" if (folder / "card.toml").exists() else folder)
        dataset = str(folder / file) if alone else dataset
        division = Division((60, 20, 20), 1) if alone else None
        diagnosis = doctor.check(dataset, shown=None, division=division)
        doctor.as_text(diagnosis).encode()  # can be printed
        found = json.loads(json.dumps(diagnosis.to_json()))
        errors = [p["message"] for p in found["problems"] if p["level"] == "error"]
        refusal = ""
        try:
            assert load_corpus(dataset, parts=division).fingerprint
        except UserError as error:
            refusal = str(error)
        assert bool(errors) == bool(refusal), f"the doctor says {errors}, loading {refusal!r}"
        for message in [refusal, *(problem["message"] for problem in found["problems"])]:
            assert len(message.splitlines()) <= 5
            assert len(message) < 2000
    finally:
        if file in CORPORA[corpus]:
            (folder / file).write_bytes(CORPORA[corpus][file])
        else:
            (folder / file).unlink()
