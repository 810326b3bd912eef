"""`bench advise`: the plan, the answer, and how it goes on. Learning is made up but in one test."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from cl_ner_bench.cli import advise, main
from cl_ner_bench.cli import run as run_command
from cl_ner_bench.running import advising
from cl_ner_bench.running.estimate import Rates
from cl_ner_bench.running.grid import Outcome
from cl_ner_bench.running.runs import Prepared
from cl_ner_bench.testing.grids import finished, records, write_inputs
from cl_ner_bench.testing.results import triple, write_run

TYPES = ("LOC", "ORG", "PER")
Bench = Callable[..., SimpleNamespace]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("corpus") / "news"
    folder.mkdir()
    rows = [{"words": ["a", "b"], "mentions": [[0, 1, TYPES[i % 3]]]} for i in range(180)]
    for part in ("train", "dev", "test"):
        (folder / f"{part}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return str(folder)


@pytest.fixture
def bench(corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bench:
    """Run `bench advise` on the corpus; the runs' results are made up, and come at once."""

    def learn(prepared: Prepared, quiet: bool) -> Outcome:
        todo = [run for run in prepared.runs if not run.folder.path.exists()]
        learned.append([run.id for run in todo])
        for run in todo:
            record = run.record
            others, new = record.tasks[0].types, record.tasks[1].types[0]
            good = record.method != "analytic-token"
            counts = {1: dict.fromkeys(others, triple(80)), 2: dict.fromkeys(others, triple(78 if good else 50))}
            counts[2][new] = triple((60 if good else 20) + record.order)
            known = ("method", "registry_name", "label", "dataset", "scenario", "order", "seed", "encoder", "config")
            more = ("architecture", "group", "order_of", "settings", "run_id", "setting", "fingerprints", "data")
            tasks = [{"name": t.name, "types": t.types, "learned_at": t.learned_at} for t in record.tasks]
            values = {key: getattr(record, key) for key in (*known, *more)}
            write_run(prepared.out, counts=counts, tasks=tasks, words=record.words, **values)
        time.sleep(0.01)
        return Outcome(0, prepared.out, [])

    learned: list[list[str]] = []
    monkeypatch.setattr(run_command, "carry_out", learn)
    monkeypatch.setattr("cl_ner_bench.profiling.perf.quick_rates", lambda _: Rates(()))
    monkeypatch.setattr("cl_ner_bench.analysis.report.files.write_report", lambda *_: [])

    def command(*words: str) -> SimpleNamespace:
        learned.clear()
        capsys.readouterr()
        code = main.main(["advise", "--dataset", corpus, "--jobs", "2", "--out", str(tmp_path / "out"), *words])
        out, err = capsys.readouterr()
        return SimpleNamespace(code=code, out=" ".join(out.split()), err=" ".join(err.split()), learned=[*learned])

    return command


def methods_of(ids: Sequence[str]) -> set[str]:
    return {run_id.split("-news-")[0] for run_id in ids}


@pytest.mark.slow
def test_the_answer_is_three_sentences_and_a_command(bench: Bench) -> None:
    done = bench("--minutes", "1")
    assert done.code == 0
    assert "newcomers LOC (21 mentions in 60 sentences)" in done.err
    assert "about" in done.err.partition(" time ")[2][:10]
    assert "Take " in done.out
    assert "This rests on 3 newcomers (LOC, ORG, PER), n = 3" in done.out
    assert "The step took" in done.out
    assert "bench extend MODEL --data NEW_SENTENCES --method extendner --out NEW_MODEL" in done.out
    first, rest = done.learned
    assert methods_of(first) == methods_of(rest) == {*advising.METHODS, "joint-token"}
    assert len(rest) == 2 * len(first)  # two more newcomers


def test_a_plan_alone_writes_nothing(bench: Bench, tmp_path: Path) -> None:
    done = bench("--dry-run", "--minutes", "1")
    assert done.code == 0
    assert done.out.startswith("plan methods ")
    assert done.learned == []
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--minutes", "0.1"], "--minutes 0.1: too few. The smallest grid"),
        (["--new", "PERS"], "--new PERS: the corpus has no such type. Did you mean 'PER'?"),
        (["--minutes", "soon"], "--minutes 'soon': expected a number of at least 0.1"),
        (["--shots", "0"], "--shots '0': expected a whole number of at least 1"),
    ],
)
def test_wrong_use(bench: Bench, words: list[str], said: str) -> None:
    done = bench(*words)
    assert done.code == 2
    assert f"error: {said}" in done.err


def test_shots_are_those_of_the_scenario(bench: Bench) -> None:
    done = bench("--shots", "5", "--new", "PER", "--minutes", "1", "--dry-run")
    assert "newcomers PER (5 mentions in 5 sentences)" in done.out


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ("memory-free", ["bench extend MODEL --data NEW_SENTENCES --method kd{step} --out NEW_MODEL"]),
        (
            "closed-form",
            [
                "bench run --methods kd --bounds none{corpus} --tasks LOC,PER{encoder}{step} --out OLD",
                "bench extend OLD/runs/RUN_ID --data NEW_SENTENCES --method kd{step} --out NEW_MODEL",
            ],
        ),
        (
            "exemplar",
            [
                "bench run --methods kd --bounds none{corpus} --scenario add-one-k9 --orders 1{tasks}{encoder}{step} "
                "--out NEW",
                "bench export NEW/runs/RUN_ID --out NEW_MODEL",
            ],
        ),
    ],
)
@pytest.mark.parametrize("given", [True, False])
def test_the_commands_are_those_that_the_method_can_follow(
    corpus: str, group: str, expected: list[str], given: bool
) -> None:
    settings = {"tasks": "LOC;ORG;PER", "encoder": "./my encoder", "recipe": "paper", "epochs": "5", "head_lr": "0.01"}
    chosen: dict[str, str | None] = settings if given else dict.fromkeys(settings)
    question = advising.Question({"dataset": corpus, "data": None, "jobs": "2", "out": "o", **chosen}, "ORG", 9, 1.0)
    found = [line for line in advise._commands(question, group, "kd") if line.startswith("bench ")]
    texts = {"tasks": " --tasks 'LOC;ORG;PER'", "encoder": " --encoder './my encoder'"}
    texts["step"] = " --recipe paper --epochs 5 --head-lr 0.01"
    shown = {name: text * given for name, text in texts.items()}
    assert found == [line.format(corpus=f" --dataset {corpus}", **shown) for line in expected]


@pytest.mark.parametrize(("group", "name"), [("exemplar", "replay+extendner"), ("closed-form", "analytic-token")])
def test_the_commands_plan_the_one_run_that_is_wanted(
    corpus: str, group: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"dataset": corpus, "tasks": "LOC;ORG;PER", "recipe": "paper", "epochs": "5", "lr": "0.001"}
    commands = [*advise._commands(advising.Question(given, "ORG", None, 1.0), group, name)]
    (run,) = (shlex.split(line)[1:] for line in commands if line.startswith("bench run "))
    assert main.main([*run, "--dry-run"]) == 0
    planned = capsys.readouterr().out
    assert "runs (1; 1 to do" in planned
    assert " epochs 5 [flag]" in " ".join(planned.split())
    if extend := [shlex.split(line)[1:] for line in commands if line.startswith("bench extend ")]:
        assert main.main(extend[0]) == 2
        assert "OLD/runs/RUN_ID" in capsys.readouterr().err  # which is no folder: all options were read


def test_joint_training_is_of_the_plan_and_not_added_to_it(corpus: str, tmp_path: Path) -> None:
    question = advising.Question({"dataset": corpus}, "ORG", None, 1.0)
    prepared = question.prepared(advising.CandidateGrid(("extendner",), None, 1), tmp_path)
    assert [run.record.method for run in prepared.runs] == ["extendner", "joint-token"]
    assert prepared.plans[0].added == []  # of which each start would say how to turn it off


def test_a_budget_that_is_too_small_shows_the_smallest_plan(bench: Bench) -> None:
    done = bench("--minutes", "0.1", "--dry-run")
    assert done.code == 2
    assert done.out.startswith("plan methods memory-free: extendner;")
    assert "runs 4 runs: 1 newcomer, 1 seed each time about " in done.out
    assert "error: --minutes 0.1: too few" in done.err


@pytest.mark.slow
def test_a_folder_of_another_question_is_refused(bench: Bench) -> None:
    assert bench("--new", "PER", "--minutes", "1").code == 0
    for words in (["--new", "ORG"], ["--new", "PER", "--epochs", "1"]):
        found = bench(*words, "--minutes", "1")
        assert (found.code, found.learned) == (2, [])
        assert "holds runs of another question, for example" in found.err
        assert "pass another folder, such as --out" in found.err
    assert bench("--new", "PER", "--minutes", "0.1").code == 0


@pytest.mark.slow
def test_methods_are_learned_and_the_same_command_goes_on_with_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], forked_runs: None
) -> None:
    monkeypatch.setattr(advising, "METHODS", ("extendner",))
    monkeypatch.setattr(advising, "MORE", ())
    inputs = [*write_inputs(tmp_path), "--lr", "0.001", "--head-lr", "0.01", "--out", str(tmp_path / "out"), "-q"]
    monkeypatch.setattr(
        advising, "choose", lambda question, *_: advising.CandidateGrid(advising.METHODS, question.fewest, 1)
    )
    monkeypatch.setattr("cl_ner_bench.profiling.perf.quick_rates", lambda _: Rates(()))
    monkeypatch.setattr("cl_ner_bench.analysis.report.files.write_report", lambda *_: [])
    assert main.main(["advise", "--new", "PER", "--minutes", "5", *inputs]) == 0
    first = capsys.readouterr().out
    assert "and n = 1 is too few to tell methods apart" in first
    assert {"extendner", "joint-token"} == {*records(tmp_path / "out")}
    before = finished(tmp_path / "out")
    assert main.main(["advise", "--new", "PER", "--minutes", "0.1", *inputs]) == 0  # no time for more
    assert capsys.readouterr().out == first
    assert finished(tmp_path / "out") == before
    monkeypatch.setattr("cl_ner_bench.method_code.method_fingerprint", lambda _: "of another version")
    assert main.main(["advise", "--new", "PER", "--minutes", "5", *inputs]) == 2
    said = capsys.readouterr().err
    assert "--replace" not in said
    assert f"pass another folder, such as --out {tmp_path / 'out'}-2" in said
