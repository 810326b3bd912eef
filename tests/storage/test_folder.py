"""The results folder as one object, and the typed record of a run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from cl_ner_bench import HOME
from cl_ner_bench.errors import UserError
from cl_ner_bench.storage import files
from cl_ner_bench.storage.checks import DamagedError
from cl_ner_bench.storage.folder import ResultsFolder
from cl_ner_bench.storage.run_record import RunRecord
from cl_ner_bench.testing.results import run_record, write_run


def change(folder: Path, **changes: Any) -> None:
    file = folder / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize(
    "file", sorted((HOME / "results" / "reference").rglob("run.json"))[::20], ids=lambda file: file.parent.name
)
def test_a_stored_record_is_written_again_as_it_was(file: Path, tmp_path: Path) -> None:
    """To the byte, apart from keys that its version did not know."""
    known = json.loads(file.read_text())
    record = ResultsFolder.open(file.parents[2]).run(file.parent.name).read()
    run = ResultsFolder.open(tmp_path).run(record.run_id)
    run.save(record)
    again = json.loads(run.record_file.read_text())
    assert {key: again[key] for key in known if key != "seal"} == {k: v for k, v in known.items() if k != "seal"}
    assert {*again} >= {*known}
    if {*again} == {*known}:
        assert run.record_file.read_bytes() == file.read_bytes()
    assert run.record is not None
    assert structs.replace(run.record, seal=None) == structs.replace(record, seal=None)


def test_a_record_is_read_once_and_again_where_it_was_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path)
    folder = ResultsFolder.open(tmp_path)
    ((run_id, first),) = folder.runs.items()
    with monkeypatch.context() as patched:
        patched.setattr(files, "from_json", lambda _: pytest.fail("read again"))
        patched.setattr("cl_ner_bench.storage.checks.from_json", lambda _: pytest.fail("read again"))
        assert folder.runs[run_id] is first
        assert folder.run(run_id).read() is first
    folder.run(run_id).save(structs.replace(first, status="failed", reason="no luck"))
    assert (folder.runs[run_id].status, folder.run(run_id).status) == ("failed", "failed")
    os.remove(folder.run(run_id).record_file)
    assert folder.runs == {}


def test_keys_of_later_versions_and_plug_ins_are_passed_over(tmp_path: Path) -> None:
    tasks = [{"name": "a", "types": ["A"], "learned_at": 1, "colour": "red"}]
    learned = [{"step": 1, "updates": 3, "energy": {"kWh": 2.5}}]
    home = write_run(tmp_path, tasks=tasks, learned=learned, invented={"x": [1]}, counts={1: {"A": [1, 0, 0]}})
    record = ResultsFolder.open(tmp_path).run(home.name).read()
    assert record.tasks[0].name == "a"
    assert record.learned == learned, "a row may be a plug-in's"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"order": -1}, "key 'order': expected a whole number of at least 0, found -1"),
        ({"seed": True}, "key 'seed': expected a whole number of at least 0, found True"),
        ({"undertrained_below": float("nan")}, "key 'undertrained_below': expected a finite number, found nan"),
        ({"tasks": [{"name": 3, "types": [], "learned_at": 1}]}, "key 'tasks[0].name': expected a text, found 3"),
        ({"learned": [{"step": 1, "seconds": "long"}]}, "key 'learned[0].seconds': expected a finite number"),
        ({"shared": {"1": "../x"}}, "key 'shared.1': expected the name of a run's folder, found '../x'"),
        ({"step_keys": {"1": "../../x"}}, "key 'step_keys': expected hexadecimal digits by step"),
        ({"encoder_identity": {"source": "hub"}}, "key 'encoder_identity.layers' is missing"),
        ({"steps": [2]}, "key 'steps': expected numbers of 1 to 1, found [2]"),
    ],
)
def test_a_record_that_does_not_fit_is_refused_by_key(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    home = write_run(tmp_path)
    change(home, **changes)
    folder = ResultsFolder.open(tmp_path)
    with pytest.raises(DamagedError) as refused:
        folder.run(home.name).read()
    assert str(refused.value).startswith(f"{home / 'run.json'} is not as docs/results.md says ({said}")
    assert "remove the run's folder, then the same `bench run` command again repairs it" in str(refused.value)
    with pytest.raises(UserError, match="is not as docs"):
        _ = folder.runs


def test_a_record_whose_seal_is_broken_is_none_to_go_on_with(tmp_path: Path) -> None:
    run = ResultsFolder.open(tmp_path).run("x")
    run.save(run_record())
    change(run.path, label="by hand")
    assert run.record is None
    assert run.is_lost()
    with pytest.raises(DamagedError, match="its seal is broken"):
        run.read()


def test_what_a_later_version_wrote_is_not_replaced(tmp_path: Path) -> None:
    run = ResultsFolder.open(tmp_path).run("x")
    files.write_record(run.record_file, run_record().to_builtins() | {"schema": 2})
    with pytest.raises(UserError, match="has schema 2, this version reads up to 1: update cl-ner-bench, or pass anoth"):
        _ = run.record


def test_a_record_says_who_learns_a_step() -> None:
    record: RunRecord = run_record(run_id="mine", shared={"1": "theirs"}, step_keys={"1": "a", "2": "b", "3": "c"})
    assert [record.learned_by(step) for step in (1, 2)] == ["theirs", "mine"]
    assert [record.is_shared(step) for step in (1, 2)] == [True, False]
    assert (record.key(3), run_record().key(3)) == ("c", None)


def test_who_has_lost_the_lease_does_not_replace_the_new_owners_record(tmp_path: Path) -> None:
    record = run_record()
    folder = ResultsFolder(tmp_path)
    run = folder.run(record.run_id)
    lease = folder.lease(record.run_id)
    assert lease is not None
    with lease:
        run.save(structs.replace(record, status="done"), lease)
        (tmp_path / "leases" / f"{record.run_id}.2").write_text("{}")  # taken over
        run.save(structs.replace(record, status="running"), lease)
    assert run.status == "done"
