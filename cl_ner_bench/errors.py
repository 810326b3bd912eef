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
    """Raise UserError if ``package``, which only ``what`` needs, is not installed. The message names the extra."""
    found = find_spec(package)
    if found is None or found.origin is None:  # a folder of that name in the current folder is no package
        raise UserError(f"{what}: the package {package} is not installed; pip install 'cl-ner-bench[{extra}]'")


def printable(text: str) -> str:
    """Return ``text`` with control characters as escapes. Others may choose names, and names must not control the
    terminal.
    """
    return "".join(c if c == "\n" or c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def short(value: Any) -> str:
    """Return a value as messages quote it: about 40 characters of a text, at most 100 of any other value."""
    try:
        text = _SHORT.repr(value)
    except ValueError:
        return "a number of more than 4,300 digits"  # Python refuses to print such a number
    return text if len(text) <= 100 else f"{text[:97]}..."


def counted(n: int, what: str) -> str:
    """Return a number with its noun: "1 run", "2 runs"."""
    return f"{n:,} {what}{'s' * (n != 1)}"


def did_you_mean(word: str, known: Iterable[str] | Mapping[str, str]) -> str:
    """Return " Did you mean 'X'?" for the nearest known word, or "" if none is near. Ignore case.

    A mapping maps each name of a thing (for example the name that tables print) to the known word.
    """
    import difflib

    words = known if isinstance(known, Mapping) else {name: name for name in known}
    folded: dict[str, str] = {}
    for name, use in words.items():
        folded.setdefault(name.casefold(), use)
    near = difflib.get_close_matches(word.casefold(), folded, n=1)
    return f" Did you mean {folded[near[0]]!r}?" if near else ""
