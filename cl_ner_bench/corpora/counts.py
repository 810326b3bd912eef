"""What a corpus holds against what its card says was published: which copy of it was read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from cl_ner_bench.corpora.card import Card


@dataclass
class Counts:
    """The sizes of one part; ``types`` counts mentions by type."""

    sentences: int = 0
    words: int = 0
    types: Counter[str] = field(default_factory=Counter)


def differences(card: Card, found: Mapping[str, Counts]) -> Iterator[str]:
    """What differs from the card's published counts, one text each, with the reason where the card knows it.

    Mentions of types that the card does not use are not counted. Types are compared only where a part's published
    number of sentences was found: in another selection of sentences all of them differ.
    """
    known = {(e.part, e.key, e.value): e.means for e in card.explained_counts}
    for part, counts in found.items():
        published = dict(card.counts.get(part, {}))
        types = published.pop("types", {})
        used = {t: n for t, n in counts.types.items() if t in card.types or not card.tasks}
        sizes = {"sentences": counts.sentences, "words": counts.words, "mentions": sum(used.values())}
        for key, expected in published.items():
            if sizes[key] != expected:
                yield f"{part}: {sizes[key]:,} {key}, published are {expected:,}{_why(known, part, key, sizes[key])}"
        if counts.sentences == published.get("sentences", counts.sentences):
            other = [
                f"{t} {used.get(t, 0):,} ({n:,}{_why(known, part, t, used.get(t, 0))})"
                for t, n in types.items()
                if used.get(t, 0) != n
            ]
            if other:
                yield f"{part}: mentions by type, published in brackets: {', '.join(other)}"


def _why(known: Mapping[tuple[str, str, int], str], part: str, key: str, value: int) -> str:
    means = known.get((part, key, value))
    return f": {means}" if means else ""
