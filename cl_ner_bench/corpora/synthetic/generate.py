"""The generated corpus: news-like English from a grammar of its own, with six types of OntoNotes.

With this corpus everything runs without licensed text, and it has the difficulties of continual NER. One surface form
names a person, a company or a city. A number is a CARDINAL, part of a DATE or no entity at all (room seven, seven
percent). Demonyms are also languages, and months also given names. Only the context tells which.
About half of the sentences hold several types, some hold none, and many test names never occur in training.

All text is lower-case, so nothing depends on letter case. The corpus is a function of the arguments and ``VERSION``
alone: it uses no other source of randomness than ``random()`` of Python's Mersenne twister, which is the same on all
machines and versions. Sentence i of a part is the same for every size.

No two sentences have the same words: a text belongs to the same part for all arguments, and a part holds no text
twice. So no test sentence stands in the train part of any generated corpus.
"""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Annotated, Literal, get_args

from msgspec import Meta, Struct

from cl_ner_bench.corpora.sentence import PARTS, Sentence
from cl_ner_bench.corpora.synthetic.writer import VERSION, Names, Writer, pick
from cl_ner_bench.errors import short
from cl_ner_bench.validation import MisfitError, Positive, Share, Whole

_Type = Literal["PERSON", "ORG", "GPE", "NORP", "DATE", "CARDINAL"]
TYPES: tuple[str, ...] = get_args(_Type)
_SHORTEST, _LONGEST = 3, 35
_EMPTY = 0.18  # share of sentences without entities


class Size(Struct, frozen=True, forbid_unknown_fields=True):
    """The number of sentences of each part."""

    train: Positive
    dev: Positive
    test: Positive


class GeneratorOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """The reader options of a generated corpus.

    ``types``: the labelled types. ``co_occurrence``: the share of sentences with two or more types. ``ambiguity``: how
    often a name is one that several types share, if the context shows its type. ``unseen_rate``: how often a name in
    dev and test is made of parts that training never sees.
    """

    size: Size = Size(1050, 300, 450)
    types: Annotated[tuple[_Type, ...], Meta(min_length=1, description=f"a list of some of {', '.join(TYPES)}")] = (
        get_args(_Type)
    )
    co_occurrence: Share = 0.5
    ambiguity: Share = 0.5
    unseen_rate: Share = 0.4
    seed: Whole = 1

    def __post_init__(self) -> None:
        if len(self.types) > len({*self.types}):
            raise MisfitError("types", "each type once", short(list(self.types)))
        if self.co_occurrence > 1 - _EMPTY:
            raise MisfitError("co_occurrence", f"a number from 0 to {1 - _EMPTY:g}", short(self.co_occurrence))
        if len(self.types) == 1 and self.co_occurrence > 0:
            raise MisfitError("co_occurrence", "0 for one type: it is the share of sentences with two")


def generate(options: GeneratorOptions) -> dict[str, tuple[Sentence, ...]]:
    """Return the sentences of train, dev and test."""
    names = Names(_rng(options.seed, "names"))
    parts = {}
    for part in PARTS:
        rate = 0.0 if part == "train" else options.unseen_rate
        rows: list[Sentence] = []
        written: set[tuple[str, ...]] = set()
        for i in range(getattr(options.size, part)):
            rng = _rng(options.seed, part, i)
            draw = rng.random()
            wanted = 0 if draw < _EMPTY else 2 if draw < _EMPTY + options.co_occurrence else 1
            writer = Writer(rng, names, options.ambiguity, rate)
            while True:  # until a sentence fits. It depends only on the sentences before it in its part
                words, mentions = writer.write()
                kept = tuple(m for m in mentions if m.type in options.types)
                fits = _SHORTEST <= len(words) <= _LONGEST and min(len({m.type for m in kept}), 2) == wanted
                if fits and words not in written and _part_of(words) == part:
                    break
            written.add(words)
            rows.append(Sentence(i, words, kept))
        parts[part] = tuple(rows)
    return parts


def generator_files() -> list[tuple[str, Path]]:
    """Return name and path of each file that, with the options, determines a generated corpus."""
    folder = Path(__file__).parent
    found = sorted(path for end in ("py", "txt") for path in folder.rglob(f"*.{end}"))
    return [(path.relative_to(folder).as_posix(), path) for path in found]


def _part_of(words: tuple[str, ...]) -> str:
    """Return the only part that a text may stand in. It depends on the text alone, so no two parts share a text."""
    return pick(_rng("part", *words), PARTS)


def _rng(*key: object) -> Random:
    # Random hashes a text seed by sha512, so the seed does not depend on PYTHONHASHSEED.
    return Random("/".join(map(str, ("cl_ner_bench synthetic", VERSION, *key))))
