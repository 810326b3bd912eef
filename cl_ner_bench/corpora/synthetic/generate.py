"""The generated corpus: news-like English from an own grammar, with OntoNotes' six types.

It exists so that everything runs without licensed text, and it is built to have the difficulties that make continual
NER hard: one surface form names a person, a company or a city, a number is a CARDINAL, part of a DATE or no entity at
all (room seven, seven percent), demonyms are also languages and months also given names; only the context tells.
About half of the sentences hold several types, some hold none, and many test names never occur in training.

All text is lower-case, so nothing depends on letter case. The corpus is a function of the arguments and ``VERSION``
alone: it uses no other source of randomness than ``random()`` of Python's Mersenne twister, which is the same on all
machines and versions. Sentence i of a part is the same for every size.

No two sentences have the same words: every text belongs to one part, whatever the arguments, and a part writes no text
twice. So no test sentence stands in train, of this corpus or of one with other arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, TypeVar

from cl_ner_bench.corpora.sentence import PARTS, Mention, Sentence
from cl_ner_bench.corpora.validation import Shape, Value, check, is_list_of, is_number, is_table_of, is_whole
from cl_ner_bench.errors import UserError

VERSION = 2  # raised with every change that changes a word: numbers of different versions are not comparable
TYPES = ("PERSON", "ORG", "GPE", "NORP", "DATE", "CARDINAL")
_SHORTEST, _LONGEST = 3, 35
_EMPTY = 0.18  # share of sentences without entities
_HELD_OUT = 0.4  # share of each list of names that training never sees

T = TypeVar("T")


def _share(top: float) -> Value:
    return Value(f"a number from 0 to {top:g}", lambda value: is_number(value) and 0 <= value <= top)


_OPTIONS: Mapping[str, Shape] = {
    "size": Value(
        f"a table with a number of sentences for each of {', '.join(PARTS)}",
        lambda value: is_table_of(lambda n: is_whole(n) and n > 0, value) and {*value} == {*PARTS},
    ),
    "types": Value(
        f"a list of some of {', '.join(TYPES)}",
        lambda value: is_list_of(TYPES.__contains__, value, least=1) and len(value) == len({*value}),
        TYPES,
    ),
    "co_occurrence": _share(1 - _EMPTY),
    "ambiguity": _share(1),
    "unseen_rate": _share(1),
    "seed": Value("a whole number", is_whole),
}


def check_options(options: Mapping[str, Any], where: str) -> None:
    """Raises UserError for options of ``generate`` that are none; ``where`` (a card's file) begins the message."""
    check(options, where, _OPTIONS, "reader_options")
    if len(options.get("types", TYPES)) == 1 and options.get("co_occurrence", 1) > 0:
        expected = "0 for one type: it is the share of sentences with two"
        raise UserError(f"{where}: key 'reader_options.co_occurrence': expected {expected}.")


def generate(
    size: Mapping[str, int] | None = None,
    types: Sequence[str] = TYPES,
    co_occurrence: float = 0.5,
    ambiguity: float = 0.5,
    unseen_rate: float = 0.4,
    seed: int = 1,
) -> dict[str, tuple[Sentence, ...]]:
    """Return the sentences of train, dev and test.

    ``size``: sentences per part. ``types``: those that are labelled. ``co_occurrence``: share of sentences with two or
    more types. ``ambiguity``: how often a name that the context makes clear is one that several types share.
    ``unseen_rate``: how often a name in dev and test is made of parts that training never sees.
    Raises UserError for what ``check_options`` refuses.
    """
    size = {"train": 1050, "dev": 300, "test": 450} if size is None else size
    rates = {"co_occurrence": co_occurrence, "ambiguity": ambiguity, "unseen_rate": unseen_rate}
    check_options({"size": size, "types": types, **rates, "seed": seed}, "synthetic")
    names = _Names(_rng(seed, "names"))
    parts = {}
    for part in PARTS:
        rate = 0.0 if part == "train" else unseen_rate
        rows: list[Sentence] = []
        written: set[tuple[str, ...]] = set()
        for i in range(size[part]):
            rng = _rng(seed, part, i)
            draw = rng.random()
            wanted = 0 if draw < _EMPTY else 2 if draw < _EMPTY + co_occurrence else 1
            writer = _Writer(rng, names, ambiguity, rate)
            while True:  # until a sentence fits: it depends on the sentences before it in its part, and on no other
                words, mentions = writer.write()
                kept = tuple(m for m in mentions if m.type in types)
                fits = _SHORTEST <= len(words) <= _LONGEST and min(len({m.type for m in kept}), 2) == wanted
                if fits and words not in written and _part_of(words) == part:
                    break
            written.add(words)
            rows.append(Sentence(i, words, kept))
        parts[part] = tuple(rows)
    return parts


def _part_of(words: tuple[str, ...]) -> str:
    """Return the only part that a text may stand in. It depends on the text alone, so parts of any size share none."""
    return _pick(_rng("part", *words), PARTS)


def _rng(*key: object) -> Random:
    # A text as seed is hashed by sha512: it does not depend on PYTHONHASHSEED.
    return Random("/".join(map(str, ("cl_ner_bench synthetic", VERSION, *key))))


def _pick(rng: Random, items: Sequence[T]) -> T:
    return items[int(rng.random() * len(items))]


# Names --------------------------------------------------------------------------------------------------------


def _words(text: str) -> list[str]:
    return text.split()


_GIVEN = _words("""
    adam agnes alan alice amira anders anita anna anton arthur beatriz ben bruno carla carlos clara daniel
    david diego dina edith elena emil emma erik esther eva farid fatima felix fiona frank gita greta hana
    hannah harold hassan helen henry hugo ida igor ines ingrid irene isaac ivan jack jakob jane javier joan
    john jonas joseph julia karim karl kenji kira lara laura leila leo leon lin lisa louis lucia magda maria
    marta martin maya mei milan mira mohamed nadia nicole nils nina noah nora olga omar oscar pablo paul pedro
    peter petra priya rahul ravi rita robert rosa ruth sam samir sara selma simon sofia stefan susan tariq
    teresa thomas tina tom vera victor walter wei yara yusuf zoe
""")
# Given names that are also months or plain words.
_DOUBLE = _words("april may june august grace hope rose mark will bill faith joy dawn chase drew grant frank victor")
_STEMS = _words("""
    al ander ar as ath bal bar bel ber bor bran bren bur cal car cas cor dal dan dar del dor dun el er es fal
    fen fer gal gar gil gor hal ham har hol hor is jan jar jor kal kar kel kes kin lam lan lar lin lor mal mar
    mel mer mor nar nel nor or os pal par pel per por quar quin ral ran ras rem ron ros sal san sar sel sol
    stan sul tal tar tel tor tul ul val van var ver vil vol wal war wel win yar yor zal zan zel zor
""")
_MIDDLES = ["", "", "", "a", "e", "i", "o", "en", "in", "es", "ing"]
_SHARED_ENDS = _words("ton ford field dale wood ley berg ham by stone worth mont")
_SURNAME_ENDS = _words("son sen ski ova etti ano ez man well er ick enko ian quist dottir otto ais")
_CITY_ENDS = _words("ville burg port stad mouth haven grad minster pur abad chester polis ejo anca oba iru")
_COUNTRY_ENDS = _words("ia land stan ania ovia oria")
_BRAND_ENDS = _words("tex ix onics soft gen tronic ola co net via com lux")
_GROUPS = _words("""
    unionists reformists royalists federalists pacifists separatists loyalists centrists agrarians
    traditionalists progressives sufis lutherans calvinists methodists orthodox quakers buddhists jesuits
    monarchists populists republicans liberals socialists nationalists conservatives democrats shiites sunnis
    baptists
""")
_ORG_HEADS = _words("""
    corp inc holdings motors airlines bank sons group industries partners media foods energy brothers pharma shipping
    steel insurance press records
""")
_ORG_FIELDS = _words("medical music technical naval law history trade science farm art")
_FIELDS = _words("health finance defense justice trade labor education energy transport culture")
_LETTERS = "bcdfgklmnprstvwxz"


class _Names:
    """Lists of names, each cut into those of training and those that training never sees."""

    def __init__(self, rng: Random) -> None:
        taken: set[str] = {*_GIVEN, *_DOUBLE}

        def coin(pieces: Sequence[Sequence[str]], count: int, shortest: int) -> tuple[list[str], list[str]]:
            made: list[str] = []
            while len(made) < count:
                name = "".join(_pick(rng, choice) for choice in pieces)
                if name not in taken and len(name) >= shortest:
                    taken.add(name)
                    made.append(name)
            return cut(made)

        def coin_word(ends: Sequence[str], count: int) -> tuple[list[str], list[str]]:
            return coin((_STEMS, _MIDDLES, ends), count, shortest=5)

        def cut(items: Sequence[T]) -> tuple[list[T], list[T]]:
            keyed = sorted((rng.random(), i) for i in range(len(items)))
            n = round(len(items) * _HELD_OUT)
            return [items[i] for _, i in keyed[n:]], [items[i] for _, i in keyed[:n]]

        self.given = cut(_GIVEN)
        self.surname = coin_word(_SURNAME_ENDS, 300)
        self.city = coin_word(_CITY_ENDS, 200)
        self.shared = coin_word(_SHARED_ENDS, 200)
        self.brand = coin_word(_BRAND_ENDS, 120)
        self.group = cut(_GROUPS)
        countries = coin_word(_COUNTRY_ENDS, 120)
        self.country = tuple([(name, *_demonym(name)) for name in side] for side in countries)
        self.letters = coin((_LETTERS, "aeio" + _LETTERS, _LETTERS), 80, shortest=3)


def _demonym(country: str) -> tuple[str, str]:
    """Adjective and plural: velmaria, velmarian, velmarians."""
    for end, adjective, plural in (("land", "ish", "ish"), ("stan", "i", "is"), ("oria", "ese", "ese")):
        if country.endswith(end):
            return country.removesuffix(end) + adjective, country.removesuffix(end) + plural
    return country + "n", country + "ns"


# Numbers and dates --------------------------------------------------------------------------------------------

_SMALL = _words("two three four five six seven eight nine ten eleven twelve")
_TENS = _words("twenty thirty forty fifty sixty seventy eighty ninety")
_ORDINALS = _words("first second third fourth fifth sixth seventh eighth ninth tenth")
_MONTHS = _words("january february march april may june july august september october november december")
_UNITS = _words("day week month year decade")
_DAYS = _words("monday tuesday wednesday thursday friday saturday sunday")

# Grammar ------------------------------------------------------------------------------------------------------
# One rule a line, alternatives separated by |. <x> is a rule, {x} a name or number (see _Writer). Capital slots hold
# forms that tell their type themselves ({PER} is 'anna kelson'); small ones stand where the context tells it and may
# hold a bare name that several types share ({per} is 'halton', as {org} and {gpe} may be).

_GRAMMAR = """
sentence: <clause> . | <clause> . | <clause> <when> . | <when> , <clause> . | <clause> , <link> <clause> .
sentence: <clause> <when> , <link> <clause> . | <speaker> <said> that <clause> .
sentence: <clause> , <speaker> <said> . | <speaker> <said> <when> that <clause> . | <short> | <short>
sentence: <plain> . | <plain> . | <plain> , <link> <plain> . | <plain> , <link> <clause> .
sentence: <clause> , <link> <plain> . | <as> , <clause> . | <trap> . | <trap> , <link> <clause> .
sentence: <clause> , <clause> , and <clause> . | <clause> <when> , <link> <long> . | <long> .
sentence: <long> , <link> <clause> . | <clause> , <link> <trap> . | " <plain> , " <speaker> <said> .
sentence: " <clause> , " <speaker> <said> <when> .

short: welcome to {gpe} . | thank you , {per} . | good morning , {per} . | who is {PER} ? | where is {gpe} ?
short: {card} <things> . | <plain> ? | <never> . | what happened in {gpe} ? | goodbye , {per} .
short: {date_bare} . | {nadj} <goods> . | stay calm . | shares of {org} fell . | call {per} at home .
short: why did {per} leave {gpe} ? | nobody <knew> . | {CARD} to {CARD} .
short: live from {gpe} , {PER} reports . | is {org} hiring ? | the {ngroup} lost . | ask {per} .
short: only {card} <things> left .

clause: {per} <pverb> | {PER} , <role> , <pverb> | mr. {last} <pverb> | ms. {last} <pverb>
clause: dr. {last} <pverb> | <role> {PER} <pverb> | {per} , who has {card} children , <pverb>
clause: {PER} and a friend , {given} , <pverb> | {given} 's mother <pverb> | {PER} of {ORG} <pverb>
clause: {PER} met {PER} in {gpe} | the police in {gpe} arrested {PER} | voters in {gpe} chose {PER}
clause: {PER} moved from {gpe} to {gpe} | {PER} was born in {gpe} | {per} joined {org} as <job>
clause: {per} resigned from {org} | {org} <overb> | {org} <overb> | {ORG} <overb> | {ORG} <overb>
clause: shares of {org} <moved> | {org} , based in {gpe} , <overb> | {org} hired {card} <people>
clause: {org} , a maker of <goods> , <overb> | the board of {org} dismissed {PER}
clause: {ORG} named {PER} its <job> | {team} beat {team} in the final | {team} signed a striker from {team}
clause: fans of {team} <crowd> | {PER} scored for {team} | {ORG} said it would close {card} <plants>
clause: investors bought shares in {org} | workers at {org} <crowd> | {org} 's profit <moved>
clause: the mayor of {gpe} <pverb> | the streets of {gpe} were <state> | <people> in {gpe} <crowd>
clause: <people> from {gpe} <crowd> | {gpe} 's airport was <state> | {GPE} and {GPE} <treaty>
clause: {GPE} <gverb> | the government of {GPE} <gverb> | troops entered {gpe}
clause: a train to {gpe} was <state> | the road between {gpe} and {gpe} was <state>
clause: residents of {gpe} <crowd> | it rained in {gpe} | {gpe} , {GPE} , was <state>
clause: the {nadj} <official> <pverb> | the {nadj} <official> , {PER} , <pverb> | {nplural} <crowd>
clause: the {ngroup} <crowd> | {card} {nplural} <crowd> | a {nadj} <thing> was <state>
clause: {nadj} <people> <crowd> | the {nadj} government <gverb> | {PER} , a {nadj} <job> , <pverb>
clause: many {nplural} <crowd> | the {ngroup} and the {ngroup} <treaty> | {per} told the {ngroup} to wait
clause: {nadj} and {nadj} <people> <crowd> | <people> greeted the {nadj} <official>
clause: {card} <people> <crowd> | {card} of the {card} <things> were <state> | about {card} <people> <crowd>
clause: at least {card} <people> were <hurt> | more than {card} <things> were <state>
clause: the storm left {card} <people> <hurt> | {per} owns {card} <things>
clause: {CARD} <things> arrived from {gpe} | {org} lost {card} <things>
clause: {CARD} <people> and {card} <people> <crowd> | {per} bought {card} <things> from {org}
clause: {date_subject} was the <worst> <unit> for <people> | <plain> | the talks lasted {date_span}
clause: {per} stayed in {gpe} for {date_span} | the <thing> , built in {year} , was <state>
clause: {per} was jailed for {date_span} | {date_subject} 's vote was <state>
clause: {date_bare} 's meeting was <state> | {PER} has led {org} since {date_point}
clause: the {date_adj} visit was <state> | the law expired in {date_point} | sales <moved> in {date_point}
clause: the lease of {org} ends in {date_point} | <people> must pay by {date_day}

long: {PER} , who <pdid> after {ORG} <odid> , <pverb> <when>
long: the {nadj} <official> who <pdid> in {gpe} <when> later <pdid>
long: {GPE} , {GPE} and {GPE} <treaty> after {date_span} of war in which {card} <people> were <hurt>
long: {PER} , {PER} and {PER} <pdid> in {gpe} <when>
long: {ORG} , which <odid> <when> , and {org} , which <odid> <when> , <treaty>
long: <people> who <crowd_plain> in {gpe} <when> said that the {nadj} <official> <pdid>
long: of the {card} <people> who came from {gpe} , {card} <crowd> and {card} returned to {gpe} <when>
long: {card} <things> , {card} <things> and {card} <things> were <state> <when>
long: the <thing> that {PER} sold to {org} for $ {num} million <when> was <state> <when>
long: {per} , whose <thing> was <state> in {gpe} , wrote a letter to {PER} of {ORG}

when: on {date_day} | on {date_day} | in {date_point} | in {date_point} | {date_bare} | {date_bare}
when: {date_ago} | for {date_span} | during {date_subject} | since {date_point} | until {date_day}
when: by {date_point} | within {date_span} | after {date_span} | before {date_day}

speaker: {PER} | {per} | mr. {last} | ms. {last} | {ORG} | the {nadj} <official> | a spokesman for {org}
speaker: <role> {PER} | <people> | the <official> | a witness in {gpe} | {GPE} | the {ngroup} | police
speaker: the report | {PER} of {org}
as: as <plain> | because <plain> | although <plain> | when <plain> | after <plain>
link: and | but | while | because | although | so | before | and then | as
said: said | told reporters | argued | claimed | wrote | explained | warned | added | announced | insisted

pverb: <pdid> | <pdid> | <pdid> in {gpe} | <pdid> <when> | visited {GPE} | praised {PER} | worked for {org}
pverb: criticized the {nadj} <official> | wrote {card} <works> | sued {org} | returned to {gpe}
pverb: flew to {gpe} | spoke to {card} <people> | thanked the {ngroup}
pdid: smiled | resigned | refused to comment | won the prize | gave a long speech | lost the election
pdid: took the stage | fell ill | married again | wrote a letter | died at home | lost the case
pdid: was elected | asked for help | apologized | played the piano | left the room | signed the bill
pdid: called a lawyer | cooked dinner | denied the charges | studied law | laughed | cried
role: president | senator | judge | coach | singer | professor | captain | minister | general | novelist
role: chairman | actress | editor
job: chairman | lawyer | pilot | nurse | painter | teacher | chief executive | farmer | adviser | dancer
job: engineer | banker | director

overb: <odid> | <odid> | <odid> <when> | bought {org} | opened <plants> in {gpe} | cut {card} jobs
overb: sold its <plants> to {org} | hired {PER} | recalled {card} <things> | merged with {org}
overb: agreed to build {card} <plants>
odid: reported a loss | raised its prices | declined to comment | cut its dividend | announced a merger
odid: launched a new product | filed for bankruptcy | expanded its network | paid a fine
odid: missed its forecast | delayed the sale | posted higher earnings
moved: rose | fell | dropped sharply | doubled | recovered slightly | were flat | tumbled {num} percent
moved: gained {num} percent
plants: factories | stores | offices | branches | plants | mines | warehouses
goods: wine | toys | carpets | cheese | engines | paper | shoes | software | medicine | furniture | coffee
goods: music

gverb: closed its border | raised taxes | called an election | asked for aid | sent troops | banned imports
gverb: signed a pact with {GPE} | recalled its ambassador from {GPE} | released {card} prisoners
gverb: joined the alliance | denied the report
treaty: signed a treaty | ended the war | resumed talks | share a border | failed to agree
treaty: agreed on a truce
official: minister | ambassador | parliament | army | president | embassy | prime minister | delegation
official: press | police
people: soldiers | students | workers | farmers | tourists | children | doctors | voters | families | miners
people: passengers | teachers | refugees
crowd: cheered | marched | went on strike | demanded an answer | were angry | gathered outside
crowd: waited for hours | voted | sang | fled | crossed the border | complained | held a vigil | prayed
crowd: returned home | lost their homes | protested against {GPE}
hurt: injured | killed | missing | homeless | trapped | rescued
state: empty | closed | destroyed | sold | found | delayed | repaired | flooded | crowded | cancelled
state: approved | attacked | popular
things: trucks | houses | books | ships | cows | bottles | letters | planes | tickets | paintings | bridges
things: computers | votes | chairs
works: novels | songs | plays | poems | essays | letters
thing: bridge | ship | film | museum | factory | song | temple | satellite | novel | railway | hotel | team
worst: worst | best | hardest | busiest | warmest
unit: day | week | month | year | decade
knew: knew | came | cared | answered
never: never again | not yet | no comment | all right | of course | too late

plain: the <thing> was <state> | the weather <may> change | <people> <crowd_plain> | prices <moved> again
plain: there is no <hope> | it was <adj> | the <official> is <adj> | nobody <knew>
plain: the <thing> and the <thing> were <state> | we <will> see the <thing> | this <may> take time
plain: the <goods> was <adj> | <people> and <people> <crowd_plain> | they left a <mark> on the <place>
plain: the <bill> was paid | <pron> gave them a <mark> | the <thing> needs <goods>
plain: some <people> want better <goods> | <pron> bought <goods> | their <hope> is gone
plain: a new <thing> opened | the <official> promised reform | the old <thing> <will> stay
plain: most <people> liked the <thing> | the price of <goods> <moved> | <pron> <pdid>
plain: <pron> saw a <adj> <thing> | <pron> <will> need more <goods> | the <adj> <thing> was near the <place>
plain: <pron> sold the <goods> | the <job> and the <job> <pdid> | a <job> <pdid> | the <role> <pdid>
plain: the <people> were <hurt> | <pron> put the <goods> on the <place>
pron: he | she | they | we | somebody | the boy | my neighbor | a stranger | the woman | an old man
adj: cold | small | strange | ugly | heavy | expensive | quiet | dangerous | beautiful | dirty | famous
adj: green
place: table | floor | boat | wall | field | river | roof | street | stairs | beach
crowd_plain: cheered | marched | went on strike | were angry | waited for hours | sang | complained
crowd_plain: returned home
hope: hope | grace | faith | joy | doubt | grant
may: may | will | could | might
will: will | may | must | can
mark: mark | note | rose | bill | stain
bill: bill | rent | mark | fine

trap: <people> stayed in room {num} | chapter {num} was dull | flight {num} was <state>
trap: the shop opens at {num} o'clock | profits fell {num} percent | she speaks {lang} and {lang}
trap: the book was written in {lang} | he taught {lang} | lessons in {lang} were <state>
trap: the {prize} prize was <state> | the {prize} bridge was <state> | the {prize} river <may> flood
trap: <people> crossed the {prize} river | the {prize} prize went to a <thing> | it cost $ {num} million
trap: the bus on line {num} was <state> | the {ordinal} <thing> was <state> | <people> learned {lang}
trap: page {num} was missing | the {prize} trophy was <state> | it ended in the {ordinal} round
trap: the hotel has a {num} star rating | the {prize} mountains were <state>
"""


def _rules(text: str) -> dict[str, list[list[str]]]:
    rules: dict[str, list[list[str]]] = {}
    for line in filter(None, text.splitlines()):
        name, body = line.split(": ", 1)
        rules.setdefault(name, []).extend(alternative.split() for alternative in body.split("|"))
    return rules


_RULES = _rules(_GRAMMAR)


class _Writer:
    """Writes sentences by expanding the grammar; its methods ``slot_*`` fill the slots."""

    def __init__(self, rng: Random, names: _Names, ambiguity: float, unseen_rate: float) -> None:
        self.rng, self.names, self.ambiguity, self.unseen_rate = rng, names, ambiguity, unseen_rate

    def write(self) -> tuple[tuple[str, ...], list[Mention]]:
        """Return the words and mentions of one sentence."""
        words: list[str] = []
        mentions: list[Mention] = []
        self._expand("sentence", words, mentions)
        return tuple(words), mentions

    def _expand(self, rule: str, words: list[str], mentions: list[Mention]) -> None:
        for token in self.pick(_RULES[rule]):
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
        return _pick(self.rng, items)

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def name(self, sides: Sequence[Sequence[T]]) -> T:
        """A name that training may see, or, at the unseen rate, one that it never sees."""
        return self.pick(sides[self.chance(self.unseen_rate)])

    def bare(self, own: Sequence[Sequence[str]]) -> str:
        return self.name(self.names.shared if self.chance(self.ambiguity) else own)

    # PERSON

    def given(self) -> str:
        return self.pick(_DOUBLE) if self.chance(0.3 * self.ambiguity) else self.name(self.names.given)

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
            return "ORG", f"{self.bare(own)} {self.pick(_ORG_HEADS)}"
        place = self.bare(self.names.city)
        if draw < 0.6:
            return "ORG", f"the ministry of {self.pick(_FIELDS)}"
        if draw < 0.7:
            return "ORG", f"the university of {place}"
        if draw < 0.8:
            return "ORG", f"{place} {self.pick(_ORG_FIELDS)} {self.pick(['college', 'institute', 'society'])}"
        if draw < 0.9:
            return (
                "ORG",
                f"the {self.name(self.names.country)[1]} {self.pick(_ORG_FIELDS)} {self.pick(['council', 'agency'])}",
            )
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
            return "CARDINAL", f"{self.pick(_TENS)} - {self.pick(_SMALL[:8])}"
        return "CARDINAL", f"{self.pick(_SMALL)} {self.pick(['hundred', 'hundred', 'thousand'])}"

    def slot_card(self) -> tuple[str, str]:
        if self.chance(0.4):
            return self.slot_CARD()
        return "CARDINAL", self.year() if self.chance(0.15 * self.ambiguity) else self.pick([*_SMALL, *_TENS])

    # DATE

    def year(self) -> str:
        return str(1900 + int(self.rng.random() * 125))

    def slot_year(self) -> tuple[str, str]:
        return "DATE", self.year()

    def slot_date_day(self) -> tuple[str, str]:
        draw = self.rng.random()
        day = f"{self.pick(_MONTHS)} {1 + int(self.rng.random() * 28)}"
        if draw < 0.4:
            return "DATE", self.pick(_DAYS)
        return "DATE", day if draw < 0.8 else f"{day} , {self.year()}"

    def slot_date_point(self) -> tuple[str, str]:
        draw = self.rng.random()
        if draw < 0.35:
            return "DATE", self.pick(_MONTHS)
        if draw < 0.65:
            return "DATE", self.year()
        if draw < 0.8:
            return "DATE", f"{self.pick(_MONTHS)} {self.year()}"
        if draw < 0.9:
            return "DATE", f"the {self.pick(_ORDINALS[:4])} quarter"
        return "DATE", f"the {self.pick(['spring', 'summer', 'autumn', 'winter'])} of {self.year()}"

    def slot_date_subject(self) -> tuple[str, str]:
        unit, past = self.pick(_UNITS[1:]), f"the {self.pick(['past', 'last', 'next'])} {self.amount()}"
        return "DATE", self.pick([f"last {unit}", f"this {unit}", past, self.pick(_MONTHS)])

    def slot_date_span(self) -> tuple[str, str]:
        return "DATE", self.pick(["", "", "nearly ", "more than "]) + self.amount()

    def slot_date_ago(self) -> tuple[str, str]:
        return "DATE", f"{self.amount()} {self.pick(['ago', 'later', 'earlier'])}"

    def slot_date_adj(self) -> tuple[str, str]:
        return "DATE", f"{self.pick(_SMALL)} - {self.pick(_UNITS)}"

    def slot_date_bare(self) -> tuple[str, str]:
        unit = self.pick(_UNITS[1:])
        return "DATE", self.pick(
            ["yesterday", "today", f"last {unit}", f"earlier this {unit}", f"last {self.pick(_DAYS)}"]
        )

    def amount(self) -> str:
        many = self.chance(0.4)  # of the short units
        return f"{self.pick(_TENS if many else _SMALL)} {self.pick(_UNITS[:4] if many else _UNITS)}s"

    # No entity

    def slot_num(self) -> tuple[str, str]:
        return "", self.pick(_SMALL) if self.chance(0.6) else str(2 + int(self.rng.random() ** 2 * 300))

    def slot_ordinal(self) -> tuple[str, str]:
        return "", self.pick(_ORDINALS)

    def slot_lang(self) -> tuple[str, str]:
        return "", self.name(self.names.country)[1]

    def slot_prize(self) -> tuple[str, str]:
        return "", self.name(self.names.shared)
