"""The tags of one file: which scheme they are in, and which mentions they denote."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from cl_ner_bench.corpora import schemes
from cl_ner_bench.corpora.readers.options import ReaderOptions
from cl_ner_bench.corpora.readers.problems import Report
from cl_ner_bench.corpora.sentence import Mention
from cl_ner_bench.errors import short

# Prefixes that are written in another way: B_PER, I:PER; PER-B, PER_I.
_FRONT, _BACK = re.compile(r"([BI])([_:.|/]\w.*)"), re.compile(r"(.*\w[-_:.|/])([BI])")
_MANY = 100  # words without one O that make a column look like something else than tags


class Tags:
    """A decoder of the tag sequences of one file.

    ``sentences`` are all its tag sequences, looked through once where ``options`` does not give the scheme. A scheme
    that is given is not looked for, but IO is written with ``I-`` or without: that is always found out.
    Problems: ``tags``. Conventions: ``illegal tag``.
    """

    def __init__(self, path: Path, options: ReaderOptions, report: Report, sentences: Iterable[Sequence[str]]) -> None:
        self._path, self._report = path, report
        self.scheme: str = options.scheme
        self.prefixed = True
        self._fault: tuple[str, str] | None = None  # what is wrong with the whole file, and what to do
        self._told = False
        if options.scheme in ("auto", "IO"):
            statistics = schemes.TagStatistics()
            for tags in sentences:
                statistics.add(tags)
            self.scheme = statistics.scheme if options.scheme == "auto" else "IO"
            self.prefixed = statistics.prefixed
            if not self.prefixed:
                self._fault = _fault(statistics)

    def mentions(self, tags: Sequence[str], numbers: Sequence[int]) -> tuple[Mention, ...] | None:
        """Return the mentions of one sentence, or None after a problem. ``numbers`` are the lines of its tags."""
        if tags.count("O") == len(tags):
            return ()
        if self._fault:
            if not self._told:
                self._report.problem("tags", self._path, numbers[0], *self._fault)
            self._told = True
            return None
        wrong = [i for i, tag in enumerate(tags) if tag != "O" and schemes.has_prefix(tag) != self.prefixed]
        for i in wrong:
            expected = "O or B-, I-, E-, S- and a type" if self.prefixed else "O or a bare type, as most tags here"
            text = f"unknown tag {short(tags[i])}, expected {expected}"
            self._report.problem("tags", self._path, numbers[i], text, "Use one scheme in a file")
        if wrong:
            return None
        if self.prefixed:
            for i, text in schemes.illegal(tags, self.scheme):
                self._report.convention("illegal tag", self._path, numbers[i], text)
        return schemes.to_mentions(tags, self.prefixed)


def _fault(statistics: schemes.TagStatistics) -> tuple[str, str] | None:
    """Return the problem and its fix where bare tags cannot be IO tags, else None."""
    if statistics.plain >= _MANY and not statistics.outside:
        fix = "Tag words outside of all mentions by O, or say which column holds the tags ('tag_columns')"
        return "no word of this file is tagged O", fix
    for pattern in (_FRONT, _BACK):
        for tag in sorted(statistics.plain_tags):
            if _begins_and_goes_on(tag, pattern, statistics.plain_tags):
                return f"tags are written like {short(tag)}, expected B- or I- and a type", "Write prefixes like B-PER"
    return None


def _begins_and_goes_on(tag: str, pattern: re.Pattern[str], tags: Collection[str]) -> bool:
    match = pattern.fullmatch(tag)
    group = 1 if pattern is _FRONT else 2
    return (
        match is not None and match[group] == "B" and tag[: match.start(group)] + "I" + tag[match.end(group) :] in tags
    )
