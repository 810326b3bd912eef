"""Record the progress of a real grid: python -m benchmarks.progress OUT.json --jobs N [OPTIONS OF `bench run`]

Tests of the estimated time left read the recording. `bench run` writes to a temporary results folder, and the benchmark
reads this folder every ``EVERY`` seconds. OUT.json holds

    runs       the parts of the run records that the estimate reads
    events     [seconds, run, kind, value]; the kind is ``status`` (of the run), ``progress`` (from the heartbeat) or
               ``step`` (a finished step)
    seconds    the time of the whole command, including its report

All seconds are processor time, which other work on the machine changes little. Each run counts as if it had its own
core: it begins at the end of the previous run in its place, and after the shared steps that it uses.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
import time
from bisect import bisect
from collections import defaultdict
from pathlib import Path
from typing import Any

import psutil

from cl_ner_bench.running import environment
from cl_ner_bench.storage.folder import ResultsFolder

EVERY = 0.25
APART = 2.0  # least seconds between two recorded progress events of a phase
RECORD = ("run_id", "method", "dataset", "scenario", "encoder", "architecture", "steps", "sizes", "words", "shared")
SETTINGS = ("epochs", "device", "precision", "threads", "training_check")
PROGRESS = ("step", "phase", "update", "updates", "predicted_words")
Event = tuple[float, str, str, dict[str, Any]]


class Clock:
    """The processor time of a process as a function of clock time."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, float]] = []

    def look(self, pid: int) -> None:
        try:
            process = psutil.Process(pid)
            times = process.cpu_times()
        except psutil.Error:  # the process has just ended
            return
        self.samples = self.samples or [(process.create_time(), 0.0)]
        self.samples.append((time.time(), times.user + times.system))

    def __call__(self, at: float) -> float:
        i = min(max(1, bisect(self.samples, (at,))), len(self.samples) - 1)
        (t0, c0), (t1, c1) = self.samples[i - 1 : i + 1]
        return min(c1, c0 + max(0.0, at - t0) * (c1 - c0) / (t1 - t0))

    def between(self, start: float, seconds: float) -> float:
        return round(self(start + seconds) - self(start), 2)

    @property
    def whole(self) -> float:
        return self.samples[-1][1]


class Recorder:
    """The events in a results folder, with their times."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.clocks: dict[str, Clock] = defaultdict(Clock)
        self.runs: dict[str, dict[str, Any]] = {}
        self.events: list[Event] = []
        self.ended: dict[str, float] = {}
        self.known: dict[Any, Any] = {}

    def look(self) -> None:
        """Record new events."""
        folder = ResultsFolder.open(self.out)
        for run, record in folder.runs.items():
            files = folder.run(run)
            at = files.recorded_at
            if state := files.progress():
                self.clocks[run].look(state["pid"])
                self._add(state["time"], run, "progress", state)
            for step in record.steps:
                if done := files.step(step, record.step_keys[str(step)]):
                    row = {**done.learned, "shared_with": done.shared_with}
                    self._add(done.files.file.stat().st_mtime, run, f"step {step}", row)
            self.runs[run] = record.to_builtins()
            self._add(at, run, "status", {"status": record.status})
            if record.status == "done":
                self.ended.setdefault(run, at)

    def _add(self, at: float, run: str, kind: str, value: dict[str, Any]) -> None:
        if self.known.get((run, kind)) != value:
            self.known[run, kind] = value
            self.events.append((at, run, kind, value))

    def by_processor_time(self, driver: Clock) -> list[Event]:
        """Return the events as if each run had a core for itself."""
        events, latest = [], dict[Any, float]()
        begin = self._begins(driver)
        for at, run, kind, value in self.events:
            clock = self.clocks[run]
            moved = 0.0 if value.get("status") == "waiting" else begin[run] + clock(at)
            if kind == "progress":
                row = {key: value[key] for key in PROGRESS if key in value}
                if "seconds" in value:
                    row["seconds"] = clock.between(value["time"] - value["seconds"], value["seconds"])
            elif kind == "status":
                row = value
            else:
                row = {key: value[key] for key in ("step", "shared_with")}
                if not value["shared_with"]:
                    row["seconds"] = clock.between(self._begun(run, value["step"]), value["seconds"])
                    row["predict_seconds"] = clock.between(at - value["predict_seconds"], value["predict_seconds"])
            events.append((round(moved, 2), run, kind.split()[0], row))
        thin = []
        for event in sorted(events, key=lambda event: event[0]):
            at, run, kind, value = event
            phase = (run, kind, value.get("step"), value.get("phase"))
            if kind != "progress" or at - latest.get(phase, -APART) >= APART:
                latest[phase] = at
                thin.append(event)
        return thin

    def _begins(self, driver: Clock) -> dict[str, float]:
        """Return when each run begins: after the previous run in its place, and after the shared steps that it uses."""
        begin: dict[str, float] = {}
        free: list[tuple[float, float]] = []  # ends of runs that have no successor yet: (clock time, recorded time)
        first = {run: clock.samples[0][0] for run, clock in self.clocks.items()}
        for run in sorted(first, key=first.__getitem__):
            before = max((end for end in free if end[0] <= first[run]), default=None)
            if before:
                free.remove(before)
            begin[run] = before[1] if before else driver(first[run])
            for at, other, kind, _ in self.events:
                if other in begin and self.runs[run]["shared"].get(kind.removeprefix("step ")) == other:
                    begin[run] = max(begin[run], begin[other] + self.clocks[other](at))
            free.append((self.ended[run], begin[run] + self.clocks[run].whole))
        return begin

    def _begun(self, run: str, step: int) -> float:
        beats = (value for _, who, kind, value in self.events if (who, kind) == (run, "progress"))
        return float(next(value["step_started"] for value in beats if value["step"] == step))


def as_text(command: str, recorder: Recorder, driver: Clock) -> str:
    """Return the recording as JSON with one line per run and per event."""
    events = recorder.by_processor_time(driver)
    report = driver.whole - driver(max(recorder.ended.values()))
    facts = {
        "schema": 1,
        "command": command,
        "machine": dict(environment.hardware()),
        "seconds": round(events[-1][0] + report, 2),
    }
    runs = [
        {key: record[key] for key in RECORD} | {"settings": {key: record["settings"][key] for key in SETTINGS}}
        for _, record in sorted(recorder.runs.items())
    ]
    lists = {
        name: ",\n".join(json.dumps(value, separators=(",", ":")) for value in values)
        for name, values in {"runs": runs, "events": events}.items()
    }
    text = ",\n ".join([json.dumps(facts, indent=1)[2:-2].strip(), *(f'"{k}": [\n{v}\n]' for k, v in lists.items())])
    return f"{{\n {text}\n}}\n"


def main() -> int:
    target, options = Path(sys.argv[1]), sys.argv[2:]
    with tempfile.TemporaryDirectory() as folder:
        recorder, driver = Recorder(Path(folder) / "out"), Clock()
        command = [sys.executable, "-m", "cl_ner_bench", "run", *options, "--out", str(recorder.out)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None:
                driver.look(process.pid)
                recorder.look()
                time.sleep(EVERY)
        if process.returncode == 0:
            recorder.look()
            target.write_text(as_text(shlex.join(["bench", "run", *options]), recorder, driver))
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())
