"""`bench reproduce`: the grid of a preset, what makes it a rehearsal, what is said of the result, exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import structs

from cl_ner_bench.analysis.comparison.agreement import judge
from cl_ner_bench.analysis.data.frames import load_results
from cl_ner_bench.analysis.literature.settings import ENCODERS, presets, settings
from cl_ner_bench.cli import main
from cl_ner_bench.cli.reproduce import as_text
from cl_ner_bench.corpora.cards import list_cards
from cl_ner_bench.running import grid
from cl_ner_bench.running.reproduce import FIXED, FREE, SET, reproduction, with_differences
from cl_ner_bench.storage.run_record import ByPart, CorpusRecord
from cl_ner_bench.testing.grids import bench
from cl_ner_bench.testing.results import write_matrix
from cl_ner_bench.testing.tiny import tiny_encoder

pytestmark = pytest.mark.slow

NAME = "spankl-ontonotes-split"


def as_published(folder: Path, shift: float) -> Path:
    """Runs of all orders with SpanKL's published scores, moved by ``shift``."""
    card = list_cards()["ontonotes"]
    for row in settings()[NAME].rows:
        order = row.order or 0
        names = [list(card.tasks)[i] for i in card.orders[order]]
        matrix = [[score + shift for score in scores] for scores in row.tasks]
        write_matrix(folder, matrix, names, dataset="ontonotes", encoder="bert-large-cased", order=order)
    return folder


@pytest.mark.parametrize("name", presets())
def test_a_preset_is_a_grid_of_its_setting_with_all_orders(name: str) -> None:
    plan, setting = reproduction(name, {}), settings()[name]
    assert plan.changes == ()
    assert plan.options["out"] == f"results/{name}"
    assert plan.grid["orders"] == setting.orders
    assert (plan.grid["dataset"], plan.grid["encoder"]) == (setting.dataset, ENCODERS[setting.encoder].spec)
    assert plan.grid.keys() <= {*FIXED, *SET}, "the help says which defaults are the preset's"
    assert set(FIXED).isdisjoint(FREE)


@pytest.mark.parametrize(
    "given", [{"seeds": "0,1,2"}, {"data": "/corpus"}, {"jobs": "2"}, {"device": "cpu"}, {"encoder": None}]
)
def test_what_does_not_change_the_experiment_is_no_rehearsal(given: dict[str, Any]) -> None:
    assert reproduction(NAME, given).changes == ()


@pytest.mark.parametrize(
    ("given", "change"),
    [
        ({"max_sentences": "600"}, "max-sentences 600"),
        ({"encoder": "minilm"}, "encoder minilm"),
        ({"epochs": "1"}, "epochs 1"),
        ({"orders": "0"}, "orders 0"),
        ({"precision": "bf16"}, "precision bf16"),
        ({"recipe": "minilm"}, "recipe minilm"),
    ],
)
def test_every_other_change_is_a_rehearsal_without_a_difference(given: dict[str, Any], change: str) -> None:
    plan = reproduction(NAME, given)
    assert plan.changes == (change,)
    assert plan.options["out"] == f"results/{NAME}-rehearsal"
    text = as_text(plan, [])
    assert f"A REHEARSAL ({change}): no difference to the published numbers is shown." in text
    assert "88.8" not in text


def test_ours_theirs_difference_and_verdict_are_printed(tmp_path: Path) -> None:
    plan = reproduction(NAME, {})
    text = as_text(plan, judge(plan.setting, load_results(as_published(tmp_path, 0.5))))
    assert "spankl  mean task F1  89.31  6  88.81   +0.50" in text
    assert text.count("agrees\n") >= 2
    assert "digitised" in text
    assert "REHEARSAL" not in text
    assert max(map(len, text.splitlines())) <= 110


def test_another_corpus_or_encoder_of_the_same_name_is_a_rehearsal(tmp_path: Path) -> None:
    sizes = ByPart(1, 1, 1)
    corpus = CorpusRecord(differences=[], accepted=[], n_mentions=sizes, without_task={})
    record = structs.replace(load_results(as_published(tmp_path, 0)).runs[0], corpus=corpus)
    assert record.encoder_identity is not None
    asked = reproduction(NAME, {"encoder": "./bert-large-cased"})
    assert with_differences(asked, {}, [record]) == asked
    counts = "train: 2 sentences, published are 59,924"
    for changes, said in (
        (
            {"encoder_identity": structs.replace(record.encoder_identity, layers=2)},
            "the encoder is not bert-large-cased: 2 layers, not 24",
        ),
        (
            {"corpus": structs.replace(corpus, differences=[counts])},
            f"the corpus is not the published one: {counts}",
        ),
    ):
        other = structs.replace(record, **changes)
        plan = with_differences(asked, {}, [record, other])
        assert plan.changes == (said,)
        assert plan.options["out"] == f"results/{NAME}-rehearsal"
        assert with_differences(asked, {"out": "mine"}, [other]).options["out"] == "mine"
        assert f"A REHEARSAL ({said}): no difference" in " ".join(as_text(plan, []).split())


def test_defective_implementations_are_named() -> None:
    for name, setting in presets().items():
        assert ("of defective implementations" in as_text(reproduction(name, {"epochs": "1"}), [])) == bool(
            setting.defects
        )


@pytest.mark.parametrize(("shift", "code"), [(0.3, 0), (4.0, 1)])
def test_exit_code_tells_whether_a_difference_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], shift: float, code: int
) -> None:
    folder = as_published(tmp_path, shift)
    planned = SimpleNamespace(runs=[SimpleNamespace(record=run) for run in load_results(folder).runs])
    monkeypatch.setattr(grid, "prepare", lambda *_, **__: planned)
    monkeypatch.setattr(grid, "carry_out", lambda *_: grid.Outcome(0, folder, []))
    assert main.main(["reproduce", NAME, "--data", "x"]) == code
    assert ("disagrees" in capsys.readouterr().out) == bool(code)


def test_without_a_preset_they_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["reproduce"]) == 0
    table = capsys.readouterr().out
    assert main.main(["list", "presets"]) == 0
    assert capsys.readouterr().out == table
    assert main.main(["reproduce", "--list"]) == 0
    assert capsys.readouterr().out == table
    assert main.main(["list", "presets", NAME]) == 0
    assert "  recipe      paper" in capsys.readouterr().out
    assert all(f"\n{name} " in table for name in presets())


def test_the_help_of_a_preset_shows_what_it_sets_and_its_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["reproduce", "--help"]) == 0
    plain = " ".join(capsys.readouterr().out.split())
    assert plain.count("(default: the preset's)") == len(SET)
    assert main.main(["reproduce", NAME, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.startswith(plain)
    assert "methods = spankl; bounds = none; dataset = ontonotes; scenario = split; encoder = " in shown
    assert "orders = 0, 1, 2, 3, 4, 5; seeds = 0; precision = fp32" in shown
    assert "span = " in shown
    assert "epochs = 10" in shown
    assert "spankl, order 0: mean task F1 89.42; spankl, order 1: " in shown
    assert "margins mean task F1 1, BI 0.5" in shown


def test_a_dry_run_names_the_preset_as_the_origin(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    types = list_cards()["conll2003"].types
    for part in ("train", "dev", "test"):
        rows = [{"words": ["so", f"name{i}", "."], "mentions": [[1, 2, t]]} for i, t in enumerate(types * 3)]
        (tmp_path / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["--data", str(tmp_path), "--encoder", "minilm", "--out", str(tmp_path / "out"), "--dry-run"]
    assert main.main(["reproduce", "cfner-conll2003-fg2-pg1", *words]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert {"scenario fg2-pg1 [preset]", "recipe cfner [preset]", "encoder minilm [flag]"} <= {*lines}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["spankl-ontonote-split"], "Did you mean 'spankl-ontonotes-split'"),
        (["cfner"], "no preset 'cfner'. These begin so: cfner-conll2003-fg1-pg1, "),
        (["CFNER"], "no preset 'CFNER'. These begin so: cfner-conll2003-fg1-pg1, "),
        ([NAME, "--methods", "spankl"], "unknown argument '--methods'"),
        ([NAME, "--epochs", "0"], "--epochs '0': expected a whole number of at least 1"),
        ([NAME, "--encoder", "minilm"], "--data"),  # OntoNotes must be brought along
    ],
)
def test_wrong_use_is_one_message_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main.main(["reproduce", *words]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.slow
def test_a_rehearsal_really_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    types = list_cards()["conll2003"].types
    (tmp_path / "corpus").mkdir()
    for part in ("train", "dev", "test"):
        rows = [{"words": ["so", f"name{i}", "."], "mentions": [[1, 2, t]]} for i, t in enumerate(types * 3)]
        (tmp_path / "corpus" / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tiny_encoder(tmp_path / "bert-base-cased")  # the name of the published encoder, and random weights
    words = ["--data", "corpus", "--encoder", "./bert-base-cased", "--epochs", "1", "--seeds", "0", "--jobs", "1"]
    done = bench("reproduce", "cfner-conll2003-fg2-pg1", *words)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "A REHEARSAL (epochs 1; the corpus is not the published one: train: 12 sentences, published are 14," in said
    assert "the encoder is not bert-base-cased: from a folder, not the hub, 2 layers, not 12" in said
    assert done.stderr.count("conll2003: train: 12 sentences, published are 14,") == 1
    assert "76.66" not in said  # the published number
    out = tmp_path / "results" / "cfner-conll2003-fg2-pg1-rehearsal"
    runs = load_results(out).runs
    assert {run.method for run in runs} == set(settings()["cfner-conll2003-fg2-pg1"].methods) > {"extendner-cfner"}
    assert {(run.status, run.settings["precision"]) for run in runs} == {("done", "fp32")}
    run = runs[0]
    assert [list(task.types) for task in run.tasks] == [["LOC", "MISC"], ["ORG"], ["PER"]]
    (table,) = (out / "tables").glob("published-*.md")
    titles = [line for line in table.read_text().splitlines() if "CFNER suite" in line and line.startswith("| *")]
    assert titles
    assert all("NOT COMPARABLE (" in title and "encoder is not bert-base-cased" in title for title in titles)
