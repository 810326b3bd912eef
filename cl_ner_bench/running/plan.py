"""The plan of a grid: its runs, with every value resolved and the key of every step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from cl_ner_bench import method_code, registry
from cl_ner_bench.corpora.card import Card
from cl_ner_bench.corpora.cards import recipe_names
from cl_ner_bench.corpora.limits import SPAN_WORDS, check_span_words
from cl_ner_bench.corpora.sentence import PARTS, Corpus
from cl_ner_bench.errors import UserError, did_you_mean
from cl_ner_bench.models.encoders.info import EncoderInfo, encoder_info
from cl_ner_bench.registry import Variant
from cl_ner_bench.running import environment
from cl_ner_bench.running.grid_data import check_split_options, dataset_name, load, make_splits, scenario_name
from cl_ner_bench.running.hyper_parameters import hyper_parameters, recipe_name, with_files
from cl_ner_bench.running.layers import DEFAULT, Layered
from cl_ner_bench.running.options import Options
from cl_ner_bench.running.planned_runs import PlannedMethod, Planner
from cl_ner_bench.running.runs import Plan
from cl_ner_bench.scenarios.task import TaskSplit
from cl_ner_bench.storage.folder import ResultsFolder


def make_plan(layered: Layered, folder: ResultsFolder, tuning: bool = False) -> Plan:
    """Resolve a grid against its corpus and the registry. With ``tuning``, plan for `bench tune`, without test data.

    Raise UserError if something cannot be run as the user asks.
    """
    options = layered.options
    chosen, added = variants(options)
    check_labels(options, chosen)
    corpus = load(options).scored_on_dev() if tuning else load(options)
    for part, sentences in corpus.parts.items():
        if not sentences:  # such as a part whose sentences annotators all rejected
            raise UserError(f"{corpus.source}: no sentences in the {part} part; a run needs train, dev and test")
    splits = make_splits(options, corpus, tuning)
    if options.split is not None:
        check_split_options(layered, splits[0])
    encoder = encoder_info(options.encoder)
    options = _resolved(options, chosen, corpus, splits, encoder)
    origins = dict(layered.origins)
    if origins["joint_steps"] == DEFAULT and options.joint_steps != Card("", "").joint_steps:
        origins["joint_steps"] = f"card {corpus.card.name}"
    if origins["recipe"] == DEFAULT and options.recipe == encoder.name:
        origins["recipe"] = f"encoder {encoder.name}"
    methods = [PlannedMethod(v, *hyper_parameters(options, v, corpus, origins)) for v in chosen]
    _check_lengths(methods, corpus, splits[0])
    planner = Planner(options, corpus, encoder, folder)
    runs = [planner.run(method, split, seed) for method in methods for split in splits for seed in options.seeds]
    return Plan(options, runs, corpus, origins, added)


def variants(options: Options) -> tuple[list[Variant], list[str]]:
    """Return the methods of a grid with the joint bound of each architecture in use, and the names of added bounds."""
    found = registry.resolve(options.methods)
    for variant in found:
        method_code.check_class(variant.card)
    wanted = dict.fromkeys(f"joint-{v.card.architecture}" for v in found)
    present = {v.card.name for v in found}
    added = [name for name in wanted if name not in present] if options.bounds == "auto" else []
    return (registry.resolve([*options.methods, *added]) if added else found), added


def check_labels(options: Options, chosen: Iterable[Variant]) -> None:
    """Raise UserError if ``--set`` names a method outside the grid."""
    labels = [v.label for v in chosen]
    for label in options.set:
        if label not in labels:
            raise UserError(
                f"--set {label}.…: no method of this grid is called {label!r}.{did_you_mean(label, labels)} Its "
                f"methods are {', '.join(labels)}"
            )


def _resolved(
    options: Options, chosen: Iterable[Variant], corpus: Corpus, splits: list[TaskSplit], encoder: EncoderInfo
) -> Options:
    """Return options that give the same grid from any folder, even if defaults change."""
    device, precision = environment.resolve_device(options.device, options.precision, options.elsewhere)
    return replace(
        options,
        methods=tuple(v.spec for v in chosen),
        set={v.label: own for v in chosen if (own := with_files(v, options.set.get(v.label, {})))},
        bounds="none",
        dataset=dataset_name(options),
        data=options.data and str(Path(options.data).resolve()),
        split=options.split and str(Path(options.split).resolve()),
        encoder=encoder.spec,
        scenario=scenario_name(options, splits[0]),
        orders=tuple(split.order for split in splits),
        recipe=recipe_name(options.recipe) or (encoder.name if encoder.name in recipe_names(corpus.card) else "paper"),
        joint_steps=options.joint_steps or corpus.card.joint_steps,
        device=device,
        precision=precision,
    )


def _check_lengths(methods: Iterable[PlannedMethod], corpus: Corpus, split: TaskSplit) -> None:
    """Raise UserError if a sentence is too long for a method that scores all spans."""
    every_span = [m for m in methods if m.variant.card.architecture == "span" and not m.training["max_span_width"]]
    cut = split.protocol.max_words
    if every_span and (cut is None or cut > SPAN_WORDS):
        for part in PARTS:
            check_span_words(corpus.used(part), part)
