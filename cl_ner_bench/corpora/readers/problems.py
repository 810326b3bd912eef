"""Readers' reports about files: problems, for which a corpus is refused, and places that are read by a convention."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from cl_ner_bench.errors import UserError


class Problem(NamedTuple):
    """A problem: its place, its text and its fix. ``line`` counts from 1; 0 means the whole file.

    ``kind`` is a short name (``columns``, ``encoding``, ``duplicate``) by which the doctor groups its findings.
    """

    kind: str
    path: Path
    line: int
    text: str
    fix: str

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}" if self.line else str(self.path)
        return f"{where}: {self.text}. {self.fix}."


# Kinds of places that are read by a convention: what they are, and how they are read.
CONVENTIONS = {
    "illegal tag": (
        "tags that are illegal in their scheme",
        "read as the CoNLL script does: a mention begins at B or S, where the type changes, and after O, E or S",
    ),
    "comment": ("lines that look like rows but begin with the comment prefix", "skipped"),
    "other columns": (
        "files with more columns of tags than are read",
        "read without them; a card may name all in 'tag_columns'",
    ),
    "inside a word": (
        "mentions that begin or end inside a word or on a blank",
        "read as the whole words that they touch",
    ),
    "discontinuous": ("mentions with gaps", "left out: a mention is one run of words"),
    "across lines": ("mentions that go on in the next line", "left out: a line is a sentence"),
    "rejected": ("texts that their annotator rejected, ignored or cancelled", "left out"),
    "unlabelled": (
        "texts without an annotation that counts",
        "left out, as it is not known whether they hold names",
    ),
    "annotators": (
        "texts that several annotators marked in different ways",
        "read as 'annotator' in the card says: by default as marked in the ground truth, else in the first annotation",
    ),
    "utf-16": (
        "marks whose offsets count UTF-16 units, as JavaScript does",
        "read so, as the text of this mark, or of another one of the same text, stands only there",
    ),
    "offsets": (
        "texts whose marks fit at two places, by characters and by UTF-16 units",
        "read by characters, as no mark of the text decides",
    ),
    "untyped": ("marks without a type", "left out"),
    "two keys": ("sentences with labels under two keys", "read from one of them"),
    "code page": (
        "lines that are not UTF-8",
        "read as Windows-1252, of which Latin-1 is a part; a card may name another 'encoding'",
    ),
}
LEFT_OUT = ("rejected", "unlabelled")
"""Kinds that leave a whole text out."""

# Kinds of places that are read as their form says; nothing is wrong there. What they are, and how they are read.
NOTES = {
    "comment line": ("comment lines", "skipped, as their form says"),
    "header": ("files whose first row names the columns", "read by these names"),
    "columns found": (
        "files whose word or tags stand in other columns than the first and the last",
        "read so; a card may name 'word_column' and 'tag_columns'",
    ),
    "no word": ("rows of multi-word tokens and empty nodes (3-4, 5.1)", "skipped: their words have rows of their own"),
    "blank token": ("texts with tokens that are blanks alone", "left out, as they are no words"),
    "other writing": ("files with tags that are written in another way than B-PER", "read so"),
    "no type": (
        "files with tags without a type (B, I, O)",
        'read as one type; name it in a card: [reader_options] type = "DISEASE"',
    ),
    "no words": ("texts without words", "left out"),
    "no mention": ("annotations other than mentions", "left out"),
}


class Report:
    """The receiver of a reader's problems and remarks. This class raises at the first problem; the doctor's report
    (``doctor.Findings``) collects all problems.

    A reader calls ``problem``. If that returns, the reader leaves out the line, the sentence or the file that it cannot
    read, and continues behind it. ``remark`` is for facts about a whole file or folder. ``convention`` is for each
    place that is read by a convention, ``note`` for each place that is read as its form says. ``remarks`` gives their
    number and the first place of each kind.
    """

    def __init__(self) -> None:
        self._remarks: list[str] = []
        self._counts: dict[str, int] = {}
        self._firsts: dict[str, str] = {}

    @property
    def remarks(self) -> list[str]:
        """The remarks so far, and one sentence for each kind of convention and note that was needed."""
        counted = []
        for kind, number in self._counts.items():
            what, how = CONVENTIONS.get(kind) or NOTES[kind]
            counted.append(f"{what}: {number:,} (the first: {self._firsts[kind]}); {how}")
        return self._remarks + counted

    @property
    def left_out(self) -> int:
        """The number of texts that were left out."""
        return sum(self._counts.get(kind, 0) for kind in LEFT_OUT)

    def problem(self, kind: str, path: Path, line: int, text: str, fix: str) -> None:
        """Raise UserError."""
        raise UserError(str(Problem(kind, path, line, text, fix)))

    def convention(self, kind: str, path: Path, line: int, text: str) -> None:
        """Count a place of one of the kinds of ``CONVENTIONS``; ``text`` says what stands there."""
        self.note(kind, path, line, text)

    def note(self, kind: str, path: Path, line: int, text: str) -> None:
        """Count a place of one of the kinds of ``NOTES``. ``line`` 0 means the whole file."""
        self._counts[kind] = self._counts.get(kind, 0) + 1
        self._firsts.setdefault(kind, f"{path}:{line}: {text}" if line else f"{path}: {text}")

    def remark(self, text: str) -> None:
        self._remarks.append(text)


class Place(NamedTuple):
    """A place in a file, and the report about it. ``item`` is the number of an object that shares its line with the
    object before it, else 0.
    """

    report: Report
    path: Path
    line: int
    item: int = 0

    def problem(self, kind: str, text: str, fix: str) -> None:
        """Report a problem at this place."""
        self.report.problem(kind, self.path, self.line, f"{self._item}{text}", fix)

    def convention(self, kind: str, text: str) -> None:
        """Report that this place is read by a convention."""
        self.report.convention(kind, self.path, self.line, f"{self._item}{text}")

    @property
    def _item(self) -> str:
        return f"object {self.item:,}: " if self.item else ""


class SilentReport(Report):
    """A report that ignores problems, for a first pass over a file that is then read again."""

    def problem(self, kind: str, path: Path, line: int, text: str, fix: str) -> None:
        """Do nothing."""
