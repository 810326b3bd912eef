"""The format of a file, by its name and its first bytes; known formats without a reader get a message."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from cl_ner_bench.corpora.readers.lines import head
from cl_ner_bench.corpora.readers.problems import Report

Format = Literal["columns", "jsonl", "parquet", "brat", "pubtator", "webanno"]

_JSON = re.compile(rb"\s*((\[\s*)?\{\s*[\"'}]|\[\s*\[\s*\")")
_PUBTATOR = re.compile(rb"\s*[^|\s]{1,64}\|[ta]\|")
_PYTHON = re.compile(rb"\s*(\[\s*\(\s*[\"']|[A-Za-z_]\w*\s*=\s*[\[{])")
_WEBANNO = re.compile(rb"\s*#FORMAT=WebAnno TSV 3")

_JSON_LINES = 'JSON lines, {"text": "Anna ...", "entities": [[0, 4, "PER"]]} for each text'
_FOREIGN = [
    (
        re.compile(rb"\s*(<\?xml|<!DOCTYPE|<[A-Za-z][\w:.-]*(\s+[\w:.-]+\s*=|>\s*[\n<]))"),
        "XML (BioC, GATE, TEI, UIMA XMI)",
        f"Convert it to {_JSON_LINES}; tools that write XML export CoNLL, brat or WebAnno TSV 3, too",
    ),
    (
        _PYTHON,
        "a list in Python's writing (TRAIN_DATA of spaCy 2)",
        'Write it as JSON: json.dump(TRAIN_DATA, open("train.json", "w"))',
    ),
    (
        re.compile(rb"PK\x03\x04"),
        "a zip file or a spreadsheet (xlsx, ods)",
        "Unpack it; save a sheet as CSV in UTF-8, with a header like Sentence #,Word,Tag",
    ),
    (
        re.compile(rb"ARROW1|\xff\xff\xff\xff"),
        "an Arrow file (a saved dataset of Hugging Face)",
        'Write parquet: datasets.load_from_disk(FOLDER)["train"].to_parquet("train.parquet")',
    ),
    (
        re.compile(rb"\x80[\x02-\x05]"),
        "a pickle, which is not read because it could run code",
        f"Load it where you trust it, and write {_JSON_LINES}",
    ),
    (
        re.compile(rb"\x78[\x01\x5e\x9c\xda]"),
        "packed binary data (a DocBin of spaCy, .spacy)",
        'Write JSON lines: for each document of DocBin().from_disk("train.spacy").get_docs(vocab) '
        '{"text": doc.text, "entities": [[e.start_char, e.end_char, e.label_] for e in doc.ents]}',
    ),
    (
        re.compile(rb"\s*#FORMAT=WebAnno TSV"),
        "WebAnno TSV of another version than 3",
        "Export it again as WebAnno TSV v3.3, or as CoNLL 2002",
    ),
]


def format_of(path: Path, report: Report) -> Format | None:
    """Return the format of a file; None after the problem ``format`` (a known format without a reader).

    Parquet is known by the name ``.parquet`` or the first bytes, brat by a ``.txt`` beside an ``.ann``, JSON by the
    name or the first characters, PubTator and WebAnno TSV 3 by their first line. Any other file is columns, and so is
    ``.conll``.
    """
    suffixes = {suffix.lower() for suffix in path.suffixes}
    first = head(path)
    if ".parquet" in suffixes or first.startswith(b"PAR1"):
        return "parquet"
    if path.suffix == ".txt" and path.with_suffix(".ann").is_file():
        return "brat"
    if {".jsonl", ".json", ".ndjson"} & suffixes and not _PYTHON.match(first):
        return "jsonl"
    if ".conll" in suffixes:  # its first word may look like anything
        return "columns"
    if _JSON.match(first):
        return "jsonl"
    if _PUBTATOR.match(first):
        return "pubtator"
    if _WEBANNO.match(first):
        return "webanno"
    for pattern, name, fix in _FOREIGN:
        if pattern.match(first):
            report.problem("format", path, 0, f"{name} is no format that is read", fix)
            return None
    return "columns"
