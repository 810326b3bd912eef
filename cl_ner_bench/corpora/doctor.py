"""The corpus doctor: every problem of a corpus with its file and line, and what to do about it.

Two levels. An *error* is what loading refuses, told by the readers through their report. A *warning* loads, but
makes a score mean something else than its reader thinks: sentences of test that stand in train, a misspelt type,
words torn by a wrong encoding. Sentences stream by; what is kept of one is a hash of its words.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import unicodedata
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, combinations, pairwise
from pathlib import Path
from typing import Any, NamedTuple

from cl_ner_bench.corpora.card import Card
from cl_ner_bench.corpora.counts import Counts, differences
from cl_ner_bench.corpora.load import Member, check_mentions, find_card, members_of, rows_of
from cl_ner_bench.corpora.readers.lines import Row, short
from cl_ner_bench.corpora.report import CONVENTIONS, Problem, Report
from cl_ner_bench.corpora.sentence import PARTS, Mention
from cl_ner_bench.errors import UserError

SHOWN = 5  # findings of one kind that are shown unless all are asked for
RARE = 10  # test mentions of a type: with fewer, a single one moves its recall by more than 10 points
SHORT = 5  # words: shorter sentences ("Thank you .") recur in any text, so their copies are no leak
LONG_SENTENCE = 2000  # words: above it span methods refuse a sentence (their scores grow with its length)
NO_BREAKS = 1000  # words: no sentence is so long, its blank lines are missing
LONG_WORD = 100  # letters without a mark between them: WordPiece reads more as one [UNK]
WINDOW = 500  # characters: a longer word may not fit the 512 sub-tokens of an encoder's window
LONG_WHOLE = 15  # words: a shorter sentence may well be one name (a title, a line of a list)
MANY_TYPES = 50  # more than that, with less than three mentions each on average, are no types
FEW_WORDS = 100  # of a smaller part nothing is said of how many words are in a mention
RARE_NAME = 50  # a type 50 times rarer than one that differs by one letter is taken for a slip

# The warnings in the order in which they are shown, each with what it means.
WARNINGS = {
    "byte order mark": "files that begin with a byte-order mark",
    "line ends": "lines that end with CRLF",
    **{kind: what for kind, (what, _) in CONVENTIONS.items()},
    "type name": "type names that look like a slip",
    "many types": "types that are hardly ever used twice",
    "all words": "parts where nearly every word is in a mention",
    "no mentions": "parts without a mention",
    "absent type": "types that are absent from a part",
    "rare type": "types with too few test mentions to score",
    "part sizes": "parts out of proportion",
    "counts": "counts that differ from the published ones",
    "leak": "dev or test sentences that stand in an earlier part",
    "duplicate": "sentences that occur twice in a part",
    "conflict": "sentences with the same words and other mentions",
    "two types": "spans with two types",
    "crossing": "mentions that cross",
    "whole sentence": "mentions that are a whole long sentence",
    "no breaks": "sentences that look like whole documents",
    "long sentence": "sentences above the limit of span methods",
    "docstart": "document borders read as sentences",
    "replacement": "characters lost in a conversion (U+FFFD)",
    "mojibake": "UTF-8 that was read as Latin-1",
    "control": "words with control characters",
    "invisible": "words with invisible characters",
    "blank in word": "words with blanks inside",
    "long word": "words of more than 100 letters or 500 characters",
}


class Finding(NamedTuple):
    """One thing that was found: ``level`` is ``error`` or ``warning``, ``message`` names the place and the fix.

    ``path`` is "" where a card or an option was refused, ``line`` 0 where the whole file is meant.
    """

    level: str
    kind: str
    path: str
    line: int
    message: str


class Findings(Report):
    """A report that collects. Of each kind it keeps the first ``shown`` findings (None: all) and the total."""

    def __init__(self, shown: int | None = SHOWN) -> None:
        super().__init__()
        self.shown = shown
        self.totals: Counter[tuple[str, str]] = Counter()
        self._refused: set[Path] = set()
        self._kept: dict[tuple[str, str], list[Finding]] = defaultdict(list)

    def problem(self, kind: str, path: Path, line: int, text: str, fix: str) -> None:
        """Note what loading refuses. That a file gives no sentences follows where its rows were refused."""
        if kind == "empty" and path in self._refused:
            return
        self._refused.add(path)
        self._note(Finding("error", kind, str(path), line, str(Problem(kind, path, line, text, fix))))

    def convention(self, kind: str, path: Path, line: int, text: str) -> None:
        """Note a place that loading reads by a convention."""
        how = CONVENTIONS[kind][1]
        self.warn(kind, path, line, text, f"Mend it, or accept that it is {how}")

    def refused(self, error: UserError) -> None:
        """Note what ended the reading of a part, or of all."""
        self._note(Finding("error", "refused", "", 0, str(error)))

    def warn(self, kind: str, path: Path, line: int, text: str, fix: str) -> None:
        """Note what loads, but should be known."""
        self._note(Finding("warning", kind, str(path), line, str(Problem(kind, path, line, text, fix))))

    @property
    def n_errors(self) -> int:
        return sum(n for (level, _), n in self.totals.items() if level == "error")

    def groups(self) -> list[tuple[str, str, list[Finding], int]]:
        """Level, kind, the kept findings and their total: errors first, as they came, then warnings in their order."""
        order = {kind: i for i, kind in enumerate(WARNINGS)}
        keys = sorted(self.totals, key=lambda key: (key[0], order[key[1]] if key[0] == "warning" else 0))
        return [(*key, self._kept[key], self.totals[key]) for key in keys]

    def _note(self, finding: Finding) -> None:
        key = finding.level, finding.kind
        self.totals[key] += 1
        if self.shown is None or len(self._kept[key]) < self.shown:
            self._kept[key].append(finding)


@dataclass
class Tally(Counts):
    """What was counted in one part."""

    path: Path | None = None  # of its first sentence
    in_mentions: int = 0  # words
    nested: int = 0  # mentions inside another one
    longest: int = 0  # words
    first: dict[str, tuple[Path, int]] = field(default_factory=dict)  # where each type occurs first


@dataclass
class Diagnosis:
    """What the doctor found in one corpus: counts per part, findings, and what the readers remarked."""

    source: str
    parts: dict[str, Tally]
    findings: Findings

    @property
    def healthy(self) -> bool:
        return not self.findings.totals

    def to_json(self) -> dict[str, Any]:
        groups = self.findings.groups()
        return {
            "schema": 1,
            "source": self.source,
            "parts": {
                part: {
                    "sentences": tally.sentences,
                    "words": tally.words,
                    "mentions": tally.types.total(),
                    "nested": tally.nested,
                    "longest": tally.longest,
                    "types": dict(sorted(tally.types.items())),
                }
                for part, tally in self.parts.items()
            },
            "totals": {f"{level}:{kind}": total for level, kind, _, total in groups},
            "problems": [finding._asdict() for _, _, kept, _ in groups for finding in kept],
            "remarks": self.findings.remarks,
        }


def check(dataset: str, data: Path | None = None, shown: int | None = SHOWN) -> Diagnosis:
    """Examine the corpus that ``dataset`` names (see ``load_corpus``); ``shown`` findings of a kind are kept.

    A card that cannot be read is a finding. Raises UserError for a name that stands for nothing, and for text
    that is not there.
    """
    findings = Findings(shown)
    try:
        card, folder = find_card(dataset, data)
    except UserError as error:
        if not (dataset.endswith(".toml") and Path(dataset).is_file()):
            raise
        findings.refused(error)
        return Diagnosis(dataset, {}, findings)
    return Diagnosis(_source(card, folder), _examine(card, folder, findings), findings)


def _source(card: Card, folder: Path | None) -> str:
    if card.reader == "union":
        with suppress(UserError):  # a finding
            members = members_of(card, folder)
            return "; ".join(f"{domain}: {_source(m.card, m.folder)}" for domain, m in members.items())
    if folder is not None:
        return str(folder)
    return f"the Hugging Face hub ({card.hub.repo})" if card.hub else "generated"


def _examine(card: Card, folder: Path | None, findings: Findings) -> dict[str, Tally]:
    where = folder or Path(card.name)
    tallies: dict[str, Tally] = {}
    members: dict[str, _Domain] = {}
    parts: Mapping[str, Iterator[Row]]
    try:
        if card.reader == "union":
            members = {name: _Domain(m, findings) for name, m in members_of(card, folder).items()}
            parts = {part: chain(*[domain.rows(part) for domain in members.values()]) for part in PARTS}
        else:
            parts = rows_of(card, folder, findings)
    except UserError as error:
        if folder is None and card.hub is not None:  # the hub, which gave nothing
            raise
        findings.refused(error)
        return tallies
    copies = _Copies(findings)
    for part, rows in parts.items():
        tally = tallies[part] = Tally()
        try:
            for row in _with_files(rows, findings):
                _count(row, tally)
                _look_at_words(row, findings)
                _look_at_mentions(row, findings)
                copies.look(part, row)
        except UserError as error:
            findings.refused(error)
        if not tally.sentences and not findings.n_errors:
            text, fix = f"no sentences in the {part} part", "A corpus needs train, dev and test"
            findings.problem("empty", where, 0, text, fix)
    if not findings.n_errors:
        for name, domain in members.items():
            domain.look(name, where, findings)
    if not findings.n_errors:
        check_mentions(card, tallies, where, findings)
    _look_at_type_names(card, where, tallies, findings)
    if not findings.n_errors:  # else parts, and what they lack, are not known
        _look_at_parts(tallies, findings)
        _look_at_types(card, where, tallies, findings)
        for difference in differences(card, tallies):
            findings.warn("counts", where, 0, difference, _OTHER_COUNTS)
    return tallies


_OTHER_COUNTS = "Compare the version of the corpus, or correct [counts] of the card"


class _Domain:
    """One corpus of a union, counted as it is before the union renames and chooses its types."""

    def __init__(self, member: Member, findings: Findings) -> None:
        self._member = member
        self._parts = rows_of(member.card, member.folder, findings)
        self._counts = {part: Tally() for part in PARTS}

    def rows(self, part: str) -> Iterator[Row]:
        """The rows of one part as the union has them."""
        for row in self._parts[part]:
            _count(row, self._counts[part])
            yield row._replace(mentions=self._member.of_types(row.mentions))

    def look(self, name: str, where: Path, findings: Findings) -> None:
        try:
            self._member.check_types(self._counts)
        except UserError as error:
            findings.refused(error)
        for difference in differences(self._member.card, self._counts):
            findings.warn("counts", self._member.folder or where, 0, f"{name}: {difference}", _OTHER_COUNTS)


def _with_files(rows: Iterator[Row], findings: Findings) -> Iterator[Row]:
    """The rows; the bytes of each file are looked at when its first row comes by."""
    path = None
    for row in rows:
        if row.path != path:
            path = row.path
            if path.is_file() and path.suffix != ".parquet":
                _look_at_bytes(path, findings)
        yield row


def _look_at_bytes(path: Path, findings: Findings) -> None:
    n_lines = n_crlf = first = 0
    try:
        with path.open("rb") as raw, gzip.open(raw) if raw.peek(2)[:2] == b"\x1f\x8b" else raw as file:
            for n_lines, line in enumerate(file, 1):
                if n_lines == 1 and line.startswith(b"\xef\xbb\xbf"):
                    fix = "Remove it: sed -i '1s/^\\xEF\\xBB\\xBF//' FILE"
                    findings.warn("byte order mark", path, 1, "the file begins with a byte-order mark", fix)
                if line.endswith(b"\r\n"):
                    n_crlf += 1
                    first = first or n_lines
    except (OSError, EOFError, zlib.error):
        return  # broken gzip: the reader comes to it, and says so
    if n_crlf:
        text = f"{n_crlf:,} of {n_lines:,} lines end with CRLF, as on Windows"
        findings.warn("line ends", path, first, text, "Convert the file: sed -i 's/\\r$//' FILE")


def _count(row: Row, tally: Tally) -> None:
    tally.path = tally.path or row.path
    tally.sentences += 1
    tally.words += len(row.words)
    tally.longest = max(tally.longest, len(row.words))
    for _, _, type_ in row.mentions:
        tally.types[type_] += 1
        if type_ not in tally.first:
            tally.first[type_] = row.path, row.line
    reached = 0  # the end of the mention that reaches farthest so far
    for start, end, _ in sorted(row.mentions, key=lambda m: (m.start, -m.end)):
        tally.nested += end <= reached
        tally.in_mentions += max(0, end - max(start, reached))
        reached = max(reached, end)


def _is_flat(mentions: tuple[Mention, ...]) -> bool:
    return all(a.end <= b.start for a, b in pairwise(mentions))


# Words

# One search for all that may be wrong; only the words of a sentence in which it finds something are looked at.
_SUSPECT = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\xa0\u061c\u1680\u2000-\u200f\u2028-\u202f\u205f-\u2064\u2066-\u2069\u3000\ufeff\ufffd]"
    "|\u00c2|\u00c3|\u00e2\u20ac"
)
# Joiners have a use in Persian, in Indic scripts and in emoji, so in ASCII words alone they are an accident.
_JOINERS = "\u200c\u200d"
_INVISIBLE = re.compile("[\xad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")
_LONG = re.compile(rf"\w{{{LONG_WORD + 1}}}|\S{{{WINDOW + 1}}}")
_MOJIBAKE = re.compile("[\u00c2\u00c3][\x80-\xbf\u0152-\u2122]|\u00e2\u20ac")


def _look_at_words(row: Row, findings: Findings) -> None:
    n_words = len(row.words)
    if n_words > LONG_SENTENCE:
        text = f"a sentence of {n_words:,} words: span methods refuse more than {LONG_SENTENCE:,}"
        findings.warn("long sentence", row.path, row.line, text, "Cut it at sentence ends (a blank line in columns)")
    elif n_words > NO_BREAKS:
        text = f"a sentence of {n_words:,} words: the borders of sentences seem to be missing"
        findings.warn("no breaks", row.path, row.line, text, "Write a blank line (in JSONL a row) for each sentence")
    if n_words == 1 and row.words[0] == "-DOCSTART-":
        text, fix = "'-DOCSTART-' stands as a sentence of its own", "Drop it: it marks the start of a document"
        findings.warn("docstart", row.path, row.line, text, fix)
    text = " ".join(row.words)
    blanks = text.count(" ") >= n_words
    odd = not (text.isascii() and text.isprintable()) and _SUSPECT.search(text)
    if blanks or odd:
        for i, word in enumerate(row.words):
            _look_at_word(row, i, word, findings)
    if len(text) > LONG_WORD and _LONG.search(text):
        for i, word in enumerate(row.words):
            if _LONG.search(word):
                text = f"{_word(i, word)} has {len(word):,} characters: encoders read it as unknown, or in part"
                findings.warn("long word", row.path, row.line, text, "Cut it into words, or leave the sentence out")


def _look_at_word(row: Row, i: int, word: str, findings: Findings) -> None:
    def warn(kind: str, text: str, fix: str) -> None:
        findings.warn(kind, row.path, row.line, f"{_word(i, word)} {text}", fix)

    if "\ufffd" in word:
        warn("replacement", "has lost a character (U+FFFD)", "Convert the original file again, from its own encoding")
    if _MOJIBAKE.search(word):
        meant = _repaired(word)
        text = "looks like UTF-8 read as Latin-1" + (f", meant is {short(meant)}" if meant else "")
        warn("mojibake", text, "Convert the original file again, as UTF-8")
    controls = sorted({c for c in word if unicodedata.category(c) == "Cc"})
    if controls:
        warn("control", f"holds the control character U+{ord(controls[0]):04X}", "Remove it")
    elif any(c.isspace() for c in word):
        warn("blank in word", "holds a blank", "Write it as several words, each with its tag")
    rest = word.translate(dict.fromkeys(map(ord, _JOINERS)))
    if _INVISIBLE.search(word) or (rest != word and rest.isascii()):
        found = next(c for c in word if _INVISIBLE.match(c) or c in _JOINERS)
        warn("invisible", f"holds the invisible character U+{ord(found):04X}", "Remove it: it makes two words of one")


def _word(i: int, word: str) -> str:
    return f"word {i + 1} {short(word)}"


def _repaired(word: str) -> str:
    for encoding in ("cp1252", "latin-1"):
        try:
            return word.encode(encoding).decode("utf-8")
        except UnicodeError:
            pass
    return ""


# Mentions


def _look_at_mentions(row: Row, findings: Findings) -> None:
    n_words = len(row.words)
    if n_words >= LONG_WHOLE and any(m.start == 0 and m.end == n_words for m in row.mentions):
        text = f"one mention covers all {n_words} words"
        findings.warn("whole sentence", row.path, row.line, text, "Check where it ends: an O tag may be missing")
    if _is_flat(row.mentions):
        return
    types: dict[tuple[int, int], str] = {}
    around: list[Mention] = []  # those that are still open, the innermost last
    for mention in sorted(row.mentions, key=lambda m: (m.start, -m.end)):
        start, end, type_ = mention
        other = types.setdefault((start, end), type_)
        if other != type_:
            text = f"words {start}-{end} are {short(other)} and {short(type_)}: {_span(row, mention)}"
            findings.warn("two types", row.path, row.line, text, "Keep one: the other counts as missed or as wrong")
        while around and around[-1].end <= start:
            around.pop()
        if around and around[-1].end < end:
            first = around[-1]
            pair = f"{short(first.type)} {first.start}-{first.end} and {short(type_)} {start}-{end}"
            text = f"{pair} overlap, neither inside the other"
            findings.warn("crossing", row.path, row.line, text, "Check their ends; span methods keep one of them")
        around.append(mention)


def _span(row: Row, mention: Mention) -> str:
    return short(" ".join(row.words[mention.start : mention.end]))


# Copies


class _Place(NamedTuple):
    part: str
    path: Path
    line: int
    mentions: tuple[Mention, ...]


class _Copies:
    """Where each sentence was seen first, by a hash of its words."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.first: dict[bytes, _Place] = {}

    def look(self, part: str, row: Row) -> None:
        key = hashlib.blake2b("\0".join(row.words).encode("utf-8", "surrogatepass"), digest_size=8).digest()
        here = _Place(part, row.path, row.line, row.mentions)
        first = self.first.setdefault(key, here)
        if first is here:
            return
        there = f"{first.path.name if first.path.parent == row.path.parent else first.path}:{first.line}"
        if first.mentions != here.mentions:
            odd = min(set(first.mentions) ^ set(here.mentions))
            only = "here" if odd in here.mentions else "there"
            text = f"the words of {there}, but {_span(row, odd)} is {short(odd.type)} only {only}"
            self.findings.warn("conflict", row.path, row.line, text, "Decide which mentions are right")
        elif len(row.words) < SHORT:
            return
        elif first.part != part:
            text = f"this {part} sentence also stands in {first.part} ({there})"
            self.findings.warn("leak", row.path, row.line, text, "Remove it from one of them: it is scored too well")
        else:
            text, fix = f"the words and mentions of {there} again", "Remove it, unless it is meant to weigh double"
            self.findings.warn("duplicate", row.path, row.line, text, fix)


# Parts and types

# What a tag looks like where a type should stand: B_PER, I:PER; other ways to write "no name".
_TAG_LIKE = re.compile(r"[BIESLUM][-_: ].+|[0oO_-]|none|null|nil|nan", re.IGNORECASE)


def _look_at_parts(tallies: Mapping[str, Tally], findings: Findings) -> None:
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
        if tally.sentences > n_train:
            text = f"the {part} part has {tally.sentences:,} sentences, train only {n_train:,}"
            findings.warn("part sizes", tally.path, 0, text, "Check that the files bear the right names")


def _look_at_type_names(card: Card, where: Path, tallies: Mapping[str, Tally], findings: Findings) -> None:
    total, first = _united(tallies)
    if _too_many(total):
        text = f"{len(total):,} types for {total.total():,} mentions"
        findings.warn("many types", where, 0, text, "Check that the tag column is the right one, and stands last")
        return
    for slip, meant in _slips(total, frozenset(card.types)):
        text = f"type {short(slip)} (mentions: {total[slip]:,})"
        if meant:
            text += f" is nearly {short(meant)} ({total[meant]:,})"
            findings.warn("type name", *first[slip], text, f"Write {short(meant)}, or rename it in the card")
        else:
            findings.warn("type name", *first[slip], f"{text} looks like a tag", "Write O, or B-TYPE and I-TYPE")


def _look_at_types(card: Card, where: Path, tallies: Mapping[str, Tally], findings: Findings) -> None:
    total, first = _united(tallies)
    if _too_many(total):
        return
    for type_ in card.types or sorted(total):
        counts = ", ".join(f"{part} {tally.types[type_]:,}" for part, tally in tallies.items())
        absent = [part for part, tally in tallies.items() if not tally.types[type_]]
        if absent:
            text = f"type {short(type_)} never occurs in {' and '.join(absent)} (mentions: {counts})"
            fix = "Divide the sentences anew, or leave the type out of the tasks"
            findings.warn("absent type", *first.get(type_, (where, 0)), text, fix)
        elif tallies["test"].types[type_] < RARE:
            text = f"type {short(type_)} has few test mentions ({counts}): one moves its recall by over 10 points"
            fix = "Add some, or do not compare methods on this type alone"
            findings.warn("rare type", *tallies["test"].first[type_], text, fix)


def _united(tallies: Mapping[str, Tally]) -> tuple[Counter[str], dict[str, tuple[Path, int]]]:
    """Mentions by type in all parts, and where each type occurs first."""
    total: Counter[str] = Counter()
    first: dict[str, tuple[Path, int]] = {}
    for tally in tallies.values():
        total.update(tally.types)
        first = tally.first | first
    return total, first


def _too_many(total: Counter[str]) -> bool:
    return len(total) > MANY_TYPES and total.total() < 3 * len(total)


def _slips(total: Counter[str], declared: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Type names that look like a slip, each with what it should be ("" where it looks like a tag)."""
    for type_ in sorted(total):
        if type_ not in declared and _TAG_LIKE.fullmatch(type_):
            yield type_, ""
    # Case, hyphens and underscores are passed over.
    plain = {type_: re.sub(r"[\W_]", "", type_).casefold() or type_ for type_ in {*total, *declared}}
    for pair in combinations(sorted(plain), 2):
        slip, meant = sorted(pair, key=lambda t: (t in declared, total[t]))
        if slip in declared or not total[slip]:
            continue
        rare = RARE_NAME * total[slip] <= total[meant] or not total[meant]
        if plain[slip] == plain[meant] or (rare and _differ_by_one(slip, meant)):
            yield slip, meant


def _differ_by_one(a: str, b: str) -> bool:
    """Whether one letter that is added, left out or replaced, or two that are exchanged, make ``b`` of ``a``."""
    if min(len(a), len(b)) < 3:
        return False
    head = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    a, b = a[head:], b[head:]
    return a[1:] == b[1:] or a[1:] == b or a == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:])


# What is printed


def as_text(diagnosis: Diagnosis) -> str:
    """The counts of each part, the findings by kind, and at the end what to mend first."""
    lines = [f"{diagnosis.source}"]
    for part, tally in diagnosis.parts.items():
        nested = f", {tally.nested:,} of them nested" if tally.nested else ""
        lines.append(
            f"  {part:5} {tally.sentences:9,} sentences {tally.words:11,} words {tally.types.total():9,} mentions"
            f" of {len(tally.types)} types{nested}; longest sentence {tally.longest:,} words"
        )
    lines += [f"  note: {remark}" for remark in diagnosis.findings.remarks]
    for level, kind, kept, total in diagnosis.findings.groups():
        lines += ["", f"{level} {kind} ({total:,}){': ' + WARNINGS[kind] if kind in WARNINGS else ''}"]
        lines += [f"  {finding.message}" for finding in kept]
        if total > len(kept):
            lines.append(f"  and {total - len(kept):,} more (--all shows them)")
    lines += ["", _verdict(diagnosis.findings)]
    # Lone surrogates cannot be written in UTF-8; the doctor must be able to speak of them.
    return "\n".join(lines).encode("utf-8", "backslashreplace").decode()


def _verdict(findings: Findings) -> str:
    totals = findings.totals
    if not totals:
        return "no problem found"
    errors = findings.n_errors
    kinds = "1 kind" if len(totals) == 1 else f"{len(totals)} kinds"
    problems = "1 problem" if totals.total() == 1 else f"{totals.total():,} problems"
    if errors:
        return f"{problems} of {kinds}; mend the errors first ({errors:,}): loading refuses the corpus until then"
    return f"{problems} of {kinds}; the corpus loads as it is, but know them before you compare scores"
