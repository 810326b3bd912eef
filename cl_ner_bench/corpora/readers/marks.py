"""Mentions that are marked in the characters of a text, turned into words of its lines."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from cl_ner_bench.corpora.readers import words as cutting
from cl_ner_bench.corpora.readers.lines import Row
from cl_ner_bench.corpora.readers.problems import Report
from cl_ner_bench.corpora.sentence import Mention
from cl_ner_bench.errors import short

EXCLUSIVE = "'end' is exclusive. If yours are inclusive, add 1 to the end of every mark"


class Mark(NamedTuple):
    """A mark of an entity of ``type``: characters ``start .. end-1`` of a text, which are ``covered``.

    ``line`` is the mark's line in its file.
    """

    start: int
    end: int
    type: str
    covered: str
    line: int


class MarkedText(NamedTuple):
    """A text with marks, and parts of messages about them.

    Attributes:
        kind: the kind of problems.
        path: the file that holds the marks.
        name: the text's name.
        counting: how characters are counted.
        words: the rule by which the text is cut into words.
        document: the text's document, if a file holds several.
    """

    kind: str
    path: Path
    name: str
    counting: str
    words: cutting.Rule
    document: str = ""

    def rows(
        self, path: Path, texts: Iterable[tuple[int, int, str]], marks: Iterable[Mark], report: Report
    ) -> Iterator[Row]:
        """Yield a sentence for each line of a text that is not blank, cut into words.

        ``texts`` are the lines: number in the file ``path``, place of the first character, and text with its line end.
        Marks that go on in the next line are left out. Problems: ``kind`` (marks that do not cover the text they
        state). Conventions: ``across lines``, ``inside a word``.
        """
        left = sorted(marks, reverse=True)
        crossing: list[Mark] = []
        end = 0
        for number, begin, text in texts:
            end, mentions = begin + len(text), set()
            borders = cutting.cut(text, self.words)
            while left and left[-1].start < end:
                mark = left.pop()
                if mark.end > begin + len(text.rstrip("\r\n")):
                    crossing.append(mark)
                elif mention := self._mention(mark, text, begin, borders, report):
                    mentions.add(mention)
            if borders:
                words = tuple(sys.intern(text[first:last]) for first, last in borders)
                yield Row(path, number, words, tuple(sorted(mentions)), self.document)
        for mark in [*crossing, *reversed(left)]:
            if mark.end > end:
                text = f"mark {mark.start}-{mark.end} is past the end of {self.name}, which has {end} characters"
                report.problem(self.kind, self.path, mark.line, text, self.counting)
            else:
                report.convention("across lines", self.path, mark.line, short(mark.covered))

    def _mention(self, mark: Mark, text: str, begin: int, borders: cutting.Borders, report: Report) -> Mention | None:
        """Return a mark's mention in the line ``text``, which begins at character ``begin``; None after a problem."""
        start, end = mark.start - begin, mark.end - begin
        covered = text[start:end]
        span = cutting.touched(start, end, borders)
        if covered != mark.covered or span is None:
            what = f"mark {mark.start}-{mark.end} covers {short(covered)}, but says {short(mark.covered)}"
            if covered == mark.covered:
                what = f"mark {mark.start}-{mark.end} covers no word"
            report.problem(self.kind, self.path, mark.line, what, self.counting)
            return None
        if span.widened:
            words = [text[first:last] for first, last in borders[span.first : span.last]]
            report.convention("inside a word", self.path, mark.line, f"{short(covered)} as {short(' '.join(words))}")
        return Mention(span.first, span.last, mark.type)
