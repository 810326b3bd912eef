"""Statistics against independent references: scipy, textbook examples, brute-force counting, simulation."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from cl_ner_bench import HOME
from cl_ner_bench.analysis.comparison.compare import Comparison, comparisons
from cl_ner_bench.analysis.comparison.influence import influence_of, sentence_error
from cl_ner_bench.analysis.comparison.intervals import estimate, holm, unit_means
from cl_ner_bench.analysis.comparison.notes import FEW, notes_of
from cl_ner_bench.analysis.comparison.spread import components, spread
from cl_ner_bench.analysis.comparison.statistics import best_and_tied, dataset_ranks, differences, gaps, pairs_tested
from cl_ner_bench.analysis.comparison.verdict import power_notes, verdict
from cl_ner_bench.analysis.data.frames import Results, load_results
from cl_ner_bench.analysis.data.run_outcomes import outcomes_of
from cl_ner_bench.analysis.figures.figure import Theme
from cl_ner_bench.analysis.report.page.data import page_data
from cl_ner_bench.analysis.table import Cell
from cl_ner_bench.analysis.tables.scores import difference_table, gap_table, main_table, spread_table, type_table
from cl_ner_bench.testing.results import triple, write_run

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


# tests and intervals


def joint_grid(folder: Path, pairs: list[tuple[int, int]], joint: list[float], method: list[float]) -> None:
    """Joint training, one model a seed that all orders share, and SpanKL."""
    for order, seed in pairs:
        counts = {1: {"A": triple(joint[seed])}}
        write_run(folder, "joint-span", counts, order=order, seed=seed, step_keys={"1": f"a{seed}"})
    for (order, seed), score in zip(pairs, method, strict=True):
        write_run(
            folder, "spankl", {1: {"A": triple(score)}}, order=order, seed=seed, step_keys={"1": f"b{order}{seed}"}
        )


@pytest.mark.parametrize("sizes", [(5,), (2,), (3, 4), (7, 2)])
def test_estimates_are_those_of_scipy(sizes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(len(sizes))
    samples = [rng.normal(1, 2 * i + 1, (size, 6)) for i, size in enumerate(sizes)]
    found = estimate(*samples)
    if len(sizes) == 1:
        expected = stats.ttest_1samp(samples[0], 0)
    else:
        expected = stats.ttest_ind(samples[0], -samples[1], equal_var=False)
    interval = expected.confidence_interval(0.95)
    for name, value in (("p", expected.pvalue), ("low", interval.low), ("high", interval.high)):
        assert getattr(found, name) == pytest.approx(value), name
    assert np.array_equal(found.p < 0.05, (found.low > 0) | (found.high < 0))


def test_what_does_not_vary_is_surely_different_or_equal() -> None:
    found = estimate(np.array([[2.0, 0.0], [2.0, 0.0], [2.0, 0.0]]))
    assert (found.p.tolist(), found.low.tolist(), found.high.tolist()) == ([0, 1], [2, 0], [2, 0])
    alone = estimate(np.array([[2.0]]))
    assert (alone.mean, alone.p, alone.low) == (
        2,
        pytest.approx(math.nan, nan_ok=True),
        pytest.approx(math.nan, nan_ok=True),
    )


def test_units_are_orders_or_the_seeds_of_one_or_models_that_all_orders_share() -> None:
    values, orders = np.array([1.0, 3.0, 5.0, 9.0]), np.array([0, 0, 1, 1])
    assert unit_means(values, orders).tolist() == [2, 7]
    assert unit_means(values, np.zeros(4, dtype=int)).tolist() == [1, 3, 5, 9]
    own, by_seed = np.array([["a"], ["b"], ["c"], ["d"]]), np.array([["a"], ["b"], ["a"], ["b"]])
    assert unit_means(values, orders, own).tolist() == [2, 7]
    assert unit_means(values, orders, by_seed).tolist() == [3, 6]
    # Orders 0 and 2 begin with one task, so that they share their first models: they are one unit.
    three, shared = np.array([0, 1, 2]), np.array([["a"], ["b"], ["a"]])
    assert unit_means(np.array([1.0, 5.0, 3.0]), three, shared).tolist() == [2, 5]


NINE = [(order, seed) for order in range(3) for seed in range(3)]


@pytest.mark.slow
def test_seeds_of_one_order_are_no_evidence_about_other_orders(tmp_path: Path) -> None:
    # Nine runs, all with one sign; but what differs is the order.
    better = [51, 52, 51, 52, 51, 52, 80, 82, 81]
    grid(tmp_path, {"spankl": better, "extendner": [50.0] * 9}, NINE)
    c, results = only(tmp_path)
    (d,) = differences(c, "all", "micro_f1", results)
    means = [np.mean(better[i : i + 3]) - 50 for i in (0, 3, 6)]
    assert (d.n, d.units, d.mean) == (9, 3, pytest.approx(np.mean(means)))
    expected = stats.ttest_1samp(means, 0)
    assert d.p == pytest.approx(expected.pvalue)
    assert d.low == pytest.approx(expected.confidence_interval(0.95).low, abs=1e-5)
    assert d.low < 0
    assert d.p > 0.05
    assert not any(best_and_tied(c, c.measures[c.measures["view"] == "all"], "micro_f1"))
    assert any(note.startswith("nothing is bold: no difference to the best") for note in main_table(c, "all").notes)
    table = difference_table(c, "all", results)
    assert table is not None
    assert "95 % t interval over 3 orders" in table.caption
    for notes in (table.notes, main_table(c, "all").notes, verdict(c, results)):
        (note,) = [note for note in notes if "tests and intervals count" in note.lower()]
        assert "ests and intervals count 3 orders, each by the mean of its seeds" in note
        assert "seeds of one order are no evidence about other orders" in note
        assert "a p below 2/2^3 = 0.25" in note


@pytest.mark.parametrize("n_orders", [1, 5, 12])
def test_every_number_of_orders_says_what_it_counts(tmp_path: Path, n_orders: int) -> None:
    pairs = [(order, seed) for order in range(n_orders) for seed in range(3 if n_orders == 1 else 1)]
    rng = np.random.default_rng(n_orders)
    grid(tmp_path, {m: list(rng.uniform(40, 60, len(pairs))) for m in ("spankl", "extendner")}, pairs)
    c, _ = only(tmp_path)
    (note,) = power_notes(c)
    if n_orders == 1:
        assert note.startswith("tests and intervals count 3 seeds of one order: nothing is said about other orders")
    else:
        assert note.startswith(f"tests and intervals count {n_orders} orders, each by the mean of its seeds")


@pytest.mark.slow
@given(st.integers(1, 4), st.integers(1, 4), st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_a_test_never_contradicts_its_interval(n_orders: int, n_seeds: int, random: Any) -> None:
    pairs = [(order, seed) for order in range(n_orders) for seed in range(n_seeds)]
    with TemporaryDirectory() as name:
        methods = ("spankl", "extendner", "seqstar")
        grid(Path(name), {m: [random.uniform(50, 60) for _ in pairs] for m in methods}, pairs)
        c, results = only(Path(name))
        found = differences(c, "all", "micro_f1", results)
        best, tied = best_and_tied(c, c.measures[c.measures["view"] == "all"], "micro_f1")
    assert len(found) == 3
    for d in found:
        if len(pairs) >= FEW:
            assert (d.p < 0.05) == (d.low > 0 or d.high < 0)
            assert d.p <= d.p_holm
            assert d.row not in best or (d.other in tied | best) == (not d.significant)
            assert bool(best) == any(other.significant for other in found if other.row == found[0].row)
        else:
            assert math.isnan(d.p)


def test_a_gap_carries_the_spread_of_the_joint_models(tmp_path: Path) -> None:
    pairs = [(order, seed) for order in range(3) for seed in range(2)]
    joint, method = [80.0, 84.0], [60.0, 61.0, 63.0, 62.0, 58.0, 60.0]
    joint_grid(tmp_path, pairs, joint, method)
    c, results = only(tmp_path)
    (d,) = gaps(c, "all", "gap", results)
    expected = stats.ttest_ind(joint, [60.5, 62.5, 59.0], equal_var=False).confidence_interval(0.95)
    assert (d.row.label, d.other.label) == ("Joint (span)", "SpanKL")
    assert (d.mean, d.low, d.high) == pytest.approx((82 - 364 / 6, expected.low, expected.high), abs=1e-5)
    assert math.isnan(d.p)
    table = gap_table(c, "all", results)
    assert table is not None
    of = table.frame.set_index("measure").loc["gap_micro"]
    assert of[["method", "n", "joint_method", "joint_n", "units"]].tolist() == ["spankl", 6, "joint-span", 2, 3]
    assert (of["low"], of["high"]) == (d.low, d.high)
    assert [cell for cell in table.sections[0][1][0] if isinstance(cell, str)] == ["SpanKL", "6", "Joint (span)", "2"]
    assert f"(95 % interval {d.low:.1f} to {d.high:.1f})" in verdict(c, results)[1]


def test_a_gap_to_one_joint_model_has_no_interval(tmp_path: Path) -> None:
    joint_grid(tmp_path, [(order, 0) for order in range(4)], [80.0], [60.0, 61.0, 63.0, 62.0])
    c, results = only(tmp_path)
    (d,) = gaps(c, "all", "gap", results)
    assert d.mean == pytest.approx(18.5)
    assert math.isnan(d.low)
    assert (
        "ends 18.5 points below joint training of its architecture (one joint model: no interval)"
        in verdict(c, results)[1]
    )


def test_a_gap_within_one_order_is_paired_by_seed(tmp_path: Path) -> None:
    joint_grid(tmp_path, [(0, seed) for seed in range(4)], [80.0, 84.0, 81.0, 83.0], [60.0, 65.0, 61.0, 63.0])
    c, results = only(tmp_path)
    (d,) = gaps(c, "all", "gap", results)
    expected = stats.ttest_1samp([20, 19, 20, 20], 0).confidence_interval(0.95)
    assert (d.low, d.high) == pytest.approx((expected.low, expected.high), abs=1e-4)


def test_gaps_to_different_joint_models_differ_as_surely_as_those_are_known(tmp_path: Path) -> None:
    pairs = [(order, seed) for order in range(3) for seed in range(2)]
    joint_grid(tmp_path, pairs, [80.0, 84.0], [60.0, 61.0, 63.0, 62.0, 58.0, 60.0])
    for order, seed in pairs:
        token, score = {1: {"A": triple(75 + 9 * seed)}}, {1: {"A": triple(50 + order + seed)}}
        write_run(tmp_path, "joint-token", token, order=order, seed=seed, step_keys={"1": f"c{seed}"})
        for method in ("extendner", "seqstar"):
            keys = {"1": f"d{order}{seed}"}
            write_run(tmp_path, method, score, order=order, seed=seed, step_keys=keys)
            score = {1: {"A": triple(45 + 2 * order)}}
    c, _ = only(tmp_path)
    frame = c.measures[c.measures["view"] == "all"]
    by_pair = {(d.row.method, d.other.method): d for d in pairs_tested(c, frame, "gap")}
    joints = [75 - 80, 84 - 84]  # of each seed
    methods = [60.5 - 50.5, 62.5 - 51.5, 59.0 - 52.5]  # of each order
    expected = stats.ttest_ind(methods, [-gap for gap in joints], equal_var=False)
    assert by_pair["spankl", "extendner"].p == pytest.approx(expected.pvalue, abs=1e-3)
    # Two methods of one architecture have one joint model: gaps differ just as their scores do.
    scores = {(d.row.method, d.other.method): d for d in pairs_tested(c, frame, "task_macro_f1")}
    assert by_pair["extendner", "seqstar"].p == pytest.approx(scores["extendner", "seqstar"].p)


@pytest.mark.parametrize("n", [1, 4, 15])
def test_holm_is_that_of_statsmodels(n: int) -> None:
    p = list(np.random.default_rng(n).uniform(0, 0.2, n) ** 2)
    expected = list(multipletests(p, method="holm")[1])
    assert holm(p) == pytest.approx(expected)
    assert holm([math.nan, *p])[1:] == pytest.approx(expected)


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


# test sentences


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


def test_the_error_over_sentences_is_that_of_counting_drawn_ones_again() -> None:
    rows, of = some_counts(400), np.array([0, 1, 2])
    rng = np.random.default_rng(1)
    again = [scores(rows, of, np.bincount(rng.integers(400, size=400), minlength=400)) for _ in range(1000)]
    assert sentence_error(influence_of(rows, of, np.arange(400))) == pytest.approx(np.std(again), rel=0.1)


def test_sentences_of_a_document_are_drawn_together() -> None:
    influence = np.random.default_rng(0).normal(size=200)
    influence = np.concatenate([influence, influence])  # each document says everything twice
    together = sentence_error(influence, np.tile(np.arange(200), 2))
    assert together == pytest.approx(sentence_error(influence) * math.sqrt(2))


@pytest.mark.slow
def test_documents_are_drawn_where_the_runs_know_them(tmp_path: Path) -> None:
    found = {}
    for name, documents in (("sentences", []), ("alone", [*range(3219)]), ("two", [0, 1600])):
        for method in ("spankl", "extendner"):
            (source,) = REFERENCE.glob(f"{method}-*")
            home = tmp_path / name / "runs" / source.name
            shutil.copytree(source, home)
            record = json.loads((home / "run.json").read_text())
            (home / "run.json").write_text(json.dumps(record | {"documents": documents}))
        c, results = only(tmp_path / name)
        (d,) = differences(c, "all", "micro_f1", results)
        found[name] = d.low
        table = difference_table(c, "all", results)
        assert table is not None
        assert f"95 % interval over test {'documents' if documents else 'sentences'}, for these" in table.caption
    assert found["alone"] == pytest.approx(found["sentences"]), "each sentence is a document"
    assert found["two"] != pytest.approx(found["sentences"])


@pytest.mark.slow
def test_one_run_has_an_interval_over_sentences_alone(tmp_path: Path) -> None:
    for name in ("spankl", "extendner"):
        (source,) = REFERENCE.glob(f"{name}-*")
        shutil.copytree(source, tmp_path / "runs" / source.name)
    c, results = only(tmp_path)
    for view, measure in (("all", "task_macro_f1"), ("filter", "micro_f1")):
        (d,) = differences(c, view, measure, results)
        assert (d.row.method, d.n) == ("extendner", 1)
        assert math.isnan(d.p)
        assert 0.5 < d.sentences < 4
        assert (d.low, d.high) == pytest.approx((d.mean - d.sentences, d.mean + d.sentences), abs=1e-5)
    (forgetting,) = differences(c, "all", "forgetting", results)  # no sentence is known to have forgotten
    assert math.isnan(forgetting.low)
    table = difference_table(c, "all", results)
    assert table is not None
    assert "95 % interval over test sentences, for these trained models only; no test" in table.caption
    # The reduction that intervals are drawn from holds the counts that the scores came from.
    final = outcomes_of(results, c.runs[0].run_id)
    tp, fp, fn = final.final[:, 2:].sum(axis=0)
    micro = c.measures.query("view == 'all'").set_index("run_id")["micro_f1"][c.runs[0].run_id]
    assert 200 * tp / (2 * tp + fp + fn) == pytest.approx(micro)


def test_the_same_results_give_the_same_differences(tmp_path: Path) -> None:
    grid(tmp_path, {"spankl": [70, 71, 72, 75], "extendner": [60, 66, 64, 61]})
    first, second = (differences(*call(tmp_path)) for call in (arguments, arguments))
    assert first == second
    (d,) = first
    assert (d.mean, d.n, d.units) == (pytest.approx(9.25), 4, 4)
    expected = stats.ttest_1samp([10, 5, 8, 14], 0)
    interval = expected.confidence_interval(0.95)
    assert (d.low, d.high) == pytest.approx((interval.low, interval.high), abs=1e-5)
    assert d.p == d.p_holm == pytest.approx(expected.pvalue)


def arguments(folder: Path) -> tuple[Comparison, str, str, Results]:
    c, results = only(folder)
    return c, "all", "micro_f1", results


# what may be claimed


def test_an_order_that_repeats_another_one_counts_once(tmp_path: Path) -> None:
    """Orders are drawn, and two tasks have two permutations: the runs of a repeated order are copies."""
    for order, last in ((0, 0), (1, 1), (2, 1)):
        for method, score in (("spankl", 70 + last), ("extendner", 60 + 2 * last)):
            write_run(tmp_path, method, {1: {"A": triple(score)}}, order=order, step_keys={"1": f"{score:x}"})
    c, results = only(tmp_path)
    assert (c.repeated, c.n_orders, c.pairs) == ({2: 1}, 2, ((0, 0), (1, 0)))
    assert "orders that are the same permutation count once: 2 repeats 1" in notes_of(c)
    assert verdict(c, results)[0] == "Each method ran twice; another seed may change their order."


def test_an_interval_on_both_sides_of_zero_says_which_side_is_which(tmp_path: Path) -> None:
    grid(tmp_path, {"spankl": [70, 71, 72, 40], "extendner": [60, 66, 64, 61]})
    c, results = only(tmp_path)
    (d,) = differences(c, "all", "task_macro_f1", results)
    assert d.low < 0 < d.high
    assert f"(95 % interval {-d.low:.1f} higher to {d.high:.1f} lower, corrected p" in verdict(c, results)[1]


NO_GAP = "joint training is undertrained: no gap"
SURE = {"spankl": [70, 71, 72, 75, 74, 73], "extendner": [60, 66, 64, 61, 62, 63], "joint-span": [80.0] * 6}


def test_the_worse_of_two_over_six_runs_is_significantly_worse(tmp_path: Path) -> None:
    grid(tmp_path, SURE)
    c, results = only(tmp_path)
    best, tied = best_and_tied(c, c.measures[c.measures["view"] == "all"], "micro_f1")
    assert ([row.method for row in best], tied) == (["spankl"], set())
    (scores, answer, orders) = verdict(c, results)
    assert scores == (
        "Mean task F1 after the last step (± standard deviation, n = 6): SpanKL 72.5 ± 1.9, ExtendNER 62.7 ± 2.2; "
        "joint training 80.0."
    )
    assert answer.startswith("Take SpanKL, significantly better than every other method; the next is ExtendNER, ")
    assert "ExtendNER, 9.8 points lower (95 % interval" in answer
    p = stats.ttest_1samp(np.subtract(SURE["spankl"], SURE["extendner"]), 0).pvalue
    assert f"corrected p = {p:.2g}" in answer
    assert "SpanKL ends 7.5 points below joint training of its architecture (95 % interval 5.5 to 9.5)" in answer
    assert orders.startswith("Tests and intervals count 6 seeds of one order: nothing is said about other orders")


def test_close_methods_are_marked_as_not_significantly_worse(tmp_path: Path) -> None:
    grid(tmp_path, SURE | {"extendner": [71, 70, 73, 74, 72, 73], "seqstar": [50, 51, 52, 53, 51, 52]})
    c, results = only(tmp_path)
    (row,) = best_and_tied(c, c.measures[c.measures["view"] == "all"], "micro_f1")[1]
    assert row.method == "extendner"
    assert "Not significantly worse: ExtendNER, 0.3 points lower" in verdict(c, results)[1]
    table = main_table(c, "all")
    significance_notes = {line[0]: (line[2].bold, line[2].tied) for _, lines in table.sections for line in lines}  # type: ignore
    unmarked = dict.fromkeys(("SEQ*", "Joint (span)"), (False, False))
    assert significance_notes == {"SpanKL": (True, False), "ExtendNER": (False, True), **unmarked}
    assert any(note.startswith("bold: best mean of its group; †: not significantly worse") for note in table.notes)


def forgetting_grid(folder: Path, learned: dict[str, tuple[float, float]], n: int = 6, **more: Any) -> None:
    """Two tasks; per method the F1 of the first one when learned and at the end, which differ a little by seed."""
    for method, (first, last) in learned.items():
        for seed in range(n):
            noise = seed / 4 if last else 0
            counts = {1: {"A": triple(first)}, 2: {"A": triple(last + noise), "B": triple(last and 60 + noise)}}
            write_run(folder, method, counts, seed=seed, **more)


@pytest.mark.slow
def test_who_found_nothing_is_neither_bold_nor_marked(tmp_path: Path) -> None:
    # Fine-tuning ends at 0.00: in the type of step 1 it had 0.00 too, and so forgets nothing.
    grades = {"spankl": (70.0, 60.0), "frozen-span": (70.0, 55.0), "finetune-span": (0.0, 0.0)}
    forgetting_grid(tmp_path, grades, undertrained_below=0.0)
    c, results = only(tmp_path)
    table = main_table(c, "all")
    significance_notes = {
        line[0]: {name for name, cell in zip(table.header, line, strict=True) if isinstance(cell, Cell) and cell.bold}
        for _, lines in table.sections
        for line in lines
    }
    assert significance_notes["SpanKL"] >= {"Micro-F1", "Mean task F1"}
    assert significance_notes["Fine-tuning (span)"] == set()
    assert not [cell for _, lines in table.sections for line in lines for cell in line[1:]
                if isinstance(cell, Cell) and line[0] == "Fine-tuning (span)" and cell.tied]  # fmt: skip
    assert "found nothing, so neither bold nor †: Fine-tuning (span)" in table.notes
    assert "Fine-tuning" not in verdict(c, results)[1].split("next is")[0]


def test_a_score_of_zero_is_never_the_best(tmp_path: Path) -> None:
    for method, less in (("spankl", 0), ("extendner", 0), ("seqstar", 20)):
        for seed in range(6):
            a = triple(50 - less + seed / (1 + less))
            write_run(tmp_path, method, {1: {"A": a}, 2: {"A": a, "B": [0, 2, 9]}}, seed=seed)
    c, _ = only(tmp_path)
    lines = {line[0]: line[1:] for _, lines in type_table(c, "all").sections for line in lines}
    assert [cell.bold for cell in lines["A"]] == [True, True, False]  # type: ignore[union-attr]
    assert [(cell.mean, cell.bold, cell.tied) for cell in lines["B"]] == [(0, False, False)] * 3  # type: ignore[union-attr]


def test_where_nobody_found_anything_nobody_is_best(tmp_path: Path) -> None:
    grid(tmp_path, {"spankl": [0.0] * 6, "extendner": [0.0] * 6}, undertrained_below=0.0)
    c, results = only(tmp_path)
    assert verdict(c, results)[1] == "No method found anything."
    assert not any(best_and_tied(c, c.measures[c.measures["view"] == "all"], "micro_f1"))


def with_joint(folder: Path, scores: dict[str, list[float]], **joints: list[float]) -> None:
    """Two tasks; methods end at their scores, joint training (of the last step alone) at its own."""
    for method, values in scores.items():
        for seed, score in enumerate(values):
            write_run(folder, method, {1: {"A": triple(60)}, 2: dict.fromkeys("AB", triple(score))}, seed=seed)
    for method, values in joints.items():
        for seed, score in enumerate(values):
            write_run(folder, method.replace("_", "-"), {2: dict.fromkeys("AB", triple(score))}, seed=seed)


@pytest.mark.slow
@pytest.mark.parametrize("joint", [0.0, 15.0])
def test_there_is_no_gap_to_undertrained_joint_training(tmp_path: Path, joint: float) -> None:
    scores: dict[str, list[float]] = {"extendner": [25, 26, 27, 24, 23, 25], "spankl": [30, 33, 32, 31, 34, 32]}
    scores["frozen-span"] = [score - 9 for score in scores["spankl"]]
    with_joint(tmp_path, scores, joint_token=[joint + i for i in range(3)] * 2, joint_span=[60, 61, 62, 63, 60, 60])
    c, results = only(tmp_path)
    table = main_table(c, "all")
    gap = {line[0]: line[-1] for _, lines in table.sections for line in lines}
    assert math.isnan(gap["ExtendNER"].mean)  # type: ignore[union-attr]
    assert gap["SpanKL"].mean == pytest.approx(29)  # type: ignore[union-attr]
    # The numbers as they are defined stay in the files.
    assert table.frame.set_index("label")["gap_mean"]["ExtendNER"] == pytest.approx(joint + 1 - 25)
    for notes in (table.notes, notes_of(c)):
        assert f"{NO_GAP} (Joint (token) ends at micro-F1 {joint:.1f} (order 0 seed 0), at least 20 is needed)" in notes
    gaps_of = gap_table(c, "all", results)
    assert gaps_of is not None
    assert [line[0] for _, lines in gaps_of.sections for line in lines] == ["SpanKL", "Frozen (span)"]
    page = json.loads(page_data(results, [c], Theme.of([c], "paper").appearances))["blocks"][c.slug]
    curves = {page["rows"][row]["label"]: scores for (row, *_), scores in
              zip(page["runs"], page["scores"]["all"]["gap_task_macro"], strict=True)}  # fmt: skip
    assert [label for label, scores in curves.items() if scores[-1] is None] == ["ExtendNER", "Joint (token)"]


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


def test_methods_are_ranked_within_their_group(tmp_path: Path) -> None:
    for i in range(5):
        values = {"spankl": [70.0 + i] * 3, "extendner": [65.0] * 3, "finetune-span": [60.0] * 3}
        grid(tmp_path, values, dataset=f"d{i}")
        grid(tmp_path, {name: [80.0] * 3 for name in ("replay", "derpp")}, group="exemplar", dataset=f"d{i}")
    (found,) = dataset_ranks(load_results(tmp_path))
    assert found.title == "split, minilm, memory-free"
    assert found.ranks.to_dict() == {"SpanKL": 1, "ExtendNER": 2, "Fine-tuning (span)": 3}
