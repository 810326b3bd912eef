"""Errors that a user can mend, told in one message."""

from __future__ import annotations


class UserError(Exception):
    """Wrong use or bad input: shown as one message without traceback, exit code 2.

    The message names the file and line, or the flag; says what was expected; and suggests the fix.
    """


def did_you_mean(word: str, known: list[str]) -> str:
    """' Did you mean X?' for the nearest known word, else ''."""
    import difflib

    near = difflib.get_close_matches(word, known, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
