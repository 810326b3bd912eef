"""The tags of one file: their writing, their scheme and the mentions that they denote."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from cl_ner_bench.corpora import schemes
from cl_ner_bench.corpora.readers.options import ReaderOptions, rename
from cl_ner_bench.corpora.readers.problems import Report
from cl_ner_bench.corpora.sentence import Mention
from cl_ner_bench.errors import short

# Prefixes in another writing: B_PER, I:PER; PER-B, PER_I; b-per, per-b; B, B-.
_FRONT = re.compile(r"(?P<letter>[BIESLUM])[_:.|/](?P<type>\w.*)", re.DOTALL)
_BACK = re.compile(r"(?P<type>.*\w)[-_:.|/](?P<letter>[BIESLUM])", re.DOTALL)
_LOWER = re.compile(r"(?P<letter>[bieslum])[-_:.|/](?P<type>.+)", re.DOTALL)
_LOWER_BACK = re.compile(r"(?P<type>.*\w)[-_:.|/](?P<letter>[bieslum])", re.DOTALL)
_BARE = re.compile(r"(?P<letter>[BIESLUM])[-_]?(?P<type>)", re.IGNORECASE)
UNNAMED = "ENTITY"  # the type of bare tags that nobody named
_NO_NAME = ("-", "_", "0", "o", "none", "null", "other", "out", "outside")
_MANY = 100  # words: a longer column without any O does not look like tags


class Tags:
    """A decoder of the tag sequences of one file.

    Each call of ``sentences`` returns all tag sequences of the file. They are searched for the scheme if ``options`` do
    not give it. If ``options`` give IO, they are searched for ``I-``, which IO may lack. Tags without a type (B, I, O)
    denote mentions of ``options.type``, or of ``UNNAMED``.
    Problems: ``tags``. Conventions: ``illegal tag``. Notes: ``other writing``, ``no type``.
    """

    def __init__(
        self, path: Path, options: ReaderOptions, report: Report, sentences: Callable[[], Iterable[Sequence[str]]]
    ) -> None:
        self._path, self._report = path, report
        self.scheme: str = options.scheme
        self.prefixed = True
        # A problem of the whole file: its text, its fix, and the tags that it is about (empty: all).
        self._fault: tuple[str, str, Collection[str]] | None = None
        self._told = False
        self._written: Mapping[str, str] = {}  # each tag in another writing, and the tag as BIOES writes it
        if options.scheme in ("auto", "IO"):
            statistics = _statistics(sentences())
            self._written = _writing(statistics, options)
            if self._written:
                self._fault = _mixed_case(statistics, options)
                if not self._fault:
                    self._tell_writing()
                statistics = _statistics([self._written.get(t, t) for t in tags] for tags in sentences())
            self.scheme = statistics.scheme if options.scheme == "auto" else "IO"
            self.prefixed = statistics.prefixed
            if not self.prefixed:
                self._fault = _fault(statistics)

    def mentions(self, tags: Sequence[str], numbers: Sequence[int]) -> tuple[Mention, ...] | None:
        """Return the mentions of one sentence, or None after a problem. ``numbers`` are the lines of its tags."""
        if tags.count("O") == len(tags):
            return ()
        if self._fault:
            *fault, about = self._fault
            first = next((i for i, tag in enumerate(tags) if tag in about), None) if about else 0
            if first is not None:
                if not self._told:
                    self._report.problem("tags", self._path, numbers[first], *fault)
                self._told = True
                return None
        if self._written:
            tags = [self._written.get(tag, tag) for tag in tags]
        wrong = [i for i, tag in enumerate(tags) if tag != "O" and schemes.has_prefix(tag) != self.prefixed]
        for i in wrong:
            expected = "O or B-, I-, E-, S- and a type" if self.prefixed else "O or a bare type, as most tags here"
            text = f"unknown tag {short(tags[i])}, expected {expected}"
            fix = (
                "Write O for words outside of all mentions"
                if tags[i].lower() in _NO_NAME
                else "Use one scheme in a file"
            )
            self._report.problem("tags", self._path, numbers[i], text, fix)
        if wrong:
            return None
        if self.prefixed:
            for i, text in schemes.illegal(tags, self.scheme):
                self._report.convention("illegal tag", self._path, numbers[i], text)
        return schemes.to_mentions(tags, self.prefixed)

    def _tell_writing(self) -> None:
        tag, read = min(item for item in self._written.items() if item[1] != "O")
        kind = "no type" if _BARE.fullmatch(tag) else "other writing"
        self._report.note(kind, self._path, 0, f"{short(tag)} as {short(read)}")


def _statistics(sentences: Iterable[Sequence[str]]) -> schemes.TagStatistics:
    statistics = schemes.TagStatistics()
    for tags in sentences:
        statistics.add(tags)
    return statistics


def _writing(statistics: schemes.TagStatistics, options: ReaderOptions) -> dict[str, str]:
    """Map each tag in another writing to the tag as BIOES writes it. Nothing is mapped if tags are bare types, or are
    in the usual writing.

    All tags without a usual prefix must have one writing, and one of them must begin a mention: a ``B``, or also an
    ``I`` if letters stand alone or before a type. Behind a type, lower-case letters may be part of it (vitamin-b): they
    count only if ``o`` stands for O, or one type has both ``b`` and ``i``. Only lower-case prefixes may stand beside
    usual ones.
    """
    plain = statistics.plain_tags
    if not statistics.prefixes and _in_one_way(plain - {"o"}, _BARE, "BbIi"):
        return _as_bioes(plain, _BARE, options.type or UNNAMED)
    if not statistics.prefixes:
        for pattern, letters in ((_FRONT, "BI"), (_BACK, "B")):
            if _in_one_way(plain, pattern, letters):
                return _as_bioes(plain, pattern)
        sure = "o" in plain or any(f"{tag[:-1]}i" in plain for tag in plain if tag.endswith("b"))
        if sure and _in_one_way(plain - {"o"}, _LOWER_BACK, "b"):
            return _as_bioes(plain, _LOWER_BACK)
    letters = "bi" if statistics.prefixes else "b"
    if _in_one_way(plain - {"o"}, _LOWER, letters) or ("o" in plain and _in_one_way(plain - {"o"}, _LOWER, "bies")):
        return _as_bioes(plain, _LOWER)
    return {}


def _in_one_way(tags: Collection[str], pattern: re.Pattern[str], letters: str) -> bool:
    matches = [*map(pattern.fullmatch, tags)]
    return all(matches) and any(match and match["letter"] in letters for match in matches)


def _as_bioes(tags: Collection[str], pattern: re.Pattern[str], type_: str = "") -> dict[str, str]:
    matches = {tag: pattern.fullmatch(tag) for tag in tags}
    return {t: f"{m['letter'].upper()}-{type_ or m['type']}" if m else "O" for t, m in matches.items()}


def _mixed_case(statistics: schemes.TagStatistics, options: ReaderOptions) -> tuple[str, str, Collection[str]] | None:
    """Return a problem, its fix and its tags if only some prefixes are in lower case and ``rename`` does not name their
    types; else None.
    """
    tags = sorted(statistics.tags, reverse=True)
    upper = {schemes.split_tag(tag)[1]: tag for tag in tags if schemes.has_prefix(tag)}
    lower = {match["type"]: tag for tag in tags if (match := _LOWER.fullmatch(tag))}
    if not upper or not lower or lower.keys() <= options.rename.keys():
        return None
    twins = {type_.casefold(): type_ for type_ in upper}
    names = {type_: twins.get(type_.casefold(), type_) for type_ in sorted(lower)}
    one = min(lower, key=lambda type_: (type_.casefold() not in twins, type_))
    tag, twin = lower[one], upper.get(names[one], min(upper.values()))
    text = f"tags in upper and in lower case, like {short(twin)} and {short(tag)}"
    fix = f"Write them in one way, or name each type in a card: {rename(names)}"
    return text, fix, statistics.plain_tags


def _fault(statistics: schemes.TagStatistics) -> tuple[str, str, Collection[str]] | None:
    """Return a problem, its fix and its tags if bare tags cannot be IO tags, else None."""
    if statistics.plain >= _MANY and not statistics.outside:
        fix = "Tag words outside of all mentions by O, or say which column holds the tags ('tag_columns')"
        return "no word of this file is tagged O", fix, ()
    plain = statistics.plain_tags
    for pattern in (_FRONT, _BACK):
        for tag in sorted(plain):
            if _begins_and_goes_on(tag, pattern, plain):
                text = f"some tags are written like {short(tag)}, others are bare types"
                return text, "Write B- or I- and a type, like B-PER, in all of them", ()
    return None


def _begins_and_goes_on(tag: str, pattern: re.Pattern[str], tags: Collection[str]) -> bool:
    match = pattern.fullmatch(tag)
    if match is None or match["letter"] != "B":
        return False
    at = match.start("letter")
    return f"{tag[:at]}I{tag[at + 1 :]}" in tags
