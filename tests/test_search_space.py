"""The space that a card declares for `bench tune`."""

from __future__ import annotations

from pathlib import Path

import pytest

from cl_ner_bench.errors import UserError
from cl_ner_bench.method_card import read_cards
from cl_ner_bench.registry import methods
from cl_ner_bench.search_space import COMMON, Search, space_of, stated

SETTINGS = '"settings": {"kd_weight": 1.0, "n": 3, "on": True, "file": ""}, "files": ["file"]'


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ('{"kd_wieght": {"times": [0.1, 10]}}', "search.kd_wieght': expected one of its own settings .*'kd_weight'?"),
        ('{"file": {"choices": ["a", "b"]}}', "search.file': expected one of its own settings"),
        ('{"kd_weight": {"hi": 3.0}}', "unknown key 'search.kd_weight.hi'; .* Did you mean 'high'?"),
        ('{"kd_weight": {}}', "search.kd_weight': expected one of .*times"),
        ('{"kd_weight": {"low": 0.5, "high": 2.0, "times": [0.1, 10]}}', "search.kd_weight': expected one of"),
        ('{"kd_weight": {"low": 2.0, "high": 3.0}}', "expected bounds that hold its default 1.0"),
        ('{"kd_weight": {"low": 3.0, "high": 1.0}}', "search.kd_weight.high': expected finite bounds, low below high"),
        ('{"kd_weight": {"low": 0, "high": 3, "log": True}}', "search.kd_weight.low': expected a bound above 0"),
        ('{"kd_weight": {"times": [2.0, 10]}}', "search.kd_weight.times': expected a factor above 0 and at most 1"),
        ('{"n": {"low": 1.5, "high": 4}}', "search.n': expected numbers like its default 3"),
        ('{"n": {"choices": [3, 3]}}', "search.n.choices': expected at least two different values"),
        ('{"on": {"times": [0.1, 2]}}', 'search.on\': expected "choices", as its default is True'),
        ('{"lr": {"low": -1.0, "high": 1.0}}', "search.lr': expected values that this hyper-parameter may have"),
    ],
)
def test_a_space_that_does_not_fit_is_refused(search: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "m.py"
    file.write_text(f'CARD = {{"m": {{"architecture": "token", {SETTINGS}, "search": {search}}}}}')
    with pytest.raises(UserError, match=said):
        read_cards(file)


def test_variants_share_a_space_of_the_settings_that_they_have(tmp_path: Path) -> None:
    file = tmp_path / "m.py"
    shared = '"architecture": "token", "search": {"a": {"times": [0.5, 2]}, "lr": None}'
    file.write_text(f'CARD = {{{shared}, "variants": {{"m": {{"settings": {{"a": 1}}}}, "n": {{}}}}}}')
    assert [{*card.search} for card in read_cards(file)] == [{"a", "lr"}, {"lr"}]
    file.write_text(f'CARD = {{{shared}, "variants": {{"m": {{}}, "n": {{}}}}}}')
    with pytest.raises(UserError, match=r"search.a': expected one of its own settings \(none\)"):
        read_cards(file)


def test_times_are_factors_on_the_start_and_leave_off_what_is_off() -> None:
    start = {"lr": 2e-4, "head_lr": 0.0, "epochs": 3, "batch_size": 16, "kd_weight": 1.0, "share": 0.5}
    search = {"batch_size": None, "kd_weight": Search(times=(0.1, 10.0)), "share": Search(low=0, high=1)}
    found = space_of(search, "memory-free", start, {"kd_weight"})
    assert stated(found) == {
        "lr": {"low": 2e-5, "high": 2e-3, "log": True},
        "epochs": {"low": 1, "high": 6, "log": True},
        "share": {"low": 0.0, "high": 1.0},
    }
    assert isinstance(found["share"].low, float)


def test_frozen_methods_are_searched_further_than_others() -> None:
    start = {"head_lr": 1e-3}
    frozen = space_of({}, "closed-form", start)["head_lr"].high
    assert (space_of({}, "memory-free", start)["head_lr"].high, frozen) == (1e-2, 1e-1)
    assert methods()["seqstar"].group == "closed-form"
    assert methods()["ncm"].search.keys() >= COMMON.keys()
