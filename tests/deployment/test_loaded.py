"""``load_model``: a stored model finds in the test sentences what its run has stored, and refuses what does not fit."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cl_ner_bench import HOME, load_model, load_results
from cl_ner_bench.cli.main import main
from cl_ner_bench.deployment.predicting import Found
from cl_ner_bench.errors import UserError
from cl_ner_bench.running.environment import child_environment
from cl_ner_bench.testing.grids import METHODS, bench, records, start, write_inputs

pytestmark = pytest.mark.slow  # a grid is learned


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grid")
    words = ["--methods", f"extendner,spankl,{METHODS}:good", "--bounds", "none", "--no-report", "--lr", "0.003"]
    done = bench("run", *write_inputs(folder), *words, "--epochs", "8", "--out", str(folder / "out"))
    assert done.returncode == 0, done.stderr
    return folder / "out"


def run_of(out: Path, method: str) -> Path:
    return out / "runs" / str(records(out)[method]["run_id"])


@pytest.mark.parametrize("method", ["extendner", "spankl"])
def test_a_loaded_model_finds_what_its_run_has_stored(grid: Path, method: str) -> None:
    model = load_model(run_of(grid, method))
    assert model.types == ("DATE", "LOC", "PER")
    test = [json.loads(line)["words"] for line in (grid.parent / "corpus" / "test.jsonl").read_text().splitlines()]
    stored = load_results(grid).predictions(model.record.run_id, 3)
    stored = stored[stored["source"] == "pred"]
    assert len(stored) > 3, "nothing to compare"
    found = [(i, *mention[:4]) for i, mentions in enumerate(model.predict(test)) for mention in mentions]
    expected = [(*row,) for row in stored[["id", "start", "end", "type", "score"]].itertuples(index=False)]
    assert [row[:4] for row in found] == [row[:4] for row in expected]
    assert [row[4] for row in found] == pytest.approx([row[4] for row in expected], abs=1e-5)
    text = " ".join(test[0])
    in_words = model.predict([test[0]])[0]
    in_text: list[Found] = model.predict([text, ""])[0]
    assert [(m.type, m.text) for m in in_text] == [(m.type, m.text) for m in in_words]
    assert all(text[m.start : m.end] == m.text for m in in_text)
    assert model.predict(["", []]) == [[], []]


def test_what_cannot_be_loaded_is_one_message(grid: Path, tmp_path: Path) -> None:
    def refused(said: str, path: Path, **options: Any) -> None:
        with pytest.raises(UserError, match=said):
            load_model(path, **options)

    run = run_of(grid, "extendner")
    refused("expected the folder of a run", grid)
    refused("there is no such folder", grid / "runs" / "none")
    refused("`step` 7: the run has the steps 1, 2, 3", run, step=7)
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text("{}")
    refused("this is a model of transformers: .* its own pipeline .* and `bench extend` teaches", tmp_path / "bert")
    refused("the model of step 1 is not kept; learn it with --keep-models all", run, step=1)
    refused("`method`: the model is of good, a method of a file; pass `method` FILE.py:good if", run_of(grid, "good"))
    refused("`device` 'gpu': expected one of auto, cpu, cuda. Did you mean 'cuda'", run, device="gpu")
    assert load_model(run_of(grid, "good"), method=f"{METHODS}:good").step == 3
    refused("the method spankl is not the one that the model was learned with", run, method="spankl")
    with pytest.raises(UserError, match="expected a list of texts"):
        load_model(run).predict("anna went")
    copy = Path(shutil.copytree(grid, tmp_path / "copy"))
    for file in copy.glob("store/*/model.safetensors"):
        file.write_bytes(b"?")
    refused(r"model.safetensors is not what was stored .*: remove the folder", copy / "runs" / run.name)
    assert [*copy.glob("store/*/model.safetensors")], "a command that reads a model removed it"


def test_a_run_is_exported_with_its_card(grid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = run_of(grid, "extendner"), tmp_path / "out"
    assert main(["export", str(run), "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert said.out == f"{out}\n"
    assert "transformers.pipeline" in said.err
    texts = ["anna went to paris in 1990 .", "boris went to lima ."]
    assert load_model(out).predict(texts) == load_model(run).predict(texts)
    assert load_model(out).history == load_model(run).history
    assert [step.sentences for step in load_model(out).history] == [
        row["examples"] for row in record_of(run)["learned"]
    ]
    _, front, card = (out / "README.md").read_text().split("---\n", 2)
    assert {"library_name": "transformers", "pipeline_tag": "token-classification"}.items() <= yaml.safe_load(
        front
    ).items()
    counts = json.loads((run / "step-3" / "counts.json").read_text())["views"]["all"]["test"]
    for type, (tp, fp, fn) in counts.items():
        shown = f"{200 * tp / (2 * tp + fp + fn):.1f}" if tp + fn else "undefined"
        assert f"| `{type}` | {shown} |" in card
    assert record_of(run)["fingerprints"]["data"] in card
    assert "ExtendNER" in card
    # What cannot be exported.
    for words, reason in (
        ([str(run), "--step", "1", "--out", str(tmp_path / "x")], "not kept; learn it with --keep-models all"),
        ([str(run_of(grid, "good")), "--out", str(tmp_path / "x")], "--method FILE.py"),
        ([str(run), "--out", str(out)], "is not empty"),
        ([str(tmp_path), "--out", str(tmp_path / "x")], "expected the folder of a run"),
    ):
        assert main(["export", *words]) == 2
        assert reason in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
    own = ["export", str(run_of(grid, "good")), "--method", f"{METHODS}:good", "--out", str(tmp_path / "own")]
    assert main(own) == 0
    assert str(METHODS.parent) not in (tmp_path / "own" / "cl_ner_bench.json").read_text()
    with pytest.raises(UserError, match="pass `method` FILE"):
        load_model(tmp_path / "own")
    assert load_model(tmp_path / "own", method=f"{METHODS}:good").types == ("DATE", "LOC", "PER")


def record_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "run.json").read_text())
    return found


@pytest.mark.parametrize("method", ["extendner", "spankl"])
def test_the_command_finds_what_the_model_finds(
    grid: Path, method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of(grid, method)
    model = load_model(run)
    model.export(tmp_path / "model")
    texts = ["anna went to oslo in 1990 . Boris went to lima", "nobody", "carla went to paris"]
    (tmp_path / "texts.txt").write_text("\n".join(texts))
    expected = [[m._replace(score=round(m.score, 4)) for m in found] for found in model.predict(texts)]
    assert sum(map(len, expected)) > 2
    for path in (run, tmp_path / "model"):
        assert main(["predict", str(path), "--file", str(tmp_path / "texts.txt"), "--quiet", "--threads", "1"]) == 0
        rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [row["text"] for row in rows] == texts
        assert [[Found(**mention) for mention in row["mentions"]] for row in rows] == expected
    for words, said in (([], "no such folder"), (["--step", "1"], "the model of step 1 is not kept; learn it with")):
        assert main(["predict", str(run) if words else f"{run}x", "--text", "a", *words]) == 2
        assert said in capsys.readouterr().err


def test_a_reader_that_has_enough_ends_the_command_in_silence(grid: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("anna went to oslo\n" * 20_000)
    process = start("predict", str(run_of(grid, "extendner")), "--file", str(tmp_path / "texts.txt"), "--quiet")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["text"] == "anna went to oslo"
    process.stdout.close()
    assert process.stderr is not None
    assert (process.stderr.read(), process.wait()) == ("", 0)


def test_the_benchmark_of_predicting_ends(grid: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("anna went to oslo. Boris went to lima\n" * 40)
    for what, shown in (
        ("time", r"80 sentences, 360 words, 1 rounds: [\d.]+ / "),
        ("memory", r"\| 0 \| 40 \| [\d,]+ \|"),
    ):
        words = [what, str(run_of(grid, "extendner")), str(tmp_path / "texts.txt"), "--rounds", "1"]
        command = [sys.executable, "-m", "benchmarks.predicting", *words]
        done = subprocess.run(
            command, cwd=HOME, env=os.environ | child_environment(1), capture_output=True, text=True, timeout=300
        )
        assert re.search(shown, done.stdout), done.stderr
