"""A process does not grow with its runs, nor a cost faster than the corpus: benchmarks/memory, small."""

from __future__ import annotations

import pytest

from benchmarks.memory import (
    MOST_GROWTH,
    MOST_MEMORY,
    TENFOLD,
    WORK,
    growth,
    in_a_process,
    made_up,
    memory_share,
    predicted,
    time_ratio,
)


def test_runs_in_one_process_leave_no_memory_behind() -> None:
    held = in_a_process(20)
    assert len(held) == 20
    assert growth(held) < MOST_GROWTH, held


def test_growth_is_told_from_the_third_run() -> None:
    assert growth([50, 90, 100, 103, 110]) == pytest.approx(0.1)


@pytest.mark.parametrize("name", WORK)
def test_ten_times_the_sentences_take_no_more_than_their_share(name: str) -> None:
    # What grows with the square would take 100 times as long; the bound of 10.5 is the benchmark's, at full size.
    small, large = ((corpus, predicted(corpus)) for corpus in (made_up(300), made_up(300 * TENFOLD)))
    _, ratio, _ = time_ratio(WORK[name], small, large, 3)
    assert ratio < 2 * TENFOLD
    assert memory_share(300 * TENFOLD, WORK[name]) < MOST_MEMORY
