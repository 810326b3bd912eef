"""Chosen methods: which rows are shown and in which order, and what stays as it was."""

from __future__ import annotations

import pytest

from cl_ner_bench.analysis.comparison.compare import Comparison, comparisons
from cl_ner_bench.analysis.data.choosing import choose
from cl_ner_bench.analysis.data.frames import Results, load_results
from cl_ner_bench.analysis.report.files import report_files
from cl_ner_bench.analysis.report.numbers import numbers
from cl_ner_bench.analysis.scores.names import MAIN
from cl_ner_bench.analysis.tables.collect import tables
from cl_ner_bench.analysis.tables.scores import learning_table, main_table
from cl_ner_bench.errors import UserError
from cl_ner_bench.testing.results import triple, write_run

SCORES = {"spankl": 60, "extendner": 70, "seqstar": 5, "finetune-token": 50, "finetune-span": 40, "joint-token": 90}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("results")
    for method, score in SCORES.items():
        for seed in range(3):
            counts = {1: {"A": triple(score)}, 2: {"A": triple(score), "B": triple(score + seed)}}
            write_run(folder, method, counts, seed=seed)
    return load_results(folder)


def shown(results: Results, *names: str) -> Comparison:
    (c,) = comparisons(choose(results, names))
    return c


def test_rows_stand_as_they_were_chosen_within_their_groups(results: Results) -> None:
    c = shown(results, "SEQ*", "joint", "spankl", "EXTENDNER")
    assert [row.method for row in c.rows] == ["seqstar", "spankl", "extendner", "joint-token"]
    (found,) = comparisons(results)
    assert [row.method for row in found.rows][:2] == ["extendner", "spankl"]  # else the best first


def test_the_choice_is_said_and_what_it_does_to_tests(results: Results) -> None:
    note = "more methods were run and are not shown: tests are corrected over those shown alone"
    assert f"4 {note}" in main_table(shown(results, "spankl", "extendner"), "all").notes
    assert not any(note in text for text in main_table(shown(results, *SCORES), "all").notes)


def test_a_name_of_two_architectures_stands_for_both(results: Results) -> None:
    assert [row.method for row in shown(results, "finetune").rows] == ["finetune-span", "finetune-token"]


def test_a_pattern_stands_for_all_that_it_fits(results: Results) -> None:
    assert {row.method for row in shown(results, "*-token").rows} == {m for m in SCORES if m.endswith("-token")}
    assert [row.method for row in shown(results, "spank*", "ext*").rows] == ["spankl", "extendner"]
    with pytest.raises(UserError, match=r"--methods zz\*: no finished run"):
        choose(results, ["zz*"])


def test_an_unknown_method_is_refused_with_what_there_is(results: Results) -> None:
    with pytest.raises(
        UserError, match=r"--methods spankll: no finished run of it here\. Did you mean 'SpanKL'\? There"
    ):
        choose(results, ["spankll"])


def test_what_is_not_shown_stays_a_reference(results: Results) -> None:
    everything, c = results, shown(results, "seqstar", "extendner")
    gaps = {line[0]: line[-1].mean for _, lines in main_table(c, "all").sections for line in lines}  # type: ignore
    assert gaps["ExtendNER"] == pytest.approx(20)
    (whole,) = comparisons(everything)
    tables_of = [learning_table(of, "all") for of in (whole, c)]
    starved = [
        {line[0]: line[1] for _, lines in table.sections for line in lines} for table in tables_of if table is not None
    ]
    assert starved[1] == {name: starved[0][name] for name in ("SEQ*", "ExtendNER")}
    assert starved[1]["SEQ*"] == "6 of 6"
    without = comparisons(choose(everything, ["extendner"]))[0].basis
    assert "joint-token" in {row.method for row in without.rows}


@pytest.mark.slow
def test_the_csv_files_of_tables_keep_all_methods(results: Results, no_figures: None) -> None:
    everything = results
    chosen = choose(everything, ["seqstar", "extendner"])
    found = report_files(chosen, formats=())
    assert {name: found[name] for name in numbers(everything)} == numbers(everything)
    assert "SpanKL" not in found["tables/main-all-toy-split-minilm.md"].decode()
    assert b"SpanKL" in found["tables/main-all-toy-split-minilm.csv"]


@pytest.mark.slow
def test_one_function_gives_all_tables(results: Results) -> None:
    made = tables(results, ("bwt", "macro_f1"))
    assert {table.name.split("-")[0] for table in made} >= {"main", "steps", "types", "learning", "cost", "errors"}
    (main, *_) = made
    assert main.header == ("Method", "BWT", "Mean type F1")
    assert {f"{name}_mean" for name in MAIN} <= {*main.frame.columns}
