"""The estimated time left, on the recorded progress of real grids, and what it is made from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import structs

from cl_ner_bench.cli.live import progress_line
from cl_ner_bench.cli.output import duration
from cl_ner_bench.cli.preview import preview
from cl_ner_bench.running.estimate import REPORT, ROW, START, Rates, UnfinishedRun, one_worker_seconds, time_left
from cl_ner_bench.running.grid import prepare
from cl_ner_bench.running.heartbeat import Heartbeat
from cl_ner_bench.running.progress import Progress
from cl_ner_bench.storage.files import write_json
from cl_ner_bench.storage.folder import ResultsFolder
from cl_ner_bench.storage.run_folder import commit_step
from cl_ner_bench.storage.run_record import RunRecord, TrainingCheck
from cl_ner_bench.testing.grids import write_inputs
from cl_ner_bench.testing.results import run_record

RECORDED = sorted(Path(__file__).parent.glob("progress/*.json"))  # by benchmarks/progress.py
FLOOR = 5.0  # seconds that an estimate may be off near the end


def moments(recorded: dict[str, Any]) -> Iterator[tuple[float, list[RunRecord], list[UnfinishedRun]]]:
    """Yield the seconds since the start, all records and the unfinished runs, after each event of a recorded grid."""
    records = {run["run_id"]: run_record(**run) for run in recorded["runs"]}
    unfinished = {run_id: UnfinishedRun(record, set()) for run_id, record in records.items()}
    for at, run_id, kind, value in recorded["events"]:
        if kind == "step":
            unfinished[run_id].done.add(value["step"])
            if not value["shared_with"]:
                records[run_id].learned.append(value)
        elif kind == "progress":
            unfinished[run_id] = replace(unfinished[run_id], state=value)
        elif value["status"] == "done":
            del unfinished[run_id]
        yield at, list(records.values()), list(unfinished.values())


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.stem)
def test_after_the_first_finished_step_the_estimate_holds_within_a_fifth(file: Path) -> None:
    """At every later moment: off by at most 20 % of the time that the grid took from then on, or ``FLOOR`` more."""
    recorded = json.loads(file.read_bytes())
    workers = int(recorded["command"].partition("--jobs ")[2].split()[0])
    seen, wrong = 0, []
    for at, records, unfinished in moments(recorded):
        if any(record.learned for record in records):
            truth, found = recorded["seconds"] - at, time_left(unfinished, Rates(records, unfinished), workers)
            seen += 1
            if abs(found - truth) > 0.2 * truth + FLOOR:
                wrong.append((at, round(truth), round(found)))
    assert seen > 50
    assert not wrong


def test_grids_of_both_precisions_one_and_two_at_a_time_are_recorded() -> None:
    assert {file.stem for file in RECORDED} == {"fp32-jobs1", "bf16-jobs1", "fp32-jobs2", "bf16-jobs2"}


def record(run_id: str = "a", **more: Any) -> RunRecord:
    """A run of three steps of 1,000, 2,000 and 3,000 words, one epoch each."""
    settings = {"epochs": 1, "device": "cpu", "precision": "fp32", "threads": 1, "training_check": False}
    facts = {"run_id": run_id, "method": "m", "dataset": "d", "scenario": "s", "encoder": "e", "architecture": "span"}
    sizes = {"steps": [1, 2, 3], "sizes": [100, 200, 300], "words": [[1000 * k, 0, 0] for k in (1, 2, 3)]}
    return run_record(**{**facts, **sizes, "settings": settings, **more})


def finished(*seconds: float) -> list[dict[str, Any]]:
    return [{"step": k, "seconds": s} for k, s in enumerate(seconds, 1)]


def left(*unfinished: UnfinishedRun, rates: Rates | None = None, workers: int = 1) -> float:
    return time_left(unfinished, rates or MEASURED, workers, report=False)


MEASURED = Rates([record(learned=finished(10.0, 20.0, 30.0))])


def test_a_run_takes_its_start_its_steps_and_the_report() -> None:
    run = UnfinishedRun(record(), ())
    assert left(run) == pytest.approx(START + 60)
    assert time_left([run], MEASURED, 1) == pytest.approx(START + 60 + REPORT + ROW)
    assert one_worker_seconds([run, UnfinishedRun(record("b"), (1, 2))], MEASURED) == pytest.approx(2 * START + 60 + 30)


def test_a_step_under_way_takes_the_updates_and_the_words_that_are_left() -> None:
    words = {"words": [[1000, 0, 500]] * 3}
    rates = Rates([record(learned=[{"step": 1, "seconds": 10.0, "predict_seconds": 4.0}], **words)])
    for state, expected in (
        ({"step": 0, "phase": "loading"}, START + 14),
        ({"step": 3, "phase": "learning"}, 14),
        ({"step": 3, "phase": "learning", "update": 3, "updates": 4, "seconds": 9.0}, 2.5 + 4),
        ({"step": 3, "phase": "predicting", "update": 4, "updates": 4, "predicted_words": 125}, 3),
    ):
        assert left(UnfinishedRun(record(**words), (1, 2), state), rates=rates) == pytest.approx(expected)


def test_the_check_of_the_training_is_step_1_for_twice_the_epochs() -> None:
    checked = record(settings=record().settings | {"training_check": True})
    assert left(UnfinishedRun(checked, (1, 2))) == pytest.approx(START + 30 + 20)
    at = {"step": 1, "phase": "checking", "update": 1, "updates": 4}
    assert left(UnfinishedRun(checked, (1, 2, 3), at)) == pytest.approx(15)
    assert left(UnfinishedRun(structs.replace(checked, step1_reference=TrainingCheck(50.0, 2, 10)), (1, 2, 3), at)) == 0


def test_precision_counts_before_and_after_anything_is_measured() -> None:
    bf16 = record(settings=record().settings | {"precision": "bf16"})
    for rates in (Rates([]), MEASURED):
        assert left(UnfinishedRun(bf16, ()), rates=rates) < 0.8 * left(UnfinishedRun(record(), ()), rates=rates)
    own = Rates([record(learned=finished(10.0)), structs.replace(bf16, method="other", learned=finished(9.0))])
    assert left(UnfinishedRun(structs.replace(bf16, method="other"), (1,)), rates=own) == pytest.approx(START + 18 + 27)


def test_each_method_has_its_own_speed_and_a_later_step_another_than_the_first() -> None:
    rates = Rates([record(learned=finished(10.0, 30.0)), record(method="slow", learned=finished(100.0))])
    assert left(UnfinishedRun(record(), (1, 2)), rates=rates) == pytest.approx(START + 45)
    assert left(UnfinishedRun(record(method="slow"), (1, 2)), rates=rates) == pytest.approx(START + 300)
    assert left(UnfinishedRun(record(method="new"), (1, 2)), rates=rates) == pytest.approx(START + 140 / 4000 * 3000)


def test_a_step_of_a_kind_that_has_none_finished_tells_by_its_updates() -> None:
    at = {"step": 1, "phase": "learning", "update": 1, "updates": 4}
    early, late = (UnfinishedRun(record(), (), at | {"seconds": seconds}) for seconds in (1.0, 15.0))
    assert not Rates([], [early])
    assert left(late, rates=Rates([], [late])) == pytest.approx(45 + 120 + 180)


def test_as_many_workers_as_there_are_share_the_runs_as_the_driver_would() -> None:
    runs = [UnfinishedRun(record(id), ()) for id in "abc"]
    assert left(*runs, workers=2) == pytest.approx(2 * (START + 60)), "no run is shared out among workers"
    assert left(*runs, workers=3) == pytest.approx(START + 60)


def test_a_run_waits_for_what_it_takes_and_does_not_learn_it() -> None:
    maker, taker = UnfinishedRun(record("a"), ()), UnfinishedRun(record("b", shared={"1": "a"}), ())
    assert left(maker, taker) == pytest.approx(2 * START + 60 + 50)
    assert left(maker, taker, workers=2) == pytest.approx(START + 10 + START + 50)
    assert left(taker, workers=2) == pytest.approx(START + 50), "it is there"
    copied = record("c", shared={"1": "a"}, learned=finished(10000.0))
    assert left(maker, rates=Rates([record(learned=finished(10.0)), copied])) == pytest.approx(START + 60)


def test_progress_and_dry_run_show_the_time_of_the_model(tmp_path: Path) -> None:
    words = write_inputs(tmp_path / "inputs")
    given = {flag[2:].replace("-", "_"): value for flag, value in zip(words[::2], words[1::2], strict=True)}
    given |= {"methods": "spankl", "bounds": "none", "seeds": "0,1", "jobs": 1, "out": str(tmp_path / "out")}
    first, second = runs = prepare(given).runs
    assert "rough: nothing is measured" in preview(prepare(given))
    progress = Progress(runs, runs, jobs=1)
    row = {"step": 1, "seconds": 300.0, "predict_seconds": 100.0}
    counts = {"schema": 1, "step": 1, "views": {"all": {"test": {"PER": [1, 0, 0]}}}}
    commit_step(first.folder.step_folder(1), first.key(1), row, {"counts.json": json.dumps(counts).encode()})
    measured = structs.replace(first.record, learned=[row])
    first.folder.save(measured)
    state = {"pid": 7, "step": 2, "phase": "learning"}
    write_json(first.folder.path / "progress.json", state)
    unfinished = [UnfinishedRun(first.record, [1], state), UnfinishedRun(second.record, ())]
    expected = time_left(unfinished, Rates([measured, second.record]), 1)
    assert 1800 < expected < 2500, "five steps of about 400 s"
    lines = [progress_line(event, progress) for event in progress.poll()]
    assert lines[0] == ""
    assert lines[1].endswith(f", about {duration(expected)} left")
    unfinished[0] = replace(unfinished[0], state=None)
    expected = time_left(unfinished, Rates([measured, second.record]), 1)
    assert f"estimate: about {duration(expected)} (from the finished steps" in preview(prepare(given))


def test_a_step_begins_without_the_counts_of_the_step_before(tmp_path: Path) -> None:
    lease: Any = SimpleNamespace(lost=False)
    run = ResultsFolder.open(tmp_path).run("a-run")
    heartbeat = Heartbeat(run, tmp_path / "stop", lease)
    heartbeat.begin(1, "learning")
    heartbeat({"epoch": 2, "epochs": 2, "update": 20, "updates": 20, "loss": 0.5, "seconds": 9.0}, now=True)
    heartbeat({"phase": "predicting", "predicted_words": 70}, now=True)
    heartbeat.begin(2, "learning")
    state = json.loads((run.path / "progress.json").read_bytes())
    assert (state["step"], state["phase"]) == (2, "learning")
    assert set(state) == {"schema", "host", "pid", "time", "step", "step_started", "phase"}
