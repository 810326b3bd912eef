"""Cards are read without running code; names, labels and collisions are told apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cl_ner_bench import registry
from cl_ner_bench.errors import UserError
from tests.running_inputs import METHODS

EVERY_KEY = [
    *("class", "architecture", "data", "start", "first_step", "settings", "group", "label"),
    *("status", "paper", "year", "summary", "stores", "deviations"),
]


def write(folder: Path, text: str) -> str:
    file = folder / "mine.py"
    file.write_text(text)
    return str(file)


def labels(*names: str) -> list[str]:
    return [variant.label for variant in registry.resolve(names)]


def test_built_in_methods_have_complete_cards_and_load() -> None:
    cards = registry.methods()
    assert {"spankl", "extendner", "finetune-span", "finetune-token", "joint-span", "joint-token"} <= set(cards)
    for card in cards.values():
        row = card.to_json()
        assert [key for key in EVERY_KEY if key not in row] == []
        assert registry.load_class(card).architecture == card.architecture


@pytest.mark.parametrize("name", list(registry.GROUPS))
def test_a_group_stands_for_one_method_of_each_architecture(name: str) -> None:
    assert [v.card.architecture for v in registry.resolve([name])] == list(registry.ARCHITECTURES)


def test_names_given_twice_count_once_and_labels_name_variants() -> None:
    assert labels("finetune-span", "finetune", "nokd=spankl") == ["finetune-span", "finetune-token", "nokd"]
    assert registry.resolve(["nokd=spankl"])[0].card.name == "spankl"


def test_a_file_gives_all_of_its_methods_or_one() -> None:
    assert labels(str(METHODS))[:2] == ["good", "slow"]
    variant = registry.resolve([f"mine={METHODS}:slow"])[0]
    assert (variant.label, variant.card.class_name) == ("mine", "Slow")
    assert registry.load_class(variant.card).__name__ == "Slow"
    assert registry.resolve([variant.spec]) == [variant]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["spnkl"], "Did you mean 'spankl'"),
        ([], "at least one"),
        (["x=finetune"], "label them singly"),
        (["a=spankl", "a=extendner"], "two methods"),
        (["../x=spankl"], "label"),
        ([f"{METHODS}:bad"], "no method 'bad'"),
        (["/no/such.py"], "cannot be read"),
    ],
)
def test_wrong_names_are_explained(names: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said.replace("../", "")):
        registry.resolve(names)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1", "no CARD"),
        ("CARD = dict(a=1)", "literal"),
        ("CARD = [1]", "must be a dict"),
        ("CARD = {'m': {'class': 'M'}}", "'architecture' is missing"),
        ("CARD = {'m': {'class': 'M', 'architecture': 'spam'}}", "architecture must be one of span, token"),
        ("CARD = {'m': {'class': 'M', 'architecture': 'span', 'setings': {}}}", "Did you mean 'settings'"),
        ("CARD = {'m': {'class': 'M', 'architecture': 'span', 'settings': 3}}", "settings must be a dict"),
        (
            "CARD = {'m': {'class': 'M', 'architecture': 'span', 'data': 'union'}}",
            'group is memory-free by default.*write "group": "reference"',
        ),
        (
            "CARD = {'m': {'class': 'M', 'architecture': 'span', 'data': 'union', 'group': 'memory-free'}}",
            r"CARD\['m'\]: group is memory-free, but with data 'union'",
        ),
        ("CARD = {'../m': {'class': 'M', 'architecture': 'span'}}", "expected a name"),
        ("CARD = {", "not Python"),
    ],
)
def test_a_wrong_card_is_named_with_its_file(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        registry.resolve([write(tmp_path, text)])
    assert "mine.py" in str(error.value)


def test_a_name_that_is_taken_names_both_files(tmp_path: Path) -> None:
    file = write(tmp_path, "CARD = {'spankl': {'class': 'M', 'architecture': 'span'}}")
    with pytest.raises(UserError, match=r"spankl\.py.*mine\.py"):
        registry.resolve([file])
    assert labels(f"mine={file}") == ["mine"]


def test_entry_points_are_methods_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Point:
        name, module = "plugin", "tests.running_methods"

    monkeypatch.setattr(registry, "entry_points", lambda group: [Point()])
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: type("Spec", (), {"origin": str(METHODS)}))
    assert registry.methods()["good"].module == "tests.running_methods"


def test_a_class_that_is_no_learner_is_refused(tmp_path: Path) -> None:
    card: dict[str, Any] = {"m": {"class": "M", "architecture": "span"}}
    for body, said in (("class M: pass", "does not derive"), ("", "does not define")):
        (tmp_path / said[:9]).mkdir(exist_ok=True)
        file = tmp_path / f"{said.replace(' ', '_')}.py"
        file.write_text(f"CARD = {card}\n{body}\n")
        with pytest.raises(UserError, match=said):
            registry.load_class(registry.resolve([str(file)])[0].card)


def test_the_code_fingerprint_counts_code_alone(tmp_path: Path) -> None:
    code = "CARD = {'m': {'class': 'M', 'architecture': 'span', 'summary': '%s'}}\nclass M:\n    %s\n    x = %s\n"
    prints = []
    for summary, note, value in (("a", '"""Doc."""', 1), ("b", "# comment", 1), ("a", '"""Doc."""', 2)):
        prints.append(registry.code_fingerprint(Path(write(tmp_path, code % (summary, note, value)))))
    assert prints[0] == prints[1] != prints[2]
