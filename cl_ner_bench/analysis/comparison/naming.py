"""Lists of names in notes and answers: all names, or the worst few and the number of the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable

Naming = Callable[[Iterable[str]], str]
MOST = 6  # a list of up to this many entries is printed whole
FIRST = 4  # printed entries of a longer list


def every(entries: Iterable[str]) -> str:
    """Return all entries as one text."""
    return ", ".join(entries)


def few(entries: Iterable[str], where: str = "") -> str:
    """Return the entries as ``A, B``; a long list is cut, as in ``A, B, C, D and 9 more, all in FILE``."""
    entries = list(entries)
    if len(entries) <= MOST:
        return every(entries)
    return f"{every(entries[:FIRST])} and {len(entries) - FIRST} more{where and f', all in {where}'}"
