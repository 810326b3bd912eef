"""The corpus and the task splits that the options of a grid name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from cl_ner_bench.corpora.cards import list_cards
from cl_ner_bench.corpora.division import Division
from cl_ner_bench.corpora.load import load_corpus
from cl_ner_bench.corpora.sentence import Corpus
from cl_ner_bench.errors import UserError
from cl_ner_bench.running.layers import DEFAULT, FLAG, Layered
from cl_ner_bench.running.options import Options
from cl_ner_bench.scenarios.protocol import Scenario, find_scenario
from cl_ner_bench.scenarios.split import TUNING, make_split, parse_orders
from cl_ner_bench.scenarios.task import TaskSplit


def load(options: Options) -> Corpus:
    """Return the corpus of a grid."""
    data = None if options.data is None else Path(options.data)
    sample = (options.max_sentences, options.split_seed)
    return load_corpus(options.dataset, data, options.tasks, *sample, division(options))


def division(options: Options) -> Division | None:
    """Return the division of the corpus: that of a replayed split, else that of ``--parts``."""
    asked = options.parts and Division.of({"shares": options.parts, "seed": options.split_seed})
    if options.split is None:
        return asked or None
    content = read_split_file(options.split)
    found = Division.of(content.get("parts"), f"--split {options.split}") if isinstance(content, dict) else None
    if asked and asked != found:
        how = f"divided by {found}" if found else "that has its parts"
        raise UserError(f"--split {options.split} is of a corpus {how}; leave --parts out")
    return found


def make_splits(options: Options, corpus: Corpus, tuning: bool = False) -> list[TaskSplit]:
    """Return the task split of each order, or the split that ``--split`` replays.

    Without ``tuning``, raise UserError for the order and the split seed of `bench tune`.
    """
    found = _splits(options, corpus)
    for flag, used in (("split-seed", [options.split_seed]), ("orders", [split.order for split in found])):
        if TUNING in used and not tuning:
            raise UserError(
                f"--{flag} {TUNING}: kept for `bench tune`: no report may use the split and order on which "
                "hyper-parameters were chosen; pass another number"
            )
    return found


def _splits(options: Options, corpus: Corpus) -> list[TaskSplit]:
    if options.split is not None:
        return [TaskSplit.from_json(read_split_file(options.split), corpus, f"--split {options.split}")]
    wanted = "all" if options.orders == "all" else ",".join(map(str, options.orders))
    scenario = scenario_of(options, corpus)
    found = parse_orders(wanted, corpus, scenario)
    return [make_split(corpus, scenario, order, options.split_seed) for order in found]


def scenario_of(options: Options, corpus: Corpus) -> Scenario:
    """Return the scenario of a grid. If it cuts types into steps, the user's tasks give the order of types.

    Raise UserError if the user gives tasks and the scenario has its own tasks or order.
    """
    scenario = find_scenario(options.scenario, corpus.card)
    if options.tasks is None:
        return scenario
    if scenario.tasks or scenario.types:
        raise UserError(f"--tasks: scenario {scenario.name} names its tasks or types itself; leave --tasks out")
    return msgspec.structs.replace(scenario, types=corpus.card.types) if scenario.increments else scenario


def read_split_file(file: str) -> Any:
    """Return the unchecked content of a split file. Raise UserError if it is no JSON."""
    try:
        return json.loads(Path(file).read_bytes())
    except OSError as error:
        raise UserError(f"--split {file}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"--split {file}: not JSON: {error}") from None


def check_split_options(layered: Layered, split: TaskSplit) -> None:
    """Raise UserError if options contradict the split of a file, which has one scenario and order."""
    for key, value in (("scenario", split.scenario), ("orders", (split.order,))):
        if layered.origins[key] != DEFAULT and getattr(layered.options, key) != value:
            shown = split.order if key == "orders" else value
            raise UserError(f"--split {layered.options.split} has {key} {shown}; leave --{key} out")
    if layered.origins["split_seed"] == FLAG and layered.options.max_sentences is None:
        raise UserError(f"--split {layered.options.split} is a task split already; leave --split-seed out")


def given_tasks(options: Options, corpus: Corpus, split: TaskSplit) -> Any:
    """Return the data that numbers of orders refer to, for the config: a replayed split, or the user's tasks."""
    if options.split:
        return split.hash
    given = options.tasks and list(corpus.card.tasks.items())
    scenario = scenario_of(options, corpus)
    return [scenario.to_json(), given] if scenario.own else given


def scenario_name(options: Options, split: TaskSplit) -> str:
    """Return a name of the scenario that is valid from any folder."""
    if options.split is not None:
        return split.scenario
    return _absolute(options.scenario) if options.scenario.endswith(".toml") else options.scenario


def dataset_name(options: Options) -> str:
    """Return a name of the dataset that is valid from any folder."""
    return options.dataset if options.dataset in list_cards() else _absolute(options.dataset)


def _absolute(name: str) -> str:
    return str(Path(name).resolve()) if Path(name).exists() else name
