"""The sizes of a corpus, and how they differ from the counts that its card says were published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, cast

from cl_ner_bench.corpora.card import Card, Explained, Part, PartCounts


@dataclass
class Counts:
    """The sizes of one part; ``types`` counts mentions by type."""

    sentences: int = 0
    words: int = 0
    types: Counter[str] = field(default_factory=Counter)


def present_types(counts: Mapping[str, Counts]) -> list[str]:
    """Return the types that occur in any part, sorted."""
    return sorted({type_ for part in counts.values() for type_ in part.types})


class CountDifference(NamedTuple):
    """A count that differs from the published one; ``accepted`` if the card allows to compare scores all the same."""

    text: str
    accepted: bool


def differences(card: Card, found: Mapping[str, Counts]) -> Iterator[CountDifference]:
    """Yield the differences from the card's published counts, each with its reason if the card states one.

    Mentions of types that the card does not use are not counted. Types of a part are not compared if its number of
    sentences differs from the published one: in another selection of sentences all types differ.
    """
    known: dict[tuple[str, str, int], Explained] = {(e.part, e.key, e.value): e for e in card.explained_counts}
    for part, counts in found.items():
        published = card.counts.get(cast(Part, part), PartCounts())
        used = {t: n for t, n in counts.types.items() if t in card.types or not card.tasks}
        sizes = {"sentences": counts.sentences, "words": counts.words, "mentions": sum(used.values())}
        for key, size in sizes.items():
            expected = getattr(published, key)
            if expected not in (None, size):
                why = known.get((part, key, size))
                text = f"{part}: {size:,} {key}, published are {expected:,}{_reason(why)}"
                yield CountDifference(text, _is_accepted(why))
        if published.sentences in (None, counts.sentences):
            types = published.types.items()
            other = [(t, n, known.get((part, t, used.get(t, 0)))) for t, n in types if used.get(t, 0) != n]
            if other:
                texts = [f"{t} {used.get(t, 0):,} ({n:,}{_reason(why)})" for t, n, why in other]
                text = f"{part}: mentions by type, published in brackets: {', '.join(texts)}"
                yield CountDifference(text, all(_is_accepted(why) for *_, why in other))


def _reason(why: Explained | None) -> str:
    return f": {why.means}" if why else ""


def _is_accepted(why: Explained | None) -> bool:
    return why is not None and why.accepted
