"""Figures drawn by several processes, and reports that are there already."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure

from cl_ner_bench.analysis import forked
from cl_ner_bench.analysis.data.frames import load_results
from cl_ner_bench.analysis.figures.figure import ReportFigure
from cl_ner_bench.analysis.figures.rendering import Draw, FigureFiles, rendering
from cl_ner_bench.analysis.forked import beside, processes
from cl_ner_bench.analysis.report import files
from cl_ner_bench.analysis.report.files import write_files, write_report
from cl_ner_bench.analysis.tables.text import TableLayout
from cl_ner_bench.errors import UserError
from cl_ner_bench.testing.results import write_grid


def drawn(name: str) -> list[ReportFigure]:
    figure = Figure(figsize=(2, 1))
    figure.text(0.5, 0.5, name)
    return [ReportFigure(name, f"Caption of {name}.", figure, pd.DataFrame({"name": [name]}), ("A note.",))]


def rendered(draws: Sequence[Draw], n: int) -> list[FigureFiles]:
    with rendering(draws, ["png", "pdf", "svg"], n) as found:
        return found()


@pytest.mark.slow  # each process draws anew
def test_several_processes_give_the_files_of_one_in_the_same_order() -> None:
    draws = [lambda name=name: drawn(name) for name in ("steps-all-a", "plane-all-a", "cost-all-a")]
    assert [of.name for of in rendered(draws, 2)] == ["steps-all-a", "plane-all-a", "cost-all-a"]
    assert rendered(draws, 2) == rendered(draws, 1)


def test_errors_and_lost_processes_are_messages() -> None:
    def wrong() -> list[ReportFigure]:
        raise UserError("wrong")

    def lost() -> list[ReportFigure]:
        os.kill(os.getpid(), signal.SIGKILL)
        return []

    with pytest.raises(UserError, match="wrong"):
        rendered([wrong, wrong], 2)
    with pytest.raises(UserError, match="a process of this command was ended"):
        rendered([lost, lost], 2)


def test_a_process_with_threads_draws_alone() -> None:
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    assert processes() == 1
    with beside(os.getpid) as found:
        assert found() == os.getpid()
    done.set()
    thread.join()


def test_work_beside_that_fails_or_is_lost_leaves_a_message_and_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forked, "processes", lambda: 2)

    def wrong() -> int:
        raise UserError("wrong")

    def lost() -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return 0

    with beside(wrong) as found, pytest.raises(UserError, match="wrong"):
        found()
    with beside(lost) as found, pytest.raises(UserError, match="a process of this command was ended"):
        found()
    began = time.monotonic()
    with beside(lambda: time.sleep(60)):
        assert multiprocessing.active_children()
    assert not multiprocessing.active_children()
    assert time.monotonic() - began < 30


def test_work_beside_runs_in_another_process_where_there_are_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    for cores, elsewhere in (({0}, False), ({0, 1}, True)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: cores)
        with beside(os.getpid) as found:
            assert (found() != os.getpid()) is elsewhere


def test_a_report_that_is_there_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_grid(tmp_path, ["spankl", "extendner"], n_steps=2)
    made: list[Any] = []

    def report_files(*given: Any) -> dict[str, bytes]:
        made.append(given)
        return {"report.html": b"page"}

    monkeypatch.setattr(files, "report_files", report_files)
    first = write_report([tmp_path], tmp_path)
    assert {path.name for path in first} == {"report.html", "report-sums.json"}
    stamps = [path.stat().st_mtime_ns for path in first]
    assert sorted(write_report([tmp_path], tmp_path)) == sorted(first)
    assert ([path.stat().st_mtime_ns for path in first], len(made)) == (stamps, 1)

    (tmp_path / "report.html").write_text("edited")
    write_report([tmp_path], tmp_path)
    assert ((tmp_path / "report.html").read_text(), len(made)) == ("page", 2)
    results = load_results(tmp_path)
    write_files(results, tmp_path, "slides", ["png"])
    write_files(results, tmp_path, "slides", ["png", "svg"])
    write_files(results, tmp_path, "slides", ["png", "svg"], TableLayout(decimals=2))
    assert len(made) == 5
    write_grid(tmp_path, ["finetune-span"], n_steps=2)
    write_report([tmp_path], tmp_path)
    assert len(made) == 6
