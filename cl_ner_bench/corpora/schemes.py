"""Tag schemes: from tags to mentions.

All schemes are decoded by the rule of the CoNLL evaluation script: a mention begins at ``B`` or ``S``, where the type
changes, or after ``O``, ``E`` or ``S``. It ends before the next ``O`` or the next begin. Tags of IO have no prefix or
only ``I-``, so adjacent words of one type are one mention. Tags that are illegal in their scheme (``I`` after ``O`` in
BIO) also have one well-defined reading.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Literal

from cl_ner_bench.corpora.sentence import Mention

Scheme = Literal["IO", "IOB1", "BIO", "BIOES"]
PHRASES = frozenset(["", "NP", "VP", "PP", "ADJP", "ADVP", "SBAR", "PRT", "CONJP", "INTJ", "LST", "UCP"])
"""Types of CoNLL-2000's phrases, which CoNLL-2003 tags beside its names; "" is the type of O."""

# BILOU and BMES write the same scheme with other letters.
_LETTER = {"L": "E", "U": "S", "M": "I"}
_PREFIXED = re.compile(r"([BIESLUM])-(.+)", re.DOTALL)


@lru_cache(maxsize=1 << 14)
def split_tag(tag: str, prefixed: bool = True) -> tuple[str, str]:
    """Return ``B-PER`` as ``("B", "PER")``, ``O`` as ``("O", "")``; without prefixes ``PER`` is ``("I", "PER")``.

    Raises ValueError for a tag without a known prefix if prefixes are expected.
    """
    if tag == "O":
        return "O", ""
    if not prefixed:
        return "I", tag
    match = _PREFIXED.fullmatch(tag)
    if match is None:
        raise ValueError(f"unknown tag {tag!r}")
    return _LETTER.get(match[1], match[1]), match[2]


def has_prefix(tag: str) -> bool:
    """Return whether ``tag`` is written with a prefix, like ``B-PER``."""
    return _PREFIXED.fullmatch(tag) is not None


class TagStatistics:
    """Counts of tags, which show their scheme: ``add`` each sentence once, then read ``scheme``."""

    def __init__(self) -> None:
        self.outside = self.plain = self.prefixes = 0  # words by tag: O, a bare type, a type with a prefix
        self.tags: set[str] = set()  # of sentences with any tag but O
        # Numbers of B that IOB1 needs (behind a mention of the same type), of B that it does not use, of I that begins
        # a mention, and of E and S, which only BIOES has.
        self._needed = self._spare = self._bare = self._ends = 0

    def add(self, tags: Sequence[str]) -> None:
        n_outside = tags.count("O")
        self.outside += n_outside
        if n_outside == len(tags):
            return
        self.tags.update(tags)
        before = ""
        for tag in tags:
            try:
                letter, type_ = split_tag(tag)
            except ValueError:
                self.plain += 1
                before = ""
                continue
            self.prefixes += letter != "O"
            touches = type_ != "" and type_ == before
            if letter == "B":
                self._needed += touches
                self._spare += not touches
            self._bare += letter == "I" and not touches
            self._ends += letter in "ES"
            before = type_

    @property
    def plain_tags(self) -> set[str]:
        """The tags without a prefix, O aside."""
        return {tag for tag in self.tags if tag != "O" and not has_prefix(tag)}

    @property
    def prefixed(self) -> bool:
        """True if tags carry prefixes. All tags of a corpus do or none does, so the majority is right."""
        return self.prefixes >= self.plain

    @property
    def scheme(self) -> str:
        """``IO``, ``IOB1``, ``BIO`` or ``BIOES``.

        BIOES ends every mention with ``E`` or ``S``, which no other scheme has. BIO begins every mention with ``B``,
        IOB1 only mentions right behind another one of their type. The more frequent habit wins.
        """
        if not self.prefixed:
            return "IO"
        if 2 * self._ends > self._needed + self._spare:
            return "BIOES"
        if self._bare <= self._spare:
            return "BIO"
        return "IOB1" if self._needed else "IO"


def to_mentions(tags: Sequence[str], prefixed: bool = True) -> tuple[Mention, ...]:
    """Return the mentions that ``tags`` denote (any scheme). Raises ValueError for an unknown prefix."""
    mentions: list[Mention] = []
    start, previous, ended = 0, "", True
    for i, tag in enumerate([*tags, "O"]):
        letter, type_ = split_tag(tag, prefixed)
        if letter in "BSO" or ended or type_ != previous:
            if previous:
                mentions.append(Mention(start, i, previous))
            start, previous = i, type_
        ended = letter in "ESO"
    return tuple(mentions)


def illegal(tags: Sequence[str], scheme: str) -> Iterator[tuple[int, str]]:
    """Yield the places where prefixed ``tags`` break the rules of ``scheme``: the word's index and a message.

    There are none if and only if the mentions of ``tags``, written as tags, give the same tags again.
    """
    before, opened = "", False  # the type of the word before; whether BIOES has yet to end that mention
    for i, tag in enumerate([*tags, "O"]):
        letter, type_ = split_tag(tag)
        goes_on = type_ != "" and type_ == before
        bad = {
            "IO": letter in "BES",
            "IOB1": letter in "ES" or (letter == "B" and not goes_on),
            "BIO": letter in "ES" or (letter == "I" and not goes_on),
            "BIOES": (letter in "IE") != opened or (opened and not goes_on),
        }[scheme]
        if bad:
            at_end = i == len(tags)
            here, previous = reprlib.repr(tag), reprlib.repr(tags[i - 1])
            where = f"{previous} at the end" if at_end else f"{here} after {previous}" if i else here
            yield min(i, len(tags) - 1), f"{where} is illegal in {scheme}"
        before, opened = type_, letter in "BI"
