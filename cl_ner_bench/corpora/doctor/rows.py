"""Checks of single sentences, and of sentences with the same words."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from cl_ner_bench.corpora.division import SHORT
from cl_ner_bench.corpora.doctor.findings import Findings
from cl_ner_bench.corpora.readers.lines import Row
from cl_ner_bench.corpora.sentence import Mention
from cl_ner_bench.errors import short

LONG_SENTENCE = 2000  # words: span methods refuse a longer sentence (see ``limits.SPAN_WORDS``)
NO_BREAKS = 1000  # words: a longer sentence probably lacks blank lines
LONG_WORD = 100  # letters and digits in a row: WordPiece reads a longer run as one [UNK]
WINDOW = 500  # characters: a longer word may not fit the 512 sub-tokens of an encoder's window
LONG_WHOLE = 15  # words: a shorter sentence may well be one name (a title, a line of a list)


# Words

# One search for all suspects saves time: in most sentences it finds none, and their words need no further check.
_SUSPECT = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\xa0\u061c\u1680\u2000-\u200f\u2028-\u202f\u205f-\u2064\u2066-\u2069\u3000\ufeff\ufffd]"
    "|\u00c2|\u00c3|\u00e2\u20ac"
)
# Joiners have a use in Persian, in Indic scripts and in emoji, so they are an accident only in ASCII words.
_JOINERS = "\u200c\u200d"
_WITHIN = {*_JOINERS, "\xad", "\u2060", "\ufeff"}  # signs that stand within a word: hyphenation, no break
_AS_WORDS = "Write it as several words, each with its tag"
_INVISIBLE = re.compile("[\xad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")
_LONG = re.compile(rf"\w{{{LONG_WORD + 1}}}|\S{{{WINDOW + 1}}}")
_MOJIBAKE = re.compile("[\u00c2\u00c3][\x80-\xbf\u0152-\u2122]|\u00e2\u20ac")


def look_at_words(row: Row, findings: Findings) -> None:
    n_words = len(row.words)
    if n_words > LONG_SENTENCE:
        text = f"a sentence of {n_words:,} words: span methods refuse more than {LONG_SENTENCE:,}"
        findings.warn("long sentence", row.path, row.line, text, "Cut it at sentence ends (a blank line in columns)")
    elif n_words > NO_BREAKS:
        text = f"a sentence of {n_words:,} words: the borders of sentences seem to be missing"
        findings.warn("no breaks", row.path, row.line, text, "Write a blank line (in JSONL a row) for each sentence")
    if n_words == 1 and row.words[0] == "-DOCSTART-":
        text, fix = "'-DOCSTART-' stands as a sentence of its own", "Drop it: it marks the start of a document"
        findings.warn("docstart", row.path, row.line, text, fix)
    text = " ".join(row.words)
    blanks = text.count(" ") >= n_words
    odd = not (text.isascii() and text.isprintable()) and _SUSPECT.search(text)
    if blanks or odd:
        for i, word in enumerate(row.words):
            _look_at_word(row, i, word, findings)
    if len(text) > LONG_WORD and _LONG.search(text):
        for i, word in enumerate(row.words):
            if _LONG.search(word):
                text = f"{_word(i, word)} has {len(word):,} characters: encoders read it as unknown, or in part"
                fix = f"{_AS_WORDS}, where it is more than one; else know that it is hardly read"
                findings.warn("long word", row.path, row.line, text, fix)


def _look_at_word(row: Row, i: int, word: str, findings: Findings) -> None:
    def warn(kind: str, text: str, fix: str) -> None:
        findings.warn(kind, row.path, row.line, f"{_word(i, word)} {text}", fix)

    if "\ufffd" in word:
        warn("replacement", "has lost a character (U+FFFD)", "Convert the original file again, from its own encoding")
    if _MOJIBAKE.search(word):
        meant = _repaired(word)
        text = "looks like UTF-8 read as Latin-1" + (f", meant is {short(meant)}" if meant else "")
        warn("mojibake", text, "Convert the original file again, as UTF-8")
    control = next((c for c in word if unicodedata.category(c) == "Cc"), "")
    if control:
        meant = control.encode("latin-1").decode("cp1252", "ignore") if control > "\x7f" else ""
        fix = f"Convert the original file again, as cp1252: there it is {meant!r}" if meant else _apart(word, control)
        warn("control", f"holds the control character U+{ord(control):04X}", fix)
    elif any(c.isspace() for c in word):
        warn("blank in word", "holds a blank", _AS_WORDS)
    rest = word.translate(dict.fromkeys(map(ord, _JOINERS)))
    if _INVISIBLE.search(word) or (rest != word and rest.isascii()):
        found = next(c for c in word if _INVISIBLE.match(c) or c in _JOINERS)
        warn("invisible", f"holds the invisible character U+{ord(found):04X}", _apart(word, found))


def _apart(word: str, sign: str) -> str:
    """Return the advice for an invisible sign. It must not join two words into one."""
    parts = [part for part in word.split(sign) if part]
    if not parts:
        return "Take the word out with its tag, and count the words of the mentions again"
    if len(parts) > 1 and sign not in _WITHIN:
        doubt = "" if sign.isspace() or sign == "\u200b" else ", where it separates them; else take it out"
        return f"{_AS_WORDS} ({' '.join(map(short, parts))}){doubt}"
    return f"Take it out ({short(''.join(parts))}): with and without it are two words to a model"


def _word(i: int, word: str) -> str:
    return f"word {i + 1} {short(word)}"


def _repaired(word: str) -> str:
    for encoding in ("cp1252", "latin-1"):
        try:
            return word.encode(encoding).decode("utf-8")
        except UnicodeError:
            pass
    return ""


# Mentions

_TWO_TYPES = "Take out the one that is wrong; where both are right, one of them counts as missed or as wrong"


def look_at_mentions(row: Row, findings: Findings) -> None:
    n_words = len(row.words)
    if n_words >= LONG_WHOLE and any(m.start == 0 and m.end == n_words for m in row.mentions):
        text = f"one mention covers all {n_words} words"
        findings.warn("whole sentence", row.path, row.line, text, "Check where it ends: an O tag may be missing")
    if _is_flat(row.mentions):
        return
    types: dict[tuple[int, int], str] = {}
    around: list[Mention] = []  # mentions that are still open, the innermost last
    for mention in sorted(row.mentions, key=lambda m: (m.start, -m.end)):
        start, end, type_ = mention
        other = types.setdefault((start, end), type_)
        if other != type_:
            text = f"words {start}-{end} are {short(other)} and {short(type_)}: {_span(row, mention)}"
            findings.warn("two types", row.path, row.line, text, _TWO_TYPES)
        while around and around[-1].end <= start:
            around.pop()
        if around and around[-1].end < end:
            first = around[-1]
            pair = f"{short(first.type)} {first.start}-{first.end} and {short(type_)} {start}-{end}"
            text = f"{pair} overlap, neither inside the other"
            findings.warn("crossing", row.path, row.line, text, "Check their ends; span methods keep one of them")
        around.append(mention)


def _span(row: Row, mention: Mention) -> str:
    return short(" ".join(row.words[mention.start : mention.end]))


def _is_flat(mentions: tuple[Mention, ...]) -> bool:
    return all(a.end <= b.start for a, b in pairwise(mentions))


# Copies


class _Place(NamedTuple):
    part: str
    path: Path
    line: int
    mentions: tuple[Mention, ...]


class Copies:
    """The first place of each sentence, by a hash of its words."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.first: dict[bytes, _Place] = {}

    def look(self, part: str, row: Row) -> None:
        key = hashlib.blake2b("\0".join(row.words).encode("utf-8", "surrogatepass"), digest_size=8).digest()
        here = _Place(part, row.path, row.line, row.mentions)
        first = self.first.setdefault(key, here)
        if first is here:
            return
        there = f"{first.path.name if first.path.parent == row.path.parent else first.path}:{first.line}"
        if first.mentions != here.mentions:
            odd = min(set(first.mentions) ^ set(here.mentions))
            only = "here" if odd in here.mentions else "there"
            text = f"the words of {there}, but {_span(row, odd)} is {short(odd.type)} only {only}"
            self.findings.warn("conflict", row.path, row.line, text, "Decide which mentions are right")
        elif len(row.words) < SHORT:
            return
        elif first.part != part:
            text = f"this {part} sentence also stands in {first.part} ({there})"
            fix = f"Take it out of {first.part}, or say it beside the scores: it is scored too well"
            self.findings.warn("leak", row.path, row.line, text, fix)
        else:
            text, fix = f"the words and mentions of {there} again", "Keep one, unless it is meant to weigh double"
            self.findings.warn("duplicate", row.path, row.line, text, fix)
