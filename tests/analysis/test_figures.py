"""Figures: the numbers in them, stable appearances, equal bytes, and names that do not cover each other."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from scipy.optimize import isotonic_regression

from cl_ner_bench import HOME
from cl_ner_bench.analysis.comparison.compare import Comparison, comparisons
from cl_ner_bench.analysis.comparison.notes import notes_of
from cl_ner_bench.analysis.data.frames import Results, load_results
from cl_ner_bench.analysis.figures.cost import cost_figures
from cl_ner_bench.analysis.figures.curves import dataset_curves, order_curves, step_curves
from cl_ner_bench.analysis.figures.draw import ReportFigure, figures
from cl_ner_bench.analysis.figures.errors import LAYERS
from cl_ner_bench.analysis.figures.families import MANY, PANEL, families, families_of_all, is_bound
from cl_ner_bench.analysis.figures.figure import Theme
from cl_ner_bench.analysis.figures.heatmaps import heatmaps
from cl_ner_bench.analysis.figures.labels import label_points, rising, shortened
from cl_ner_bench.analysis.figures.ranks import rank_diagrams
from cl_ner_bench.analysis.figures.scatter import forgetting_scatter
from cl_ner_bench.analysis.figures.style import (
    _KNOWN,
    BEHIND,
    COLOURS,
    FORMATS,
    GREY,
    STYLES,
    appearances,
    dashes,
    formats_of,
    ink,
    luminance,
    rc,
    style_of,
)
from cl_ner_bench.analysis.report.files import report_files
from cl_ner_bench.cli.main import main
from cl_ner_bench.errors import UserError
from cl_ner_bench.testing.results import METHODS, triple, write_grid, write_run

pytestmark = pytest.mark.slow

FOREIGN = ["CFNER", "$x_1$", "ICE-O", "L&R", "<b>x</b>", "ÄÖ", "a name that is long enough to be cut (token)"]
FOREIGN += [f"method{i}" for i in range(8)]  # 15 together


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_grid(tmp_path_factory.mktemp("grid"), n_steps=4, joint_last=True)


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """15 methods that are not built in and two bounds, in three orders with two seeds."""
    folder = tmp_path_factory.mktemp("crowd")
    runs = [(order, seed) for order in range(3) for seed in range(2)]
    write_grid(folder, [*FOREIGN, "joint-span", "joint-token"], n_steps=3, runs=runs)
    return load_results(folder)


@pytest.fixture
def paper() -> Iterator[None]:
    with mpl.rc_context(rc("paper")):
        yield


def drawn(folder: Path) -> dict[str, ReportFigure]:
    return {p.name.removesuffix("-toy-split-minilm"): p for p in figures(load_results(folder))}


def themed(results: Results, style: str = "paper") -> tuple[Comparison, Theme]:
    compared = comparisons(results)
    return compared[0], Theme.of(compared, style)


@pytest.fixture(scope="module")
def pictures(grid: Path) -> dict[str, ReportFigure]:
    return drawn(grid)


def texts(of: Figure | Axes) -> list[str]:
    return [text.get_text() for text in of.findobj(Text) if text.get_text()]


def test_each_kind_for_each_view_with_every_method_named(pictures: dict[str, ReportFigure]) -> None:
    kinds = ("steps", "steps_macro", "steps_micro", "plane")  # one order, one dataset, one type a task
    once = {f"{kind}-all" for kind in ("types", "errors", "confusion", "cost")}
    assert set(pictures) == {f"{kind}-{view}" for kind in kinds for view in ("all", "filter")} | once
    labels = {label for label, _, _ in METHODS.values()}
    for kind in ("steps", "steps_macro", "steps_micro", "types"):
        assert labels <= set(texts(pictures[f"{kind}-all"].figure))
    # Joint training at the last step only has no plasticity to show.
    assert labels - set(texts(pictures["plane-all"].figure)) == {"Joint (span)", "Joint (token)"}


def test_no_ticks_stand_above_where_titles_are(pictures: dict[str, ReportFigure]) -> None:
    """The style fixes where titles stand, which saves matplotlib the search for ticks below them."""
    axes = [ax for picture in pictures.values() for ax in picture.figure.axes]
    assert not {ax.xaxis.get_ticks_position() for ax in axes} & {"top", "default"}
    assert len({ax.get_title(loc="left") for ax in axes}) > 1
    assert {ax._left_title.get_position()[1] for ax in axes if ax.get_title(loc="left")} == {1.0}
    assert not any(ax._autotitlepos for ax in axes if ax.get_title(loc="left")), "matplotlib looks for their place"


def test_numbers_beside_a_figure_are_the_scores(grid: Path, pictures: dict[str, ReportFigure]) -> None:
    results = load_results(grid)
    scores = results.scores.query("view == 'all' and method == 'spankl'")
    for kind, measure in (("steps", "task_macro_f1"), ("steps_macro", "macro_f1"), ("steps_micro", "micro_f1")):
        curve = pictures[f"{kind}-all"].frame.query("method == 'spankl'")
        assert curve[f"{measure}_mean"].tolist() == pytest.approx(scores[measure].tolist())
    counts = results.counts.query("view == 'all' and method == 'spankl' and step == 4")
    cell = pictures["types-all"].frame.query("method == 'spankl' and step == 4").set_index("type")["f1_mean"]
    for _, row in counts.iterrows():
        assert cell[row["type"]] == pytest.approx(200 * row["tp"] / (2 * row["tp"] + row["fp"] + row["fn"]))
    point = pictures["plane-all"].frame.set_index("method")
    own = results.measures.query("view == 'all' and method == 'seqstar'").iloc[0]
    assert point["forgetting_mean"]["seqstar"] == own["forgetting"]
    assert point["learning_mean"]["seqstar"] == own["learning"]


def test_no_line_reaches_a_step_that_was_not_measured(grid: Path, pictures: dict[str, ReportFigure]) -> None:
    measured = load_results(grid).scores.query("view == 'all'").groupby("method")["step"].min()
    assert set(measured) == {1, 4}
    for kind in ("steps", "steps_macro", "steps_micro"):
        drawn_from = [
            (line.get_linestyle(), float(np.min(line.get_xdata())))
            for ax in pictures[f"{kind}-all"].figure.axes
            for line in ax.get_lines()
        ]
        late = [(style, x) for style, x in drawn_from if x != 1.0]
        assert [style for style, _ in late] == ["--"] * 4  # a point and its stub for each of the two joint methods
        assert min(x for _, x in late) > 3.5
        assert sorted(style for style, x in drawn_from if x == 1.0) == ["-"] * 5 + ["--"] * 2  # fine-tuning: a bound


@pytest.mark.usefixtures("paper")
@pytest.mark.parametrize("kind", ["steps", "types"])
def test_same_runs_give_the_same_bytes_in_every_format(tmp_path: Path, kind: str) -> None:
    write_grid(tmp_path, ["spankl", "joint-span"], n_steps=2)

    def draw() -> ReportFigure:
        c, theme = themed(load_results(tmp_path))
        return step_curves(c, "all", theme)[0] if kind == "steps" else heatmaps(c, "all", theme)[0]

    first, second = draw(), draw()
    content = {suffix: first.to_bytes(suffix) for suffix in FORMATS}
    assert content == {suffix: second.to_bytes(suffix) for suffix in reversed(FORMATS)}
    assert b"CreationDate" not in content["pdf"]
    assert b"/FontFile2" in content["pdf"]  # TrueType (type 42), not drawn shapes
    assert b"/Type3" not in content["pdf"]
    assert b"dc:date" not in content["svg"]


@pytest.mark.parametrize("style", list(STYLES))
@pytest.mark.parametrize("kind", ["steps", "orders", "plane", "cost"])
def test_names_cover_neither_each_other_nor_leave_the_figure(crowd: Results, kind: str, style: str) -> None:
    c, theme = themed(crowd, style)
    labels, named = {shortened(row.label) for row in c.rows}, set()
    with mpl.rc_context(rc(style)):
        drawn = {
            "steps": lambda: step_curves(c, "all", theme),
            "orders": lambda: order_curves(c, "all", theme),
            "plane": lambda: forgetting_scatter(c, "all", theme),
            "cost": lambda: cost_figures(crowd, style),
        }[kind]()
        for figure in (picture.figure for picture in drawn):
            figure.draw_without_rendering()
            found = [text for text in figure.findobj(Text) if text.get_text() in labels]
            boxes = [Text.get_window_extent(text) for text in found]
            named |= {text.get_text() for text in found}
            assert not [1 for a, b in combinations(boxes, 2) if a.shrunk(0.98, 0.9).overlaps(b.shrunk(0.98, 0.9))]
            page = figure.bbox
            assert all(b.x0 >= 0 and b.y0 >= 0 and b.x1 <= page.x1 + 1 and b.y1 <= page.y1 + 1 for b in boxes)
            assert page.height <= theme.style.height * figure.dpi + 1
    assert named == labels


@pytest.mark.usefixtures("paper")
def test_names_without_room_are_counted_and_score_axes_begin_at_zero(tmp_path: Path) -> None:
    write_run(tmp_path, "spankl", counts={1: {"a": triple(0)}, 2: {"a": triple(0), "b": triple(0)}})
    c, theme = themed(load_results(tmp_path))
    for picture in (*step_curves(c, "all", theme), *forgetting_scatter(c, "all", theme)):
        assert picture.figure.axes[0].get_ylim()[0] == 0
    ax = Figure(figsize=(1.2, 1.2)).subplots()
    label_points(ax, [(0.5, 0.5, c.rows[0])] * 30, [(0.0, 0.0)] * 30, theme)
    *names, said = [text.get_text() for text in ax.texts]
    assert names
    assert said == f"{30 - len(names)} more without room for a name"


@pytest.mark.usefixtures("paper")
def test_no_line_strikes_through_a_name(crowd: Results) -> None:
    (picture,) = cost_figures(crowd, "paper")
    picture.figure.draw_without_rendering()
    labels = {shortened(row.label) for row in comparisons(crowd)[0].rows}
    levels = 0
    for ax in picture.figure.axes:
        boxes = [Text.get_window_extent(text) for text in ax.texts if text.get_text() in labels]
        for line in (line for line in ax.lines if line.get_linestyle() != "None" and len(line.get_xydata()) == 2):
            (_, level), (_, other) = line.get_transform().transform(line.get_xydata())
            assert level == other  # of joint training, over the whole panel
            levels += 1
            assert not [box for box in boxes if box.y0 < level < box.y1]
    assert levels > 2


@pytest.mark.usefixtures("paper")
def test_a_panel_for_each_order_over_its_seeds(crowd: Results) -> None:
    c, theme = themed(crowd)
    (picture,) = order_curves(c, "all", theme)
    titles = [ax.get_title(loc="left").replace("\n", " ") for ax in picture.figure.axes]
    assert titles == [f"order {order}, {f.title}" for f in families_of_all(c) for order in range(3)]
    row = picture.frame.query("method == 'CFNER' and order == 1 and step == 3").iloc[0]
    own = crowd.scores.query("view == 'all' and method == 'CFNER' and order == 1 and step == 3")["task_macro_f1"]
    assert (row["n"], row["task_macro_f1_mean"]) == (2, pytest.approx(own.mean()))
    assert row["task_macro_f1_std"] == pytest.approx(own.std(ddof=1))
    assert "3 orders" in picture.caption
    assert "Bands: one standard deviation over the seeds of an order, within 0 and 100." in picture.caption


@pytest.mark.usefixtures("paper")
def test_what_does_not_fit_on_a_page_goes_on_in_another_picture(crowd: Results) -> None:
    c, theme = themed(crowd)
    slides = Theme.of([c], "slides")
    pages = heatmaps(c, "all", slides)
    assert [p.name.split("-")[0] for p in pages] == ["types", "types2"]
    assert set().union(*(p.frame["method"] for p in pages)) == {row.method for row in c.rows}
    assert len(heatmaps(c, "all", theme)) == 1
    assert all(p.figure.get_figheight() <= 9.0 + 0.5 for p in heatmaps(c, "all", theme))


def test_the_cells_of_a_heat_map_hold_the_rounded_numbers_in_a_readable_colour(
    pictures: dict[str, ReportFigure],
) -> None:
    picture = pictures["types-all"]
    names = [text.get_text() for text in picture.figure.axes[0].get_yticklabels()]
    for label in ("SpanKL", "Joint (span)"):
        (ax,) = (ax for ax in picture.figure.axes if ax.get_title(loc="left") == label)
        written = {}
        for text in ax.texts:
            x, y = (int(place) for place in text.get_position())
            written[names[y], x + 1] = text.get_text()
            assert text.get_color() == ("w" if float(text.get_text()) < 50 else "k")
        own = picture.frame[picture.frame["label"] == label]
        assert written == {(r["type"], r["step"]): f"{r['f1_mean']:.0f}" for _, r in own.iterrows()}
        assert len(written) == (4 if label.startswith("Joint") else 10), "blank before a type is learned"


@pytest.mark.usefixtures("paper")
def test_many_steps_show_colours_instead_of_numbers_that_nobody_could_read(tmp_path: Path) -> None:
    names = [f"t{i:02d}" for i in range(40)]
    write_run(tmp_path, counts={k + 1: {t: triple(60) for t in names[: k + 1]} for k in range(40)})
    c, theme = themed(load_results(tmp_path))
    (picture,) = heatmaps(c, "all", theme)
    numbers, bar = picture.figure.axes
    assert not numbers.texts
    assert "F1" in texts(bar)  # which colour is which score
    assert len(picture.frame) == 40 * 41 / 2


@pytest.mark.usefixtures("paper")
def test_several_datasets_stand_side_by_side_and_five_are_ranked(tmp_path: Path) -> None:
    for i in range(5):
        methods = ["spankl", "extendner", "seqstar", "joint-span", "joint-token"]
        more = {"dataset": f"d{i}", "config": f"{i:08d}"}
        write_grid(tmp_path, methods, n_steps=2, runs=[(0, seed) for seed in range(3)], **more)
    results = load_results(tmp_path)
    compared = comparisons(results)
    theme = Theme.of(compared, "paper")
    (side_by_side,) = dataset_curves(compared, "all", theme)
    assert side_by_side.name == "datasets-all-overall"
    assert set(side_by_side.frame["dataset"]) == {f"d{i}" for i in range(5)}
    assert texts(side_by_side.figure).count("SpanKL") == 5
    (ranks,) = rank_diagrams(results, compared, "all", theme)
    assert ranks.name == "ranks-all-overall"
    assert sorted(ranks.frame["label"]) == ["ExtendNER", "SEQ*", "SpanKL"]  # references are not ranked
    assert ranks.frame["mean_rank"].sum() == pytest.approx(6)
    assert all(p.notes == ("one order",) and p.frame["notes"][0] == "one order" for p in (ranks, side_by_side))
    assert any(text.startswith("SpanKL  ") or text.endswith("  SpanKL") for text in texts(ranks.figure))
    assert rank_diagrams(results, compared[:4], "all", theme) == []
    assert dataset_curves(compared[:1], "all", theme) == []


def test_beside_other_datasets_an_undertrained_one_is_named_in_the_figure(tmp_path: Path) -> None:
    for dataset, bound in (("good", 0), ("bad", 99)):
        write_grid(tmp_path, ["spankl"], n_steps=2, dataset=dataset, config=f"{bound:08d}", undertrained_below=bound)
    compared = comparisons(load_results(tmp_path))
    (picture,) = dataset_curves(compared, "all", Theme.of(compared, "paper"))
    assert "bad, split, minilm: undertrained: do not compare" in " ".join(" ".join(texts(picture.figure)).split())


def test_one_step_has_no_plane(tmp_path: Path) -> None:
    write_grid(tmp_path, ["spankl", "extendner"], n_steps=1)
    kinds = {name.split("-")[0] for name in drawn(tmp_path)}
    assert kinds == {"steps", "steps_macro", "steps_micro", "types", "errors", "confusion", "cost"}


@pytest.mark.usefixtures("paper")
def test_tasks_and_few_types_have_heat_maps_of_their_own_and_many_types_only_by_task(tmp_path: Path) -> None:
    for n_types, kinds in ((11, ["tasks"]), (3, ["tasks", "types"])):
        tasks = [{"name": f"task{i}", "types": [f"t{i}{j}" for j in range(n_types)], "learned_at": i} for i in (1, 2)]
        counts = {k: {t: triple(60) for task in tasks[:k] for t in task["types"]} for k in (1, 2)}
        write_run(tmp_path / str(n_types), counts=counts, tasks=tasks)
        c, theme = themed(load_results(tmp_path / str(n_types)))
        pictures = heatmaps(c, "all", theme)
        assert [p.name.split("-")[0] for p in pictures] == kinds
        assert {"task1", "task2"} <= set(texts(pictures[0].figure))


def test_title_and_notes_stand_in_a_slide_and_beside_a_figure_for_a_paper(tmp_path: Path) -> None:
    write_grid(tmp_path, ["spankl"], n_steps=2, undertrained_below=99)
    results = load_results(tmp_path)
    c = comparisons(results)[0]
    notes = ("undertrained: do not compare", "n = 1: no claim about")
    for picture in figures(results, "slides"):
        written = " ".join(" ".join(texts(picture.figure)).split())
        assert all(note in written for note in notes), picture.name
        assert c.title in written
    for picture in figures(results):
        written = " ".join(" ".join(texts(picture.figure)).split())
        assert not [note for note in (*notes[1:], c.title) if note in written], picture.name
        assert notes[0] in written, "undertrained runs are named even where the caption is lost"
        assert picture.text.startswith(f"{picture.caption}\n\nNotes: ")
        assert c.title in picture.caption
        assert all(note in picture.text for note in notes)
        assert all(note in picture.text for note in notes_of(c))
        first, *others = picture.frame["notes"]
        assert "one order" in first
        assert set(others) <= {"as in the first row"}


def test_appearances_are_distinct_and_depend_on_the_name() -> None:
    assert len(set(_KNOWN.values())) == len(_KNOWN)
    alone = appearances([["my-method"]])
    assert alone["my-method"] not in _KNOWN.values()
    assert appearances([["my-method", "spankl"]]) == alone | {"spankl": _KNOWN["spankl"]}


def test_fifteen_unknown_methods_have_fifteen_markers_and_few_share_a_colour() -> None:
    for names in (FOREIGN, [f"m{i}" for i in range(15)], [f"variant={i}" for i in range(15)]):
        found = appearances([names])
        assert found == appearances([reversed(names)])
        assert len({marker for _, marker in found.values()}) == 15
        colours = [colour for colour, _ in found.values()]
        assert max(map(colours.count, colours)) <= 2
        assert not set(found.values()) & set(_KNOWN.values())
    many = appearances([[*_KNOWN, *(f"m{i}" for i in range(60))]])
    assert len(set(many.values())) == len(_KNOWN) + 60


def test_as_many_methods_as_there_are_colours_have_a_colour_each_and_bounds_are_grey(crowd: Results) -> None:
    known = [name for name, (colour, _) in _KNOWN.items() if colour != GREY]
    for names in (["spankl", *(f"m{i}" for i in range(7))], [*known, "m1", "m2"]):
        assert len({colour for colour, _ in appearances([names]).values()}) == len(COLOURS) == PANEL
    found = appearances([["m1"]], ["joint-span", "joint-token", "finetune-span", "addner-joint"])
    assert [name for name, (colour, _) in found.items() if colour != GREY] == ["m1"]
    assert len(set(found.values())) == len(found)
    assert len({dashes(name) for name in ("joint-span", "joint-token", "finetune-span", "finetune-token")}) == 4
    c, theme = themed(crowd)
    for panel in families(c):
        methods = [row for row in panel.rows if not is_bound(row)]
        assert len({theme.line(row)["color"] for row in methods}) == len(methods) <= PANEL
        assert {theme.line(row)["color"] for row in panel.rows if is_bound(row)} == {GREY}


def test_many_methods_stand_in_families_with_the_others_behind(crowd: Results) -> None:
    c = comparisons(crowd)[0]
    assert len(c.rows) > MANY
    found = families(c)
    assert found == families_of_all(c)
    named = [row for family in found for row in family.rows if not is_bound(row)]
    assert sorted(row.label for row in named) == sorted(row.label for row in c.rows if not is_bound(row))
    for family in found:
        own = {row for row in family.rows if not is_bound(row)}
        assert own | set(family.behind) == set(named)
        assert not own & set(family.behind)
        (architecture,) = {row.architecture for row in family.rows}
        assert {row for row in family.rows if is_bound(row)} == {
            row for row in c.rows if is_bound(row) and row.architecture == architecture
        }
    theme = Theme.of([c], "paper")
    (picture,) = step_curves(c, "all", theme)
    for ax, family in zip(picture.figure.axes, found, strict=True):
        assert len([line for line in ax.lines if line.get_color() == BEHIND]) == len(family.behind)
    assert not picture.frame.duplicated().any()
    few = replace(c, rows=c.rows[:MANY])
    assert [family.behind for family in families_of_all(few)] == [()]


@pytest.mark.usefixtures("paper")
def test_bands_and_bars_of_scores_end_at_0_and_100(tmp_path: Path) -> None:
    for seed, f1 in enumerate((2, 99, 40)):
        write_run(tmp_path, "spankl", {k: {t: triple(f1) for t in "ab"[:k]} for k in (1, 2)}, seed=seed)
    c, theme = themed(load_results(tmp_path))
    (steps,) = step_curves(c, "all", theme)
    (band,) = steps.figure.axes[0].collections
    mean, std = steps.frame["task_macro_f1_mean"][0], steps.frame["task_macro_f1_std"][0]
    assert mean - std < 0
    assert band.get_paths()[0].get_extents().extents[[1, 3]].tolist() == pytest.approx([0, mean + std])
    (plane,) = forgetting_scatter(c, "all", theme)
    bars = [bar for bars in plane.figure.axes[0].collections for bar in bars.get_segments()]
    assert plane.frame["learning_mean"][0] - plane.frame["learning_std"][0] < 0
    assert min(y for bar in bars for _, y in bar) == 0


def test_every_column_of_panels_has_tick_labels_and_no_panel_is_empty(pictures: dict[str, ReportFigure]) -> None:
    for kind in ("types", "errors", "confusion"):
        panels = [ax for ax in pictures[f"{kind}-all"].figure.axes if ax.get_title(loc="left")]
        assert len(panels) == 9
        grid = panels[0].get_gridspec()
        shown = [ax for ax in panels if any(t.get_visible() and t.get_text() for t in ax.get_xticklabels())]
        columns = {ax.get_subplotspec().colspan.start for ax in shown if ax.xaxis.get_tick_params()["labelbottom"]}
        assert columns == set(range(grid.ncols))


def test_confusion_names_its_axes_and_kinds_of_errors_have_hatches(pictures: dict[str, ReportFigure]) -> None:
    written = texts(pictures["confusion-all"].figure)
    assert {"gold", "predicted", "% of the row"} <= set(written)
    hatches = [hatch for _, _, hatch in LAYERS.values()]
    neighbours = list(pairwise(hatches))
    assert all(one != other for one, other in neighbours)
    drawn_hatches = {patch.get_hatch() or "" for ax in pictures["errors-all"].figure.axes for patch in ax.patches}
    assert drawn_hatches == set(hatches)


@pytest.mark.usefixtures("paper")
def test_the_order_of_a_heat_map_is_named_in_the_picture_and_in_the_caption(tmp_path: Path) -> None:
    write_grid(tmp_path, ["spankl", "extendner"], n_steps=3, runs=[(0, 0), (1, 0), (2, 0)])
    found = {picture.kind: picture for picture in figures(load_results(tmp_path)) if "-all-" in picture.name}
    assert "types, order 0 of 3" in texts(found["types"].figure)
    assert "gold, order 0 of 3" in texts(found["confusion"].figure)
    assert all("order 0 of 3" in found[kind].text for kind in ("types", "confusion"))


def test_the_docs_say_what_each_figure_answers_with_a_thumbnail(pictures: dict[str, ReportFigure]) -> None:
    text = (HOME / "docs" / "figures.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| (`\w+`[^|!]*)(?:!\[(\w+)\]\((thumbnails/\w+\.png)\) )?\| [A-Z][^|]*\? \|", text, re.MULTILINE
    )
    kinds = {kind for names, _, _ in rows for kind in re.findall(r"\w+", names)}
    assert {picture.kind for picture in pictures.values()} < kinds
    assert [names.strip() for names, shown, _ in rows if not shown] == [
        "`new_type`",
        "`ranks`",
    ]  # which no reference result has
    for names, shown, path in rows:
        assert not shown or f"`{shown}`" in names
        assert not path or (HOME / "docs" / path).stat().st_size < 40_000
    assert {path.name for path in (HOME / "docs" / "thumbnails").iterdir()} == {
        f"{shown}.png" for _, shown, _ in rows if shown
    }


def test_a_caption_stands_beside_each_figure(tmp_path: Path, no_images: None) -> None:
    write_grid(tmp_path, ["spankl", "extendner"], n_steps=2)
    results = load_results(tmp_path)
    files = report_files(results, formats=("svg",))
    drawn_files = {f"figures/{picture.name}.txt": picture.text for picture in figures(results)}
    assert {name: content.decode() for name, content in files.items() if name.endswith(".txt")} == drawn_files
    assert {name[:-4] for name in files if name.endswith(".svg")} == {name[:-4] for name in drawn_files}


# Machado, Oliveira and Fernandes 2009 (severity 1.0), on linear RGB: what people with each deficiency see.
DEFICIENCIES = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def lab(colour: str, deficiency: str) -> np.ndarray:
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(DEFICIENCIES.get(deficiency, np.eye(3))) @ linear, 0, 1)
    t = (TO_XYZ @ seen) / TO_XYZ.sum(axis=1)
    x, y, z = np.where(t > 216 / 24389, np.cbrt(t), (24389 / 27 * t + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("deficiency", ["none", *DEFICIENCIES])
def test_colours_are_told_apart_with_every_common_colour_blindness(deficiency: str) -> None:
    found = {
        (a, b): np.linalg.norm(lab(a, deficiency) - lab(b, deficiency)) for a, b in combinations((*COLOURS, GREY), 2)
    }
    assert min(found.values()) > 15, min(found, key=lambda pair: found[pair])  # about 2 can just be noticed


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=20))
def test_rising_places_are_those_of_isotonic_regression(values: list[float]) -> None:
    assert rising(values) == pytest.approx(isotonic_regression(values).x, abs=1e-9)


def test_in_grey_what_is_equally_light_has_another_marker_and_text_stays_readable() -> None:
    for (_, one), (_, other) in combinations(_KNOWN.items(), 2):
        assert abs(luminance(one[0]) - luminance(other[0])) > 0.1 or one[1] != other[1]
    for colour in (*COLOURS, GREY):
        assert 1.05 / (luminance(ink(colour)) + 0.05) >= 4.5
    assert ink(GREY) == GREY  # dark enough as it is


def test_two_settings_of_a_method_are_two_lines(tmp_path: Path) -> None:
    for config in ("aaaaaaaa", "bbbbbbbb"):
        write_grid(tmp_path, ["spankl"], n_steps=2, config=config)
    c, theme = themed(load_results(tmp_path))
    first, second = (theme.appearances[row.method, row.config] for row in c.rows)
    assert first == _KNOWN["spankl"] != second


def test_slides_have_the_shape_of_a_screen(tmp_path: Path) -> None:
    write_grid(tmp_path, ["spankl", "extendner"], n_steps=2)
    c, theme = themed(load_results(tmp_path), "slides")
    with mpl.rc_context(rc("slides")):
        (picture,) = step_curves(c, "all", theme)
    assert struct.unpack(">II", picture.to_bytes("png")[16:24]) == (1920, 1080)
    assert min(text.get_fontsize() for text in picture.figure.findobj(Text) if text.get_text()) >= 10


def test_styles_and_formats_are_checked_before_anything_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert formats_of("svg, PDF,svg") == ("svg", "pdf")
    for text in ("", ","):
        with pytest.raises(UserError, match="expected some of pdf, png, svg"):
            formats_of(text)
    with pytest.raises(UserError, match=r"expected paper or slides\. Did you mean 'slides'"):
        style_of("slide")
    assert main(["report", "nowhere", "--format", "pdf,pgn"]) == 2
    assert "Did you mean 'png'" in capsys.readouterr().err
    assert main(["report", "nowhere", "--style", "papers"]) == 2
    assert "Did you mean 'paper'" in capsys.readouterr().err
