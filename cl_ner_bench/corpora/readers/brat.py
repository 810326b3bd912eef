"""brat standoff: a text file, and marks in characters in the ``.ann`` file of the same name."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from cl_ner_bench.corpora.readers.lines import Row, lines
from cl_ner_bench.corpora.readers.marks import EXCLUSIVE, Mark, MarkedText
from cl_ner_bench.corpora.readers.options import ReaderOptions
from cl_ner_bench.corpora.readers.problems import Report
from cl_ner_bench.errors import short

_MARK = re.compile(r"T\S*\t(\S+) (\d{1,9}) (\d{1,9})\t(.*)", re.DOTALL)
_WITH_GAPS = re.compile(r"T\S*\t\S+ \d+ \d+(?:;\d+ \d+)+\t.*", re.DOTALL)
_OTHER = re.compile(r"[REAMN]\S*\t|#|\*")  # relations, events, attributes, normalisations, notes, equivalences


def read_brat(path: Path, options: ReaderOptions, report: Report) -> Iterator[Row]:
    """Yield a sentence for each line of a text that is not blank, cut into words by ``words.cut``.

    Characters count from 0 over the whole text, line ends included, a byte-order mark excluded. Mentions with gaps
    and mentions that go on in the next line are left out. Only text-bound marks (``T``) are read.
    Problems: ``brat`` (malformed marks, marks that do not cover the text they state, no ``.ann``), and those of
    ``lines``.
    Conventions: ``discontinuous``, ``across lines``, ``inside a word``.
    """
    annotations = path.with_suffix(".ann")
    if not annotations.is_file():
        fix = f"Get {annotations.name} from where the text came from; an empty file says that the text has no names"
        report.problem("brat", path, 0, "a text without its .ann file", fix)
        return
    counting = "Count characters of the .txt file from 0, line ends included"
    marked = MarkedText("brat", annotations, path.name, counting, options.words)
    yield from marked.rows(path, _texts(path, report), _marks(annotations, report), report)


def _texts(path: Path, report: Report) -> Iterator[tuple[int, int, str]]:
    begin = 0
    for number, text in lines(path, report, keep_ends=True):
        yield number, begin, text
        begin += len(text)


def _marks(path: Path, report: Report) -> Iterator[Mark]:
    for number, text in lines(path, report):
        match = _MARK.fullmatch(text)
        if match:
            start, end = int(match[2]), int(match[3])
            if start < end:
                yield Mark(start, end, sys.intern(match[1]), match[4], number)
            else:
                report.problem("brat", path, number, f"empty mark {start}-{end}", EXCLUSIVE)
        elif _WITH_GAPS.fullmatch(text):
            report.convention("discontinuous", path, number, short(text))
        elif text and not text.isspace() and not _OTHER.match(text):
            fix = "Write the number, a tab, the type, start and end, a tab, and the covered text"
            report.problem(
                "brat", path, number, f"expected a mark like T1<tab>PER 0 4<tab>Anna, found {short(text)}", fix
            )
