"""`bench tune`: equal trials, which values they have, and the recipe. Learning is made up but in one test."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from msgspec import structs

from cl_ner_bench import load_results
from cl_ner_bench.analysis.comparison.compare import comparisons
from cl_ner_bench.analysis.comparison.notes import notes_of
from cl_ner_bench.analysis.data.trials import score_of
from cl_ner_bench.analysis.report.files import write_report
from cl_ner_bench.analysis.report.numbers import numbers
from cl_ner_bench.analysis.tables.trials import trial_tables
from cl_ner_bench.analysis.verify import verify
from cl_ner_bench.cli import main
from cl_ner_bench.errors import UserError
from cl_ner_bench.running import tuning
from cl_ner_bench.running.grid import Outcome, prepare
from cl_ner_bench.running.recipe_file import RecipeFile, read_recipe_file
from cl_ner_bench.running.runs import Prepared, Run
from cl_ner_bench.running.steps import score
from cl_ner_bench.running.tuning import DRAWN, Tuning, propose
from cl_ner_bench.scenarios.split import TUNING, make_split
from cl_ner_bench.search_space import Search
from cl_ner_bench.storage.files import canonical, gzipped
from cl_ner_bench.testing.grids import bench, finished, records, start, until, write_inputs
from cl_ner_bench.testing.results import write_grid

METHODS = ("spankl", "seqstar", "joint-span", "joint-token")
Found = Callable[[Mapping[str, Any], int, int], bool]  # values, sentence, step -> is its mention found?


def by_rate(values: Mapping[str, Any], sentence: int, step: int) -> bool:
    """Find more, the higher the head's rate."""
    return sentence % 30 < 3000 * values["head_lr"]


def learned(prepared: Prepared, found: Found = by_rate, most: int | None = None, failing: str = "") -> Outcome:
    """Write what the runs of a grid would have learned; stop after ``most`` of them, as Ctrl-C does."""
    from cl_ner_bench.running.experiment import write_experiment

    corpus = prepared.plans[0].corpus
    prepared.folder.make()
    write_experiment(prepared.folder, prepared.plans)
    for number, one in enumerate(prepared.todo):
        if number == most:
            return Outcome(130, prepared.out, [])
        one.folder.save_split(one.split.to_json())
        if failing and failing in one.id:
            one.folder.save(structs.replace(one.record, status="failed", reason="made up"))
            continue
        rows = [_commit(one, step, corpus, found) for step in one.record.steps]
        one.folder.save(structs.replace(one.record, status="done", learned=rows))
    return Outcome(0, prepared.out, [])


def _commit(one: Run, step: int, corpus: Any, found: Found) -> dict[str, Any]:
    gold = one.split.test_part(corpus, step)
    values = {**one.record.settings, **one.record.settings["method"]}
    predicted = [[(*m, 0.5) for m in s.mentions if found(values, s.id, step)] for s in gold]
    lines = (canonical({"id": s.id, "gold": s.mentions, "pred": p}) for s, p in zip(gold, predicted, strict=True))
    row = {"step": step, "updates": 10, "seconds": 1.0, "epochs": 2}
    one.folder.commit(step, one.key(step), row, score(one.split, corpus, step, gold, predicted), gzipped(lines))
    return row


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return a corpus of three types, and an encoder that no quick test loads."""
    folder = tmp_path_factory.mktemp("inputs") / "corpus"
    folder.mkdir()
    for part, n in (("train", 24), ("dev", 12), ("test", 10)):
        mentions = [[k, k + 1, type_] for k, type_ in enumerate(("PER", "LOC", "DATE"))]
        rows = [{"words": [f"{part}{i}", "b", "c"], "mentions": mentions[: 3 - i % 2]} for i in range(n)]
        (folder / f"{part}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return {"dataset": str(folder), "encoder": "minilm", "recipe": "minilm"}


Make = Callable[..., Tuning]


@pytest.fixture
def search(inputs: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Return a search, whose trials are made up."""
    monkeypatch.setattr(tuning, "carry_out", lambda prepared, *_, **__: learned(prepared))
    monkeypatch.setattr("cl_ner_bench.analysis.report.files.write_report", lambda *_: [])

    def make(trials: int = 3, methods: tuple[str, ...] = ("spankl",), **more: Any) -> Tuning:
        own = {key: more.pop(key) for key in ("objective", "seed") if key in more}
        given = {**inputs, "methods": methods, "bounds": "none", "out": str(tmp_path / "out"), **more}
        return Tuning(given, trials, **own)

    return make


def drawn(search: Tuning) -> dict[tuple[str, int], dict[str, Any]]:
    return {(t.trial.method, t.trial.number): dict(t.trial.values) for t in search.known()}


def test_all_methods_have_equally_many_trials_and_the_first_is_the_recipe(search: Make) -> None:
    asked = search(4, ("spankl", "seqstar"), bounds="auto")
    assert [t.label for t in asked.tuned] == [*METHODS]
    assert asked.run().code == 0
    found = drawn(asked)
    assert {*found} == {(method, n) for method in METHODS for n in range(1, 5)}
    common = {"lr": 2e-4, "head_lr": 3e-3, "epochs": 4, "batch_size": 16}
    assert found["spankl", 1] == {**common, "kd_weight": 1.0}
    assert found["joint-token", 1] == common
    assert len({json.dumps(found["spankl", n]) for n in range(1, 5)}) == 4


def test_frozen_methods_have_a_wider_head_rate(search: Make) -> None:
    spaces = {t.label: t.space for t in search(1, ("spankl", "seqstar")).tuned}
    assert (spaces["spankl"]["head_lr"].low, spaces["spankl"]["head_lr"].high) == (3e-4, 3e-2)
    assert (spaces["seqstar"]["head_lr"].low, spaces["seqstar"]["head_lr"].high) == (3e-4, 3e-1)


def test_given_values_are_fixed_and_a_method_without_a_space_has_one_trial(search: Make) -> None:
    asked = search(3, ("spankl", "ncm"), lr=1e-4, set={"spankl": {"kd_weight": 2.0}, "ncm": {"o_prototypes": 4}})
    assert [sorted(t.space) for t in asked.tuned] == [["batch_size", "epochs", "head_lr"], []]
    asked.run()
    assert [*drawn(asked)] == [("ncm", 1), ("spankl", 1), ("spankl", 2), ("spankl", 3)]
    settings = [t.record.settings for t in asked.known() if t.trial.method == "spankl"]
    assert {(s["lr"], s["method"]["kd_weight"]) for s in settings} == {(1e-4, 2.0)}


@pytest.mark.slow
def test_trials_repeat_and_depend_on_the_seed(search: Make, tmp_path: Path) -> None:
    n = DRAWN + 2
    asked, again, other = (
        search(n, out=str(tmp_path / out), seed=seed) for out, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    for one in (asked, again, other):
        one.run()
    assert drawn(asked) == drawn(again)
    assert drawn(asked) != drawn(other)
    best = max(t.score or 0 for t in asked.known())
    assert next(t.score for t in asked.known() if t.trial.number == 1) < best


def test_later_trials_follow_the_scores_of_earlier_ones() -> None:
    space = {"x": Search(low=0.01, high=100.0, log=True), "n": Search(low=1, high=8), "c": Search(choices=("a", "b"))}
    first = [propose(space, [], seed) for seed in range(DRAWN)]
    low = [(values, -values["x"]) for values in first]
    high = [(values, values["x"]) for values in first]
    assert propose(space, low, 1) == propose(space, low, 1)

    def typical(told: list[tuple[dict[str, Any], float]]) -> float:
        return median(propose(space, told, seed)["x"] for seed in range(15))

    assert typical(low) < typical([]) < typical(high)
    assert all(1 <= v["n"] <= 8 and isinstance(v["n"], int) and v["c"] in ("a", "b") for v in first)


@pytest.mark.slow
def test_a_stopped_search_goes_on_as_if_it_had_not_stopped(
    search: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = search(DRAWN + 1, ("spankl", "extendner"), out=str(tmp_path / "whole"))
    whole.run()
    asked = search(DRAWN + 1, ("spankl", "extendner"))
    monkeypatch.setattr(tuning, "carry_out", lambda prepared, *_, **__: learned(prepared, most=7))
    assert asked.run().code == 130
    before = finished(asked.out)
    assert len(before) == 7 * 3
    monkeypatch.setattr(tuning, "carry_out", lambda prepared, *_, **__: learned(prepared))
    again = search(DRAWN + 1, ("spankl", "extendner"))
    assert again.run().code == 0
    assert drawn(again) == drawn(whole)
    after = finished(again.out)
    assert {path: after[path] for path in before} == before


def test_more_trials_keep_the_earlier_ones(search: Make) -> None:
    search(2).run()
    before = drawn(search(2))
    search(4).run()
    assert before.items() < drawn(search(4)).items()


def test_a_failed_trial_scores_0_and_is_named(search: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "carry_out", lambda prepared, *_, **__: learned(prepared, failing="trial02"))
    asked = search(3)
    assert asked.run().code == 1
    scores = {t.trial.number: t.score for t in asked.known()}
    assert scores[2] == 0
    assert scores[1] > 0
    monkeypatch.setattr(tuning, "carry_out", lambda prepared, *_, **__: learned(prepared, failing="trial"))
    with pytest.raises(UserError, match="no trial of extendner was finished: made up"):
        search(3, ("extendner",)).run()


# Data: its own split, and nothing of test


def test_trials_never_see_test_and_use_an_order_of_their_own(search: Make, inputs: dict[str, str]) -> None:
    from cl_ner_bench.corpora.load import load_corpus

    corpus = load_corpus(inputs["dataset"])
    asked = search(1)
    prepared = asked.prepared([(asked.tuned[0], 1)])
    (one,) = prepared.runs
    assert prepared.plans[0].corpus.parts["test"] == corpus.parts["dev"]
    assert one.record.inputs["scored"] == "dev"
    assert (one.record.order, one.record.settings["split_seed"]) == (TUNING, TUNING)
    types = [task.name for task in one.record.tasks]
    assert types != [task.name for task in make_split(corpus).tasks]


def test_the_order_is_none_of_the_cards(make_corpus: Callable[..., Any]) -> None:
    tasks = {"A": ("A",), "B": ("B",), "C": ("C",)}
    known = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1))
    corpus = make_corpus(["A B C"] * 9, tasks, known)
    assert [t.name for t in make_split(corpus, order=TUNING).tasks] == ["C", "B", "A"]
    with pytest.raises(UserError, match="leave no order that is of `bench tune` alone"):
        make_split(make_corpus(["A B C"] * 9, tasks, (*known, (2, 1, 0))), order=TUNING)


@pytest.mark.parametrize("flag", ["split-seed", "orders"])
def test_no_other_command_uses_its_numbers(flag: str, inputs: dict[str, str], tmp_path: Path) -> None:
    options = {**inputs, "methods": "spankl", flag.replace("-", "_"): str(TUNING), "out": str(tmp_path / "out")}
    with pytest.raises(UserError, match=f"--{flag} {TUNING}: kept for `bench tune`"):
        prepare(options)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--objective", "al"], "--objective 'al': expected one of all, label-free. Did you mean 'all'?"),
        (["--trials", "0"], "--trials '0': expected a whole number of at least 1"),
        (["--scenario", "add-one"], "--scenario add-one: its orders are the new types"),
        (["--trails", "3"], "unknown argument '--trails'. Did you mean '--trials'?"),
        (["--orders", "0"], "unknown argument '--orders'"),
        (["--set", "spankll.kd_weight=1"], "no method of this grid is called 'spankll'. Did you mean 'spankl'?"),
        (["--set", "spankl.kd_wieght=1"], "kd_wieght: spankl has no such setting. Did you mean 'kd_weight'?"),
    ],
)
def test_wrong_use(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["tune", *words]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_without_optuna_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("cl_ner_bench.errors.find_spec", lambda name: None)
    assert main.main(["tune", "--dry-run"]) == 2
    assert "pip install 'cl-ner-bench[tune]'" in capsys.readouterr().err


def test_a_folder_holds_one_search_with_equal_trials(search: Make) -> None:
    search(2).run()
    for other in ({"seed": 1}, {"objective": "label-free"}, {"lr": 1e-3}, {"max_sentences": 20}):
        with pytest.raises(
            UserError, match=r"holds a trial of another search .*pass another folder, such as --out .*out-2"
        ):
            search(2, **other)
    with pytest.raises(UserError, match="holds 2 trials of spankl, and all methods of a folder have equally many"):
        search(3, ("extendner",))
    search(2, ("extendner",)).run()
    assert [*read_recipe_file(search(2).folder.tuned_file).methods] == ["extendner", "spankl"]


def test_fewer_trials_leave_out_those_that_were_only_planned(search: Make) -> None:
    planned = search(4)
    for one in planned.prepared(planned.rounds()[0]).runs:
        one.folder.save(structs.replace(one.record, status="waiting"))
    assert len(planned.known()) == 4
    assert search(2).run().code == 0
    assert [*drawn(search(2))] == [("spankl", 1), ("spankl", 2)]
    assert search(3).run().code == 0
    with pytest.raises(UserError, match=r"--trials 2: .* holds 3 trials of a method; pass --trials 3, or another"):
        search(2)


# Objectives


def test_the_objective_all_is_micro_f1_on_the_whole_dev_part(search: Make) -> None:
    asked = search(1)
    prepared = asked.prepared([(asked.tuned[0], 1)])
    learned(prepared, lambda values, sentence, step: sentence < 6)  # recall is a half, precision 1
    (one,) = prepared.runs
    corpus = prepared.plans[0].corpus
    gold = [len(s.mentions) for s in one.split.test_part(corpus, 3)]
    recall = sum(gold[:6]) / sum(gold)
    assert one.folder.record is not None
    assert score_of(one.folder.record, one.folder) == pytest.approx(200 * recall / (1 + recall))


def test_the_label_free_objective_wants_new_types_and_agreement_with_the_previous_model(search: Make) -> None:
    cases: dict[str, Found] = {
        "all found": lambda values, sentence, step: True,
        "nothing new after step 1": lambda values, sentence, step: step == 1,
        "nothing": lambda values, sentence, step: False,
    }
    scores: dict[str, float | None] = {}
    for name, found in cases.items():
        asked = search(1, objective="label-free", out=f"{search(1).out}-{name[-1]}")
        prepared = asked.prepared([(asked.tuned[0], 1)])
        learned(prepared, found)
        record = prepared.runs[0].folder.record
        assert record is not None
        scores[name] = score_of(record, prepared.runs[0].folder)
    assert scores["all found"] == pytest.approx(100)
    assert scores["nothing new after step 1"] == pytest.approx(100 / 3)
    assert scores["nothing"] == 0


# Recipe


def test_the_recipe_gives_each_method_its_own_values(search: Make, inputs: dict[str, str], tmp_path: Path) -> None:
    asked = search(3, ("spankl", "extendner"), epochs=2)
    asked.run()
    file = asked.folder.tuned_file
    found = read_recipe_file(file)
    assert found.base == "minilm"
    assert (found.origin["trials"], found.origin["order"], found.origin["split_seed"]) == (3, TUNING, TUNING)
    assert "labels of old types" in found.origin["meaning"]
    assert found.origin["space"]["spankl"]["kd_weight"] == {"low": 0.1, "high": 10.0, "log": True}
    assert len(found.trials) == 6
    best = {m: max((t for t in found.trials if t["method"] == m), key=lambda t: t["score"]) for m in found.methods}
    for method, row in best.items():
        assert row["values"].items() <= found.methods[method].items()
    given = {**inputs, "recipe": str(file), "methods": "spankl,b=extendner", "bounds": "none", "out": tmp_path / "new"}
    spankl, extendner = prepare(given).runs
    for one, method in ((spankl, "spankl"), (extendner, "extendner")):
        settings = {**one.record.settings, **one.record.settings["method"]}
        assert found.methods[method].items() <= settings.items()
        assert settings["epochs"] == 2
        assert one.record.settings["recipe"] == found.name
        assert one.record.by_hand == {}
        assert one.record.trial is None
    (by_flag,) = prepare({**given, "methods": "spankl", "lr": 0.5}).runs
    assert by_flag.record.settings["lr"] == 0.5
    assert by_flag.record.by_hand == {"lr": 0.5}


def test_a_search_may_start_from_a_recipe_file(search: Make, tmp_path: Path) -> None:
    search(2, epochs=2).run()
    file = search(2, epochs=2).folder.tuned_file
    more = search(2, recipe=str(file), out=str(tmp_path / "more"), lr=1e-3)
    assert more.tuned[0].start["epochs"] == 2
    more.run()
    again = read_recipe_file(more.folder.tuned_file)
    assert again.base == "minilm"
    assert again.methods["spankl"]["lr"] == 1e-3
    assert {"epochs", "head_lr", "kd_weight"} <= again.methods["spankl"].keys()


@pytest.mark.parametrize(
    ("methods", "said"),
    [
        (
            {"spankl": {"kd_wieght": 1.0}},
            "methods.spankl.kd_wieght: spankl has no such setting. Did you mean 'kd_weight'",
        ),
        ({"spankl": {"epochs": 0}}, "methods.spankl.epochs 0: expected a whole number of at least 1"),
        ({"spank": {}}, "it holds no values for spankl. Did you mean 'spank'?"),
    ],
)
def test_a_recipe_file_that_does_not_fit(
    methods: dict[str, Any], said: str, inputs: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "r.toml"
    file.write_bytes(RecipeFile(schema=1, name="mine", base="minilm", methods=methods).to_toml())
    given = {**inputs, "methods": "spankl", "bounds": "none", "recipe": file, "out": str(tmp_path / "out")}
    with pytest.raises(UserError) as caught:
        prepare(given)
    assert said in str(caught.value)
    file.write_text("schema = 1\nname = 'a'\nbasis = 'minilm'\n[methods]\n")
    with pytest.raises(UserError, match=r"unknown key 'basis'.*Did you mean 'base'"):
        prepare(given)


# Report


@pytest.mark.slow
def test_the_report_shows_trials_and_no_table_of_results(search: Make) -> None:
    asked = search(2, ("spankl", "extendner"))
    asked.run()
    write_report([asked.out], asked.out)
    results = load_results(asked.out)
    assert (len(results.trials), len(results.runs), len(results.summary)) == (4, 0, 0)
    (table,) = trial_tables(results)
    assert [title for title, _ in table.sections] == ["extendner", "spankl"]
    assert table.frame["best"].sum() >= 2
    page = (asked.out / "report.html").read_text()
    assert 'id="trials"' in page
    assert all(t.run_id in page for t in results.trials)
    assert verify(asked.out).faults == []


@pytest.mark.slow
def test_trials_beside_a_grid_change_none_of_its_tables(search: Make, tmp_path: Path) -> None:
    grid = load_results(write_grid(tmp_path / "grid", ("spankl", "joint-span"), n_steps=2))
    asked = search(2)
    asked.run()
    found = load_results(asked.out)
    both = replace(grid, trials=found.trials, folders={**grid.folders, **found.folders})
    alone, beside = numbers(grid), numbers(both)
    assert alone.items() < beside.items()
    assert {name.partition("-")[0] for name in beside.keys() - alone.keys()} == {"tables/trials"}
    assert [notes_of(c) for c in comparisons(both)] == [notes_of(c) for c in comparisons(grid)]


@pytest.mark.slow
def test_a_real_search_survives_ctrl_c_and_its_recipe_runs(tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = write_inputs(tmp_path / "inputs")
    common = options[: options.index("--recipe")]
    words = ["tune", "--methods", "extendner", "--bounds", "none", *options, "--trials", "2", "--jobs", "1"]
    words += ["--out", str(out)]
    process = start(*words)
    until(lambda: any(record["status"] == "done" for record in records(out).values()))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "run the same command again to go on" in err
    before = finished(out)
    done = bench(*words)
    assert done.returncode == 0, done.stderr
    assert before.items() <= finished(out).items()
    assert "extendner: trial 2 of 2: " in done.stderr
    again = bench("run", "--methods", "extendner", "--bounds", "none", *common, "--recipe", str(out / "recipe.toml"),
                  "--no-report", "--out", str(tmp_path / "new"))  # fmt: skip
    assert again.returncode == 0, again.stderr
    (record,) = records(tmp_path / "new").values()
    best = read_recipe_file(out / "recipe.toml")
    assert record["settings"]["recipe"] == best.name
    assert record["settings"]["lr"] == best.methods["extendner"]["lr"]
    assert (tmp_path / "new" / "experiment.toml").read_text().count("recipes/recipe-") == 1
    assert len([*(tmp_path / "new" / "recipes").glob("recipe-*.toml")]) == 1
