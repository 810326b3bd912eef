"""`bench status`: the state of a grid, read from its files while another process learns it."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cl_ner_bench.cli import main
from cl_ner_bench.cli.live import status_line, step_line
from cl_ner_bench.cli.status import head, on_screen
from cl_ner_bench.errors import UserError
from cl_ner_bench.running import estimate, status
from cl_ner_bench.running.status import GridStatus, StatusReader
from cl_ner_bench.storage.files import write_json, write_record
from cl_ner_bench.storage.run_folder import commit_step
from cl_ner_bench.testing.grids import METHODS, bench, start, write_inputs
from cl_ner_bench.testing.results import write_run

COUNTS = {k: {t: [8, 2, 2] for t in ("PER", "LOC", "DATE")[:k]} for k in (1, 2, 3)}
KEYS = {str(k): f"aa{k}" for k in (1, 2, 3)}
SETTINGS = {"epochs": 10, "device": "cpu", "precision": "fp32", "threads": 1, "training_check": False}


def add_run(out: Path, method: str, state: str, done: int = 0, **more: Any) -> Path:
    """A run of three steps of 1,000, 2,000 and 3,000 words, ``done`` of which are finished at 100 words a second."""
    seconds = [{"seconds": 9.0 * k, "predict_seconds": 1.0 * k} for k in (1, 2, 3)]
    learned = [{"step": k, "updates": 9, "warmup_updates": 0, **seconds[k - 1]} for k in range(1, done + 1)]
    record = {"shared": {}, "step_keys": KEYS, "sizes": [100, 200, 300], "steps": [1, 2, 3], "learned": learned}
    record |= {"words": [[1000 * k, 0, 600 * k] for k in (1, 2, 3)], "settings": SETTINGS}
    record |= {"times": {"started": "2024-01-01T00:00:00+00:00"}, "status": state}
    folder = write_run(out, method, COUNTS, **{**record, **more})
    if state != "done":
        for k in range(1, done + 1):
            views = {view: {"test": COUNTS[k]} for view in ("all", "filter", "filter_last")}
            counts = json.dumps({"schema": 1, "step": k, "views": views}).encode()
            commit_step(folder / f"step-{k}", KEYS[str(k)], learned[k - 1], {"counts.json": counts})
        write_record(folder / "run.json", json.loads((folder / "run.json").read_bytes()))
    return folder


def beat(folder: Path, age: float = 0.0, **more: Any) -> None:
    state = {"schema": 1, "pid": 77, "host": "far", "time": time.time() - age, "step": 2, "phase": "learning"}
    write_json(folder / "progress.json", state | {"epoch": 1, "epochs": 2, "update": 5, "updates": 10} | more)


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    add_run(tmp_path, "spankl", "done", 3)
    beat(add_run(tmp_path, "extendner", "running", 1), loss=0.25)
    beat(add_run(tmp_path, "seqstar", "running", 2, seed=1), age=100)
    add_run(tmp_path, "frozen-span", "failed", 1, reason="RuntimeError: out of luck (log: there/log.txt)")
    add_run(tmp_path, "finetune-span", "interrupted", reason="stopped; run the same command again to go on")
    add_run(tmp_path, "finetune-token", "waiting", shared={"1": "seqstar-toy"})
    return tmp_path


def test_every_state_is_told(grid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["status", str(grid)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(
        f"{grid}: 1 done, 1 running, 1 lost, 1 failed, 1 interrupted, 1 waiting; 7 of 18 steps done, 8 left to learn, "
    )
    assert lines[1:] == [
        "running",
        "  extendner order 0 seed 0: step 2 of 3, epoch 1 of 2, update 5 of 10, loss 0.25, learning "
        "(far, process 77, since 2024-01-01T00:00:00+00:00)",
        "lost",
        "  seqstar order 0 seed 1: no sign of life for 100 s; the same command takes it up",
        "failed",
        "  frozen-span order 0 seed 0: RuntimeError: out of luck (log: there/log.txt)",
        "interrupted",
        "  finetune-span order 0 seed 0: stopped; run the same command again to go on",
    ]


def test_a_terminal_shows_what_runs_and_where(grid: Path) -> None:
    text = io.StringIO()
    Console(file=text, width=120).print(on_screen(StatusReader(grid).read()))
    rows = [line.split() for line in text.getvalue().splitlines()]
    assert ["run", "where", "step", "epoch", "loss", "phase"] in rows
    assert ["extendner", "order", "0", "seed", "0", "far:77", "2/3", "1/2", "0.25", "learning"] in rows
    assert not any(row[0] == "seqstar" for row in rows if row), "what is lost does not run"


def test_json_tells_all_of_every_run(grid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (next(grid.glob("runs/frozen-span*")) / "log.txt").write_text("traceback")
    assert main.main(["status", str(grid), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["schema"], found["steps"], found["steps_done"], found["steps_to_learn"]) == (1, 18, 7, 10)
    runs = {run["method"]: run for run in found["runs"]}
    assert runs["extendner"]["steps_done"] == [1]
    assert (runs["extendner"]["host"], runs["extendner"]["pid"], runs["extendner"]["loss"]) == ("far", 77, 0.25)
    assert runs["seqstar"]["status"] == "lost"
    assert runs["seqstar"]["silent_seconds"] >= 100
    assert runs["frozen-span"]["log"].endswith("log.txt")
    assert runs["finetune-token"]["steps_to_learn"] == [2, 3]


def test_time_left_is_what_is_left_at_the_measured_rates(tmp_path: Path) -> None:
    """At 100 words a second; a run is learned by one worker at a time, and two of them work."""
    add_run(tmp_path, "spankl", "done", 3)
    one = add_run(tmp_path, "spankl", "running", 1, seed=1)
    two = add_run(tmp_path, "spankl", "running", 1, seed=2)
    beat(one)  # half of step 2 is left to learn, and all of step 3
    beat(two, step=3, phase="predicting", predicted_words=900)

    def left() -> float:
        return (StatusReader(tmp_path).read().seconds_left or 0) - estimate.REPORT

    assert left() == pytest.approx(9 + 2 + 30, rel=0.1)
    add_run(tmp_path, "spankl", "waiting", seed=3)
    assert left() == pytest.approx(21.5 + estimate.START + 60, rel=0.1), "the run that waits comes after the shorter"
    add_run(tmp_path, "spankl", "failed", seed=4)
    assert left() == pytest.approx(21.5 + estimate.START + 60, rel=0.1), "nobody learns what failed"


def test_no_time_is_made_up(tmp_path: Path) -> None:
    folder = add_run(tmp_path, "spankl", "running")
    beat(folder)
    found = StatusReader(tmp_path).read()
    assert (found.seconds_left, found.computing_seconds_left) == (None, None), "nothing was measured"
    add_run(tmp_path, "spankl", "interrupted", 1, seed=1)
    beat(folder, age=100)
    found = StatusReader(tmp_path).read()
    assert found.seconds_left is None, "nobody works"
    assert found.computing_seconds_left == pytest.approx(60 - 4.5 + estimate.START + 50, rel=0.1)
    assert "of one worker" in head(found)


def test_records_of_earlier_versions_tell_no_time(tmp_path: Path) -> None:
    folder = add_run(tmp_path, "spankl", "running", 1)
    beat(folder)
    assert StatusReader(tmp_path).read().seconds_left is not None
    record = json.loads((folder / "run.json").read_bytes())
    write_record(folder / "run.json", {key: value for key, value in record.items() if key not in ("words", "seal")})
    assert StatusReader(tmp_path).read().seconds_left is None


def test_a_run_that_was_only_just_started_runs_and_one_that_never_spoke_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_run(tmp_path, "spankl", "running")
    assert StatusReader(tmp_path).read().counts == {"running": 1}
    now = time.time()
    monkeypatch.setattr(status.time, "time", lambda: now + 1000)
    assert StatusReader(tmp_path).read().counts == {"lost": 1}


def test_a_reader_sees_each_change_once(tmp_path: Path) -> None:
    folder = add_run(tmp_path, "spankl", "running", 1)
    beat(folder)
    reader = StatusReader(tmp_path)
    before = reader.read()
    add_run(tmp_path, "extendner", "waiting")
    record = json.loads((folder / "run.json").read_bytes())
    views = {view: {"test": COUNTS[2]} for view in ("all", "filter", "filter_last")}
    counts = json.dumps({"schema": 1, "step": 2, "views": views}).encode()
    commit_step(folder / "step-2", "aa2", {"step": 2}, {"counts.json": counts})
    write_record(folder / "run.json", record | {"status": "failed", "reason": "no luck"})
    after = reader.read()
    assert event_lines(before, after) == [
        "extendner order 0 seed 0: waiting",
        "spankl order 0 seed 0: step 2 of 3 finished, micro-F1 80.0",
        "spankl order 0 seed 0: failed: no luck",
    ]
    assert event_lines(after, reader.read()) == []


def test_a_damaged_record_is_named_and_hides_no_other(grid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = next(grid.glob("runs/spankl*")) / "run.json"
    file.write_bytes(file.read_bytes()[:50])
    assert main.main(["status", str(grid)]) == 0
    out = capsys.readouterr().out
    assert "1 running" in out
    assert "1 unreadable" in out
    assert str(file) in out


def test_no_results_folder_exits_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for more in ([], ["--watch"], ["--json"]):
        assert main.main(["status", str(tmp_path), *more]) == 2
        assert "is no results folder" in capsys.readouterr().err
    assert main.main(["status", str(tmp_path), "--json", "--watch"]) == 2
    with pytest.raises(UserError, match="no results folder"):
        StatusReader(tmp_path / "nothing").read()


@pytest.mark.slow
def test_a_report_of_an_unfinished_grid_uses_what_is_finished(
    grid: Path, capsys: pytest.CaptureFixture[str], no_figures: None
) -> None:
    assert main.main(["report", str(grid), "--format", "svg"]) == 0
    assert "5 run(s) not finished" in capsys.readouterr().out
    rows = (grid / "summary.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == ["spankl", "spankl"], "a row per view"


@pytest.mark.slow
def test_a_grid_that_another_process_learns_is_followed_to_its_end(tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["run", *write_inputs(tmp_path / "inputs"), "--methods", f"{METHODS}:slow", "--bounds", "none"]
    process = start(*words, "--no-report", "--out", str(out))
    wait_for(lambda: list(out.glob("runs/*/progress.json")))
    watching = start("status", str(out), "--watch")
    text, err = watching.communicate(timeout=300)
    assert watching.returncode == 0, err
    process.communicate(timeout=300)
    assert process.returncode == 0
    lines = text.splitlines()
    assert "slow order 0 seed 0: done" in lines
    assert [f"step {k} of 3 finished" in text for k in (2, 3)] == [True, True]
    assert lines[-1] == f"{out}: 1 done; 3 of 3 steps done"
    assert bench("status", str(out)).stdout.splitlines() == lines[-1:]


def event_lines(before: GridStatus, after: GridStatus) -> list[str]:
    events = after.events_since(before)
    return [status_line(event) if event.step is None else step_line(event, None) for event in events]


def wait_for(found: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end
        time.sleep(0.1)
