"""Keys of steps: everything that decides a number decides its step's key, and nothing else does."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cl_ner_bench import method_code, registry
from cl_ner_bench.corpora.cards import recipe
from cl_ner_bench.running import environment, grid_data
from cl_ner_bench.running.keys import numeric_identity
from cl_ner_bench.running.layers import layer
from cl_ner_bench.running.options import OPTIONS
from cl_ner_bench.running.plan import make_plan
from cl_ner_bench.running.runs import Plan
from cl_ner_bench.storage.files import digest, write_json
from cl_ner_bench.storage.folder import ResultsFolder
from cl_ner_bench.testing.grids import write_inputs

CASES = 1_000
BASE = {"methods": "spankl,finetune-token", "bounds": "none", "recipe": "minilm"}
OWN = """CARD = {"own": {"class": "Own", "architecture": "token", "settings": {"weight": 1.0}}}

from cl_ner_bench.learning.learner import TagLearner


class Own(TagLearner):
    def weight(self, x, name="w"):
        return x * self.settings["weight"] + 1
"""
SAME_CODE = '''"""A method.

Its docstring.
"""
# A comment.
from cl_ner_bench.learning.learner import TagLearner

CARD = {"own": {"class": "Own", "architecture": "token", "settings": {"weight": 1.0}, "summary": "told at length"}}

class Own(TagLearner):
    """A class of a local module."""

    def weight(self, x, name='w'):
        """How much.

        Told at length."""
        return (  # here too
            x * self.settings['weight'] + 1
        )
'''


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inputs, the same ones elsewhere (``copy``), and ones of the same names that differ a little (``other``)."""
    home = tmp_path_factory.mktemp("identity")
    write_inputs(home)
    for place in ("copy", "other"):
        for name in ("corpus", "encoder"):
            shutil.copytree(home / name, home / place / name)
    train = home / "other/corpus/train.jsonl"
    train.write_text(train.read_text().replace('"went"', '"goes"', 1))
    config = home / "other/encoder/config.json"
    write_json(config, json.loads(config.read_bytes()) | {"layer_norm_eps": 1e-5})
    for place, text in (("", OWN), ("copy", SAME_CODE)):
        (home / place / "own.py").write_text(text)
    split = planned(home).runs[0].split
    (home / "split.json").write_text(json.dumps(split.to_json()))
    return home


@pytest.fixture(scope="module", autouse=True)
def read_once() -> Iterator[None]:
    """Files that do not change here are read once, so that a thousand grids are planned in seconds."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("Program", "code_fingerprint"):
            patch.setattr(method_code, name, cache(getattr(method_code, name)))
        patch.setattr(grid_data, "load_corpus", cache(grid_data.load_corpus))
        yield


def planned(home: Path, **options: Any) -> Plan:
    inputs = {"dataset": str(home / "corpus"), "encoder": str(home / "encoder")}
    return make_plan(layer(BASE | inputs | options)[0], ResultsFolder.open(home / "out"))


def keys(plan: Plan) -> dict[tuple[str, int, int], dict[str, str]]:
    """Return the keys of each run's steps, by a name of the run that is the same everywhere."""
    found = {}
    for run in plan.runs:
        record = run.record
        found[record.registry_name, record.order, record.seed] = record.step_keys
    return found


# Each option of `bench run`, alone


def meanings(home: Path) -> dict[str, list[list[Any]]]:
    """Values of every option: those that stand together mean the same computation, others change every step's key.

    Options that only choose which runs there are leave the keys of the runs in common alone.
    """
    last_first = {"methods": ["finetune-token", "spankl"]}
    return {
        "methods": [["spankl,finetune-token", last_first["methods"], "joint,other-name=spankl,finetune-token"]],
        "bounds": [["none", "auto"]],
        "set": [[{}, {"spankl": {"epochs": 4}}], [{m: {"epochs": 5} for m in ("spankl", "finetune-token")}]],
        "dataset": [[str(home / "corpus"), str(home / "copy/corpus")], [str(home / "other/corpus")]],
        "data": [[None, str(home / "copy/corpus")], [str(home / "other/corpus")]],
        "parts": [["80,10,10", [80, 10, 10]], ["70,20,10"]],
        "tasks": [[None, "DATE;LOC;PER"], ["PER;LOC;DATE"], ["PER,DATE;LOC"]],
        "scenario": [["split"], ["filter"], ["fg2-pg1"]],
        "orders": [["0", "1,0"]],
        "split_seed": [[1, "1"], [2]],
        "split": [[None, str(home / "split.json")]],
        "max_sentences": [[None, 24, 1000], [20], [21]],
        "seeds": [["0", "1,0"]],
        "encoder": [[str(home / "encoder"), str(home / "copy/encoder")], [str(home / "other/encoder")]],
        "recipe": [["minilm"], ["paper"]],
        "epochs": [[None, 4, "4"], [5]],
        "batch_size": [[None, 16], [8]],
        "lr": [[None, 2e-4, "0.0002"], [0], [1, "1.0"]],
        "head_lr": [[None, 3e-3], [1e-3]],
        "warmup_share": [[None, 0.1], [0.2]],
        "warmup_updates": [[None, 200], [20]],
        "clip": [[None, 1], [2.0]],
        "max_length": [[None, 512], [64]],
        "max_span_width": [[3], [4]],
        "pool": [[1], [2]],
        "joint_steps": [[None, "all", "last"]],
        "training_check": [[False, True]],
        "nested": [[False], [True]],
        "device": [["auto", "cpu"]],
        "precision": [["auto", "fp32"], ["bf16"]],
        "exact": [[False], [True]],
        "threads": [[1], [2]],
        "jobs": [[None, 1, 7]],
        "gpus_per_run": [[1.0, 0.5]],
        "backend": [["loky", "dask"]],
        "scheduler": [[None, "tcp://127.0.0.1:8786"]],
        "slurm": [[{}, {"partition": "short"}]],
        "timeout": [[None, 5.0]],
        "checkpoint_seconds": [[60.0, 0]],
        "no_report": [[False, True]],
        "tracker": [[None, "tensorboard"]],
        "store": [[None, "memory://grid"]],
        "out": [[None, "somewhere/else"]],
        "replace": [[(), ("spankl",)]],
        "keep_models": [["last", "all", "none"]],
    }


def test_every_option_is_listed(home: Path) -> None:
    assert meanings(home).keys() == OPTIONS.keys(), "say of a new option which of its values mean the same"


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_changes_keys_where_it_changes_numbers_and_nowhere_else(home: Path, name: str) -> None:
    others: dict[str, Any] = {}
    if name == "exact":
        others = {"max_span_width": 0, "pool": 1}
    elif name == "parts":
        others = {"dataset": str(home / "corpus/train.jsonl")}
    found = [
        (group, value, planned(home, **{name: value}, **others))
        for group, values in enumerate(meanings(home)[name])
        for value in values
    ]
    for (group, value, one), (other_group, other_value, other) in combinations(found, 2):
        ours, theirs = keys(one), keys(other)
        common = ours.keys() & theirs.keys()
        assert common
        for run in common:
            same = {step for step in ours[run].keys() & theirs[run].keys() if ours[run][step] == theirs[run][step]}
            wanted = ours[run].keys() & theirs[run].keys() if group == other_group else set()
            assert same == wanted, f"{run}: --{name} {value} and {other_value}"
        # Orders are counted from tasks by hand and from a replayed split: a run of these has a name of its own.
        if name not in ("tasks", "split", "scenario"):
            configs = [{r.record.registry_name: r.record.config for r in p.runs} for p in (one, other)]
            equal = {configs[0][m] == configs[1][m] for m in configs[0].keys() & configs[1].keys()}
            assert equal == {group == other_group}, f"--{name} {value} and {other_value}"


def test_devices_of_one_kind_share_keys(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_cuda_devices", lambda: 2)
    cpu, *cuda = (keys(planned(home, device=d, precision="fp32")) for d in ("cpu", "cuda", "cuda:0", "cuda:1", "auto"))
    assert all(other == cuda[0] for other in cuda)
    assert not {k for run in cpu.values() for k in run.values()} & {k for run in cuda[0].values() for k in run.values()}


def test_a_methods_own_setting_leaves_the_base_learners_step_alone(home: Path) -> None:
    one, other = (keys(planned(home, set={"spankl": {"kd_weight": weight}})) for weight in (1, 2.0))
    assert one["finetune-token", 0, 0] == other["finetune-token", 0, 0]
    spankl = one["spankl", 0, 0], other["spankl", 0, 0]
    assert [spankl[0][k] == spankl[1][k] for k in ("1", "2", "3")] == [True, False, False]


def test_a_users_method_is_known_by_its_code_and_not_by_its_place(home: Path, tmp_path: Path) -> None:
    changed = tmp_path / "own.py"
    changed.write_text(OWN.replace("+ 1", "+ 2"))
    files = (home / "own.py", home / "copy/own.py", changed)
    one, moved, other = (keys(planned(home, methods=f"{file}:own"))["own", 0, 0] for file in files)
    assert one == moved
    assert not set(one.values()) & set(other.values())


# Generated grids


# A replayed split forbids other options, and only what is in no parts can be divided.
CHOICES = st.tuples(st.sampled_from([name for name in OPTIONS if name not in ("split", "parts")]), st.integers(0, 5))
SEEDS = st.integers(0, 2**32)


def options_of(home: Path, chosen: Mapping[str, int], rng: random.Random) -> dict[str, Any]:
    found = {}
    for name, number in chosen.items():
        values = [value for group in meanings(home)[name] for value in group]
        found[name] = values[number % len(values)]
    if "other-name" in found.get("methods", ""):
        found.pop("set", None)  # which speaks of spankl
    if found.get("exact"):
        found |= {"max_span_width": 0, "pool": 1}
    return dict(rng.sample([*found.items()], len(found)))


def content(path: str) -> str:
    """Return the inputs of one name that a path leads to."""
    return "other" if Path(path).parent.name == "other" else "plain"


def computations(made: Plan, options: Mapping[str, Any]) -> dict[tuple[str, int, int], dict[str, str]]:
    """Return the inputs of each step without its key: the arguments of its trainer, and the steps before."""
    found: dict[tuple[str, int, int], dict[str, str]] = {}
    for run in made.runs:
        record = run.record
        card = registry.methods()[record.registry_name]
        training = dict(recipe(made.corpus.card, options.get("recipe") or "minilm", card.architecture))
        training |= {k: float(v) for k in training if (v := options.get(k)) is not None}
        training |= options.get("set", {}).get(record.method, {})
        seen = {
            **{k: float(v) for k, v in training.items()},
            "encoder": content(options.get("encoder") or "plain"),
            "precision": "bf16" if options.get("precision") == "bf16" else "fp32",
            **{k: options.get(k) or False for k in ("exact", "nested")},
            "threads": options.get("threads", 1),
            "seed": record.seed,
            # The next two only decide what is given, and are kept for certainty.
            "split_seed": int(options.get("split_seed", 1)),
            "sample": n if (n := options.get("max_sentences")) is not None and n < 24 else None,
            "corpus": content(options.get("data") or options.get("dataset") or "plain"),
            "tasks": sorted(made.corpus.card.tasks.items()),
        }
        steps: dict[str, str] = {}
        parent = None
        for step in record.steps:
            data = run.split.step_data(made.corpus, step, card.is_cumulative, card.start == "pretrained")
            scored = {name: sorted(types) for name, types in run.split.scored_types(step).items()}
            test = (scored, run.split.test_part(made.corpus, step))
            base = step == 1 and card.first_step == "base"
            method = card.architecture if base else (card.name, card.settings)
            told = json.dumps([seen, repr(data), repr(test), repr(method), parent], sort_keys=True)
            steps[str(step)] = digest(told)
            parent = steps[str(step)] if card.start == "previous" else None
        found[record.registry_name, record.order, record.seed] = steps
    return found


@pytest.mark.slow
@settings(max_examples=CASES)
@given(st.lists(CHOICES, max_size=6), st.lists(CHOICES, min_size=1, max_size=3), SEEDS)
def test_keys_are_equal_where_the_same_is_computed_and_nowhere_else(
    home: Path, base: list[tuple[str, int]], changes: list[tuple[str, int]], seed: int
) -> None:
    rng = random.Random(seed)
    told: set[tuple[str, str]] = set()
    for options in (options_of(home, one, rng) for one in (dict(base), dict([*base, *changes]))):
        made = planned(home, **options)
        known, facts = keys(made), computations(made, options)
        told |= {(key, facts[run][step]) for run, row in known.items() for step, key in row.items()}
    assert len(told) == len({key for key, _ in told}) == len({fact for _, fact in told})


@given(SEEDS)
def test_keys_do_not_depend_on_the_order_in_which_anything_is_written(home: Path, seed: int) -> None:
    rng = random.Random(seed)
    run = planned(home).runs[0]
    card, own = registry.methods()["spankl"], {"b": 1, "a": {"y": 2, "x": 3}}
    facts = (run.record.settings | {"method": own}, run.record.fingerprints)
    assert digest(numeric_identity(card, *facts)) == digest(
        numeric_identity(card, *(shuffled(fact, rng) for fact in facts))
    )


def shuffled(value: Any, rng: random.Random) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: shuffled(value[key], rng) for key in rng.sample([*value], len(value))}


@pytest.mark.slow
def test_fresh_processes_find_the_same_keys(home: Path) -> None:
    options = {"methods": f"joint,spankl,{home / 'own.py'}", "orders": "1,0", "seeds": "0,3", "scenario": "filter"}
    code = f"""
import json
from pathlib import Path
from cl_ner_bench.running.layers import layer
from cl_ner_bench.running.plan import make_plan
from cl_ner_bench.storage.folder import ResultsFolder
options = json.loads({json.dumps(json.dumps(BASE | options))})
made = make_plan(layer(options | dict(dataset="corpus", encoder="./encoder"))[0], ResultsFolder.open(Path("out")))
print(json.dumps([[run.id, run.record.step_keys] for run in made.runs]))
"""
    known = [[run.id, run.record.step_keys] for run in planned(home, **options).runs]
    path = os.pathsep.join([str(registry.HOME), os.environ.get("PYTHONPATH", "")])
    for seed, folder in (("1", home), ("77", home / "copy")):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": path, "TZ": "Pacific/Kiritimati"}
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True)
        assert json.loads(done.stdout) == known


# The code of a method


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("+ 1", "+ 2"),
        ("+ 1", "- 1"),
        ("x * ", "x / "),
        ('["weight"]', '["other"]'),
        ('name="w"', 'name="v"'),
        ("(TagLearner)", "(TagLearner, object)"),
        ("    def weight", "    @staticmethod\n    def weight"),
        ("        return", "        x += 1\n        return"),
        ("        return", "        'told'; x = 'not a docstring'\n        return"),
        ("class Own", "LIMIT = 3\n\n\nclass Own"),
    ],
)
def test_code_changes_a_methods_fingerprint(tmp_path: Path, before: str, after: str) -> None:
    file, changed = tmp_path / "own.py", tmp_path / "changed.py"
    file.write_text(OWN)
    changed.write_text(OWN.replace(before, after))
    assert changed.read_text() != OWN
    assert method_code.code_fingerprint(file) != method_code.code_fingerprint(changed)


WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\\'\"\u2028\u2029"), max_size=30)


@given(st.lists(st.tuples(st.integers(0, 20), st.sampled_from(["comment", "blank", "end"]), WORDS), max_size=6), WORDS)
def test_comments_docstrings_and_the_card_do_not(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[int, str, str]], words: str
) -> None:
    lines = OWN.splitlines()
    for at, kind, text in edits:
        place = at % len(lines)
        if kind == "end":
            lines[place] += f"  # {text}"
        else:
            lines.insert(place, f"# {text}" if kind == "comment" else "")
    text = "\n".join(lines)
    text = text.replace('"weight": 1.0', '"weight": 2.0').replace("    def", f"    {words!r}\n\n    def")
    text = f'"""{words}."""\n{text}'.replace("        return", f'        """{words} ."""\n        return')
    file = tmp_path_factory.getbasetemp() / "told.py"
    before = tmp_path_factory.getbasetemp() / "plain.py"
    before.write_text(OWN)
    file.write_text(text, encoding="utf-8")
    assert method_code.code_fingerprint(file) == method_code.code_fingerprint(before)
