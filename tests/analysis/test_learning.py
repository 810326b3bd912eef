"""Learning at every step: what is starved by its recipe, what chose no epoch, and the references of one task each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cl_ner_bench import HOME
from cl_ner_bench.analysis.comparison.compare import Comparison, comparisons
from cl_ner_bench.analysis.comparison.learning import learning_checks, starved_rows, steps_without_choice
from cl_ner_bench.analysis.comparison.notes import notes_of
from cl_ner_bench.analysis.comparison.verdict import verdict
from cl_ner_bench.analysis.data.frames import Results, load_results
from cl_ner_bench.analysis.figures.figure import title_with_warnings
from cl_ner_bench.analysis.report.files import report_files
from cl_ner_bench.analysis.scores.measures import MEASURES
from cl_ner_bench.analysis.table import Cell
from cl_ner_bench.analysis.tables.collect import tables
from cl_ner_bench.analysis.tables.latex import to_latex
from cl_ner_bench.analysis.tables.scores import learning_table, main_table
from cl_ner_bench.analysis.tables.text import to_csv, to_markdown
from cl_ner_bench.cli.results import results_text
from cl_ner_bench.testing.results import triple, write_matrix, write_run

TYPES = ("A", "B", "C")
STARVED = "starved by this recipe"


def learned(folder: Path, method: str, scores: Sequence[float], **more: Any) -> Path:
    """A run that learns type k with the k-th score and keeps it."""
    matrix = [list(scores[:k]) for k in range(1, len(scores) + 1)]
    return write_matrix(folder, matrix, TYPES, method=method, **more)


def last_only(folder: Path, method: str, scores: Sequence[float], **more: Any) -> Path:
    tasks = [{"name": t, "types": [t], "learned_at": k} for k, t in enumerate(TYPES, 1)]
    counts = {3: {t: triple(f1) for t, f1 in zip(TYPES, scores, strict=True)}}
    return write_run(folder, method, counts, tasks, **more)


def compared(folder: Path) -> tuple[Results, Comparison]:
    results = load_results(folder)
    (comparison,) = comparisons(results)
    return results, comparison


def only(folder: Path) -> Comparison:
    return compared(folder)[1]


@pytest.mark.parametrize(
    ("new_task", "reference", "marked"),
    [(29, 50, True), (30, 50, False), (0, 9.9, False), (0, 10, True), (80, 50, False), (5, 15, True)],
)
def test_far_below_is_less_than_60_percent_and_10_points(
    tmp_path: Path, new_task: float, reference: float, marked: bool
) -> None:
    learned(tmp_path, "spankl", [80, new_task, 80])
    learned(tmp_path, "finetune-span", [80, reference, 80])
    assert starved_rows(only(tmp_path)) == ["SpanKL"] * marked


def test_a_step_without_updates_is_not_starved(tmp_path: Path) -> None:
    """A closed form learns what it can: no recipe would teach it more. Its trained steps are checked as others are."""
    updates = [{"step": 1, "updates": 300}, {"step": 2, "updates": 0}, {"step": 3, "updates": 0}]
    learned(tmp_path, "spankl", [80, 10, 10], learned=updates)
    learned(tmp_path, "frozen-span", [20, 10, 80], learned=updates)
    learned(tmp_path, "finetune-span", [80, 80, 80])
    c = only(tmp_path)
    assert {check.row.label: [s.step for s in check.starved] for check in learning_checks(c)} == {
        **{"SpanKL": [], "Frozen (span)": [1]},
        "Fine-tuning (span)": [],
    }


def test_the_best_reference_of_the_step_counts_and_is_named(tmp_path: Path) -> None:
    learned(tmp_path, "spankl", [80, 40, 30])
    learned(tmp_path, "finetune-span", [80, 50, 45])
    learned(tmp_path, "single-task-span", [80, 70, 20], label="Single task (span)")
    last_only(tmp_path, "joint-span", [90, 90, 60])
    (note,) = [note for note in notes_of(only(tmp_path)) if note.startswith(STARVED)]
    assert note == (
        f"{STARVED}, raise head_lr or epochs before judging: SpanKL at 2 of 3 steps ("
        "step 2, B: 40.0; Single task (span): 70.0)"
    )
    checks = {check.row.label: check for check in learning_checks(only(tmp_path))}
    assert [(s.task, s.f1, s.reference, s.source) for s in checks["SpanKL"].starved] == [
        ("B", pytest.approx(40), pytest.approx(70), "Single task (span)"),
        ("C", pytest.approx(30), pytest.approx(60), "Joint (span)"),
    ]
    # Fine-tuning itself is held against the others.
    assert (checks["Fine-tuning (span)"].checked, checks["Fine-tuning (span)"].starved) == (3, ())


@pytest.mark.parametrize(
    "other",
    [
        {"method": "finetune-token"},
        {"method": "frozen-span"},
        {"setting": "another"},
        {"seed": 1},
        {"order": 1},
        {"fingerprints": {"data": "d0", "split": "another", "encoder": "e0"}},
    ],
)
def test_another_setting_is_no_reference(tmp_path: Path, other: Mapping[str, Any]) -> None:
    learned(tmp_path, "spankl", [80, 0, 0])
    learned(tmp_path, **{"method": "finetune-span", "scores": [80, 80, 80], **other})
    c = only(tmp_path)
    assert starved_rows(c) == []
    assert any(note.startswith("learning was checked at step 1 only: ") and "SpanKL" in note for note in notes_of(c))


def test_what_was_not_checked_is_said_with_the_way_to_check_it(tmp_path: Path) -> None:
    learned(tmp_path, "spankl", [80, 0, 0])
    learned(tmp_path, "extendner", [80, 0, 0])
    learned(tmp_path, "finetune-token", [80, 80, 80])
    notes = notes_of(only(tmp_path))
    (note,) = [note for note in notes if note.startswith("learning was checked at step 1 only: ")]
    assert "SpanKL" in note
    assert note.endswith(" (`--methods ...,single-task` checks every step)")
    write_run(tmp_path / "one", "spankl")
    assert not any("checked" in note for note in notes_of(only(tmp_path / "one")))


def test_steps_without_a_reference_are_counted_apart(tmp_path: Path) -> None:
    for seed in (0, 1):
        learned(tmp_path, "spankl", [80, 0, 0], seed=seed)
        last_only(tmp_path, "joint-span", [90, 90, 60], seed=seed)
    (note,) = [note for note in notes_of(only(tmp_path)) if note.startswith(STARVED)]
    assert "SpanKL at 2 of 2 checked steps (6 in all)" in note


@pytest.mark.slow
def test_it_is_marked_in_every_output(tmp_path: Path, no_images: None) -> None:
    for seed in (0, 1, 2):
        learned(tmp_path, "spankl", [80 + seed, 80, 80], seed=seed)
        learned(tmp_path, "frozen-span", [80, 2 + seed, 80], seed=seed)
        learned(tmp_path, "finetune-span", [80, 61, 70], seed=seed)
    results, c = compared(tmp_path)
    mark = f"{STARVED}, raise head_lr or epochs before judging: Frozen (span) at 3 of 9 steps"
    for table in tables(results):
        for text in (to_csv(table), to_markdown(table).replace("\\", ""), to_latex(table).replace("\\", "")):
            assert mark in text, table.name
    assert mark in " ".join(results_text(results).replace("\n  ", " ").split("\n"))
    assert title_with_warnings(c).endswith(f"({STARVED}: Frozen (span))")
    (sentence,) = [sentence for sentence in verdict(c, results) if STARVED in sentence.lower()]
    assert sentence.endswith("the methods': Frozen (span) at 3 of 9 steps. Raise --head-lr or --epochs.")
    files = report_files(results, formats=("png",))
    assert mark in files["report.html"].decode()
    figures = [name for name in files if name.startswith("figures/") and name.endswith(".csv")]
    assert figures
    assert all(mark in files[name].decode() for name in figures)


def test_the_table_counts_steps_of_each_method(tmp_path: Path) -> None:
    zero, fine = [0.0, 0.0], [0.0, 20.0]
    steps = [
        {"step": k, "updates": 300, "warmup_updates": 30, "dev_scores": scores, "remarks": remarks}
        for k, (scores, remarks) in enumerate(
            [(fine, []), (zero, ["dev score 0 in every epoch: the first epoch is kept"]), (zero, [])], 1
        )
    ]
    learned(tmp_path, "spankl", [80, 0, 20], learned=steps)
    learned(tmp_path, "finetune-span", [80, 80, 80])
    c = only(tmp_path)
    table = learning_table(c, "all")
    assert table is not None
    assert learning_table(c, "filter") is None
    lines = {line[0]: line[1:] for _, rows in table.sections for line in rows}
    starved, dev_zero, *scores = lines["SpanKL"]
    assert (starved, dev_zero) == ("2 of 3", "2 of 3")
    assert [cell.mean for cell in scores if isinstance(cell, Cell)] == pytest.approx([80, 0, 20])
    assert lines["Fine-tuning (span)"][:2] == ("–", "–")
    frame = table.frame[table.frame["label"] == "SpanKL"]
    assert list(frame["reference_mean"]) == pytest.approx([80, 80, 80])
    assert list(frame["starved"]) == [0, 1, 1]


def test_a_dev_score_of_0_in_every_epoch_is_told_once_with_method_and_steps(tmp_path: Path) -> None:
    """With the trainer's remark, and of runs that were stored before there was one."""
    remark = "dev score 0 in every epoch: the first epoch is kept"
    step = {"updates": 300, "warmup_updates": 30}
    for method, remarks in (("spankl", []), ("extendner", [remark])):
        rows = [
            {"step": 1, **step, "dev_scores": [0.0, 3.0], "remarks": ["5 sentences lost mentions"]},
            {"step": 2, **step, "dev_scores": [0.0, 0.0], "remarks": remarks},
            {"step": 3, **step, "dev_scores": [None, None]},
        ]
        learned(tmp_path, method, [80, 80, 80], learned=rows)
    c = only(tmp_path)
    assert [steps_without_choice(run) for run in c.runs] == [[2], [2]]
    assert [note for note in notes_of(c) if "dev score" in note] == [
        f"{remark}: SpanKL 1 of 2 steps (2), ExtendNER 1 of 2 steps (2)"
    ]
    assert "step 1: 5 sentences lost mentions" in notes_of(c)


# The references of one task each


@pytest.mark.slow
def test_a_single_task_model_is_a_reference_for_learning_and_nothing_else(tmp_path: Path) -> None:
    """Its counts of other tasks, none of which it knows, reach no frame, row or figure."""
    for order, seed in ((0, 0), (0, 1), (1, 0)):
        learned(tmp_path, "spankl", [80, 60, 50], order=order, seed=seed)
    before = main_table(only(tmp_path), "all").frame
    for order, seed in ((0, 0), (1, 0)):  # not of all pairs
        alone = [[80], [0, 70 + order], [0, 0, 60]]
        write_matrix(tmp_path, alone, TYPES, method="single-task-span", label="Alone", order=order, seed=seed)
    results, c = compared(tmp_path)
    assert [row.method for row in c.rows] == ["spankl"]
    assert len(c.pairs) == 3
    table = main_table(c, "all")
    (title, (line,)) = table.sections[-1]
    assert title.startswith("References for learning")
    values = dict(zip(table.header, line, strict=True))
    assert (values["Method"], values["n"]) == ("Alone", "1")  # both orders show the models of one seed
    assert {name for name, cell in values.items() if isinstance(cell, Cell) and not math.isnan(cell.mean)} == {
        "Learning"
    }
    assert isinstance(values["Learning"], Cell)
    assert values["Learning"].mean == pytest.approx((80 + 70.5 + 60) / 3)
    after = table.frame[table.frame["method"] == "spankl"]
    columns = [name for name in before if name != "notes"]
    pd.testing.assert_frame_equal(after[columns].reset_index(drop=True), before[columns], check_dtype=False)

    summary = results.summary[results.summary["method"] == "single-task-span"]
    assert {name for name in MEASURES if summary[f"{name}_mean"].notna().any()} == {"learning", "learning_types"}
    scores = results.scores[results.scores["method"] == "single-task-span"]
    assert len(scores) == 12
    assert scores[["micro_f1", "task_macro_f1", "gap_micro"]].isna().all().all()
    counts = results.counts[(results.counts["method"] == "single-task-span") & (results.counts["view"] == "all")]
    assert set(counts["step"] == counts["learned_at"]) == {True}
    assert len(counts) == 6
    assert report_files(results, formats=("png",))["report.html"]


@pytest.mark.slow
def test_single_task_models_without_a_method_are_shown_as_they_are(tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        learned(tmp_path, "single-task-span", [80, 70, 60], label="Alone", seed=seed)
    results, c = compared(tmp_path)
    assert [row.label for row in c.rows] == ["Alone"]
    (line,) = [line for line in results_text(results).splitlines() if line.startswith("  Alone")]
    assert line.split() == ["Alone", *["–"] * 3, "70.0±0.0", "–"]
    assert report_files(results, formats=("png",))["report.html"]


def test_the_stored_reference_runs() -> None:
    """SEQ* and its like learned next to nothing of new tasks; ExtendNER and SpanKL did not fall short."""
    c = only(HOME / "results" / "reference" / "fewnerd")
    assert sorted(starved_rows(c)) == ["Fine-tune (span)", "Frozen encoder (span)", "SEQ*"]
    assert {check.row.label: len(check.starved) for check in learning_checks(c)}["SEQ*"] == 6
    assert sum(len(steps_without_choice(run)) for run in c.runs) == 9
