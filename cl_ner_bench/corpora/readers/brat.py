"""brat standoff: a text file, and marks in characters in the ``.ann`` file of the same name."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cl_ner_bench.corpora.readers import words as cutting
from cl_ner_bench.corpora.readers.lines import Row, lines
from cl_ner_bench.corpora.readers.options import ReaderOptions
from cl_ner_bench.corpora.readers.problems import Report
from cl_ner_bench.corpora.sentence import Mention
from cl_ner_bench.errors import short

_MARK = re.compile(r"T\S*\t(\S+) (\d{1,9}) (\d{1,9})\t(.*)", re.DOTALL)
_WITH_GAPS = re.compile(r"T\S*\t\S+ \d+ \d+(?:;\d+ \d+)+\t.*", re.DOTALL)
_OTHER = re.compile(r"[REAMN]\S*\t|#|\*")  # relations, events, attributes, normalisations, notes, equivalences

_EXCLUSIVE = "'end' is exclusive. If yours are inclusive, add 1 to the end of every mark"


class _Mark(NamedTuple):
    start: int
    end: int
    type: str
    covered: str
    line: int


def read_brat(path: Path, options: ReaderOptions, report: Report) -> Iterator[Row]:
    """Yield a sentence for each line of a text that is not blank, cut into words by ``words.cut``.

    Characters count from 0 over the whole text, line ends included (a byte-order mark excluded). Mentions with gaps
    and those that go on in the next line are left out; what is no text-bound mark (``T``) is not looked at.
    Problems: ``brat`` (malformed marks, marks that do not cover what they say, no ``.ann``), and those of ``lines``.
    Conventions: ``discontinuous``, ``across lines``, ``inside a word``.
    """
    annotations = path.with_suffix(".ann")
    if not annotations.is_file():
        fix = f"Get {annotations.name} from where the text came from; an empty file says that the text has no names"
        report.problem("brat", path, 0, "a text without its .ann file", fix)
        return
    marks = sorted(_marks(annotations, report), reverse=True)
    crossing: list[_Mark] = []
    begin = 0
    for number, text in lines(path, report, keep_ends=True):
        end, mentions = begin + len(text), set()
        borders = cutting.cut(text, options.words)
        while marks and marks[-1].start < end:
            mark = marks.pop()
            if mark.end > begin + len(text.rstrip("\r\n")):
                crossing.append(mark)
            elif mention := _mention(mark, text, begin, borders, annotations, report):
                mentions.add(mention)
        if borders:
            words = tuple(sys.intern(text[start:end]) for start, end in borders)
            yield Row(path, number, words, tuple(sorted(mentions)))
        begin = end
    for mark in [*crossing, *reversed(marks)]:
        if mark.end > begin:
            text = f"mark {mark.start}-{mark.end} is past the end of {path.name}, which has {begin} characters"
            report.problem("brat", annotations, mark.line, text, "Count characters from 0, line ends included")
        else:
            report.convention("across lines", annotations, mark.line, short(mark.covered))


def _mention(
    mark: _Mark, text: str, begin: int, borders: cutting.Borders, path: Path, report: Report
) -> Mention | None:
    """Return a mark's mention in the line ``text``, which begins at character ``begin``; None after a problem."""
    start, end = mark.start - begin, mark.end - begin
    covered = text[start:end]
    span = cutting.touched(start, end, borders)
    if covered != mark.covered or span is None:
        what = f"mark {mark.start}-{mark.end} covers {short(covered)}, but says {short(mark.covered)}"
        if covered == mark.covered:
            what = f"mark {mark.start}-{mark.end} covers no word"
        report.problem("brat", path, mark.line, what, "Count characters of the .txt file from 0, line ends included")
        return None
    if span.widened:
        words = [text[first:last] for first, last in borders[span.first : span.last]]
        report.convention("inside a word", path, mark.line, f"{short(covered)} as {short(' '.join(words))}")
    return Mention(span.first, span.last, mark.type)


def _marks(path: Path, report: Report) -> Iterator[_Mark]:
    for number, text in lines(path, report):
        match = _MARK.fullmatch(text)
        if match:
            start, end = int(match[2]), int(match[3])
            if start < end:
                yield _Mark(start, end, sys.intern(match[1]), match[4], number)
            else:
                report.problem("brat", path, number, f"empty mark {start}-{end}", _EXCLUSIVE)
        elif _WITH_GAPS.fullmatch(text):
            report.convention("discontinuous", path, number, short(text))
        elif text and not text.isspace() and not _OTHER.match(text):
            fix = "Write the number, a tab, the type, start and end, a tab, and the covered text"
            report.problem(
                "brat", path, number, f"expected a mark like T1<tab>PER 0 4<tab>Anna, found {short(text)}", fix
            )
