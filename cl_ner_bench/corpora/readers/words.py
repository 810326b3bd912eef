"""Word boundaries in running text, for corpora that mark names by characters.

The rule is fixed and knows nothing of the marked names. From left to right:

1. a character of a script that is written without spaces (Han, kana, Thai, Lao, Khmer, Myanmar...) is a word;
2. a run of letters and digits is a word, with the soft hyphens and joiners inside it;
3. any other character that can be seen is a word: punctuation, a symbol, an emoji.

Combining marks stay with their character, and what is seen as one character is one: emoji sequences (joined by ZWJ,
with variation selectors or skin tones), flags, keycaps (Unicode's extended grapheme clusters, UAX #29). Blanks,
controls and invisible format characters separate words and belong to none. Text from right to left is stored in
reading order and needs nothing more.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import regex  # type: ignore[import-untyped]

_SPACELESS = (
    r"\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Yi}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
    r"\p{Tai_Le}\p{New_Tai_Lue}\p{Tai_Tham}\p{Tai_Viet}\p{Javanese}\p{Balinese}"
    "\u30fc\uff70"  # the length marks of kana belong to no script
)
_WORD = regex.compile(
    rf"(?=[{_SPACELESS}])\X\p{{M}}*"
    rf"|(?:[[\p{{L}}\p{{N}}]--[{_SPACELESS}]][\p{{M}}\u00ad\u200c\u200d]*)+"
    r"|(?![\s\p{C}--[\p{Co}\p{Cn}]])\X",
    regex.VERSION1,
)
_BETWEEN_BLANKS = re.compile(r"[^ \t\n\r]+")
# The same rule for ASCII alone, which is three times as quick.
_ASCII_WORD = re.compile(r"[0-9A-Za-z]+|[!-/:-@\[-`{-~]")

Rule = Literal["finest", "blanks"]
Borders = Sequence[tuple[int, int]]


class Touched(NamedTuple):
    """Words ``first .. last-1``; ``widened`` is True if they cover more characters than asked for, or fewer blanks."""

    first: int
    last: int
    widened: bool


def cut(text: str, rule: Rule = "finest") -> list[tuple[int, int]]:
    """Return start and end (exclusive) of each word of ``text``, in characters.

    ``rule``: ``finest``, the rule above, or ``blanks`` for text that is already cut into words: only blanks, tabs and
    line ends separate them.
    """
    if rule == "blanks":
        return [match.span() for match in _BETWEEN_BLANKS.finditer(text) if not match[0].isspace()]
    pattern = _ASCII_WORD if text.isascii() else _WORD
    return [match.span() for match in pattern.finditer(text)]


def found(surfaces: Iterable[str], words: Sequence[str]) -> dict[str, list[tuple[int, int]]]:
    """Return for each text its places in ``words``: first word and end (exclusive) of each run of whole words.

    ``cut`` cuts both the texts and ``words``, so blanks do not matter. Runs may overlap.
    """
    pieces = [(word[start:end], i) for i, word in enumerate(words) for start, end in cut(word)]
    texts = [text for text, _ in pieces]
    places: dict[str, list[int]] = {}
    for at, text in enumerate(texts):
        places.setdefault(text, []).append(at)

    def runs(surface: str) -> Iterator[tuple[int, int]]:
        wanted = [surface[start:end] for start, end in cut(surface)]
        for at in places.get(wanted[0], ()) if wanted else ():
            end = at + len(wanted)
            if texts[at:end] == wanted:
                first, last = pieces[at][1], pieces[end - 1][1]
                if (at == 0 or pieces[at - 1][1] != first) and (end == len(pieces) or pieces[end][1] != last):
                    yield first, last + 1

    return {surface: [*runs(surface)] for surface in surfaces}


def touched(start: int, end: int, borders: Borders) -> Touched | None:
    """Return the words that share a character with ``start .. end-1``, None if no word does. ``borders`` are in
    order.
    """
    first = bisect_right(borders, start, key=lambda border: border[1])
    last = bisect_left(borders, end, key=lambda border: border[0])
    if last <= first:
        return None
    return Touched(first, last, (borders[first][0], borders[last - 1][1]) != (start, end))
