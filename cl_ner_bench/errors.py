"""Errors that a user can mend, told in one message."""

from __future__ import annotations


class UserError(Exception):
    """Wrong use or bad input: shown as one message without traceback, exit code 2.

    The message names the file and line, or the flag; says what was expected; and suggests the fix.
    """


def printable(text: str) -> str:
    """``text`` for a terminal: names may come from others, and what would command it is shown as an escape."""
    return "".join(c if c == "\n" or c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def did_you_mean(word: str, known: list[str]) -> str:
    """' Did you mean X?' for the nearest known word, else ''."""
    import difflib

    near = difflib.get_close_matches(word, known, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
