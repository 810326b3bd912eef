"""Whole grids: results, resuming, failures, signals, conflicts."""

from __future__ import annotations

import csv
import gzip
import json
import signal
import subprocess
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from cl_ner_bench.analysis.report.files import write_report
from cl_ner_bench.analysis.scores.scorer import count
from cl_ner_bench.analysis.verify import verify
from cl_ner_bench.storage.files import read_json, read_record, write_record
from cl_ner_bench.testing.grids import HASTE, METHODS, bench, fresh_bench, records, start, stored, write_inputs

pytestmark = pytest.mark.slow

RESUMES = "run the same command again"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def grid(inputs: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path, str]:
    """A finished grid: its command, its folder and what it printed."""
    out = tmp_path_factory.mktemp("grid") / "out"
    words = ["run", *inputs, "--methods", f"{METHODS}:good", "--joint-steps", "last", "--out", str(out)]
    done = bench(*words)
    assert done.returncode == 0, done.stderr
    assert "--bounds auto adds joint-token" in done.stderr
    assert "good" in done.stdout
    return words, out, done.stderr


def test_a_grid_leaves_the_files_that_docs_results_describes(grid: tuple[list[str], Path, str]) -> None:
    _, out, _ = grid
    runs = records(out)
    assert {m: r["status"] for m, r in runs.items()} == {"good": "done", "joint-token": "done"}
    assert {m: r["steps"] for m, r in runs.items()} == {"good": [1, 2, 3], "joint-token": [3]}
    assert runs["good"]["setting"] == runs["joint-token"]["setting"]
    assert runs["good"]["config"] != runs["joint-token"]["config"]
    assert [row["step"] for row in runs["good"]["learned"]] == [1, 2, 3]
    for name in ("experiment.toml", "mentions.csv.gz", "counts.csv", "scores.csv", "summary.csv", "report.html"):
        assert (out / name).is_file(), name
    assert len(list(out.glob("store/*/model.safetensors"))) == 2, "the last model of each run is kept"
    assert {log.read_text() for log in out.glob("runs/*/log.txt")} == {""}, "a worker that is done has nothing to say"
    assert not [p for p in out.rglob("*") if p.name.startswith(".") or p.name == "progress.json"]


def test_the_process_of_a_run_imports_only_what_it_needs(inputs: list[str], tmp_path: Path) -> None:
    words = ["--methods", f"{METHODS}:good", "--bounds", "none", "--no-report", "--out", str(tmp_path / "out")]
    done = fresh_bench("run", *inputs, *words, extra={"MODULES": str(tmp_path / "modules")})
    assert done.returncode == 0, done.stderr
    assert [log.read_text() for log in tmp_path.glob("out/runs/*/log.txt")] == [""], "done, it has nothing to say"
    imported = {*(tmp_path / "modules").read_text().split()}
    assert {"torch", "cl_ner_bench.analysis.data.outcomes"} <= imported, "it learns and derives its outcomes"
    heavy = {"pandas", "matplotlib", "scipy", "transformers", "peft", "joblib", "rich", "torch._dynamo", "sympy"}
    assert not imported & heavy


def test_counts_agree_with_the_stored_predictions(grid: tuple[list[str], Path, str]) -> None:
    _, out, _ = grid
    run = records(out)["good"]
    for step in run["steps"]:
        folder = out / "runs" / run["run_id"] / f"step-{step}"
        with gzip.open(folder / "predictions.jsonl.gz", "rt") as lines:
            rows = [json.loads(line) for line in lines]
        types = [t for task in run["tasks"][:step] for t in task["types"]]
        views = json.loads((folder / "counts.json").read_text())["views"]
        every = count([r["gold"] for r in rows], [r["pred"] for r in rows], types)
        shown = [r for r in rows if r["gold"]]
        assert views["all"]["test"] == every
        assert views["filter"]["test"] == count([r["gold"] for r in shown], [r["pred"] for r in shown], types)
        assert list(views["all"]["test"]) == types, "learning order"
    assert views["filter"] == views["filter_last"], "after the last step both views are one"


def test_single_task_models_know_one_task_each_and_are_checked_like_others(
    inputs: list[str], tmp_path: Path, no_figures: None
) -> None:
    out = tmp_path / "out"
    words = ["--methods", f"{METHODS}:good,single-task-token", "--bounds", "none", "--orders", "0,1", "--lr", "1e-3"]
    done = bench("run", *inputs, *words, "--no-report", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "References for learning\n  Single task (token)" in done.stdout
    assert "learning was checked at step 1 only" not in done.stdout
    found = 0
    for file in out.glob("runs/single-task-token-*/run.json"):
        run = json.loads(file.read_bytes())
        for task in run["tasks"]:
            with gzip.open(file.parent / f"step-{task['learned_at']}" / "predictions.jsonl.gz", "rt") as lines:
                predicted = {mention[2] for row in map(json.loads, lines) for mention in row["pred"]}
            assert predicted <= set(task["types"])
            found += len(predicted)
    assert found
    write_report([out], out)
    with (out / "summary.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["method"] == "single-task-token"]
    assert all(row["learning_mean"] and not row["micro_f1_mean"] for row in rows)
    assert {(row["n_runs"], row["learning_std"]) for row in rows} == {("1", "")}, "both orders hold one model a task"
    with (out / "counts.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["method"] == "single-task-token"]
    counts = {(row["view"], row["type"]): [] for row in rows}
    for row in rows:
        counts[row["view"], row["type"]].append([row[name] for name in ("tp", "fp", "fn")])
    assert len(counts) == 6
    assert all(of[0] == of[1] for (view, _), of in counts.items() if view == "all"), "to the last count"
    assert verify(out).faults == []


def test_the_same_command_again_trains_nothing_and_changes_no_byte(grid: tuple[list[str], Path, str]) -> None:
    words, out, _ = grid
    before = {
        p: p.read_bytes() for p in out.rglob("*") if p.is_file() and p.suffix in (".json", ".gz", ".csv", ".toml")
    }
    done = bench(*words)
    assert done.returncode == 0
    assert "0 steps to learn" in done.stderr
    assert {p: p.read_bytes() for p in before} == before


def test_experiment_toml_repeats_the_grid_to_the_bit_from_python_too(
    grid: tuple[list[str], Path, str], tmp_path: Path, capfd: pytest.CaptureFixture[str], forked_runs: None
) -> None:
    from cl_ner_bench import run

    _, out, _ = grid
    results = run(config=out / "experiment.toml", out=tmp_path / "again", jobs=1, quiet=True, no_report=True)
    assert [r.status for r in results.finished] == ["done", "done"]
    assert stored(tmp_path / "again") == stored(out)
    assert capfd.readouterr() == ("", "")


def test_a_further_command_adds_runs_and_a_conflict_exits_2(grid: tuple[list[str], Path, str]) -> None:
    words, out, _ = grid
    before = stored(out)
    done = bench(*words, "--set", "good.weight=2", "--lr", "0.1")
    assert done.returncode == 2
    assert "lr: 0.0002 there, 0.1 now" in done.stderr
    assert "weight: 1.0 there, 2.0 now" in done.stderr
    assert f"--out {out}-2" in done.stderr
    assert stored(out) == before
    done = bench(*words, "--joint-steps", "all", "--seeds", "0,1", "--keep-models", "none", "--no-report")
    assert done.returncode == 0, done.stderr
    assert "4 runs, 8 steps to learn" in done.stderr, "the joint run of seed 0 gains its two earlier steps"
    assert records(out)["joint-token"]["steps"] == [1, 2, 3]
    assert {k: v for k, v in stored(out).items() if k in before} == before
    assert len(tomllib.loads((out / "experiment.toml").read_text())["grid"]) == 2
    with gzip.open(out / "mentions.csv.gz", "rt") as lines:
        assert len({row["split"] for row in csv.DictReader(lines)}) == 1


FAILURES = {
    "hangs": "step 1 took longer than --timeout 30 s",  # first: the others are learned beside it
    "raises": "RuntimeError: out of luck, in Raises.begin_step, ",
    "nan": "FloatingPointError: loss is nan in step 1",
    "hungry": "MemoryError: Unable to allocate",
    "exits": "exit code 7",
    "aborts": "ended by SIGABRT",
    "killed": "ended by SIGKILL (out of memory?)",
}


def test_failures_end_one_run_each_and_are_told(inputs: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    methods = ",".join(f"{METHODS}:{name}" for name in (*FAILURES, "good"))
    words = ["run", *inputs, "--methods", methods, "--bounds", "none", "--no-report", "--out", str(out)]
    done = bench(*words, "--timeout", "30", "--jobs", "2")
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    runs = records(out)
    assert {m: r["status"] for m, r in runs.items() if r["status"] != "failed"} == {"good": "done"}
    for method, reason in FAILURES.items():
        assert reason in runs[method]["reason"]
        log = out / "runs" / runs[method]["run_id"] / "log.txt"
        assert str(log) in runs[method]["reason"]
        assert log.is_file()
    assert "second line" in (out / "runs" / runs["raises"]["run_id"] / "log.txt").read_text()
    assert len(list(out.glob("runs/raises-*/step-1/step.json"))) == 1, "what was finished before is kept"
    assert not list(out.glob("runs/nan-*/step-*"))
    words = ["run", *inputs, "--methods", f"{METHODS}:nan", "--bounds", "none", "--no-report", "--out", str(out)]
    done = bench(*words, "--epochs", "1")
    assert done.returncode == 1, done.stderr
    assert len(list(out.glob("runs/nan-*"))) == 1, "a run without a finished step gives way to other settings"


def wait_for(found: Callable[[], object], seconds: float = 180, process: subprocess.Popen[str] | None = None) -> None:
    """Wait until something is found; a process that ends before says why."""
    end = time.monotonic() + seconds
    while not found():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < end, f"not found within {seconds} s"
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("number", "code", "labels"), [(signal.SIGINT, 130, ("a", "b", "c")), (signal.SIGTERM, 143, ("a",))]
)
def test_a_stop_leaves_resumable_runs(
    inputs: list[str], tmp_path: Path, number: int, code: int, labels: tuple[str, ...]
) -> None:
    kinds = {"a": "slow", "b": "slow", "c": "good"}  # three names of one computation
    methods = ",".join(f"{label}={METHODS}:{kinds[label]}" for label in labels)
    words = ["run", *inputs, "--methods", methods, "--bounds", "none", "--jobs", "2", "--no-report"]
    out = tmp_path / "out"
    process = start(*words, "--out", str(out), start_new_session=True)
    wait_for(lambda: list(out.glob("runs/*/step-1/step.json")), process=process)
    stopped = time.monotonic()
    if number == signal.SIGINT:
        signal_group(process, number)  # as a terminal does: every process of the group hears it
    else:
        process.send_signal(number)
    text, err = process.communicate(timeout=60)
    assert time.monotonic() - stopped < 10  # an idle machine takes less than GRACE plus a second
    assert process.returncode == code
    assert RESUMES in err
    assert "Traceback" not in err + text
    assert "interrupted" in {r["status"] for r in records(out).values()}
    assert not list(out.glob(".stop-*"))
    finished = {p: p.stat().st_mtime_ns for p in out.glob("runs/*/step-*/step.json")}
    assert 0 < len(finished) < 3 * len(labels)
    done = bench(*words, "--out", str(out), extra=HASTE)
    assert done.returncode == 0, done.stderr
    assert {p: p.stat().st_mtime_ns for p in finished} == finished, "finished steps are not trained again"
    assert len(stored(out)) == 6 * len(labels)
    for step in (1, 2, 3):
        found = {path.read_bytes() for path in out.glob(f"runs/*/step-{step}/predictions.jsonl.gz")}
        assert len(found) == 1, "a chain that was stopped gives the same bits"


def signal_group(process: subprocess.Popen[str], number: int) -> None:
    import os

    os.killpg(process.pid, number)


def test_a_second_interrupt_ends_at_once(inputs: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start("run", *inputs, "--methods", f"{METHODS}:hangs", "--bounds", "none", "--out", str(out))
    wait_for(lambda: [f for f in out.glob("runs/*/progress.json") if (read_json(f) or {})["step"] == 1])
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    assert process.wait(10) == 130
    assert time.monotonic() - begun < 2
    assert records(out)["hangs"]["status"] == "interrupted"


def test_one_who_lost_the_run_while_predicting_does_not_speak_for_it(
    inputs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold, out = tmp_path / "hold", tmp_path / "out"
    hold.touch()
    monkeypatch.setenv("HOLD", str(hold))
    words = ["run", *inputs, "--methods", f"{METHODS}:holds", "--bounds", "none", "--no-report", "--out", str(out)]
    process = start(*words)
    wait_for(
        lambda: [f for f in out.glob("runs/*/progress.json") if read_json(f)["phase"] == "predicting"], process=process
    )
    (lease,) = out.glob("leases/holds-*.1")
    lease.with_suffix(".2").write_text('{"schema": 1, "token": "another", "host": "elsewhere", "pid": 1}')
    (record,) = out.glob("runs/*/run.json")
    done = read_record(record)
    assert done is not None
    write_record(record, done | {"status": "done", "reason": "by another"})
    written = record.read_bytes()
    hold.unlink()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert record.read_bytes() == written


def test_children_stop_when_the_driver_is_killed(inputs: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start("run", *inputs, "--methods", f"{METHODS}:slow", "--bounds", "none", "--out", str(out))
    wait_for(lambda: list(out.glob("runs/*/progress.json")))
    process.kill()
    process.communicate()
    wait_for(lambda: records(out)["slow"]["status"] == "interrupted", 30)
