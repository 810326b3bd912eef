"""Lists of names in notes and answers: all of them, or the worst few with the number of the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable

Naming = Callable[[Iterable[str]], str]
MOST = 6  # entries up to which a list stands whole
FIRST = 4  # entries of a longer list


def every(entries: Iterable[str]) -> str:
    """Return all entries as one text."""
    return ", ".join(entries)


def few(entries: Iterable[str], where: str = "") -> str:
    """Return the entries as ``A, B``; of a long list the first ones: ``A, B, C, D and 9 more, all in FILE``."""
    entries = list(entries)
    if len(entries) <= MOST:
        return every(entries)
    return f"{every(entries[:FIRST])} and {len(entries) - FIRST} more{where and f', all in {where}'}"
