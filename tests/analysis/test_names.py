"""Printed names of measures: one for each column, and the words that users may write for them."""

from __future__ import annotations

import pytest

from cl_ner_bench.analysis.data.frames import STEP_GAPS
from cl_ner_bench.analysis.scores.measures import MEASURES
from cl_ner_bench.analysis.scores.names import NAMES, measure_key
from cl_ner_bench.errors import UserError


def test_every_measure_has_a_name_of_its_own() -> None:
    assert set(NAMES) == {*MEASURES, *STEP_GAPS}
    assert len({NAMES[key].title for key in MEASURES}) == len(MEASURES)


def test_changes_and_differences_are_never_marked_as_best() -> None:
    assert [NAMES[key].ranks for key in ("task_macro_f1", "learning", "forgetting", "bwt", "gap")] == [
        *(True, True),
        *(False, False, False),
    ]


def test_users_name_measures_by_a_word_or_a_column() -> None:
    assert [measure_key(word) for word in ("micro", "type", "task", "bwt", "macro_f1")] == [
        *("micro_f1", "macro_f1", "task_macro_f1", "bwt", "macro_f1")
    ]
    with pytest.raises(UserError, match=r"unknown measure 'forgeting'\. Did you mean 'forgetting'"):
        measure_key("forgeting")
