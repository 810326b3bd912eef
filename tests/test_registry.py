"""Cards are read without running code; names, labels and collisions are distinguished."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from cl_ner_bench import HOME, method_card, method_code, registry
from cl_ner_bench.cli.main import main
from cl_ner_bench.errors import UserError
from cl_ner_bench.testing.grids import METHODS

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
        assert method_code.load_class(card).architecture == card.architecture


@pytest.mark.parametrize("name", ["finetune", "joint", "joint-warm", "single-task", "replay"])
def test_a_group_stands_for_one_method_of_each_architecture(name: str) -> None:
    assert [v.card.architecture for v in registry.resolve([name])] == list(method_card.ARCHITECTURES)


def test_a_pattern_stands_for_all_names_that_fit() -> None:
    assert labels("spankl*", "spankl") == ["spankl", "spankl-nokd", "spankl-mse", "spankl-softmax"]
    assert labels("average+finetune-*") == ["average+finetune-span", "average+finetune-token"]
    assert labels("*") == [*registry.methods()]


def test_names_given_twice_count_once_and_labels_name_variants() -> None:
    assert labels("finetune-span", "finetune", "nokd=spankl") == ["finetune-span", "finetune-token", "nokd"]
    assert registry.resolve(["nokd=spankl"])[0].card.name == "spankl"


def test_a_file_gives_all_of_its_methods_or_one() -> None:
    assert labels(str(METHODS))[:2] == ["good", "slow"]
    variant = registry.resolve([f"mine={METHODS}:slow"])[0]
    assert (variant.label, variant.card.class_name) == ("mine", "Slow")
    assert method_code.load_class(variant.card).__name__ == "Slow"
    assert registry.resolve([variant.spec]) == [variant]


def test_the_file_of_a_known_method_stands_for_its_methods() -> None:
    """Its path is no second method of the same name."""
    assert labels(str(HOME / "methods" / "ewc.py")) == ["ewc-span", "ewc-token", "mas-span", "mas-token"]
    assert labels(f"{HOME / 'methods' / 'spankl.py'}:spankl") == ["spankl"]


def test_variants_share_what_the_card_says_once(tmp_path: Path) -> None:
    shared = "'class': 'M', 'architecture': 'span', 'settings': {'a': 1}"
    file = write(
        tmp_path, f"CARD = {{{shared}, 'variants': {{'m': {{'label': 'Em'}}, 'n': {{'settings': {{'a': 2}}}}}}}}"
    )
    m, n = method_card.read_cards(Path(file))
    assert (m.name, m.label, m.class_name, m.settings) == ("m", "Em", "M", {"a": 1})
    assert (n.name, n.label, n.class_name, n.settings) == ("n", "n", "M", {"a": 2})


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["spnkl"], "Did you mean 'spankl'"),
        (["spnkl*"], "no method's name fits 'spnkl\\*'"),
        (["SPANKL"], "Did you mean 'spankl'"),
        (["SpanKL without kd"], "Did you mean 'spankl-nokd'"),
        ([], "at least one"),
        (["x=finetune"], "label them singly"),
        (["a=spankl", "a=extendner"], "two methods"),
        (["../x=spankl"], "label"),
        ([f"{METHODS}:bad"], "no method 'bad'"),
        (["/no/such.py"], "--methods /no/such.py: there is no file /no/such.py"),
        ([str(METHODS.with_name("Grid_method.py"))], "Did you mean 'grid_methods.py'"),
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
        ("CARD = {'m': {'class': 'M'}}", "'architecture' is missing: expected one of span"),
        (
            "CARD = {'m': {'class': 'M', 'architecture': 'spam'}}",
            "found 'spam'. Did you mean 'span'",
        ),
        ("CARD = {'m': {'class': 'M', 'architecture': 'span', 'setings': {}}}", "Did you mean 'settings'"),
        (
            "CARD = {'m': {'class': 'M', 'architecture': 'span', 'settings': 3}}",
            "'settings': expected a dict of",
        ),
        (
            "CARD = {'m': {'class': 'M', 'architecture': 'span', 'recipes': {'paper': {'epoch': 3}}}}",
            "unknown key 'recipes.paper.epoch'.*Did you mean 'epochs'",
        ),
        (
            "CARD = {'m': {'class': 'M', 'architecture': 'span', 'recipes': {'paper': {'lr': -1}}}}",
            "'recipes.paper.lr': expected a number of at least 0",
        ),
        (
            "CARD = {'m': {'class': 'M', 'architecture': 'span', 'data': 'union'}}",
            'group is memory-free by default.*write "group": "reference"',
        ),
        (
            "CARD = {'m': {'class': 'M', 'architecture': 'span', 'data': 'union', 'group': 'memory-free'}}",
            r"CARD\['m'\]: group is memory-free, but with data 'union'",
        ),
        (
            "CARD = {'m': {'class': 'M', 'architecture': 'span', 'settings': {'a': {1}}}}",
            "'settings': expected a dict of",
        ),
        (
            "CARD = {'m': {'class': 'M', 'architecture': 'span', 'settings': {'a': 'x'}, 'files': ['a']}}",
            "'files': expected names of settings whose default is '', found",
        ),
        ("CARD = {'m': {'class': 'M', 'architecture': 'span', 'paper': 3}}", "key 'paper': expected a text, found 3"),
        (
            "CARD = {'m': {'class': 'M', 'architecture': 'span', 'year': '2023'}}",
            "'year': expected a whole number",
        ),
        ("CARD = {'class': 'M', 'variants': 3}", "key 'variants': expected a table, found 3"),
        ("CARD = {'class': 'M', 'variants': {'m': {}}}", r"CARD\['m'\]: key 'architecture' is missing"),
        ("CARD = {'class': 'M', 'architecture': 'span', 'variants': {'m': 3}}", "expected a name of letters"),
        ("CARD = {['m']: 1}", "literal"),
        ("CARD = {}\0", "not Python"),
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


SPAN, TOKEN = ({"m": {"class": "M", "architecture": architecture}} for architecture in method_card.ARCHITECTURES)
IMPORT = "from cl_ner_bench.learning.learner import Learner, SpanLearner, TagLearner\n"
OTHER = r"'m'\]: architecture is 'span', but the class 'M' derives from TagLearner; write 'token', or"


@pytest.mark.parametrize(
    ("card", "body", "said"),
    [
        (SPAN, "class M: pass", "'M', but it does not derive from SpanLearner or TagLearner"),
        (SPAN, f"{IMPORT}class M(Learner): pass", "'M', but it does not derive"),
        (SPAN, "", "the file does not define it"),
        (SPAN, "from cl_ner_bench import TagLearner as Base\nclass M(Base): pass", OTHER),
        (SPAN, "import cl_ner_bench.learning.learner as l\nclass M(l.TagLearner): pass", OTHER),
        (SPAN, f"{IMPORT}class A(TagLearner): pass\nclass B: pass\nclass M(B, A): pass", OTHER),
        (SPAN, "from .helper import Helped\nM = Helped", OTHER),
        (SPAN, "from . import helper\nclass M(helper.Helped): pass", OTHER),
        (SPAN, "from cl_ner_bench.methods.extendner import ExtendNER\nclass M(ExtendNER): pass", OTHER),
        (TOKEN, "from cl_ner_bench.methods.extendner import ExtendNER\nclass M(ExtendNER): pass", ""),
        (TOKEN, "from . import helper\nclass M(helper.Helped): pass", ""),
        (SPAN, f"{IMPORT}from typing import Generic, TypeVar\nclass M(SpanLearner, Generic[TypeVar('T')]): pass", ""),
    ],
)
def test_a_class_is_what_its_card_says(tmp_path: Path, card: dict[str, Any], body: str, said: str) -> None:
    """Read from the source before anything starts, and seen in the class that a run loads: one message."""
    (tmp_path / "helper.py").write_text(f"{IMPORT}class Helped(TagLearner): pass\n")
    (found,) = method_card.read_cards(Path(write(tmp_path, f"CARD = {card}\n{body}\n")))
    messages = []
    for check in (method_code.check_class, method_code.load_class):
        if said:
            with pytest.raises(UserError, match=said) as error:
                check(found)
            messages.append(str(error.value))
        else:
            check(found)
    assert messages == messages[:1] * 2 * bool(said)


def test_a_card_of_another_architecture_starts_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path, f"CARD = {SPAN}\n{IMPORT}raise SystemExit('it was run')\nclass M(TagLearner): pass\n")
    assert main(["run", "--methods", f"spankl,{file}", "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert re.search(OTHER, error)
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "body",
    [
        f"{IMPORT}def made(): return TagLearner\nM = made()",
        f"{IMPORT}globals()['M'] = TagLearner",
        "from .helper import *",
        "import helper_elsewhere\nclass M(helper_elsewhere.M): pass",
        "class M(Missing): pass",
    ],
)
def test_a_class_that_cannot_be_read_is_left_to_the_run(tmp_path: Path, body: str) -> None:
    (tmp_path / "helper.py").write_text(f"{IMPORT}class M(TagLearner): pass\n")
    (card,) = method_card.read_cards(Path(write(tmp_path, f"CARD = {SPAN}\n{body}\n")))
    method_code.check_class(card)
    with pytest.raises((UserError, ImportError, NameError)):
        method_code.load_class(card)


def test_the_code_fingerprint_counts_code_alone(tmp_path: Path) -> None:
    code = "CARD = {'m': {'class': 'M', 'architecture': 'span', 'summary': '%s'}}\nclass M:\n    %s\n    x = %s\n"
    prints = []
    for summary, note, value in (("a", '"""Doc."""', 1), ("b", "# comment", 1), ("a", '"""Doc."""', 2)):
        prints.append(method_code.code_fingerprint(Path(write(tmp_path, code % (summary, note, value)))))
    assert prints[0] == prints[1] != prints[2]


PLUG_IN = """
CARD = {"plug": {"class": "Plug", "architecture": "any", "label": "Plug", "first_step": "base", "settings": {"a": 1}}}
from cl_ner_bench.learning.learner import Learner
class Plug(Learner):
    needs = frozenset({"all_embeddings"})
    def losses(self, batch, output, teacher):
        return super().losses(batch, output, teacher) | {"plug": output.logits.new_zeros(())}
"""


def test_a_plug_in_changes_each_base_learner_and_any_method(tmp_path: Path) -> None:
    file = write(tmp_path, PLUG_IN)
    for spec, expected in {
        file: ["plug-span", "plug-token"],
        f"{file}:plug": ["plug-span", "plug-token"],
        f"{file}:plug-token": ["plug-token"],
        f"{file}:plug+extendner": ["plug+extendner"],
        f"{file}+finetune": ["plug+finetune-span", "plug+finetune-token"],
        f"ewc+{file}:plug+spankl": ["ewc+plug+spankl"],
    }.items():
        variants = registry.resolve([spec])
        assert [v.label for v in variants] == expected
        assert [registry.resolve([v.spec]) for v in variants] == [[v] for v in variants]
        for variant in variants:
            method_code.check_class(variant.card)
            learner = method_code.load_class(variant.card)
            assert learner.architecture == variant.card.architecture
            assert learner.__mro__[1].__name__ in ("Plug", "EWC")


def test_a_plug_in_adds_its_settings_needs_and_code(tmp_path: Path) -> None:
    file = write(tmp_path, PLUG_IN)
    (both,), (base,) = registry.resolve([f"{file}+extendner"]), registry.resolve(["extendner"])
    assert both.card.settings == {**base.card.settings, "a": 1}
    assert (both.title, both.card.first_step) == ("Plug + ExtendNER", "base")
    before = method_code.method_fingerprint(both.card)
    write(tmp_path, PLUG_IN.replace("zeros", "ones"))
    assert method_code.method_fingerprint(both.card) != before != method_code.method_fingerprint(base.card)
    learner: Any = method_code.load_class(both.card)
    assert learner.needs.fget(None) == {"all_embeddings", "teacher"}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("{file}+joint-span", "joint-span does not go on from the previous step's model"),
        ("{file}+{file}:plug-span", "both have the setting 'a'"),
        ("{file}:plg+extendner", "has no method 'plg'"),
        ("ewc+ncm", "ncm solves in closed form, so ewc would change nothing"),
        ("evc+extendner", "'evc' is no plug-in. Did you mean 'ewc'?"),
        ("extendner+spankl", "'extendner' is no plug-in"),
    ],
)
def test_what_does_not_fit_together_is_refused(tmp_path: Path, spec: str, expected: str) -> None:
    with pytest.raises(UserError, match=re.escape(expected)):
        registry.resolve([spec.format(file=write(tmp_path, PLUG_IN))])


def test_a_file_before_a_plus_holds_one_plug_in_or_names_it(tmp_path: Path) -> None:
    two = 'CARD = {"class": "Plug", "architecture": "any", "variants": {"smooth": {}, "noise": {}}}\n'
    file = write(tmp_path, two)
    with pytest.raises(UserError, match=r"holds several plug-ins \(smooth, noise\); write .*:smooth\+extendner$"):
        registry.resolve([f"{file}+extendner"])
    assert [v.label for v in registry.resolve([f"{file}:noise+extendner"])] == ["noise+extendner"]
    file = write(tmp_path, 'CARD = {"mine": {"architecture": "token"}}')
    for spec in (file, f"{file}:mine"):
        with pytest.raises(
            UserError, match=r'holds no plug-in: its card must say "architecture": "any", and its class'
        ):
            registry.resolve([f"{spec}+extendner"])


def test_the_class_of_a_plug_in_derives_from_learner_alone(tmp_path: Path) -> None:
    file = write(tmp_path, PLUG_IN.replace("Learner", "TagLearner"))
    with pytest.raises(UserError, match="architecture is 'any', but the class 'Plug' derives from TagLearner"):
        method_code.check_class(registry.resolve([file])[0].card)


def test_every_setting_of_a_built_in_method_has_a_line_of_help() -> None:
    cards = registry.methods().values()
    assert {card.name: {*card.settings} - {*card.help} for card in cards if card.settings.keys() - card.help} == {}
    assert all(line == line.strip() and 0 < len(line) <= 100 for card in cards for line in card.help.values())
    assert (
        registry.resolve(["ewc+spankl"])[0].card.help.keys()
        == {"kd_weight"} | registry.methods()["ewc-span"].help.keys()
    )


def test_help_is_of_settings_that_there_are(tmp_path: Path) -> None:
    wrong = "CARD = {'m': {'architecture': 'span', 'settings': {'a': 1}, 'help': {'b': 'B.'}}}"
    with pytest.raises(UserError, match=r"'help': expected lines on a, found \['b'\]"):
        registry.resolve([write(tmp_path, wrong)])
    shared = "'architecture': 'span', 'help': {'a': 'A.', 'b': 'B.'}"
    file = write(tmp_path, f"CARD = {{{shared}, 'variants': {{'m': {{'settings': {{'a': 1}}}}, 'n': {{}}}}}}")
    assert [card.help for card in method_card.read_cards(Path(file))] == [{"a": "A."}, {}]


def test_needs_are_read_without_running_the_file(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text(f"{IMPORT}class Base(TagLearner):\n    needs = frozenset({{'memory'}})\n")
    body = "from .helper import Base\nclass M(Base): pass\nraise SystemExit"
    (card,) = method_card.read_cards(Path(write(tmp_path, f"CARD = {TOKEN}\n{body}\n")))
    assert method_code.needs(card) == ["memory"]
    assert method_code.needs(registry.methods()["extendner"]) == ["teacher"]
    assert method_code.needs(registry.methods()["finetune-token"]) == []
    assert method_code.needs(registry.methods()["derpp-span"]) == ["memory"], "inherited from another method's class"
    assert method_code.needs(registry.methods()["spankl"]) == ["teacher"], "a property that depends on a setting"
    assert method_code.needs(registry.resolve(["ewc+extendner"])[0].card) == ["all_embeddings", "teacher"]
