"""Names and sentences of the generated corpus, from the word lists and the grammar of a version's folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import TypeVar

from cl_ner_bench.corpora.sentence import Mention

VERSION = 2  # raise it if any word changes: scores of different versions are not comparable
_FOLDER = Path(__file__).parent / f"v{VERSION}"
_HELD_OUT = 0.4  # share of each list of names that training never sees
_LETTERS = "bcdfgklmnprstvwxz"

T = TypeVar("T")


def pick(rng: Random, items: Sequence[T]) -> T:
    return items[int(rng.random() * len(items))]


def _lines(name: str) -> Iterator[tuple[str, str]]:
    """Yield name and content of each line of a text file, without blank lines and comments."""
    for line in (_FOLDER / name).read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            key, content = line.split(": ", 1)
            yield key, content


@cache
def _lists() -> dict[str, list[str]]:
    lists: dict[str, list[str]] = {}
    for name, content in _lines("words.txt"):
        lists.setdefault(name, []).extend(content.split())
    return lists


@cache
def _rules() -> dict[str, list[list[str]]]:
    """Return the alternatives of each rule of the grammar, as tokens."""
    rules: dict[str, list[list[str]]] = {}
    for name, content in _lines("grammar.txt"):
        rules.setdefault(name, []).extend(alternative.split() for alternative in content.split("|"))
    return rules


def _words(name: str) -> list[str]:
    return _lists()[name]


class Names:
    """Lists of names, each cut into names for training and names that training never sees."""

    def __init__(self, rng: Random) -> None:
        taken: set[str] = {*_words("given"), *_words("double")}

        def coin(pieces: Sequence[Sequence[str]], count: int, shortest: int) -> tuple[list[str], list[str]]:
            made: list[str] = []
            while len(made) < count:
                name = "".join(pick(rng, choice) for choice in pieces)
                if name not in taken and len(name) >= shortest:
                    taken.add(name)
                    made.append(name)
            return cut(made)

        def coin_word(ends: Sequence[str], count: int) -> tuple[list[str], list[str]]:
            return coin((_words("stems"), ["", "", "", *_words("middles")], ends), count, shortest=5)

        def cut(items: Sequence[T]) -> tuple[list[T], list[T]]:
            keyed = sorted((rng.random(), i) for i in range(len(items)))
            n = round(len(items) * _HELD_OUT)
            return [items[i] for _, i in keyed[n:]], [items[i] for _, i in keyed[:n]]

        self.given = cut(_words("given"))
        self.surname = coin_word(_words("surname_ends"), 300)
        self.city = coin_word(_words("city_ends"), 200)
        self.shared = coin_word(_words("shared_ends"), 200)
        self.brand = coin_word(_words("brand_ends"), 120)
        self.group = cut(_words("groups"))
        countries = coin_word(_words("country_ends"), 120)
        self.country = tuple([(name, *_demonym(name)) for name in side] for side in countries)
        self.letters = coin((_LETTERS, "aeio" + _LETTERS, _LETTERS), 80, shortest=3)


def _demonym(country: str) -> tuple[str, str]:
    """Return adjective and plural of a country: velmarian and velmarians of velmaria."""
    for end, adjective, plural in (("land", "ish", "ish"), ("stan", "i", "is"), ("oria", "ese", "ese")):
        if country.endswith(end):
            return country.removesuffix(end) + adjective, country.removesuffix(end) + plural
    return country + "n", country + "ns"


class Writer:
    """A writer of sentences by the grammar; the methods ``slot_*`` fill the slots."""

    def __init__(self, rng: Random, names: Names, ambiguity: float, unseen_rate: float) -> None:
        self.rng, self.names, self.ambiguity, self.unseen_rate = rng, names, ambiguity, unseen_rate
        self.rules, self.lists = _rules(), _lists()

    def write(self) -> tuple[tuple[str, ...], list[Mention]]:
        """Return the words and mentions of one sentence."""
        words: list[str] = []
        mentions: list[Mention] = []
        self._expand("sentence", words, mentions)
        return tuple(words), mentions

    def _expand(self, rule: str, words: list[str], mentions: list[Mention]) -> None:
        for token in self.pick(self.rules[rule]):
            if token[0] == "<" and token[-1] == ">":
                self._expand(token[1:-1], words, mentions)
            elif token[0] == "{":
                type_, text = getattr(self, f"slot_{token[1:-1]}")()
                start = len(words)
                words.extend(text.split())
                if type_:
                    mentions.append(Mention(start, len(words), type_))
            else:
                words.append(token)

    def pick(self, items: Sequence[T]) -> T:
        return pick(self.rng, items)

    def word(self, name: str) -> str:
        return pick(self.rng, self.lists[name])

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def name(self, sides: Sequence[Sequence[T]]) -> T:
        """Return a name that training may see, or, at the unseen rate, one that it never sees."""
        return self.pick(sides[self.chance(self.unseen_rate)])

    def bare(self, own: Sequence[Sequence[str]]) -> str:
        return self.name(self.names.shared if self.chance(self.ambiguity) else own)

    # PERSON

    def given(self) -> str:
        return self.word("double") if self.chance(0.3 * self.ambiguity) else self.name(self.names.given)

    def slot_PER(self) -> tuple[str, str]:  # noqa: N802
        last, draw = self.bare(self.names.surname), self.rng.random()
        if draw < 0.1:
            return "PERSON", f"{self.pick(_LETTERS)}. {last}"
        middle = f"{self.pick(_LETTERS)}. " if draw < 0.25 else ""
        return "PERSON", f"{self.given()} {middle}{last}"

    def slot_per(self) -> tuple[str, str]:
        draw = self.rng.random()
        if draw < 0.4:
            return self.slot_PER()
        return self.slot_given() if draw < 0.55 else self.slot_last()

    def slot_given(self) -> tuple[str, str]:
        return "PERSON", self.given()

    def slot_last(self) -> tuple[str, str]:
        return "PERSON", self.bare(self.names.surname)

    # ORG

    def slot_ORG(self) -> tuple[str, str]:  # noqa: N802
        draw = self.rng.random()
        if draw < 0.5:
            own = self.names.surname if self.chance(0.5) else self.names.brand
            return "ORG", f"{self.bare(own)} {self.word('org_heads')}"
        place = self.bare(self.names.city)
        if draw < 0.6:
            return "ORG", f"the ministry of {self.word('fields')}"
        if draw < 0.7:
            return "ORG", f"the university of {place}"
        if draw < 0.8:
            return "ORG", f"{place} {self.word('org_fields')} {self.pick(['college', 'institute', 'society'])}"
        if draw < 0.9:
            adjective = self.name(self.names.country)[1]
            return "ORG", f"the {adjective} {self.word('org_fields')} {self.pick(['council', 'agency'])}"
        return "ORG", f"the {self.name(self.names.group).removesuffix('s')} {self.pick(['party', 'league'])}"

    def slot_org(self) -> tuple[str, str]:
        draw = self.rng.random()
        if draw < 0.35:
            return self.slot_ORG()
        return "ORG", self.name(self.names.letters) if draw < 0.5 else self.bare(self.names.brand)

    def slot_team(self) -> tuple[str, str]:
        town = self.bare(self.names.city)
        return "ORG", f"{town} {self.pick(['united', 'rovers', 'city'])}" if self.chance(0.3) else town

    # GPE and NORP

    def slot_GPE(self) -> tuple[str, str]:  # noqa: N802
        return "GPE", self.name(self.names.country)[0]

    def slot_gpe(self) -> tuple[str, str]:
        draw = self.rng.random()
        if draw < 0.2:
            return self.slot_GPE()
        prefix = self.pick(["new", "port", "east", "san"]) + " " if draw < 0.3 else ""
        return "GPE", prefix + self.bare(self.names.city)

    def slot_nadj(self) -> tuple[str, str]:
        return "NORP", self.name(self.names.country)[1]

    def slot_nplural(self) -> tuple[str, str]:
        return "NORP", self.name(self.names.country)[2]

    def slot_ngroup(self) -> tuple[str, str]:
        return "NORP", self.name(self.names.group) if self.chance(0.6) else self.name(self.names.country)[2]

    # CARDINAL

    def slot_CARD(self) -> tuple[str, str]:  # noqa: N802
        draw = self.rng.random()
        if draw < 0.4:
            return "CARDINAL", str(13 + int(self.rng.random() ** 3 * 5000))
        if draw < 0.6:
            return "CARDINAL", f"{self.word('tens')} - {self.pick(_words('small')[:8])}"
        return "CARDINAL", f"{self.word('small')} {self.pick(['hundred', 'hundred', 'thousand'])}"

    def slot_card(self) -> tuple[str, str]:
        if self.chance(0.4):
            return self.slot_CARD()
        return "CARDINAL", self.year() if self.chance(0.15 * self.ambiguity) else self.pick(
            [*_words("small"), *_words("tens")]
        )

    # DATE

    def year(self) -> str:
        return str(1900 + int(self.rng.random() * 125))

    def slot_year(self) -> tuple[str, str]:
        return "DATE", self.year()

    def slot_date_day(self) -> tuple[str, str]:
        draw = self.rng.random()
        day = f"{self.word('months')} {1 + int(self.rng.random() * 28)}"
        if draw < 0.4:
            return "DATE", self.word("days")
        return "DATE", day if draw < 0.8 else f"{day} , {self.year()}"

    def slot_date_point(self) -> tuple[str, str]:
        draw = self.rng.random()
        if draw < 0.35:
            return "DATE", self.word("months")
        if draw < 0.65:
            return "DATE", self.year()
        if draw < 0.8:
            return "DATE", f"{self.word('months')} {self.year()}"
        if draw < 0.9:
            return "DATE", f"the {self.pick(_words('ordinals')[:4])} quarter"
        return "DATE", f"the {self.pick(['spring', 'summer', 'autumn', 'winter'])} of {self.year()}"

    def slot_date_subject(self) -> tuple[str, str]:
        unit, past = self.pick(_words("units")[1:]), f"the {self.pick(['past', 'last', 'next'])} {self.amount()}"
        return "DATE", self.pick([f"last {unit}", f"this {unit}", past, self.word("months")])

    def slot_date_span(self) -> tuple[str, str]:
        return "DATE", self.pick(["", "", "nearly ", "more than "]) + self.amount()

    def slot_date_ago(self) -> tuple[str, str]:
        return "DATE", f"{self.amount()} {self.pick(['ago', 'later', 'earlier'])}"

    def slot_date_adj(self) -> tuple[str, str]:
        return "DATE", f"{self.word('small')} - {self.word('units')}"

    def slot_date_bare(self) -> tuple[str, str]:
        unit = self.pick(_words("units")[1:])
        return "DATE", self.pick(
            ["yesterday", "today", f"last {unit}", f"earlier this {unit}", f"last {self.word('days')}"]
        )

    def amount(self) -> str:
        if self.chance(0.4):  # many of a short unit
            return f"{self.word('tens')} {self.pick(_words('units')[:4])}s"
        return f"{self.word('small')} {self.word('units')}s"

    # No entity

    def slot_num(self) -> tuple[str, str]:
        return "", self.word("small") if self.chance(0.6) else str(2 + int(self.rng.random() ** 2 * 300))

    def slot_ordinal(self) -> tuple[str, str]:
        return "", self.word("ordinals")

    def slot_lang(self) -> tuple[str, str]:
        return "", self.name(self.names.country)[1]

    def slot_prize(self) -> tuple[str, str]:
        return "", self.name(self.names.shared)
