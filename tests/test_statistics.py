"""Statistics against independent references: enumeration, textbook examples, brute-force resampling, simulation."""

from __future__ import annotations

import itertools
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from cl_ner_bench import HOME
from cl_ner_bench.analysis.compare import Comparison, comparisons
from cl_ner_bench.analysis.frames import Results, load_results
from cl_ner_bench.analysis.reduction import reduced
from cl_ner_bench.analysis.resampling import influence_of, interval, run_weights, sentence_shifts
from cl_ner_bench.analysis.spread import components, spread
from cl_ner_bench.analysis.statistics import (
    EXACT,
    _holm,
    dataset_ranks,
    differences,
    p_values,
    smallest_p,
    standing,
)
from cl_ner_bench.analysis.tables import difference_table, main_table, spread_table
from cl_ner_bench.analysis.verdict import verdict
from tests.results_factory import triple, write_run

REFERENCE = HOME / "results" / "reference" / "fewnerd" / "runs"


def grid(folder: Path, scores: dict[str, list[float]], pairs: list[tuple[int, int]] | None = None, **more: Any) -> None:
    """A run per method and (order, seed) whose one type ends at the given score."""
    for method, values in scores.items():
        for (order, seed), score in zip(pairs or [(0, s) for s in range(len(values))], values, strict=True):
            write_run(folder, method, {1: {"A": triple(score)}}, order=order, seed=seed, **more)


def only(folder: Path) -> tuple[Comparison, Results]:
    results = load_results(folder)
    (comparison,) = comparisons(results)
    return comparison, results


# tests


@given(st.lists(st.integers(-5, 5), min_size=3, max_size=7))
def test_sign_flip_is_the_share_of_all_signs_with_a_mean_as_far_from_0(values: list[int]) -> None:
    means = [abs(sum(s * v for s, v in zip(signs, values, strict=True))) for signs in
             itertools.product((1, -1), repeat=len(values))]  # fmt: skip
    (p,) = p_values(np.array(values, dtype=float)[:, None])
    assert p == pytest.approx(sum(m >= abs(sum(values)) for m in means) / len(means))


@pytest.mark.parametrize("n", [3, 5, EXACT, EXACT + 1, 20])
def test_no_p_is_below_its_floor(n: int) -> None:
    gaps = np.column_stack([np.arange(1.0, n + 1), np.zeros(n)])
    assert list(p_values(gaps)) == [pytest.approx(smallest_p(n)), 1]
    assert smallest_p(5) == 0.0625


def test_many_runs_are_tested_by_ranks() -> None:
    gaps = np.random.default_rng(3).normal(0.3, 1, (EXACT + 5, 4))
    assert list(p_values(gaps)) == pytest.approx([stats.wilcoxon(column).pvalue for column in gaps.T])


@pytest.mark.parametrize("n", [1, 4, 15])
def test_holm_is_that_of_statsmodels(n: int) -> None:
    p = list(np.random.default_rng(n).uniform(0, 0.2, n) ** 2)
    expected = list(multipletests(p, method="holm")[1])
    assert _holm(p) == pytest.approx(expected)
    assert _holm([math.nan, *p])[1:] == pytest.approx(expected)


# spread


def test_variance_components_of_an_example_by_hand() -> None:
    # Orders' means 2 and 6; within: 4 squares of 1 over 2; between: 2 (4 + 4); (16 - 2) / 2 = 7 is the orders'.
    found = components([np.array([1.0, 3.0]), np.array([5.0, 7.0])])
    assert found[:3] == pytest.approx((math.sqrt(8), math.sqrt(2), 7 / 9))
    # F = 16 / 2 = 8, divided by its quantiles at 1 and 2 degrees of freedom, 38.506 and 1 / 799.5.
    assert found.share_low == 0
    assert found.share_high == pytest.approx((8 * 799.5 - 1) / (8 * 799.5 + 1))


def test_the_orders_share_is_the_intraclass_correlation_also_when_unbalanced() -> None:
    rng = np.random.default_rng(0)
    orders = [rng.normal(rng.normal(0, 2), 1, size) for size in (2, 5, 3, 4)]
    f, sizes = stats.f_oneway(*orders).statistic, np.array([2, 5, 3, 4])
    typical = (sizes.sum() - (sizes**2).sum() / sizes.sum()) / 3
    assert components(orders).share == pytest.approx((f - 1) / (f - 1 + typical))


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_the_orders_share_comes_with_an_interval_that_holds_it(share: float) -> None:
    rng = np.random.default_rng(3)
    drawn = rng.normal(size=(400, 3, 1)) * math.sqrt(share) + rng.normal(size=(400, 3, 2)) * math.sqrt(1 - share)
    found = [components(list(orders)) for orders in drawn]
    assert np.mean([f.share_low <= share <= f.share_high for f in found]) == pytest.approx(0.95, abs=0.03)
    # With three orders and two seeds an estimate of 0 rules out next to nothing.
    assert np.median([f.share_high for f in found if f.share == 0]) > 0.8


@pytest.mark.parametrize("orders", [[[1.0]], [[1.0, 2.0]], [[1.0], [2.0]]])
def test_what_too_few_runs_cannot_tell_is_empty(orders: list[list[float]]) -> None:
    found = components([np.array(values) for values in orders])
    assert all(math.isnan(value) for value in (found.share, found.share_low, found.share_high))
    assert math.isnan(found.order_std) == (len(orders) == 1)
    assert math.isnan(found.seed_std) == (len(orders[0]) == 1)


def test_spread_and_ranks_of_a_grid(tmp_path: Path) -> None:
    pairs = [(0, 0), (0, 1), (1, 0), (1, 1)]
    grid(tmp_path, {"spankl": [50, 52, 60, 62], "extendner": [55, 57, 55, 57]}, pairs)
    c, _ = only(tmp_path)
    found = {s.row.method: s for s in spread(c, "all", "micro_f1")}
    assert found["spankl"].mean == pytest.approx(56)
    assert (found["spankl"].n, found["spankl"].n_orders) == (4, 2)
    assert found["spankl"].order_std == pytest.approx(math.sqrt(50))
    assert found["spankl"].order_share == pytest.approx(49 / 51)
    assert found["extendner"].order_share == 0
    assert found["spankl"].rank == found["extendner"].rank == 1.5
    table = spread_table(c, "all")
    assert table is not None
    assert table.frame["order_std"].tolist()[0] == pytest.approx(math.sqrt(50))


# intervals


def test_run_weights_have_the_variance_of_a_two_stage_bootstrap() -> None:
    orders, values = np.repeat([0, 1, 2], 4), np.random.default_rng(1).normal(size=12)
    weights = run_weights(orders, np.random.default_rng(0), 40_000)
    assert weights.sum(axis=1) == pytest.approx(1)
    by_order = values.reshape(3, 4)
    expected = by_order.mean(axis=1).var() / 3 + by_order.var(axis=1).mean() / 12
    assert (weights @ values).var() == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(("n_orders", "n_seeds"), [(5, 3), (3, 2), (1, 6)])
def test_intervals_cover_a_simulated_difference(n_orders: int, n_seeds: int) -> None:
    rng = np.random.default_rng(5)
    orders = np.repeat(np.arange(n_orders), n_seeds)
    weights = run_weights(orders, rng)
    hits = 0
    for _ in range(300):
        of_order = rng.normal(0, 1, n_orders) * (n_orders > 1)
        low, high = interval(weights @ (of_order[orders] + rng.normal(2, 1, len(orders))), max(n_orders, n_seeds))
        hits += low <= 2 <= high
    assert 0.87 < hits / 300 < 0.995


def scores(rows: Any, units: Any, weights: Any) -> float:
    """A mean of F1 scores with weighted sentences (ids 0, 1, ...), by the definition."""
    f1 = []
    for unit in sorted(set(units)):
        of = rows[units[rows[:, 1]] == unit]
        tp, fp, fn = (of[:, 2:] * weights[of[:, 0]][:, None]).sum(axis=0)
        f1 += [200 * tp / (2 * tp + fp + fn)] if tp + fn else []
    return float(np.mean(f1))


def some_counts(n: int) -> Any:
    rng = np.random.default_rng(2)
    return np.array([(s, t, *rng.integers(0, 3, 3)) for s in range(n) for t in range(3) if rng.random() < 0.7])


@pytest.mark.parametrize("units", [[0, 0, 0], [0, 1, 2], [0, 1, 0]])
def test_influence_is_the_slope_of_the_score(units: list[int]) -> None:
    rows, of = some_counts(12), np.array(units)
    found = influence_of(rows, of, np.arange(12))
    for sentence in range(12):
        weights = np.ones(12)
        weights[sentence] += 1e-6
        slope = (scores(rows, of, weights) - scores(rows, of, np.ones(12))) / 1e-6
        assert found[sentence] == pytest.approx(slope, abs=1e-3)


def test_sentence_shifts_are_those_of_counting_again() -> None:
    rows, of = some_counts(400), np.array([0, 1, 2])
    shifts = sentence_shifts(influence_of(rows, of, np.arange(400))[:, None], np.random.default_rng(0))
    rng = np.random.default_rng(1)
    again = [scores(rows, of, np.bincount(rng.integers(400, size=400), minlength=400)) for _ in range(1000)]
    assert shifts.std() == pytest.approx(np.std(again), rel=0.1)
    assert abs(shifts.mean()) < 0.1 * shifts.std()


def test_sentences_of_a_cluster_are_drawn_together() -> None:
    influence = np.random.default_rng(0).normal(size=(200, 1))
    influence = np.concatenate([influence, influence])  # each document says everything twice
    alone = sentence_shifts(influence, np.random.default_rng(0))
    together = sentence_shifts(influence, np.random.default_rng(0), np.tile(np.arange(200), 2))
    assert together.std() == pytest.approx(alone.std() * math.sqrt(2), rel=0.1)


def test_documents_are_drawn_where_the_runs_know_them(tmp_path: Path) -> None:
    low = {}
    for name, documents in (("sentences", []), ("alone", [*range(3219)]), ("two", [0, 1600])):
        for method in ("spankl", "extendner"):
            (source,) = REFERENCE.glob(f"{method}-*")
            home = tmp_path / name / "runs" / source.name
            shutil.copytree(source, home)
            record = json.loads((home / "run.json").read_text())
            (home / "run.json").write_text(json.dumps(record | {"documents": documents}))
        c, results = only(tmp_path / name)
        (d,) = differences(c, "all", "micro_f1", results)
        low[name] = d.low
        table = difference_table(c, "all", results)
        assert table is not None
        assert f"over test {'documents' if documents else 'sentences'} alone" in table.caption
    assert low["alone"] == low["sentences"], "each sentence is a document"
    assert low["two"] != low["sentences"]


def test_one_run_has_an_interval_over_sentences_alone(tmp_path: Path) -> None:
    for name in ("spankl", "extendner"):
        (source,) = REFERENCE.glob(f"{name}-*")
        shutil.copytree(source, tmp_path / "runs" / source.name)
    c, results = only(tmp_path)
    for view, measure in (("all", "task_macro_f1"), ("filter", "micro_f1")):
        (d,) = differences(c, view, measure, results)
        assert (d.row.method, d.n) == ("extendner", 1)
        assert math.isnan(d.p)
        assert 0.5 < d.mean - d.low < 4
        assert 0.5 < d.high - d.mean < 4
    (forgetting,) = differences(c, "all", "forgetting", results)  # no sentence is known to have forgotten
    assert math.isnan(forgetting.low)
    table = difference_table(c, "all", results)
    assert table is not None
    assert "over test sentences alone, for these trained models only" in table.caption
    # The reduction that intervals are drawn from holds the counts that the scores came from.
    final = reduced(results, c.runs[0]["run_id"])
    tp, fp, fn = final.final[:, 2:].sum(axis=0)
    micro = c.measures.query("view == 'all'").set_index("run_id")["micro_f1"][c.runs[0]["run_id"]]
    assert 200 * tp / (2 * tp + fp + fn) == pytest.approx(micro)


def test_the_same_results_give_the_same_differences(tmp_path: Path) -> None:
    grid(tmp_path, {"spankl": [70, 71, 72, 75], "extendner": [60, 66, 64, 61]})
    first, second = (differences(*call(tmp_path)) for call in (arguments, arguments))
    assert first == second
    (d,) = first
    assert (d.mean, d.n) == (pytest.approx(9.25), 4)
    assert 5 <= d.low < d.mean < d.high <= 14  # the least and the largest of the four
    assert d.p == d.p_holm == 0.125


def arguments(folder: Path) -> tuple[Comparison, str, str, Results]:
    c, results = only(folder)
    return c, "all", "micro_f1", results


# what may be claimed


SURE = {"spankl": [70, 71, 72, 75, 74, 73], "extendner": [60, 66, 64, 61, 62, 63], "joint-span": [80.0] * 6}


def test_the_worse_of_two_over_six_runs_is_significantly_worse(tmp_path: Path) -> None:
    grid(tmp_path, SURE)
    c, results = only(tmp_path)
    best, tied = standing(c, c.measures[c.measures["view"] == "all"], "micro_f1")
    assert ([row.method for row in best], tied) == (["spankl"], set())
    (answer, orders) = verdict(c, results)
    assert "take SpanKL: 72.5 ± 1.9 macro-F1 over tasks after the last step (n = 6), significantly better" in answer
    assert "ExtendNER, 9.8 points lower (95 % interval" in answer
    assert "p = 0.031" in answer
    assert "SpanKL ends 7.5 points below joint training" in answer
    assert orders.startswith("Runs of 1 order only")


def test_close_methods_are_marked_as_not_significantly_worse(tmp_path: Path) -> None:
    grid(tmp_path, SURE | {"extendner": [71, 70, 73, 74, 72, 73]})
    c, results = only(tmp_path)
    (row,) = standing(c, c.measures[c.measures["view"] == "all"], "micro_f1")[1]
    assert row.method == "extendner"
    assert "Not significantly worse: ExtendNER, 0.3 points lower" in verdict(c, results)[0]
    table = main_table(c, "all")
    marks = {line[0]: (line[2].bold, line[2].tied) for _, lines in table.sections for line in lines}  # type: ignore
    assert marks == {"SpanKL": (True, False), "ExtendNER": (False, True), "Joint (span)": (False, False)}
    assert any(note.startswith("bold: best mean of its group; †: not significantly worse") for note in table.notes)


def test_where_no_test_can_tell_nothing_is_called_worse(tmp_path: Path) -> None:
    grid(tmp_path, {method: values[:5] for method, values in SURE.items()})
    c, results = only(tmp_path)
    best, tied = standing(c, c.measures[c.measures["view"] == "all"], "micro_f1")
    assert [[row.method for row in rows] for rows in (best, tied)] == [["spankl"], ["extendner"]]
    answer, claim, _ = verdict(c, results)
    assert "SpanKL has the highest mean" in answer
    assert "significantly" not in answer
    assert claim.startswith("With n = 5 no difference can be significant: p cannot go below 2/2^5 = 0.0625;")
    assert any(note.startswith("with n = 5 no difference can be") for note in main_table(c, "all").notes)


@pytest.mark.parametrize("n", [1, 2])
def test_with_too_few_runs_nobody_is_named(tmp_path: Path, n: int) -> None:
    grid(tmp_path, {method: values[:n] for method, values in SURE.items()})
    c, results = only(tmp_path)
    text = " ".join(verdict(c, results))
    assert text.startswith(f"With n = {n} matched run")
    assert "SpanKL" not in text
    assert "ExtendNER" not in text
    assert "Joint (span) 80.0" in text
    assert not any(standing(c, c.measures[c.measures["view"] == "all"], "micro_f1"))


def test_undertrained_comes_first_and_alone(tmp_path: Path) -> None:
    grid(tmp_path, SURE, undertrained_below=85)
    c, results = only(tmp_path)
    (sentence,) = verdict(c, results)
    assert sentence.startswith("Undertrained: do not compare these runs (step-1 micro-F1 below 85")
    assert not any(standing(c, c.measures[c.measures["view"] == "all"], "micro_f1"))


def test_groups_are_answered_apart(tmp_path: Path) -> None:
    grid(tmp_path, SURE)
    grid(tmp_path, {"replay": [76.0] * 6}, group="exemplar")
    c, results = only(tmp_path)
    assert [d.other.method for d in differences(c, "all", "micro_f1", results)] == ["extendner"]
    answers = verdict(c, results)
    assert answers[1].startswith("Methods with stored examples: replay is the only one, with 76.0")


def test_ranks_need_five_datasets(tmp_path: Path) -> None:
    values = {"spankl": 70, "extendner": 65, "seqstar": 60, "frozen-span": 50}
    for i in range(5):
        if i == 4:
            assert dataset_ranks(load_results(tmp_path)) == []
        by_method = {
            method: [score + (12.0 if (i, method) == (0, "seqstar") else 0)] * 3 for method, score in values.items()
        }
        grid(tmp_path, by_method, dataset=f"d{i}")
    (found,) = dataset_ranks(load_results(tmp_path))
    assert found.ranks.to_dict() == {"SpanKL": 1.2, "ExtendNER": 2.2, "SEQ*": 2.6, "Frozen (span)": 4}
    # Demšar 2006: 2.569 sqrt(k (k + 1) / (6 N)) for four methods
    assert found.critical_difference == pytest.approx(2.569 * math.sqrt(20 / 30), abs=1e-3)
    assert found.p_values.loc["SpanKL", "Frozen (span)"] < 0.05 < found.p_values.loc["SpanKL", "SEQ*"]
