"""Sentences as files that other tools read: JSON lines, CoNLL columns, brat standoff.

Reading the files gives the same sentences again. A brat text holds no borders of words, so its reader needs the option
``words = "blanks"``. ``fitting`` leaves out and counts what a format cannot hold.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cl_ner_bench.corpora.readers.words import cut
from cl_ner_bench.corpora.sentence import Mention, Sentence
from cl_ner_bench.errors import short


class Format(NamedTuple):
    """A file format.

    ``write`` returns the texts of a part's files, whose names have ``endings``. ``nests`` is True if the format holds
    mentions that overlap. ``bad_words`` and ``bad_type`` say why it cannot hold a sentence's words or a type, else "".
    """

    endings: tuple[str, ...]
    write: Callable[[Sequence[Sentence]], tuple[str, ...]]
    nests: bool
    bad_words: Callable[[Sequence[str]], str]
    bad_type: Callable[[str], str]


@dataclass
class Fitting:
    """The sentences of each part as a format can hold them, and the number and first place of each kind of loss."""

    parts: dict[str, list[Sentence]] = field(default_factory=dict)
    _counts: Counter[str] = field(default_factory=Counter)
    _firsts: dict[str, str] = field(default_factory=dict)

    def lose(self, kind: str, where: str) -> None:
        self._counts[kind] += 1
        self._firsts.setdefault(kind, where)

    @property
    def losses(self) -> list[str]:
        """One text for each kind of loss."""
        return [f"{kind}: {n:,} (the first: {self._firsts[kind]})" for kind, n in self._counts.items()]


def fitting(parts: Mapping[str, Iterable[Sentence]], format_: Format) -> Fitting:
    """Return the sentences without the parts that a format cannot hold.

    Of overlapping mentions the longest is kept; of equally long ones, the first by place and type. A sentence with a
    word that does not fit is left out as a whole, because the other words would be another sentence.
    """
    found = Fitting()
    for part, sentences in parts.items():
        kept = found.parts[part] = []
        for sentence in sentences:
            where = f"{part} sentence {sentence.id}"
            if bad := format_.bad_words(sentence.words):
                found.lose(f"sentences with {bad}", where)
            else:
                kept.append(Sentence(sentence.id, sentence.words, _fitting(sentence, format_, where, found)))
    return found


def _fitting(sentence: Sentence, format_: Format, where: str, found: Fitting) -> tuple[Mention, ...]:
    mentions = []
    for mention in sentence.mentions:
        if bad := format_.bad_type(mention.type):
            found.lose(f"mentions of a type with {bad}", f"{where}, {short(mention.type)}")
        else:
            mentions.append(mention)
    if format_.nests:
        return tuple(mentions)
    flat = _flat(mentions)
    for start, end, type_ in sorted({*mentions} - flat):
        name = " ".join(sentence.words[start:end])
        found.lose("mentions that overlap one of the same length or longer", f"{where}, {short(type_)} {short(name)}")
    return tuple(sorted(flat))


def recut_words(sentences: Iterable[Sentence]) -> Counter[str]:
    """Return the words that ``words.cut`` does not leave whole, each with its number of occurrences."""
    words = Counter(word for sentence in sentences for word in sentence.words)
    return Counter({word: n for word, n in words.items() if cut(word) != [(0, len(word))]})


def _flat(mentions: Iterable[Mention]) -> set[Mention]:
    flat: set[Mention] = set()
    taken: set[int] = set()
    for mention in sorted(mentions, key=lambda m: (m.start - m.end, m)):
        words = range(mention.start, mention.end)
        if taken.isdisjoint(words):
            flat.add(mention)
            taken.update(words)
    return flat


def json_line(value: Any) -> str:
    """Return a value as a line of JSON. Characters that only some readers take for line ends are escaped."""
    line = json.dumps(value, ensure_ascii=False)
    return _LINE_ENDS.sub(lambda end: f"\\u{ord(end[0]):04x}", line) + "\n"


def _jsonl(sentences: Sequence[Sentence]) -> tuple[str, ...]:
    rows = (
        {"tokens": s.words, "entities": [{"start": m.start, "end": m.end, "label": m.type} for m in s.mentions]}
        for s in sentences
    )
    return ("".join(map(json_line, rows)),)


def columns(sentence: Sentence) -> str:
    """Return a line for each word (word, tab, BIO tag) and an empty line. Mentions must not overlap."""
    tags = ["O"] * len(sentence.words)
    for start, end, type_ in sentence.mentions:
        tags[start:end] = [f"B-{type_}", *[f"I-{type_}"] * (end - start - 1)]
    return "".join([*(f"{word}\t{tag}\n" for word, tag in zip(sentence.words, tags, strict=True)), "\n"])


def _conll(sentences: Sequence[Sentence]) -> tuple[str, ...]:
    return ("".join(map(columns, sentences)),)


def _brat(sentences: Sequence[Sentence]) -> tuple[str, ...]:
    """Return the text, a sentence a line with blanks between words, and its marks in characters of the whole text."""
    lines: list[str] = []
    marks: list[str] = []
    at = 0  # the sentence's first character
    for sentence in sentences:
        starts = [at]
        for word in sentence.words:
            starts.append(starts[-1] + len(word) + 1)
        text = " ".join(sentence.words)
        for start, end, type_ in sentence.mentions:
            first, last = starts[start], starts[end] - 1
            covered = text[first - at : last - at]
            marks.append(f"T{len(marks) + 1}\t{type_} {first} {last}\t{covered}\n")
        lines.append(f"{text}\n")
        at = starts[-1]
    return "".join(lines), "".join(marks)


_LINE_ENDS = re.compile("[\x85\u2028\u2029]")
_BREAKS = re.compile(r"[\n\r\0]")


def _no_conll_words(words: Sequence[str]) -> str:
    bad = any("\t" in word or _BREAKS.search(word) or word.startswith(("\ufeff", "-DOCSTART-")) for word in words)
    return "a word that holds a tab, a line break or NUL, or begins with a byte-order mark or -DOCSTART-" if bad else ""


def _no_brat_words(words: Sequence[str]) -> str:
    if words[0].startswith("\ufeff") or any(_BREAKS.search(word) for word in words):
        return "a word that holds a line break or NUL, or begins with a byte-order mark"
    return "" if all(map(cut, words)) else "a word that cannot be seen"


def _no_conll_type(type_: str) -> str:
    return "a tab, a line break, NUL or a last blank" if re.search(r"[\t\n\r\0]| \Z", type_) else ""


def _no_brat_type(type_: str) -> str:
    return "a blank or NUL" if re.search(r"[\s\0]", type_) else ""


def _nothing(_: object) -> str:
    return ""


FORMATS = {
    "jsonl": Format((".jsonl",), _jsonl, True, _nothing, _nothing),
    "conll": Format((".conll",), _conll, False, _no_conll_words, _no_conll_type),
    "brat": Format((".txt", ".ann"), _brat, True, _no_brat_words, _no_brat_type),
}
