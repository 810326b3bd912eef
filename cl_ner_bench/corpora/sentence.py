"""The values that everything else is made of: mentions, sentences and corpora."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from cl_ner_bench.corpora.card import Card

PARTS = ("train", "dev", "test")


class Mention(NamedTuple):
    """Words ``start .. end-1`` of a sentence name an entity of ``type``."""

    start: int
    end: int
    type: str


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence. ``id`` is its position in the file order of its part, counted from 0.

    Mentions are sorted and may be nested or overlap; readers never flatten them.
    """

    id: int
    words: tuple[str, ...]
    mentions: tuple[Mention, ...] = ()

    def only(self, types: Collection[str]) -> Sentence:
        """The same sentence with the mentions of ``types`` alone: the one door through which labels pass."""
        return replace(self, mentions=tuple(m for m in self.mentions if m.type in types))


@dataclass(frozen=True)
class Corpus:
    """The sentences of a dataset by part (``train``, ``dev``, ``test``) and the card that describes them.

    Mentions of types that the card does not use are already dropped. ``source`` says where the sentences
    came from. ``remarks`` are sentences for the user (a count that differs from the card's, say).
    ``parts`` hold every sentence at the index of its id; ``sample`` lists the ids in use per part where only
    some of them are (``--max-sentences``), so that ids keep their meaning.
    """

    card: Card
    parts: Mapping[str, tuple[Sentence, ...]]
    source: str
    remarks: tuple[str, ...] = ()
    sample: Mapping[str, tuple[int, ...]] | None = None

    @property
    def name(self) -> str:
        return self.card.name

    def ids(self, part: str) -> tuple[int, ...]:
        """The ids of the sentences in use, in file order."""
        return tuple(range(len(self.parts[part]))) if self.sample is None else self.sample[part]

    def used(self, part: str) -> tuple[Sentence, ...]:
        """The sentences in use, in file order."""
        return tuple(self.parts[part][i] for i in self.ids(part))

    @cached_property
    def fingerprint(self) -> str:
        """sha256 (hex) over words and mentions of the sentences in use: what the numbers of a run depend on."""
        digest = hashlib.sha256()
        for part in PARTS:
            for sentence in self.used(part):
                row = [part, sentence.id, sentence.words, sentence.mentions]
                digest.update(json.dumps(row, ensure_ascii=False).encode())
        return digest.hexdigest()
