"""Kills, crowds, pauses and full disks at a reduced count; ``python -m benchmarks.faults`` is the full one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks import faults


def test_kills_at_random_moments_lose_nothing(tmp_path: Path) -> None:
    said = faults.kills(tmp_path, count=10, at_most=5)
    assert said.startswith("10 kills")


def test_kills_inside_the_writer_tear_nothing(tmp_path: Path) -> None:
    said = faults.writer_kills(tmp_path, count=50)
    assert said.startswith("50 kills inside the writer")


def test_a_crowd_of_drivers_learns_every_step_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEARNED", "")  # set by the crowd, and gone with this test
    said = faults.crowd(tmp_path, processes=3, seeds=1)
    assert "each of 12 steps learned and stored once" in said


def test_a_paused_owner_is_followed_and_harms_nothing_when_it_wakes_up(tmp_path: Path) -> None:
    assert "harmed nothing" in faults.paused(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("CI"), reason="only root may mount a small disk")
def test_a_full_disk_is_told_and_harms_nothing(tmp_path: Path) -> None:
    assert "nothing finished lost" in faults.full_disk(tmp_path)


def test_what_is_lost_or_torn_would_be_found(tmp_path: Path) -> None:
    from cl_ner_bench.storage import json_files, steps

    step = tmp_path / "runs" / "run" / "step-1"
    json_files.write_record(step.parent / "run.json", {"schema": 1, "status": "done"})
    steps.commit_step(step, "key", {}, {"counts.json": b"{}"})
    assert faults.torn(tmp_path) == []
    (step / "counts.json").write_bytes(b"{")
    assert {Path(found) for found in faults.torn(tmp_path)} == {step / "counts.json", step}
    (step / "counts.json").write_bytes(b"{}")
    record = step.parent / "run.json"
    record.write_bytes(record.read_bytes().replace(b"done", b"gone"))
    assert faults.torn(tmp_path) == [str(record)]
