"""The answer of `bench advise`: what to take, how sure, at what cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cl_ner_bench.analysis.comparison.compare import comparisons
from cl_ner_bench.analysis.data.frames import load_results
from cl_ner_bench.analysis.report.advice import Advice, advice
from cl_ner_bench.testing.results import write_add_one

Rows = Sequence[tuple[float, float, float]]
GOOD: Rows = [(60, 80, 78), (62, 80, 79), (61, 80, 77)]
NEAR: Rows = [(61, 80, 79), (60, 80, 79), (63, 80, 77)]
BAD: Rows = [(20, 80, 40), (22, 80, 41), (18, 80, 39)]
JOINT: Rows = [(70, 80, 80), (70, 80, 80), (70, 80, 80)]


def answer(folder: Path, *methods: tuple[str, str, Rows], planned: int = 1, size: int = 400, **more: Any) -> Advice:
    """The answer to a grid of ``(method, group, scores)`` and joint training."""
    for method, group, scores in (*methods, ("joint-token", "reference", JOINT)):
        write_add_one(folder, {method: scores}, group=group, architecture="token", label=method, **more)
    (c,) = comparisons(load_results(folder))
    return advice(c, planned, size)


def test_one_method_is_clearly_better(tmp_path: Path) -> None:
    found = answer(tmp_path, ("kd", "memory-free", GOOD), ("few", "exemplar", BAD))
    what, sure, cost = found.sentences
    assert found.method is not None
    assert found.method.method == "kd"
    assert what.startswith("Take kd (no memory): it learns the new type to F1 61.0 (58.5 to 63.5), and the old types")
    assert "This rests on 3 newcomers (CAR, DOG, TEA), n = 3: " in sure
    assert "kd leads few, the next, by 39.5 (95 % interval" in sure
    assert "retraining on everything brings the new type to 70.0" in sure
    assert cost.startswith("The step took 2 s here on ")
    assert "keeps no sentences" in cost


def test_of_methods_that_cannot_be_told_apart_the_one_that_asks_least(tmp_path: Path) -> None:
    found = answer(tmp_path, ("few", "exemplar", NEAR), ("kd", "memory-free", GOOD), ("low", "closed-form", BAD))
    assert found.sentences[0].startswith(
        "Take kd (no memory), which cannot be told apart from few and asks least of your model: "
    )


def test_a_better_mean_is_not_given_up_for_a_simpler_method(tmp_path: Path) -> None:
    wide: Rows = [(90, 80, 80), (40, 80, 80), (80, 80, 80)]  # better by 4.5 in the mean, but not surely
    found = answer(tmp_path, ("few", "exemplar", wide), ("kd", "memory-free", GOOD))
    assert found.sentences[0].startswith("Take few (keeps a few sentences), which cannot be told apart from kd: ")


@pytest.mark.parametrize(("orders", "said"), [((0,), "1 seed of one newcomer (CAR), and n = 1"), ((0, 1), "and n = 2")])
def test_too_few_rounds_are_no_claim(tmp_path: Path, orders: tuple[int, ...], said: str) -> None:
    found = answer(tmp_path, ("kd", "memory-free", GOOD), ("few", "exemplar", BAD), orders=orders)
    assert found.sentences[0].startswith("Try kd (no memory) first: ")
    assert f"{said} is too few to tell methods apart (3 are needed)" in found.sentences[1]


@pytest.mark.parametrize(("planned", "said"), [(5, ", 3 of 5 planned rounds (each took longer"), (3, ""), (1, "")])
def test_fewer_rounds_than_planned_are_said(tmp_path: Path, planned: int, said: str) -> None:
    sure = answer(tmp_path, ("kd", "memory-free", GOOD), planned=planned).sentences[1]
    assert f"3 newcomers (CAR, DOG, TEA){said}" in sure
    assert ("planned" in sure) == bool(said)


def test_seeds_of_one_newcomer_count(tmp_path: Path) -> None:
    found = answer(tmp_path, ("kd", "memory-free", GOOD), ("few", "exemplar", BAD), orders=(1,), seeds=(0, 1, 2))
    assert found.sentences[0].startswith("Take kd (no memory): ")
    assert "This rests on 3 seeds of one newcomer (DOG), n = 3: " in found.sentences[1]


def test_undertrained_methods_are_not_ranked(tmp_path: Path) -> None:
    low: Rows = [(95, 10, 90)] * 3
    found = answer(tmp_path, ("few", "exemplar", low), ("kd", "memory-free", GOOD))
    assert found.sentences[0].startswith("Only kd (no memory) was trained enough to be judged: ")
    assert "left out, because trained too little: few" in found.sentences[1]


def test_no_answer_where_all_that_learn_by_gradient_are_undertrained(tmp_path: Path) -> None:
    low: Rows = [(95, 10, 90)] * 3
    found = answer(tmp_path, ("few", "exemplar", low), ("frozen", "closed-form", GOOD))
    assert found.method is None
    (sentence,) = found.sentences
    assert sentence.startswith("No answer: the models know too little of the old types")
    assert "few: F1 10.0 after step 1, at least 20 is needed" in sentence


@pytest.mark.parametrize(("sample", "buys"), [(400, True), (None, False), (900, False)])
def test_no_answer_names_what_can_help(tmp_path: Path, sample: int | None, buys: bool) -> None:
    settings = {"epochs": 7, "max_sentences": sample}
    low: Rows = [(95, 10, 90)] * 3
    (sentence,) = answer(tmp_path, ("few", "exemplar", low), size=900, settings=settings).sentences
    assert ("more --minutes, which buy more sentences (now 400 of 900)" in sentence) == buys
    assert ("--minutes" in sentence) == buys
    assert ("more labelled sentences (all were used)" in sentence) != buys
    assert "more --epochs (now 7), or a stronger --encoder" in sentence


def test_no_answer_where_nothing_finds_the_new_type(tmp_path: Path) -> None:
    found = answer(tmp_path, ("kd", "memory-free", [(0, 80, 80)] * 3))
    assert found.method is None
    assert found.sentences == (
        "No answer: no method found the new type (3 newcomers); it needs more labelled mentions.",
    )
