"""Experiment trackers: the numbers that they are sent; a tracker that fails costs no run anything."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cl_ner_bench.analysis.data.frames import load_results
from cl_ner_bench.cli import main
from cl_ner_bench.cli.live import progress_line
from cl_ner_bench.errors import UserError
from cl_ner_bench.running import trackers
from cl_ner_bench.running.options import TRACKERS
from cl_ner_bench.running.progress import Progress, RunEvent
from cl_ner_bench.running.runs import Run
from cl_ner_bench.running.trackers import KINDS, TrackedRun, Tracking
from cl_ner_bench.storage.files import write_json
from cl_ner_bench.storage.folder import ResultsFolder
from cl_ner_bench.storage.run_folder import RunFolder
from cl_ner_bench.storage.run_record import RunRecord
from cl_ner_bench.storage.shared import SharedFolder
from cl_ner_bench.testing.grids import METHODS, bench, fresh_bench, records, stored, write_inputs

pytestmark = pytest.mark.slow

CLOSING = 60.0


class Recorder:
    """A tracker that records its calls; it can fail, or hang."""

    def __init__(self, failing: Collection[str] = (), hangs: bool = False) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.threads: set[int] = set()
        self._failing, self._hangs = failing, hangs

    def start(self, run: RunRecord) -> TrackedRun:
        if self._hangs:
            threading.Event().wait()
        self.threads.add(threading.get_ident())
        self._note("start", run.run_id, error=ConnectionError("no route"))
        return self

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._note("step", step, values, error=SystemExit(3))

    def end(self, status: str) -> None:
        self._note("end", status, error=MemoryError())

    def _note(self, *told: Any, error: BaseException) -> None:
        self.told.append(told)
        if told[0] in self._failing:
            raise error


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path]:
    """A finished grid of one run of three steps, sent to TensorBoard: its command and folder."""
    folder = tmp_path_factory.mktemp("grid")
    words = ["run", *write_inputs(folder / "inputs"), "--methods", f"{METHODS}:good", "--bounds", "none"]
    words += ["--no-report"]
    done = bench(*words, "--tracker", "tensorboard", "--out", str(folder / "out"))
    assert done.returncode == 0, done.stderr
    assert "--tracker" not in done.stderr
    return words, folder / "out"


@pytest.fixture
def run(grid: tuple[list[str], Path]) -> Run:
    _, out = grid
    record = records(out)["good"]
    folder = ResultsFolder.open(out).run(record["run_id"])
    return Run(folder.read(), None, folder, "previous")  # type: ignore[arg-type]


@pytest.fixture
def events(run: Run) -> list[RunEvent]:
    """The events that a driver would send of that run."""
    steps = [RunEvent(run.folder, run.record, "running", step) for step in (1, 2, 3)]
    return [RunEvent(run.folder, run.record, "running"), *steps, RunEvent(run.folder, run.record, "done")]


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


def copied(run: Run, home: Path) -> Run:
    folder = RunFolder(SharedFolder(home), run.id)
    shutil.copytree(run.folder.path, folder.path)
    return replace(run, folder=folder)


def test_steps_from_before_a_stop_are_events_for_trackers_and_no_lines_for_the_user(run: Run, tmp_path: Path) -> None:
    run = copied(run, tmp_path)
    progress = Progress([run], [run])
    assert list(progress.poll()) == []
    write_json(run.folder.path / "progress.json", {"step": 3, "phase": "predicting"})
    events = list(progress.poll())
    assert [(event.step, event.status, event.new) for event in events] == [
        (None, "running", True),
        *((step, "running", False) for step in (1, 2, 3)),
    ]
    assert [progress_line(event, progress) for event in events] == [""] * 4
    assert list(progress.poll()) == []


def test_the_files_of_a_run_are_read_where_one_was_replaced(run: Run, tmp_path: Path) -> None:
    run = copied(run, tmp_path)
    progress = Progress([run], [run])
    os.utime(run.folder.path, (1000, 1000))
    assert list(progress.poll()) == []
    run.folder.record_file.rename(run.folder.path / "aside")
    os.utime(run.folder.path, (1000, 1000))
    assert list(progress.poll()) == []
    assert progress._changed[run.id] == 1000
    write_json(run.folder.path / "progress.json", {"step": 3, "phase": "predicting"})
    assert len(list(progress.poll())) == 4


def test_a_tracker_is_told_of_runs_in_one_thread(events: list[RunEvent], caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder()
    tracking = Tracking(recorder.start, "--tracker x")
    for event in events:
        tracking.send(event)
    tracking.close(CLOSING)
    start, *steps, end = recorder.told
    assert (start, end) == (("start", events[0].record.run_id), ("end", "done"))
    assert [step[:2] for step in steps] == [("step", 1), ("step", 2), ("step", 3)]
    for _, _, values in steps:
        assert {"all/micro_f1", "learned/updates", "learned/seconds"} <= values.keys()
        assert all(0 <= value <= 100 for name, value in values.items() if not name.startswith("learned/"))
    assert recorder.threads != {threading.get_ident()}
    assert caplog.messages == []


def test_a_run_that_was_stopped_is_ended_with_what_its_record_says(events: list[RunEvent]) -> None:
    recorder = Recorder()
    tracking = Tracking(recorder.start, "--tracker x")
    tracking.send(events[0])
    tracking.close(CLOSING)
    assert recorder.told[1:] == [("end", "done")]


@pytest.mark.parametrize(
    ("failing", "told", "said"),
    [
        ((), ["start", "step", "step", "step", "end"], ""),
        (("step", "end"), ["start", "step", "step", "step", "end"], "failed (SystemExit: 3)"),
        (("start",), ["start"], "could not be started (ConnectionError: no route)"),
    ],
)
def test_a_failing_tracker_is_logged_once_and_goes_on_being_told(
    events: list[RunEvent], caplog: pytest.LogCaptureFixture, failing: tuple[str, ...], told: list[str], said: str
) -> None:
    recorder = Recorder(failing)
    tracking = Tracking(recorder.start, "--tracker x")
    for event in events:
        tracking.send(event)
    tracking.close(CLOSING)
    assert [call[0] for call in recorder.told] == told
    assert caplog.messages == (
        [f"--tracker x {said}; the runs and their results are not touched by it"] if said else []
    )


def test_a_hanging_tracker_holds_nobody_up(events: list[RunEvent], caplog: pytest.LogCaptureFixture) -> None:
    tracking = Tracking(Recorder(hangs=True).start, "--tracker x")
    for event in events:
        tracking.send(event)
    begun = time.monotonic()
    tracking.close(0.2)
    assert time.monotonic() - begun < 30
    (line,) = caplog.messages
    assert "within 0.2 s" in line


def test_a_package_that_cannot_be_imported_fails_no_run(
    grid: tuple[list[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, out = grid
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "wandb.py").write_text("raise RuntimeError('broken installation')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"), prepend=":")
    done = fresh_bench(*words, "--tracker", "wandb", "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("--tracker wandb could not be started (RuntimeError: broken installation)") == 1
    assert "Traceback" not in done.stderr
    assert stored(tmp_path / "out") == stored(out)


def test_a_missing_package_is_an_error_before_anything_is_learned(
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
        found = trackers.scores(ResultsFolder.open(out).runs[record["run_id"]], step, counts)
        for name, score in found.items():
            view, _, measure = name.partition("/")
            assert score == rows.loc[(view, step), measure]
        assert {"all/micro_f1", "filter/task_macro_f1"} <= found.keys()
