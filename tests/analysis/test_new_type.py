"""The table, the picture and the sentence of scenario `add-one`."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import matplotlib as mpl
import pytest
from scipy import stats

from cl_ner_bench.analysis.comparison.compare import Comparison, comparisons
from cl_ner_bench.analysis.comparison.verdict import verdict
from cl_ner_bench.analysis.data.frames import load_results
from cl_ner_bench.analysis.figures.figure import ReportFigure, Theme
from cl_ner_bench.analysis.figures.scatter import new_type_scatter
from cl_ner_bench.analysis.figures.style import rc
from cl_ner_bench.analysis.report.files import report_files
from cl_ner_bench.analysis.table import Table
from cl_ner_bench.analysis.tables.new_type import new_type_tables
from cl_ner_bench.scenarios.statistics import MENTION_COLUMNS
from cl_ner_bench.testing.results import triple, write_add_one, write_grid, write_run

SCORES = {
    "spankl": [(50, 80, 78), (40, 70, 66), (61.5, 75, 75)],
    "finetune-span": [(70, 80, 20), (58, 70, 0), (62, 75, 10)],
    "joint-span": [(60, 80, 82), (80, 70, 73), (70, 75, 74)],
}
NEW, BEFORE, AFTER = ([row[i] for row in SCORES["spankl"]] for i in range(3))


def of(folder: Path) -> tuple[Comparison, Table]:
    results = load_results(folder)
    (c,) = comparisons(results)
    (table,) = new_type_tables(results)
    return c, table


def drawn_of(c: Comparison) -> ReportFigure:
    with mpl.rc_context(rc()):
        (drawn,) = new_type_scatter(c, Theme.of([c], "paper"))
    return drawn


def test_means_and_intervals_over_newcomers(tmp_path: Path) -> None:
    c, table = of(write_add_one(tmp_path, SCORES, seeds=(0, 1)))
    assert c.adds_one
    row = table.frame.set_index("label").loc["SpanKL"]
    lost = [b - a for b, a in zip(BEFORE, AFTER, strict=True)]
    for name, values in (
        ("new", [v + 1 for v in NEW]),  # the mean of two seeds
        ("before", [v + 1 for v in BEFORE]),
        ("after", [v + 1 for v in AFTER]),
        ("lost", lost),
    ):
        low, high = stats.t.interval(0.95, 2, loc=sum(values) / 3, scale=stats.sem(values))
        assert [row[f"{name}_{part}"] for part in ("mean", "low", "high")] == pytest.approx(
            [sum(values) / 3, low, high], abs=2e-3
        )
    assert row["n"] == 3  # newcomers, not runs
    assert "Newcomers: CAR, DOG, TEA." in table.caption


def test_doing_nothing_is_the_model_of_step_1(tmp_path: Path) -> None:
    _, table = of(write_add_one(tmp_path, SCORES))
    row = table.frame.set_index("label").loc["Doing nothing (span)"]
    assert (row["new_mean"], row["lost_mean"]) == (0, 0)
    assert row["before_mean"] == row["after_mean"] == pytest.approx(75, abs=1e-3)


def test_joint_training_of_the_last_step_alone_is_compared_with_the_others_model_of_step_1(tmp_path: Path) -> None:
    _, table = of(write_add_one(tmp_path, SCORES, joint_last=True))
    lost = table.frame.set_index("label").loc["Joint (span)", "lost_mean"]
    assert lost == pytest.approx(75 - (82 + 73 + 74) / 3, abs=1e-3)


def test_a_frozen_encoder_s_own_model_of_step_1_is_nobody_else_s(tmp_path: Path) -> None:
    frozen = {**SCORES, "analytic-span": [(20, 40, 30)] * 3}
    _, table = of(write_add_one(tmp_path, frozen, joint_last=True))
    rows = table.frame.set_index("label")
    assert rows.loc["Joint (span)", "lost_mean"] == pytest.approx(75 - (82 + 73 + 74) / 3, abs=1e-3)
    assert rows.loc["Doing nothing (span)", "before_mean"] == pytest.approx(75, abs=1e-3)
    assert rows.loc["Analytic (span)", "lost_mean"] == pytest.approx(10, abs=1e-3)


def test_doing_nothing_has_the_rounds_of_the_methods(tmp_path: Path) -> None:
    _, table = of(write_add_one(tmp_path, SCORES, orders=(1,), seeds=(0, 1, 2)))
    rows = table.frame.set_index("label")
    columns = ["n", "before_mean", "before_low", "before_high"]
    assert rows.loc["Doing nothing (span)", columns].tolist() == rows.loc["SpanKL", columns].tolist()


def test_a_note_gives_the_mentions_that_each_newcomer_was_learned_from(tmp_path: Path) -> None:
    write_add_one(tmp_path, SCORES, orders=(0, 2), fingerprints={"data": "d0", "split": "s0", "encoder": "e0"})
    rows = ["toy,s0,0,0,2,CAR,1,24,1,0.5", "toy,s0,1,0,2,TEA,1,1031,1,0.5", "toy,other,1,0,2,TEA,1,7,1,0.5"]
    text = "\n".join([",".join(MENTION_COLUMNS), *rows])
    (tmp_path / "mentions.csv.gz").write_bytes(gzip.compress(text.encode()))
    _, table = of(tmp_path)
    assert table.notes[-1] == "train mentions of the new type: CAR 24, TEA 1,031"


def test_of_one_newcomer_seeds_count(tmp_path: Path) -> None:
    c, table = of(write_add_one(tmp_path, SCORES, orders=(1,), seeds=(0, 1, 2)))
    row = table.frame.set_index("label").loc["SpanKL"]
    assert row["n"] == 3
    assert row["new_high"] - row["new_mean"] == pytest.approx(stats.t.ppf(0.975, 2) * 2 / math.sqrt(3), abs=2e-3)
    assert "Mean over n seeds of one newcomer; low, high: 95 % t interval over them. Newcomers: DOG." in table.caption
    assert "3 seeds of one newcomer (DOG)" in verdict(c, load_results(tmp_path))[0]


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_of_one_newcomer_doing_nothing_counts_seeds_not_methods(tmp_path: Path, seeds: tuple[int, ...]) -> None:
    _, table = of(write_add_one(tmp_path, SCORES, orders=(1,), seeds=seeds))
    row = table.frame.set_index("label").loc["Doing nothing (span)"]
    assert row["n"] == len(seeds)
    assert math.isnan(row["new_low"]) == (len(seeds) == 1)


def test_a_newcomer_without_test_mentions_has_no_f1(tmp_path: Path) -> None:
    write_run(
        tmp_path,
        "spankl",
        {1: {"CAR": triple(80), "DOG": triple(80)}, 2: {"CAR": triple(80), "DOG": triple(80), "TEA": [0, 5, 0]}},
        [
            {"name": "all but TEA", "types": ["CAR", "DOG"], "learned_at": 1},
            {"name": "TEA", "types": ["TEA"], "learned_at": 2},
        ],
        order=2,
        scenario="add-one",
        order_of="newcomer",
    )
    results = load_results(tmp_path)
    (c,) = comparisons(results)
    assert new_type_tables(results) == []
    assert new_type_scatter(c, Theme.of([c], "paper")) == []
    assert "no newcomer has test mentions" in verdict(c, results)[1]


def test_the_answer_begins_with_gain_and_loss(tmp_path: Path) -> None:
    c, _ = of(write_add_one(tmp_path, SCORES))
    first = verdict(c, load_results(tmp_path))[0]
    assert first.startswith("One new type, F1 over 3 newcomers, 95 % interval. SpanKL: new type 50.5 (")
    assert "old types lose 2.0 (" in first
    assert "retraining on everything, Joint (span): new type 70.0" in first
    assert "old types gain 1.3 (-3.8 to 6.5); doing nothing" in first
    assert first.endswith("; doing nothing: 0.0 and 0.0.")


def test_the_picture_has_a_point_for_each_method_and_for_doing_nothing(tmp_path: Path) -> None:
    c, _ = of(write_add_one(tmp_path, SCORES))
    drawn = drawn_of(c)
    assert drawn.name == "new_type-all-toy-add-one-minilm"
    points = drawn.frame.set_index("label")
    assert {*points.index} == {"SpanKL", "Fine-tuning (span)", "Joint (span)", "Doing nothing"}
    assert [*points.loc["Doing nothing", ["lost_mean", "new_mean"]]] == [0, 0]
    half = stats.t.ppf(0.975, 2) * stats.sem(NEW)
    assert points.loc["SpanKL", "new_half"] == pytest.approx(half, abs=2e-3)
    names = {text.get_text() for ax in drawn.figure.axes for text in ax.texts}
    assert names == {*points.index}


def test_other_grids_have_none_of_it(tmp_path: Path) -> None:
    write_grid(tmp_path, ("spankl", "joint-span"), n_steps=2)
    results = load_results(tmp_path)
    (c,) = comparisons(results)
    assert new_type_tables(results) == []
    assert new_type_scatter(c, Theme.of([c], "paper")) == []
    assert not verdict(c, results)[0].startswith("One new type")


@pytest.mark.slow
def test_a_report_holds_table_picture_and_sentence(tmp_path: Path, no_images: None) -> None:
    files = report_files(load_results(write_add_one(tmp_path, SCORES)), formats=["png"])
    names = [name for name in files if "new_type" in name]
    assert {Path(name).suffix for name in names if name.startswith("tables/")} == {".csv", ".md", ".tex"}
    assert {Path(name).suffix for name in names if name.startswith("figures/")} == {".csv", ".png", ".txt"}
    page = files["report.html"].decode()
    assert "<p>One new type, F1 over 3 newcomers" in page
    assert 'data-kind="new_type"' in page
