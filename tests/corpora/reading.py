"""Helpers of the tests of readers: read one file, and collect all problems and remarks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from cl_ner_bench.corpora.readers.folder import read_rows
from cl_ner_bench.corpora.readers.options import ReaderOptions
from cl_ner_bench.corpora.readers.problems import Problem, Report
from cl_ner_bench.corpora.sentence import Mention
from cl_ner_bench.errors import UserError

Read = list[tuple[str, list[tuple[int, int, str]]]]  # words joined by "|", mentions


class Collected(Report):
    """Goes on after problems, as the doctor's report does."""

    def __init__(self) -> None:
        super().__init__()
        self.problems: list[Problem] = []

    def problem(self, kind: str, path: Path, line: int, text: str, fix: str) -> None:
        self.problems.append(Problem(kind, path, line, text, fix))

    @property
    def places(self) -> list[tuple[str, int]]:
        """Kind and line of each problem."""
        return [(problem.kind, problem.line) for problem in self.problems]


def read(path: Path, report: Report | None = None, **options: Any) -> Read:
    rows = read_rows(path, ReaderOptions.of(options, "card"), report or Report())
    return [("|".join(row.words), [tuple(m) for m in row.mentions]) for row in rows]


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def assert_refused(path: Path, line: int, said: str, **options: Any) -> None:
    """Reading ends in one message that names the place and suggests a fix."""
    with pytest.raises(UserError) as caught:
        read(path, **options)
    message = str(caught.value)
    assert message.startswith(f"{path}:{line}: " if line else f"{path}: "), message
    assert said in message
    assert re.search(r"\. [A-Z'].+\.$", message), "no suggested fix"
    assert "\n" not in message
    assert len(message) < 600


def mentions(*found: tuple[int, int, str]) -> tuple[Mention, ...]:
    return tuple(Mention(*mention) for mention in found)
