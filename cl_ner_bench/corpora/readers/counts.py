"""Columns that count words or say where words stand, and thus hold no words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

Rows = Sequence[Sequence[str]]

NO_WORD = re.compile(r"\d+(?:-|\.)\d+")  # of CoNLL-U: a multi-word token (3-4), an empty node (5.1)
_COUNT = re.compile(r"[0-9]{1,9}")
_NUMBERED = re.compile(r"(.*?)([0-9]{1,9})([^0-9]*)")  # T1, 1), 2.1
_LONGEST = 40  # characters of a count


class Before(NamedTuple):
    """The column of words, the last column before it that counts words in whole numbers (-1: none), and the column that
    names documents (-1: none).
    """

    word: int = 0
    counter: int = -1
    document: int = -1


def before_words(sentences: Sequence[Rows], width: int) -> Before:
    """Return the roles of the first columns. Words stand behind the last column that counts words or says where they
    end. Every column before that one holds whole numbers, or one value for each sentence. A word and a tag follow it.
    """
    found, counter = list[int](), -1
    is_long = any(len(rows) > 1 for rows in sentences)
    for column in range(width - 2):
        cells = [[row[column] for row in rows] for rows in sentences]
        counts = [[cell for cell in own if not NO_WORD.fullmatch(cell)] for own in cells]
        if _are_counts(cells, counts):
            counter = column
            found.append(column)
        elif _are_numbered(cells):
            found.append(column)
        elif column + 1 < width - 2 and _are_offsets(sentences, column):
            found += [column, column + 1]
        elif not all(_COUNT.fullmatch(cell) for own in counts for cell in own) and not (
            is_long and all(len({*own}) <= 1 for own in counts)
        ):
            break
    if not found:
        return Before()
    is_name = 0 not in found and not _count_sentences([rows[0][0] for rows in sentences if rows])
    return Before(found[-1] + 1, counter, 0 if is_name else -1)


def look_like_counts(sentences: Sequence[Rows], column: int) -> bool:
    """Return whether a column that is read as words may be an index or a name of documents: each cell holds a digit, or
    all cells of a sentence are the same.
    """
    cells = [[row[column] for row in rows] for rows in sentences if rows]
    several = [own for own in cells if len(own) > 1]
    numbered = all(any(map(str.isdigit, cell)) for own in cells for cell in own)
    return bool(cells) and (numbered or (bool(several) and all(len({*own}) == 1 for own in several)))


def _are_counts(cells: Sequence[Sequence[str]], counts: Sequence[Sequence[str]]) -> bool:
    """Return whether a column counts the words of each sentence; ``counts`` are its cells without matches of
    ``NO_WORD``. A count may skip numbers only if the column holds a range of CoNLL-U (3-4). Without empty lines between
    sentences, it may begin again.
    """
    if not all(_COUNT.fullmatch(cell) for own in counts for cell in own):
        return False
    numbers = [[*map(int, own)] for own in counts if own]
    # In sentences of one word each, all counts are the same. If there is only one, its word may be a number.
    several = any(len(n) > 1 for n in numbers) or (len(numbers) > 1 and len({n[0] for n in numbers}) == 1)
    if any("-" in cell for own in cells for cell in own):
        return several and all(a < b for n in numbers for a, b in pairwise(n))
    goes_on = all(b in (a + 1, n[0]) for n in numbers for a, b in pairwise(n))
    return several and goes_on and all(len({*n}) > 1 for n in numbers if len(n) > 1)


def begins_again(cell: str, before: str) -> bool:
    """Return whether a count of words begins again, and with it a sentence."""
    return bool(_COUNT.fullmatch(cell) and _COUNT.fullmatch(before)) and int(cell) <= int(before)


def counts_through(first: str, last: str, n: int) -> bool:
    """Return whether the first and the last of ``n`` counts show that the count never begins again."""
    return bool(_COUNT.fullmatch(first) and _COUNT.fullmatch(last)) and int(last) - int(first) == n - 1


def _are_numbered(cells: Sequence[Sequence[str]]) -> bool:
    """Return whether each sentence counts its words with the same signs before and behind the number: T1, 1), 2.1."""
    if not any(len(own) > 1 for own in cells):
        return False
    for own in cells:
        matches = [_NUMBERED.fullmatch(cell) if len(cell) <= _LONGEST else None for cell in own]
        parts = [match.groups() for match in matches if match]
        numbers = [int(number) for _, number, _ in parts]
        if len(parts) < len(own) or len({(before, behind) for before, _, behind in parts}) > 1:
            return False
        if any(b != a + 1 for a, b in pairwise(numbers)):
            return False
    return True


def _are_offsets(sentences: Sequence[Rows], column: int) -> bool:
    """Return whether a column and the next one say where the word behind them begins and ends."""
    rows = [row[column : column + 3] for rows in sentences for row in rows]
    return bool(rows) and all(
        _COUNT.fullmatch(start) and _COUNT.fullmatch(end) and int(end) - int(start) == len(word)
        for start, end, word in rows
    )


def _count_sentences(names: Sequence[str]) -> bool:
    """Return whether the names of sentences are numbers that go up by one, or begin again."""
    if not all(map(_COUNT.fullmatch, names)):
        return False
    numbers = [*map(int, names)]
    return all(b in (a + 1, numbers[0]) for a, b in pairwise(numbers)) and len({*numbers}) > 1
