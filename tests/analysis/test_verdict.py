"""The answer: scores by name from one run on, who is ahead, who is left out and why; and lists that stay short."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cl_ner_bench.analysis.comparison.compare import Comparison, comparisons
from cl_ner_bench.analysis.comparison.notes import full_notes, notes_file, notes_of
from cl_ner_bench.analysis.comparison.statistics import best_and_tied, differences
from cl_ner_bench.analysis.comparison.verdict import verdict
from cl_ner_bench.analysis.data.frames import Results, load_results
from cl_ner_bench.analysis.report.files import report_files
from cl_ner_bench.cli.results import results_text
from cl_ner_bench.testing.results import triple, write_run

SETTINGS = {"recipe": "paper", "epochs": 4, "max_sentences": 900}
SIX = {"spankl": [70, 71, 72, 75, 74, 73], "extendner": [60, 66, 64, 61, 62, 63], "seqstar": [40, 41, 42, 40, 41, 40]}


def grid(folder: Path, scores: dict[str, list[float]], **more: Any) -> None:
    """A run per method and seed of one order, whose one type ends at the given score."""
    for method, values in scores.items():
        for seed, score in enumerate(values):
            write_run(folder, method, {1: {"A": triple(score)}}, **{"seed": seed, "settings": SETTINGS, **more})


def only(folder: Path) -> tuple[Comparison, Results]:
    results = load_results(folder)
    (comparison,) = comparisons(results)
    return comparison, results


def answer(folder: Path) -> list[str]:
    return verdict(*only(folder))


BOUNDS = {"finetune-span": [24.8], "finetune-token": [20.1], "joint-span": [97.2], "joint-token": [98.0]}


def test_one_run_each_names_methods_and_says_what_would_compare_them(tmp_path: Path) -> None:
    grid(tmp_path, {"extendner": [84.2], "spankl": [78.7], **BOUNDS})
    assert answer(tmp_path) == [
        "Each method ran once; another seed may change their order.",
        "Mean task F1 after the last step: ExtendNER 84.2, SpanKL 78.7; lower bounds 20 to 25; joint training 97 to "
        "98.",
        "To compare: --seeds 0,1,2,3,4,5.",
    ]


def test_two_runs_and_one_method_are_worded_as_they_are(tmp_path: Path) -> None:
    grid(tmp_path / "two", {method: values[:2] for method, values in SIX.items()})
    assert answer(tmp_path / "two")[0] == "Each method ran twice; another seed may change their order."
    grid(tmp_path / "one", {"spankl": [70], **BOUNDS})
    assert answer(tmp_path / "one") == [
        "SpanKL ran once; another seed may change its score.",
        "Mean task F1 after the last step: SpanKL 70.0; lower bounds 20 to 25; joint training 97 to 98.",
    ]
    grid(tmp_path / "bound", {"spankl": [70], "finetune-span": [20]})
    assert answer(tmp_path / "bound")[1].endswith("SpanKL 70.0; lower bound 20.0.")
    grid(tmp_path / "more", {"spankl": [70, 71, 72], "extendner": [60]})
    assert (
        answer(tmp_path / "more")[0]
        == "All methods share 1 run (order and seed) only; another seed may change their order."
    )
    grid(tmp_path / "none", {"spankl": [70]})
    grid(tmp_path / "none", {"extendner": [60]}, seed=1)
    assert answer(tmp_path / "none")[-1] == "To compare: run all methods with the same --orders and --seeds."


def test_with_two_orders_seeds_alone_are_not_recommended(tmp_path: Path) -> None:
    for order in (0, 1):
        grid(tmp_path, {"spankl": [70 + order], "extendner": [60]}, order=order)
    assert answer(tmp_path)[-1] == "To compare: more --orders or --seeds, 3 runs of each method at least."


def test_one_bad_run_leaves_its_method_out_with_the_remedy_and_the_others_are_judged(tmp_path: Path) -> None:
    bad = SIX | {"spankl": [14.6, *SIX["spankl"][1:]]}
    grid(tmp_path, bad)
    c, results = only(tmp_path)
    scores, claim, left_out, remedy, _ = verdict(c, results)
    assert scores.endswith("n = 6): ExtendNER 62.7 ± 2.2, SEQ* 40.7 ± 0.8.")
    assert claim.startswith(
        "Take ExtendNER, significantly better than every other method; the next is SEQ*, 22.0 points"
    )
    assert left_out == (
        "Left out: SpanKL found too little of its first task (F1 14.6, order 0 seed 0; at least 20 is needed)."
    )
    assert remedy == "Raise --epochs (now 4) or --max-sentences (now 900)."
    best, tied = best_and_tied(c, c.measures[c.measures["view"] == "all"], "micro_f1")
    assert ([row.label for row in best], tied) == (["ExtendNER"], set())
    assert "undertrained: do not compare SpanKL 14.6 (step-1 micro-F1 below 20)" in notes_of(c)


def test_where_all_are_undertrained_there_is_no_answer_but_its_reason(tmp_path: Path) -> None:
    grid(tmp_path, SIX, undertrained_below=85, settings={"epochs": 2})
    c, results = only(tmp_path)
    assert verdict(c, results) == [
        "No answer: too little of the first task was found (F1, order 0 seed 0; at least 85 is needed) by SEQ* 40.0, "
        "ExtendNER 60.0, SpanKL 70.0.",
        "Raise --epochs (now 2).",
    ]
    assert not any(best_and_tied(c, c.measures[c.measures["view"] == "all"], "micro_f1"))


def test_the_worst_runs_are_named_where_they_differ(tmp_path: Path) -> None:
    grid(tmp_path, {"spankl": [14.6, 50], "extendner": [50, 10], "seqstar": [50, 50]})
    assert answer(tmp_path)[2] == (
        "Left out: too little of the first task was found (F1; at least 20 is needed) by ExtendNER 10.0 (order 0 seed "
        "1), SpanKL 14.6 (order 0 seed 0)."
    )


def test_a_first_task_that_twice_the_epochs_learn_better_leaves_out_too(tmp_path: Path) -> None:
    grid(tmp_path, {"spankl": [60.0]}, step1_reference={"micro_f1": 80, "epochs": 8, "updates": 40})
    assert answer(tmp_path) == [
        "No answer: SpanKL learned too little of its first task (75.0 % of what twice the epochs reach, order 0 seed "
        "0; at least 90 is needed).",
        "Raise --epochs (now 4) or --max-sentences (now 900).",
    ]


def test_a_closed_form_cannot_be_undertrained(tmp_path: Path) -> None:
    grid(tmp_path, {"ncm": [12.0]}, learned=[{"step": 1, "updates": 0}])
    grid(tmp_path, {"spankl": [12.0], "extendner": [50.0]})
    assert answer(tmp_path)[3].startswith("Left out: SpanKL found")
    assert not any("ncm" in note for note in notes_of(only(tmp_path)[0]))


def test_a_closed_form_does_not_win_because_all_others_are_left_out(tmp_path: Path) -> None:
    grid(tmp_path, {"ncm": [12.0]}, learned=[{"step": 1, "updates": 0}], group="closed-form")
    grid(tmp_path, {"spankl": [12.0]})
    first, *others = answer(tmp_path)
    assert first.startswith("No answer: SpanKL found")
    assert not any("ncm" in sentence for sentence in others)


def test_settings_that_are_not_the_same_for_all_are_said(tmp_path: Path) -> None:
    grid(tmp_path, {"extendner": [60.0]}, by_hand={"epochs": 2})
    grid(
        tmp_path,
        {"spankl": [70.0]},
        by_hand={"epochs": 1, "kd_weight": 3},
        settings=SETTINGS | {"method": {"kd_weight": 3}},
    )
    assert "may come from it: epochs = 1 (SpanKL); epochs = 2 (ExtendNER)." in answer(tmp_path)[-1]
    grid(tmp_path / "equal", {"extendner": [60.0], "spankl": [70.0]}, by_hand={"epochs": 2})
    assert not any("by hand" in sentence for sentence in answer(tmp_path / "equal"))


def test_single_methods_of_groups_are_not_told_to_run_more(tmp_path: Path) -> None:
    grid(tmp_path, {"extendner": [60.0]})
    grid(tmp_path, {"replay": [70.0]}, group="exemplar")
    assert "groups are not tested against each other" in answer(tmp_path)[2]


@pytest.mark.parametrize(
    ("joint", "method", "reason"),
    [
        (0.0, 25.0, "Joint (token) ends at micro-F1 0.0 (order 0 seed 0), at least 20 is needed"),
        (15.0, 12.0, "Joint (token) ends at micro-F1 15.0 (order 0 seed 0), at least 20 is needed"),
        (31.0, 45.2, "Joint (token) ends at mean task F1 31.0, ExtendNER at 45.2"),
        (44.0, 45.2, ""),  # by chance
    ],
)
def test_joint_training_near_0_or_below_a_method_gives_no_gap(
    tmp_path: Path, joint: float, method: float, reason: str
) -> None:
    grid(tmp_path, {"extendner": [method] * 3, "joint-token": [joint] * 3, "joint-span": [80.0] * 3})
    found = " ".join(answer(tmp_path))
    assert ("Joint training is undertrained: no gap" in found) == bool(reason)
    assert reason in found
    assert ("points above joint training" in found) == (not reason)
    assert ("joint training 80." in found) == bool(reason)


def test_groups_are_answered_apart(tmp_path: Path) -> None:
    grid(tmp_path, SIX)
    grid(tmp_path, {"replay": [76.0] * 6, "derpp": [75.0] * 6}, group="exemplar")
    c, results = only(tmp_path)
    assert {d.group for d in differences(c, "all", "micro_f1", results)} == {"memory-free", "exemplar"}
    scores, free, stored, _ = verdict(c, results)
    assert ": memory-free: SpanKL 72.5 ± 1.9, ExtendNER" in scores
    assert "; stored examples: replay 76.0 ± 0.0, derpp 75.0 ± 0.0." in scores
    assert free.startswith("Memory-free: take SpanKL")
    assert stored.startswith("Stored examples: take replay")


@pytest.mark.slow
def test_of_many_methods_the_best_are_named_and_all_stand_in_a_file(tmp_path: Path, no_figures: None) -> None:
    grid(tmp_path, {f"m{i}": [40.0 + i] for i in range(7)})
    grid(tmp_path, {f"low{i}": [i / 2] for i in range(7)})
    c, results = only(tmp_path)
    _, scores, _, left_out, _ = verdict(c, results)
    assert scores == "Mean task F1 after the last step: m6 46.0, m5 45.0, m4 44.0, 4 others 40.0 to 43.0."
    named = f"low0 0.0, low1 0.5, low2 1.0, low3 1.5 and 3 more, all in {notes_file(c)}"
    assert left_out.endswith(f" by {named}.")
    assert f"{named} (step-1 micro-F1 below 20)" in notes_of(c)[0]
    assert "low3 1.5, low4 2.0, low5 2.5, low6 3.0 (" in full_notes(c)[0]
    files = report_files(results, formats=())
    assert "low6 3.0" in files[notes_file(c)].decode()
    assert files[f"tables/main-all-{c.slug}.md"].decode().startswith("Each method ran once; another seed may change")
    text = results_text(results)
    assert text.index("m6") < text.index("Each method ran once") < text.index("! undertrained")
