"""JSON: an object a line, or one list of objects."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from cl_ner_bench.corpora.readers.lines import Row, chunks, head, lines
from cl_ner_bench.corpora.readers.objects import read_objects
from cl_ner_bench.corpora.readers.options import ReaderOptions
from cl_ner_bench.corpora.readers.problems import Report

_LARGEST = 1 << 26  # characters: an item of a list must end before
_LIST = re.compile(rb"\s*\[\s*(?![\s\"])")
_VISIBLE = re.compile(r"[^ \t\n\r]")
_decode = json.JSONDecoder().raw_decode


def read_jsonl(path: Path, options: ReaderOptions, report: Report) -> Iterator[Row]:
    """Yield a sentence for each object, in the shapes of ``read_objects``.

    A file holds an object a line, or one list of objects. (A line may also be a list that begins with a text: see
    ``exports.plain``.)

    A malformed line is left out. In a malformed list, everything behind the fault is left out. Problems: ``object`` (no
    JSON), and those of ``read_objects`` and ``lines``.
    """
    is_list = _LIST.match(head(path)) is not None
    return read_objects(partial(_listed if is_list else _lined, path), path, options, report, {})


def _lined(path: Path, report: Report) -> Iterator[tuple[int, Any]]:
    for number, text in lines(path, report):
        if text and not text.isspace():
            try:
                item = json.loads(text)
            except (ValueError, RecursionError) as error:
                _tell(path, number, error, report)
            else:
                yield number, item


def _listed(path: Path, report: Report) -> Iterator[tuple[int, Any]]:
    text = _Text(chunks(path, report))
    mark = text.peek()
    text.at += 1
    while mark in ("[", ","):
        if text.peek() == "]" and mark == "[":
            mark = "]"
        else:
            line = text.line
            try:
                item = text.item()
            except (ValueError, RecursionError) as error:
                _tell(path, line, error, report)
                return
            yield line, item
            mark = text.peek()
        text.at += 1
    if mark != "]" or text.peek():
        what = "text behind the list" if mark == "]" else "a list that ends in the middle"
        report.problem("object", path, text.line, what, "Write one list of objects, with commas between")


def _tell(path: Path, line: int, error: Exception, report: Report) -> None:
    text = f"not JSON ({getattr(error, 'msg', error)})"
    report.problem("object", path, line, text, "Write one JSON object on each line, or one list of objects")


class _Text:
    """Text that is read when it is needed; ``at`` is the current place, ``line`` its line."""

    def __init__(self, source: Iterator[str]) -> None:
        self._source, self._text = source, ""
        self.at, self.line = 0, 1

    def peek(self) -> str:
        """Move ``at`` to the next character that is no blank, and return it; "" at the end."""
        while True:
            found = _VISIBLE.search(self._text, self.at)
            self._go_to(found.start() if found else len(self._text))
            if found:
                return found[0]
            if not self._more(1):
                return ""

    def item(self) -> Any:
        """Return the JSON value that begins here. Raises ValueError or RecursionError if none does."""
        while True:
            try:
                item, end = _decode(self._text, self.at)
            except (ValueError, RecursionError):
                # The value may go on in text that was not read yet. Reading as much again keeps the work linear.
                size = len(self._text) - self.at
                if size > _LARGEST or not self._more(size):
                    raise
            else:
                self._go_to(end)
                return item

    def _go_to(self, place: int) -> None:
        self.line += self._text.count("\n", self.at, place)
        self.at = place

    def _more(self, size: int) -> bool:
        parts = [self._text[self.at :]]
        for chunk in self._source:
            parts.append(chunk)
            size -= len(chunk)
            if size <= 0:
                break
        self._text, self.at = "".join(parts), 0
        return len(parts) > 1
