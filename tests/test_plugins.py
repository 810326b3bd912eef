"""Methods and datasets of installed packages: read without running their code; none that is broken ends a command."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cl_ner_bench import method_code, registry
from cl_ner_bench.cli.main import main
from cl_ner_bench.corpora.cards import list_cards
from cl_ner_bench.corpora.find import find_card
from cl_ner_bench.errors import UserError
from cl_ner_bench.plugins import Registry

METHOD = (
    "CARD = {{{name!r}: {{'class': 'M', 'architecture': 'token'}}}}\n"
    "from cl_ner_bench import TagLearner\nclass M(TagLearner): pass\n"
)
CARD = 'title = "Theirs"\n[tasks]\na = ["A"]\n'

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Make an installed package on the import path: ``points`` are the lines of entry_points.txt by group."""
    site = tmp_path / "site-packages"
    site.mkdir()
    monkeypatch.syspath_prepend(site)

    def make(name: str, files: dict[str, str], points: dict[str, list[str]]) -> None:
        info = site / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [line for group, rows in points.items() for line in (f"[cl_ner_bench.{group}]", *rows)]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        for path, text in files.items():
            (site / path).parent.mkdir(parents=True, exist_ok=True)
            (site / path).write_text(text)
        read_anew()

    def read_anew() -> None:
        registry.methods.cache_clear()
        list_cards.cache_clear()

    yield make
    monkeypatch.undo()
    read_anew()


RUNS = {"theirs/__init__.py": "raise SystemExit('it was run')\n"}
BROKEN: dict[str, tuple[dict[str, str], dict[str, list[str]], str, str]] = {
    # what: files, entry points, the name that is broken, what is said of it
    "no Python": ({"theirs/m.py": "CARD = {"}, {"methods": ["bad = theirs.m"]}, "bad", r"m\.py:1: not Python"),
    "no card": ({"theirs/m.py": "x = 1"}, {"methods": ["bad = theirs.m"]}, "bad", "no CARD found"),
    "no module": ({}, {"methods": ["bad = theirs.missing"]}, "bad", "there is no such module"),
    "no package": ({}, {"methods": ["bad = nobodys.m"]}, "bad", "there is no such module"),
    "no name": ({}, {"methods": ["bad = not a module!"]}, "bad", "there is no such module"),
    "a folder": ({"theirs/m/x.txt": ""}, {"methods": ["bad = theirs.m"]}, "bad", "expected the module of a method"),
    "not TOML": ({"theirs/cards/mine.toml": "["}, {"datasets": ["bad = theirs.cards"]}, "mine", r"mine\.toml.*TOML"),
    "no cards": ({"theirs/cards/x.txt": ""}, {"datasets": ["bad = theirs.cards"]}, "bad", "expected a folder of cards"),
    "code": ({"theirs/cards.py": "card = 1"}, {"datasets": ["bad = theirs.cards:card"]}, "bad", "expected a folder of"),
    "no entries": ({}, {"methods": ["theirs.m"], "datasets": []}, "theirs", r"entry_points\.txt cannot be read"),
}


def ask(name: str, points: dict[str, list[str]]) -> None:
    """Name a method or a dataset, as a command does."""
    if "methods" in points:
        registry.resolve([name])
    else:
        find_card(name)


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_plug_in_ends_nothing_else(
    what: str, install: Install, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(method_code, "needs", lambda _: [])  # all methods' code would be read for each case
    files, points, name, said = BROKEN[what]
    install("theirs", RUNS | files, points)
    assert registry.resolve(["finetune"])
    assert find_card("synthetic")[0].name == "synthetic"
    with pytest.raises(UserError, match=said):
        ask(name, points)
    with pytest.raises(UserError, match=said):  # an unknown name may be one of those that cannot be read
        ask("unheard", points)
    kind = next(iter(points))
    assert main(["list", kind]) == 0
    assert f"broken: {name}" in capsys.readouterr().out
    assert main(["list", kind, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in found["broken"]] == [name]
    assert name not in [row["name"] for row in found[kind]]
    assert main(["list", "scenarios"]) == 0
    assert "theirs" not in sys.modules


def test_plug_ins_are_listed_without_running_them(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    files = {"theirs/sub/m.py": METHOD.format(name="extra"), "theirs/cards/extra-set.toml": CARD}
    install("theirs", RUNS | files, {"methods": ["any = theirs.sub.m"], "datasets": ["any = theirs.cards"]})
    for kind, name in (("methods", "extra"), ("datasets", "extra-set")):
        assert main(["list", kind, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert name in [row["name"] for row in found[kind]]
        assert "broken" not in found
    assert list_cards()["extra-set"].types == ("A",)
    method_code.check_class(registry.methods()["extra"])
    assert "theirs" not in sys.modules
    assert registry.methods()["extra"].module == "theirs.sub.m"


def test_a_plug_ins_method_is_loaded_from_its_package(install: Install) -> None:
    method = METHOD.format(name="extra2") + "from .helper import x\n"
    install(
        "ours", {"ours/__init__.py": "", "ours/m.py": method, "ours/helper.py": "x = 1"}, {"methods": ["m = ours.m"]}
    )
    try:
        assert method_code.load_class(registry.methods()["extra2"]).__module__ == "ours.m"
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "ours"]:
            del sys.modules[name]


def test_names_that_two_give_stand_for_neither(install: Install) -> None:
    for package, name in (("one", "same"), ("two", "same"), ("three", "spankl")):
        install(package, {f"{package}.py": METHOD.format(name=name)}, {"methods": [f"{name} = {package}"]})
    install("four", {"four/cards/fewnerd.toml": CARD}, {"datasets": ["x = four.cards"]})
    with pytest.raises(UserError, match=r"two methods are called 'same': .*one\.py \(one\) and .*two\.py \(two\)"):
        registry.resolve(["same"])
    with pytest.raises(UserError, match=r"two methods are called 'spankl': .*spankl\.py and .*three\.py \(three\)"):
        registry.resolve(["spankl"])
    with pytest.raises(UserError, match=r"two datasets are called 'fewnerd': .*fewnerd\.toml and .*\(four\)"):
        find_card("fewnerd")
    assert registry.resolve(["finetune"])
    assert find_card("synthetic")


def test_a_file_of_a_broken_plug_ins_name_is_told_both_sides(install: Install, tmp_path: Path) -> None:
    install("theirs", {"theirs.py": "CARD = {"}, {"methods": ["mine = theirs"]})
    (tmp_path / "mine.py").write_text(METHOD.format(name="mine"))
    with pytest.raises(UserError, match=r"two methods are called 'mine': the entry point 'mine' of theirs.*mine\.py"):
        registry.resolve([str(tmp_path / "mine.py")])
    assert registry.resolve([f"own={tmp_path / 'mine.py'}"])


def test_a_registry_raises_for_broken_names_and_counts_them_as_taken() -> None:
    found: Registry[int] = Registry("thing")
    found.add("good", "here", 1)
    found.add("bad", "there", UserError("torn"))
    assert dict(found) == {"good": 1}
    assert "bad" in found
    assert "none" not in found
    with pytest.raises(UserError, match="torn"):
        found["bad"]
    found.add("good", "there", 2)
    with pytest.raises(UserError, match="two things are called 'good': here and there; rename one"):
        found["good"]
