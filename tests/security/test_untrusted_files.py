"""Untrusted files: attacks on their reader that must fail (docs/security.md). Each attack is named by its id."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from safetensors.numpy import save_file

from cl_ner_bench import HOME
from cl_ner_bench.analysis.comparison.compare import comparisons
from cl_ner_bench.analysis.comparison.verdict import verdict
from cl_ner_bench.analysis.data.frames import load_results
from cl_ner_bench.analysis.data.run_outcomes import readable
from cl_ner_bench.analysis.figures.figure import Theme
from cl_ner_bench.analysis.report.files import write_report
from cl_ner_bench.analysis.report.page import ComparisonReport, render_page
from cl_ner_bench.analysis.tables.scores import main_table, type_table
from cl_ner_bench.analysis.tables.text import TableLayout
from cl_ner_bench.analysis.verify import verify
from cl_ner_bench.cli.main import main
from cl_ner_bench.cli.results import show_results
from cl_ner_bench.corpora.load import load_corpus
from cl_ner_bench.storage.files import sealed
from cl_ner_bench.storage.folder import ResultsFolder
from cl_ner_bench.storage.run_folder import commit_step, finished_step
from cl_ner_bench.testing.grids import METHODS, bench, write_inputs
from cl_ner_bench.testing.results import write_run
from cl_ner_bench.untrusted import UNPACKED_BYTES

pytestmark = pytest.mark.slow

DEEP = '{"schema": 1, "x": ' + "[" * 100_000
HUGE = "1" + "0" * 400


def refused(capsys: pytest.CaptureFixture[str], said: str, *words: str | Path) -> None:
    """The command ends with exit code 2 and one message, which says this."""
    assert main([*map(str, words)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error, error
    assert "Traceback" not in error


# Results folders ------------------------------------------------------------------------------------------------------


def record(**changes: Any) -> Callable[[Path], None]:
    def change(run: Path) -> None:
        content = json.loads((run / "run.json").read_text())
        (run / "run.json").write_text(json.dumps(content | changes))

    return change


def text(name: str, content: str | bytes) -> Callable[[Path], None]:
    return lambda run: (run / name).write_bytes(content if isinstance(content, bytes) else content.encode()) and None


def link(name: str, to: str) -> Callable[[Path], None]:
    def change(run: Path) -> None:
        path = run.parent.parent / name if name.startswith(("tables", "figures", "store", "runs")) else run / name
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        path.parent.mkdir(exist_ok=True, parents=True)
        path.symlink_to(to)

    return change


def counts(triple: str) -> Callable[[Path], None]:
    views = ", ".join(f'"{view}": {{"test": {{"PER": {triple}}}}}' for view in ("all", "filter", "filter_last"))
    return text("step-1/counts.json", f'{{"schema": 1, "step": 1, "views": {{{views}}}}}')


def task(**changes: Any) -> Callable[[Path], None]:
    return record(tasks=[{"name": "PER", "types": ["PER"], "learned_at": 1} | changes])


def the_run_is_a_link(run: Path) -> None:
    shutil.rmtree(run)
    run.symlink_to("/etc")


def two_links(run: Path) -> None:
    (run / "one").symlink_to("two")
    (run / "two").symlink_to("../../..")


BOMB = gzip.compress(bytes(2 * UNPACKED_BYTES), mtime=0)
RESULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "run_id with ..": (record(run_id="../../x"), "key 'run_id': expected the name of a folder, found '../../x'"),
    "run_id absolute": (record(run_id="/etc/passwd"), "the name of a folder, found '/etc/passwd'"),
    "run_id of another folder": (record(run_id="other"), "is of the run 'other'"),
    "run_id with NUL": (record(run_id="a\0b"), "key 'run_id"),
    "shared run with ..": (record(shared={"1": "../../x"}), "key 'shared"),
    "key of a step is a path": (record(step_keys={"1": "../../../x"}), "key 'step_keys"),
    "step is a path": (record(step_keys={"../x": "ab"}), "key 'step_keys"),
    "a billion steps": (record(n_steps=10**9, steps=[10**9]), "tasks that are learned in steps 1 to 1000000000"),
    "a task learned never": (task(learned_at=2**40), "expected tasks that are learned in steps 1 to 1"),
    "task is no table": (record(tasks=["PER"]), "key 'tasks"),
    "type is a list": (task(types=[["PER"]]), "key 'tasks"),
    "half a surrogate pair": (record(label="\ud800"), "cannot be read"),
    "label is a table": (record(label={"a": 1}), "key 'label"),
    "seed of 400 digits": (record(seed=10**400), "key 'seed"),
    "seconds are NaN": (record(learned=[{"seconds": float("nan")}]), "key 'learned"),
    "bound is infinite": (record(undertrained_below=float("inf")), "key 'undertrained_below"),
    "settings are a list": (record(settings=[]), "key 'settings"),
    "fingerprint is a list": (record(fingerprints={"data": []}), "key 'fingerprints"),
    "run.json nested": (text("run.json", DEEP), "run.json cannot be read"),
    "counts.json nested": (text("step-1/counts.json", DEEP), "counts.json cannot be read"),
    "counts are NaN": (counts("[NaN, 1, 1]"), "counts.json is not as"),
    "counts are huge": (counts(f"[{2**62}, 1, 1]"), "counts.json is not as"),
    "counts have 400 digits": (counts(f"[{HUGE}, 1, 1]"), "counts.json is not as"),
    "predictions are a bomb": (text("step-1/predictions.jsonl.gz", BOMB), "unpacks to more than"),
    "predictions nested": (text("step-1/predictions.jsonl.gz", gzip.compress(DEEP.encode())), "cannot be read"),
    "predictions cut short": (text("step-1/predictions.jsonl.gz", gzip.compress(b"{}")[:-9]), "cut short"),
    "run.json is a link out": (link("run.json", "/etc/hostname"), "is a link to /etc/hostname"),
    "counts.json is a link out": (link("step-1/counts.json", "/etc/hostname"), "is a link to /etc/hostname"),
    "log.txt is a link out": (link("log.txt", "/tmp/elsewhere"), "is a link to /tmp/elsewhere"),
    "the run is a link out": (the_run_is_a_link, "is a link to /etc"),
    "a link of two steps out": (two_links, "is a link to"),
    "a pipe": (lambda run: os.mkfifo(run / "log.txt"), "neither a file nor a folder"),
}  # fmt: skip
FOLDERS: dict[str, tuple[Callable[[Path], None], str]] = {
    "tables is a link out": (link("tables", "/tmp"), "is a link to /tmp"),
    "figures is a link out": (link("figures", "/tmp"), "is a link to /tmp"),
    "store is a link out": (link("store", "/tmp"), "is a link to /tmp"),
    "runs is a link out": (link("runs", "/tmp"), "is a link to /tmp"),
    "a pipe at the top": (lambda run: os.mkfifo(run.parent.parent / "counts.csv"), "neither a file nor a folder"),
}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A sound results folder of one run with one step."""
    write_run(tmp_path / "results")
    return tmp_path / "results"


@pytest.mark.parametrize(("attack", "said"), RESULTS.values(), ids=RESULTS.keys())
def test_a_run_costs_itself_alone(
    attack: Callable[[Path], None], said: str, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_run(results, "extendner")
    assert not readable(load_results(results)).damaged
    attack(next(results.glob("runs/spankl-*")))
    found = readable(load_results(results))
    assert all(said in str(fault) for fault in found.damaged), found.damaged
    assert {fault.run.split("-")[0] for fault in found.damaged} == {"spankl"}
    assert [run.method for run in found.runs] == ["extendner"]
    assert set(found.counts["method"]) == {"extendner"}
    shutil.rmtree(other)
    refused(capsys, said, "report", results, "--format", "svg")
    assert main(["verify", str(results)]) == 1
    assert "spankl-" in capsys.readouterr().out


@pytest.mark.parametrize(("attack", "said"), FOLDERS.values(), ids=FOLDERS.keys())
def test_a_results_folder(
    attack: Callable[[Path], None], said: str, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    attack(next(results.glob("runs/*")))
    refused(capsys, said, "report", results, "--format", "svg")


def test_a_report_says_what_it_leaves_out(results: Path, capsys: pytest.CaptureFixture[str], no_figures: None) -> None:
    write_run(results, "extendner")
    (run,) = results.glob("runs/spankl-*")
    text("step-1/predictions.jsonl.gz", BOMB)(run)
    (run / "log.txt").symlink_to("/etc/hostname")
    assert main(["report", str(results), "--format", "svg"]) == 0
    assert f"left out: {run}/log.txt is a link to /etc/hostname" in capsys.readouterr().err
    (run / "log.txt").unlink()
    assert main(["report", str(results), "--format", "svg"]) == 0
    assert f"left out: {run}/step-1/predictions.jsonl.gz cannot be read (unpacks to more" in capsys.readouterr().err
    assert "damaged and left out" in (results / "report.html").read_text()


SUMS: dict[str, Any] = {
    "a path out": {"sha256": {"../../x": ["0" * 64]}},
    "an absolute path": {"sha256": {"/etc/passwd": ["0" * 64]}},
    "a name with NUL": {"sha256": {"a\0": ["0" * 64]}},
    "no table": {"sha256": ["x"]},
    "no list of sums": {"sha256": {"experiment.toml": 3}},
    "nothing": {},
}


@pytest.mark.parametrize("content", SUMS.values(), ids=SUMS.keys())
def test_sums_that_are_none(content: dict[str, Any], results: Path) -> None:
    for name in ("sums.json", "report-sums.json"):
        (results / name).write_text(json.dumps(sealed({"schema": 1, "runs": [], **content})))
    (damaged,) = load_results(results).damaged
    assert (damaged.path.name, damaged.run) == ("sums.json", "")
    named = [fault.path.name for fault in verify(results).faults if fault.path.parent == results]
    assert named == ["sums.json", "report-sums.json"]


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": {"../x": "0" * 64}},
        {"sha256": {"a/b": "0" * 64}},
        {"sha256": {"counts.json": 3}},
        {"sha256": {"counts.json": "xyz"}},
        {"sha256": []},
        {"shared_with": "../../x"},
        {"shared_with": ["x"]},
    ],
)
def test_a_finished_step_names_its_own_files_and_a_run(change: dict[str, Any], tmp_path: Path) -> None:
    step = tmp_path / "step-1"
    assert commit_step(step, "ab", {}, {"counts.json": b"{}"}, shared_with="other")
    assert finished_step(step, "ab")
    known = json.loads((step / "step.json").read_text())
    for name in ("x", "step-1/a/b"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    (step / "step.json").write_text(json.dumps(sealed(known | change)))
    assert finished_step(step, "ab") is None


def test_a_stored_model_names_its_own_files(tmp_path: Path) -> None:
    models = ResultsFolder.open(tmp_path).models
    models.save("ab", lambda folder: (folder / "w").write_bytes(b"w") and None)
    assert models.load("ab", lambda folder: (folder / "w").read_bytes()) == b"w"
    sums = {"../x": hashlib.sha256(b"").hexdigest()}
    (tmp_path / "store" / "x").touch()
    (tmp_path / "store" / "ab" / "model-sums.json").write_text(
        json.dumps(sealed({"schema": 1, "key": "ab", "sha256": sums}))
    )
    assert models.load("ab", lambda folder: folder) is None


@pytest.mark.parametrize("name", ["tables", "figures", "counts"])
def test_nothing_is_written_through_a_link(
    name: str, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same attacks where --out is not the folder that is read."""
    (tmp_path / "victim").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).symlink_to(tmp_path / "victim")
    refused(capsys, "is a link to", "report", results, "--out", tmp_path / "out")
    assert not [*(tmp_path / "victim").iterdir()]


def test_a_link_inside_the_folder_is_none_out_of_it(results: Path, tmp_path: Path) -> None:
    (results / "latest").symlink_to("runs")
    (tmp_path / "name").symlink_to(results)
    assert load_results(tmp_path / "name").runs


EVIL = (
    "</script><script>console.error('ran')</script><img src=x onerror=console.error('ran')>"
    r"\input{/etc/passwd} \write18{touch ran} %$#&_^~ =cmd|' /C calc'!A0 ../../x"
    "\n\n\x1b[2J\0" + "x" * 10_000
)


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every name in it is an attack."""
    folder = tmp_path_factory.mktemp("evil") / "results"
    tasks = [{"name": EVIL, "types": [EVIL], "learned_at": 1}]
    names = dict.fromkeys(("label", "dataset", "scenario", "encoder", "group", "reason"), EVIL)
    write_run(folder, EVIL, {1: {EVIL: [8, 2, 2]}}, tasks, run_id="evil", **names)
    write_run(folder, EVIL, run_id="failed", status="failed", **names)
    return folder


def test_names_in_files_and_their_names(evil: Path) -> None:
    before = set(evil.parent.rglob("*"))
    write_report([evil], evil, formats=("svg",))
    written = set(evil.parent.rglob("*")) - before
    assert {path.parent for path in written} <= {evil, evil / "tables", evil / "figures", evil / "runs" / "evil"}
    assert len(written) > 20
    for path in written - {evil / "tables", evil / "figures", evil / "runs" / "evil" / "reduced.json.gz"}:
        content = path.read_bytes().decode()
        if path.suffix in (".svg", ".md"):
            assert "<img" not in content.replace(r"\<img", "")
            assert "<script" not in content.replace(r"\<script", "")
        if path.suffix == ".tex":
            assert r"\input" not in content
            assert r"\write" not in content


def test_names_on_the_page(evil: Path, browse: Callable[..., Any], tmp_path: Path) -> None:
    results = load_results(evil)
    compared = comparisons(results)
    tables = [("scores", main_table(compared[0], "all")), ("types", type_table(compared[0], "all"))]
    files = {f"tables/{table.name}.{suffix}": b"" for _, table in tables for suffix in ("csv", "md", "tex")}
    block = ComparisonReport(compared[0], verdict(compared[0], results), {EVIL: EVIL}, tables, [])
    page = render_page(results, [block], Theme.of(compared, "paper").appearances, files)
    assert browse(page, tmp_path, "return document.querySelectorAll('img').length") == 0  # and an empty console


def test_names_in_latex(evil: Path, compiled: Callable[..., Any], tmp_path: Path) -> None:
    (compared,) = comparisons(load_results(evil))
    _, shown = compiled(tmp_path, [main_table(compared, "all"), type_table(compared, "all")], TableLayout())
    assert r"\input{/etc/passwd}" in shown
    assert not (tmp_path / "ran").exists()


def test_names_in_the_terminal(evil: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_results(load_results(evil), [])
    shown = capsys.readouterr().out
    assert r"\x1b[2J\x00" in shown
    assert "\x1b" not in shown


# Corpora, cards, split files, configurations, scenarios ---------------------------------------------------------------

TAGGED = "Anna\tB-PER\nmet\tO\n\nBo\tB-PER\n"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for part in ("train", "dev", "test"):
        (folder / f"{part}.txt").write_text(TAGGED)
        (tmp_path / f"{part}.txt").write_text(TAGGED)  # what an attack is after
    return folder


CARDS = {
    "files with ..": '[reader_options]\nfiles = {train = "../train.txt", dev = "dev.txt", test = "test.txt"}',
    "files absolute": '[reader_options]\nfiles = {train = "/etc/passwd", dev = "dev.txt", test = "test.txt"}',
    "files of a drive": '[reader_options]\nfiles = {train = "C:\\\\x", dev = "dev.txt", test = "test.txt"}',
    "files with NUL": '[reader_options]\nfiles = {train = "a\\u0000", dev = "dev.txt", test = "test.txt"}',
    "documents with ..": '[reader_options]\ndocuments = "../*.txt"',
    "subfolder with ..": '[reader_options]\nsubfolder = ".."',
    "path with ..": '[reader_options]\npath = ".."',
    "path absolute": '[reader_options]\npath = "/etc"',
    "path with NUL": '[reader_options]\npath = "a\\u0000"',
    "path by a link": '[reader_options]\npath = "out"',
    "ids with ..": 'reader = "conll2012"\n[reader_options]\nids = {train = "../train.txt"}',
    "ids absolute": 'reader = "conll2012"\n[reader_options]\nids = {train = "/etc/passwd"}',
    "union of a folder outside": 'reader = "union"\n[reader_options.corpora]\na = {dataset = "../corpus/card.toml"}',
    "union of data outside": 'reader = "union"\n[reader_options.corpora]\na = {data = ".."}',
    "union named ..": 'reader = "union"\n[reader_options.corpora.".."]',
    "brackets in brackets": "x = " + "[" * 1_000_000,
    "tables in tables": "x = " + "{a = " * 200_000,
    "a key of many dots": ".".join("a" * 100_000) + " = 1",
    "a quoted key of many dots": ".".join(['"a"'] * 100_000) + " = 1",
    "a table of many dots": f"[{'.'.join('a' * 100_000)}]",
    "a number without end": "schema = " + "9" * 100_000,
    "larger than any card": "# " + "x" * (2 << 20),
    "counts are NaN": "undertrained_below = nan",
}


@pytest.mark.parametrize("card", CARDS.values(), ids=CARDS.keys())
def test_a_card(card: str, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (corpus / "card.toml").write_text(card)
    (corpus / "out").symlink_to("..")
    refused(capsys, "card.toml", "run", "--dataset", corpus / "card.toml", "--dry-run")


@pytest.mark.parametrize("name", ["config", "scenario"])
@pytest.mark.parametrize("bomb", [name for name in CARDS if name.startswith(("a ", "brackets", "tables", "larger"))])
def test_other_toml(name: str, bomb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.toml").write_text(CARDS[bomb])
    refused(capsys, "x.toml", "run", f"--{name}", tmp_path / "x.toml", "--dry-run")


@pytest.mark.parametrize("name", ["train.txt", "linked"])
def test_a_link_out_of_a_corpus(name: str, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By itself, and below a folder that a card names."""
    (corpus / "train.txt").unlink()
    files = '{train = "tr*.txt", dev = "dev.txt", test = "test.txt"}'
    (corpus / "card.toml").write_text(f"[reader_options]\nfiles = {files}")
    (corpus / "train.txt").symlink_to("../train.txt")
    dataset = corpus if name == "train.txt" else corpus / "card.toml"
    refused(capsys, "a link to", "run", "--dataset", dataset, "--dry-run")
    assert main(["data", "check", str(dataset)]) == 1
    assert "out of the corpus' folder" in capsys.readouterr().out


def test_a_gzip_bomb_in_a_corpus(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (corpus / "train.txt").unlink()
    (corpus / "train.txt.gz").write_bytes(gzip.compress(b"a" * 2 * UNPACKED_BYTES))
    refused(capsys, "unpacks to far more", "run", "--dataset", corpus, "--dry-run")


class Ran:
    """A value whose pickle runs code when it is opened."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def test_a_pickle_in_parquet(corpus: Path, tmp_path: Path) -> None:
    """Older versions of pyarrow opened the pickles of extension types."""
    page_data = pickle.dumps(Ran(tmp_path / "ran"))
    metadata = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": page_data}
    words = pa.field("words", pa.list_(pa.string()), metadata=metadata)
    mentions = pa.field("ner_tags", pa.list_(pa.string()))
    table = pa.table([[["Anna", "met"]], [["B-PER", "O"]]], schema=pa.schema([words, mentions]))
    for part in ("train", "dev", "test"):
        (corpus / f"{part}.txt").unlink()
        parquet.write_table(table, corpus / f"{part}.parquet")
    assert load_corpus(str(corpus)).parts["train"][0].words == ("Anna", "met")
    assert not (tmp_path / "ran").exists()


SPLIT_FILES: dict[str, Any] = {
    "nested": "[" * 100_000,
    "a name that is a list": {"scenario": [".."]},
    "an order of 400 digits": {"order": 10**400},
    "half a surrogate pair": {"scenario": "\ud800"},
    "ids of 400 digits": {"test": [10**400]},
    "a path for a dataset": {"dataset": "../../x"},
}


@pytest.mark.parametrize("change", SPLIT_FILES.values(), ids=SPLIT_FILES.keys())
def test_a_split_file(change: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "split.json"
    assert main(["data", "split", "synthetic", "--out", str(file)]) == 0
    capsys.readouterr()
    content = json.loads(file.read_text())
    file.write_text(change if isinstance(change, str) else json.dumps(content | change))
    refused(capsys, "split.json", "run", "--split", file, "--dry-run")


def test_a_scenario_named_as_a_path_writes_inside(tmp_path: Path, corpus: Path) -> None:
    from cl_ner_bench.running.grid import prepare

    (tmp_path / "s.toml").write_text(f'name = "../../{"x" * 10_000}"\n[[tasks]]\nname = "../../x"\ntypes = ["PER"]')
    options = {"dataset": corpus, "scenario": tmp_path / "s.toml", "methods": "finetune-span", "bounds": "none"}
    (run,) = prepare(options | {"out": tmp_path / "out", "device": "cpu"}).runs
    assert run.folder.path.parent == tmp_path / "out" / "runs"
    assert len(run.id.encode()) < 250
    assert "/" not in run.id


# Models ---------------------------------------------------------------------------------------------------------------


def weights(header: bytes, size: int | None = None) -> bytes:
    return (len(header) if size is None else size).to_bytes(8, "little") + header


LYING = b'{"w":{"dtype":"F32","shape":[9999],"data_offsets":[0,39996]}}'
ENCODERS: dict[str, tuple[dict[str, Any], str]] = {
    "pickle only": ({"model.safetensors": None, "pytorch_model.bin": pickle.dumps(Ran(Path("ran")))}, "convert them"),
    "header longer than the file": ({"model.safetensors": weights(b"{}", 1 << 60)}, "damaged safetensors file"),
    "header of weights that are not there": ({"model.safetensors": weights(LYING)}, "damaged safetensors file"),
    "header nested": ({"model.safetensors": weights(b'{"a":' + b"[" * 100_000)}, "damaged safetensors file"),
    "config nested": ({"config.json": DEEP}, "cannot be read as JSON"),
    "config is a list": ({"config.json": "[]"}, "no JSON object"),
    "a billion layers": ({"config.json": '{"hidden_size": 8, "num_hidden_layers": 1000000000}'}, "no encoder"),
    "a width that is a text": ({"config.json": '{"hidden_size": "../x"}'}, "no encoder"),
}


@pytest.mark.parametrize(("files", "said"), ENCODERS.values(), ids=ENCODERS.keys())
def test_an_encoder(
    files: dict[str, Any], said: str, tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "encoder"
    folder.mkdir()
    (folder / "config.json").write_text('{"hidden_size": 8, "num_hidden_layers": 1, "model_type": "bert"}')
    save_file({"w": np.zeros(3, np.float32)}, folder / "model.safetensors")
    for name, content in files.items():
        (folder / name).unlink(missing_ok=True)
        if content is not None:
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(capsys, said, "run", "--dataset", corpus, "--encoder", folder, "--device", "cpu", "--dry-run")


def test_code_that_an_encoder_brings(tmp_path: Path) -> None:
    from cl_ner_bench.errors import UserError
    from cl_ner_bench.models.encoders.encoder import Encoder
    from cl_ner_bench.models.encoders.info import encoder_info

    save_file({"w": np.zeros(3, np.float32)}, tmp_path / "model.safetensors")
    config = {"hidden_size": 8, "model_type": "mine", "auto_map": {k: f"mine.{k}" for k in ("AutoConfig", "AutoModel")}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(UserError, match="Code that a model brings is never run"):
        Encoder(encoder_info(str(tmp_path)))
    assert not (tmp_path / "ran").exists()


# Whole commands as processes ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write_inputs(tmp_path_factory.mktemp("inputs"))


def test_nothing_is_written_but_results_and_cache(tmp_path: Path, inputs: list[str]) -> None:
    """From Python, with a method of the user's, and by a command; fontconfig notes down a font of the user's."""
    names = ("home", "tmp", "cwd", "config", "data", "state", "cache", "out")
    places = {name: tmp_path / name for name in names}
    for name in names[:-1]:
        places[name].mkdir()
    unset = ("XDG", "MPL", "HF_", "PYTHONDONTWRITE", "FONTCONFIG")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(unset)}
    environment |= {"HOME": str(places["home"]), "TMPDIR": str(places["tmp"])}
    environment |= {"CL_NER_BENCH_CACHE": str(places["cache"]), "PYTHONPATH": str(HOME)}
    environment |= {f"XDG_{name.upper()}_HOME": str(places[name]) for name in ("config", "data", "state")}
    environment |= {"XDG_CACHE_HOME": str(places["home"])}
    fonts = places["data"] / "fonts"
    fonts.mkdir()
    shutil.copy(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", fonts)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "own.py").write_text(
        "CARD = {'own': {'class': 'Own', 'architecture': 'span'}}\n"
        "from cl_ner_bench import SpanLearner\nfrom .helper import x\nclass Own(SpanLearner): pass\n"
    )
    (mine / "helper.py").write_text("x = 1\n")
    before = {*tmp_path.rglob("*")}
    options = {flag.lstrip("-").replace("-", "_"): value for flag, value in zip(inputs[::2], inputs[1::2], strict=True)}
    options |= {"methods": str(mine / "own.py"), "bounds": "none", "out": str(places["out"])}
    code = f"from cl_ner_bench import run; run(quiet=True, **{options})"
    for command in (["-c", code], ["-m", "cl_ner_bench", "report", str(places["out"])]):
        done = subprocess.run(
            [sys.executable, *command], env=environment, cwd=places["cwd"], capture_output=True, text=True, timeout=500
        )
        assert done.returncode == 0, done.stderr
    written = {str(path.relative_to(tmp_path)) for path in {*tmp_path.rglob("*")} - before - {places["out"]}}
    assert {"cache/tokens", "cache/libraries/matplotlib", "out/report.html"} <= written
    assert not [path for path in written if not path.startswith(("cache/", "out/"))]
    if shutil.which("fc-list"):
        assert list((places["cache"] / "libraries" / "fontconfig").glob("*.cache-*"))


def test_modules_in_the_current_folder_are_not_imported(tmp_path: Path, inputs: list[str]) -> None:
    """A worker is `python -m`, which would take them for the real ones."""
    for name in ("torch", "numpy", "json", "psutil", "joblib", "tokenizers", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write({name!r})")
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\n")
    command = [
        sys.executable,
        "-P",
        "-m",
        "cl_ner_bench",
        "run",
        *inputs,
        "--methods",
        "finetune-span",
        "--bounds",
        "none",
        "--out",
        "out",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "ran").exists(), (tmp_path / "ran").read_text()


def test_an_untrusted_folder_to_go_on_in(
    tmp_path: Path, inputs: list[str], capsys: pytest.CaptureFixture[str], forked_runs: None
) -> None:
    """`bench run --out` of a folder that another filled follows no path in it."""
    out = tmp_path / "out"
    words = ["run", *inputs, "--methods", f"{METHODS}:good", "--bounds", "none", "--no-report", "--out", str(out)]
    assert bench(*words).returncode in (0, 1)
    (file,) = out.glob("runs/*/run.json")
    whole = file.read_text()
    for change, said in (({"step_keys": {"1": "../../../x"}}, "step_keys"), ({"run_id": "../../x"}, "run_id")):
        file.write_text(json.dumps(sealed(json.loads(whole) | change)))
        refused(capsys, said, *words)
    file.write_text(json.dumps(json.loads(whole) | {"run_id": "../../x", "label": "by hand"}))  # its seal is broken
    before = {*tmp_path.rglob("*")}
    assert main(words) == 0
    assert "run.json is not what was stored: the run is taken up again" in capsys.readouterr().err
    assert all(out in path.parents for path in {*tmp_path.rglob("*")} - before)
    assert json.loads(file.read_text())["run_id"] == file.parent.name
    (out / "store").mkdir(exist_ok=True)
    (out / "store" / "x").symlink_to("/etc")
    refused(capsys, "is a link to /etc", *words)
    (out / "store" / "x").unlink()
    link_of_a_run = file.parent / "log.txt"
    link_of_a_run.unlink(missing_ok=True)
    link_of_a_run.symlink_to("/etc/hostname")
    refused(capsys, "is a link to /etc/hostname", *words)
    link_of_a_run.unlink()
    for name, content, said in (
        ("experiment.toml", b"x = " + b"[" * 100_000, "experiment.toml: it is not TOML"),
        ("experiment.toml", b"grid = 3", "its grids are no [[grid]] tables"),
        ("mentions.csv.gz", BOMB, "unpacks to more than"),
        ("mentions.csv.gz", gzip.compress(b"a,b\n1\n", mtime=0), "its columns are not"),
    ):
        whole_file = (out / name).read_bytes()
        (out / name).write_bytes(content)
        (out / "sums.json").unlink()  # which would tell that it was changed
        assert main(words) == 0
        assert said in capsys.readouterr().err
        assert (out / name).read_bytes() == whole_file
