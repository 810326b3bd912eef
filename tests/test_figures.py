"""Figures: the numbers in them, stable looks, equal bytes, and names that do not cover each other."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
from matplotlib.text import Text

from cl_ner_bench.analysis.figures import Picture, figures
from cl_ner_bench.analysis.frames import load_results
from cl_ner_bench.analysis.style import _KNOWN, look
from tests.results_factory import METHODS, triple, write_grid, write_run


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_grid(tmp_path_factory.mktemp("grid"), n_steps=8, joint_last=True)


def drawn(folder: Path) -> dict[str, Picture]:
    return {p.name.removesuffix("-toy-split-minilm"): p for p in figures(load_results(folder))}


@pytest.fixture(scope="module")
def pictures(grid: Path) -> dict[str, Picture]:
    return drawn(grid)


def texts(picture: Picture) -> list[str]:
    return [text.get_text() for text in picture.figure.findobj(Text) if text.get_text()]


def test_each_kind_for_each_view_with_every_method_named(pictures: dict[str, Picture]) -> None:
    assert set(pictures) == {f"{kind}-{view}" for kind in ("steps", "types", "plane") for view in ("all", "filter")}
    labels = {label for label, _, _ in METHODS.values()}
    assert labels <= set(texts(pictures["steps-all"]))
    assert labels <= set(texts(pictures["types-all"]))
    # Joint training at the last step only has no plasticity to show.
    assert labels - set(texts(pictures["plane-all"])) == {"Joint (span)", "Joint (token)"}


def test_numbers_beside_a_figure_are_the_scores(grid: Path, pictures: dict[str, Picture]) -> None:
    results = load_results(grid)
    scores = results.scores.query("view == 'all' and method == 'spankl'")
    curve = pictures["steps-all"].frame.query("method == 'spankl'")
    assert curve["task_macro_f1_mean"].tolist() == pytest.approx(scores["task_macro_f1"].tolist())
    counts = results.counts.query("view == 'all' and method == 'spankl' and step == 8")
    cell = pictures["types-all"].frame.query("method == 'spankl' and step == 8").set_index("type")["f1_mean"]
    for _, row in counts.iterrows():
        assert cell[row["type"]] == pytest.approx(200 * row["tp"] / (2 * row["tp"] + row["fp"] + row["fn"]))
    point = pictures["plane-all"].frame.set_index("method")
    own = results.measures.query("view == 'all' and method == 'seqstar'").iloc[0]
    assert point["forgetting_mean"]["seqstar"] == own["forgetting"]
    assert point["learning_mean"]["seqstar"] == own["learning"]


def test_same_runs_give_the_same_bytes(grid: Path, pictures: dict[str, Picture]) -> None:
    again = drawn(grid)
    for suffix in ("pdf", "png"):
        assert pictures["steps-all"].to_bytes(suffix) == again["steps-all"].to_bytes(suffix)
    assert b"CreationDate" not in pictures["plane-all"].to_bytes("pdf")


@pytest.mark.parametrize("kind", ["steps-all", "plane-all"])
def test_names_cover_neither_each_other_nor_leave_the_figure(pictures: dict[str, Picture], kind: str) -> None:
    picture = pictures[kind]
    picture.figure.draw_without_rendering()
    labels = {label for label, _, _ in METHODS.values()}
    boxes = [Text.get_window_extent(text) for text in picture.figure.findobj(Text) if text.get_text() in labels]
    assert len(boxes) >= 6
    assert not [1 for a, b in combinations(boxes, 2) if a.shrunk(0.98, 0.9).overlaps(b.shrunk(0.98, 0.9))]
    assert all(box.x0 >= 0 and box.x1 <= picture.figure.bbox.x1 + 1 for box in boxes)


def test_one_step_has_no_plane(tmp_path: Path) -> None:
    write_grid(tmp_path, ["spankl", "extendner"], n_steps=1)
    assert {name.split("-")[0] for name in drawn(tmp_path)} == {"steps", "types"}


def test_many_types_are_shown_by_task(tmp_path: Path) -> None:
    tasks = [{"name": f"task{i}", "types": [f"t{i}{j}" for j in range(11)], "learned_at": i} for i in (1, 2)]
    counts = {k: {t: triple(60) for task in tasks[:k] for t in task["types"]} for k in (1, 2)}
    write_run(tmp_path, counts=counts, tasks=tasks)
    pictures = drawn(tmp_path)
    assert "tasks-all" in pictures
    assert {"task1", "task2"} <= set(texts(pictures["tasks-all"]))


def test_notes_and_warning_stand_in_the_figure(tmp_path: Path) -> None:
    write_grid(tmp_path, ["spankl"], n_steps=2, undertrained_below=99)
    for picture in drawn(tmp_path).values():
        written = " ".join(" ".join(texts(picture)).split())
        assert "undertrained: do not compare" in written
        assert "n = 1: no claim about" in written
        assert picture.frame["notes"].str.contains("one order").all()


def test_looks_are_told_apart_and_depend_on_the_name_alone() -> None:
    assert len(set(_KNOWN.values())) == len(_KNOWN)
    assert look("my-method") == look("my-method")
    assert look("my-method") not in _KNOWN.values()
