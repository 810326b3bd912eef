"""The lines of the house: who imports whom, and that nothing here shadows the Hugging Face library `datasets`."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cl_ner_bench import HOME

METHODS = sorted((HOME / "methods").glob("*.py"))


def test_imports_go_one_way() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([lint, "--no-cache"], cwd=HOME, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("file", METHODS, ids=lambda f: f.stem)
def test_a_method_imports_learning_and_models_only(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text())):
        names = [node.module] if isinstance(node, ast.ImportFrom) else []
        names += [a.name for a in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            assert name
            own = name.startswith(("cl_ner_bench", "methods"))
            assert not own or name.startswith(("cl_ner_bench.learning", "cl_ner_bench.models")), name


def test_nobody_imports_a_method_by_name() -> None:
    for file in (HOME / "cl_ner_bench").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                assert not node.module.startswith(("cl_ner_bench.methods", "methods")), file


def test_datasets_is_the_hugging_face_library_from_the_repository_root() -> None:
    code = "import datasets; print(datasets.__version__, datasets.load_dataset.__module__)"
    result = subprocess.run([sys.executable, "-c", code], cwd=HOME, capture_output=True, text=True, check=True)
    assert result.stdout.strip().endswith("datasets.load")
    assert not (HOME / "datasets" / "__init__.py").exists()
    assert not (HOME / "methods" / "__init__.py").exists()


def test_the_modules_that_the_walks_pass_exist() -> None:
    named = re.findall(r"`(cl_ner_bench/[\w/.]+)`", (HOME / "docs" / "architecture.md").read_text())
    assert len(named) > 30
    assert [name for name in named if not (HOME / name).exists()] == []
