"""The estimated time left, and what it is made from."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cl_ner_bench.running import worker


def test_a_step_begins_without_the_counts_of_the_step_before(tmp_path: Path) -> None:
    lease: Any = SimpleNamespace(lost=False)
    heartbeat = worker.Heartbeat(tmp_path, tmp_path / "stop", lease)
    heartbeat.begin(1, "learning")
    heartbeat({"epoch": 2, "epochs": 2, "update": 20, "updates": 20, "loss": 0.5, "seconds": 9.0}, now=True)
    heartbeat({"phase": "predicting", "predicted_words": 70}, now=True)
    heartbeat.begin(2, "learning")
    state = json.loads((tmp_path / "progress.json").read_bytes())
    assert (state["step"], state["phase"]) == (2, "learning")
    assert set(state) == {"schema", "host", "pid", "time", "step", "step_started", "phase"}
