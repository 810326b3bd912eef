"""Tables: what is compared, what is bold, and what outputs say of themselves."""

from __future__ import annotations

import gzip
import json
import math
import statistics
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cl_ner_bench import HOME
from cl_ner_bench.analysis.comparison.compare import Comparison, comparisons
from cl_ner_bench.analysis.comparison.notes import notes_of, undefined_notes
from cl_ner_bench.analysis.comparison.statistics import differences
from cl_ner_bench.analysis.data.frames import load_results
from cl_ner_bench.analysis.table import Cell, Table
from cl_ner_bench.analysis.tables.collect import tables
from cl_ner_bench.analysis.tables.latex import to_latex
from cl_ner_bench.analysis.tables.scores import main_table, step_table, type_table
from cl_ner_bench.analysis.tables.text import to_csv, to_markdown
from cl_ner_bench.cli.results import results_text
from cl_ner_bench.testing.results import triple, write_grid, write_run

OF_HAND = (
    "micro_f1",
    "macro_f1",
    "task_macro_f1",
    "avg_micro_f1",
    "avg_macro_f1",
    "forgetting",
    "bwt",
    "learning",
    "gap",
)
THREE = ((0, 0), (0, 1), (1, 0))


def only(folder: Path) -> Comparison:
    (comparison,) = comparisons(load_results(folder))
    return comparison


def cells(table: Table) -> dict[str, dict[str, Cell]]:
    lines = [row for _, rows in table.sections for row in rows]
    return {row[0]: dict(zip(table.header[1:], row[1:], strict=True)) for row in lines}  # type: ignore


def runs(folder: Path, scores: dict[str, float], pairs: Any = THREE, **more: Any) -> Comparison:
    for method, score in scores.items():
        for i, (order, seed) in enumerate(pairs):
            write_run(folder, method, {1: {"A": triple(score + i)}}, order=order, seed=seed, **more)
    return only(folder)


@pytest.mark.slow
def test_a_row_has_all_its_runs_and_differences_the_pairs_that_all_finished(tmp_path: Path) -> None:
    runs(tmp_path, {"spankl": 70, "extendner": 60, "joint-span": 90})
    for seed in (7, 8):  # nobody else finished these pairs
        write_run(tmp_path, "spankl", {1: {"A": triple(21)}}, order=7, seed=seed)
    results = load_results(tmp_path)
    (c,) = comparisons(results)
    assert c.pairs == THREE
    table = main_table(c, "all")
    shown = cells(table)
    assert (shown["SpanKL"]["n"], shown["ExtendNER"]["n"]) == ("5", "3")
    assert shown["SpanKL"]["Micro-F1"].mean == pytest.approx((70 + 71 + 72 + 21 + 21) / 5)
    assert "(order, seed), n = 3 (SpanKL 5)." in table.caption
    summary = results.summary.query("view == 'all'").set_index("method")
    for method, label in (("spankl", "SpanKL"), ("extendner", "ExtendNER")):
        assert summary.loc[method, "micro_f1_mean"] == shown[label]["Micro-F1"].mean
        assert summary.loc[method, "n_runs"] == int(shown[label]["n"])  # type: ignore[call-overload]
    # SpanKL is better in each pair that both finished, though its own mean is the lower one.
    assert shown["SpanKL"]["Micro-F1"].mean < shown["ExtendNER"]["Micro-F1"].mean
    assert [label for label, row in shown.items() if row["Micro-F1"].bold] == ["SpanKL"]
    (d,) = differences(c, "all", "micro_f1", results)
    assert (d.row.label, d.n, d.mean) == ("SpanKL", 3, pytest.approx(10))
    assert notes_of(c)[0] == (
        "differences between methods are taken over n = 3, without order 7 seed 7, 8 (not finished: ExtendNER)"
    )


@pytest.mark.slow
def test_a_reference_that_lacks_a_run_takes_none_from_the_methods(tmp_path: Path) -> None:
    c = runs(tmp_path, {"spankl": 70, "extendner": 60})
    write_run(tmp_path, "joint-span", {1: {"A": triple(90)}})
    c = only(tmp_path)
    assert (c.pairs, c.left_out) == (THREE, {})
    table = main_table(c, "all")
    shown = cells(table)
    assert shown["SpanKL"]["Gap"].mean == pytest.approx(20)
    assert "gap over the runs whose joint training is finished: SpanKL 1 of 3" in table.notes
    summary = load_results(tmp_path).summary.query("view == 'all'").set_index("method")
    assert summary["gap_n"].to_dict() == {"spankl": 1, "extendner": 0, "joint-span": 1}


def test_runs_of_another_task_split_are_told_from_unfinished_ones(tmp_path: Path) -> None:
    runs(tmp_path, {"spankl": 70, "extendner": 60})
    write_run(tmp_path, "spankl", {1: {"A": triple(21)}}, order=2)
    write_run(tmp_path, "spankl", {1: {"A": triple(21)}}, order=3)
    write_run(
        tmp_path,
        "extendner",
        {1: {"A": triple(21)}},
        order=3,
        fingerprints={"data": "d0", "split": "replayed", "encoder": "e0"},
    )
    assert notes_of(only(tmp_path))[0].endswith(
        "n = 3, without order 2 seed 0 (not finished: ExtendNER), "
        "order 3 seed 0 (another task split: SpanKL, ExtendNER)"
    )


def test_rows_are_grouped_and_references_apart(tmp_path: Path) -> None:
    write_run(tmp_path, "joint-span")
    write_run(tmp_path, "extendner")
    write_run(tmp_path, "replay", group="exemplar")
    write_run(tmp_path, "analytic", group="closed-form")
    titles = [title for title, _ in main_table(only(tmp_path), "all").sections]
    assert titles == ["Memory-free", "Stored examples", "Closed form or frozen encoder", "References"]


def test_the_best_score_of_a_group_stands_first_in_every_table(tmp_path: Path) -> None:
    c = runs(tmp_path, {"extendner": 60, "seqstar": 50, "spankl": 70, "joint-span": 90, "joint-token": 95})
    order = ["SpanKL", "ExtendNER", "SEQ*", "Joint (token)", "Joint (span)"]
    assert [row.label for row in c.rows] == order
    assert [*cells(main_table(c, "filter"))] == order
    assert [*type_table(c, "all").header[1:]] == order


def test_changes_and_differences_have_no_best(tmp_path: Path) -> None:
    for method, score in {"spankl": 70, "extendner": 50, "joint-span": 69, "joint-token": 60}.items():
        for seed in range(6):
            counts = {1: {"A": triple(score)}, 2: dict.fromkeys("AB", triple(score - 5 + seed / 4))}
            write_run(tmp_path, method, counts, seed=seed)
    shown = cells(main_table(only(tmp_path), "all", ("task_macro_f1", "forgetting", "bwt", "gap")))
    assert shown["SpanKL"]["Gap"].mean < 0  # above joint training, and yet no success of its own
    assert shown["SpanKL"]["Mean task F1"].bold
    assert not any(row[name].bold or row[name].tied for row in shown.values() for name in ("Forgetting", "BWT", "Gap"))


@pytest.mark.slow
def test_a_stored_run_that_learned_from_all_data_so_far_is_never_memory_free(tmp_path: Path) -> None:
    c = runs(tmp_path, {"spankl": 70, "extendner": 60})
    c = runs(tmp_path, {"all-data": 95}, data="union", group="memory-free")
    assert [(group, [row.label for row in rows]) for group, rows in c.groups] == [
        ("memory-free", ["SpanKL", "ExtendNER"]),
        ("reference", ["all-data"]),
    ]
    assert not cells(main_table(c, "all"))["all-data"]["Micro-F1"].bold
    assert "so a reference and not memory-free: all-data" in " ".join(notes_of(c))


@pytest.mark.parametrize("group", ["memory-free", "closed-form"])
def test_a_stored_run_that_kept_sentences_has_stored_examples(tmp_path: Path, group: str) -> None:
    learned = [{"step": 1, "updates": 1, "warmup_updates": 0, "memory": {"sentences": 7, "mentions": 9, "bytes": 80}}]
    c = runs(tmp_path, {"spankl": 70, "extendner": 60})
    c = runs(tmp_path, {"hidden-replay": 95}, group=group, learned=learned)
    assert [(name, [row.label for row in rows]) for name, rows in c.groups] == [
        ("memory-free", ["SpanKL", "ExtendNER"]),
        ("exemplar", ["hidden-replay"]),
    ]
    assert cells(main_table(c, "all"))["SpanKL"]["Micro-F1"].bold
    assert f"so with stored examples and not {group}: hidden-replay" in " ".join(notes_of(c))


@pytest.mark.slow
def test_bold_is_the_best_of_a_group_with_three_runs(tmp_path: Path) -> None:
    c = runs(tmp_path, {"spankl": 70, "extendner": 60, "joint-span": 90, "joint-token": 80})
    table = cells(main_table(c, "all"))
    assert {label for label, row in table.items() if row["Micro-F1"].bold} == {"SpanKL"}
    assert "**71.0±1.0**" in to_markdown(main_table(c, "all"))


@pytest.mark.slow
def test_no_bold_with_two_runs_nor_where_undertrained(tmp_path: Path) -> None:
    two = runs(tmp_path / "two", {"spankl": 70, "extendner": 60}, THREE[:2])
    assert "n = 2: no claim about differences" in notes_of(two)
    low = runs(tmp_path / "low", {"spankl": 70, "extendner": 60}, undertrained_below=85)
    assert notes_of(low)[0] == "undertrained: do not compare ExtendNER 60.0, SpanKL 70.0 (step-1 micro-F1 below 85)"
    for c in (two, low):
        for table in (main_table(c, "all"), step_table(c, "all")):
            shown = [cell for row in cells(table).values() for cell in row.values() if isinstance(cell, Cell)]
            assert shown
            assert not any(cell.bold or cell.tied for cell in shown)


def test_without_a_common_pair_rows_are_not_called_comparable(tmp_path: Path) -> None:
    write_run(tmp_path, "spankl", seed=0)
    write_run(tmp_path, "extendner", seed=1)
    c = only(tmp_path)
    assert not c.matched
    assert notes_of(c)[0].startswith("no (order, seed) pair was finished by every method")
    assert main_table(c, "all").caption.count("One run each.") == 1


def test_two_settings_of_a_method_are_two_rows(tmp_path: Path) -> None:
    write_run(tmp_path, config="aaaaaaaa")
    write_run(tmp_path, config="bbbbbbbb")
    assert [row.label for row in only(tmp_path).rows] == ["SpanKL [aaaaaaaa]", "SpanKL [bbbbbbbb]"]


def test_a_sample_is_never_compared_with_the_whole(tmp_path: Path) -> None:
    write_run(tmp_path)
    write_run(tmp_path, "extendner", settings={"recipe": "paper", "max_sentences": 50})
    slugs = [c.slug for c in comparisons(load_results(tmp_path))]
    assert slugs == ["toy-split-minilm", "toy-split-minilm-b"]


def test_other_data_or_another_split_seed_is_another_comparison(tmp_path: Path) -> None:
    write_run(tmp_path)
    write_run(tmp_path, "extendner", fingerprints={"data": "d1", "split": "s1"})
    write_run(tmp_path, "seqstar", settings={"recipe": "paper", "split_seed": 2})
    assert [[row.method for row in c.rows] for c in comparisons(load_results(tmp_path))] == [
        ["spankl"],
        ["extendner"],
        ["seqstar"],
    ]


def test_orders_that_permute_types_are_one_comparison(tmp_path: Path) -> None:
    for order, types in enumerate(["ABC", "CAB"]):
        tasks = [
            {"name": "step1", "types": list(types[:2]), "learned_at": 1},
            {"name": types[2], "types": [types[2]], "learned_at": 2},
        ]
        counts = {1: dict.fromkeys(types[:2], triple(60)), 2: dict.fromkeys(types, triple(50 + 10 * order))}
        write_run(tmp_path, counts=counts, tasks=tasks, order=order, scenario="fg2-pg1", order_of="types")
    c = only(tmp_path)
    assert (c.n_orders, len(c.pairs)) == (2, 2)
    (section,) = type_table(c, "all").sections
    assert [line[0] for line in section[1]] == ["A", "B", "C"]
    assert all(isinstance(cell, Cell) and cell.mean == pytest.approx(55) for line in section[1] for cell in line[1:])


def test_runs_of_different_task_splits_do_not_match(tmp_path: Path) -> None:
    write_run(tmp_path)
    write_run(tmp_path, "extendner", fingerprints={"data": "d0", "split": "a replayed one", "encoder": "e0"})
    c = only(tmp_path)
    assert not c.matched
    assert notes_of(c)[0].startswith("no (order, seed) pair was finished by every method")


def test_a_joint_model_that_ends_low_is_undertrained(tmp_path: Path) -> None:
    counts = {2: {"A": triple(80), "B": triple(80)}}
    write_run(tmp_path, "joint-span", counts, undertrained_below=85)
    (note, *_) = notes_of(only(tmp_path))
    assert note == "joint training is undertrained: no gap (Joint (span) ends at micro-F1 80.0, at least 85 is needed)"


@pytest.mark.parametrize(("epochs_score", "low"), [(86, False), (92, True)])
def test_step_1_is_held_against_longer_training(tmp_path: Path, epochs_score: float, low: bool) -> None:
    reference = {"micro_f1": epochs_score, "epochs": 20, "updates": 40}
    write_run(tmp_path, step1_reference=reference)  # scores 80
    notes = "\n".join(notes_of(only(tmp_path)))
    assert f"SpanKL {8000 / epochs_score:.1f} % (20 epochs: {epochs_score:.1f})" in notes
    assert notes.startswith("undertrained: do not compare") == low


def test_the_joint_run_of_an_architecture_holds_the_longer_training_for_all_its_methods(tmp_path: Path) -> None:
    write_run(tmp_path, "spankl")  # scores 80, like the others
    write_run(tmp_path, "extendner")
    write_run(tmp_path, "joint-span", step1_reference={"micro_f1": 100, "epochs": 6, "updates": 12})
    (first, *rest) = notes_of(only(tmp_path))
    assert first == (
        "undertrained: do not compare Joint (span) 80.0 %, SpanKL 80.0 % (step 1, of what twice the epochs reach)"
    )
    assert not any("ExtendNER" in note for note in rest)


def test_what_training_remarked_is_told_once(tmp_path: Path) -> None:
    step = {"updates": 300, "warmup_updates": 30}
    remarks = {1: ["no dev"], 2: ["5 training sentences lost mentions"], 3: ["no dev"]}
    learned = [{"step": k, **step, "remarks": those} for k, those in remarks.items()]
    for method in ("spankl", "extendner"):
        write_run(tmp_path, method, learned=learned)
    said = [n for n in notes_of(only(tmp_path)) if n.startswith("step")]
    assert said == ["steps 1, 3: no dev", "step 2: 5 training sentences lost mentions"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"settings": {"recipe": "paper", "max_sentences": 600}}, "a sample of 600 training sentences"),
        ({"by_hand": {"epochs": 1, "lr": 0.1}}, "set by hand: epochs = 1, lr = 0.1"),
        ({"settings": {"encoder_layers": 2}, "encoder": "mine"}, "of the encoder (mine) the lowest 2 layers alone"),
        (
            {"settings": {"span_prior": 0.01}},
            "span heads begin with a share of 0.01 of spans found, SpanKL's with a half",
        ),
        ({"settings": {"recipe": "minilm"}}, "hyper-parameters of the recipe 'minilm', not of the papers"),
        ({"settings": {"recipe": "cfner"}}, "hyper-parameters of the recipe 'cfner'"),
        ({"uncased": True}, "uncased encoder (minilm)"),
        (
            {"learned": [{"step": 1, "updates": 100, "warmup_updates": 25}]},
            "warm-up longer than 20 % of a task's updates: SpanKL 25.0 %",
        ),
        ({"learned": [{"step": 1, "updates": 100, "warmup_updates": 20}]}, None),
        ({"recall_ceiling": 0.846}, "recall is at most SpanKL 84.6 %"),
        ({}, "one order"),
    ],
)
def test_notes_stand_in_every_output(tmp_path: Path, changes: dict[str, Any], note: str | None) -> None:
    write_run(tmp_path, **changes)
    results = load_results(tmp_path)
    for table in tables(results):
        for text in (
            to_csv(table),
            to_markdown(table).replace("\\", ""),
            to_latex(table).replace("\\", "").replace("`", "'"),
        ):
            assert note in text if note else "warm-up" not in text
    assert not note or note in " ".join(results_text(results).replace("\n  ", " ").split("\n"))


def test_undefined_scores_are_listed(tmp_path: Path) -> None:
    tasks = [
        {"name": "a", "types": ["A", "B"], "learned_at": 1},
        {"name": "c", "types": ["C"], "learned_at": 2},
    ]
    counts = {1: {"A": [1, 0, 0], "B": [0, 3, 0]}, 2: {"A": [1, 0, 0], "B": [0, 3, 0], "C": [0, 0, 0]}}
    write_run(tmp_path, counts=counts, tasks=tasks)
    c = only(tmp_path)
    (note,) = undefined_notes(c, "all")
    assert note == "undefined (no gold mentions in the test part), left out of means: task c; type B, C"
    text = to_markdown(type_table(c, "all"))
    assert "| B | – |" in text
    assert "type B, C" in text


def test_step_table_leaves_steps_without_a_run_empty(tmp_path: Path) -> None:
    write_grid(tmp_path, ["spankl", "joint-span"], n_steps=3, joint_last=True)
    table = step_table(only(tmp_path), "all")
    assert table.header == ("Method", "S1", "S2", "S3")
    assert "| Joint (span) | – | – | " in to_markdown(table)
    assert len(table.frame) == 4


def test_csv_is_unrounded(tmp_path: Path) -> None:
    write_run(tmp_path, counts={1: {"A": [2, 3, 4]}})
    table = main_table(only(tmp_path), "all")
    path = tmp_path / "t.csv"
    path.write_text(to_csv(table))
    frame = pd.read_csv(path)
    assert frame["micro_f1_mean"][0] == 400 / 11
    assert frame["micro_f1_std"].isna().all()


@pytest.mark.slow
def test_every_number_of_the_main_table_follows_from_predictions_by_hand() -> None:
    """The reference table again from ``predictions.jsonl.gz`` and ``run.json``, with no code of the suite."""
    folder = HOME / "results" / "reference" / "fewnerd"
    finals: dict[str, list[float]] = {}
    for path in sorted(folder.glob("runs/*/run.json")):
        run = json.loads(path.read_text())
        task_of = {t: task["name"] for task in run["tasks"] for t in task["types"]}
        steps = {k: _scores_by_hand(path.parent / f"step-{k}" / "predictions.jsonl.gz", task_of) for k in run["steps"]}
        tasks = {k: tasks for k, (_, _, tasks) in steps.items()}
        (micro, macro, last), n_steps = steps[run["n_steps"]], run["n_steps"]
        values = [micro, macro, statistics.mean(last.values())]
        if len(steps) == n_steps:
            early = {task["name"]: task["learned_at"] for task in run["tasks"] if task["learned_at"] < n_steps}
            best = [max(tasks[k][t] for k in range(at, n_steps)) - last[t] for t, at in early.items()]
            values += [statistics.mean(steps[k][i] for k in steps) for i in (0, 1)]
            values += [statistics.mean(best), statistics.mean(last[t] - tasks[at][t] for t, at in early.items())]
            values += [statistics.mean(tasks[task["learned_at"]][task["name"]] for task in run["tasks"])]
        else:
            values += [math.nan] * 5
        finals[run["method"]] = values
    ends = {name: values[2] for name, values in finals.items()}
    (c,) = comparisons(load_results(folder))
    table, labels = cells(main_table(c, "all", OF_HAND)), {row.label: row for row in c.rows}
    assert len(table) == len(finals) == 8
    for label, row in table.items():
        expected = finals[labels[label].method]
        gap = ends[f"joint-{labels[label].architecture}"] - expected[2]
        found = [cell.mean for cell in row.values() if isinstance(cell, Cell)]
        assert found == pytest.approx([*expected, gap], nan_ok=True), label


def _scores_by_hand(path: Path, task_of: dict[str, str]) -> tuple[float, float, dict[str, float]]:
    """Micro-F1, macro-F1 over types, and F1 per task, from all test sentences."""
    tp: Counter[str] = Counter()
    predicted: Counter[str] = Counter()
    gold: Counter[str] = Counter()
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for row in map(json.loads, file):
            right, found = ({tuple(m[:3]) for m in row[side]} for side in ("gold", "pred"))
            tp.update(m[2] for m in right & found)
            predicted.update(m[2] for m in found)
            gold.update(m[2] for m in right)

    def f1(types: Iterable[str]) -> float:
        chosen = set(types)
        hits, guesses, there = (sum(of[t] for t in chosen) for of in (tp, predicted, gold))
        precision, recall = hits / guesses if guesses else 0.0, hits / there
        return 200 * precision * recall / (precision + recall) if hits else 0.0

    tasks = {task: [t for t in gold if task_of[t] == task] for task in {task_of[t] for t in gold}}
    return f1(gold), statistics.mean(f1([t]) for t in gold), {task: f1(types) for task, types in tasks.items()}


@pytest.mark.slow
def test_printed_results_fit_and_lists_what_failed(tmp_path: Path) -> None:
    write_grid(tmp_path, runs=((0, 0), (0, 1), (0, 2)), n_steps=4)
    write_run(tmp_path, "l2kd", status="failed", reason="out of memory; log: runs/l2kd/log.txt")
    text = results_text(load_results(tmp_path))
    assert max(map(len, text.splitlines())) <= 100
    assert "1 run(s) not finished:" in text
    assert "l2kd-toy-0-0-" in text
    assert "failed. out of memory; log: runs/l2kd/log.txt" in text
