"""PubTator: texts as ``id|t|title`` and ``id|a|abstract``, then a row for each mark in their characters."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from cl_ner_bench.corpora.readers.lines import Row, lines
from cl_ner_bench.corpora.readers.marks import EXCLUSIVE, Mark, MarkedText
from cl_ner_bench.corpora.readers.options import ReaderOptions
from cl_ner_bench.corpora.readers.problems import Report
from cl_ner_bench.errors import short

_TEXT = re.compile(r"([^|\t]+)\|[a-z]\|(.*)", re.DOTALL)
_MARK = re.compile(r"([^\t]+)\t(\d{1,9})\t(\d{1,9})\t([^\t]*)\t([^\t]+)(?:\t.*)?", re.DOTALL)
_OTHER = re.compile(r"[^\t]+\t[^\t\d][^\t]*\t.*", re.DOTALL)  # relations: 123<tab>CID<tab>D001<tab>D002
_COUNTING = "Count characters from 0 over the title, one blank, and the abstract"


def read_pubtator(path: Path, options: ReaderOptions, report: Report) -> Iterator[Row]:
    """Yield a sentence for each title and each abstract, cut into words by ``words.cut``.

    A block ends at a blank line, a text of another id, or a text behind marks. Characters count from 0 over the texts
    of a block, joined by one blank. Marks that go on in the next text are left out, and so are rows that mark no
    mention (relations).
    Problems: ``pubtator`` (malformed rows, marks that do not cover the text they state), and those of ``lines``.
    Conventions: ``across lines``, ``inside a word``. Note: ``no mention``.
    """
    texts: list[tuple[int, int, str]] = []
    marks: list[Mark] = []
    name = ""
    for number, text in chain(lines(path, report, encoding=options.encoding), [(0, "")]):
        match = _TEXT.fullmatch(text)
        if not text or text.isspace() or (match and (match[1] != name or marks)):
            if texts:
                title = f"the text of {short(name)}"
                marked = MarkedText("pubtator", path, title, _COUNTING, options.words, name)
                yield from marked.rows(path, texts, marks, report)
            texts, marks, name = [], [], ""
        if match:
            begin = sum(len(text) for _, _, text in texts)
            # The blank between two texts ends the first one as a line end does.
            texts.append((number, begin, f"{match[2]}\n"))
            name = match[1]
        elif text and not text.isspace() and (mark := _mark(path, number, text, name, report)):
            marks.append(mark)


def _mark(path: Path, number: int, text: str, name: str, report: Report) -> Mark | None:
    match = _MARK.fullmatch(text)
    what, fix = "", "Put it below the texts of its id, without an empty line between"
    if match and match[1] == name:
        start, end = int(match[2]), int(match[3])
        if start < end:
            return Mark(start, end, sys.intern(match[5]), match[4], number)
        what, fix = f"empty mark {start}-{end}", EXCLUSIVE
    elif match:
        what = f"a mark of {short(match[1])} " + (f"below the texts of {short(name)}" if name else "without its text")
    elif _OTHER.fullmatch(text):
        report.note("no mention", path, number, short(text))
    else:
        what = f"expected id|t|title, id|a|abstract or a mark, found {short(text)}"
        fix = "Write a mark as id, start, end, the covered text and the type, with tabs between"
    if what:
        report.problem("pubtator", path, number, what, fix)
    return None
