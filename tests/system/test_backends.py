"""Other engines than loky: equal bits, and no run is lost with its worker. Sockets are in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from cl_ner_bench import load_results
from cl_ner_bench.errors import UserError
from cl_ner_bench.running import backends
from cl_ner_bench.running.layers import layer
from cl_ner_bench.running.options import Options
from cl_ner_bench.testing.grids import HASTE, METHODS, bench, records, stored, write_inputs

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return [*write_inputs(tmp_path_factory.mktemp("inputs")), "--bounds", "none"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a module in a process group of its own; all of it is gone at the end."""
    started: list[subprocess.Popen[str]] = []

    def begin(name: str, *words: str) -> subprocess.Popen[str]:
        log = (tmp_path / "log.txt").open("w")
        command = [sys.executable, "-m", name, *words]
        started.append(subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, text=True, start_new_session=True))
        return started[-1]

    yield begin
    for process in started:
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
        process.kill()
        process.wait()


def end(process: subprocess.Popen[str], tmp_path: Path, code: int = 0) -> str:
    found = process.wait(300)
    said = (tmp_path / "log.txt").read_text()
    assert found == code, said
    return said


def learner(out: Path, step: int) -> int | None:
    """The process that is in the middle of a step, or of a later one."""
    for file in out.glob("runs/*/progress.json"):
        with suppress(OSError, ValueError):
            state = json.loads(file.read_bytes())
            if state["step"] >= step and state["phase"] == "learning" and state.get("update", 0) > 0:
                return int(state["pid"])
    return None


def wait_for(what: Callable[[], int | None], process: subprocess.Popen[str]) -> int:
    while (found := what()) is None:
        assert process.poll() is None, "it ended before"
        time.sleep(0.05)
    return found


RUN = ("run", "--no-report", "--checkpoint-seconds", "0")
KEPT = {"runs", "store", "experiment.toml", "mentions.csv.gz", "sums.json"}
GRID = ("--methods", "extendner,joint-token")  # one waits for the first step of the other


@pytest.fixture(scope="module")
def alone(inputs: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The grid as one process after another learns it."""
    out = tmp_path_factory.mktemp("alone") / "out"
    done = bench(*RUN, *inputs, *GRID, "--jobs", "1", "--out", str(out))
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.parametrize("words", ["loky", "dask", "ray", "slurm --scheduler local"])
def test_every_backend_gives_the_same_bits(
    words: str, alone: Path, inputs: list[str], tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    out = tmp_path / "out"
    process = start("cl_ner_bench", *RUN, *inputs, *GRID, "--jobs", "2", "--out", str(out), "--backend", *words.split())
    end(process, tmp_path)
    assert len(stored(alone)) == 12
    assert stored(out) == stored(alone)
    one, other = load_results(alone), load_results(out)
    for name in ("counts", "scores", "summary"):
        assert getattr(one, name).to_csv() == getattr(other, name).to_csv()
    assert {path.name for path in out.iterdir()} == KEPT, "no lease, log or stop is left"


def test_a_preempted_job_goes_on(
    inputs: list[str], tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    words = [*inputs, "--methods", f"{METHODS}:slow"]
    driver = start("cl_ner_bench", *RUN, *words, "--out", str(out), "--backend", "slurm", "--scheduler", "local")
    child = wait_for(lambda: learner(out, 2), driver)
    first = (out / "runs" / records(out)["slow"]["run_id"] / "step-1" / "step.json").stat()
    job = psutil.Process(child).parent()
    assert job is not None
    assert "submitit.core._submit" in job.cmdline()
    job.send_signal(signal.SIGUSR2)  # what Slurm sends before it takes the machine away
    wait_for(lambda: pid if (pid := learner(out, 2)) != child else None, driver)
    end(driver, tmp_path)
    assert records(out)["slow"]["status"] == "done"
    assert (out / "runs" / records(out)["slow"]["run_id"] / "step-1" / "step.json").stat() == first
    done = bench(*RUN, *words, "--out", str(whole), extra=HASTE)
    assert done.returncode == 0, done.stderr
    assert stored(out) == stored(whole)


@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_ctrl_c_in_a_terminal_stops_what_can_go_on(
    backend: str, inputs: list[str], tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    out = tmp_path / "out"
    driver = start(
        "cl_ner_bench", *RUN, *inputs, "--methods", f"{METHODS}:slow", "--out", str(out), "--backend", backend
    )
    child = wait_for(lambda: learner(out, 1), driver)
    os.killpg(driver.pid, signal.SIGINT)
    end(driver, tmp_path, 130)
    assert not psutil.pid_exists(child)
    assert records(out)["slow"]["status"] == "interrupted"
    assert {path.name for path in out.iterdir()} <= KEPT | {"methods"}, "the code of a user's method stays"


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="the package distributed is not installed; pip install distributed"):
        backends.check(Options(backend="dask"))


def test_without_slurm_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='--backend slurm: Could not detect "srun"'):
        backends.pool(Options(backend="slurm", device="cpu"), 1, tmp_path)
    options = layer({"backend": "slurm", "scheduler": "local", "slurm": ["partion=gpu", "time=60"]})[0].options
    assert options.slurm == {"partion": "gpu", "time": 60}
    with pytest.raises(UserError, match="--slurm: Unknown argument 'partion'"):
        backends.pool(options, 1, tmp_path)


@pytest.mark.parametrize("words", ["dask tcp://127.0.0.1:1", "ray 127.0.0.1:1"])
def test_a_scheduler_that_is_not_there_is_said(
    words: str, inputs: list[str], tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    backend, address = words.split()
    more = ["--backend", backend, "--scheduler", address, "--out", str(tmp_path / "out")]
    said = end(start("cl_ner_bench", "run", *inputs, "--methods", "extendner", *more), tmp_path, 2)
    assert f"error: --scheduler {address}: no {backend} scheduler answers" in said
    assert "Traceback" not in said


def test_a_cluster_without_workers_is_told_and_so_is_the_end_of_its_scheduler(
    inputs: list[str], tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    file = tmp_path / "scheduler.json"
    command = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-show", "--scheduler-file", str(file)]
    scheduler = start("distributed.cli.dask_scheduler", *command)
    wait_for(lambda: 1 if file.exists() else None, scheduler)
    address = json.loads(file.read_bytes())["address"]
    more = ["--backend", "dask", "--scheduler", address, "--out", str(tmp_path / "out")]
    driver = start("cl_ner_bench", "run", *inputs, "--methods", "extendner", *more)
    wait_for(lambda: 1 if "no worker has room for a run" in (tmp_path / "log.txt").read_text() else None, driver)
    scheduler.kill()
    said = end(driver, tmp_path, 2)
    assert f"error: --scheduler {address}: no dask scheduler answers" in said
    assert "Traceback" not in said


def test_runs_share_devices_evenly() -> None:
    pool = backends.Loky(["cuda:0", "cuda:1"] * 2)
    taken: list[str] = []
    while device := pool.device_for(taken):
        taken.append(device)
    assert taken == ["cuda:0", "cuda:1"] * 2
    assert pool.device_for(["cuda:0", "cuda:1", "cuda:0"]) == "cuda:1"


def test_what_runs_elsewhere_may_have_other_devices() -> None:
    from cl_ner_bench.running.environment import resolve_device

    assert [Options(backend="slurm", scheduler=s).elsewhere for s in (None, "local")] == [True, False]
    assert [Options(backend="dask", scheduler=s).elsewhere for s in (None, "tcp://host:1")] == [False, True]
    assert resolve_device("cuda", "auto", elsewhere=True) == ("cuda", "bf16")
