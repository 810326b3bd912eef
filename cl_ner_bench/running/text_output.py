"""Texts with the mentions found in them, as JSON lines, CoNLL columns, and brat's pairs of files."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from itertools import accumulate
from typing import Any

from cl_ner_bench.errors import UserError, short
from cl_ner_bench.running.predicting import Answer

FORMATS = ("jsonl", "conll", "brat")
_LINE_ENDS = re.compile("[\x85\u2028\u2029]")  # in JSON they need no escape, and end a line for many readers
_BREAKS = re.compile(r"[\n\r]+")


def check_format(format: str, types: Collection[str], nested: bool) -> None:
    """Raise UserError if a format has no place for what a model finds."""
    if format == "conll" and nested:
        raise UserError(
            "--format conll: the model finds mentions inside of others, which columns cannot hold; jsonl can"
        )
    for type_ in types:
        if format != "jsonl" and re.search(r"\s", type_):
            raise UserError(f"--format {format}: the type {short(type_)} holds white space, for which it has no place")


def as_jsonl(answer: Answer) -> bytes:
    """Return a line: ``id`` if the text has one, ``text`` or ``tokens`` as given, and ``mentions``."""
    row: dict[str, Any] = {**answer.about.id, "text" if isinstance(answer.given, str) else "tokens": answer.given}
    row["mentions"] = [
        {
            **{"start": m.start, "end": m.end, "start_word": m.start_word, "end_word": m.end_word},
            **{"type": m.type, "score": round(m.score, 4), "text": m.text},
        }
        for m in answer.found
    ]
    line = _LINE_ENDS.sub(lambda end: f"\\u{ord(end[0]):04x}", json.dumps(row, ensure_ascii=False))
    return f"{line}\n".encode()


def as_conll(answer: Answer) -> bytes:
    """Return a line a word: the word, a tab, its tag (IOB2). Before each sentence stand its line and its number in it,
    behind it an empty line.
    """
    tags = ["O"] * answer.n_words
    for m in answer.found:
        tags[m.start_word : m.end_word] = [f"B-{m.type}", *[f"I-{m.type}"] * (m.end_word - m.start_word - 1)]
    given, rows, n = answer.given, [], 0
    for number, borders in enumerate(answer.sentences, 1):
        rows.append(f"# sent_id = {answer.about.number}.{number}\n")
        for start, end in borders:
            rows.append(f"{given[start:end] if isinstance(given, str) else given[start]}\t{tags[n]}\n")
            n += 1
        rows.append("\n")
    return "".join(rows).encode()


def as_brat(answer: Answer) -> tuple[bytes, bytes]:
    """Return the text and its marks; a list of words is joined by blanks. A mention that goes on behind a line break is
    marked in parts.
    """
    given = answer.given
    text = given if isinstance(given, str) else " ".join(given)
    starts = [] if isinstance(given, str) else [*accumulate((len(word) + 1 for word in given), initial=0)]
    marks = []
    for n, m in enumerate(answer.found, 1):
        start, end = (starts[m.start], starts[m.end] - 1) if starts else (m.start, m.end)
        parts = [*_parts(text, start, end)]
        places = ";".join(f"{first} {last}" for first, last in parts)
        marks.append(f"T{n}\t{m.type} {places}\t{' '.join(text[first:last] for first, last in parts)}\n")
    return text.encode(), "".join(marks).encode()


def _parts(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    for match in _BREAKS.finditer(text, start, end):
        yield start, match.start()
        start = match.end()
    yield start, end
