"""The scenario ``filter``: a task has every sentence that names one of its types (SpanKL, arXiv 2302.12200, appendix).

Sentences may occur in several tasks, those without mentions in none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from cl_ner_bench.corpora.sentence import Sentence


def holding(sentences: Iterable[Sentence], types: Collection[str]) -> tuple[int, ...]:
    """The ids of the sentences with at least one mention of ``types``."""
    return tuple(s.id for s in sentences if any(m.type in types for m in s.mentions))
