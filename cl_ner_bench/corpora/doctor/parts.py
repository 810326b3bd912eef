"""Counts of the parts of a corpus, and checks of the parts and of the names of types."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from cl_ner_bench.corpora.aliases import are_one, plain
from cl_ner_bench.corpora.card import Card
from cl_ner_bench.corpora.doctor.findings import Findings
from cl_ner_bench.corpora.published_counts import Counts
from cl_ner_bench.corpora.readers.lines import Row
from cl_ner_bench.corpora.readers.options import rename
from cl_ner_bench.errors import short

RARE = 10  # test mentions of a type: with fewer, one mention moves the type's recall by more than 10 points
MANY_TYPES = 50  # more types than this, with less than three mentions each on average, are no types
FEW_WORDS = 100  # a smaller part may well consist of mentions
LOOKED_AT = 1000  # first sentences of a part, enough to see if its words are words
RARE_NAME = 50  # a type 50 times rarer than one that differs by one letter is taken for a slip
RARE_EXCHANGED = 5  # the same if two letters are exchanged


@dataclass
class Tally(Counts):
    """The counts of one part."""

    path: Path | None = None  # of its first sentence
    in_mentions: int = 0  # words
    nested: int = 0  # mentions inside another one
    longest: int = 0  # words
    looked_at: int = 0  # words of the first sentences
    no_words: Counter[str] = field(default_factory=Counter)  # how many of these look like something else, by kind
    first: dict[str, tuple[Path, int]] = field(default_factory=dict)  # where each type occurs first

    def rename(self, names: Mapping[str, str]) -> None:
        """Rename types in the counts; ``names`` gives no two types the same name."""
        self.types = Counter({names.get(type_, type_): n for type_, n in self.types.items()})
        self.first = {names.get(type_, type_): place for type_, place in self.first.items()}


# Cells that stand in place of words if another column, or none, holds the words.
_NO_WORD = re.compile(r"(?P<numbers>\d+)|(?P<tags>O|[BIESLUM][-_].+)|(?P<words_with_tags>.+[/|_](?:O|[BIESLUM]-.+))")


def count(row: Row, tally: Tally) -> None:
    tally.path = tally.path or row.path
    tally.sentences += 1
    tally.words += len(row.words)
    tally.longest = max(tally.longest, len(row.words))
    if tally.sentences <= LOOKED_AT:
        tally.looked_at += len(row.words)
        tally.no_words.update(str(match.lastgroup) for word in row.words if (match := _NO_WORD.fullmatch(word)))
    for _, _, type_ in row.mentions:
        tally.types[type_] += 1
        if type_ not in tally.first:
            tally.first[type_] = row.path, row.line
    reached = 0  # the end of the mention that reaches farthest so far
    for start, end, _ in sorted(row.mentions, key=lambda m: (m.start, -m.end)):
        tally.nested += end <= reached
        tally.in_mentions += max(0, end - max(start, reached))
        reached = max(reached, end)


# Other ways to write "no name", and tags in place of a type: B_PER, I:PER.
_NO_NAME = re.compile(r"[0oO_-]|none|null|nil|nan", re.IGNORECASE)
_TAG_LIKE = re.compile(rf"[BIESLUM][-_: ].+|{_NO_NAME.pattern}", re.IGNORECASE)

_ATTRIBUTE = re.compile(r"\w+=.+")


def look_at_parts(tallies: Mapping[str, Tally], findings: Findings) -> None:
    n_train = tallies["train"].sentences
    for part, tally in tallies.items():
        assert tally.path is not None  # a part without sentences is an error
        if not tally.types:
            fix = "Check that its tags are there, and are the ones that are read"
            findings.warn("no mentions", tally.path, 0, f"no mention in the {part} part", fix)
        elif tally.words >= FEW_WORDS and tally.in_mentions > 0.95 * tally.words:
            text = f"{tally.in_mentions:,} of {tally.words:,} words of the {part} part are in a mention"
            fix = "Check that the tag column holds entities, not parts of speech"
            findings.warn("all words", tally.path, 0, text, fix)
        for what, number in tally.no_words.items():
            if number > 0.9 * tally.looked_at:
                text = f"{number:,} of {tally.looked_at:,} words of the {part} part look like {what.replace('_', ' ')}"
                fix = "Check which column holds the words; a card may name 'word_column' and 'tag_columns'"
                if what == "words_with_tags":
                    fix = "Write a word and its tag in columns, one word a line (Anna<tab>B-PER)"
                findings.warn("no words", tally.path, 0, text, fix)
        if tally.sentences > n_train:
            text = f"the {part} part has {tally.sentences:,} sentences, train only {n_train:,}"
            findings.warn("part sizes", tally.path, 0, text, "Check that the files bear the right names")


def look_at_type_names(card: Card, where: Path, tallies: Mapping[str, Tally], findings: Findings) -> None:
    total, first = _united(tallies)
    if _too_many(total):
        text = f"{len(total):,} types for {total.total():,} mentions"
        findings.warn("many types", where, 0, text, "Check that the tag column is the right one, and stands last")
        return
    for slip, meant in _slips(total, card):
        text = f"type {short(slip)} (mentions: {total[slip]:,})"
        if meant:
            how = "another name of" if plain(slip) != plain(meant) and are_one(slip, meant, card) else "nearly"
            text += f" is {how} {short(meant)} ({total[meant]:,})"
            fix = f"Where they are one type, write {short(meant)}, or let a card say so: {rename({slip: meant})}"
            findings.warn("type name", *first[slip], text, f"{fix}; else list both in its tasks")
        elif _NO_NAME.fullmatch(slip):
            fix = "Where it means that there is no name, write O; else give the type another name"
            findings.warn("type name", *first[slip], f"{text} looks like a tag for no name", fix)
        elif "=" in slip:
            fix = "Where it is an attribute that holds the tag, write its tag with B-, I- or O, as NER=B-PER"
            findings.warn("type name", *first[slip], f"{text} looks like an attribute", fix)
        else:
            meant = slip[2:] if _TAG_LIKE.fullmatch(slip) else slip[1:]
            fix = f"Write the prefix with a hyphen ({slip[0].upper()}-{meant}), or name the scheme in a card"
            findings.warn("type name", *first[slip], f"{text} looks like a tag", fix)


def look_at_types(card: Card, where: Path, tallies: Mapping[str, Tally], findings: Findings) -> None:
    total, first = _united(tallies)
    if _too_many(total):
        return
    for type_ in card.types or sorted(total):
        counts = ", ".join(f"{part} {tally.types[type_]:,}" for part, tally in tallies.items())
        absent = [part for part, tally in tallies.items() if not tally.types[type_]]
        if absent:
            text = f"type {short(type_)} never occurs in {' and '.join(absent)} (mentions: {counts})"
            fix = "Divide the sentences again, or leave the type out of the tasks (its mentions then count as no names)"
            findings.warn("absent type", *first.get(type_, (where, 0)), text, fix)
        elif tallies["test"].types[type_] < RARE:
            text = f"type {short(type_)} has few test mentions ({counts}): one moves its recall by over 10 points"
            fix = "Add some, or do not compare methods on this type alone"
            findings.warn("rare type", *tallies["test"].first[type_], text, fix)


def _united(tallies: Mapping[str, Tally]) -> tuple[Counter[str], dict[str, tuple[Path, int]]]:
    """Return the mentions by type in all parts, and the first place of each type."""
    total: Counter[str] = Counter()
    first: dict[str, tuple[Path, int]] = {}
    for tally in tallies.values():
        total.update(tally.types)
        first = tally.first | first
    return total, first


def _too_many(total: Counter[str]) -> bool:
    return len(total) > MANY_TYPES and total.total() < 3 * len(total)


def _slips(total: Counter[str], card: Card) -> Iterator[tuple[str, str]]:
    """Yield each type name that looks like a slip, and the name that was meant ("" for a tag or an attribute)."""
    declared = frozenset(card.types)
    for type_ in sorted(total):
        other = {"B": "I", "I": "B"}.get(type_[0])
        joined = other and type_[1:] and f"{other}{type_[1:]}" in total  # BPER and IPER
        if type_ not in declared and (joined or _TAG_LIKE.fullmatch(type_) or _ATTRIBUTE.fullmatch(type_)):
            yield type_, ""
    for pair in combinations(sorted({*total, *declared}), 2):
        slip, meant = sorted(pair, key=lambda t: (t in declared, total[t]))
        if slip in declared or not total[slip]:
            continue
        exchanged = sorted(slip) == sorted(meant)  # no two types are meant to differ so
        rare = (RARE_EXCHANGED if exchanged else RARE_NAME) * total[slip] <= total[meant]
        if are_one(slip, meant, card) or (rare and _differ_by_one(slip, meant)):
            yield slip, meant


def _differ_by_one(a: str, b: str) -> bool:
    """Return whether one letter added, left out or replaced, or two neighbours exchanged, turn ``a`` into ``b``."""
    if min(len(a), len(b)) < 3:
        return False
    head = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    a, b = a[head:], b[head:]
    return a[1:] == b[1:] or a[1:] == b or a == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:])
