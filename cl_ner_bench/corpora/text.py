"""The sentences of running text, by a fixed rule that knows no language.

1. A line break ends a sentence.
2. ``.``, ``!``, ``?`` or an ellipsis (Arabic ones too), with closing quotes and brackets behind it, ends a sentence
   if white space follows, then opening quotes and brackets (or none), then a letter that is not lower case.
3. The full stops of scripts that put no white space behind them (Chinese, Japanese, Devanagari...) end a sentence.
4. A full stop behind a single letter (``J. K. Rowling``, ``U.S. President``) or a short form that stands before a name
   (``TITLES``) ends no sentence.

A needless border costs context, but a border inside a name costs the name. Therefore rule 2 lets no sentence begin with
a number or a lower-case letter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from cl_ner_bench.corpora.limits import SPAN_WORDS

SHARED_WORDS = 200
"""Words that two neighbouring windows of a long sentence have in common."""

TITLES = frozenset(
    [
        *("adm", "brig", "capt", "cmdr", "col", "cpl", "dr", "fr", "gen", "gov", "hon", "lt", "maj", "messrs", "mlle"),
        *("mme", "mr", "mrs", "ms", "mt", "pres", "prof", "pvt", "rep", "rev", "sen", "sgt", "sr", "st", "ste", "supt"),
        "vs",
    ]
)

_CLOSING, _OPENING = r"\"'”’»›)\]}", r"\"'“‘„«‹(\[{¿¡"
_END = re.compile(
    r"(?P<line>[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+)"
    rf"|(?P<stop>(?<![.!?…؟۔])[.!?…؟۔]++)[{_CLOSING}]*+(?=\s++[{_OPENING}]*+(?P<next>[^\W\d_]))"
    rf"|[。！？｡．।॥។።။]++[{_CLOSING}」』）】》]*+"
)
_LAST_WORD = re.compile(r"(?<![^\W_])([^\W\d_]+)\.\Z")


class Window(NamedTuple):
    """Words ``first .. last-1`` of a sentence; the window gives the mentions of the words ``own`` among them."""

    first: int
    last: int
    own: range


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """Yield start and end (exclusive) of each sentence of ``text``, in characters. Together they cover the text."""
    begin = 0
    for match in _END.finditer(text):
        if match["stop"] and (match["next"].islower() or (match["stop"] == "." and _goes_on(text, match.end("stop")))):
            continue
        yield begin, match.end()
        begin = match.end()
    if begin < len(text):
        yield begin, len(text)


def _goes_on(text: str, end: int) -> bool:
    """Return whether the full stop before ``end`` belongs to the word before it."""
    word = _LAST_WORD.search(text, max(0, end - 12), end)
    return word is not None and (len(word[1]) == 1 or word[1].lower() in TITLES)


def windows(n_words: int, most: int = SPAN_WORDS, shared: int = SHARED_WORDS) -> Iterator[Window]:
    """Yield the windows of a sentence: one, unless it has more than ``most`` words.

    Neighbouring windows have ``shared`` words in common. The first half of these is the earlier window's own, the
    second half the later window's, so the window that owns a word holds more of its context.
    """
    first, own = 0, 0
    while n_words - first > most:
        last = first + most
        yield Window(first, last, range(own, last - shared // 2))
        first, own = last - shared, last - shared // 2
    yield Window(first, n_words, range(own, n_words))
