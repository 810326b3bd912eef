"""Quoted test sentences of a corpus: mentions that a method found and then lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cl_ner_bench.storage.run_record import RunRecord


@dataclass(frozen=True)
class Quote:
    """A gold mention that was right after step ``before`` and wrong after ``step``, with its sentence.

    ``text``: the words before the mention, of the mention and after it. ``was`` and ``now``: words and type of the
    predictions that overlap the mention after these two steps. ``task``: the task of ``step``. ``again``: the first
    later step after which the mention was right, or 0.
    """

    sentence: int
    text: tuple[str, str, str]
    before: int
    step: int
    task: str
    was: tuple[tuple[str, str], ...]
    now: tuple[tuple[str, str], ...]
    again: int


@dataclass(frozen=True)
class QuotedRun:
    """The quotes from one run by type, and the number of mentions of each type that the run found and then lost."""

    run: RunRecord
    quotes: Mapping[str, tuple[Quote, ...]]
    numbers: Mapping[str, int]


@dataclass(frozen=True)
class Quotes:
    """The quotes of a report. ``licences``: each corpus's warning (empty if it may be shared) and licence."""

    runs: tuple[QuotedRun, ...]
    licences: tuple[tuple[str, str], ...]
    per_type: int

    @property
    def meaning(self) -> str:
        """Return the sentence that stands above the quotes."""
        return (
            f"At most {self.per_type} of each type, from the first run of each method; those that stay lost come "
            "first. In bold: the mention. After a step: what was predicted over its words."
        )
