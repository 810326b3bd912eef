"""Imports between packages, and that nothing here shadows the Hugging Face library `datasets`."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cl_ner_bench import HOME

METHODS = sorted((HOME / "methods").glob("*.py"))
TESTS = sorted((HOME / "tests").rglob("*.py"))
BENCHMARKS = sorted((HOME / "benchmarks").rglob("*.py"))


def imported(file: Path) -> set[str]:
    """Return the names of all modules, and of what is imported from them."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{file}: a relative import"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.slow
def test_imports_go_one_way() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([lint, "--no-cache"], cwd=HOME, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("file", METHODS, ids=lambda f: f.stem)
def test_a_method_imports_learning_models_and_the_classes_that_it_extends(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    bases = {ast.unparse(base) for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for base in node.bases}
    allowed = ("cl_ner_bench.learning", "cl_ner_bench.models", "cl_ner_bench.errors")
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.level or str(node.module).startswith("cl_ner_bench.methods")):
            assert {alias.name for alias in node.names} <= bases, f"{file}:{node.lineno}"
        elif isinstance(node, ast.ImportFrom) and str(node.module).startswith("cl_ner_bench"):
            assert str(node.module).startswith(allowed), f"{file}:{node.lineno}"
        elif isinstance(node, ast.Import):
            assert not any(alias.name.startswith("cl_ner_bench") for alias in node.names), f"{file}:{node.lineno}"


@pytest.mark.parametrize("file", [*TESTS, *BENCHMARKS], ids=lambda f: f.stem)
def test_tests_and_benchmarks_share_code_in_testing_alone(file: Path) -> None:
    if not re.search(r"\b(tests|benchmarks)\b|from +\.", file.read_text(encoding="utf-8")):
        return  # parsing takes long
    names = {name for name in imported(file) if name.startswith(("tests", "benchmarks"))}
    assert file in BENCHMARKS or not {name for name in names if name.startswith("benchmarks")}
    assert not {name for name in names if name.startswith("tests") and (file in BENCHMARKS or ".test_" in name)}


@pytest.mark.slow
def test_nobody_imports_a_method_by_name() -> None:
    for file in (HOME / "cl_ner_bench").rglob("*.py"):
        assert not {name for name in imported(file) if name.startswith(("cl_ner_bench.methods", "methods"))}, file


@pytest.mark.slow
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
