"""A method's code is its file and the local modules that it imports, read without running them."""

from __future__ import annotations

import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from cl_ner_bench import HOME, method_card, method_code
from cl_ner_bench.errors import UserError
from cl_ner_bench.method_code import code_fingerprint
from cl_ner_bench.running.layers import layer
from cl_ner_bench.running.plan import make_plan
from cl_ner_bench.storage.folder import ResultsFolder
from cl_ner_bench.testing.grids import write_inputs

RAISES = "raise SystemExit('it was run')\n"
METHOD = "from .helper import weight\nclass M(TagLearner): pass\n"
CARD = "CARD = {'m': {'class': 'M', 'architecture': 'token'}}\n"


def write(folder: Path, files: Mapping[str, str] = MappingProxyType({}), **more: str) -> Path:
    """Write modules by their paths; returns the method's file ``mine.py``."""
    for name, text in {**files, **more}.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "mine.py"


def changed(folder: Path, name: str, text: str, module: str | None = None) -> bool:
    """Write ``text`` into a module; return True if the method's fingerprint is another one then."""
    before = code_fingerprint(folder / "mine.py", module)
    (folder / f"{name}.py").write_text(text)
    return code_fingerprint(folder / "mine.py", module) != before


def of_one_file(file: Path) -> str:
    """Return the fingerprint of a file without local modules as stored results have it in their keys."""
    tree = ast.parse(file.read_text())
    tree.body = [n for n in tree.body if not (isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "CARD")]
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            del node.body[0]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


FILES = sorted((HOME / "methods").glob("*.py"))
ALONE = [file for file in FILES if not re.search(r"^from (\.|cl_ner_bench\.methods)", file.read_text(), re.MULTILINE)]


@pytest.mark.parametrize("file", ALONE, ids=lambda file: file.stem)
def test_built_in_methods_keep_the_fingerprint_of_one_file(file: Path) -> None:
    assert code_fingerprint(file, f"cl_ner_bench.methods.{file.stem}") == of_one_file(file)


@pytest.mark.parametrize("file", sorted({*FILES} - {*ALONE}), ids=lambda file: file.stem)
def test_those_that_extend_another_have_the_fingerprint_of_both(file: Path) -> None:
    assert code_fingerprint(file, f"cl_ner_bench.methods.{file.stem}") != of_one_file(file)


@pytest.mark.parametrize(
    "imported",
    [
        "from . import helper",
        "from .helper import scale",
        "from .helper import *",
        "def late():\n    from .helper import scale",
        "try:\n    from .helper import scale\nexcept ImportError:\n    scale = 1",
        "from . import between",
        "from .package import deep",
        "from .package.deep import x",
    ],
)
def test_a_helper_beside_the_file_is_code_of_the_method(tmp_path: Path, imported: str) -> None:
    through = "from .helper import scale\n"
    files = {
        "helper": "scale = 1\n",
        "between": through,
        "package/__init__": "",
        "package/deep": "from ..helper import scale\n",
    }
    write(tmp_path, files, mine=f"{RAISES}{imported}\n", unused="x = 1\n")
    assert not changed(tmp_path, "unused", "x = 2\n")
    assert not changed(tmp_path, "helper", '"""Told."""\n# at length\nscale = 1\n')
    assert changed(tmp_path, "helper", "scale = 2\n")
    moved = shutil.copytree(tmp_path, tmp_path.parent / f"{tmp_path.name}-moved")
    assert code_fingerprint(moved / "mine.py") == code_fingerprint(tmp_path / "mine.py")


def test_a_plug_ins_own_package_is_code_of_the_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside installed packages, in site-packages, its own modules alone are local."""
    site = tmp_path / "site-packages"
    folder = site / "theirs" / "sub"
    packages = {"theirs/__init__": "x = 1\n", "theirs/helper": "x = 1\n", "theirs/sub/__init__": ""}
    write(site, packages, other="x = 1\n")
    write(folder, mine="import other, numpy, json\nfrom ..helper import x\n")
    monkeypatch.syspath_prepend(site)
    for name, text, counts in (
        ("../helper", "x = 2\n", True),
        ("../__init__", "x = 2\n", True),
        ("__init__", "x = 2\n", True),
        ("../../other", "x = 2\n", False),
    ):
        assert changed(folder, name, text, "theirs.sub.mine") is counts, name
    assert "theirs" not in sys.modules


def test_what_no_installer_keeps_is_code_of_the_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module on PYTHONPATH has no version that identifies its code; an installed one has."""
    write(tmp_path, mine="import helper\nfrom lib.part import x\n")
    elsewhere = tmp_path / "elsewhere"
    write(elsewhere, {"lib/part": "x = 1\n"}, helper="x = 1\n")
    monkeypatch.syspath_prepend(elsewhere)
    assert changed(tmp_path, "elsewhere/helper", "x = 2\n")
    assert changed(tmp_path, "elsewhere/lib/part", "x = 2\n")
    (elsewhere / "helper-1.0.dist-info").mkdir()
    assert not changed(tmp_path, "elsewhere/helper", "x = 3\n")


def test_a_built_in_method_that_another_extends_is_code_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import cl_ner_bench

    copy = shutil.copytree(HOME / "methods", tmp_path / "suite" / "methods")
    monkeypatch.setattr(cl_ner_bench, "__path__", [*list(cl_ner_bench.__path__)[:1], str(copy.parent)])
    monkeypatch.setattr(cl_ner_bench.__spec__, "submodule_search_locations", cl_ner_bench.__path__)
    write(tmp_path, mine="from cl_ner_bench.methods.extendner import ExtendNER\n")
    text = (copy / "extendner.py").read_text()
    assert not changed(tmp_path, "suite/methods/extendner", f"{text}# more\n")
    assert changed(tmp_path, "suite/methods/extendner", f"{text}more = 1\n")


def test_a_helper_that_is_no_python_is_told_with_its_place(tmp_path: Path) -> None:
    file = write(tmp_path, mine="from . import helper\n", helper="x = 1\ny = = 2\n")
    with pytest.raises(UserError, match=r"helper\.py:2: not Python"):
        code_fingerprint(file)


def test_an_extension_counts_by_its_bytes(tmp_path: Path) -> None:
    from importlib.machinery import EXTENSION_SUFFIXES

    file = write(tmp_path, mine="from . import fast\n")
    (tmp_path / f"fast{EXTENSION_SUFFIXES[0]}").write_bytes(b"one")
    before = code_fingerprint(file)
    (tmp_path / f"fast{EXTENSION_SUFFIXES[0]}").write_bytes(b"two")
    assert code_fingerprint(file) != before


def test_imports_in_a_circle_end(tmp_path: Path) -> None:
    file = write(tmp_path, mine="from . import a\n", a="from . import b\n", b="from . import a, mine\n")
    assert len(code_fingerprint(file)) == 64


def test_helpers_of_two_folders_are_kept_apart(tmp_path: Path) -> None:
    text = f"{CARD}from cl_ner_bench import TagLearner\nfrom .helper import x\nclass M(TagLearner):\n    x = x\n"
    found = []
    for n in (1, 2):
        file = write(tmp_path / str(n), mine=text, helper=f"x = {n}\n")
        found.append(method_code.load_class(method_card.read_cards(file)[0]).x)  # type: ignore[attr-defined]
    assert found == [1, 2]


def test_a_helper_is_part_of_every_steps_key(tmp_path: Path) -> None:
    write_inputs(tmp_path / "inputs")
    file = write(tmp_path, mine=f"{CARD}from cl_ner_bench import TagLearner\n{METHOD}", helper="weight = 1\n")
    options = {"methods": str(file), "bounds": "none", "recipe": "minilm"}
    options |= {"dataset": str(tmp_path / "inputs" / "corpus"), "encoder": str(tmp_path / "inputs" / "encoder")}
    plans = []
    for text in ("weight = 1\n", "weight = 1  # as before\n", "weight = 2\n"):
        write(tmp_path, helper=text)
        plans.append(make_plan(layer(options)[0], ResultsFolder.open(tmp_path / "out")).runs[0].record)
    first, same, other = plans
    assert first.step_keys == same.step_keys
    assert not {*first.step_keys.values()} & {*other.step_keys.values()}
    assert first.config != other.config


@pytest.mark.slow
def test_the_suite_reads_methods_without_torch() -> None:
    code = (
        "import sys\nfrom cl_ner_bench import method_code, registry\n"
        "for card in registry.methods().values():\n"
        "    method_code.check_class(card)\n"
        "    method_code.code_fingerprint(card.file, card.module)\n"
        "sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], env=os.environ, cwd=HOME).returncode == 0
