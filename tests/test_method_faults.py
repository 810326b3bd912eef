"""Faults in a user's method: file, line and hook are named, and what can be known is found before anything starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cl_ner_bench import method_card, method_code, registry
from cl_ner_bench.cli.main import main
from cl_ner_bench.errors import UserError
from cl_ner_bench.learning.learner import Settings, TagLearner
from cl_ner_bench.method_card import MethodCard
from cl_ner_bench.method_faults import check_import, describe
from cl_ner_bench.running import grid
from cl_ner_bench.testing.conformance.suite import run_checks

METHOD = """
CARD = {"mine": {"class": "Mine", "architecture": "token", "settings": {"weight": 1.0}}}
from cl_ner_bench.learning.learner import TagLearner
from . import helper
class Mine(TagLearner):
    def losses(self, batch, output, teacher):
        return helper.scaled(batch, self)
"""
HELPER = """
def scaled(batch, learner):
    return {"ce": batch["loss"] * learner.settings["strength"]}
"""


@pytest.fixture
def card(tmp_path: Path) -> MethodCard:
    (tmp_path / "helper.py").write_text(HELPER)
    (tmp_path / "mine.py").write_text(METHOD)
    return method_card.read_cards(tmp_path / "mine.py")[0]


def fault(card: MethodCard, batch: object) -> str:
    """Return how a fault in the method's losses is told."""
    learner = method_code.load_class(card)
    one = learner.__new__(learner)
    object.__setattr__(one, "settings", Settings(card.settings))
    with pytest.raises((KeyError, UserError)) as error:
        one.losses(batch, None, None)
    return describe(error.value, card)


def test_hook_file_line_and_its_text_are_named(card: MethodCard) -> None:
    line = 'helper.py:3: return {"ce": batch["loss"] * learner.settings["strength"]}'
    assert fault(card, {}) == f"KeyError: 'loss', in Mine.losses, {card.file.parent}/{line}"
    said = fault(card, {"loss": 1.0})
    assert said.startswith("no setting 'strength' in the card's settings; it has weight.")
    assert said.endswith(f", in Mine.losses, {card.file.parent}/{line}")
    with pytest.raises(AttributeError) as error:
        TagLearner.losses(None, None, None, None)  # type: ignore[arg-type]
    assert describe(error.value, card).endswith(", in TagLearner.losses"), "what the method gave it is wrong"
    assert describe(ValueError("elsewhere\nsecond line"), card) == "ValueError: elsewhere"
    assert describe(ValueError("before there was a method"), None) == "ValueError: before there was a method"


def test_a_file_that_cannot_be_imported_starts_nothing(
    card: MethodCard, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check_import(card)
    other = tmp_path / "other.py"
    other.write_text(f"{METHOD}\nweights = missing\n")
    with pytest.raises(UserError, match=r"the file of mine cannot be imported: NameError: .*other\.py:9: weights"):
        check_import(method_card.read_cards(other)[0])
    row = json.dumps({"words": ["a"], "mentions": [[0, 1, "PER"]]})
    for part in ("train", "dev", "test"):
        (tmp_path / f"{part}.jsonl").write_text(f"{row}\n" * 8)
    words = ["--dataset", str(tmp_path), "--recipe", "minilm", "--out", str(tmp_path / "out")]
    assert main(["run", "--methods", f"spankl,{other}", *words]) == 2
    assert "other.py:9: weights = missing" in capsys.readouterr().err


def test_a_method_is_imported_by_the_driver_until_its_code_has_passed(
    card: MethodCard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CL_NER_BENCH_CACHE", str(tmp_path / "cache"))
    imported: list[str] = []
    monkeypatch.setattr(grid, "check_import", lambda card: imported.append(card.name) or check_import(card))

    def check(spec: str) -> list[str]:
        grid._check_methods(grid.prepare({"methods": [spec], "out": str(tmp_path / "out"), "max_sentences": 20}))
        found = [*imported]
        imported.clear()
        return found

    spec = str(card.file)
    assert check(spec) == ["mine"]
    assert check(spec) == []
    (tmp_path / "helper.py").write_text(f"{HELPER}# a comment")
    assert check(spec) == [], "the same code"
    (tmp_path / "helper.py").write_text(f"{HELPER}OTHER = 1")
    assert check(spec) == ["mine"], "other code"
    card.file.write_text(METHOD.replace('"weight": 1.0', '"weight": 2.0'))
    assert check(spec) == ["mine"], "another card"
    other = tmp_path / "other.py"
    other.write_text(f"{METHOD}\nweights = missing\n")
    for _ in range(2):
        with pytest.raises(UserError, match="cannot be imported"):
            check(str(other))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        ("losses(self, batch, output)", "Mine.losses takes (self, batch, output), but the hook is called with (self, "),
        ("begin_step(self)", "Mine.begin_step takes (self), but the hook is called with (self, step)"),
        ("losses(self, *args)", ""),
        ("rate(self, update, warmup, updates, power=2)", ""),
    ],
)
def test_a_hook_that_does_not_take_its_arguments_is_found_before_anything_starts(
    tmp_path: Path, hook: str, said: str
) -> None:
    (tmp_path / "helper.py").write_text(HELPER)
    (tmp_path / "mine.py").write_text(f"{METHOD}\n    def {hook}: pass\n")
    (card,) = method_card.read_cards(tmp_path / "mine.py")
    if not said:
        check_import(card)
        return
    with pytest.raises(UserError) as error:
        check_import(card)
    assert str(error.value).startswith(f"{tmp_path / 'mine.py'}:9: {said}")
    (result,) = run_checks(card)
    assert (result.check, result.fault) == ("card", str(error.value))


@pytest.mark.slow
def test_the_hooks_of_all_built_in_methods_take_their_arguments() -> None:
    for card in registry.methods().values():
        check_import(card)
