"""`bench report`: the options of tables, as users type them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cl_ner_bench.cli.main import main
from cl_ner_bench.testing.results import triple, write_run


@pytest.fixture
def folder(tmp_path: Path, no_figures: None) -> Path:
    for method, score in {"spankl": 60, "extendner": 70, "joint-token": 90}.items():
        for seed in range(2):
            a = triple(score + seed / 3)
            write_run(tmp_path, method, {1: {"A": a}, 2: {"A": a, "B": a}}, seed=seed)
    return tmp_path


def test_measures_decimals_and_methods(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ["--measures", "task,bwt", "--decimals", "2", "--methods", "joint,spankl"]
    assert main(["report", str(folder), *chosen]) == 0
    table = (folder / "tables" / "main-all-toy-split-minilm.md").read_text()
    assert "| Method | Mean task F1 | BWT |" in table
    assert "| SpanKL | 60.17±0.24 | 0.00±0.00 |" in table
    assert "60.17±0.24" in (folder / "tables" / "main-all-toy-split-minilm.tex").read_text().replace(
        r"{\tiny$\pm$", "±"
    )
    shown = capsys.readouterr().out
    assert "60.17±0.24" in shown
    assert "ExtendNER" not in table + shown
    assert "ExtendNER" in (folder / "tables" / "main-all-toy-split-minilm.csv").read_text()


def test_the_default_is_one_decimal_and_five_measures(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(folder)]) == 0
    header = "| Method | Micro-F1 | Mean task F1 | Forgetting | Learning | Gap |"
    table = (folder / "tables" / "main-all-toy-split-minilm.md").read_text()
    assert header in table
    assert table.index("| ExtendNER | 70.2±0.2 |") < table.index("| SpanKL | 60.2±0.2 |")
    assert "70.2±0.2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["--measures", "micro,forgeting"],
            "unknown measure 'forgeting'. Did you mean 'forgetting'? There are micro, ",
        ),
        (["--measures", "macro"], "unknown measure 'macro'. Did you mean 'type'?"),
        (["--decimals", "x"], "--decimals 'x': expected a whole number."),
        (["--methods", "spankll"], "--methods spankll: no finished run of it here."),
        (["--caption", "main"], "--caption 'main': expected TABLE=TEXT"),
    ],
)
def test_unknown_names_end_with_a_message(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    assert main(["report", str(folder), *words]) == 2
    assert told in capsys.readouterr().err.replace("\n", " ")
