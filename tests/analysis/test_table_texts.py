"""Rendered tables: Markdown, LaTeX that a real LaTeX takes and that fits its column, captions, long form."""

from __future__ import annotations

import ast
import math
import re
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from cl_ner_bench import HOME
from cl_ner_bench.analysis.data.frames import load_results
from cl_ner_bench.analysis.table import Cell, Table
from cl_ner_bench.analysis.tables import latex as latex_module
from cl_ner_bench.analysis.tables.collect import tables
from cl_ner_bench.analysis.tables.latex import latex, to_latex
from cl_ner_bench.analysis.tables.text import TableLayout, long_form, to_csv, to_markdown
from cl_ner_bench.cli.results import table_text
from cl_ner_bench.errors import UserError
from cl_ner_bench.testing.results import triple, write_grid, write_run

Compiled = Callable[..., tuple[str, str]]
UNPRINTED = {"\u2028", "\u2029", "\ufeff"}  # what the page's script must not hold, and what begins a file
LOOKALIKES = str.maketrans({"›": ">", "°": "◦", "Δ": "∆", "≠": "="})  # in the PDF; its ≠ is = struck through
ODD = r"50%_of $A & #1 ~^\{x} * [y] <z> | -- ` \input{/etc/passwd} <script>x</script> Zoë Łódź β 中"


def small(**changes: object) -> Table:
    lines = (
        ("A", "3", Cell(71, 1, bold=True), Cell(-2.5, 0.25)),
        ("B", "3", Cell(70.126, 1.239, tied=True), Cell(math.nan, math.nan)),
    )
    frame = pd.DataFrame({"label": ["A", "B"], "micro": [71, 70.126]})
    header = ("Method", "n", "Avg micro", "BWT")
    table = Table("main-all-toy", "A caption.", header, (("Memory-free", lines),), ("one order",), frame)
    return replace(table, **changes)  # type: ignore[arg-type]


def test_numbers_are_siunitx_columns_with_room_for_what_follows() -> None:
    text = to_latex(small())
    room = r"table-space-text-post={{\tiny$\pm$0.0}$^\dagger$}"
    assert rf"\begin{{tabular}}{{lrS[table-format=2.1,{room.replace('$0.0', '$000')}]S[table-format=-1.1," in text
    assert r"A & 3 & \bfseries 71.0{\tiny$\pm$1.0} & -2.5{\tiny$\pm$0.2} \\" in text
    assert r"B & 3 & 70.1{\tiny$\pm$1.2}{$^\dagger$} & {--} \\" in text
    for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\caption{A caption.}", r"\label{tab:main-all-toy}"):
        assert text.count(rule) == 1
    assert r"\setlength{\belowcaptionskip}{6pt}" in text


def test_the_user_chooses_the_decimals() -> None:
    assert r"70.126{\tiny$\pm$1.239}" in to_latex(small(), TableLayout(decimals=3))
    assert r"S[table-format=2.0," in to_latex(small(), TableLayout(decimals=0))
    assert "| B | 3 | 70.13±1.24† |" in to_markdown(small(), TableLayout(decimals=2))


def test_a_title_wider_than_its_column_stands_in_two_rows() -> None:
    narrow = small(header=("Method", "n", "Mean task F1", "Forgetting"))
    assert r"{\begin{tabular}[b]{@{}r@{}}Mean \\ task F1\end{tabular}}" in to_latex(narrow)
    assert r"{Forgetting}" in to_latex(narrow)
    assert r"Forget- \\ ting" in to_latex(narrow, TableLayout(columns=1))
    wide = small(header=("Method", "n", "Micro", "F1"))
    assert r"\begin{tabular}[b]" not in to_latex(wide)


def test_five_numbers_are_one_table_in_one_column() -> None:
    titles = ("Micro-F1", "Mean task F1", "Forgetting", "Learning", "Gap")
    lines = tuple((f"Fine-tuning ({kind})", *(Cell(60.0, 1.5) for _ in titles)) for kind in ("span", "token"))
    text = to_latex(small(header=("Method", *titles), sections=(("Memory-free", lines),)), TableLayout(columns=1))
    assert text.count(r"\begin{tabular}{l") == 1


def test_notes_are_brief_in_print_and_whole_in_markdown() -> None:
    shared = "a model that several orders share counts once: Joint (token) 2, Joint (span) 2"
    starved = "starved by this recipe: " + ", ".join(f"Method {i} at 1 of 8 steps" for i in range(30))
    bounds = "joint training is undertrained: no gap (final micro-F1 Joint (span) 2.4)"
    table = small(notes=("one order", bounds, shared, starved))
    text = to_latex(table)
    assert "Notes: one order; joint training is undertrained: no gap; a model" in text
    assert "counts once: Joint (token) 2," in text
    assert "starved by this recipe: Method 0" in text
    assert r"\ldots{}. In full: main-all-toy.md." in text
    assert "Method 4" not in text
    assert "Method 29 at 1 of 8 steps" in to_markdown(table)
    assert r"Notes: one order.\par" in to_latex(small())


def test_texts_among_numbers_are_braced() -> None:
    table = small(sections=(("x", (("A", "3", "p < 0.05", Cell(1, math.nan)), ("B", "3", Cell(2, 1), "-"))),))
    assert r"A & 3 & {p \textless{} 0.05} & 1.0 \\" in to_latex(table)


@pytest.mark.parametrize(("columns", "environment"), [(1, "{table}[t]"), (2, "{table*}[t]")])
def test_a_table_is_as_wide_as_one_column_or_two(columns: int, environment: str) -> None:
    assert rf"\begin{environment}" in to_latex(small(), TableLayout(columns=columns))


def test_what_is_too_wide_is_cut_into_panels_that_repeat_the_first_column() -> None:
    steps = tuple(f"S{k}" for k in range(1, 12))
    line = ("Fine-tuning (token)", *(Cell(50, 1.5) for _ in steps))
    text = to_latex(small(header=("Method", *steps), sections=(("x", (line,)),)), TableLayout(columns=1))
    assert text.count(r"\begin{tabular}") > 1
    assert text.count("Fine-tuning (token)") == text.count(r"\begin{tabular}")
    assert [text.count(f"{{{step}}}") for step in steps] == [1] * len(steps)


def test_panels_of_a_table_of_pairs_repeat_both_methods() -> None:
    names = tuple(f"N{k}" for k in range(1, 8))
    numbers = tuple(Cell(50, 1.5) for _ in names)
    lines = (("ExtendNER", "Replay (token)", *numbers), ("ExtendNER", "Self-Training", *numbers))
    text = to_latex(small(header=("Method", "Other", *names), sections=(("x", lines),)), TableLayout(columns=1))
    panels = text.count(r"\begin{tabular}")
    assert panels > 1
    assert text.count("ExtendNER & Replay (token)") == text.count("ExtendNER & Self-Training") == panels


def test_what_is_longer_than_a_page_is_a_longtable() -> None:
    lines = tuple((f"type {i}", Cell(50, math.nan)) for i in range(66))
    text = to_latex(small(header=("Type", "F1"), sections=(("x", lines),)), TableLayout(columns=1))
    assert text.startswith("% \\usepackage{booktabs,siunitx,longtable}\n")
    assert r"\begin{longtable}" in text
    assert r"\onecolumn" in text  # where it is put into a text of two columns, it has pages of its own
    assert text.count("type 65") == 1
    assert r"\begin{table" not in text
    assert "Notes:" in text.partition(r"\endlastfoot")[0]  # with the last rows, never alone on a page


def test_a_column_without_any_number_is_not_printed() -> None:
    lines = (("A", Cell(60, 1), Cell(math.nan, math.nan)), ("B", Cell(50, 1), Cell(math.nan, math.nan)))
    text = to_latex(small(header=("Method", "Micro-F1", "Gap"), sections=(("x", lines),)))
    assert "Micro-F1" in text
    assert "Gap" not in text


def test_seven_points_are_taken_where_they_fit() -> None:
    titles = ("Micro-F1", "Mean task F1", "Forgetting", "Learning")
    lines = (("Fine-tuning (span)", *(Cell(60.0, 11.5) for _ in titles)),)
    text = to_latex(small(header=("Method", *titles), sections=(("Memory-free", lines),)), TableLayout(columns=1))
    assert r"\fontsize{7}{8.4}" in text


def test_the_long_form_has_a_number_a_row() -> None:
    table = long_form(small())
    assert table.header == ("Method", "Column", "Value")
    assert [row[:2] for _, rows in table.sections for row in rows][:3] == [("A", "n"), ("A", "Avg micro"), ("A", "BWT")]
    assert "| A | BWT | -2.5±0.2 |" in to_markdown(small(), TableLayout(form="long"))
    assert r"B & Avg micro & 70.1{\tiny$\pm$1.2}{$^\dagger$} \\" in to_latex(small(), TableLayout(form="long"))


def test_the_longest_key_that_begins_a_name_gives_the_caption() -> None:
    layout = TableLayout(captions={"main": "Ours.", "main-all-toy": r"50 % of \input{x}"}, label_prefix="appendix:")
    assert r"\caption{50 \% of \textbackslash{}input\{x\}}" in to_latex(small(), layout)
    assert r"\label{appendix:main-all-toy}" in to_latex(small(), layout)
    assert r"\caption{Ours.}" in to_latex(small(name="main-filter-toy"), layout)
    assert "\n\nA caption.\n\n- one order\n" in to_markdown(small(name="mainly-all-toy"), layout)
    layout.check_captions([small()])
    with pytest.raises(UserError, match="--caption mian: no table's name begins so; there are main-all-toy"):
        TableLayout(captions={"mian": ""}).check_captions([small()])


def test_a_tied_value_has_a_dagger_everywhere_and_csv_stays_unrounded() -> None:
    assert "| B | 3 | 70.1±1.2† | – |" in to_markdown(small())
    assert "70.1±1.2†" in table_text(small())
    assert "70.126" in to_csv(small())
    assert "†" not in to_csv(small())


def test_latex_escapes() -> None:
    assert latex("a_b%&#$~^\\{}") == (r"a\_b\%\&\#\$\textasciitilde{}\textasciicircum{}\textbackslash{}\{\}")
    assert latex("--flag – 5 ± 1 †") == r"-{}-flag -- 5 $\pm$ 1 $^\dagger$"
    assert latex("λ") == r"\ensuremath{\lambda}"
    assert latex("Zoë Łódź") == "Zoë Łódź"
    assert latex("中\n") == "{[}U+4E2D] "
    assert latex("≤ 1 × 10² → ε") == (
        r"\ensuremath{\leq} 1 \ensuremath{\times} 10\ensuremath{^2} \ensuremath{\rightarrow} \ensuremath{\varepsilon}"
    )
    assert latex("x <= 3") == r"x \ensuremath{\leq} 3"
    assert latex("""the recipe 'minilm' isn't "faithful" ("old")""") == (
        "the recipe `minilm' isn't ``faithful'' (``old'')"
    )


def our_texts() -> list[str]:
    """Return all strings of the code that may reach a table: notes, captions, remarks, labels, published numbers.

    Documentation strings and the tables of ``latex`` itself are not among them.
    """
    package = HOME / "cl_ner_bench"
    files = [path for part in ("analysis", "learning", "running") for path in (package / part).rglob("*.py")]
    files = [path for path in [*files, *(HOME / "methods").glob("*.py")] if path.name != "latex.py"]
    texts = [path.read_text(encoding="utf-8") for path in (package / "analysis").rglob("*.toml")]
    for path in files:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        expressions = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in expressions)
        texts += [node.value for node in constants if isinstance(node.value, str)]
    return texts


@pytest.mark.slow
def test_every_character_of_our_own_texts_is_printed_by_a_real_latex(compiled: Compiled, tmp_path: Path) -> None:
    printed = sorted({c for text in our_texts() for c in text if not c.isascii()} - UNPRINTED)
    assert {"≤", "±", "†", "–"} <= set(printed)
    notes = tuple(f"x{c}y" for c in [*printed, *latex_module._MATHS])
    assert not [note for note in notes if "U+" in latex(note)]
    _, text = compiled(tmp_path, [small(notes=notes)], TableLayout())

    def plain(words: str) -> str:
        return re.sub(r"[\s\u0338]", "", unicodedata.normalize("NFKC", words).translate(LOOKALIKES))

    assert not [note for note in notes if plain(note) not in plain(text)]


@pytest.mark.slow
@pytest.mark.parametrize(("columns", "form"), [(1, "wide"), (2, "wide"), (2, "long")])
def test_every_table_compiles_and_fits(compiled: Compiled, tmp_path: Path, columns: int, form: str) -> None:
    write_grid(tmp_path, ["spankl", "extendner", "seqstar", "joint-span"], n_steps=8, runs=((0, 0), (0, 1), (1, 0)))
    counts = {k: {f"T{i}": triple(60 + k) for i in range(6)} for k in range(1, 7)}
    tasks = [{"name": f"T{i}", "types": [f"T{i}"], "learned_at": i + 1} for i in range(6)]
    write_run(tmp_path, "spankl", counts, tasks, dataset="ontonotes", encoder="bert-large-cased")
    results = load_results(tmp_path)
    made = [t for t in tables(results) if "-all-" in t.name]
    assert {t.name.split("-")[0] for t in made} >= {"main", "steps", "types", "published"}
    log, text = compiled(tmp_path, made, TableLayout(columns=columns, form=form))
    assert "Overfull" not in log
    assert "Float too large" not in log
    for piece in ("SpanKL", "Memory-free", "ExtendNER"):
        assert piece in text


@pytest.mark.slow
def test_odd_names_survive_a_real_latex(compiled: Compiled, tmp_path: Path) -> None:
    for seed in range(3):
        for i, method in enumerate(("spankl", ODD, "[x", "*y")):
            counts = {1: {ODD: triple(70 + seed)}, 2: {ODD: triple(60), "[B]": triple(50), "*": [0, 1, 0]}}
            tasks = [
                {"name": ODD, "types": [ODD], "learned_at": 1},
                {"name": "b", "types": ["[B]", "*"], "learned_at": 2},
            ]
            more = {"label": method, "run_id": f"{i}-{seed}", "dataset": ODD, "uncased": True}
            write_run(tmp_path, method, counts, tasks, seed=seed, **more)
    _, text = compiled(tmp_path, [t for t in tables(load_results(tmp_path)) if "-all-" in t.name], TableLayout())
    for piece in ("50%", "$A", "#1", "{x}", "[y]", "U+4E2D", "<script>", "\\input"):
        assert piece in text, piece
