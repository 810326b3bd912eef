"""The doctor's findings: errors, for which loading refuses a corpus, and warnings."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

from cl_ner_bench.corpora.readers.problems import CONVENTIONS, Problem, Report
from cl_ner_bench.errors import UserError

SHOWN = 5  # findings of one kind that are shown by default

# The warnings in the order in which they are shown, each with what it means.
WARNINGS = {
    "byte order mark": "files that begin with a byte-order mark",
    "line ends": "lines that end with CRLF",
    **{kind: what for kind, (what, _) in CONVENTIONS.items()},
    "type name": "type names that look like a slip",
    "many types": "types that are hardly ever used twice",
    "all words": "parts where nearly every word is in a mention",
    "no words": "parts whose words look like numbers or tags",
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

    ``path`` is "" if a card or an option was refused. ``line`` is 0 for a finding about the whole file.
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
        """Note an error. A file whose rows were refused is not reported as ``empty`` again."""
        if kind == "empty" and path in self._refused:
            return
        self._refused.add(path)
        self._note(Finding("error", kind, str(path), line, str(Problem(kind, path, line, text, fix))))

    def convention(self, kind: str, path: Path, line: int, text: str) -> None:
        """Note a place that loading reads by a convention."""
        how = CONVENTIONS[kind][1]
        self.warn(kind, path, line, text, f"Mend it, or accept that it is {how}")

    def refused(self, error: UserError) -> None:
        """Note an error that ended the reading of a part or of the corpus."""
        self._note(Finding("error", "refused", "", 0, str(error)))

    def warn(self, kind: str, path: Path, line: int, text: str, fix: str) -> None:
        """Note something that loads but may mislead."""
        self._note(Finding("warning", kind, str(path), line, str(Problem(kind, path, line, text, fix))))

    @property
    def n_errors(self) -> int:
        return sum(n for (level, _), n in self.totals.items() if level == "error")

    def groups(self) -> list[tuple[str, str, list[Finding], int]]:
        """Return (level, kind, kept findings, total) of each kind: errors in the order of their first findings, then
        warnings in the order of ``WARNINGS``.
        """
        order = {kind: i for i, kind in enumerate(WARNINGS)}
        keys = sorted(self.totals, key=lambda key: (key[0], order[key[1]] if key[0] == "warning" else 0))
        return [(*key, self._kept[key], self.totals[key]) for key in keys]

    def _note(self, finding: Finding) -> None:
        key = finding.level, finding.kind
        self.totals[key] += 1
        if self.shown is None or len(self._kept[key]) < self.shown:
            self._kept[key].append(finding)
