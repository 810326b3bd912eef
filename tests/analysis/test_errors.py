"""The error analysis: numbers worked out by hand, identities, and what it says where something is missing."""

from __future__ import annotations

import gzip
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cl_ner_bench import HOME
from cl_ner_bench.analysis.data.frames import load_results
from cl_ner_bench.analysis.data.outcomes import KINDS
from cl_ner_bench.analysis.data.run_outcomes import outcomes_of
from cl_ner_bench.analysis.errors import breakdown
from cl_ner_bench.analysis.errors.breakdown import LOST, error_analyses, error_tables
from cl_ner_bench.analysis.figures.errors import LAYERS, error_figures
from cl_ner_bench.analysis.scores.scorer import f1
from cl_ner_bench.analysis.table import Cell, Table
from cl_ner_bench.errors import UserError
from cl_ner_bench.testing.results import write_grid, write_run

TASKS = [
    {"name": "one", "types": ["A", "NA"], "learned_at": 1},  # a type that pandas would read as missing
    {"name": "two", "types": ["C"], "learned_at": 2},
]
# Of sentence i one word a mention; gold, and what is predicted after step 1 and after step 2.
GOLD = [[0, 1, "A"], [2, 3, "NA"], [4, 6, "A"], [7, 8, "C"]]
FIRST = [[0, 1, "A"], [2, 3, "A"], [4, 6, "A"]]
SECOND = [[0, 1, "C"], [4, 5, "A"], [7, 8, "C"], [9, 10, "C"], [11, 12, "A"]]
HEADER = "dataset,split,id,start,end,type,train_freq_surface,train_freq_type,seen,hidden_rate\n"
MENTIONS = (
    "toy,s0,0,0,1,A,3,40,1,0.5\ntoy,s0,0,2,3,NA,0,10,0,0.8\ntoy,s0,0,4,6,A,0,40,0,0.5\ntoy,s0,0,7,8,C,1,20,1,0.9\n"
)


def write(folder: Path, steps: Mapping[int, Sequence[Any]] | None = None, method: str = "spankl", **more: Any) -> Path:
    """A run of one sentence with these predictions after each step."""
    steps = steps or {1: FIRST, 2: SECOND}
    counts = {k: {type_: [1, 1, 1] for type_ in ("A", "NA", "C")[: k + 1]} for k in steps}
    home = write_run(folder, method, counts, TASKS, **more)
    for step, pred in steps.items():
        gold = [m for m in GOLD if step == 2 or m[2] != "C"]
        row = json.dumps({"id": 0, "gold": gold, "pred": [[*m, 0.5] for m in pred]})
        (home / f"step-{step}" / "predictions.jsonl.gz").write_bytes(gzip.compress(row.encode()))
    return home


def write_mentions(folder: Path, rows: str = MENTIONS) -> None:
    (folder / "mentions.csv.gz").write_bytes(gzip.compress((HEADER + rows).encode()))


def table(folder: Path, kind: str) -> Table:
    return next(t for t in error_tables(load_results(folder)) if t.name.startswith(f"{kind}-all-"))


def means(t: Table) -> dict[tuple[str, str], list[float | str]]:
    """The entries of each line by section and the line's name."""
    return {
        (title, str(line[0])): [cell.mean if isinstance(cell, Cell) else cell for cell in line[1:]]
        for title, lines in t.sections
        for line in lines
    }


def test_the_points_lost_are_those_worked_out_by_hand(tmp_path: Path) -> None:
    write(tmp_path)
    # After step 2: 1 right, 3 of 4 gold mentions lost, 4 of 5 predictions wrong: F1 = 2 / 9, a point is 100 / 9.
    point = 100 / 9
    expected = {
        ("What is left", "micro-F1"): 2 * point,
        ("Lost gold mentions of old types", "predicted as O (E2O)"): point,  # NA
        ("Lost gold mentions of old types", "as a type of this step"): point,  # the first A, as C
        ("Lost gold mentions of old types", "wrong boundary"): point,  # the second A
        ("False positives", "O as a type of this step (O2E)"): point,  # C at 9
        ("False positives", "old mention as a type of this step (O2E)"): point,  # C at 0
        ("False positives", "wrong boundary"): point,  # A at 4
        ("False positives", "O as an old type"): point,  # A at 11
    }
    found = {key: values[0] for key, values in means(table(tmp_path, "errors")).items()}
    assert found == pytest.approx({key: expected.get(key, 0.0) for key in found})
    assert expected.keys() <= found.keys()


def test_each_step_has_a_line_that_adds_up_to_100(tmp_path: Path) -> None:
    write_grid(tmp_path, ["spankl", "extendner", "joint-span"], n_steps=4, runs=[(0, 0), (1, 0)], joint_last=True)
    t = table(tmp_path, "errorsteps")
    assert [[line[0] for line in lines] for _, lines in t.sections] == [["S1", "S2", "S3", "S4"]] * 2 + [["S4"]]
    for values in means(t).values():
        assert sum(float(v) for v in values) == pytest.approx(100)


@pytest.mark.slow
@given(st.lists(st.lists(st.integers(0, 50), min_size=len(KINDS), max_size=len(KINDS)), min_size=1, max_size=3))
def test_f1_and_what_is_lost_make_100_points(numbers: list[list[int]]) -> None:
    points = breakdown._points(np.array(numbers))
    for k, row in enumerate(numbers):
        kinds = dict(zip(KINDS, row, strict=True))
        tp = kinds["old-right"] + kinds["new-right"]
        fp = sum(n for kind, n in kinds.items() if kind.startswith("false-"))
        fn = sum(row) - tp - fp
        assert points["micro_f1"][k] == pytest.approx(f1(tp, fp, fn), nan_ok=True)
        if tp + fn:
            assert points["micro_f1"][k] + sum(points[kind][k] for kind in LOST) == pytest.approx(100)


def test_every_kind_is_in_the_table_and_in_the_figure_once() -> None:
    assert sorted(kind for kinds in breakdown.SECTIONS.values() for kind in kinds) == sorted(LOST)
    assert sorted(kind for kinds, *_ in LAYERS.values() for kind in kinds) == sorted(["micro_f1", *LOST])


def test_the_confusion_counts_each_gold_mention_once(tmp_path: Path) -> None:
    write(tmp_path)
    t = table(tmp_path, "confusion")
    assert t.header == ("Gold", "n", "A", "NA", "C", "O")
    assert means(t) == {
        ("SpanKL", "A"): ["2", 50.0, 0.0, 50.0, 0.0],  # one with a wrong boundary, one as C
        ("SpanKL", "NA"): ["1", 0.0, 0.0, 0.0, 100.0],
        ("SpanKL", "C"): ["1", 0.0, 0.0, 100.0, 0.0],
        ("SpanKL", "O"): ["2", 50.0, 0.0, 50.0, 0.0],
    }


def test_a_test_part_without_mentions_has_a_confusion_without_shares(tmp_path: Path) -> None:
    home = write(tmp_path)
    for step in (1, 2):
        row = json.dumps({"id": 0, "gold": [], "pred": []})
        (home / f"step-{step}" / "predictions.jsonl.gz").write_bytes(gzip.compress(row.encode()))
    found = means(table(tmp_path, "confusion"))
    assert [values[0] for values in found.values()] == ["0"] * 4
    assert all(math.isnan(share) for values in found.values() for share in values[1:])  # type: ignore[arg-type]
    assert "confusion" not in {p.kind for p in error_figures(load_results(tmp_path))}, "panels without a number"


@pytest.mark.slow
def test_libraries_that_draw_and_test_are_imported_when_they_do(tmp_path: Path) -> None:
    write(tmp_path)
    code = (
        "import sys\nfrom pathlib import Path\nfrom cl_ner_bench.analysis import verify\n"
        "assert 'pandas' not in sys.modules, 'imported while models are read'\n"
        f"assert verify._derived(Path({str(tmp_path)!r})).files\nfrom cl_ner_bench.analysis.report import files\n"
        "heavy = {'jinja2', 'matplotlib', 'scipy'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@given(st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), max_size=40))
def test_cells_hold_what_pandas_computes(values: list[float]) -> None:
    series, cell = pd.Series(values, dtype=float), breakdown._cell(np.array(values, dtype=float))
    expected = (float(series.mean()), float(series.std(ddof=1)))
    assert np.array_equal((cell.mean, cell.std), expected, equal_nan=True), "to the last bit"


def test_many_types_are_shown_by_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breakdown, "MANY_TYPES", 2)
    write(tmp_path)
    t = table(tmp_path, "confusion")
    assert t.header == ("Gold", "n", "one", "two", "O")
    assert means(t)["SpanKL", "one"] == ["3", pytest.approx(100 / 3), pytest.approx(100 / 3), pytest.approx(100 / 3)]
    assert "each task" in t.caption


def test_recall_when_learned_and_at_the_end_by_attribute(tmp_path: Path) -> None:
    write(tmp_path)
    write_mentions(tmp_path)
    t = table(tmp_path, "mentions")
    assert t.header == ("Mentions", "n", "SpanKL, learned", "SpanKL, end")
    found = means(t)
    # C is learned in the last step: it cannot be forgotten, and counts nowhere.
    assert found["surface form in training", "seen"] == ["1", 100.0, 0.0]
    assert found["surface form in training", "unseen"][:2] == ["2", 50.0]
    assert found["training mentions of the surface form", "2–9"][:2] == ["1", 100.0]
    assert found["words", "1"][:2] == ["2", 50.0]
    assert found["words", "2"][:2] == ["1", 100.0]
    # Thirds of hidden rates 50, 50, 80 and 90 % end at 50 and 80.
    assert found["hidden mentions of the type (%)", "≤ 50"][:2] == ["2", 100.0]
    assert found["hidden mentions of the type (%)", "50–80"][:2] == ["1", 0.0]


def test_similarity_of_types_is_what_joint_training_confuses(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path, {2: [[0, 1, "C"], [2, 3, "NA"], [4, 6, "A"], [7, 8, "C"]]}, "joint-span")
    write_mentions(tmp_path)
    confused = breakdown._confusion_rates(error_analyses(results := load_results(tmp_path))[0].c, results)
    assert confused == {"A": 50.0, "NA": 0.0, "C": 0.0}
    t = table(tmp_path, "mentions")
    assert t.header[2:] == (
        "SpanKL, learned",
        "SpanKL, end",
        "Joint (span), end",
    )  # joint training has its last step only
    number, _, *ends = means(t)["joint training takes the type for another (%)", "0–50"]
    assert (number, ends) == ("2", [0.0, 50.0])


@pytest.mark.slow
def test_what_cannot_be_computed_is_left_out_with_a_note(tmp_path: Path) -> None:
    write(tmp_path)
    results = load_results(tmp_path)
    names = [t.name.split("-")[0] for t in error_tables(results)]
    assert names == ["errors", "errorsteps", "confusion"]
    assert any("without mentions.csv.gz" in note for note in table(tmp_path, "errors").notes)
    assert [p.name.split("-")[0] for p in error_figures(results)] == ["errors", "confusion"]
    write_mentions(tmp_path)
    notes = table(tmp_path, "errors").notes
    assert not any("mentions.csv.gz" in note for note in notes)
    assert any("without joint training" in note for note in notes)


@pytest.mark.parametrize(
    "content", [b"no gzip", gzip.compress(b"a,b\n1,2\n", mtime=0), gzip.compress(b"x", mtime=0)[:15]]
)
def test_mentions_that_are_none_are_refused_by_name(tmp_path: Path, content: bytes) -> None:
    write(tmp_path)
    (tmp_path / "mentions.csv.gz").write_bytes(content)
    with pytest.raises(UserError, match=r"mentions\.csv\.gz cannot be read"):
        error_tables(load_results(tmp_path))


@pytest.mark.slow
def test_a_real_run_adds_up_to_its_stored_counts(tmp_path: Path) -> None:
    source = next((HOME / "results" / "reference" / "fewnerd" / "runs").glob("extendner-*"))
    home = tmp_path / "runs" / source.name
    shutil.copytree(source, home, ignore=shutil.ignore_patterns("reduced*"))
    results = load_results(tmp_path)
    r = outcomes_of(results, source.name)
    for k, numbers in zip(r.steps, r.errors, strict=True):
        stored = json.loads((home / f"step-{k}" / "counts.json").read_text())["views"]["all"]["test"]
        for type_, triple in stored.items():
            kinds = dict(zip(KINDS, numbers[:, r.types.index(type_)].tolist(), strict=True))
            tp = kinds["old-right"] + kinds["new-right"]
            fp = sum(n for kind, n in kinds.items() if kind.startswith("false-"))
            assert [tp, fp, sum(kinds.values()) - tp - fp] == triple
    steps = error_analyses(results)[0].steps
    scores = results.scores[results.scores["view"] == "all"]
    assert steps["micro_f1"].to_numpy() == pytest.approx(scores["micro_f1"].to_numpy(), abs=1e-9)


@pytest.mark.slow
def test_figures_hold_the_numbers_of_the_tables_and_do_not_share_names(tmp_path: Path) -> None:
    methods = ["spankl", "extendner", "finetune-span", "seqstar", "joint-span"]
    write_grid(tmp_path, methods, n_steps=8, runs=[(0, 0), (0, 1), (1, 0)])
    results = load_results(tmp_path)
    drawn = error_figures(results, "slides")
    assert len({p.name for p in drawn}) == len(drawn) > 3  # not all panels fit on one slide
    lost = pd.concat([p.frame for p in drawn if p.name.startswith("errors")])
    assert lost.groupby(["method", "step"])["points_mean"].sum().to_numpy() == pytest.approx(100)
    assert set(lost["method"]) == set(methods)
    again = error_figures(load_results(tmp_path), "slides")
    assert [p.to_bytes("png") for p in again[:1]] == [p.to_bytes("png") for p in drawn[:1]]
