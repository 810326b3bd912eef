"""The page in a real browser, headless and without a network: what it shows, and what clicking does."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from matplotlib.figure import Figure

from cl_ner_bench.analysis.comparison.compare import comparisons
from cl_ner_bench.analysis.data.frames import Results, load_results
from cl_ner_bench.analysis.figures.figure import ReportFigure, Theme
from cl_ner_bench.analysis.figures.rendering import FigureFiles
from cl_ner_bench.analysis.report.page import EMBEDDED, ROWS, ComparisonReport, render_page
from cl_ner_bench.analysis.report.quotes import Quote, QuotedRun, Quotes
from cl_ner_bench.analysis.table import Table
from cl_ner_bench.analysis.tables.latex import to_latex
from cl_ner_bench.analysis.tables.scores import difference_table, main_table, step_table, type_table
from cl_ner_bench.analysis.tables.text import to_csv, to_markdown
from cl_ner_bench.testing.results import triple, write_grid, write_run

pytestmark = pytest.mark.slow

Browse = Callable[..., Any]
SHORT = "A long note: method 1 and 79 more."
LONG = f"A long note: {', '.join(f'method {i}' for i in range(80))}, the last."
EVIL = "</script><script>console.error('ran')</script><!--"
PAIRS = [(order, seed) for order in range(3) for seed in range(2)]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("results")
    write_grid(folder, ["spankl", "finetune-span", "extendner", "seqstar", "joint-span"], n_steps=4, runs=PAIRS)
    write_run(folder, EVIL, status="failed", reason=EVIL, run_id="evil")
    for order, seed in PAIRS:
        first = next(r for r in load_results(folder).finished if r.order == order)
        counts = {k: {task.name: [5 + seed, 3, 3] for task in first.tasks[:k]} for k in range(1, 5)}
        tasks = msgspec.to_builtins(first.tasks)
        write_run(folder, "evil", counts, tasks, label=EVIL, order=order, seed=seed, registry_name="evil")
    return load_results(folder)


@pytest.fixture(scope="module")
def page(results: Results) -> str:
    (c,) = comparisons(results)
    made = [("scores", main_table), ("steps", step_table), ("types", type_table)]
    tables = [(section, make(c, view)) for view in ("all", "filter") for section, make in made]
    differing = difference_table(c, "all", results)
    assert differing
    tables.append(("differences", differing))
    figure = Figure(figsize=(3, 2))
    figure.subplots().plot([0, 1], [0, 1])
    drawn = ReportFigure(f"plane-all-{c.slug}", "A caption.", figure, c.measures, (SHORT, "Of the figure alone."))
    picture = FigureFiles.of(drawn, ["png"])
    files = {f"figures/{picture.name}.png": picture.images["png"], "counts.csv": b"x" * (EMBEDDED + 1)}
    for _, table in tables:
        files |= {f"tables/{table.name}.{suffix}": convert(table).encode()
                  for suffix, convert in (("csv", to_csv), ("md", to_markdown), ("tex", to_latex))}  # fmt: skip
    notes = {note: note for note in tables[0][1].notes} | {SHORT: LONG}
    block = ComparisonReport(c, ["An answer."], notes, tables, [("errors", picture)])
    run = next(run for run in results.finished if run.method == "spankl")
    quote = Quote(7, ("<i>Near", "Ada", "sat."), 1, 2, "person", (("Ada", "person"),), (), 3)
    quotes = Quotes(
        (QuotedRun(run, {"person": (quote,)}, {"person": 4}),), (("Do not share this file.", "A licence."),), 2
    )
    return render_page(results, [block], Theme.of([c], "paper").appearances, files, quotes)


def mean(results: Results, name: str, method: str, view: str = "all", step: int | None = None, **of: int) -> float:
    frame = results.scores if step else results.measures
    of |= {"step": step} if step else {}
    frame = frame[(frame["method"] == method) & (frame["view"] == view)]
    for column, value in of.items():
        frame = frame[frame[column] == value]
    return float(frame[name].mean())


def test_it_opens_and_every_link_inside_it_leads_somewhere(browse: Browse, page: str, tmp_path: Path) -> None:
    found = browse(page, tmp_path, """
      const ids = new Set(all("[id]").map((element) => element.id));
      return {
        ready: document.documentElement.dataset.ready,
        lost: all("a[href^='#']").map((a) => decodeURIComponent(a.hash.slice(1))).filter((id) => !ids.has(id)),
        twice: all("[id]").map((element) => element.id).filter((id, i, list) => list.indexOf(id) !== i),
        nameless: all("button, select, input, dialog, [role=region]").filter((element) => !element.textContent.trim()
          && !element.ariaLabel && !element.getAttribute("aria-labelledby") && !element.closest("label")).length,
        outside: all("[src], [href]").map((e) => e.getAttribute("src") ?? e.getAttribute("href"))
          .filter((address) => !/^(data:|#)/.test(address)),
        wide: document.documentElement.scrollWidth - innerWidth,
      };""")  # fmt: skip
    assert found.pop("wide") <= 0
    assert found == {"ready": "yes", "lost": [], "twice": [], "nameless": 0, "outside": ["counts.csv"]}


def test_without_a_script_the_answer_notes_tables_and_failures_are_there(page: str) -> None:
    text = html.unescape(re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL))
    for words in ("An answer.", LONG[-9:], "SpanKL", "Joint (span)", "evil: failed", '"recipe": "paper"'):
        assert words in text
    assert "<script>console" not in page  # neither in the text nor in the data


def test_sorting_keeps_groups_apart_and_returns(browse: Browse, page: str, results: Results, tmp_path: Path) -> None:
    found = browse(page, tmp_path, """
      const head = all("thead th", main).find((cell) => cell.textContent === "Learning"), out = [names(main)];
      for (let i = 0; i < 3; i++) { one("button", head).click(); out.push([head.ariaSort, names(main)]); }
      return out;""")  # fmt: skip
    before, (first, down), (second, up), (third, after) = found
    labels = {run.method: run.label for run in results.finished}
    scores = {labels[m]: mean(results, "learning", m) for m in labels}
    methods = sorted((label for label in scores if not label.startswith("Joint")), key=lambda label: -scores[label])
    assert (first, second, third) == ("descending", "ascending", None)
    assert down == [*methods, "Joint (span)"]
    assert up == [*reversed(methods), "Joint (span)"]
    assert before == after != down


def test_filtering_rows(browse: Browse, page: str, tmp_path: Path) -> None:
    found = browse(page, tmp_path, """
      one("details.runs").open = true;
      const field = one("input[type=search]", runs), before = names(runs).length, out = {before};
      field.value = "kl span"; field.dispatchEvent(new Event("input"));
      out.kept = names(runs).length; out.said = one("[role=status]", runs).textContent;
      field.value = ""; field.dispatchEvent(new Event("input"));
      out.after = names(runs).length; out.method_tables = all("input", main).length;
      return out;""")  # fmt: skip
    assert found == {"before": 37, "kept": 6, "said": "6 of 37 rows", "after": 37, "method_tables": 0}


def test_words_and_a_group_choose_the_methods_of_everything(browse: Browse, page: str, tmp_path: Path) -> None:
    found = browse(page, tmp_path, """
      await wait();
      const field = one(".for-all input"), group = one(".for-all select[aria-label]"), out = {};
      const look = () => ({main: names(main), steps: names(steps).length, differences: names(differences).length,
        types: all("thead th", types).filter((head) => head.checkVisibility()).map((head) => head.textContent),
        cells: all("tbody tr:not(.section)", types).map((row) => [...row.cells].filter((c) => !c.hidden).length),
        lines: all("svg > .series", curves).length, said: one(".for-all [role=status]").textContent,
        quoted: one(".quoted").checkVisibility(), link: location.hash});
      field.value = "kl, extend"; field.dispatchEvent(new Event("input")); out.words = look();
      await choose(group, "reference"); out.none = look();
      field.value = ""; field.dispatchEvent(new Event("input")); out.group = look();
      one(".for-all button").click(); out.all = look();
      return out;""")  # fmt: skip
    words, none, group, everything = (found[name] for name in ("words", "none", "group", "all"))
    assert sorted(words["main"]) == ["ExtendNER", "SpanKL"]
    assert sorted(words["types"]) == ["ExtendNER", "SpanKL", "Type"]
    assert set(words["cells"]) == {3}
    assert (words["steps"], words["differences"], words["lines"]) == (4, 1, 2)
    assert words["said"] == "2 of 6 methods"
    assert words["link"].endswith("?methods=spankl,extendner")
    assert (none["main"], none["lines"], none["said"]) == ([], 0, "0 of 6 methods")
    assert (group["main"], group["quoted"]) == (["Joint (span)"], False)
    assert (len(everything["main"]), everything["quoted"], everything["said"]) == (6, True, "6 methods")
    assert "?" not in everything["link"]


def test_a_copied_link_restores_section_and_choices(browse: Browse, page: str, tmp_path: Path) -> None:
    copied = browse(page, tmp_path, """
      await wait();
      const [measure, order] = all(".for-steps select"), [type] = all(".for-types select");
      await choose(measure, "micro_f1"); await choose(order, "1"); await choose(type, "person");
      await choose(one(".for-all select"), "filter");
      all(".for-steps .legend button").filter((b) => b.textContent !== "SpanKL").forEach((button) => button.click());
      one(".link button", one(".for-steps").closest("section")).click(); await wait();
      return location.hash;""")  # fmt: skip
    assert copied == "#steps-toy-split-minilm?view=filter&measure=micro_f1&order=1&type=person&methods=spankl"
    script = """
      await wait(); await wait();
      const values = () => all(".controls select").map((select) => select.value);
      const out = {values: values(), main: names(main_filter), lines: all("svg > .series", curves).length,
        pressed: all(".for-types .legend button[aria-pressed=true]").map((button) => button.textContent),
        top: one("h3", one(".for-steps").closest("section")).getBoundingClientRect().top};
      location.hash = "#types-toy-split-minilm"; await wait(); out.kept = values();
      location.hash = "#types-toy-split-minilm?view=evil&methods=evil%20none&order=9"; await wait();
      out.unknown = values(); out.all = names(main).length;
      return out;"""
    found = browse(page, tmp_path, script, fragment=copied)
    view, _, measure, order, type_, types_order, _ = found["values"]
    assert (view, measure, order, type_, types_order) == ("filter", "micro_f1", "1", "person", "1")
    assert (found["main"], found["lines"], found["pressed"]) == (["SpanKL"], 1, ["SpanKL"])
    assert 0 <= found["top"] < 150
    assert found["kept"] == found["values"]
    assert [found["unknown"][i] for i in (0, 2, 3)] == ["all", "task_macro_f1", ""]
    assert found["all"] == 6


def test_notes_stand_once_and_tables_and_figures_point_at_them(browse: Browse, page: str, tmp_path: Path) -> None:
    found = browse(page, tmp_path, """
      const text = (element) => element.textContent.replace(/\\s+/g, " ").trim();
      const marks = all(".marks").map((mark) => [text(mark.parentElement), text(mark)]);
      return {marks, notes: all(".notes li").map(text), open: all(".notes details").map((part) => part.open),
        headings: all("figure.table[data-view] h4").length, tables: all("figure.table[data-view]").length};
    """)  # fmt: skip
    assert len(set(found["notes"])) == len(found["notes"])
    assert [note.split(" ")[0] for note in found["notes"]] == [*"abcdefghij"][: len(found["notes"])]
    assert found["open"] == [False]  # the long one, of which tables say less
    assert not [note for note in found["notes"] if SHORT in note]
    (long,) = (note for note in found["notes"] if note.endswith("method 79, the last."))
    marks = dict(found["marks"])
    assert len(found["marks"]) == found["tables"] + 1 == found["headings"] + 1  # and the figure
    (on_picture,) = (mark for of, mark in marks.items() if of.startswith("A caption."))
    (own,) = (note for note in found["notes"] if note.endswith("Of the figure alone."))
    assert on_picture == f"notes {long.split(' ')[0]}, {own.split(' ')[0]}"
    assert long.split(" ")[0] not in next(mark for of, mark in marks.items() if of.startswith("Scores after the last"))


def test_the_main_table_fits_a_screen_and_a_phone(browse: Browse, page: str, tmp_path: Path) -> None:
    for size in ("1400,900", "400,800"):
        room = browse(page, tmp_path, "const box = one('.wide', main); return box.scrollWidth - box.clientWidth", size)
        assert room <= 0, size


def test_it_stays_readable_with_many_methods(browse: Browse, tmp_path: Path) -> None:
    for i in range(45):
        counts = {k: {f"T{t}": [50 + i, 3 + t, 3] for t in range(1, k + 1)} for k in (1, 2)}
        write_run(tmp_path, f"m{i}", counts, label=f"Method {i}", registry_name=f"m{i}")
    results = load_results(tmp_path)
    (c,) = comparisons(results)
    tables = [("scores", main_table(c, "all"))]
    files = {f"tables/{table.name}.{suffix}": b"" for _, table in tables for suffix in ("csv", "md", "tex")}
    block = ComparisonReport(c, [], {}, tables, [])
    found = browse(render_page(results, [block], Theme.of([c], "paper").appearances, files), tmp_path, """
      await wait();
      const box = one(".wide", main), head = one("thead th", main), legend = one(".for-steps details");
      box.scrollTop = 600; await wait();
      const place = (element) => element.getBoundingClientRect();
      const labels = all("svg .series text", curves).map((text) => place(text).top).sort((a, b) => a - b);
      await hover(curves, .99);
      return {scrolled: box.scrollTop, stuck: Math.abs(place(head).top - place(box).top),
        room: box.scrollWidth - box.clientWidth, open: legend.open, legend: all("button", legend).length,
        labels: labels.length, apart: Math.min(...labels.slice(1).map((top, i) => top - labels[i])),
        tip: all(".tip div", curves).length,
        below: place(one(".tip", curves)).bottom - place(one("svg", curves)).bottom};
    """, "1400,900")  # fmt: skip
    assert found["scrolled"] > 100
    assert found["stuck"] < 3
    assert found["room"] <= 0
    assert (found["open"], found["legend"], found["labels"], found["tip"]) == (False, 45, 45, 45)
    assert found["apart"] > 10
    assert found["below"] <= 0


def test_examples_of_forgetting_are_quoted_with_the_licence_above(page: str) -> None:
    assert "Do not share this file." in page[: page.index("An answer.")]
    text = re.sub(r"\s+", " ", page)
    assert "<q>&lt;i&gt;Near <mark>Ada</mark> sat.</q>" in text
    assert "sentence 7, lost in step 2 (person), right again after step 3" in text
    assert "after step 1: “Ada” person; after step 2: nothing (O)" in text
    assert "SpanKL: 4 lost by the end" in text


def test_curves_show_the_chosen_scores(browse: Browse, page: str, results: Results, tmp_path: Path) -> None:
    found = browse(page, tmp_path, """
      await wait();
      const lines = () => all("svg > .series", curves).length, out = {lines: [lines()]};
      const [measure, order] = all(".for-steps select"), view = one(".for-all select");
      await hover(curves, .99); out.title = one(".tip b", curves).textContent; out.last = tip(curves);
      await choose(measure, "micro_f1"); await choose(order, "1"); await hover(curves, .02); await hover(curves, .99);
      out.micro = tip(curves);
      await choose(view, "filter"); await hover(curves, .02); await hover(curves, .99);
      out.filter = tip(curves); out.hidden = [main, steps, types].map((figure) => figure.hidden);
      const button = all(".for-steps .legend button").find((b) => b.textContent === "SpanKL");
      button.click(); out.lines.push(lines()); out.pressed = button.ariaPressed;
      button.click(); out.lines.push(lines());
      one("svg", curves).dispatchEvent(new PointerEvent("pointerleave"));
      out.left = one(".tip", curves).hidden;
      one("svg", curves).dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowRight"}));
      out.key = one(".tip b", curves).textContent;
      return out;""")  # fmt: skip
    spread = results.scores.query("method == 'spankl' and view == 'all' and step == 4")["task_macro_f1"].std()
    assert found["lines"] == [6, 5, 6]
    assert (found["title"], found["key"], found["pressed"], found["left"]) == ("Step 4", "Step 1", "false", True)
    expected = mean(results, "task_macro_f1", "spankl", step=4)
    assert found["last"]["SpanKL"] == f"{expected:.1f} ± {spread:.1f}"
    assert next(iter(found["last"])) == "Joint (span)"  # the best stands first
    for view in ("all", "filter"):
        value = mean(results, "micro_f1", "extendner", view, step=4, order=1)
        assert found["micro" if view == "all" else "filter"]["ExtendNER"].split()[0] == f"{value:.1f}"
    assert found["hidden"] == [True] * 3


def test_type_curves_and_heat_map(browse: Browse, page: str, results: Results, tmp_path: Path) -> None:
    found = browse(page, tmp_path, """
      await wait();
      const [type, order, method] = all(".for-types select");
      const widths = () => all("svg > .series .line", ofType).map((line) => line.getBBox().width);
      const lines = widths(); await choose(type, all("option", type)[3].value); const point = widths();
      await choose(type, all("option", type)[1].value); await choose(order, "2"); await choose(method, "spankl");
      await hover(ofType, .99);
      return {point, lines, name: type.selectedOptions[0].textContent, tip: tip(ofType),
        said: one(".for-types .soft").textContent,
        heat: all(".heat tbody tr").map((row) => [...row.cells].map((cell) => cell.textContent))};
    """)  # fmt: skip
    counts = results.counts.query("method == 'spankl' and view == 'all' and step == 4 and order == 2")
    own = counts[counts["type"] == found["name"]]
    f1 = (200 * own["tp"] / (2 * own["tp"] + own["fp"] + own["fn"])).mean()
    assert found["tip"]["SpanKL"] == f"{f1:.1f}"
    assert len(found["point"]) == len(found["lines"]) == 6
    assert max(found["point"]) < 20 < min(found["lines"])  # learned last: one point, and no line to earlier steps
    run = next(r for r in results.finished if r.order == 2)
    learned = next(t.learned_at for t in run.tasks if t.name == found["name"])
    assert found["said"].startswith(f"{found['name']} is learned at step {learned} of order 2")
    assert [row[0] for row in found["heat"]] == [t.name for t in run.tasks]
    assert [row[1:].count("") for row in found["heat"]] == [0, 1, 2, 3]  # nothing before it is learned


def test_a_value_leads_to_the_runs_it_is_the_mean_of(
    browse: Browse, page: str, results: Results, tmp_path: Path
) -> None:
    found = browse(page, tmp_path, """
      const out = {};
      const cells = [["main", main, "SpanKL", "Mean task F1"], ["steps", steps, "SpanKL", "S2"],
        ["types", types, "person", "SpanKL"]];
      for (const [name, figure, row, column] of cells) {
        const line = all("tbody tr:not(.section)", figure).find((r) => r.cells[0].textContent === row);
        const index = all("thead th", figure).findIndex((head) => head.textContent === column);
        line.cells[index].click();
        out[name] = {open: one("dialog").open, cell: line.cells[index].textContent,
          rows: all("dialog tbody tr").map((r) => [...r.cells].map((c) => c.textContent))};
        one("dialog form button").click();
        out[name].closed = !one("dialog").open;
      }
      one("tbody th button", main).click();
      out.row = all("dialog thead th").map((head) => head.textContent);
      one("dialog tbody a").click(); await wait();
      out.target = one(":target")?.textContent.includes(one("dialog tbody a").textContent);
      out.settings = one("dialog p a").getAttribute("href");
      return out;""")  # fmt: skip
    runs = results.measures.query("method == 'spankl' and view == 'all'")
    for name in ("main", "steps", "types"):
        dialog = found[name]
        assert dialog["open"]
        assert dialog["closed"]
        assert sorted((int(row[0]), int(row[1]), row[3]) for row in dialog["rows"]) == sorted(
            zip(runs["order"], runs["seed"], runs["run_id"], strict=True)
        )
        average = sum(float(row[2]) for row in dialog["rows"]) / len(PAIRS)
        assert average == pytest.approx(float(dialog["cell"].split("±")[0]), abs=0.051)
        assert {row[4] for row in dialog["rows"]} == {"d0"}
    assert found["row"] == ["Order", "Seed", "Run", "Data", "Split"]
    assert found["target"]


def test_a_model_that_several_orders_share_counts_once(browse: Browse, tmp_path: Path) -> None:
    for order in range(3):
        for seed, score in enumerate((60, 70)):
            counts = {1: {"A": triple(score)}}
            write_run(tmp_path, "joint-span", counts, order=order, seed=seed, step_keys={"1": f"a{seed}"})
            write_run(tmp_path, "spankl", counts, order=order, seed=seed, step_keys={"1": f"b{order}{seed}"})
    results = load_results(tmp_path)
    (c,) = comparisons(results)
    block = ComparisonReport(c, [], {}, [("scores", main_table(c, "all"))], [])
    files = {f"tables/main-all-{c.slug}.{suffix}": b"" for suffix in ("csv", "md", "tex")}
    found = browse(render_page(results, [block], Theme.of([c], "paper").appearances, files), tmp_path, """
      await wait(); await hover(curves, .5);
      const out = {tip: tip(curves)};
      for (const name of ["SpanKL", "Joint (span)"]) {
        all("tbody tr:not(.section)", main).find((row) => row.cells[0].textContent === name).cells[2].click();
        out[name] = one("dialog p").textContent;
        one("dialog form button").click();
      }
      return out;""")  # fmt: skip
    assert found["tip"] == {"Joint (span)": "65.0 ± 7.1", "SpanKL": "65.0 ± 5.5"}
    assert "the mean of 2 trained model(s), shared by 6 run(s) of joint-span" in found["Joint (span)"]
    assert "the mean of 6 run(s) of spankl" in found["SpanKL"]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", ["360,800", "1280,900"])
def test_both_themes_are_legible_at_every_width(
    browse: Browse, page: str, tmp_path: Path, size: str, dark: bool
) -> None:
    found = browse(page, tmp_path, """
      await wait(); await hover(curves, .99);
      const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
      const rgb = (text) => {
        canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((value) => value / 255);
      };
      const linear = (value) => value <= .04045 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4;
      const light = (text) => rgb(text).map(linear).reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
      const ground = (element) => {
        for (; element; element = element.parentElement) {
          const colour = getComputedStyle(element).backgroundColor;
          if (!/, 0\\)$/.test(colour)) return colour;
        }
      };
      const contrast = (element) => {
        const own = getComputedStyle(element)[element.matches("svg text") ? "fill" : "color"];
        const [more, less] = [own, ground(element)].map(light).sort((a, b) => b - a);
        return [(more + .05) / (less + .05), element.outerHTML.slice(0, 80)];
      };
      const texts = all("p, li, td, th, a, button, summary, dt, dd, figcaption, svg text, .tip span, select, label");
      return {
        dark: matchMedia("(prefers-color-scheme: dark)").matches,
        wide: document.documentElement.scrollWidth - innerWidth,
        worst: texts.filter((element) => element.checkVisibility()).map(contrast).sort((a, b) => a[0] - b[0])[0],
      };
    """, size, dark)  # fmt: skip
    assert found["dark"] == dark
    assert found["wide"] <= 0
    assert found["worst"][0] >= 4.5, found["worst"]  # WCAG AA
    shot = tmp_path / "shot.png"
    browse(page, tmp_path, "", size, dark, screenshot=str(shot))
    assert shot.stat().st_size > 20_000


def test_decimals_of_tables(results: Results) -> None:
    (c,) = comparisons(results)
    table = main_table(c, "all")
    files = {f"tables/{table.name}.{suffix}": b"" for suffix in ("csv", "md", "tex")}
    block, appearances = ComparisonReport(c, [], {}, [("scores", table)], []), Theme.of([c], "paper").appearances
    value = mean(results, "task_macro_f1", "spankl")
    for decimals in (1, 3):
        page = render_page(results, [block], appearances, files, decimals=decimals)
        assert f'">{value:.{decimals}f}<span class="spread">' in page.replace("<b>", "")


def test_long_tables_and_large_files_are_left_to_the_folder(results: Results) -> None:
    (c,) = comparisons(results)
    lines = tuple((f"row {i}", "1") for i in range(ROWS + 1))
    table = Table("main-all-x", "Long.", ("Row", "n"), (("", lines),), (), c.measures)
    names = [f"tables/main-all-x.{suffix}" for suffix in ("csv", "md", "tex")]
    files = {name: b"x" * (EMBEDDED + (name.endswith("csv"))) for name in names}
    page = render_page(
        results, [ComparisonReport(c, [], {}, [("scores", table)], [])], Theme.of([c], "paper").appearances, files
    )
    assert f"{ROWS + 1} rows: too long for this page" in page
    assert f"row {ROWS}" not in page
    assert 'href="tables/main-all-x.csv"' in page
    assert 'href="tables/main-all-x.md"' not in page
