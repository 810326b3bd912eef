"""Packages that one feature alone needs: without them, one message names the extra."""

from __future__ import annotations

import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cl_ner_bench import HOME
from cl_ner_bench.analysis.comparison.statistics import DATASETS
from cl_ner_bench.analysis.figures.ranks import rank_diagrams
from cl_ner_bench.cli.main import main

EXTRAS = tomllib.loads((HOME / "pyproject.toml").read_text())["project"]["optional-dependencies"]


@pytest.fixture(autouse=True)
def _without_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cl_ner_bench.errors.find_spec", lambda package: None)


def test_parquet_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "train.parquet").write_bytes(b"")
    assert main(["data", "show", str(tmp_path), "--parts", "80,10,10"]) == 2
    said = capsys.readouterr().err
    assert "train.parquet: the package pyarrow is not installed; pip install 'cl-ner-bench[hub]'" in said


def test_corpora_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CL_NER_BENCH_CACHE", str(tmp_path))
    assert main(["data", "show", "wnut17"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "the package datasets is not installed; pip install 'cl-ner-bench[hub]'" in said
    assert "Or without it: Download wnut17train.conll" in said
    assert said.endswith("Then pass --data PATH.")


def test_a_report_without_ranks_over_datasets_says_so(caplog: pytest.LogCaptureFixture) -> None:
    compared: list[Any] = [SimpleNamespace(dataset=str(n)) for n in range(DATASETS)]
    assert rank_diagrams(None, compared, "all", None) == []  # type: ignore[arg-type]
    assert "ranks-all-overall is not drawn: the package scikit_posthocs is not installed; pip install" in caplog.text
    assert "cl-ner-bench[ranks]" in caplog.text


def test_the_extras_hold_what_the_messages_promise() -> None:
    names = {extra: {need.split(">")[0] for need in needs} for extra, needs in EXTRAS.items()}
    assert names["hub"] == {"datasets", "pyarrow"}
    assert names["ranks"] == {"scikit-posthocs"}
    assert names["hub"] | names["ranks"] <= names["dev"], "the tests need all"
