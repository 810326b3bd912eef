"""Published numbers: the data against the facts known of it, what stands beside what, and the judgement."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from cl_ner_bench.analysis.comparison.agreement import judge
from cl_ner_bench.analysis.data.frames import load_results
from cl_ner_bench.analysis.literature.numbers import protocol_differences, published_number
from cl_ner_bench.analysis.literature.settings import Setting, presets, read_settings, settings
from cl_ner_bench.analysis.table import Cell, Table
from cl_ner_bench.analysis.tables.latex import to_latex
from cl_ner_bench.analysis.tables.published import published_tables
from cl_ner_bench.analysis.tables.text import to_csv, to_markdown
from cl_ner_bench.corpora.cards import list_cards, recipe_names
from cl_ner_bench.errors import UserError
from cl_ner_bench.registry import methods
from cl_ner_bench.testing.results import triple, write_matrix, write_run

BERT = "bert-large-cased"
TASKS = ["ORG", "PERSON", "GPE", "DATE", "CARDINAL", "NORP"]
ORDERS = list_cards()["ontonotes"].orders


def spankl(folder: Path, shift: float = 0.0, orders: Any = range(6), seeds: int = 1, **more: Any) -> Path:
    """SpanKL's published scores on OntoNotes, all moved by ``shift``, as our own runs."""
    for row, seed in itertools.product(settings()["spankl-ontonotes-split"].rows, range(seeds)):
        if row.order in orders:
            matrix = [[score + shift for score in scores] for scores in row.tasks]
            names = [TASKS[i] for i in ORDERS[row.order or 0]]
            about = {"dataset": "ontonotes", "encoder": BERT, "order": row.order, "seed": seed} | more
            write_matrix(folder, matrix, names, **about)
    return folder


def extendner(folder: Path, scores: list[float], scenario: str = "fg8-pg2", **more: Any) -> Path:
    """Runs on OntoNotes with 18 types in which each type has the same F1 at each step."""
    a, b = (8, 2) if scenario.startswith("fg8") else (1, 1)
    cuts = [0, *range(a, 19, b)]
    types = [f"T{i}" for i in range(18)]
    tasks = [{"name": f"t{k}", "types": types[i:j], "learned_at": k} for k, (i, j) in enumerate(zip(cuts, cuts[1:]), 1)]  # noqa: B905, RUF007
    for seed, score in enumerate(scores):
        counts = {k: dict.fromkeys(types[: cuts[k]], triple(score)) for k in range(1, len(cuts))}
        about = {
            "dataset": "ontonotes18",
            "scenario": scenario,
            "encoder": "bert-base-cased",
            "order_of": "types",
            "method": "extendner-cfner",
            "label": "ExtendNER",
        } | more
        write_run(
            folder, counts=counts, tasks=tasks, seed=seed, run_id=f"{about}{seed}".replace("/", "_")[:200], **about
        )
    return folder


def sections(table: Table) -> dict[str, dict[str, list[Cell]]]:
    return {title: {str(row[0]): list(row[1:]) for row in rows} for title, rows in table.sections}  # type: ignore


def test_settings_fit_the_cards_scenarios_recipes_and_methods() -> None:
    cards, known = list_cards(), methods()
    for setting in settings().values():
        card = cards[setting.dataset]
        assert all(order in range(len(card.orders)) or order == 0 for order in setting.orders), setting.name
        assert set(setting.methods) <= set(known), setting.name
        if setting.scenario in ("split", "filter"):
            assert setting.n_steps == len(card.tasks), setting.name
        else:
            a, b = (int(part[2:]) for part in setting.scenario.split("-")[:2])
            assert setting.n_steps == 1 + (len(card.types) - a) // b, setting.name
        if setting.preset:
            assert setting.preset.recipe in recipe_names(card), setting.name
    assert {"spankl-ontonotes-split", "spankl-fewnerd-split", "cfner-conll2003-fg1-pg1"} <= set(presets())
    assert "tbcl-fewnerd-fg6-pg6" not in presets()  # its test sentences are not stated


@pytest.mark.parametrize(
    ("name", "final", "spread", "bi", "bwt", "forgetting"),
    [
        ("spankl-ontonotes-split", 88.81, 0.33, -0.30, 0.17, 0.24),
        ("spankl-fewnerd-split", 62.01, 0.55, -0.25, 0.77, 0.16),
    ],
)
def test_the_figure_of_spankl_has_the_known_means(
    name: str, final: float, spread: float, bi: float, bwt: float, forgetting: float
) -> None:
    setting = settings()[name]
    for row in setting.rows:  # every plotted macro-F1 is the mean of the plotted task curves
        assert np.allclose([np.mean(scores) for scores in row.tasks], row.steps["task_macro_f1"], atol=0.015)
    got = {
        m: published_number(setting.rows, m, setting.n_steps, orders=setting.orders)
        for m in ("bi", "bwt", "forgetting")
    }
    cell = published_number(setting.rows, "task_macro_f1", setting.n_steps, orders=setting.orders)
    assert (round(cell.mean, 2), round(cell.std, 2)) == (final, spread)
    assert [got[m].mean for m in ("bi", "bwt", "forgetting")] == pytest.approx([bi, bwt, forgetting], abs=0.011)


def test_the_authors_log_has_its_printed_measures() -> None:
    (row,) = settings()["spankl-ontonotes-split-log"].rows
    assert [round(float(np.mean(scores)), 2) for scores in row.tasks] == pytest.approx(
        row.steps["task_macro_f1"], abs=0.011
    )
    of = {m: published_number([row], m, 6, orders=[0]).mean for m in ("bi", "forgetting", "bwt")}
    assert [round(of[m], 2) for m in ("bi", "forgetting", "bwt")] == [-0.17, -0.31, 0.37]


def test_known_misprints_hold_the_right_value_and_name_the_printed_one() -> None:
    everything = settings()
    onto, i2b2 = (everything[f"cfner-{dataset}-fg2-pg2"] for dataset in ("ontonotes18", "i2b2-2014"))
    rows = {row.label: row.values for row in onto.rows}
    twins = {row.label: row.values for row in i2b2.rows}
    assert len(onto.errata) == 4
    for e in onto.errata:
        assert rows[e.row][e.measure][0] == e.right
        assert twins[e.row][e.measure][0] == e.printed  # what was copied from where
    assert (rows["PODNet"]["avg_micro_f1"][0], rows["LUCIR"]["avg_macro_f1"][0]) == (19.04, 40.58)
    doubtful = everything["recall-i2b2-2014-fg8-pg2"].errata
    few = {row.label: row.values for row in everything["recall-fewnerd-fg6-pg6"].rows}
    assert [(e.printed, math.isnan(e.right)) for e in doubtful] == [(few[e.row][e.measure][0], True) for e in doubtful]


def test_numbers_stand_where_the_papers_have_them() -> None:
    def cell(name: str, label: str, measure: str) -> tuple[float, float]:
        return next(row for row in settings()[name].rows if row.label == label).values[measure]

    assert cell("cfner-i2b2-2014-fg8-pg2", "ExtendNER", "avg_micro_f1")[0] == 52.25
    assert cell("cfner-i2b2-2014-fg8-pg2", "ExtendNER", "macro_f1")[0] == 20.46
    assert cell("cfner-conll2003-fg1-pg1", "Joint (finetune_all)", "macro_f1")[0] == 86.16
    assert cell("tbcl-i2b2-2014-fg2-pg2", "ExtendNER", "avg_micro_f1") == (67.60, 1.15)
    assert cell("tbcl-ontonotes18-fg8-pg2", "TBCL", "avg_macro_f1") == (68.43, 0.41)
    assert cell("recall-ontonotes18-fg8-pg2", "SEQ* (W+FixBC+Lin)", "macro_f1")[0] == 66.99
    assert cell("fsl-i2b2-2014-fg8-pg2", "CPFD", "avg_macro_f1")[0] == 34.94
    assert cell("fsl-ontonotes18-fg8-pg2", "FSL", "avg_micro_f1")[0] == 53.12
    few = next(row for row in settings()["tbcl-fewnerd-fg6-pg6"].rows if row.label == "CFNER")
    assert np.mean(few.steps["macro_f1"]) == pytest.approx(few.values["avg_macro_f1"][0], abs=0.01)


def test_under_the_same_protocol_published_rows_stand_beside_ours(tmp_path: Path) -> None:
    (table,) = published_tables(load_results(spankl(tmp_path, shift=0.5)))
    assert table.name == f"published-all-ontonotes-split-{BERT}"
    assert table.header == ("Method", "S1", "S2", "S3", "S4", "S5", "S6", "BI")
    found = sections(table)
    ours = found["Mean task F1: these results"]["SpanKL"]
    theirs = found["Mean task F1: SpanKL paper, digitised"]["SpanKL"]
    for i in range(6):
        assert ours[i].mean - theirs[i].mean == pytest.approx(0.5, abs=0.02)
    assert ours[-1].mean == pytest.approx(theirs[-1].mean, abs=0.01)
    apart = [title for title in found if "NOT COMPARABLE" in title]
    assert [title.split(": ")[-1] for title in apart] == [
        "SKD-NER, second hand, third-party snippet",
        "SpanKL paper, printed",
    ]
    assert "Mean task F1: SpanKL paper, third-party snippet" in found
    assert not any(cell.bold for rows in found.values() for cells in rows.values() for cell in cells)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"encoder": "minilm"}, "encoder bert-large-cased, here minilm"),
        ({"settings": {"recipe": "paper", "max_sentences": 90}}, "here a sample of 90 sentences"),
        ({"settings": {"recipe": "paper", "split_seed": 2}}, "here another split seed"),
        ({"inputs": {"tasks": "ORG;PERSON"}}, "other tasks"),
    ],
)
def test_under_another_protocol_they_are_marked_in_every_format(
    tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    (table,) = published_tables(load_results(spankl(tmp_path, **changes)))
    (title,) = [t for t in sections(table) if t.endswith("SpanKL paper, digitised")]
    assert title == f"Mean task F1: NOT COMPARABLE ({why}): SpanKL paper, digitised"
    assert "NOT COMPARABLE" in to_markdown(table)
    assert "NOT COMPARABLE" in to_latex(table)
    assert f'SpanKL paper,digitised,False,"{why}",' in to_csv(table) or f"digitised,False,{why}," in to_csv(table)
    assert not table.frame[table.frame["source"] != "these results"]["comparable"].any()


def test_a_mean_over_other_orders_is_not_comparable_but_single_orders_are(tmp_path: Path) -> None:
    (table,) = published_tables(load_results(spankl(tmp_path, orders=[0])))
    found = sections(table)
    log, fig = (found[f"Mean task F1: SpanKL paper, {e}"]["SpanKL"][5] for e in ("printed", "digitised"))
    assert (log.mean, fig.mean) == (89.66, 89.42)
    assert "Mean task F1: NOT COMPARABLE (mean over 6 orders, here 1): SpanKL paper, third-party snippet" in found


def test_ours_are_means_over_the_runs_that_all_methods_finished(tmp_path: Path) -> None:
    spankl(tmp_path)
    spankl(tmp_path, shift=-5, method="mine", label="Mine", orders=[0, 1])
    spankl(tmp_path, shift=1, method="joint-span", orders=[0])  # a reference does not take runs from the others
    results = load_results(tmp_path)
    (table,) = published_tables(results)
    ours = sections(table)["Mean task F1: these results"]
    scores = results.scores.query("view == 'all' and method == 'spankl' and step == 6 and order < 2")["task_macro_f1"]
    assert ours["SpanKL"][5].mean == pytest.approx(scores.mean())
    assert ours["Mine"][5].mean == pytest.approx(scores.mean() - 5, abs=0.01)
    assert all(math.isnan(cell.mean) for cell in ours["Joint (span)"])
    assert "left empty, as not all runs are finished: Joint (span)" in table.notes
    assert "over the n = 2 (order, seed) pairs that all methods finished" in table.caption
    assert any("(mean over 6 orders, here 2)" in title for title in sections(table))


def test_without_a_run_that_all_finished_nothing_is_comparable(tmp_path: Path) -> None:
    spankl(tmp_path, orders=[0])
    spankl(tmp_path, method="mine", label="Mine", orders=[1])
    (table,) = published_tables(load_results(tmp_path))
    published = [title for title in sections(table) if not title.endswith("these results")]
    assert published
    assert all("NOT COMPARABLE" in title and "no run that all methods finished" in title for title in published)


def test_settings_of_a_dataset_share_a_table_with_cfners_columns(tmp_path: Path) -> None:
    for scenario in ("fg8-pg2", "fg1-pg1"):
        extendner(tmp_path, [75, 76, 77], scenario)
    (table,) = published_tables(load_results(tmp_path))
    assert table.header[1:] == ("FG-1-PG-1 micro", "FG-1-PG-1 macro", "FG-8-PG-2 micro", "FG-8-PG-2 macro")
    found = sections(table)
    assert [round(c.mean, 2) for c in found["Mean over steps: TBCL, printed"]["ExtendNER"]] == [
        51.36,
        33.38,
        77.86,
        55.21,
    ]
    assert found["After the last step: CFNER suite, printed"]["CFNER"][3].mean == 51.97
    assert found["Mean over steps: these results"]["ExtendNER"][2].mean == pytest.approx(76)


def test_federated_numbers_never_stand_beside_centralised_ones(tmp_path: Path) -> None:
    (table,) = published_tables(load_results(extendner(tmp_path, [75, 76, 77])))
    (title,) = [title for title in sections(table) if "FSL, federated" in title]
    assert "NOT COMPARABLE (" in title
    assert "federated learning, here centralised" in title
    stated = replace(settings()["fsl-ontonotes18-fg8-pg2"], view="all", encoder="bert-base-cased", orders=(0,))
    why = protocol_differences(stated, load_results(tmp_path).runs)
    assert "federated learning, here centralised" in why
    assert "federated" not in " ".join(
        protocol_differences(replace(stated, federated=False), load_results(tmp_path).runs)
    )
    assert not {name for name in presets() if name.startswith("fsl")}


def test_a_misprint_is_marked_and_explained(tmp_path: Path) -> None:
    counts = {k: {"A": triple(50)} for k in range(1, 9 + 1)}
    tasks = [{"name": f"t{k}", "types": ["A"] if k == 1 else [f"B{k}"], "learned_at": k} for k in range(1, 10)]
    write_run(
        tmp_path, "extendner", counts, tasks, dataset="ontonotes18", scenario="fg2-pg2", encoder="bert-base-cased"
    )
    (table,) = published_tables(load_results(tmp_path))
    assert "PODNet (misprint)" in sections(table)["Mean over steps: CFNER suite, printed"]
    assert any("PODNet, avg_micro_f1: printed 34.67, shown is 19.04" in note for note in table.notes)


@pytest.mark.slow
@pytest.mark.parametrize("reason", ["starved by this recipe", "dev score 0 in every epoch of a step"])
def test_a_method_that_did_not_learn_stands_beside_no_published_number(tmp_path: Path, reason: str) -> None:
    """Neither where it is starved at a step nor where a dev score of 0 chose no epoch; other methods do."""
    learned = [{"step": k, "updates": 300, "warmup_updates": 30, "dev_scores": [0.0, 9.0]} for k in range(1, 7)]
    if reason.startswith("dev"):
        learned[2]["dev_scores"] = [0.0, 0.0]
    spankl(tmp_path, learned=learned)
    for order in range(6):  # learns its last task badly, beside SpanKL's own numbers as those of a reference
        names = [TASKS[i] for i in ORDERS[order]]
        about = {"dataset": "ontonotes", "encoder": BERT, "order": order, "learned": []}
        good = [[70.0] * k for k in range(1, 7)]
        bad = [*good[:5], [70.0] * 5 + [30.0]]
        write_matrix(tmp_path, good, names, method="finetune-token", **about)
        write_matrix(tmp_path, bad if reason.startswith("starved") else good, names, method="extendner", **about)
    table = published_tables(load_results(tmp_path))[0]
    title = "Mean task F1"
    unfit = "ExtendNER" if reason.startswith("starved") else "SpanKL"
    found = sections(table)
    assert set(found[f"{title}: NOT COMPARABLE ({reason}): these results"]) == {unfit}
    assert set(found[f"{title}: these results"]) == {"SpanKL", "ExtendNER", "Fine-tuning (token)"} - {unfit}
    frame = table.frame[table.frame["source"] == "these results"]
    assert set(frame[~frame["comparable"]]["label"]) == {unfit}
    judged = set(verdicts(settings()["spankl-ontonotes-split"], tmp_path).values())
    assert (("cannot be judged", reason) in judged) == (unfit == "SpanKL")


def test_without_published_numbers_there_is_no_table(tmp_path: Path) -> None:
    assert published_tables(load_results(write_run(tmp_path).parents[1])) == []


def verdicts(setting: Setting, folder: Path) -> dict[str, tuple[str, str]]:
    return {j.measure: (j.verdict, j.why) for j in judge(setting, load_results(folder))}


@pytest.mark.parametrize(
    ("shift", "verdict"), [(0.4, "agrees"), (0.95, "agrees"), (3.0, "disagrees"), (-3.0, "disagrees")]
)
def test_orders_are_judged_in_pairs(tmp_path: Path, shift: float, verdict: str) -> None:
    setting = settings()["spankl-ontonotes-split"]
    (j, bi) = judge(setting, load_results(spankl(tmp_path, shift, seeds=2)))
    assert (j.measure, j.verdict, j.n) == ("task_macro_f1", verdict, 12)
    assert j.difference == pytest.approx(shift, abs=0.01)
    assert j.low <= j.difference <= j.high  # pairs: the spread over orders is on both sides and falls out
    assert j.high - j.low < 0.1
    assert bi.verdict == "agrees"


def test_an_interval_over_the_margin_is_left_open(tmp_path: Path) -> None:
    for order in range(6):
        spankl(tmp_path, shift=1 + (-1) ** order * 1.5, orders=[order])
    verdict, why = verdicts(settings()["spankl-ontonotes-split"], tmp_path)["task_macro_f1"]
    assert verdict == "cannot be judged"
    assert why.startswith("the interval reaches over the margin of 1")


@pytest.mark.parametrize(
    ("name", "made", "why"),
    [
        ("spankl-ontonotes-split", {"orders": [0, 1]}, "not all orders are finished"),
        ("spankl-ontonotes-split", {"encoder": "minilm"}, "no finished run with bert-large-cased"),
        ("spankl-ontonotes-split-log", {"orders": [0]}, "one published run: its spread is not known"),
    ],
)
def test_without_all_orders_or_a_spread_nothing_is_judged(
    tmp_path: Path, name: str, made: dict[str, Any], why: str
) -> None:
    assert set(verdicts(settings()[name], spankl(tmp_path, **made)).values()) == {("cannot be judged", why)}


@pytest.mark.parametrize(
    ("name", "scores", "expected"),
    [
        ("tbcl-ontonotes18-fg8-pg2", [77.5, 77.9, 78.2], ("agrees", "")),
        ("tbcl-ontonotes18-fg8-pg2", [87.5, 87.9, 88.2], ("disagrees", "")),
        ("tbcl-ontonotes18-fg8-pg2", [77.5], ("cannot be judged", "one run of ours: its spread is not known")),
        ("cfner-ontonotes18-fg8-pg2", [76.8, 76.9], ("cannot be judged", "the published spread is not known")),
    ],
)
def test_means_are_judged_by_both_spreads(
    tmp_path: Path, name: str, scores: list[float], expected: tuple[str, str]
) -> None:
    setting = settings()[name]
    setting = replace(setting, rows=tuple(row for row in setting.rows if row.label == "ExtendNER"))
    assert verdicts(setting, extendner(tmp_path, scores))["avg_micro_f1"] == expected


def test_the_interval_of_two_means_is_welchs(tmp_path: Path) -> None:
    from scipy import stats

    values, theirs = [77.0, 78.0, 78.5], [77.0, 77.5, 78.0, 78.5, 79.0]
    setting = settings()["tbcl-ontonotes18-fg8-pg2"]
    assert setting.rows[0].method == "extendner-cfner"
    row = replace(setting.rows[0], values={"avg_micro_f1": (float(np.mean(theirs)), float(np.std(theirs)))})
    (j,) = judge(replace(setting, rows=(row,)), load_results(extendner(tmp_path, values)))
    expected = stats.ttest_ind(values, theirs, equal_var=False).confidence_interval(0.9)
    assert (j.low, j.high) == pytest.approx((expected.low, expected.high), abs=1e-3)


def test_a_doubtful_number_is_not_judged(tmp_path: Path) -> None:
    setting = replace(settings()["recall-i2b2-2014-fg8-pg2"], dataset="ontonotes18", n_steps=6)
    extendner(tmp_path, [20, 21, 22], "fg8-pg2-seen", method="extendner-codebase")
    verdict, why = verdicts(setting, tmp_path)["macro_f1"]
    assert verdict == "cannot be judged"
    assert why.startswith(("the published number is doubtful", "no finished run"))


BAD = {
    "schema = 2": "key 'schema': expected 1",
    "schema = 1\nsource = [": "is not TOML",
    'schema = 1\n[[results]]\nname = "x"\nsorce = "y"': "unknown key 'sorce'; known are name, source, ",
    'schema = 1\n[[results]]\nname = "x"': "missing",
}


@pytest.mark.parametrize("text", BAD)
def test_a_file_that_does_not_fit_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(UserError, match=r"x\.toml") as error:
        read_settings(tmp_path)
    assert BAD[text] in str(error.value)


GOOD = """schema = 1
[[results]]
name = "x"
source = "s"
cite = "c"
place = "p"
evidence = "printed"
dataset = "d"
scenario = "split"
view = "all"
encoder = "e"
n_steps = 2
"""


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('rows = [{ label = "a", steps = { m = [1, 2, 3] } }]', "at most 2 steps, found 3"),
        ('rows = [{ label = "a", tasks = [[1], [2]] }]', "expected k scores in row k"),
        ('rows = [{ label = "a", values = { m = 101 } }]', "key 'rows[0].values.m': expected a score of -100 to 100"),
        ('rows = [{ label = "a", values = { m = 101 } }]', "found 101"),
        ('rows = [{ label = "a", values = { m = [1, 2, 3] } }]', "or a mean and its deviation, found [1, 2, 3]"),
        ('rows = []\nsorces = "s"', "Did you mean 'source'?"),
        ('rows = [{ label = "a", values = { m = "1" } }]', "expected a score"),
        ('rows = []\nerrata = [{ row = "a", measure = "m", printed = 1, why = "w" }]', "no row 'a' with 'm'"),
        ("rows = [1]", "key 'rows[0]': expected a table, found 1"),
    ],
)
def test_wrong_numbers_are_refused(tmp_path: Path, more: str, said: str) -> None:
    (tmp_path / "x.toml").write_text(GOOD + more)
    with pytest.raises(UserError, match=r"x\.toml: x") as error:
        read_settings(tmp_path)
    assert said in str(error.value)


def test_no_method_of_the_suite_is_cfner_without_its_causal_terms() -> None:
    """On Few-NERD the code base ran CFNER with both terms switched off."""
    of = {name: setting for name, setting in settings().items() if name.startswith("recall-")}
    method = {name: row.method for name, setting in of.items() for row in setting.rows if row.label == "CFNER"}
    assert method.pop("recall-fewnerd-fg6-pg6") == ""
    assert set(method.values()) == {"cfner-codebase"}
