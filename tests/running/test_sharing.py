"""Steps that runs have in common: equal keys mean equal bits, each is learned once, and nothing else changes."""

from __future__ import annotations

import dataclasses
import json
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor

from cl_ner_bench import load_results, registry
from cl_ner_bench.cli.preview import preview
from cl_ner_bench.corpora.cards import list_cards
from cl_ner_bench.corpora.sentence import PARTS, Corpus
from cl_ner_bench.learning.first_step import deviation
from cl_ner_bench.learning.learner import Batch, Learner, Output, SpanLearner, StepData, TagLearner
from cl_ner_bench.running.backends import pool
from cl_ner_bench.running.driver import execute
from cl_ner_bench.running.grid import prepare
from cl_ner_bench.running.layers import layer
from cl_ner_bench.running.plan import make_plan
from cl_ner_bench.running.runs import (
    AwaitedModel,
    AwaitedStep,
    Run,
    drop_models,
    pinned_models,
    schedule_items,
    share,
    work,
)
from cl_ner_bench.running.schedule import Schedule
from cl_ner_bench.scenarios.split import make_split
from cl_ner_bench.scenarios.task import TaskSplit
from cl_ner_bench.storage.folder import ResultsFolder
from cl_ner_bench.storage.run_folder import FinishedStep, commit_step
from cl_ner_bench.testing.forks import forked_runs
from cl_ner_bench.testing.grids import METHODS, bench, start, stored, write_inputs
from cl_ner_bench.testing.tiny import RECIPE

# What a card declares


def test_a_method_of_a_user_has_a_first_step_of_its_own_unless_its_card_says_otherwise() -> None:
    assert {v.card.first_step for v in registry.resolve([f"mine={METHODS}:good"])} == {"own"}


EPOCHS = 4


class InLosses(Learner):
    def losses(self, *args: Any) -> dict[str, Tensor]:
        return {name: 1.001 * value for name, value in super().losses(*args).items()}


class InStart(Learner):
    def begin_step(self, data: StepData) -> None:
        with torch.no_grad():
            next(self.head.parameters()).mul_(1.001)


class InLastEpoch(Learner):
    def begin_epoch(self, epoch: int) -> None:
        if epoch == EPOCHS:
            self.head.requires_grad_(False)


class InRates(Learner):
    def parameter_groups(self, lr: float, head_lr: float, weight_decay: float) -> list[dict[str, Any]]:
        return super().parameter_groups(lr, 0.99 * head_lr, weight_decay)


class InGradients(Learner):
    def after_backward(self) -> None:
        next(self.head.parameters()).grad.mul_(2)


class InWhatItKeeps(Learner):
    def end_step(self, data: StepData) -> None:
        self.carried["sizes"] = torch.tensor([len(s.words) for s in data.train])


class InDecoding(Learner):
    def decode(self, *args: Any) -> Any:
        return [found[:1] for found in super().decode(*args)]


class InLogits(Learner):
    def forward(self, batch: Batch) -> Output:
        output = super().forward(batch)
        return Output(output.logits * 1.001, output.words)


class InModules(Learner):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.own = torch.nn.Linear(2, 2)


@pytest.mark.slow
@pytest.mark.parametrize("base", [SpanLearner, TagLearner])
@pytest.mark.parametrize(
    ("lie", "where"),
    [
        (InLosses, "losses"),
        (InStart, "losses"),
        (InLastEpoch, "losses, frozen parameters"),
        (InRates, "losses"),
        (InGradients, "losses"),
        (InWhatItKeeps, "weights"),
        (InDecoding, "predictions"),
        (InLogits, "losses"),
        (InModules, "weights"),
    ],
)
def test_a_false_declaration_is_found_whichever_hook_makes_it_false(
    lie: type[Learner], where: str, base: type[Learner]
) -> None:
    assert where in deviation(type("Liar", (lie, base), {}), {}, RECIPE | {"epochs": EPOCHS})


# What a step is given


def orders_of(corpus: Corpus, scenario: str, *orders: int) -> list[TaskSplit]:
    return [make_split(corpus, scenario, order) for order in orders]


def test_joined_tasks_learned_anew_do_not_show_their_order(make_corpus: Callable[..., Corpus]) -> None:
    corpus = make_corpus(["A D", "B", "C A", "D", "B C"] * 4, {"x": ("D", "A"), "y": ("C",), "z": ("B",)})
    corpus = dataclasses.replace(
        corpus, card=msgspec.structs.replace(corpus.card, orders=((0, 1, 2), (1, 0, 2), (2, 1, 0)))
    )
    for scenario in ("split", "filter"):
        one, two, three = orders_of(corpus, scenario, 0, 1, 2)
        assert one.step_data(corpus, 2, True, True) == two.step_data(corpus, 2, True, True)
        assert one.step_data(corpus, 3, True, True) == three.step_data(corpus, 3, True, True)
        assert one.step_data(corpus, 2, True, True) != three.step_data(corpus, 2, True, True)
        assert one.step_data(corpus, 3, True, True).types == ("A", "B", "C", "D")
        assert one.step_data(corpus, 3, True).types == ("D", "A", "C", "B"), "a chain's columns stand as they grew"
        assert one.step_data(corpus, 1, True, True) == one.step_data(corpus, 1), "step 1 is every method's"


def test_domains_are_tested_in_one_order(make_corpus: Callable[..., Corpus]) -> None:
    corpus = make_corpus(["A", "A B", "B", "B C", "C", "A C"], {t: (t,) for t in "ABC"})
    halves = {"tweets": {p: range(3) for p in PARTS}, "news": {p: range(3, 6) for p in PARTS}}
    corpus = dataclasses.replace(corpus, domains=halves)
    splits = orders_of(corpus, "domains", *range(4))
    assert len({tuple(split.scored_types(2)) for split in splits}) == 2, "both orders are there"
    assert len({tuple(split.test_part(corpus, 2)) for split in splits}) == 1


# Keys


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of six types with SpanKL's six orders, as a card on disk."""
    folder = tmp_path_factory.mktemp("six")
    card = list_cards()["ontonotes"]
    types = list(card.types)
    rows = [json.dumps({"words": ["a", "b"], "mentions": [[0, 1, t]]}) for t in types * 12]
    for part in PARTS:
        (folder / f"{part}.jsonl").write_text("\n".join(rows) + "\n")
    tasks = "".join(f'{name} = ["{name}"]\n' for name in card.tasks)
    orders = json.dumps([list(order) for order in card.orders])
    text = f'name = "six"\norders = {orders}\n[tasks]\n{tasks}'
    (folder / "six.toml").write_text(text)
    return folder


def planned(folder: Path, out: Path, methods: str, **options: Any) -> list[Run]:
    given = {"dataset": str(folder / "six.toml"), "data": str(folder), "methods": methods, "bounds": "none"}
    return share(make_plan(layer(given | options)[0], ResultsFolder.open(out)).runs, ResultsFolder.open(out))


def keys(runs: Sequence[Run]) -> dict[tuple[str, int], dict[int, str]]:
    return {(r.record.method, r.record.order): {k: r.key(k) for k in r.record.steps} for r in runs}


def test_step_1_is_shared_within_an_architecture(folder: Path, tmp_path: Path) -> None:
    runs = planned(folder, tmp_path, "spankl,spankl-nokd,finetune,extendner,extendner-paper,joint,joint-warm,seqstar")
    first = {method: steps[1] for (method, _), steps in keys(runs).items()}
    groups: dict[str, set[str]] = {}
    for method, key in first.items():
        groups.setdefault(key, set()).add(method)
    assert {frozenset(group) for group in groups.values()} == {
        frozenset({"spankl", "spankl-nokd", "finetune-span", "joint-span", "joint-span-warm"}),
        frozenset({"extendner", "extendner-paper", "finetune-token", "joint-token", "joint-token-warm"}),
        frozenset({"seqstar"}),
    }
    assert len({steps[2] for steps in keys(runs).values()}) == len(runs), "later steps are each method's own"
    shared = {run.record.method: run.record.shared for run in runs}
    assert shared["spankl"] == shared["seqstar"] == {}
    assert set(shared["joint-token"]) == {"1"}
    assert shared["joint-token"]["1"].startswith("finetune-token-"), "the first of the grid learns it"


def test_step_1_hashes_all_that_the_base_learner_computes_from(folder: Path, tmp_path: Path) -> None:
    def first(**options: Any) -> str:
        return planned(folder, tmp_path, "m=spankl", **options)[0].key(1)

    plain = first()
    assert first(set={"m": {"kd_weight": 0.5}}) == plain
    for options in ({"set": {"m": {"epochs": 3}}}, {"seeds": "1"}, {"orders": "1"}, {"lr": 0.1}, {"nested": True}):
        assert first(**options) != plain, options
    assert planned(folder, tmp_path, "m=finetune-token")[0].key(1) != plain


def test_a_joint_model_is_known_by_its_set_of_types(folder: Path, tmp_path: Path) -> None:
    found = keys(planned(folder, tmp_path, "joint-span,joint-span-warm", orders="all"))
    joint = [steps for (method, _), steps in found.items() if method == "joint-span"]
    warm = [steps for (method, _), steps in found.items() if method == "joint-span-warm"]
    assert len({steps[6] for steps in joint}) == 1
    assert len({key for steps in joint for key in steps.values()}) == 29  # sets of the card's orders
    assert len({key for steps in warm for key in steps.values()}) == 36
    with_last = keys(planned(folder, tmp_path, "joint-span", orders="all", joint_steps="last"))
    assert {steps[6] for steps in with_last.values()} == {joint[0][6]}


@pytest.mark.parametrize(("scenario", "shared"), [("split", 1), ("filter", 1), ("fg2-pg2", 1), ("mine.toml", 3)])
def test_a_joint_model_is_shared_where_its_data_is_the_same(
    scenario: str, shared: int, folder: Path, tmp_path: Path
) -> None:
    if scenario == "mine.toml":  # which five sentences a step has hangs on its types
        scenario = str(tmp_path / scenario)
        Path(scenario).write_text('like = "fg2-pg2"\nsentences = 5\n')
    runs = planned(folder, tmp_path, "joint-token", scenario=scenario, orders="0,1,2", joint_steps="last")
    assert len({run.key(run.record.steps[-1]) for run in runs}) == shared


def test_what_sharing_saves_in_spankls_grid(folder: Path, tmp_path: Path) -> None:
    runs = planned(folder, tmp_path, "spankl,extendner,finetune,joint", orders="all")
    alone, together = work(runs, shared=False), work(runs)
    # An architecture's continual methods have 36 steps each, joint 36 or 29 sets, of which 6 are a first step.
    assert alone.steps == (2 + 2 + 2) * 36
    assert together.steps == 2 * (6 + 2 * 30 + 29 - 6)
    # A joint set of n tasks costs n shares of the data: 126 for the orders, 90 for their sets, of which 6 again.
    assert alone.sentences / together.sentences == pytest.approx((4 * 36 + 2 * 126) / (2 * (6 + 2 * 30 + 90 - 6)))
    assert alone.sentences / together.sentences >= 1.2
    assert sum(run.cost(k) for run in runs for k in run.record.steps) == together.sentences
    assert work(runs[:1]) == work(runs[:1], shared=False)


def test_the_preview_says_what_is_learned_once(folder: Path, tmp_path: Path) -> None:
    given = {"dataset": str(folder / "six.toml"), "data": str(folder), "methods": "joint-token,extendner"}
    prepared = prepare(given | {"orders": "0,1", "out": str(tmp_path)})
    lines = preview(prepared).splitlines()
    assert "  24 steps: 21 to learn, 3 shared with them" in lines
    states = [line.partition(": ")[2] for line in lines if "-split-o" in line]
    assert (
        states
        == ["steps 1-6 to learn", "steps 1-5 to learn, step 6 shared"] + ["steps 2-6 to learn, step 1 shared"] * 2
    )
    finish(prepared.runs[0], *range(1, 7))
    finish(prepared.runs[3], 1, 2)
    lines = preview(prepare(given | {"orders": "0,1", "out": str(tmp_path)})).splitlines()
    assert "  24 steps: 13 to learn, 3 shared with them, 8 done" in lines, "a finished step 1 saves the joint's"


# Who learns what, and when


def finish(run: Run, *steps: int, shared_with: str | None = None) -> None:
    run.folder.save(run.record)
    for step in steps:
        commit_step(run.folder.step_folder(step), run.key(step), {}, {"a": b"b"}, shared_with)


def keep(out: Path, run: Run, *steps: int) -> None:
    for step in steps:
        ResultsFolder.open(out).models.path(run.key(step)).mkdir(parents=True)


def awaited(runs: Sequence[Run], out: Path) -> dict[str, dict[Any, str]]:
    """Return the steps and models that each run waits for, with their makers, by method and order."""
    names = {run.id: f"{run.record.method} {run.record.order}" for run in runs}
    found: dict[str, dict[Any, str]] = {}
    for item in schedule_items(runs, ResultsFolder.open(out)):
        found[names[item.id]] = {
            what.step if isinstance(what, AwaitedStep) else what: names[maker] for what, maker in item.awaits.items()
        }
    return found


def test_a_run_waits_for_what_others_learn_for_it(folder: Path, tmp_path: Path) -> None:
    runs = planned(folder, tmp_path, "joint-span,spankl,seqstar", orders="0,1")
    assert awaited(runs, tmp_path) == {
        "joint-span 0": {},
        "joint-span 1": {6: "joint-span 0"},
        "spankl 0": {1: "joint-span 0"},
        "spankl 1": {1: "joint-span 1"},
        "seqstar 0": {},
        "seqstar 1": {},
    }
    schedule = Schedule(schedule_items(runs, ResultsFolder.open(tmp_path)))
    assert schedule.next() == runs[0].id, "the longest way leads over the joint run for which three others wait"
    assert set(schedule.awaited_from(runs[0].id)) == {AwaitedStep(runs[0].id, 1), AwaitedStep(runs[0].id, 6)}
    finish(runs[0], *range(1, 7))
    assert not any(awaited(runs[1:3], tmp_path).values()), "what is finished is not waited for"


def test_a_chain_that_others_wait_for_waits_for_its_own_first_step(folder: Path, tmp_path: Path) -> None:
    runs = planned(folder, tmp_path, "finetune-span,a=spankl,b=spankl")
    assert [len(run.record.shared) for run in runs] == [0, 1, 6]
    assert awaited(runs, tmp_path) == {
        "finetune-span 0": {},
        "a 0": {1: "finetune-span 0"},
        "b 0": {1: "finetune-span 0", **dict.fromkeys(range(2, 7), "a 0")},
    }


def test_the_one_that_has_finished_a_step_is_its_learner(folder: Path, tmp_path: Path) -> None:
    methods = "finetune-span,spankl,spankl-nokd"
    fine, kl, nokd = planned(folder, tmp_path, methods)
    finish(fine, 1, shared_with=kl.id)
    assert [run.record.shared for run in planned(folder, tmp_path, methods)[1:]] == [{"1": fine.id}] * 2
    finish(nokd, 1)
    assert [r.record.shared for r in planned(folder, tmp_path, methods)] == [{"1": kl.id}, {"1": nokd.id}, {}]
    # A run of an earlier command is as good; one that has not finished is not.
    assert planned(folder, tmp_path, "joint-span")[0].record.shared == {"1": nokd.id}
    finish(planned(folder, tmp_path, "extendner")[0])
    assert planned(folder, tmp_path, "finetune-token")[0].record.shared == {}


def test_a_model_that_is_gone_is_learned_again_once(folder: Path, tmp_path: Path) -> None:
    finish(planned(folder, tmp_path, "finetune-span")[0], *range(1, 7))
    runs = planned(folder, tmp_path, "spankl,spankl-nokd,joint-span")
    assert awaited(runs, tmp_path) == {
        "spankl 0": {},
        "spankl-nokd 0": {AwaitedModel(runs[0].key(1)): "spankl 0"},
        "joint-span 0": {},
    }
    keep(tmp_path, runs[0], 1)
    assert not any(awaited(runs, tmp_path).values())


def test_models_wait_for_all_that_go_on_from_them(folder: Path, tmp_path: Path) -> None:
    fine, kl, joint = planned(folder, tmp_path, "finetune-span,spankl,joint-span")
    (other,) = planned(folder, tmp_path, "joint-span", orders="1")
    runs = [fine, kl, joint, other]
    every = range(1, 7)
    first, last = fine.key(1), joint.key(6)
    assert pinned_models(runs, ResultsFolder.open(tmp_path), "last") == {first, last}
    assert pinned_models(runs, ResultsFolder.open(tmp_path), "none") == {first}
    for run in runs:
        keep(tmp_path, run, *(k for k in every if not ResultsFolder.open(tmp_path).models.path(run.key(k)).is_dir()))
    finish(fine, *every)
    finish(kl, 1, shared_with=fine.id)

    def left(models: set[str], keep_models: str, todo: Sequence[Run] = tuple(runs)) -> set[str]:
        drop_models(models, todo, ResultsFolder.open(tmp_path), keep_models)
        return {key for key in models if ResultsFolder.open(tmp_path).models.path(key).is_dir()}

    both = {first, last}
    assert left(both, "all") == both
    assert left(both, "last") == both, "the chain that failed behind step 1 goes on from it"
    finish(kl, *every)
    finish(joint, *every)
    finish(other, *every)
    assert left(both, "none", [fine, kl, other]) == {last}, "what a run of an earlier command keeps stays"
    assert left(both, "none") == set()


# Whole grids; each run is a process


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return [*write_inputs(tmp_path_factory.mktemp("inputs")), "--bounds", "none", "--epochs", "1"]


def learn(inputs: Sequence[str], out: Path, keep_models: str = "last", **options: Any) -> dict[str, list[int]]:
    """Learn a grid as `bench run` does, without tables; returns which steps each method had to learn."""
    given = {name[2:].replace("-", "_"): value for name, value in zip(inputs[::2], inputs[1::2], strict=True)}
    prepared = prepare(given | options | {"out": str(out), "keep_models": keep_models})
    todo = prepared.todo
    for run in todo:
        run.folder.save_split(run.split.to_json())
    found = {run.record.method: run.pending() for run in todo}
    with forked_runs(), closing(pool(prepared.options, 1, out)) as places:
        assert execute(prepared, places) == 0
    return found


def test_models_that_a_command_keeps_survive_the_commands_after_it(inputs: list[str], tmp_path: Path) -> None:
    learn(inputs, tmp_path, "all", methods="finetune-token")
    kept = {path.name for path in (tmp_path / "store").iterdir()}
    assert len(kept) == 3
    learn(inputs, tmp_path, "last", methods="extendner,lwf")
    learn(inputs, tmp_path, "none", methods="joint-token")
    assert kept < {path.name for path in (tmp_path / "store").iterdir()}


def by_run(out: Path) -> dict[tuple[str, int], dict[str, Any]]:
    found = [json.loads(path.read_bytes()) for path in out.glob("runs/*/run.json")]
    return {(record["method"], record["order"]): record for record in found}


def step(out: Path, record: dict[str, Any], k: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "runs" / record["run_id"] / f"step-{k}" / "step.json").read_bytes())
    return found


def models(out: Path) -> set[str]:
    return {path.parent.name for path in out.glob("store/*/model.safetensors")}


def finished(out: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in out.glob("runs/*/step-*/step.json")}


@pytest.fixture(scope="module")
def grid(inputs: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("grid") / "out"
    done = bench(
        "run", *inputs, "--methods", "joint-token,extendner", "--orders", "0,1", "--no-report", "--out", str(out)
    )
    assert done.returncode == 0, done.stderr
    return out, done.stderr


@pytest.mark.slow
def test_a_grid_and_its_runs_alone_give_the_same_bits(
    grid: tuple[Path, str], inputs: list[str], tmp_path: Path
) -> None:
    out, said = grid
    assert "4 runs, 9 steps to learn and 3 shared with them" in said
    runs = by_run(out)
    owner = {order: runs["joint-token", order]["run_id"] for order in (0, 1)}
    assert {run: record["shared"] for run, record in runs.items()} == {
        ("joint-token", 0): {},
        ("joint-token", 1): {"3": owner[0]},
        **{("extendner", order): {"1": owner[order]} for order in (0, 1)},
    }
    for record in runs.values():
        assert record["status"] == "done"
        assert [row["step"] for row in record["learned"]] == [1, 2, 3]
        assert {str(k): by for k in (1, 2, 3) if (by := step(out, record, k).get("shared_with"))} == record["shared"]
    assert models(out) == {record["step_keys"]["3"] for record in runs.values()}, "last models; the joint's is one"

    together, scores = stored(out), load_results(out).scores
    for method, order in (("extendner", 0), ("joint-token", 1)):
        alone = tmp_path / method
        assert learn(inputs, alone, methods=method, orders=str(order)) == {method: [1, 2, 3]}
        (record,) = by_run(alone).values()
        assert record["shared"] == {}
        files = stored(alone)
        assert len(files) == 6
        assert {name: together[name] for name in files} == files
        mine, theirs = record["learned"], runs[method, order]["learned"]
        measured = {name: 0 for name in mine[0] if name.endswith("seconds") or name == "peak_memory_bytes"}
        assert [row | measured for row in mine] == [row | measured for row in theirs]
        one, other = (
            table[table.run_id == record["run_id"]].filter(regex="^(?!gap)").reset_index(drop=True)
            for table in (load_results(alone).scores, scores)
        )
        assert len(one) == 6
        assert one.equals(other)


@pytest.mark.slow
def test_a_joint_model_of_another_order_is_scored_as_this_order_has_it(grid: tuple[Path, str]) -> None:
    out, _ = grid
    one, two = (by_run(out)["joint-token", order] for order in (0, 1))
    at = [out / "runs" / record["run_id"] / "step-3" for record in (one, two)]
    assert len({(folder / "predictions.jsonl.gz").read_bytes() for folder in at}) == 1
    counts = [json.loads((folder / "counts.json").read_bytes())["views"]["all"]["test"] for folder in at]
    assert counts[0] == counts[1]
    for record, found in zip((one, two), counts, strict=True):
        assert list(found) == [t for task in record["tasks"] for t in task["types"]]
    assert list(counts[0]) != list(counts[1])


@pytest.mark.slow
def test_further_commands_take_what_is_there(grid: tuple[Path, str], inputs: list[str]) -> None:
    """An order more takes the joint of the first; two chains more let one learn again the model that is gone."""
    out, _ = grid
    before, kept = finished(out), models(out)
    assert learn(inputs, out, methods="joint-token", orders="2", joint_steps="last") == {"joint-token": []}
    runs = by_run(out)
    assert step(out, runs["joint-token", 2], 3)["shared_with"] == runs["joint-token", 0]["run_id"]
    assert models(out) == kept
    learned = learn(inputs, out, "none", methods="finetune-token,weak=extendner", set="weak.kd_weight=0.5")
    assert learned == {"finetune-token": [2, 3], "weak": [2, 3]}
    assert models(out) == kept
    assert {path: time for path, time in finished(out).items() if path in before} == before


@pytest.mark.slow
def test_a_stop_while_others_wait_is_gone_on_from(inputs: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    methods = f"slow={METHODS}:slow-base,twin={METHODS}:slow-base,extendner"
    process = start("run", *inputs, "--methods", methods, "--jobs", "2", "--keep-models", "none", "--out", str(out))
    end = time.monotonic() + 90
    while not (before := finished(out)):
        assert time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    statuses = {record["method"]: record["status"] for record in by_run(out).values()}
    assert statuses.pop("extendner") in ("waiting", "interrupted")  # step 1 is there, so it may have begun
    assert statuses == {"slow": "interrupted", "twin": "waiting"}
    before = finished(out)
    assert len(before) < 3
    left = [k for k in (1, 2, 3) if k > len(before)]
    assert learn(inputs, out, "none", methods=methods) == {"slow": left, "twin": [], "extendner": [2, 3]}
    assert {path: time for path, time in finished(out).items() if path in before} == before
    runs = {record["method"]: record for record in by_run(out).values()}
    assert runs["twin"]["shared"] == dict.fromkeys("123", runs["slow"]["run_id"])
    assert runs["extendner"]["shared"] == {"1": runs["slow"]["run_id"]}
    assert {record["status"] for record in runs.values()} == {"done"}
    assert models(out) == set()


@pytest.mark.slow
def test_where_the_learner_fails_the_others_learn_it_themselves(
    grid: tuple[Path, str], inputs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    monkeypatch.setenv("BROKEN", str(tmp_path / "broken"))
    methods = f"{METHODS}:broken-base,extendner"
    assert learn(inputs, out, "all", methods=methods) == {"broken-base": [1, 2, 3], "extendner": [2, 3]}
    runs = {record["method"]: record for record in by_run(out).values()}
    assert (runs["broken-base"]["status"], runs["extendner"]["status"]) == ("failed", "done")
    assert (tmp_path / "broken").read_text() == "once\n"
    assert "shared_with" not in step(out, runs["extendner"], 1)
    assert models(out) == set(runs["extendner"]["step_keys"].values())
    mine = {name: data for name, data in stored(out).items() if "extendner" in name}
    assert len(mine) == 6
    assert mine == {name: data for name, data in stored(grid[0]).items() if name in mine}


@pytest.mark.slow
def test_a_false_declaration_is_refused_and_shared_with_nobody(
    grid: tuple[Path, str], inputs: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    methods = f"{METHODS}:liar-base,extendner"
    assert learn(inputs, out, "all", methods=methods) == {"liar-base": [1, 2, 3], "extendner": [2, 3]}
    runs = {record["method"]: record for record in by_run(out).values()}
    assert (runs["liar-base"]["status"], runs["extendner"]["status"]) == ("failed", "done")
    reason = runs["liar-base"]["reason"]
    assert reason.startswith(f"{METHODS}: CARD['liar-base'] says first_step \"base\", but its step 1 differs")
    assert 'Set first_step to "own"' in reason
    mine = {name: data for name, data in stored(out).items() if "extendner" in name}
    assert len(mine) == 6
    assert mine == {name: data for name, data in stored(grid[0]).items() if name in mine}


@pytest.mark.slow
def test_predictions_that_are_not_what_was_stored_are_not_taken(grid: tuple[Path, str], tmp_path: Path) -> None:
    record = by_run(grid[0])["joint-token", 0]
    known = ResultsFolder.open(grid[0]).run(record["run_id"]).step(3, record["step_keys"]["3"])
    assert known is not None
    data = known.predictions
    assert data is not None
    (tmp_path / "predictions.jsonl.gz").write_bytes(data[:-1] + b"x")
    for folder in (tmp_path, tmp_path / "nowhere"):
        elsewhere = dataclasses.replace(known.files, file=folder / "step.json")
        assert FinishedStep(elsewhere).predictions is None
