"""Experiment trackers: what they are told, and that one that fails costs no run anything."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cl_ner_bench.analysis.data.frames import load_results
from cl_ner_bench.cli import main
from cl_ner_bench.errors import UserError
from cl_ner_bench.running import trackers
from cl_ner_bench.running.options import TRACKERS
from cl_ner_bench.running.plan import Run
from cl_ner_bench.running.progress import Board, News
from cl_ner_bench.running.trackers import KINDS, Tracking
from cl_ner_bench.storage.store import write_json
from cl_ner_bench.testing.grids import METHODS, bench, records, stored, write_inputs

CLOSING = 60.0


class Recorder:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.threads: set[int] = set()

    def start(self, run: Mapping[str, Any]) -> None:
        self.threads.add(threading.get_ident())
        self.told.append(("start", run["run_id"]))

    def step(self, run: Mapping[str, Any], step: int, scores: Mapping[str, float], learned: Mapping[str, Any]) -> None:
        self.told.append(("step", step, scores, learned["updates"]))

    def end(self, run: Mapping[str, Any], status: str) -> None:
        self.told.append(("end", status))


class Failing(Recorder):
    """Raises at every call."""

    def start(self, run: Mapping[str, Any]) -> None:
        super().start(run)
        raise ConnectionError("no route")

    def step(self, *told: Any) -> None:
        super().step(*told)
        raise SystemExit(3)

    def end(self, run: Mapping[str, Any], status: str) -> None:
        super().end(run, status)
        raise MemoryError


class Hanging(Recorder):
    def start(self, run: Mapping[str, Any]) -> None:
        threading.Event().wait()


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path]:
    """A finished grid of one run of three steps, told to TensorBoard: its command and folder."""
    folder = tmp_path_factory.mktemp("grid")
    words = ["run", *write_inputs(folder / "inputs"), "--methods", f"{METHODS}:good", "--bounds", "none"]
    done = bench(*words, "--tracker", "tensorboard", "--out", str(folder / "out"))
    assert done.returncode == 0, done.stderr
    assert "--tracker" not in done.stderr
    return words, folder / "out"


@pytest.fixture
def news(grid: tuple[list[str], Path]) -> list[News]:
    """What a driver would tell of that run."""
    _, out = grid
    record = records(out)["good"]
    run = Run(record, None, out / "runs" / record["run_id"], "previous")  # type: ignore[arg-type]
    return [News(run, record), *(News(run, record, "", k) for k in (1, 2, 3)), News(run, record, ended=True)]


def test_event_files_hold_the_scores_of_every_step(grid: tuple[list[str], Path]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _, out = grid
    record = records(out)["good"]
    events = EventAccumulator(str(out / "trackers" / "tensorboard" / record["run_id"]))
    events.Reload()
    scores = load_results(out).scores.set_index(["view", "step"])
    for view in ("all", "filter"):
        for name in ("micro_f1", "macro_f1", "task_macro_f1"):
            found = {event.step: event.value for event in events.Scalars(f"{view}/{name}")}
            assert found == {k: pytest.approx(scores.loc[(view, k), name]) for k in (1, 2, 3)}
    seconds = [event.value for event in events.Scalars("learned/seconds")]
    assert seconds == pytest.approx([row["seconds"] for row in record["learned"]])
    (status,) = events.Tensors("status/text_summary")
    assert status.tensor_proto.string_val[0] == b"done"
    (about,) = events.Tensors("run/text_summary")
    assert record["run_id"] in about.tensor_proto.string_val[0].decode()
    assert "tracker" not in (out / "experiment.toml").read_text(), "it is no part of the grid"


def test_steps_from_before_a_stop_are_news_to_trackers_and_not_to_the_user(news: list[News], tmp_path: Path) -> None:
    run = replace(news[0].run, folder=shutil.copytree(news[0].run.folder, tmp_path / "run"))
    board = Board([run], [run])
    assert list(board.poll()) == []
    write_json(run.folder / "progress.json", {"step": 3, "phase": "predicting"})
    assert [(item.step, item.line, item.ended) for item in board.poll()] == [
        (None, "", False),
        *((step, "", False) for step in (1, 2, 3)),
    ]
    assert list(board.poll()) == []


def test_the_files_of_a_run_are_read_where_one_was_replaced(news: list[News], tmp_path: Path) -> None:
    run = replace(news[0].run, folder=shutil.copytree(news[0].run.folder, tmp_path / "run"))
    board = Board([run], [run])
    os.utime(run.folder, (1000, 1000))
    assert list(board.poll()) == []
    (run.folder / "run.json").rename(run.folder / "aside")
    os.utime(run.folder, (1000, 1000))
    assert list(board.poll()) == []
    assert board._changed[run.id] == 1000
    write_json(run.folder / "progress.json", {"step": 3, "phase": "predicting"})
    assert len(list(board.poll())) == 4


def test_a_tracker_is_told_of_runs_in_one_thread(news: list[News]) -> None:
    recorder, said = Recorder(), []
    tracking = Tracking(lambda: recorder, "--tracker x", said.append)
    for item in news:
        tracking.tell(item)
    tracking.close(CLOSING)
    start, *steps, end = recorder.told
    assert (start, end) == (("start", news[0].run.id), ("end", "done"))
    assert [step[:2] for step in steps] == [("step", 1), ("step", 2), ("step", 3)]
    assert all(0 <= score <= 100 for step in steps for score in step[2].values())
    assert recorder.threads != {threading.get_ident()}
    assert said == []


def test_a_run_that_was_stopped_is_ended_with_what_its_record_says(news: list[News]) -> None:
    recorder = Recorder()
    tracking = Tracking(lambda: recorder, "--tracker x", print)
    tracking.tell(news[0])
    tracking.close(CLOSING)
    assert recorder.told[1:] == [("end", "done")]


@pytest.mark.parametrize("tracker", [Failing, Recorder])
def test_a_failing_tracker_is_told_of_once_and_goes_on_being_told(news: list[News], tracker: type[Recorder]) -> None:
    recorder, said = tracker(), []
    tracking = Tracking(lambda: recorder, "--tracker x", said.append)
    for item in news:
        tracking.tell(item)
    tracking.close(CLOSING)
    assert [told[0] for told in recorder.told] == ["start", "step", "step", "step", "end"]
    if tracker is Failing:
        (line,) = said
        assert line.startswith("--tracker x failed (ConnectionError: no route)")


def test_a_hanging_tracker_holds_nobody_up(news: list[News]) -> None:
    said: list[str] = []
    tracking = Tracking(Hanging, "--tracker x", said.append)
    for item in news:
        tracking.tell(item)
    begun = time.monotonic()
    tracking.close(0.2)
    assert time.monotonic() - begun < 30
    assert len(said) == 1
    assert "within 0.2 s" in said[0]


def test_a_package_that_cannot_be_imported_fails_no_run(
    grid: tuple[list[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, out = grid
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "wandb.py").write_text("raise RuntimeError('broken installation')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"), prepend=":")
    done = bench(*words, "--tracker", "wandb", "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("--tracker wandb could not be started (RuntimeError: broken installation)") == 1
    assert "Traceback" not in done.stderr
    assert stored(tmp_path / "out") == stored(out)


def test_a_package_that_is_missing_is_told_beforehand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find, packages = trackers.importlib.util.find_spec, {kind.package for kind in KINDS.values()}
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None if name in packages else find(name))
    for name in TRACKERS:
        with pytest.raises(UserError, match=f"pip install {KINDS[name].package}"):
            trackers.check(name)
    assert main.main(["run", "--tracker", "mlflow", "--out", str(tmp_path / "out")]) == 2
    assert "pip install mlflow" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main.main(["run", "--tracker", "tensorbord"]) == 2
    assert "expected one of mlflow, wandb" in capsys.readouterr().err


def test_every_choice_of_the_option_is_a_tracker() -> None:
    assert tuple(KINDS) == TRACKERS


def test_scores_are_those_of_scores_csv(grid: tuple[list[str], Path]) -> None:
    _, out = grid
    record = records(out)["good"]
    rows = load_results(out).scores.set_index(["view", "step"])
    for step in record["steps"]:
        counts = json.loads((out / "runs" / record["run_id"] / f"step-{step}" / "counts.json").read_text())
        found = trackers.scores(record, step, counts)
        for name, score in found.items():
            view, _, measure = name.partition("/")
            assert score == rows.loc[(view, step), measure]
        assert {"all/micro_f1", "filter/task_macro_f1"} <= found.keys()
