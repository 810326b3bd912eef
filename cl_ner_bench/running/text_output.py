"""Texts with the mentions found in them, as JSON lines, CoNLL columns, and brat's pairs of files."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Collection, Iterator
from itertools import accumulate
from typing import Any

from cl_ner_bench.corpora.sentence import Mention, Sentence
from cl_ner_bench.corpora.writers import FORMATS, columns
from cl_ner_bench.errors import UserError, short
from cl_ner_bench.running.predicting import Answer

_LINE_ENDS = re.compile("[\x85\u2028\u2029]")  # in JSON they need no escape, and end a line for many readers
_BREAKS = re.compile(r"[\n\r]+")


def check_format(format: str, types: Collection[str], nested: bool) -> None:
    """Raise UserError if a format has no place for what a model finds."""
    if format == "conll" and nested:
        raise UserError("--format conll cannot hold mentions inside of others, which the model finds; jsonl can")
    for type_ in types:
        if bad := FORMATS[format].bad_type(type_):
            raise UserError(f"--format {format} cannot hold the type {short(type_)}, with {bad}; jsonl can")


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
    """Return the sentences as ``corpora.writers.columns``; before each stands a comment, with the number of its text
    and its own in it.
    """
    given, parts, offset, found = answer.given, [], 0, deque(answer.found)
    for number, borders in enumerate(answer.sentences, 1):
        end, mentions = offset + len(borders), []
        while found and found[0].start_word < end:
            m = found.popleft()
            mentions.append(Mention(m.start_word - offset, m.end_word - offset, m.type))
        words = [given[first:last] if isinstance(given, str) else given[first] for first, last in borders]
        parts.append(f"# sent_id = {answer.about.number}.{number}\n")
        parts.append(columns(Sentence(number, tuple(words), tuple(mentions))))
        offset = end
    return "".join(parts).encode()


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
