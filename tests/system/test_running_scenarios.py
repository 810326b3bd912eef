"""Scenario files, split files and domains through whole grids."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from cl_ner_bench import load_results
from cl_ner_bench.analysis.verify import verify
from cl_ner_bench.testing.grids import bench, records, stored, write_inputs

pytestmark = pytest.mark.slow

SCENARIO = """
[[tasks]]
types = ["PER", "LOC"]
share = 2
[[tasks]]
types = ["DATE"]
[[tasks]]
name = "PER again"
types = ["PER"]
"""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return [*write_inputs(tmp_path_factory.mktemp("inputs")), "--bounds", "none", "--epochs", "1"]


def test_a_scenario_file_runs_is_replayed_and_may_not_change_under_its_results(
    inputs: list[str], tmp_path: Path
) -> None:
    file, out = tmp_path / "mine.toml", tmp_path / "out"
    file.write_text(SCENARIO)
    words = ["run", *inputs, "--methods", "extendner", "--scenario", str(file), "--no-report", "--out", str(out)]
    done = bench(*words)
    assert done.returncode == 0, done.stderr
    run = records(out)["extendner"]
    assert run["scenario"] == "mine"
    assert [t["types"] for t in run["tasks"]] == [["PER", "LOC"], ["DATE"], ["PER"]]
    last = load_results(out).counts.query("step == 3 and view == 'all'")
    assert {row.type: (row.task, row.learned_at) for row in last.itertuples()} == {
        **{"PER": ("task1", 1), "LOC": ("task1", 1), "DATE": ("DATE", 2)}
    }
    split = json.loads((out / "runs" / run["run_id"] / "split.json").read_text())
    assert split["labelled_at"]["PER"] == [1, 3]
    assert verify(out).faults == []

    file.unlink()  # the folder keeps a copy
    again = bench("run", "--config", str(out / "experiment.toml"), "--no-report", "--out", str(out))
    assert again.returncode == 0, again.stderr
    assert "0 steps to learn" in again.stderr
    assert len(records(out)) == 1
    file.write_text(SCENARIO)
    split_file = tmp_path / "split.json"
    made = bench("data", "split", inputs[1], "--scenario", str(file), "--out", str(split_file))
    assert made.returncode == 0, made.stderr
    two = ["--no-report", "--out", str(tmp_path / "two")]
    replayed = bench("run", *inputs, "--methods", "extendner", "--split", str(split_file), *two)
    assert replayed.returncode == 0, replayed.stderr
    assert [*stored(out).values()] == [*stored(tmp_path / "two").values()]
    repeat = bench("run", "--config", str(tmp_path / "two" / "experiment.toml"), *two)
    assert "0 steps to learn" in repeat.stderr

    file.write_text(SCENARIO.replace("share = 2", "share = 3"))
    changed = bench(*words)
    assert changed.returncode == 2
    assert "already holds runs with other settings or code" in changed.stderr


def test_domains_are_learned_and_scored_one_after_another(inputs: list[str], tmp_path: Path) -> None:
    corpus = Path(inputs[1])
    card = corpus.parent / "two.toml"
    card.write_text(
        'reader = "union"\n[reader_options.corpora]\n'
        f'news = {{ dataset = "{corpus.name}", types = ["PER", "LOC"] }}\nweb = {{ dataset = "{corpus.name}" }}\n'
    )
    out = tmp_path / "out"
    words = [*inputs[2:], "--dataset", str(card), "--scenario", "domains", "--methods", "spankl", "--out", str(out)]
    done = bench("run", *words)
    assert done.returncode == 0, done.stderr
    with (out / "counts.csv").open() as lines:
        rows = [row for row in csv.DictReader(lines) if row["view"] == "all"]
    assert {(r["step"], r["test_set"], r["task"], r["type"], r["learned_at"]) for r in rows} == {
        *((step, "news", "news", type_, "1") for step in "12" for type_ in ("LOC", "PER")),
        *(("2", "web", "web", type_, "2") for type_ in ("DATE", "LOC", "PER")),
    }
    assert (out / "report.html").is_file()
    assert verify(out).faults == []


def test_what_a_grid_refuses(inputs: list[str], tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(SCENARIO)
    words = ["run", *inputs, "--methods", "extendner", "--out", str(tmp_path / "out")]
    for more, said in (
        (["--scenario", str(file), "--tasks", "PER;LOC;DATE"], "names its tasks or types itself; leave --tasks out"),
        (["--scenario", str(file), "--orders", "all"], "'all' needs"),
        (["--scenario", "domains"], "it needs a union of several"),
        (["--scenario", "fg2-pg2"], "does not divide 3 types"),
    ):
        refused = bench(*words, *more)
        assert (refused.returncode, said in refused.stderr) == (2, True), refused.stderr
        assert "Traceback" not in refused.stderr
        assert len(refused.stderr.strip().splitlines()) <= 5
