"""The reference results that the repository holds: every number follows from stored predictions."""

from __future__ import annotations

import gzip
import io
import json
import os
from functools import cache
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest

from cl_ner_bench import HOME
from cl_ner_bench.analysis.data.frames import load_results
from cl_ner_bench.analysis.figures.figure import ReportFigure
from cl_ner_bench.analysis.report.files import report_files
from cl_ner_bench.analysis.scores.scorer import count
from cl_ner_bench.corpora.load import load_corpus
from cl_ner_bench.testing.forks import command

pytestmark = pytest.mark.slow

REFERENCE = HOME / "results" / "reference"
FOLDERS = sorted(path.parent for path in REFERENCE.rglob("runs"))
WITH_TABLES = [folder for folder in FOLDERS if (folder / "tables").is_dir()]


def test_there_are_reference_results() -> None:
    assert WITH_TABLES
    assert len(FOLDERS) > len(WITH_TABLES)


@pytest.mark.parametrize("folder", sorted((REFERENCE / "instrument-2").glob("*/runs")), ids=lambda f: f.parent.name)
def test_the_instrument_is_trained_long_enough_on_todays_corpus(folder: Path) -> None:
    results = load_results(folder.parent)
    first = results.scores[(results.scores["step"] == 1) & (results.scores["view"] == "all")]
    assert first[first["method"] == "spankl"]["micro_f1"].min() >= 85
    card = REFERENCE / "instrument-2" / "cards" / f"{folder.parent.name}.toml"
    assert {run.fingerprints["data"] for run in results.runs} == {load_corpus(str(card)).fingerprint}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda f: f.name)
def test_counts_follow_from_predictions(folder: Path) -> None:
    steps = sorted(folder.glob("runs/*/step-*"))
    assert steps
    for step in steps:
        with gzip.open(step / "predictions.jsonl.gz", "rt", encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
        views = json.loads((step / "counts.json").read_text())["views"]
        for view, chosen in (("all", rows), ("filter", [r for r in rows if r["gold"]])):
            gold, pred = ([[tuple(m) for m in r[side]] for r in chosen] for side in ("gold", "pred"))
            stored = views[view]["test"]
            assert {t: list(c) for t, c in count(gold, pred, list(stored)).items()} == stored, step


@cache
def derived(folder: Path) -> dict[str, bytes]:
    """Return the files of a report; images, which nobody looks at, are empty."""
    with mock.patch.object(ReportFigure, "to_bytes", return_value=b""):
        return report_files(load_results(folder), formats=())


@pytest.mark.parametrize("folder", WITH_TABLES, ids=lambda f: f.name)
def test_tables_follow_from_counts(folder: Path) -> None:
    files = derived(folder)
    for name in [n for n in files if n.endswith((".csv", ".md", ".tex"))]:
        assert files[name].decode() == (folder / name).read_text(encoding="utf-8"), name
    summary = pd.read_csv(folder / "summary.csv")
    assert (summary["n_runs"] >= 1).all()


def test_no_output_counts_the_copies_of_a_joint_model() -> None:
    # Three orders and two seeds; joint training after the last step is one model a seed.
    scores = pd.read_csv(REFERENCE / "fewnerd-coarse" / "scores.csv").query("method == 'joint-span' and view == 'all'")
    assert (len(scores), scores["micro_f1"].nunique()) == (6, 2)
    spread = float(np.std(scores["micro_f1"].unique(), ddof=1))
    files, found = derived(REFERENCE / "fewnerd-coarse"), {}
    for name, content in files.items():
        frame = pd.read_csv(io.BytesIO(content)) if name.endswith(".csv") else pd.DataFrame()
        column = next((column for column in ("n_runs", "n") if column in frame and "method" in frame), None)
        if column and (frame["method"] == "joint-span").any():
            found[name] = int(frame[frame["method"] == "joint-span"][column].max())
    assert len(found) > 15
    assert {name: n for name, n in found.items() if n > 2} == {}
    for name, column in (("main", "micro_f1_std"), ("errors", "points_std"), ("steps", "micro_f1_std")):
        table = pd.read_csv(io.BytesIO(files[f"tables/{name}-all-fewnerd-coarse-split-minilm.csv"]))
        assert table.query("method == 'joint-span'")[column].iloc[0] == pytest.approx(spread), name


def test_the_page_of_findings_quotes_what_is_stored() -> None:
    page = (HOME / "docs" / "findings.md").read_text(encoding="utf-8")
    tables = REFERENCE / "fewnerd-coarse" / "tables"
    pairs = pd.read_csv(tables / "differences-all-fewnerd-coarse-split-minilm.csv").query("measure == 'task_macro_f1'")
    ahead = pairs.set_index(["method", "other_method"]).sort_index()
    for other, name in (("finetune-token", "fine-tuning"), ("spankl", "SpanKL")):
        found = ahead.loc["extendner", other]
        assert f"ExtendNER ends {found['mean']:.1f} points above {name}" in page
        assert f"95 % {found['low']:.1f} to {found['high']:.1f}, n = {found['n']}" in page
        assert f"{found['p_holm']:.2g} after" in page
    scores = pd.read_csv(tables / "main-all-fewnerd-coarse-split-minilm.csv").set_index("method")
    ours, tuned, joint = (scores.loc[name] for name in ("extendner", "finetune-token", "joint-token"))
    forgets = f"{ours['forgetting_mean']:.1f} points on average, fine-tuning {tuned['forgetting_mean']:.1f}"
    assert f"It forgets {forgets}" in page
    assert f"({ours['learning_mean']:.1f} and {tuned['learning_mean']:.1f})" in page
    behind = joint["task_macro_f1_mean"] - ours["learning_mean"]
    assert f"of {ours['gap_mean']:.1f} points that it ends below joint training, it lacks {behind:.1f}" in page


def test_pages_hold_the_tables_that_stored_results_give() -> None:
    code, out, err = command("benchmarks.pages:main", ["benchmarks.pages", "--check"], os.environ)
    assert code == 0, err or out
