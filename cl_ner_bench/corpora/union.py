"""Unions of corpora: each corpus is a domain, and its types may be renamed or chosen."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from cl_ner_bench.corpora.card import Card
from cl_ner_bench.corpora.cards import list_cards
from cl_ner_bench.corpora.find import UnionOptions, find_card, how_to_get, options_of
from cl_ner_bench.corpora.published_counts import Counts, present_types
from cl_ner_bench.corpora.readers.lines import Row, some
from cl_ner_bench.corpora.sentence import Mention
from cl_ner_bench.errors import UserError, did_you_mean, short
from cl_ner_bench.validation import PathBelow, convert


class Member(NamedTuple):
    """One corpus of a union. ``where`` begins messages about its entry."""

    card: Card
    folder: Path | None
    rename: Mapping[str, str]
    types: tuple[str, ...]  # after renaming; empty = all
    where: str

    def rows(self, rows: Iterable[Row]) -> Iterator[Row]:
        return (row._replace(mentions=self.of_types(row.mentions)) for row in rows)

    def of_types(self, mentions: tuple[Mention, ...]) -> tuple[Mention, ...]:
        """Return the mentions of the types that the member's card uses and the union wants, renamed."""
        used = self.card.types
        named = [(m.start, m.end, self.rename.get(m.type, m.type)) for m in mentions if not used or m.type in used]
        wanted = {Mention(*m) for m in named if m[2] and (not self.types or m[2] in self.types)}
        return tuple(sorted(wanted))

    def check_types(self, counts: Mapping[str, Counts]) -> None:
        """Raise UserError if ``rename`` or ``types`` name a type that the member does not have. ``counts`` are the
        member's counts before renaming.
        """
        has = [type_ for type_ in present_types(counts) if not self.card.types or type_ in self.card.types]
        renamed = sorted({self.rename.get(type_, type_) for type_ in has} - {""})
        for key, names, known in (("rename", self.rename, has), ("types", self.types, renamed)):
            for name in names:
                if name not in known:
                    near = did_you_mean(name, known) or f" It has {some(known)}."
                    raise UserError(f"{self.where}.{key}': {self.card.name} has no type {short(name)}.{near}")


def members_of(card: Card, folder: Path | None) -> dict[str, Member]:
    """Return the corpora of a union by domain. Raises UserError for wrong entries."""
    options = options_of(card)
    corpora = options.corpora if isinstance(options, UnionOptions) else {}
    if not corpora:
        example = 'news = { dataset = "conll2003", data = "..." }'
        raise UserError(f"{card.where}: key 'reader_options.corpora': expected a table of corpora, like {example}.")
    members = {}
    for domain, entry in corpora.items():
        key = f"{card.where}: key 'reader_options.corpora.{short(domain)[1:-1]}"
        where = f"{key}'"
        below = convert(entry.data or domain, PathBelow, where)
        data = folder / below if folder is not None else None
        if entry.dataset is not None:
            try:
                found = find_card(_dataset_of(entry.dataset, card), data if entry.data else None)
            except UserError as error:
                raise UserError(f"{where}: {error}") from None
        elif data is not None and not os.path.isdir(data):
            raise UserError(f"{where}: {short(below)} is no folder in {folder}.{how_to_get(card)}")
        else:
            hub = card.hub and replace(card.hub, folder=below)
            found = Card(domain, f"{card.title}: {domain}", how_to_get=card.how_to_get, hub=hub), data
        if found[0].reader == "union":
            raise UserError(f"{where}: a union of unions is not supported. List their corpora here.")
        members[domain] = Member(*found, entry.rename, entry.types, key)
    return members


def _dataset_of(name: str, card: Card) -> str:
    """Return the dataset that an entry of a union names: a known one, else a file or folder beside the union's card."""
    beside = os.path.join(os.path.dirname(card.file), name)
    return beside if card.file and name not in list_cards() and os.path.exists(beside) else name
