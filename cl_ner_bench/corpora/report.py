"""What readers have to say about files: problems that forbid a reading, and remarks on how something was read."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from cl_ner_bench.errors import UserError


class Problem(NamedTuple):
    """One thing that is wrong: where, what, and what to do. ``line`` counts from 1; 0 means the whole file.

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


class Report:
    """A reader's ear. This one raises at the first problem; the doctor's (``doctor.Findings``) collects them all.

    A reader calls ``problem`` and, where that returns, leaves out what it cannot read (the line, the sentence, the
    file) and goes on behind it. ``remark`` is for what was read by a convention that the user should know.
    """

    def __init__(self) -> None:
        self.remarks: list[str] = []

    def problem(self, kind: str, path: Path, line: int, text: str, fix: str) -> None:
        """Raise UserError."""
        raise UserError(str(Problem(kind, path, line, text, fix)))

    def remark(self, text: str) -> None:
        self.remarks.append(text)
