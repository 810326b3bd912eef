"""The plan of a grid: its runs, with every value resolved and the key of every step."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from cl_ner_bench import method_code, registry
from cl_ner_bench.corpora.card import Card
from cl_ner_bench.corpora.cards import list_cards, recipe_names
from cl_ner_bench.corpora.division import Division
from cl_ner_bench.corpora.limits import SPAN_WORDS, check_span_words
from cl_ner_bench.corpora.load import load_corpus
from cl_ner_bench.corpora.sentence import PARTS, Corpus
from cl_ner_bench.errors import UserError, did_you_mean
from cl_ner_bench.learning.numerics import NUMERICS
from cl_ner_bench.models.encoders.info import EncoderInfo, encoder_info
from cl_ner_bench.registry import Variant
from cl_ner_bench.running import environment
from cl_ner_bench.running.hyper_parameters import (
    by_hand,
    hyper_parameters,
    printed_recipe,
    recipe_name,
    with_files,
)
from cl_ner_bench.running.keys import StepKeys, numeric_identity
from cl_ner_bench.running.layers import DEFAULT, FLAG, Layered
from cl_ner_bench.running.options import Options
from cl_ner_bench.running.runs import Plan, Run
from cl_ner_bench.scenarios.protocol import Scenario, find_scenario
from cl_ner_bench.scenarios.split import TUNING, make_split, parse_orders
from cl_ner_bench.scenarios.statistics import recall_ceiling, without_task
from cl_ner_bench.scenarios.task import TaskSplit
from cl_ner_bench.storage.files import digest
from cl_ner_bench.storage.folder import ResultsFolder
from cl_ner_bench.storage.run_record import CorpusRecord, EncoderIdentity, RunRecord
from cl_ner_bench.storage.run_record import Task as TaskRecord
from cl_ner_bench.validation import convert

_LONGEST = 48  # bytes of a name in a run's id, which holds four; file names end at 255


def variants(options: Options) -> tuple[list[Variant], list[str]]:
    """Return the methods of a grid, with the joint bound of each architecture in use, and the names of those added."""
    found = registry.resolve(options.methods)
    for variant in found:
        method_code.check_class(variant.card)
    wanted = dict.fromkeys(f"joint-{v.card.architecture}" for v in found)
    present = {v.card.name for v in found}
    added = [name for name in wanted if name not in present] if options.bounds == "auto" else []
    return (registry.resolve([*options.methods, *added]) if added else found), added


def make_plan(layered: Layered, folder: ResultsFolder, tuning: bool = False) -> Plan:
    """Resolve a grid against its corpus and registry; with ``tuning`` one of `bench tune`, which never sees test.

    Raises UserError for whatever cannot be run as asked.
    """
    options = layered.options
    chosen, added = variants(options)
    check_labels(options, chosen)
    corpus = load(options).scored_on_dev() if tuning else load(options)
    for part, sentences in corpus.parts.items():
        if not sentences:  # as annotators rejected all of it
            raise UserError(f"{corpus.source}: no sentences in the {part} part; a run needs train, dev and test")
    splits = make_splits(options, corpus, tuning)
    if options.split is not None:
        check_manifest(layered, splits[0])
    encoder = encoder_info(options.encoder)
    device, precision = environment.resolve_device(options.device, options.precision, options.elsewhere)
    options = replace(
        options,
        methods=tuple(v.spec for v in chosen),
        set={v.label: own for v in chosen if (own := with_files(v, options.set.get(v.label, {})))},
        bounds="none",
        dataset=dataset_name(options),
        data=options.data and str(Path(options.data).resolve()),
        split=options.split and str(Path(options.split).resolve()),
        encoder=encoder.spec,
        scenario=_scenario_name(options, splits[0]),
        orders=tuple(split.order for split in splits),
        recipe=recipe_name(options.recipe) or (encoder.name if encoder.name in recipe_names(corpus.card) else "paper"),
        joint_steps=options.joint_steps or corpus.card.joint_steps,
        device=device,
        precision=precision,
    )
    origins = dict(layered.origins)
    if origins["joint_steps"] == DEFAULT and options.joint_steps != Card("", "").joint_steps:
        origins["joint_steps"] = f"card {corpus.card.name}"
    if origins["recipe"] == DEFAULT and options.recipe == encoder.name:
        origins["recipe"] = f"encoder {encoder.name}"
    values = {v.label: hyper_parameters(options, v, corpus, origins) for v in chosen}
    prints = {
        v.label: {
            "method": method_code.method_fingerprint(v.card),
            **method_code.files_fingerprint(v.card, values[v.label][1]),
        }
        for v in chosen
    }
    sources = {v.label: sorted(method_code.method_sources(v.card)) for v in chosen}
    cut = splits[0].protocol.max_words
    every_span = [v for v in chosen if v.card.architecture == "span" and not values[v.label][0]["max_span_width"]]
    if every_span and (cut is None or cut > SPAN_WORDS):
        for part in PARTS:
            check_span_words(corpus.used(part), part)
    keys = StepKeys()
    gold = {split.hash: split.test_part(corpus, split.n_steps) for split in splits}

    @cache
    def ceiling(split: str, nested: bool, width: int) -> float:
        return recall_ceiling(gold[split], nested, width)

    by_hash = {split.hash: split for split in splits}

    @cache
    def words(split: str, cumulative: bool) -> list[list[int]]:
        return _words(by_hash[split], corpus, cumulative)

    runs = [
        _run(
            options,
            variant,
            split,
            seed,
            corpus,
            encoder,
            folder,
            *values[variant.label],
            prints[variant.label],
            sources[variant.label],
            ceiling,
            words,
            keys,
        )
        for variant in chosen
        for split in splits
        for seed in options.seeds
    ]
    return Plan(options, runs, corpus, origins, added)


def load(options: Options) -> Corpus:
    """Return the corpus of a grid."""
    data = None if options.data is None else Path(options.data)
    sample = (options.max_sentences, options.split_seed)
    return load_corpus(options.dataset, data, options.tasks, *sample, division(options))


def division(options: Options) -> Division | None:
    """Return how the corpus is divided: as a replayed split says, else by ``--parts``."""
    asked = options.parts and Division.of({"shares": options.parts, "seed": options.split_seed})
    if options.split is None:
        return asked or None
    content = manifest(options.split)
    found = Division.of(content.get("parts"), f"--split {options.split}") if isinstance(content, dict) else None
    if asked and asked != found:
        how = f"divided by {found}" if found else "that has its parts"
        raise UserError(f"--split {options.split} is of a corpus {how}; leave --parts out")
    return found


def check_labels(options: Options, chosen: Iterable[Variant]) -> None:
    """Raise UserError where ``--set`` names a method that is not of the grid."""
    labels = [v.label for v in chosen]
    for label in options.set:
        if label not in labels:
            raise UserError(
                f"--set {label}.…: no method of this grid is called {label!r}.{did_you_mean(label, labels)} Its "
                f"methods are {', '.join(labels)}"
            )


def make_splits(options: Options, corpus: Corpus, tuning: bool = False) -> list[TaskSplit]:
    """Return the task split of each order, or the one that ``--split`` replays.

    Raises UserError for the order and split seed of `bench tune` without ``tuning``.
    """
    found = _splits(options, corpus)
    for flag, used in (("split-seed", [options.split_seed]), ("orders", [split.order for split in found])):
        if TUNING in used and not tuning:
            raise UserError(
                f"--{flag} {TUNING}: kept for `bench tune`, so that no report uses what hyper-parameters were "
                "chosen on; take another number"
            )
    return found


def _splits(options: Options, corpus: Corpus) -> list[TaskSplit]:
    if options.split is not None:
        return [TaskSplit.from_json(manifest(options.split), corpus, f"--split {options.split}")]
    wanted = "all" if options.orders == "all" else ",".join(map(str, options.orders))
    scenario = scenario_of(options, corpus)
    found = parse_orders(wanted, corpus, scenario)
    return [make_split(corpus, scenario, order, options.split_seed) for order in found]


def scenario_of(options: Options, corpus: Corpus) -> Scenario:
    """Return the scenario of a grid. Where it cuts types into steps, tasks by hand give the order of types.

    Raises UserError where it has tasks or an order of its own and others were given by hand.
    """
    scenario = find_scenario(options.scenario, corpus.card)
    if options.tasks is None:
        return scenario
    if scenario.tasks or scenario.types:
        raise UserError(f"--tasks: scenario {scenario.name} names its tasks or types itself; leave --tasks out")
    return msgspec.structs.replace(scenario, types=corpus.card.types) if scenario.increments else scenario


def manifest(file: str) -> Any:
    """Return the content of a manifest, unchecked. Raises UserError where it is no JSON."""
    try:
        return json.loads(Path(file).read_bytes())
    except OSError as error:
        raise UserError(f"--split {file}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"--split {file}: not JSON: {error}") from None


def check_manifest(layered: Layered, split: TaskSplit) -> None:
    """Raise UserError where options contradict a manifest, which holds one scenario and order."""
    for key, value in (("scenario", split.scenario), ("orders", (split.order,))):
        if layered.origins[key] != DEFAULT and getattr(layered.options, key) != value:
            shown = split.order if key == "orders" else value
            raise UserError(f"--split {layered.options.split} has {key} {shown}; leave --{key} out")
    if layered.origins["split_seed"] == FLAG and layered.options.max_sentences is None:
        raise UserError(f"--split {layered.options.split} is a task split already; leave --split-seed out")


def _run(
    options: Options,
    variant: Variant,
    split: TaskSplit,
    seed: int,
    corpus: Corpus,
    encoder: EncoderInfo,
    folder: ResultsFolder,
    training: dict[str, Any],
    method: dict[str, Any],
    prints: Mapping[str, str],
    sources: list[str],
    ceiling: Callable[[str, bool, int], float],
    words: Callable[[str, bool], list[list[int]]],
    keys: StepKeys,
) -> Run:
    card = variant.card
    span = card.architecture == "span"
    nested, width = span and options.nested, span * training["max_span_width"]
    last_only = card.is_bound and options.joint_steps == "last"
    steps = [split.n_steps] if last_only else list(range(1, split.n_steps + 1))
    settings = {
        "recipe": printed_recipe(options),
        **training,
        "method": method,
        "max_sentences": options.max_sentences if corpus.sample else None,  # as many as there are is no sample
        "split_seed": options.split_seed,
        "joint_steps": options.joint_steps,
        "training_check": options.training_check and card.is_bound,
        "nested": options.nested,
        "device": environment.kind(options.device),
        "precision": options.precision,
        "exact": options.exact,
        "threads": options.threads,
    }
    fingerprints = {
        "data": corpus.fingerprint,
        "split": split.hash,
        "tasks": digest(sorted(corpus.card.tasks.items())),
        "encoder": encoder.fingerprint,
        **prints,
    }
    versions = {**environment.versions(), "numerics": str(NUMERICS)}
    values = numeric_identity(card, settings, fingerprints)
    setting = {
        "scenario": split.scenario,
        "training": training,
        **{k: fingerprints[k] for k in ("data", "tasks", "encoder")},
        **{k: settings[k] for k in ("split_seed", "precision", "exact", "nested")},
    }
    given = given_tasks(options, corpus, split)
    config = digest({"scenario": split.scenario, "split": given, **values})[:8]
    names = (variant.label, corpus.name, split.scenario, f"o{split.order}", f"s{seed}", encoder.name, config)
    run_id = "-".join(map(file_word, names))
    record = RunRecord(
        run_id=run_id,
        method=variant.label,
        registry_name=card.name,
        label=variant.title,
        dataset=corpus.name,
        scenario=split.scenario,
        order=split.order,
        seed=seed,
        encoder=encoder.name,
        config=config,
        architecture=card.architecture,
        group=card.group,
        data=card.data,
        status="running",
        n_steps=split.n_steps,
        steps=steps,
        tasks=task_records(split),
        sizes=_sizes(split, card.data == "union", training["epochs"]),
        words=words(split.hash, card.data == "union"),
        order_of=split.order_of,
        documents=list(corpus.documents),
        lost_mentions=split.lost_mentions(corpus),
        corpus=corpus_record(corpus, split),
        protocol=split.protocol.to_json(),
        setting=digest(setting)[:8],
        settings=settings,
        by_hand=by_hand(options, variant, corpus, training | method),
        # Of recall; empty for predictions of any place and width.
        recall_ceiling=None if nested and not width else ceiling(split.hash, nested, width),
        uncased=encoder.uncased,
        encoder_identity=EncoderIdentity(**encoder.identity),
        undertrained_below=corpus.card.undertrained_below,
        fingerprints=fingerprints,
        versions=versions,
        machine=dict(environment.hardware()),
        inputs={
            "method": variant.spec,
            **({"source": sources} if sources else {}),
            **{key: getattr(options, key) for key in ("dataset", "data", "tasks", "encoder")},
            **({"parts": corpus.division.to_json()} if corpus.division else {}),
            **({"scored": corpus.scored} if corpus.scored != "test" else {}),
        },
        step_keys=keys(card, values, split, seed, steps),
    )
    return Run(record, split, folder.run(run_id), card.start)


def given_tasks(options: Options, corpus: Corpus, split: TaskSplit) -> Any:
    """Return what orders are counted from, a part of the config: a replayed split, or tasks by hand in their order."""
    if options.split:
        return split.hash
    given = options.tasks and list(corpus.card.tasks.items())
    scenario = scenario_of(options, corpus)
    return [scenario.to_json(), given] if scenario.own else given


def task_records(split: TaskSplit) -> list[TaskRecord]:
    """Return the tasks of a split as a run's record holds them."""
    return [
        TaskRecord(name=task.name, types=list(task.types), learned_at=k, domain=task.domain or "")
        for k, task in enumerate(split.tasks, 1)
    ]


def corpus_record(corpus: Corpus, split: TaskSplit) -> CorpusRecord:
    """Return what a run's record holds of its corpus."""
    found = {
        "differences": [d.text for d in corpus.differences if not d.accepted],
        "accepted": [d.text for d in corpus.differences if d.accepted],
        "n_mentions": corpus.n_mentions,
        "without_task": without_task(corpus, split),
    }
    return convert(found, CorpusRecord)


def _sizes(split: TaskSplit, cumulative: bool, epochs: int) -> list[int]:
    """Return the sentences that pass the model in each step. A dev sentence costs a third of a training sentence."""
    alone = [(len(task.train), len(task.dev)) for task in split.tasks]
    return [(train + dev // 3) * epochs for train, dev in (split.union_sizes if cumulative else alone)]


def _words(split: TaskSplit, corpus: Corpus, cumulative: bool) -> list[list[int]]:
    """Return for each step the words of its train, dev and test sentences; with ``cumulative`` also of earlier steps.

    Dev counts where an epoch is chosen by it.
    """
    rows, parts = [], ("train", "dev") if split.protocol.selection != "last" else ("train",)
    counts, known = {"train": 0, "dev": 0}, {part: set[int]() for part in parts}
    test = {name: _count(split, corpus, "test", ids) for name, ids in split.test_sets.items()}
    for step, task in enumerate(split.tasks, 1):
        for part in parts:
            ids = set(getattr(task, part)) - known[part]
            counts[part] = cumulative * counts[part] + _count(split, corpus, part, ids)
            known[part] |= ids if cumulative else set()
        rows.append([*counts.values(), sum(test[name] for name in split.scored_types(step))])
    return rows


def _count(split: TaskSplit, corpus: Corpus, part: str, ids: Iterable[int]) -> int:
    return sum(len(split.sentence(corpus, part, i).words) for i in ids)


def file_word(name: str) -> str:
    """Return a name as part of a file name: other characters become ``_``, and its end is cut where it is too long."""
    return re.sub(r"[^\w.+-]+", "_", name).encode()[:_LONGEST].decode(errors="ignore")


def _scenario_name(options: Options, split: TaskSplit) -> str:
    """Return the name by which the scenario is found again, from any folder."""
    if options.split is not None:
        return split.scenario
    return _absolute(options.scenario) if options.scenario.endswith(".toml") else options.scenario


def dataset_name(options: Options) -> str:
    """Return the name by which the dataset is found again, from any folder."""
    return options.dataset if options.dataset in list_cards() else _absolute(options.dataset)


def _absolute(name: str) -> str:
    return str(Path(name).resolve()) if Path(name).exists() else name
