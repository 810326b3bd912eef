"""docs/add-a-method.md is run: its method, its tests and its command."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cl_ner_bench import HOME
from cl_ner_bench.cli.main import main
from cl_ner_bench.testing.tester import MethodTester

pytestmark = pytest.mark.slow

TEXT = (HOME / "docs" / "add-a-method.md").read_text()
METHOD, TESTS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(METHOD)
    return tmp_path


def test_the_method_is_short_and_passes_its_checks(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len([line for line in METHOD.splitlines() if line.strip()]) <= 40
    assert main(["check-method", "mine.py"]) == 0
    assert "selftrain" in capsys.readouterr().out


def class_of(text: str) -> type[MethodTester]:
    names: dict[str, type[MethodTester]] = {}
    exec(text, names)
    return names["TestMine"]


def test_its_reference_is_compared(folder: Path) -> None:
    made = class_of(TESTS)
    assert {"test_learns", "test_identities", "test_resumes", "test_losses"} <= {*dir(made)}
    made().test_losses()  # type: ignore[attr-defined]
    with pytest.raises(AssertionError, match="ce: "):
        class_of(TESTS.replace(">= 0.9", ">= 0.0"))().test_losses()  # type: ignore[attr-defined]
    with pytest.raises(AssertionError, match=r"losses \['ce'\], the reference has \['kd'\]"):
        class_of(TESTS.replace('"ce"', '"kd"'))().test_losses()  # type: ignore[attr-defined]


def test_its_command_gives_a_row_in_the_table(folder: Path, forked_runs: None, no_figures: None) -> None:
    (command,) = re.findall(r"^bench (run .*)", TEXT, re.MULTILINE)
    assert main([*command.split(), "--out", "results"]) == 0
    assert re.search(r"^mine\b", (folder / "results" / "summary.csv").read_text(), re.MULTILINE)
