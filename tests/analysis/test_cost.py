"""Cost beside quality: what is summed over steps, what older records lack, and what the figure shows."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.text import Text

from cl_ner_bench.analysis.data.frames import load_results
from cl_ner_bench.analysis.figures.cost import cost_figures
from cl_ner_bench.analysis.figures.figure import ReportFigure
from cl_ner_bench.analysis.table import Cell, Table
from cl_ner_bench.analysis.tables.collect import tables
from cl_ner_bench.analysis.tables.cost import COSTS, IN_CSV_ALONE, MIB, cost_tables, run_costs
from cl_ner_bench.analysis.tables.text import to_csv, to_markdown
from cl_ner_bench.testing.results import run_record, write_grid


def step(k: int, **changes: Any) -> dict[str, Any]:
    new = {
        "examples": 100 * k,
        "epochs": 3,
        "parameters": 1_000_000 * k,
        "carried_bytes": (3 - k) * MIB,
        "peak_memory_bytes": 1000 * k * MIB,
        "teacher_seconds": 2.0 * k,
        "dev_seconds": 1.0 * k,
        "predict_seconds": 2.0,
        "predicted": 500,
    }
    return {"step": k, "updates": 30, "warmup_updates": 3, "selected_epoch": 3, "seconds": 10.0 * k} | new | changes


def costs_of(learned: list[dict[str, Any]]) -> dict[str, float]:
    return run_costs(run_record(learned=learned))


def test_costs_of_a_run_are_over_all_its_steps() -> None:
    assert costs_of([step(1), step(2)]) == {
        "last_step_seconds": 20.0,
        "train_seconds": 30.0,
        "learning_seconds": 30.0 - 6.0 - 3.0,
        "teacher_seconds": 6.0,
        "dev_seconds": 3.0,
        "predict_seconds": 4.0,
        "train_sentences_per_second": 30.0,  # 3 epochs of 100 and of 200 sentences in 30 s
        "test_sentences_per_second": 250.0,
        "peak_memory_bytes": 2000 * MIB,
        "parameters": 2_000_000,
        "carried_bytes": 2 * MIB,
        "stored_sentences": 0,
        "stored_bytes": 0,
    }


def memory(sentences: int, size: int) -> dict[str, int]:
    return {"sentences": sentences, "mentions": 2 * sentences, "bytes": size}


def test_stored_examples_count_at_their_most() -> None:
    learned = [step(1, memory=memory(3, 100)), step(2, memory=memory(5, 180)), step(3, memory=memory(5, 150))]
    found = run_costs(run_record(learned=learned, group="exemplar"))
    assert (found["stored_sentences"], found["stored_bytes"]) == (5, 180)
    not_recorded = run_costs(run_record(learned=[step(1)], group="exemplar"))
    given_all = run_costs(run_record(learned=[step(1)], group="reference", data="union"))
    assert all(
        math.isnan(costs[f"stored_{unit}"]) for costs in (not_recorded, given_all) for unit in ("sentences", "bytes")
    )


@pytest.mark.slow
def test_every_output_shows_what_methods_with_stored_examples_hold(tmp_path: Path) -> None:
    write_grid(tmp_path, ["spankl"], n_steps=2, learned=[step(1), step(2)])
    learned = [step(1, memory=memory(1_200, 2048)), step(2, memory=memory(2_400, 5120))]
    write_grid(tmp_path, ["replay"], n_steps=2, learned=learned, group="exemplar")
    results = load_results(tmp_path)
    (table,) = cost_tables(results)
    lines = {line[0]: dict(zip(table.header, line, strict=True)) for _, lines in table.sections for line in lines}
    assert [line["Stored sent."].mean for line in lines.values()] == [0, 2_400]
    assert [*table.frame["stored_bytes_mean"]] == [0, 5120]
    for of in tables(results):
        assert "stored examples (sentences, KiB of text): replay 2,400 (5.0)" in of.notes


def test_what_a_record_lacks_is_not_invented() -> None:
    old = {key: value for key, value in step(1).items() if key in ("step", "updates", "epochs", "seconds")}
    found = costs_of([old, step(2)])  # a sum over the other step alone would be too little
    assert (found.pop("train_seconds"), found.pop("last_step_seconds")) == (30.0, 20.0)
    assert found.pop("parameters") == 2_000_000
    assert found.pop("stored_sentences") == found.pop("stored_bytes") == 0  # the method has no memory
    assert all(math.isnan(value) for value in found.values())
    assert all(math.isnan(value) for value in costs_of([]).values())
    assert math.isnan(costs_of([step(1, peak_memory_bytes=0)])["peak_memory_bytes"])


def table_of(folder: Path, **more: Any) -> Table:
    runs = [(0, seed) for seed in range(3)]
    write_grid(folder, ["spankl", "extendner", "joint-span"], n_steps=2, runs=runs, **more)
    (table,) = cost_tables(load_results(folder))
    return table


def test_the_table_has_units_groups_and_the_score(tmp_path: Path) -> None:
    table = table_of(tmp_path, learned=[step(1), step(2)])
    assert table.name == "cost-all-toy-split-minilm"
    assert len(table.header) == 2 + len(COSTS) - len(IN_CSV_ALONE) + 1
    lines = {line[0]: line for _, lines in table.sections for line in lines}
    assert lines["SpanKL"][1] == "3"
    means = [cell.mean for cell in lines["SpanKL"][2:] if isinstance(cell, Cell)]
    assert means[:-1] == [20.0, 30.0, 21.0, 6.0, 3.0, 4.0, 2000.0, 2.0, 2.0, 0]  # six of s, MiB, millions, MiB, -
    score = load_results(tmp_path).measures.query("view == 'all' and method == 'spankl'")["task_macro_f1"]
    assert means[-1] == pytest.approx(score.mean())
    assert [title for title, _ in table.sections][-1].startswith("References")
    assert "a shared step in each of its runs" in table.caption
    assert "2097152000.0" in to_csv(table)  # unrounded, in bytes


@pytest.mark.slow
def test_what_no_record_holds_is_no_column(tmp_path: Path) -> None:
    markdown = to_markdown(table_of(tmp_path))
    assert "| Method | n | Last step s | All steps s |" in markdown
    assert "Teacher" not in markdown.splitlines()[2]
    (picture,) = cost_figures(load_results(tmp_path))
    assert len(picture.figure.axes) == 1  # time alone: no memory to show


def test_runs_of_different_machines_carry_a_note(tmp_path: Path) -> None:
    write_grid(tmp_path, ["spankl"], n_steps=2, machine={"processor": "one"})
    write_grid(tmp_path, ["extendner"], n_steps=2, machine={"processor": "two"})
    (table,) = cost_tables(load_results(tmp_path))
    assert any("2 kinds of machines: not comparable" in note for note in table.notes)


def figure_of(folder: Path, seeds: int) -> ReportFigure:
    runs = [(0, seed) for seed in range(seeds)]
    for i, method in enumerate(["frozen-span", "spankl", "finetune-span"]):
        learned = [step(1, seconds=4.0**i), step(2, seconds=4.0**i)]
        write_grid(folder, [method], n_steps=2, runs=runs, learned=learned)
    (picture,) = cost_figures(load_results(folder))
    return picture


@pytest.mark.slow
def test_the_figure_shows_time_and_memory_with_the_front_from_three_runs_on(tmp_path: Path) -> None:
    picture = figure_of(tmp_path / "3", 3)
    time, memory = picture.figure.axes
    assert (time.get_xscale(), memory.get_xscale()) == ("log", "linear")  # 2 to 32 s
    frame = picture.frame.set_index("method")
    assert frame["train_seconds_mean"].to_dict() == {"frozen-span": 2.0, "spankl": 8.0, "finetune-span": 32.0}
    assert frame["peak_memory_mib_mean"]["spankl"] == 2000
    stairs = [line for line in time.lines if line.get_drawstyle() == "steps-post"]
    quality = frame["task_macro_f1_mean"]
    assert quality["spankl"] > quality["frozen-span"] > quality["finetune-span"]
    assert [np.asarray(line.get_xdata()).tolist() for line in stairs] == [
        [2.0, 8.0]
    ]  # fine-tuning costs more and reaches less
    ticks = [text.get_text() for text in time.get_xticklabels()]
    assert "10" in ticks
    few = figure_of(tmp_path / "2", 2)
    assert not [line for line in few.figure.axes[0].lines if line.get_drawstyle() == "steps-post"]


@pytest.mark.slow
def test_there_is_no_front_where_methods_have_different_runs(tmp_path: Path) -> None:
    figure_of(tmp_path, 3)
    write_grid(tmp_path, ["spankl"], n_steps=2, runs=[(0, 7)], learned=[step(1), step(2)])
    (picture,) = cost_figures(load_results(tmp_path))
    assert not [line for line in picture.figure.axes[0].lines if line.get_drawstyle() == "steps-post"]
    assert picture.frame.set_index("method")["n"].to_dict() == {"frozen-span": 3, "spankl": 4, "finetune-span": 3}


def test_no_times_no_figure(tmp_path: Path) -> None:
    learned = [{key: value for key, value in step(k).items() if key != "seconds"} for k in (1, 2)]
    write_grid(tmp_path, ["spankl"], n_steps=2, learned=learned)
    assert cost_figures(load_results(tmp_path)) == []


def test_the_figure_says_what_a_shared_step_costs_and_names_every_method(tmp_path: Path) -> None:
    picture = figure_of(tmp_path, 1)
    assert "learned once and counts in each of them" in picture.caption
    names = {text.get_text() for text in picture.figure.findobj(Text)}
    assert {"SpanKL", "Frozen (span)", "Fine-tuning (span)"} <= names
