"""JSON lines: a sentence a line."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cl_ner_bench.corpora import schemes
from cl_ner_bench.corpora.readers.columns import _decode
from cl_ner_bench.corpora.readers.lines import fail, lines
from cl_ner_bench.corpora.sentence import Mention, Sentence


def read_jsonl(path: Path) -> Iterator[Sentence]:
    """A JSON object a line: ``tokens`` (or ``words``) with ``entities`` (``spans``, ``mentions``) or ``tags``.

    Entities are ``{"start", "end", "label"}`` (or ``"type"``) or ``[start, end, type]``, in words, ``end`` exclusive;
    ``tags`` (``ner_tags``, ``labels``) are strings in any scheme of ``schemes``.
    """
    count = 0
    prefixed: bool | None = None
    for number, text in lines(path):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except json.JSONDecodeError as error:
            fail(path, number, f"not JSON ({error})", "Write one JSON object on each line")
        if not isinstance(row, dict):
            fail(path, number, "expected a JSON object", "Write one sentence as an object on each line")
        words = _field(row, "tokens", "words")
        if not isinstance(words, list) or not words or not all(isinstance(w, str) and w.strip() for w in words):
            fail(path, number, "expected 'tokens', a list of words", 'Write {"tokens": ["Anna", ...], ...}')
        entities = _field(row, "entities", "spans", "mentions")
        tags = _field(row, "ner_tags", "tags", "labels")
        if isinstance(entities, list):
            found = sorted({_mention(path, number, item, len(words)) for item in entities})
        elif isinstance(tags, list):
            if len(tags) != len(words) or not all(isinstance(tag, str) for tag in tags):
                fail(
                    path,
                    number,
                    f"expected one tag string for each of {len(words)} words, found {len(tags)} tags",
                    "Write tags as strings like B-PER; numbers need their names",
                )
            if prefixed is None and any(tag != "O" for tag in tags):
                prefixed = schemes.has_prefixes(tags)
            found = list(_decode(path, [number] * len(words), tags, prefixed is not False))
        else:
            fail(path, number, "no 'entities' and no 'tags'", 'Write "entities": [] where a sentence has none')
        yield Sentence(count, tuple(words), tuple(found))
        count += 1


def _field(row: dict[str, Any], *names: str) -> Any:
    return next((row[name] for name in names if row.get(name) is not None), None)


def _mention(path: Path, number: int, item: Any, n_words: int) -> Mention:
    if isinstance(item, dict):
        item = [item.get("start"), item.get("end"), _field(item, "label", "type")]
    if not isinstance(item, list) or len(item) != 3 or not isinstance(item[2], str) or not item[2]:
        fail(
            path,
            number,
            "an entity needs start, end and label",
            'Write {"start": 0, "end": 2, "label": "PER"}',
        )
    start, end, type_ = item
    if type(start) is not int or type(end) is not int:
        fail(path, number, f"start {start!r} and end {end!r} must be whole numbers", "Count words from 0")
    if start == end:
        fail(path, number, f"empty mention {start}-{end}", "'end' is exclusive: one word is [i, i + 1]")
    if not 0 <= start < end <= n_words:
        fail(
            path,
            number,
            f"mention {start}-{end} does not fit a sentence of {n_words} words",
            "Count words (not characters) from 0; 'end' is exclusive",
        )
    return Mention(start, end, sys.intern(type_))
