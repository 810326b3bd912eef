"""The basic values: mentions, sentences and corpora."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from json.encoder import encode_basestring
from typing import NamedTuple, TypeVar

from cl_ner_bench.corpora.card import Card
from cl_ner_bench.corpora.division import SHORT, Division
from cl_ner_bench.corpora.published_counts import CountDifference

PARTS = ("train", "dev", "test")
P = TypeVar("P")


class Mention(NamedTuple):
    """A name of an entity of ``type``: the words ``start .. end-1`` of a sentence."""

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
        """Return the sentence with the mentions of ``types`` only. All labels that a method sees come through here."""
        kept = tuple([m for m in self.mentions if m.type in types])
        return self if len(kept) == len(self.mentions) else Sentence(self.id, self.words, kept)


@dataclass(frozen=True)
class Corpus:
    """The sentences of a dataset by part (``train``, ``dev``, ``test``) and the card that describes them.

    Attributes:
        card: the card of the dataset.
        parts: every sentence of each part, at the index of its id. Mentions of types that the card does not use are
            dropped.
        source: the place that the sentences came from.
        remarks: sentences for the user.
        sample: the ids in use per part, if only some are (``--max-sentences``); ids thus keep their meaning.
        domains: for several corpora as one (``reader = "union"``), the name of each corpus (a *domain*) and the range
            of its ids in each part.
        documents: the ids of the test sentences that begin a document; empty if the source does not say.
        differences: the differences from the corpus that the card's published counts describe.
        dropped: the number of dropped mentions of the sentences in use, by type and part.
        division: the rule that made parts of the source (``--parts``); None if the source has all three.
        scored: the part that stands as ``test``: ``dev`` while hyper-parameters are chosen.
    """

    card: Card
    parts: Mapping[str, tuple[Sentence, ...]]
    source: str
    remarks: tuple[str, ...] = ()
    sample: Mapping[str, tuple[int, ...]] | None = None
    domains: Mapping[str, Mapping[str, range]] = field(default_factory=dict)
    documents: tuple[int, ...] = ()
    differences: tuple[CountDifference, ...] = ()
    dropped: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    division: Division | None = None
    scored: str = "test"

    @property
    def name(self) -> str:
        return self.card.name

    @cached_property
    def test_copies(self) -> int:
        """The number of test sentences in use, of ``SHORT`` words or more, that are also in train, word by word."""
        train = {s.words for s in self.used("train")}
        return sum(len(s.words) >= SHORT and s.words in train for s in self.used("test"))

    def ids(self, part: str) -> tuple[int, ...]:
        """Return the ids of the sentences in use, in file order."""
        return tuple(range(len(self.parts[part]))) if self.sample is None else self.sample[part]

    def domain_ids(self, part: str, domain: str) -> tuple[int, ...]:
        """Return the ids of one domain's sentences in use, in file order. Raises KeyError for an unknown domain."""
        ids = self.domains[domain][part]
        return tuple(ids) if self.sample is None else tuple(i for i in self.sample[part] if i in ids)

    def used(self, part: str) -> tuple[Sentence, ...]:
        """Return the sentences in use, in file order."""
        return tuple(self.parts[part][i] for i in self.ids(part))

    def scored_on_dev(self) -> Corpus:
        """Return the corpus with its dev part in place of its test part, so nothing can depend on test."""

        def moved(parts: Mapping[str, P]) -> dict[str, P]:
            return {**parts, "test": parts["dev"]}

        return replace(
            self,
            parts=moved(self.parts),
            sample=None if self.sample is None else moved(self.sample),
            domains={name: moved(parts) for name, parts in self.domains.items()},
            dropped={name: moved(counts) if "dev" in counts else counts for name, counts in self.dropped.items()},
            documents=(),
            scored="dev",
        )

    @cached_property
    def type_counts(self) -> dict[str, Counter[str]]:
        """Mentions by part and type, of the sentences in use."""
        return {part: Counter([m.type for s in self.used(part) for m in s.mentions]) for part in PARTS}

    @property
    def n_mentions(self) -> dict[str, int]:
        """The number of mentions of the sentences in use by part, dropped types included."""
        kept = {part: counts.total() for part, counts in self.type_counts.items()}
        return {part: n + sum(counts[part] for counts in self.dropped.values()) for part, n in kept.items()}

    @cached_property
    def fingerprint(self) -> str:
        """sha256 (hex) over ids, words and mentions of the sentences in use, and the bounds of domains."""
        digest = hashlib.sha256()
        quoted = _Quoted()
        for part in PARTS:
            for sentence in self.used(part):
                # The output of json.dumps for [part, id, words, mentions], but each word is quoted once.
                words = ", ".join(map(quoted.__getitem__, sentence.words))
                mentions = ", ".join([f"[{m.start}, {m.end}, {quoted[m.type]}]" for m in sentence.mentions])
                digest.update(f'["{part}", {sentence.id}, [{words}], [{mentions}]]'.encode())
        if self.domains:
            bounds = {name: [[r.start, r.stop] for r in parts.values()] for name, parts in self.domains.items()}
            digest.update(json.dumps(bounds).encode())
        return digest.hexdigest()


class _Quoted(dict[str, str]):
    """Texts and their JSON strings."""

    def __missing__(self, text: str) -> str:
        quoted = self[text] = encode_basestring(text)
        return quoted
