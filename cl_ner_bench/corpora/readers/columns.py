"""CoNLL-style columns."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from cl_ner_bench.corpora import schemes
from cl_ner_bench.corpora.readers.lines import Row, lines
from cl_ner_bench.corpora.readers.options import ReaderOptions
from cl_ner_bench.corpora.readers.problems import Report, SilentReport
from cl_ner_bench.corpora.readers.tags import Tags
from cl_ner_bench.errors import short

_Split = Callable[[str], list[str]]
_BLANKS = re.compile("[ \t]+")
_LOOK = 1000  # rows that are looked at for columns that hold tags, too


class _Block(NamedTuple):
    """A sentence's rows: their line numbers, their words, and the tags of each layer."""

    numbers: list[int]
    words: tuple[str, ...]
    layers: list[tuple[str, ...]]


def read_columns(path: Path, options: ReaderOptions, report: Report) -> Iterator[Row]:
    """Yield the sentences of CoNLL-style columns: a word and its tags a row, blank lines between sentences.

    Columns are separated by ``options.separator`` (" " stands for any run of blanks and tabs); where none is given
    by tabs if the file's first row holds one, else by blanks, else by commas. Every row has as many as the first,
    an empty last one (after a trailing separator) aside. ``-DOCSTART-`` rows end a sentence and are skipped, and so
    are lines that begin with ``options.comment`` where no sentence has begun (a word may begin so, too: see
    ``comment``). Tags are in IO (with ``I-`` or, as the
    official Few-NERD files, without), IOB1, BIO or BIOES (also written BILOU or BMES). A sentence's mentions are
    those of all its tag columns together.

    A sentence with a malformed row is left out. Problems: ``columns``, ``words``, ``tags`` and those of ``lines``.
    Conventions: ``comment`` (skipped lines that could be rows), ``other columns`` (tags that are not read).
    """
    plain = ReaderOptions()
    if (options.tag_columns, options.word_column) == (plain.tag_columns, plain.word_column):
        _remark_on_others(path, options, report)
    tags = Tags(path, options, report, (t for block in _blocks(path, options, SilentReport()) for t in block.layers))
    for numbers, words, layers in _blocks(path, options, report):
        found = [mentions for layer in layers if (mentions := tags.mentions(layer, numbers)) is not None]
        if len(found) == len(layers):
            mentions = found[0] if len(found) == 1 else tuple(sorted({*chain.from_iterable(found)}))
            yield Row(path, numbers[0], tuple(map(sys.intern, words)), mentions)


def _blocks(path: Path, options: ReaderOptions, report: Report) -> Iterator[_Block]:
    """Yield the sentences without a malformed row."""
    split: _Split | None = None
    width = word_column = 0
    tag_columns: list[int] = []

    def wrong(kind: str, rows: Iterable[int], text: str, fix: str) -> None:
        for i in rows:
            report.problem(kind, path, numbers[i], text, fix)

    def report_comments() -> None:
        for number, text in skipped:
            cells = split(text) if split else []
            if len(cells) == width > 0 and _are_tags(cells[column] for column in tag_columns):
                report.convention("comment", path, number, short(text))
        skipped.clear()

    skipped: list[tuple[int, str]] = []
    for numbers, texts in _sentences(path, options.comment, report, skipped):
        if split is None:
            if not options.comment and texts[0].startswith("#") and _is_comment(texts, options):
                text = f"the first row begins with '#': {short(texts[0])}"
                wrong("columns", [0], text, 'Comment lines? Name them in a card: [reader_options] comment = "#"')
                return
            split, width = _layout(texts[0], options.separator)
            columns = [options.word_column, *options.tag_columns]
            absent = any(not -width <= column < width for column in columns)
            if width < 2:
                fix = "Separate them by a tab or a blank, or name the 'separator' in a card"
                wrong("columns", [0], f"1 column, expected a word and a tag: {short(texts[0])}", fix)
                return
            if absent or len({column % width for column in columns}) < len(columns):
                text = f"{width} columns, expected a word in column {columns[0]} and tags in {columns[1:]}"
                fix = "Correct 'word_column' and 'tag_columns': they count from 0, or from the end with -1"
                wrong("columns", [0], text, fix)
                return
            word_column, *tag_columns = (column % width for column in columns)
        report_comments()
        rows = [*map(split, texts)]
        odd = [i for i, row in enumerate(rows) if len(row) != width]
        for i in odd:
            text = f"{len(rows[i])} column{'s' * (len(rows[i]) > 1)} where the first row has {width}"
            wrong("columns", [i], text, "Give every row the same columns, separated as in the first row")
        if odd:
            continue
        cells = [*zip(*rows, strict=True)]
        words, layers = cells[word_column], [cells[column] for column in tag_columns]
        if not all(words) or any(map(str.isspace, words)):
            blank = [i for i, word in enumerate(words) if not word or word.isspace()]
            fix = "Write the word; where the row stands between two sentences, and has no name, make it an empty line"
            wrong("words", blank, "the word is empty or blank", fix)
        elif not all(map(all, layers)):
            blank = [i for i, tags in enumerate(zip(*layers, strict=True)) if not all(tags)]
            wrong("columns", blank, "the tag is empty", "Tag words outside of all mentions by O")
        else:
            yield _Block(numbers, words, layers)
    report_comments()


def _is_comment(texts: Sequence[str], options: ReaderOptions) -> bool:
    """Return whether the first row of a file has one column only, or no tag though the second row has one."""
    first, *others = [_layout(text, options.separator)[0](text) for text in texts[:2]]
    if len(first) == 1:
        return True
    return not _are_tags(first[-1:]) and any(len(row) != len(first) or schemes.has_prefix(row[-1]) for row in others)


def _sentences(
    path: Path, comment: str, report: Report, skipped: list[tuple[int, str]]
) -> Iterator[tuple[list[int], list[str]]]:
    """Yield each sentence's rows with their line numbers. Lines that are left out as comments go to ``skipped``."""
    numbers, texts = list[int](), list[str]()
    for number, text in chain(lines(path, report), [(0, "")]):
        if not text or text.isspace() or text.startswith("-DOCSTART-"):
            if texts:
                yield numbers, texts
                numbers, texts = [], []
        elif comment and not texts and text.startswith(comment):
            skipped.append((number, text))
        else:
            numbers.append(number)
            texts.append(text)


def _layout(row: str, separator: str) -> tuple[_Split, int]:
    """Return how to split rows, and the number of columns, as the first row shows them."""
    if not separator:
        separator = "\t" if "\t" in row else " " if " " in row.strip(" ") or "," not in row else ","

    def at_blanks(text: str) -> list[str]:
        if "  " in text or "\t" in text or text[-1] == " ":
            return _BLANKS.split(text.rstrip("\t "))
        return text.split(" ")

    if separator == " ":
        return at_blanks, len(at_blanks(row))
    first = row.rstrip(" ").split(separator)
    width = len(first) - (len(first) > 2 and not first[-1])

    def at_separator(text: str) -> list[str]:
        cells = text.rstrip(" ").split(separator) if text[-1] == " " else text.split(separator)
        if len(cells) == width + 1 and not cells[-1]:
            cells.pop()
        return cells

    return at_separator, width


def _remark_on_others(path: Path, options: ReaderOptions, report: Report) -> None:
    """Say so where columns that are not read look like tags, or those read as words like numbers."""
    sentences = _sentences(path, options.comment, SilentReport(), [])
    texts = [*islice((text for _, texts in sentences for text in texts), _LOOK)]
    if not texts:
        return
    split, width = _layout(texts[0], options.separator)
    columns = list(zip(*(cells for cells in map(split, texts) if len(cells) == width), strict=True))
    if width > 2 and all(map(str.isdecimal, columns[0])):
        report.remark(f"{path}: column 0, read as words, holds numbers alone; a card may name another 'word_column'")
    others = [i for i, column in enumerate(columns[1:-1], 1) if _look_like_tags(column)]
    if others:
        report.convention("other columns", path, 1, f"columns {others} look like tags, too")


def _look_like_tags(cells: Collection[str]) -> bool:
    return (
        any(cell != "O" for cell in cells) and _are_tags(cells) and not {cell[2:] for cell in cells} <= schemes.PHRASES
    )


def _are_tags(cells: Iterable[str]) -> bool:
    return all(cell == "O" or schemes.has_prefix(cell) for cell in cells)
