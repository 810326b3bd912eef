"""The scenario ``split``: every sentence belongs to one task (SpanKL, arXiv 2302.12200, appendix)."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from cl_ner_bench.errors import UserError


def chunks(ids: Sequence[int], n_tasks: int, seed: int, part: str = "train") -> list[tuple[int, ...]]:
    """``ids`` shuffled and cut into ``n_tasks`` consecutive chunks of equal size; the last one takes the remainder.

    Each chunk is given in file order. Sentences without mentions stay: they are a task's true negatives.
    Raises UserError where there are fewer sentences than tasks.
    """
    if len(ids) < n_tasks:
        raise UserError(
            f"{len(ids)} {part} sentences cannot be split among {n_tasks} tasks; give more, or fewer tasks."
        )
    shuffled = list(ids)
    Random(seed).shuffle(shuffled)
    size = len(shuffled) // n_tasks
    ends = [size * (k + 1) for k in range(n_tasks - 1)] + [len(shuffled)]
    return [tuple(sorted(shuffled[size * k : end])) for k, end in enumerate(ends)]
