"""CoNLL-style columns."""

from __future__ import annotations

import re
import sys
from bisect import bisect
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from cl_ner_bench.corpora.readers.counts import NO_WORD, begins_again, counts_through
from cl_ner_bench.corpora.readers.layout import Layout, find_layout, looks_like_comment, sentences_of
from cl_ner_bench.corpora.readers.lines import Row, lines
from cl_ner_bench.corpora.readers.options import ReaderOptions
from cl_ner_bench.corpora.readers.problems import Report, SilentReport
from cl_ner_bench.corpora.readers.tags import Tags
from cl_ner_bench.errors import short

_DOCUMENT = re.compile(r"#\s*(newdoc|begin document)\b")  # a comment that begins a document

_EMPTY = ("", "nan", "NaN")  # empty cells as spreadsheets and pandas write them


class _Block(NamedTuple):
    """A sentence's rows: line numbers, words, the tags of each layer, and the document's name if a column holds it."""

    numbers: list[int]
    words: tuple[str, ...]
    layers: list[tuple[str, ...]]
    document: str


def read_columns(path: Path, options: ReaderOptions, report: Report) -> Iterator[Row]:
    """Yield the sentences of CoNLL-style columns: a word and its tags a row, blank lines between sentences.

    Columns are separated by ``options.separator`` (" " stands for any run of blanks and tabs). Without it they are
    separated by tabs if the file's first row holds one, else by blanks, else by commas. Every row has as many columns
    as the first; an empty last column (after a trailing separator) does not count. ``find_layout`` finds the columns of
    words and tags.

    A sentence also ends at ``-DOCSTART-`` rows, which are skipped. If a first row names columns of sentences or
    documents, a sentence ends where their values change. If a column counts the words, a sentence ends before the count
    begins again.
    Before a sentence, comments are skipped: lines that begin with ``options.comment`` (a word may begin so, too: see
    ``comment``); without this option, lines that have the form of a comment and not the form of the rows.

    Tags are in IO (with ``I-`` or, as in the official Few-NERD files, without), IOB1, BIO or BIOES (also written BILOU
    or BMES). A sentence has the mentions of all its tag columns.

    A sentence with a malformed row is left out. Problems: ``columns``, ``words``, ``tags`` and those of ``lines``.
    Conventions: ``comment`` (skipped lines that could be rows), ``other columns`` (tags that are not read). Notes:
    ``comment line``, ``no word``, and those of ``find_layout`` and ``Tags``.
    """
    layout = find_layout(path, options, report)
    if layout is None:
        for _ in lines(path, report, encoding=options.encoding):
            pass  # lines reports what is wrong
        return

    if layout.document >= 0:
        names = (block.document for block in _blocks(path, layout, options, SilentReport(), []))
        first = next(names, "")
        if all(name == first for name in names):  # one name for the whole file tells no documents apart
            layout = layout._replace(document=-1)

    def all_tags() -> Iterator[tuple[str, ...]]:
        return (tags for block in _blocks(path, layout, options, SilentReport(), []) for tags in block.layers)

    tags = Tags(path, options, report, all_tags)
    documents = list[int]()
    for numbers, words, layers, name in _blocks(path, layout, options, report, documents):
        found = [mentions for layer in layers if (mentions := tags.mentions(layer, numbers)) is not None]
        if len(found) == len(layers):
            mentions = found[0] if len(found) == 1 else tuple(sorted({*chain.from_iterable(found)}))
            document = name or str(bisect(documents, numbers[0]) or "")
            yield Row(path, numbers[0], tuple(map(sys.intern, words)), mentions, document)


def _blocks(
    path: Path, layout: Layout, options: ReaderOptions, report: Report, documents: list[int]
) -> Iterator[_Block]:
    """Yield the sentences without a malformed row. The lines that begin a document are added to ``documents``."""
    split, width = layout.split, layout.width
    attribute = re.compile(rf"(?:^|\|){re.escape(layout.key)}=([^|]*)") if layout.key else None

    def wrong(kind: str, rows: Iterable[int], text: str, fix: str) -> None:
        for i in rows:
            report.problem(kind, path, numbers[i], text, fix)

    document = ""
    for numbers, texts in _sentences(path, layout, options, report, documents):
        rows = [*map(split, texts)]
        odd = [i for i, row in enumerate(rows) if len(row) != width]
        for i in odd:
            text = f"{len(rows[i])} column{'s' * (len(rows[i]) > 1)} where the first row has {width}"
            wrong("columns", [i], text, "Give every row the same columns, separated as in the first row")
        if odd:
            continue
        if layout.counter >= 0 and (others := [i for i, r in enumerate(rows) if NO_WORD.fullmatch(r[layout.counter])]):
            for i in others:
                report.note("no word", path, numbers[i], short(texts[i]))
            numbers = [number for i, number in enumerate(numbers) if i not in others]
            rows = [row for i, row in enumerate(rows) if i not in others]
            if not rows:
                continue
        cells = [*zip(*rows, strict=True)]
        words, layers = cells[layout.word], [cells[column] for column in layout.tags]
        if words == ("-DOCSTART-",):
            documents.append(numbers[0])
            continue
        if attribute:
            layers = [tuple(m[1] if (m := attribute.search(cell)) else "O" for cell in tags) for tags in layers]
        if not all(words) or any(map(str.isspace, words)):
            blank = [i for i, word in enumerate(words) if not word or word.isspace()]
            fix = "Write the word; where the row stands between two sentences, and has no name, make it an empty line"
            wrong("words", blank, "the word is empty or blank", fix)
        elif not all(map(all, layers)):
            blank = [i for i, tags in enumerate(zip(*layers, strict=True)) if not all(tags)]
            wrong("columns", blank, "the tag is empty", "Tag words outside of all mentions by O")
        else:
            if layout.document >= 0 and (here := rows[0][layout.document]) not in _EMPTY:
                document = here
            yield _Block(numbers, words, layers, document)


def _sentences(
    path: Path, layout: Layout, options: ReaderOptions, report: Report, documents: list[int]
) -> Iterator[tuple[list[int], list[str]]]:
    """Yield the rows of each sentence with their line numbers."""

    @cache
    def tags() -> frozenset[str]:
        """Return the tags of all rows that cannot be comments."""
        sign = options.comment or "#"
        texts = (text for _, text in lines(path, SilentReport(), encoding=options.encoding))
        rows = (layout.split(text) for text in texts if text and not text.startswith(sign))
        return frozenset(row[column] for row in rows if len(row) == layout.width for column in layout.tags)

    def is_comment(number: int, text: str) -> bool:
        if options.comment:
            found = text.startswith(options.comment)
            if found and layout.is_row(text, tags):
                report.convention("comment", path, number, short(text))
        else:
            found = text[0] == "#" and looks_like_comment(text) and not layout.is_row(text, tags)
            if found:
                report.note("comment line", path, number, short(text))
        if found and _DOCUMENT.match(text):
            documents.append(number)
        return found

    numbered = lines(path, report, encoding=options.encoding)
    if layout.header:
        numbered = ((number, text) for number, text in numbered if number != layout.header)
    for numbers, texts in sentences_of(numbered, is_comment, documents):
        begin = 0
        for end in (*_borders(texts, layout), len(texts)):
            yield numbers[begin:end], texts[begin:end]
            begin = end


def _borders(texts: Sequence[str], layout: Layout) -> Iterator[int]:
    """Yield each row but the first that begins a sentence, as the names in a table or a count of words show."""
    watched = (layout.sentence, layout.document) if layout.header else (layout.counter,)
    columns = [column for column in watched if column >= 0]
    if not columns:
        return

    def cells(text: str, before: Sequence[str]) -> list[str]:
        """Return the cells of the columns; an empty cell has the value of the row before."""
        row = layout.split(text)
        return [
            was if column >= len(row) or row[column] in _EMPTY else row[column]
            for column, was in zip(columns, before, strict=True)
        ]

    before = cells(texts[0], [""] * len(columns))
    if not layout.header and counts_through(before[0], cells(texts[-1], before)[0], len(texts)):
        return
    for i, text in enumerate(texts[1:], 1):
        here = cells(text, before)
        if here != before if layout.header else begins_again(here[0], before[0]):
            yield i
        before = here
