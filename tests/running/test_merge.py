"""Runs of other settings or code in one results folder: what a message says of them, and how they are replaced."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from cl_ner_bench.analysis.verify import verify
from cl_ner_bench.api import as_arguments
from cl_ner_bench.cli.preview import preview
from cl_ner_bench.errors import UserError
from cl_ner_bench.running import grid
from cl_ner_bench.running.runs import Prepared
from cl_ner_bench.storage.folder import ResultsFolder

METHOD = """
CARD = {"mine": {"class": "Mine", "architecture": "token", "settings": {"weight": 1.0}}}
from cl_ner_bench.learning.learner import TagLearner
from . import helper
class Mine(TagLearner):
    weight = 1
"""


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    rows = [{"words": ["a"], "mentions": [[0, 1, t]]} for t in ("PER", "LOC", "DATE") * 8]
    for part in ("train", "dev", "test"):
        (tmp_path / "corpus").mkdir(exist_ok=True)
        (tmp_path / "corpus" / f"{part}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (tmp_path / "mine.py").write_text(METHOD)
    (tmp_path / "helper.py").write_text("scale = 1\n")
    monkeypatch.setattr(grid, "_learn", learned)
    methods = f"{tmp_path / 'mine.py'},finetune-token"
    options = {"dataset": str(tmp_path / "corpus"), "methods": methods, "bounds": "none", "recipe": "minilm"}
    return {**options, "seeds": "0,1", "no_report": True, "out": str(tmp_path / "out")}


def learned(prepared: Prepared, display: object) -> int:
    """Stand in for the learning of a grid: commit its missing steps, empty, and stop before the report."""
    for run in prepared.todo:
        for step in run.missing():
            run.folder.commit(step, run.key(step), {"step": step}, {}, b"")
        run.folder.save(structs.replace(run.record, status="done"))
    return 130


def start(options: dict[str, Any], **more: Any) -> ResultsFolder:
    prepared = grid.prepare(options | more)
    grid.carry_out(prepared)
    return prepared.folder


def refused(options: dict[str, Any], **more: Any) -> str:
    with pytest.raises(UserError) as error:
        grid.prepare(options | more)
    return str(error.value)


def runs(folder: ResultsFolder, method: str) -> set[str]:
    return {run_id for run_id, record in folder.runs.items() if record.method == method}


def digests(text: str) -> Iterator[re.Match[str]]:
    return re.finditer(r"[0-9a-f]{12,}", text)


def test_a_conflict_says_in_words_what_differs_and_what_to_do(inputs: dict[str, Any], tmp_path: Path) -> None:
    start(inputs)
    (tmp_path / "mine.py").write_text(METHOD.replace("weight = 1", "weight = 2"))
    said = refused(inputs)
    assert "  mine: the code of mine or of a module that it imports changed since its runs (was methods/mine-" in said
    assert "finetune-token" not in said, "its runs are the same"
    assert "  --replace mine\n" in said
    assert "  `replace` mine\n" in as_arguments(said, ["replace"])
    assert f"--out {tmp_path / 'out'}-2" in said
    said = refused(inputs, epochs=1, set={"mine": {"weight": 2.0}}, tasks="PER;LOC,DATE")
    assert "  mine: epochs: " in said
    assert " there, 1 now; " in said
    assert "weight: 1.0 there, 2.0 now; " in said
    assert "tasks: DATE;LOC;PER there, PER;LOC,DATE now" in said
    assert "\n  finetune-token: epochs: " in said
    assert "  --replace mine,finetune-token\n" in said
    assert not [*digests(said)]
    assert "  --replace finetune-token,mine\n" in refused(inputs, epochs=1, replace="finetune-token")
    assert "  --replace mine,finetune-token\n" in refused(inputs, epochs=1, replace="mine")
    (tmp_path / "mine.py").write_text(METHOD)
    corpus = tmp_path / "corpus" / "train.jsonl"
    corpus.write_text(corpus.read_text().replace('"a"', '"b"', 1))
    said = refused(inputs)
    assert "  mine, finetune-token: the sentences or labels of corpus changed\n" in said


def test_a_method_is_replaced_and_nothing_else_is_lost(
    inputs: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = start(inputs)
    old, others = runs(folder, "mine"), runs(folder, "finetune-token")
    (tmp_path / "mine.py").write_text(METHOD.replace("weight = 1", "weight = 2"))
    prepared = grid.prepare(inputs | {"seeds": "0", "replace": "mine"})
    assert "replaced (2 runs" in preview(prepared)
    assert "warning: --replace mine moves 2 runs aside and learns 1 again: seeds 1 will be missing" in preview(prepared)
    assert runs(folder, "mine") == old, "so far it is a plan"
    grid.carry_out(prepared)
    assert "moves 2 runs aside and learns 1 again" in caplog.text
    assert len(runs(folder, "mine")) == 1, "the other seed's run would stand beside it with other code"
    assert not runs(folder, "mine") & old
    assert runs(folder, "finetune-token") == others
    assert {path.name for path in folder.replaced.iterdir()} == old
    assert all((path / "step-3" / "step.json").is_file() for path in folder.replaced.iterdir())
    again = start(inputs, seeds="0", replace=str(tmp_path / "mine.py"))
    assert runs(again, "mine") == runs(folder, "mine"), "what is learned with these settings stays"
    assert len([*folder.replaced.iterdir()]) == 2
    (tmp_path / "mine.py").write_text(METHOD)
    start(inputs, replace=["mine"])
    (tmp_path / "mine.py").write_text(METHOD.replace("weight = 1", "weight = 2"))
    start(inputs, replace=["mine"])
    assert len([*folder.replaced.iterdir()]) == 5, "a run that was set aside before keeps its place"


def test_the_grids_of_a_folder_repeat_it_after_a_replacement(inputs: dict[str, Any], tmp_path: Path) -> None:
    folder = start(inputs, set={"mine": {"weight": 3.0}})
    start(inputs, set={"mine": {"weight": 2.0}}, seeds="0", replace="mine")
    grids = tomllib.loads(folder.experiment_file.read_text())["grid"]
    assert [table["methods"] for table in grids] == [
        ["finetune-token"],
        [f"{tmp_path / 'mine.py'}:mine", "finetune-token"],
    ]
    assert [table["set"] for table in grids] == [{}, {"mine": {"weight": 2.0}}]
    repeated = grid.prepare({"out": inputs["out"]}, folder.experiment_file)
    assert {run.id for run in repeated.runs} == {*folder.runs}
    assert not repeated.todo


def test_a_run_without_a_finished_step_makes_room_for_one_of_other_settings(
    inputs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failed(prepared: Prepared, display: object) -> int:
        for run in prepared.todo:
            run.folder.save(structs.replace(run.record, status="failed", reason="out of memory"))
        return 130

    monkeypatch.setattr(grid, "_learn", failed)
    one = inputs | {"methods": "finetune-token"}
    before = runs(start(one, epochs=4), "finetune-token")
    folder = start(one, epochs=2)
    assert len(runs(folder, "finetune-token")) == len(before) == 2
    assert not before & runs(folder, "finetune-token")
    assert grid.prepare({"out": str(folder.path)}, config=str(folder.experiment_file)).superseded == []


def test_what_replace_refuses(inputs: dict[str, Any]) -> None:
    folder = start(inputs)
    said = refused(inputs, replace="Mien")
    assert said.startswith("--replace Mien: no method of this grid is called so. Did you mean 'mine'?")
    assert "spankl: no method of this grid" in refused(inputs, replace="spankl")
    assert "mime*: no method of this grid" in refused(inputs, replace="mime*")
    assert {record.method for record in grid.prepare(inputs | {"epochs": 1, "replace": "m*,*-token"}).replaced} == {
        "mine",
        "finetune-token",
    }
    (run_id, *_) = sorted(runs(folder, "mine"))
    with folder.wait_for_lease(run_id):
        assert f"{run_id} is being learned by another process" in refused(inputs, epochs=1, replace="mine")
        assert grid.prepare(inputs | {"replace": "mine"}).replaced == []


def test_the_code_of_a_users_method_is_kept_and_checked(inputs: dict[str, Any], tmp_path: Path) -> None:
    folder = start(inputs)
    (kept,) = {tuple(record.inputs.get("source", ())) for record in folder.runs.values()} - {()}
    assert [name.partition("/")[2] for name in kept] == ["helper.py", "mine.py"]
    assert folder.method_file(kept[1]).read_text() == METHOD
    assert folder.method_file(kept[0]).read_text() == "scale = 1\n"
    assert not folder.check_top()
    (tmp_path / "helper.py").write_text("scale = 2\n")
    start(inputs, replace="mine")
    assert len([*(folder.path / "methods").iterdir()]) == 2, "that of the runs that were replaced stays"
    assert not folder.check_top()
    folder.method_file(kept[0]).write_text("scale = 3\n")
    (fault,) = verify(folder.path).faults[:1]
    assert fault.path == folder.method_file(kept[0])
