"""Other names of types: ``location`` for LOC, ``Organisation`` for ORG."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import cache, lru_cache

from cl_ner_bench.corpora.card import Card
from cl_ner_bench.corpora.cards import generic
from cl_ner_bench.corpora.readers.options import rename


def are_one(name: str, other: str, card: Card) -> bool:
    """Return whether two names mean one type: they differ only in case, punctuation and blanks, or stand in one row
    of ``[aliases]`` of the card or of ``datasets/generic.toml``.
    """
    both = {plain(name), plain(other)}
    own = ({*map(plain, [type_, *names])} for type_, names in card.aliases.items())
    return len(both) == 1 or any(both <= row for row in _generic()) or any(both <= row for row in own)


def other_names(card: Card, present: Collection[str]) -> dict[str, str]:
    """Return the card's name for each type that a corpus calls by another name.

    A type that could be several types of the card is left out. So are types that could be the same type of the card.
    """
    meant = {
        name: [name] if name in card.types else [type_ for type_ in card.types if are_one(name, type_, card)]
        for name in sorted(present)
    }
    taken = [type_ for types in meant.values() for type_ in types]
    return {
        name: types[0]
        for name, types in meant.items()
        if name not in card.types and len(types) == 1 and taken.count(types[0]) == 1
    }


def read_as(card: Card, present: Collection[str]) -> dict[str, str]:
    """Return ``other_names`` if these and the card's types are all types of the corpus; else an empty mapping."""
    names = other_names(card, present)
    return names if {*present} <= {*names, *card.types} else {}


def remark(names: Mapping[str, str]) -> str:
    """Return the note that says which types are read under the card's names."""
    said = ", ".join(f"{name} as {type_}" for name, type_ in names.items())
    return f"types of the corpus are other names of the card's, and read as these: {said}"


def as_renamed(card: Card, present: Collection[str]) -> str:
    """Return a hint that a card may rename types of a corpus; "" if no type is another name of a card's type."""
    names = other_names(card, present)
    return f" A card may rename them: {rename(names)}." if names else ""


@cache
def _generic() -> tuple[frozenset[str], ...]:
    return tuple(frozenset(map(plain, [type_, *names])) for type_, names in generic().aliases.items())


@lru_cache(maxsize=1 << 12)
def plain(name: str) -> str:
    """Return a name in lower case without punctuation and blanks; a name of nothing else stays as it is."""
    return re.sub(r"[\W_]", "", name).casefold() or name
