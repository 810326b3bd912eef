"""Output of texts with their mentions, as JSON lines, CoNLL columns or pairs of brat files."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate
from typing import Any

from cl_ner_bench.corpora.sentence import Mention, Sentence
from cl_ner_bench.corpora.writers import FORMATS, columns, json_line
from cl_ner_bench.deployment.predicting import Answer
from cl_ner_bench.errors import UserError, short

_BREAKS = re.compile(r"[\n\r]+")
# Readers count characters differently after a byte-order mark that begins a line, or a carriage return inside a line.
_NOT_BRAT = re.compile(r"\0|(?:\A|\n)\ufeff|(?<!\r)\r++(?!\n|\Z)")


def check_format(format: str, types: Collection[str], nested: bool) -> None:
    """Raise UserError if a format cannot hold the mentions of a model."""
    if format == "conll" and nested:
        raise UserError(
            "--format conll cannot hold mentions inside other mentions, and the model finds such mentions; use jsonl"
        )
    for type_ in types:
        if bad := FORMATS[format].bad_type(type_):
            raise UserError(f"--format {format} cannot hold the type {short(type_)}, with {bad}; jsonl can")


def misfit(format: str, given: str | Sequence[str]) -> str:
    """Return the part of a message that says what in a text a format cannot hold, or "" if it can hold all."""
    if not isinstance(given, str):
        bad = FORMATS[format].bad_words(given) if given else ""
    elif format == "brat" and _NOT_BRAT.search(given):
        bad = "a text with NUL, a carriage return inside a line, or a line that begins with a byte-order mark"
    else:
        bad = ""
    return bad and f"--format {format} cannot hold {bad}; jsonl can"


def as_jsonl(answer: Answer) -> bytes:
    """Return a JSON line: ``id`` if the text has one, the given ``text`` or ``tokens``, and ``mentions``."""
    row: dict[str, Any] = {**answer.about.id, "text" if isinstance(answer.given, str) else "tokens": answer.given}
    row["mentions"] = [
        {
            **{"start": m.start, "end": m.end, "start_word": m.start_word, "end_word": m.end_word},
            **{"type": m.type, "score": round(m.score, 4), "text": m.text},
        }
        for m in answer.found
    ]
    return json_line(row).encode()


def as_conll(answer: Answer) -> bytes:
    """Return the sentences as ``corpora.writers.columns`` writes them.

    A comment before each sentence holds the number of the text and the number of the sentence in the text.
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
    """Return the text and its annotations. Words of a list are joined by blanks.

    A mention that contains a line break is annotated in parts.
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
