"""The origin of a run in run.json: the command, the code, versions and resource usage."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cl_ner_bench
from cl_ner_bench.cli import main
from cl_ner_bench.running import environment, grid
from cl_ner_bench.running.grid import prepare

GIT = ("git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")


@pytest.fixture(autouse=True)
def anew() -> Iterator[None]:
    """Code and versions are found once a process."""
    environment.code.cache_clear()
    yield
    environment.code.cache_clear()


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("corpus")
    rows = [{"words": ["a"], "mentions": [[0, 1, t]]} for t in ("PER", "LOC", "DATE") * 8]
    for part in ("train", "dev", "test"):
        (folder / f"{part}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return {"dataset": str(folder), "methods": "spankl", "bounds": "none", "out": str(folder / "out")}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small checkout of the suite, committed, that :func:`environment.code` takes for the one it belongs to."""
    for name in ("cl_ner_bench", "methods", "datasets"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*GIT, "-C", str(tmp_path), *words], check=True)
    monkeypatch.setattr(environment, "PACKAGE", tmp_path / "cl_ner_bench")
    monkeypatch.setattr(cl_ner_bench, "HOME", tmp_path)
    return tmp_path


def test_the_commit_and_whether_the_code_was_modified(checkout: Path) -> None:
    head = subprocess.run([*GIT, "-C", str(checkout), "rev-parse", "HEAD"], capture_output=True, text=True).stdout
    clean = environment.code()
    assert (clean["commit"], clean["modified"]) == (head.strip(), False)
    (checkout / "results").mkdir()
    (checkout / "results" / "notes.txt").write_text("not code")
    environment.code.cache_clear()
    assert environment.code() == clean
    (checkout / "methods" / "mine.py").write_text("x = 1")
    environment.code.cache_clear()
    changed = environment.code()
    assert (changed["commit"], changed["modified"]) == (clean["commit"], True)
    assert changed["digest"] != clean["digest"]


def test_asking_git_writes_nothing(checkout: Path) -> None:
    (checkout / "methods" / "__init__.py").touch()  # a stale index, that `git status` would write anew
    before = {p: p.stat().st_mtime_ns for p in (checkout / ".git").rglob("*")}
    assert environment.code()["modified"] is False
    assert {p: p.stat().st_mtime_ns for p in (checkout / ".git").rglob("*")} == before


def test_files_installed_below_another_checkout_are_not_of_its_commit(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(checkout / "cl_ner_bench", checkout / "venv" / "cl_ner_bench")
    monkeypatch.setattr(environment, "PACKAGE", checkout / "venv" / "cl_ner_bench")
    assert environment.code()["commit"] is None
    assert environment.code()["modified"] is None


def test_without_git_the_digest_still_tells(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(checkout))
    found = environment.code()
    assert (found["commit"], found["modified"]) == (None, None)
    assert len(found["digest"]) == 64


def test_a_wheel_has_the_digest_of_its_checkout(tmp_path: Path) -> None:
    wheel, home = tmp_path / "cl_ner_bench", cl_ner_bench.HOME
    shutil.copytree(environment.PACKAGE, wheel)
    for name in ("methods", "datasets"):  # where the build puts them
        shutil.copytree(home / name, wheel / name)
    assert environment.source_digest(wheel, wheel) == environment.source_digest(environment.PACKAGE, home)
    (wheel / "methods" / "spankl.py").write_text("")
    assert environment.source_digest(wheel, wheel) != environment.source_digest(environment.PACKAGE, home)


def test_the_record_holds_the_command(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = []
    monkeypatch.setattr(grid, "carry_out", lambda found, *rest: prepared.append(found) or grid.Outcome(130, Path(), []))
    words = ["run", *(word for key, value in options.items() for word in (f"--{key}", value))]
    main.main(words)
    assert [run.record.command for run in prepared[0].runs] == [["bench", *words]]
    (run,) = prepare({**options, "seeds": (3,), "data": None, "out": Path(options["out"])}).runs
    assert run.record.command == {**options, "seeds": [3]}
    json.dumps(run.record.to_builtins())


def test_no_provenance_changes_what_a_run_is_called_or_computes(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def identity() -> list[Any]:
        (run,) = prepare(options, command=["bench"]).runs
        return [getattr(run.record, key) for key in ("run_id", "config", "setting", "step_keys")]

    before = identity()
    monkeypatch.setattr(environment, "PACKAGES", ("cl-ner-bench", "not-there"))
    monkeypatch.setattr(grid, "code", lambda: {"version": "9", "digest": "0", "commit": "1", "modified": True})
    (run,) = prepare(options, command=["other"]).runs
    assert run.record.versions["not-there"] == "not installed"
    assert run.record.code["version"] == "9"
    assert identity() == before


def test_processor_time_and_memory_are_those_of_this_process() -> None:
    before = environment.resource_usage()
    numbers = list(range(3_000_000))
    total = sum(numbers)
    after = environment.resource_usage()
    assert total
    assert after["cpu_seconds"] > before["cpu_seconds"] > 0
    assert after["peak_memory_bytes"] >= before["peak_memory_bytes"] > 1 << 20
    assert environment.resource_usage(after["cpu_seconds"])["cpu_seconds"] < after["cpu_seconds"]
