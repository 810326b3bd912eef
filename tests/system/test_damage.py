"""Damage of every kind to every kind of file: found, named with its repair, harmless to others, repaired by a rerun.

With ``--full`` at the counts of docs/reliability.md.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cl_ner_bench import HOME
from cl_ner_bench.analysis.data.frames import load_results
from cl_ner_bench.analysis.report.files import write_report
from cl_ner_bench.analysis.verify import verify
from cl_ner_bench.cli import main
from cl_ner_bench.storage.files import SEAL, sealed
from cl_ner_bench.testing.grids import METHODS, bench, stored, write_inputs

pytestmark = pytest.mark.slow

RUN_FILES = ("run.json", "split.json", "reduced.json.gz", "training-check.json")
STEP_FILES = ("step.json", "counts.json", "predictions.jsonl.gz")
TOP_FILES = ("experiment.toml", "mentions.csv.gz", "sums.json", "report-sums.json")
DERIVED = ("counts.csv", "scores.csv", "summary.csv", "report.html", "tables/main-all-*.csv", "tables/main-all-*.tex")
LOADED = ("run.json", *STEP_FILES, "experiment.toml", "mentions.csv.gz", "sums.json")
FILES = (
    *RUN_FILES,
    *STEP_FILES,
    *TOP_FILES,
    *DERIVED,
    "figures/steps-all-*.png",
    "model.safetensors",
    "model-sums.json",
)
RECORDS = tuple(name for name in FILES if name.endswith(".json"))


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    inputs = write_inputs(tmp_path_factory.mktemp("inputs"))
    tasks = ["--tasks", "PER;LOC,DATE", "--training-check", "--keep-models", "all"]
    return ["run", *inputs, "--methods", f"{METHODS}:good", *tasks]


@pytest.fixture(scope="module")
def grid(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished grid of two methods and two steps, which no test changes."""
    out = tmp_path_factory.mktemp("grid") / "out"
    done = bench(*words, "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert verify(out).faults == []
    return out


@pytest.fixture
def out(grid: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    shutil.copytree(grid, tmp_path / "out")
    return tmp_path / "out"


def place(out: Path, name: str) -> Path:
    """A file of that kind, of the joint run (which has one of each)."""
    run = next(out.glob("runs/joint-token-*"))
    if name in RUN_FILES:
        return run / name
    if name in STEP_FILES:
        return run / "step-1" / name
    pattern = f"store/*/{name}" if name.startswith("model") else name
    return sorted(out.glob(pattern))[0]


def content(data: bytes, name: str) -> Any:
    """Return the content of a file: equal where only the bytes differ that carry no meaning."""
    try:
        if name.endswith(".json"):
            return json.loads(data)
        return gzip.decompress(data) if name == "reduced.json.gz" else data
    except Exception:
        return data


def check(out: Path, file: Path, name: str) -> None:
    """Assert that the damage is found and named with its repair, and that no other run is lost by it."""
    faults = verify(out).faults
    assert [fault for fault in faults if fault.path == file], [str(fault) for fault in faults]
    assert all("bench" in fault.repair for fault in faults)
    results = load_results(out)
    assert "good" in {run.method for run in results.finished}
    assert {fault.path for fault in results.damaged} == ({file} if name in LOADED else set())
    of_a_run = name in LOADED and name not in TOP_FILES
    assert len(results.finished) == 2 - of_a_run


@pytest.mark.parametrize("name", FILES)
def test_truncated_and_filled_with_zeros(out: Path, name: str, full: bool) -> None:
    file = place(out, name)
    data = file.read_bytes()
    damages = [data[: len(data) * percent // 100] for percent in (range(0, 100, 5) if full else (0, 35, 95))]
    for damaged in [*damages, bytes(len(data)), bytes(len(data) // 2) + data[len(data) // 2 :]]:
        if content(damaged, name) == content(data, name):
            continue  # a final line end
        file.write_bytes(damaged)
        check(out, file, name)


@pytest.mark.parametrize("name", FILES)
def test_one_flipped_bit(out: Path, name: str, full: bool) -> None:
    file = place(out, name)
    data = file.read_bytes()
    draw, found = random.Random(name), 0
    while found < (20 if full else 4):
        bit = draw.randrange(8 * len(data))
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        if content(bytes(damaged), name) == content(data, name):
            continue  # whitespace, or a letter of a number: what the file says is the same
        file.write_bytes(damaged)
        check(out, file, name)
        found += 1


@pytest.mark.parametrize("name", ["run.json", "step.json", "sums.json", "training-check.json"])
def test_the_bits_of_the_word_seal(out: Path, name: str, full: bool) -> None:
    file = place(out, name)
    data = file.read_bytes()
    at = data.rindex(b'"seal"') if name != "run.json" else data.index(b'"seal"')
    for bit in range(8 * at, 8 * (at + len(b'"seal"')), 1 if full else 7):  # of each byte another one
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        file.write_bytes(damaged)
        check(out, file, name)


def _schema(record: dict[str, Any]) -> Any:
    return record | {"schema": 99}


def _nan(record: dict[str, Any]) -> Any:
    return _with_number(record, float("nan"))


def _by_hand(record: dict[str, Any]) -> Any:
    return _with_number(record, 12345)


def _with_number(value: Any, number: float) -> Any:
    """The record with the last number in it replaced; 'schema' stays."""
    if isinstance(value, dict):
        for key in [key for key in reversed(value) if key != "schema"]:
            if (changed := _with_number(value[key], number)) is not None:
                return value | {key: changed}
    elif isinstance(value, list):
        for i in reversed(range(len(value))):
            if (changed := _with_number(value[i], number)) is not None:
                return [*value[:i], changed, *value[i + 1 :]]
    elif isinstance(value, str) and len(value) == 64:
        return "0" * 64
    return number if type(value) in (int, float) else None


@pytest.mark.parametrize(
    "change", [lambda _: [], lambda _: None, lambda _: {}, lambda r: r | {"schema": "1"}, _schema, _nan, _by_hand]
)
@pytest.mark.parametrize("name", RECORDS)
def test_records_of_a_wrong_type_a_later_schema_nan_or_numbers_by_hand(
    out: Path, name: str, change: Callable[[Any], Any]
) -> None:
    file = place(out, name)
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    check(out, file, name)
    if change is _schema and name not in ("sums.json", "report-sums.json", "counts.json"):
        assert any("update cl-ner-bench" in fault.repair for fault in verify(out).faults)


@pytest.mark.parametrize("name", ["predictions.jsonl.gz", "mentions.csv.gz", "reduced.json.gz", *DERIVED[:3]])
def test_numbers_by_hand_in_other_files(out: Path, name: str) -> None:
    file = place(out, name)
    packed = name.endswith(".gz")
    data = gzip.decompress(file.read_bytes()) if packed else file.read_bytes()
    for digit, other in ((b"1", b"2"), (b"1", b"NaN")):
        at = data.rindex(digit)
        damaged = data[:at] + other + data[at + 1 :]
        file.write_bytes(gzip.compress(damaged, mtime=0) if packed else damaged)
        check(out, file, name)


@pytest.mark.parametrize("name", [f for f in FILES if f not in ("reduced.json.gz", "training-check.json")])
def test_a_file_that_is_gone(out: Path, name: str) -> None:
    file = place(out, name)
    file.unlink()
    check(out, file, name)


def test_who_forges_sums_and_seals_is_caught_by_the_predictions(out: Path) -> None:
    file = place(out, "counts.json")
    counts = json.loads(file.read_text())
    counts["views"]["all"]["test"]["PER"][0] += 1
    _forge(file, json.dumps(counts).encode())
    assert load_results(out).damaged == (), "a load trusts sums and seals"
    assert [(f.path, f.wrong) for f in verify(out).faults] == [(file, "is not what the predictions give")]


def test_forged_gold_is_caught_by_the_other_runs(out: Path) -> None:
    file = place(out, "predictions.jsonl.gz")
    rows = [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
    rows[0]["gold"] = []
    _forge(file, gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode(), mtime=0))
    assert [(f.path, "other gold" in f.wrong) for f in verify(out).faults] == [(file, True)]


def _forge(file: Path, data: bytes) -> None:
    """Change a file of a step together with its sum and the seal over it."""
    file.write_bytes(data)
    commit = file.with_name("step.json")
    record = json.loads(commit.read_text())
    record["sha256"][file.name] = hashlib.sha256(data).hexdigest()
    commit.write_text(json.dumps(sealed(record)))


def test_a_seal_that_was_cut_off_is_missed(out: Path) -> None:
    file = place(out, "run.json")
    record = json.loads(file.read_text())
    del record[SEAL]
    file.write_text(json.dumps(record | {"label": "By hand"}))
    check(out, file, "run.json")


def test_whitespace_and_the_order_of_keys_carry_no_meaning(out: Path) -> None:
    for name in ("run.json", "step.json", "sums.json", "split.json"):
        file = place(out, name)
        record = json.loads(file.read_text())
        file.write_text(json.dumps(dict(reversed(record.items())), indent=3))
    assert verify(out).faults == []


def test_the_command_names_each_fault_and_exits_with_1(
    out: Path, capsys: pytest.CaptureFixture[str], no_figures: None
) -> None:
    assert main.main(["verify", str(out)]) == 0
    assert "no fault in 2 runs, 4 steps, 4 models" in capsys.readouterr().out
    counts, scores = place(out, "counts.json"), out / "scores.csv"
    counts.write_bytes(b"")
    scores.write_text(scores.read_text().replace("1", "2", 1))
    assert main.main(["verify", str(out), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    again = f"`bench run --config {out}/experiment.toml --out {out}` repairs it"
    assert {fault["path"]: fault["repair"] for fault in found["faults"]} == {
        str(counts): again,
        str(scores): f"`bench report {out}` makes it again",
    }
    assert main.main(["verify", str(out / "runs")]) == 2
    assert main.main(["report", str(out)]) == 0
    printed = capsys.readouterr()
    assert f"left out: {counts} " in printed.err
    assert "damaged and left out, `bench verify` says why: joint-token-" in " ".join(printed.out.split())
    assert "damaged and left out" in (out / "report.html").read_text()
    shutil.rmtree(next(out.glob("runs/good-*")))
    assert main.main(["report", str(out)]) == 2
    assert f"no finished run in {out} ({counts} " in capsys.readouterr().err


def test_a_report_of_several_folders_is_not_derived_from_one(out: Path, tmp_path: Path, no_figures: None) -> None:
    from cl_ner_bench.testing.results import write_run

    write_run(tmp_path / "other")
    write_report([out, tmp_path / "other"], out, formats=())
    assert verify(out).faults == []


def derived(out: Path) -> dict[str, bytes]:
    """Return all files that a rerun must give again to the bit, without times and facts of the machine."""
    names = ("*.csv", "mentions.csv.gz", "experiment.toml", "tables/*", "runs/*/split.json", "runs/*/reduced.json.gz")
    files = {path for name in names for path in out.glob(name) if "cost" not in path.name}
    return stored(out) | {str(path.relative_to(out)): path.read_bytes() for path in files}


def test_a_rerun_learns_again_what_was_damaged_and_nothing_else(grid: Path, out: Path, words: list[str]) -> None:
    good = next(out.glob("runs/good-*"))
    joint = next(out.glob("runs/joint-token-*"))
    keys = json.loads((good / "run.json").read_text())["step_keys"]
    files = (
        *(good / "step-2" / "counts.json", joint / "run.json", good / "split.json", joint / "reduced.json.gz"),
        *(out / "experiment.toml", out / "mentions.csv.gz", out / "scores.csv"),
        *(joint / "training-check.json", out / "store" / keys["1"] / "model.safetensors"),
    )
    for file in files:
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 0x10
        file.write_bytes(data)
    left = out / f".nowhere.1.{'0' * 32}.tmp"
    ours = out / "runs" / f".{_host()}.999999999.{'0' * 32}.tmp"
    ours.write_text("half of a file")
    left.write_text("of another machine, and fresh")
    kept = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/step-*/step.json")}
    del kept[good / "step-2" / "step.json"]

    done = bench(*words, "--out", str(out))

    assert done.returncode == 0, done.stderr
    assert "1 step to learn" in done.stderr
    for text in ("counts.json is not what was stored", "run.json is not what was stored", "experiment.damaged.toml"):
        assert text in done.stderr
    assert verify(out).faults == []
    assert derived(out) == derived(grid)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert not ours.exists()
    assert left.exists(), "it may be at it"


def _host() -> str:
    from cl_ner_bench.storage.files import host

    return host()


def test_the_command_that_is_named_repairs(grid: Path, out: Path) -> None:
    shutil.rmtree(next(out.glob("runs/good-*")) / "step-1")
    place(out, "split.json").unlink()
    repairs = {fault.repair for fault in verify(out).faults}
    (out / "sums.json").write_text("{")
    assert len(repairs) == 1
    command = repairs.pop().split("`")[1].split()
    done = bench(*command[1:])
    assert done.returncode == 0, done.stderr
    assert verify(out).faults == []
    assert derived(out) == derived(grid)
    assert len(tomllib.loads((out / "experiment.toml").read_text())["grid"]) == 1


def test_what_a_later_version_wrote_is_not_replaced(out: Path, words: list[str]) -> None:
    file = place(out, "run.json")
    record = json.loads(file.read_text())
    file.write_text(json.dumps(sealed(record | {"schema": 2})))
    before = file.read_bytes()
    done = bench(*words, "--out", str(out))
    assert done.returncode == 2
    assert "has schema 2, this version reads up to 1: update cl-ner-bench" in done.stderr
    assert file.read_bytes() == before


def test_the_first_instrument_carries_no_seal_and_follows_from_its_predictions() -> None:
    found = verify(HOME / "results" / "reference" / "instrument" / "unseen-rate-0.8")
    assert found.faults == []
    assert found.unsealed == found.checked["runs"] + found.checked["steps"]
    assert "carry no seal" in found.as_text()
