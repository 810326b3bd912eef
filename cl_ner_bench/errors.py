"""Errors that a user can fix, shown as one message."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import Any

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxlong = 40


class UserError(Exception):
    """Wrong use or bad input: shown as one message without traceback, exit code 2.

    The message names the file and line, or the flag; says what was expected; and suggests the fix.
    """


def require(package: str, extra: str, what: str) -> None:
    """Raise UserError, naming the extra, where a package that ``what`` alone needs is not installed."""
    found = find_spec(package)
    if found is None or found.origin is None:  # a folder of that name, from which Python is started, is no package
        raise UserError(f"{what}: the package {package} is not installed; pip install 'cl-ner-bench[{extra}]'")


def printable(text: str) -> str:
    """Return ``text`` with control characters shown as escapes: names may come from others, and must not command the
    terminal.
    """
    return "".join(c if c == "\n" or c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def short(value: Any) -> str:
    """Return a value as a message quotes it: some 40 characters of a text, 100 of anything else."""
    try:
        text = _SHORT.repr(value)
    except ValueError:
        return "a number of more than 4,300 digits"  # Python refuses to write it
    return text if len(text) <= 100 else f"{text[:97]}..."


def counted(n: int, what: str) -> str:
    """Return "1 run", "2 runs"."""
    return f"{n:,} {what}{'s' * (n != 1)}"


def did_you_mean(word: str, known: Iterable[str] | Mapping[str, str]) -> str:
    """Return " Did you mean 'X'?" for the nearest known word, in whatever case, else "".

    A mapping holds, for other names of a thing (as tables print it), the word that is known.
    """
    import difflib

    words = known if isinstance(known, Mapping) else {name: name for name in known}
    folded: dict[str, str] = {}
    for name, use in words.items():
        folded.setdefault(name.casefold(), use)
    near = difflib.get_close_matches(word.casefold(), folded, n=1)
    return f" Did you mean {folded[near[0]]!r}?" if near else ""
