"""Joining results folders: what fits counts once, what does not is refused by name, old files are read."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cl_ner_bench.analysis.comparison.compare import comparisons
from cl_ner_bench.analysis.data.frames import load_results
from cl_ner_bench.cli import main
from cl_ner_bench.errors import UserError
from cl_ner_bench.testing.results import triple, write_grid, write_run

SETTINGS = {"recipe": "paper", "max_sentences": None, "epochs": 10, "lr": 5e-5, "split_seed": 1}  # the factory's
SCHEMA_1 = Path(__file__).parent / "schema-1"


def refused(*folders: Path) -> str:
    """The message that joining the folders ends in; it names a run of each."""
    with pytest.raises(UserError) as error:
        load_results(*folders)
    message = str(error.value)
    assert all(str(folder / "runs") in message for folder in folders), message
    return message


def test_folders_joined_equal_one_folder_with_all_runs(tmp_path: Path) -> None:
    pairs = [(0, 0), (1, 0)]
    write_grid(tmp_path / "one", ["spankl", "extendner", "joint-span"], n_steps=3, runs=pairs)
    write_grid(tmp_path / "a", ["spankl"], n_steps=3, runs=pairs)
    write_grid(tmp_path / "b", ["extendner", "joint-span"], n_steps=3, runs=pairs)
    one, joined = load_results(tmp_path / "one"), load_results(tmp_path / "b", tmp_path / "a")
    for name in ("counts", "scores", "measures", "summary"):
        pd.testing.assert_frame_equal(getattr(one, name), getattr(joined, name))
    assert joined.measures["gap"].notna().any()  # the reference lay in the other folder


@pytest.mark.slow
def test_a_copied_run_counts_once_however_it_is_packed(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (file,) = (tmp_path / "b").rglob("predictions.jsonl.gz")
    file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()), compresslevel=1, mtime=7))
    results = load_results(tmp_path / "a", tmp_path / "b")
    assert [run.run_id for run in results.runs] == [run.name]
    assert results.summary["n_runs"].tolist() == [1, 1]


def test_one_run_with_other_content_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path / "a", counts={1: {"A": [8, 2, 2]}})
    write_run(tmp_path / "b", counts={1: {"A": [7, 2, 3]}})
    assert "differ though they belong to one run (spankl-toy-0-0-" in refused(tmp_path / "a", tmp_path / "b")
    shutil.rmtree(tmp_path / "b")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (file,) = (tmp_path / "b").rglob("predictions.jsonl.gz")
    file.write_bytes(gzip.compress(b'{"id":0,"gold":[],"pred":[]}\n'))
    assert "predictions.jsonl.gz differ" in refused(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"settings": {**SETTINGS, "lr": 1e-4}}, "lr: 5e-05 in the first, 0.0001 in the second"),
        ({"settings": {**SETTINGS, "max_sentences": 600}}, "max_sentences: none in the first, 600 in the second"),
        ({"fingerprints": {"data": "d0", "split": "s1", "encoder": "e0"}}, "the sentences of each task changed"),
        ({"versions": {"cl-ner-bench": "0.1.0", "torch": "3.0"}}, "torch: 2.9 in the first, 3.0 in the second"),
    ],
)
def test_two_settings_of_one_run_are_refused(tmp_path: Path, change: dict[str, Any], difference: str) -> None:
    write_run(tmp_path / "a", config="aaaaaaaa")
    write_run(tmp_path / "b", config="bbbbbbbb", **change)
    message = refused(tmp_path / "a", tmp_path / "b")
    assert f"hold spankl, toy, split, 0, 0, minilm with two settings ({difference})" in message
    # Under a label of its own it is another method; in another order it is another run.
    shutil.rmtree(tmp_path / "b")
    write_run(tmp_path / "b", "label", config="bbbbbbbb")
    write_run(tmp_path / "b", config="bbbbbbbb", order=1, fingerprints={"data": "d0", "split": "s1"})
    assert len(load_results(tmp_path / "a", tmp_path / "b").runs) == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"data": "d1"}, "another corpus"),
        ({"split": "s1"}, "another task split"),
        ({"encoder": "e1"}, "other weights of the encoder"),
        ({"data": "d1", "split": "s1"}, "another corpus and another task split"),
    ],
)
def test_methods_that_learned_from_other_inputs_are_refused(tmp_path: Path, change: dict[str, str], said: str) -> None:
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", "extendner", fingerprints={"data": "d0", "split": "s0", "encoder": "e0"} | change)
    message = refused(tmp_path / "a", tmp_path / "b")
    assert f"learned order 0 of toy, split, from other inputs ({said}): their scores cannot be compared" in message


def test_what_was_asked_to_differ_stands_in_a_comparison_of_its_own(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    settings = {"recipe": "paper", "max_sentences": 50, "split_seed": 1}
    write_run(tmp_path / "b", "extendner", settings=settings, fingerprints={"data": "d1", "split": "s1"})
    assert len(comparisons(load_results(tmp_path / "a", tmp_path / "b"))) == 2


def test_a_finished_run_stands_for_an_unfinished_one(tmp_path: Path) -> None:
    write_run(tmp_path / "a", status="failed", reason="out of memory", run_id="x")
    write_run(tmp_path / "b", run_id="x", counts={1: {"A": triple(70)}})
    for folders in (("a", "b"), ("b", "a")):
        (run,) = load_results(*(tmp_path / name for name in folders)).runs
        assert run.status == "done"


@pytest.mark.parametrize("steps", ["1", ["1"], [0, 1], ["../x"], [2], None])
def test_steps_that_are_no_steps_are_damage(tmp_path: Path, steps: Any) -> None:
    write_run(tmp_path, steps=steps)  # a path would be made of them
    (damaged,) = load_results(tmp_path).damaged
    assert re.search(r"run\.json is not as docs/results\.md says \(key 'steps", str(damaged))


@pytest.mark.parametrize("triples", [[1, 2], [1, 2, 3.5], [1, 2, -3], "abc", None, [1, 2, 2**70]])
def test_counts_that_are_no_counts_are_damage(tmp_path: Path, triples: Any) -> None:
    file = write_run(tmp_path) / "step-1" / "counts.json"
    views = {view: {"test": {"PER": triples}} for view in ("all", "filter", "filter_last")}
    file.write_text(json.dumps({"schema": 1, "views": views}))
    (damaged,) = load_results(tmp_path).damaged
    assert damaged.path == file
    assert "is not as docs/results.md says" in str(damaged)


def test_the_command_line_says_it_in_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", "extendner", fingerprints={"data": "d1", "split": "s1"})
    assert main.main(["report", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "out")]) == 2
    err = capsys.readouterr().err
    assert "from other inputs" in err
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_files_of_schema_1_are_read_for_ever() -> None:
    """The folder is frozen: its scores, derived by hand from its counts, must come out of every later version."""
    results = load_results(SCHEMA_1)
    assert {run.schema for run in results.runs} == {1}
    final = results.measures.set_index(["method", "view"])
    spankl, joint = final.loc["spankl", "all"], final.loc["joint-span", "all"]
    assert spankl["micro_f1"] == pytest.approx(200 * 90 / (180 + 27 + 20))
    assert spankl["macro_f1"] == pytest.approx((200 * 60 / 150 + 200 * 30 / 75) / 2)  # GPE has no gold
    places = 200 * 30 / (60 + 7 + 10)
    assert spankl["task_macro_f1"] == pytest.approx((80 + places) / 2)
    assert spankl["forgetting"] == pytest.approx(200 * 80 / 190 - 80)
    assert spankl["gap"] == pytest.approx((200 * 90 / 197 + places) / 2 - (80 + places) / 2)
    assert joint["gap"] == 0
    fixed = final.loc["spankl", "filter"]  # forgetting there: on the sentences of the last step
    assert fixed["forgetting"] == pytest.approx(200 * 80 / 186 - 80)
    first = results.scores.query("method == 'spankl' and view == 'filter' and step == 1").iloc[0]
    assert first["micro_f1"] == pytest.approx(200 * 80 / 184)
    assert len(results.predictions("spankl-toy-split-o0-s0-minilm-0a1b2c3d", 2)) == 9
