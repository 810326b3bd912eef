"""Measures of continual learning: published values, identities, and the degenerate cases."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cl_ner_bench.analysis.data import frames
from cl_ner_bench.analysis.data.frames import load_results
from cl_ner_bench.analysis.scores import measures
from cl_ner_bench.errors import UserError
from cl_ner_bench.testing.results import triple, write_grid, write_matrix, write_run

# SpanKL's own log (OntoNotes, Split, order 0, Test-All): F1 per type after each step.
SPANKL = [
    [87.90],
    [87.18, 93.33],
    [88.13, 93.41, 95.47],
    [87.40, 93.26, 95.16, 85.02],
    [87.13, 92.65, 95.05, 84.71, 81.37],
    [87.88, 93.02, 95.08, 85.93, 83.04, 93.01],
]
ONTONOTES = ["ORG", "PERSON", "GPE", "DATE", "CARDINAL", "NORP"]
EMPTY_AT_ONE_STEP = [
    "forgetting",
    "bi",
    "bwt",
    "bi_types",
    "first_minus_last",
    "first_minus_last_types",
    "auc_micro_f1",
    "auc_task_macro_f1",
    "forgetting_types",
    "bwt_types",
    "avg_micro_f1_after_first",
    "avg_macro_f1_after_first",
]


def row(results: frames.Results, method: str = "spankl", view: str = "all") -> pd.Series:
    frame = results.measures
    return frame[(frame["method"] == method) & (frame["view"] == view)].iloc[0]


def test_spankl_log_gives_the_published_values(tmp_path: Path) -> None:
    write_matrix(tmp_path, SPANKL, ONTONOTES)
    results = load_results(tmp_path)
    steps = results.scores[results.scores["view"] == "all"]
    assert list(steps["task_macro_f1"]) == pytest.approx([87.90, 90.25, 92.34, 90.21, 88.18, 89.66], abs=0.01)
    final = row(results)
    assert final["bi"] == pytest.approx(-0.17, abs=0.01)
    assert final["forgetting"] == pytest.approx(-0.31, abs=0.01)
    assert final["bwt"] == pytest.approx(0.37, abs=0.01)
    assert final["learning"] == pytest.approx(np.mean([87.90, 93.33, 95.47, 85.02, 81.37, 93.01]), abs=0.01)
    assert final["first_minus_last"] == pytest.approx(-0.37, abs=0.01)
    assert final["avg_task_macro_f1"] == pytest.approx(np.mean([87.90, 90.25, 92.34, 90.21, 88.18, 89.66]), abs=0.01)
    # One type a task: tasks and types are the same thing.
    for name in ("forgetting", "bi", "bwt", "learning", "first_minus_last"):
        assert final[f"{name}_types"] == pytest.approx(final[name])


matrices = st.integers(2, 5).flatmap(
    lambda n: st.tuples(
        st.lists(st.lists(st.floats(0, 100), min_size=n, max_size=n), min_size=n, max_size=n),
        st.permutations(range(n)),
    )
)


@given(matrices)
def test_identities(drawn: tuple[list[list[float]], list[int]]) -> None:
    values, order = drawn
    s, learned = np.array(values), np.array(order) + 1
    for unit, step in enumerate(learned):
        s[: step - 1, unit] = math.nan
    forgetting, bwt = measures.forgetting(s, learned), measures.backward_transfer(s, learned)
    bi, plasticity = measures.backward_interference(s), measures.learning(s, learned)
    final, n = measures.mean(s[-1]), len(s)
    assert bi <= 0
    assert forgetting >= -bwt - 1e-9  # the best earlier score is at least the first
    # Unit by unit BI = -max(0, forgetting), and the unit learned last adds 0.
    early = np.flatnonzero(learned < n)
    single = [measures.forgetting(s[:, [u]], learned[[u]]) for u in early]
    assert bi == pytest.approx(-sum(max(0.0, f) for f in single) / n)
    assert final == pytest.approx(plasticity + bwt * (n - 1) / n)
    assert measures.first_minus_last(s, learned) == -bwt
    # Against itself nothing is lost; against a joint model what it is better by when each unit is learned.
    assert measures.intransigence(s, s, learned) == 0
    assert measures.intransigence(s, s + 3, learned) == pytest.approx(3)
    assert measures.intransigence(s, np.full_like(s, 100), learned) == pytest.approx(100 - plasticity)


@given(st.lists(st.floats(0, 100), min_size=2, max_size=8))
def test_the_area_counts_the_first_and_last_step_half(curve: list[float]) -> None:
    values, n = np.array(curve), len(curve)
    area = measures.area(values)
    assert area == pytest.approx((n * values.mean() - (values[0] + values[-1]) / 2) / (n - 1), abs=1e-9)
    assert values.min() - 1e-9 <= area <= values.max() + 1e-9
    assert math.isnan(measures.area(np.array([*curve, math.nan])))


def test_every_measure_of_a_small_run_by_hand(tmp_path: Path) -> None:
    # Task one = types A and B, task two = type C; counts are tp, fp, fn.
    tasks = [
        {"name": "one", "types": ["A", "B"], "learned_at": 1},
        {"name": "two", "types": ["C"], "learned_at": 2},
    ]
    counts = {1: {"A": [8, 2, 2], "B": [4, 0, 6]}, 2: {"A": [5, 0, 5], "B": [6, 4, 4], "C": [9, 1, 1]}}
    joint = {1: {"A": [9, 1, 1], "B": [8, 2, 2]}, 2: {"A": [9, 1, 1], "B": [8, 2, 2], "C": [10, 0, 0]}}
    write_run(tmp_path, "spankl", counts, tasks)
    write_run(tmp_path, "joint-span", joint, tasks)
    final = row(load_results(tmp_path))
    one, a, b = 200 * 12 / (24 + 2 + 8), 80, 800 / 14  # after step 1
    one_end, a_end, b_end = 200 * 11 / (22 + 4 + 9), 1000 / 15, 60  # after step 2; C and task two: 90
    expected = {
        "first_minus_last": one - one_end,
        "first_minus_last_types": (a - a_end + b - b_end) / 2,
        "bi": (one_end - one) / 2,
        "bi_types": (a_end - a) / 3,
        "avg_task_macro_f1": (one + (one_end + 90) / 2) / 2,
        "auc_task_macro_f1": (one + (one_end + 90) / 2) / 2,
        "auc_micro_f1": (one + 200 * 20 / (40 + 5 + 10)) / 2,
        "intransigence": (200 * 17 / (34 + 3 + 3) - one + 100 - 90) / 2,
        "intransigence_types": (90 - a + 80 - b + 100 - 90) / 3,
    }
    assert final[list(expected)].to_dict() == pytest.approx(expected)


def test_one_step_leaves_what_needs_two_empty(tmp_path: Path) -> None:
    write_run(tmp_path, "spankl")
    write_run(tmp_path, "joint-span", {1: {"PER": [9, 1, 1]}})
    results = load_results(tmp_path)
    final = row(results)
    assert final[EMPTY_AT_ONE_STEP].isna().all()
    assert final["micro_f1"] == final["avg_micro_f1"] == final["learning"] == pytest.approx(80)
    assert final["gap"] == pytest.approx(10)


def test_undefined_scores_are_left_out_but_their_false_positives_count(tmp_path: Path) -> None:
    tasks = [
        {"name": "a", "types": ["A", "B"], "learned_at": 1},
        {"name": "c", "types": ["C"], "learned_at": 2},
    ]
    counts = {
        1: {"A": [5, 5, 5], "B": [0, 10, 0]},  # B has no gold and ten false positives
        2: {"A": [5, 5, 5], "B": [0, 10, 0], "C": [0, 0, 0]},  # C has nothing at all
    }
    write_run(tmp_path, counts=counts, tasks=tasks)
    results = load_results(tmp_path)
    final = row(results)
    assert final["micro_f1"] == pytest.approx(200 * 5 / (10 + 15 + 5))
    assert final["macro_f1"] == pytest.approx(50)
    assert final["macro_f1_zero"] == pytest.approx(50 / 3)
    assert final["task_macro_f1"] == pytest.approx(200 * 5 / (10 + 15 + 5))  # task c is undefined
    assert final["learning_types"] == pytest.approx(50)
    assert final["forgetting"] == final["bi"] == 0


@pytest.mark.parametrize("false_positives", [0, 3])
def test_without_gold_only_micro_f1_of_false_positives_is_defined(tmp_path: Path, false_positives: int) -> None:
    found = [0, false_positives, 0]
    write_run(tmp_path, counts={1: {"A": found}, 2: {"A": found, "B": [0, 0, 0]}})
    final = row(load_results(tmp_path))
    assert final[["macro_f1", "task_macro_f1", "forgetting", "bi", "learning"]].isna().all()
    assert final["micro_f1"] == 0 if false_positives else math.isnan(final["micro_f1"])
    assert final["macro_f1_zero"] == 0


def test_missing_joint_leaves_gaps_empty_and_warm_is_no_bound(tmp_path: Path) -> None:
    write_run(tmp_path, "spankl")
    write_run(tmp_path, "joint-span-warm")
    write_run(tmp_path, "joint-span", setting="other000")
    write_run(tmp_path, "joint-token")
    final = row(load_results(tmp_path))
    assert final[[*measures.GAPS, *measures.INTRANSIGENCE]].isna().all()


def test_gaps_take_the_own_architecture_order_and_seed(tmp_path: Path) -> None:
    for seed, joint in ((0, 90), (1, 80)):
        write_run(tmp_path, "spankl", {1: {"A": triple(70)}}, seed=seed)
        write_run(tmp_path, "joint-span", {1: {"A": triple(joint)}}, seed=seed)
    write_run(tmp_path, "joint-token", {1: {"A": triple(95)}})
    results = load_results(tmp_path)
    frame = results.measures.query("view == 'all' and method == 'spankl'").set_index("seed")
    assert list(frame["gap"]) == pytest.approx([20, 10])
    assert frame["gap_best"][0] == pytest.approx(25)
    assert math.isnan(frame["gap_best"][1])  # seed 1 has no joint-token: no better of two
    assert list(row(results, "joint-span")[["gap", "gap_best"]]) == pytest.approx([0, 5])
    steps = results.scores.query("view == 'all' and method == 'spankl'")
    assert list(steps["gap_task_macro"]) == pytest.approx([20, 10])


def test_joint_training_on_another_split_is_no_bound(tmp_path: Path) -> None:
    write_run(tmp_path)
    write_run(tmp_path, "joint-span", fingerprints={"data": "d0", "split": "s1", "encoder": "e0"})
    assert math.isnan(row(load_results(tmp_path))["gap"])


def test_joint_at_the_last_step_only(tmp_path: Path) -> None:
    write_grid(tmp_path, ["spankl", "joint-span"], n_steps=3, joint_last=True)
    results = load_results(tmp_path)
    joint = row(results, "joint-span")
    stepwise = [*measures.OVER_STEPS, *measures.FURTHER_OVER_STEPS, *measures.INTRANSIGENCE]
    assert joint[stepwise].isna().all()
    assert row(results)[list(measures.INTRANSIGENCE)].isna().all()
    assert joint["gap"] == 0
    assert not math.isnan(row(results)["gap"])
    steps = results.scores.query("view == 'all'").set_index(["method", "step"])["gap_micro"]
    assert list(steps["joint-span"].index) == [3]
    assert steps["spankl"].isna().tolist() == [True, True, False]


def test_filter_view_scores_every_step_on_the_last_set(tmp_path: Path) -> None:
    # A frozen model: on its growing set it loses, on the last step's sentences it does not.
    growing = {1: {"A": [8, 0, 2]}, 2: {"A": [8, 6, 2], "B": [5, 5, 5]}}
    last = {1: {"A": [8, 6, 2]}, 2: {"A": [8, 6, 2], "B": [5, 5, 5]}}
    write_run(tmp_path, counts=growing, filter_counts=growing, filter_last=last)
    results = load_results(tmp_path)
    final = row(results, view="filter")
    assert final["forgetting"] == final["bwt"] == final["bi"] == 0
    assert row(results)["forgetting"] > 20
    assert set(results.counts["view"]) == {"all", "filter"}
    first = results.scores.query("view == 'filter' and step == 1").iloc[0]
    assert first["micro_f1"] == pytest.approx(200 * 8 / 18)


def test_a_type_that_comes_back_belongs_to_its_first_task(tmp_path: Path) -> None:
    tasks = [
        {"name": "one", "types": ["A"], "learned_at": 1},
        {"name": "two", "types": ["B", "A"], "learned_at": 2},
        {"name": "three", "types": ["A"], "learned_at": 3},
    ]
    counts = {
        1: {"A": triple(50)},
        2: {"A": triple(80), "B": triple(60)},
        3: {"A": triple(70), "B": triple(60)},
    }
    write_run(tmp_path, counts=counts, tasks=tasks)
    results = load_results(tmp_path)
    last = results.counts.query("view == 'all' and step == 3").set_index("type")
    assert last["learned_at"].to_dict() == {"A": 1, "B": 2}
    assert last["task"].to_dict() == {"A": "one", "B": "two"}
    final = row(results)
    assert final["forgetting"] == pytest.approx(5)
    assert final["bwt"] == pytest.approx(10)
    assert final["task_macro_f1"] == pytest.approx(65)


def test_a_type_on_two_test_sets_is_forgotten_on_one_and_pooled_in_its_score(tmp_path: Path) -> None:
    tasks = [
        {"name": "news", "types": ["PER"], "learned_at": 1, "domain": "a"},
        {"name": "tweets", "types": ["PER"], "learned_at": 2, "domain": "b"},
    ]
    home = write_run(tmp_path, counts={1: {"PER": [0, 0, 0]}, 2: {"PER": [0, 0, 0]}}, tasks=tasks)
    for step, sets in ((1, {"a": {"PER": [8, 2, 2]}}), (2, {"a": {"PER": [5, 5, 5]}, "b": {"PER": [0, 0, 8]}})):
        content = {"schema": 1, "step": step, "views": dict.fromkeys(("all", "filter", "filter_last"), sets)}
        (home / f"step-{step}" / "counts.json").write_text(json.dumps(content))
    results = load_results(tmp_path)
    assert results.counts.query("view == 'all' and step == 2")[["test_set", "task", "learned_at"]].values.tolist() == [
        ["a", "news", 1],
        ["b", "tweets", 2],
    ]
    found = row(results)
    assert found["micro_f1"] == found["macro_f1"] == pytest.approx(200 * 5 / (10 + 5 + 13))
    assert found["task_macro_f1"] == pytest.approx(25)  # 50 on a, 0 on b
    assert found["forgetting"] == pytest.approx(30)  # 80 on a after step 1


def test_summary_has_mean_std_and_n_over_finished_runs(tmp_path: Path) -> None:
    for order, seed, score in ((0, 0, 60), (0, 1, 70), (1, 0, 80)):
        write_run(tmp_path, counts={1: {"A": triple(score)}}, order=order, seed=seed)
    write_run(tmp_path, order=1, seed=1, status="failed", reason="out of memory; see log.txt")
    write_run(tmp_path, "extendner", counts={1: {"A": triple(40)}})
    results = load_results(tmp_path)
    assert list(results.summary.columns) == frames.SUMMARY
    summary = results.summary.query("view == 'all'").set_index("method")
    assert summary.loc["spankl", ["n_runs", "n_orders", "n_seeds"]].tolist() == [3, 2, 2]
    assert summary.loc["spankl", "micro_f1_mean"] == pytest.approx(70)
    assert summary.loc["spankl", "micro_f1_std"] == pytest.approx(10)
    assert math.isnan(summary.loc["extendner", "micro_f1_std"])
    assert summary.loc["spankl", "label"] == "SpanKL"
    assert [run.status for run in results.runs].count("failed") == 1
    assert len(results.finished) == 4


def test_a_model_that_several_orders_share_counts_once(tmp_path: Path) -> None:
    for seed, score in ((0, 60), (1, 70)):
        for order in range(3):
            shared = {"1": f"{order:x}", "2": f"a{seed}"}  # the last model is one for all orders
            counts = {1: {"A": triple(50 + 10 * order)}, 2: {"A": triple(score), "B": triple(score)}}
            write_run(tmp_path, "joint-span", counts, order=order, seed=seed, step_keys=shared)
            write_run(tmp_path, counts={k: {t: triple(40 + order + seed) for t in of} for k, of in counts.items()},
                      order=order, seed=seed, step_keys={"1": f"b{order}{seed}", "2": f"c{order}{seed}"})  # fmt: skip
    summary = load_results(tmp_path).summary.query("view == 'all'").set_index("method")
    joint, method = summary.loc["joint-span"], summary.loc["spankl"]
    assert joint[["n_runs", "n_orders", "n_seeds"]].tolist() == [2, 3, 2]
    assert (joint["micro_f1_mean"], joint["micro_f1_std"]) == (65, pytest.approx(math.sqrt(50)))
    # What its runs of one model differ in, here by their first step, is averaged first.
    assert (joint["learning_mean"], joint["learning_std"]) == pytest.approx((62.5, math.sqrt(12.5)))
    assert (method["n_runs"], method["micro_f1_mean"]) == (6, pytest.approx(41.5))
    assert method["micro_f1_std"] == pytest.approx(np.std([40, 41, 41, 42, 42, 43], ddof=1))


def test_runs_without_keys_have_models_of_their_own(tmp_path: Path) -> None:
    for order in range(2):
        write_run(tmp_path, "joint-span", {1: {"A": triple(60)}}, order=order)
    assert load_results(tmp_path).summary["n_runs"].tolist() == [2, 2]


def test_columns_are_those_of_the_documented_files(tmp_path: Path) -> None:
    write_run(tmp_path)
    results = load_results(tmp_path)
    assert ",".join(results.counts.columns) == (
        "run_id,method,dataset,scenario,order,seed,encoder,config,step,view,test_set,task,type,learned_at,tp,fp,fn"
    )
    assert ",".join(results.scores.columns) == (
        "run_id,method,dataset,scenario,order,seed,encoder,config,step,n_steps,view,micro_f1,macro_f1,"
        "macro_f1_zero,task_macro_f1,gap_micro,gap_macro,gap_task_macro"
    )
    assert list(results.summary.columns[:10]) == (
        [
            "method",
            "dataset",
            "scenario",
            "view",
            "encoder",
            "config",
            "label",
            "n_runs",
            "n_orders",
            "n_seeds",
        ]
    )


def test_predictions_are_a_row_per_mention(tmp_path: Path) -> None:
    write_run(tmp_path)
    results = load_results(tmp_path)
    frame = results.predictions(results.runs[0].run_id, 1)
    assert frame.iloc[:, :5].to_numpy().tolist() == [
        [0, "gold", 0, 2, "PER"],
        [0, "pred", 0, 2, "PER"],
        [0, "pred", 3, 4, "PER"],
    ]
    assert frame["score"].tolist()[1:] == [0.75, 0.5]
    with pytest.raises(UserError, match="no step 2"):
        results.predictions(results.runs[0].run_id, 2)
    with pytest.raises(UserError, match="no run 'x'"):
        results.predictions("x", 1)


def test_folders_are_joined_and_a_run_counts_once(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    write_run(tmp_path / "b")
    write_run(tmp_path / "b", "extendner")
    assert len(load_results(tmp_path / "a", tmp_path / "b").runs) == 2


def test_no_finished_run_gives_empty_frames(tmp_path: Path) -> None:
    write_run(tmp_path, status="running")
    results = load_results(tmp_path)
    assert results.summary.empty
    assert list(results.summary.columns) == frames.SUMMARY


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("run.json", '{"schema": 1, "run_id"', "run.json cannot be read"),
        ("run.json", '{"schema": 2}', "schema 2.*update"),
        ("run.json", "[]", "no 'schema'"),
        ("run.json", '{"schema": 1}', "key 'run_id' is missing: expected a text"),
        ("step-1/counts.json", "", "counts.json cannot be read"),
        ("step-1/counts.json", '{"schema": 2}', "schema 2.*update"),
        ("step-1/counts.json", '{"schema": 1, "views": {}}', "counts.json is not as"),
        ("step-1/counts.json", None, "counts.json is missing"),
    ],
)
def test_bad_files_are_named_and_cost_their_run_alone(
    tmp_path: Path, file: str, text: str | None, message: str
) -> None:
    write_run(tmp_path, "extendner")
    path = write_run(tmp_path) / file
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    results = load_results(tmp_path)
    (damaged,) = results.damaged
    assert (damaged.path, damaged.run) == (path, "spankl-toy-0-0-" + path.relative_to(tmp_path).parts[1][-8:])
    assert re.search(message, str(damaged))
    assert [run.method for run in results.runs] == ["extendner"]
    assert set(results.counts["method"]) == set(results.summary["method"]) == {"extendner"}


def test_done_without_the_last_step_is_damaged(tmp_path: Path) -> None:
    write_run(tmp_path, n_steps=2)
    assert "the last step of a run that is 'done'" in str(load_results(tmp_path).damaged[0])


def test_a_folder_that_is_no_results_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no results folder"):
        load_results(tmp_path)
